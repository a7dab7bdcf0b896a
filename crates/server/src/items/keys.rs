//! `/v1/keys`: API keys, for those who may manage them (scope `admin`).
//!
//! An admin key of a namespace manages the keys of that namespace; one without manages all of them. This is no tenant's data, so the master
//! view may change it.

use super::gate::Caller;
use super::once::Fresh;
use super::page::{Listed, PageOf, Position};
use crate::auth;
use crate::http::json::Field;
use crate::http::{App, PathId, Problem, Reader, json, with_location};
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{StatusCode, Uri};
use postrider_core::event::Namespace;
use postrider_core::id::KeyId;
use postrider_core::key::{ApiKey, Scopes};
use postrider_core::ports::ConfigChange;
use postrider_core::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// The path of all keys.
pub(super) const PATH: &str = "/v1/keys";

/// What the path of one key begins with.
pub(super) const PREFIX: &str = "/v1/keys/";

const FIELDS: [&str; 4] = ["name", "namespace", "scopes", "expires_at"];

/// A key as it is shown: never the key itself.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: KeyId,
    name: &'a str,
    prefix: &'a str,
    namespace: Option<&'a Namespace>,
    scopes: Vec<&'static str>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(key: &'a ApiKey) -> Self {
        let time = |at: Timestamp| at.rfc3339(3);
        Shown {
            id: key.id,
            name: &key.name,
            prefix: &key.prefix,
            namespace: key.namespace.as_ref(),
            scopes: key.scopes.names(),
            created_at: time(key.created_at),
            expires_at: key.expires_at.map(time),
            revoked_at: key.revoked_at.map(time),
        }
    }
}

/// A key that was made just now, with the key itself, for the only time.
#[derive(Debug, Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    shown: Shown<'a>,
    key: &'a str,
}

/// Answers the keys, newest first, revoked ones too.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(access): Caller, uri: Uri) -> Result<Response, Problem> {
    let page = PageOf::<KeyId>::read(&uri)?;
    let routes = app.engine.routes();
    let keys: Vec<_> = routes.keys().rev().filter(|key| manages(&access, key.namespace.as_ref())).collect();
    let total = keys.len() as u64;
    let rest: Vec<_> = keys.into_iter().filter(|key| page.after.is_none_or(|after| key.id < after)).collect();
    let next = (rest.len() > page.limit as usize).then(|| rest[page.limit as usize - 1].id.position());
    let data = rest.into_iter().take(page.limit as usize).map(|key| Shown::new(key)).collect();
    Ok(json(StatusCode::OK, &Listed { data, total, next_cursor: next }))
}

/// Answers one key.
pub(super) async fn show(State(app): State<Arc<App>>, Caller(access): Caller, PathId(id): PathId) -> Result<Response, Problem> {
    let key = find(&app, &access, &id)?;
    Ok(json(StatusCode::OK, &Shown::new(&key)))
}

/// Makes a key and answers it, once.
pub(super) async fn create(State(app): State<Arc<App>>, Caller(access): Caller, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let fresh = Fresh::of(&parts.extensions);
    let body = app.read_json(&parts.headers, body).await?;
    let wanted = parse(&body, access.namespace.as_ref(), app.engine.now())?;
    let secret = auth::new_secret();
    // Done again, it gives the same key another secret: nobody has seen the first one.
    let id = KeyId::new(fresh.id(&app));
    let key = ApiKey {
        expires_at: wanted.expires_at,
        ..auth::new_key(id, &secret, &wanted.name, wanted.namespace, wanted.scopes, app.engine.now())
    };
    let change = ConfigChange::Key(key.clone());
    app.engine.edit(|_| Ok::<_, Problem>((vec![change.clone()], ()))).await?;
    let mut response = json(StatusCode::CREATED, &Made { shown: Shown::new(&key), key: &secret });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(with_location(response, &format!("{PREFIX}{id}")))
}

#[derive(Serialize)]
struct Deleted {
    deleted: bool,
    id: KeyId,
}

/// Revokes a key: it opens nothing from now on. It stays in the list, with the time.
pub(super) async fn revoke(State(app): State<Arc<App>>, Caller(access): Caller, PathId(id): PathId) -> Result<Response, Problem> {
    let id = find(&app, &access, &id)?.id;
    let now = app.engine.now();
    app.engine
        .edit(|routes| {
            let key = routes.key(id).ok_or_else(missing)?;
            let change = key.revoked_at.is_none().then(|| ConfigChange::Key(ApiKey { revoked_at: Some(now), ..ApiKey::clone(key) }));
            Ok::<_, Problem>((change.into_iter().collect(), ()))
        })
        .await?;
    Ok(json(StatusCode::OK, &Deleted { deleted: true, id }))
}

/// Whether a caller with the scope `admin` manages the keys of this namespace, or with `None` those that see all of them.
pub(crate) fn manages(access: &auth::Access, namespace: Option<&Namespace>) -> bool {
    access.namespace.is_none() || access.namespace.as_ref() == namespace
}

fn find(app: &App, access: &auth::Access, id: &str) -> Result<Arc<ApiKey>, Problem> {
    let routes = app.engine.routes();
    let found = KeyId::parse(id).and_then(|id| routes.key(id).cloned());
    found.filter(|key| manages(access, key.namespace.as_ref())).ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("there is no key with this id")
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    namespace: Option<Namespace>,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
}

/// `own` is the namespace of whoever asks: it makes keys for no other.
fn parse(body: &[u8], own: Option<&Namespace>, now: Timestamp) -> Result<Wanted, Problem> {
    let reader = Reader::open(body, &FIELDS)?;
    let name = reader.text("name", 0..=auth::MAX_KEY_NAME_BYTES).value().unwrap_or_default();
    if auth::is_reserved_name(&name) {
        reader.fail("name", "is one that the server gives to keys of its own");
    }
    let namespace = match reader.read("namespace", "a string", |name: &String| Namespace::new(name).map(drop).map_err(|e| e.to_string())) {
        Field::Value(name) => Namespace::new(&name).ok(),
        Field::Null => None,
        Field::Absent => own.cloned(),
    };
    if own.is_some() && namespace.as_ref() != own && !reader.is_bad("namespace") {
        reader.fail("namespace", "must be that of your own key, which manages no other");
    }
    let scopes = match reader.list("scopes", 3) {
        Field::Value(words) => scopes(&reader, &words),
        Field::Absent | Field::Null => Scopes { read: true, write: true, admin: false },
    };
    let future = |text: &String| match Timestamp::parse_rfc3339(text) {
        Some(at) if at > now => Ok(()),
        Some(_) => Err(String::from("must lie in the future")),
        None => Err(String::from("must be a time such as 2027-01-31T12:00:00Z")),
    };
    let expires_at = reader.read("expires_at", "a string", future).value().and_then(|text| Timestamp::parse_rfc3339(&text));
    reader.finish()?;
    Ok(Wanted { name, namespace, scopes, expires_at })
}

fn scopes(reader: &Reader<'_>, words: &[&str]) -> Scopes {
    let mut scopes = Scopes::default();
    for (at, raw) in words.iter().enumerate() {
        match serde_json::from_str::<&str>(raw) {
            Ok("read") => scopes.read = true,
            Ok("write") => scopes.write = true,
            Ok("admin") => scopes.admin = true,
            _ => reader.fail(&format!("scopes[{at}]"), "must be \"read\", \"write\" or \"admin\""),
        }
    }
    if words.is_empty() {
        reader.fail("scopes", "must name a scope: a key without one may do nothing");
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    #[test]
    fn what_is_left_out_has_a_careful_default() {
        let own = Namespace::new("team").expect("a name");
        let wanted = parse(b"{}", Some(&own), NOW).expect("a key");
        let scopes = Scopes { read: true, write: true, admin: false };
        assert_eq!(wanted, Wanted { name: String::new(), namespace: Some(own), scopes, expires_at: None });
        let master = parse(br#"{"scopes": ["admin"], "expires_at": "2030-01-01T00:00:00Z"}"#, None, NOW).expect("a key");
        assert!(master.namespace.is_none() && master.scopes.admin && master.expires_at.is_some());
    }

    #[test]
    fn bad_keys_are_refused_with_their_path() {
        let own = Namespace::new("team").expect("a name");
        for (body, path) in [
            (r#"{"name": 1}"#, "name"),
            (r#"{"name": "dev"}"#, "name"),
            (r#"{"namespace": "other"}"#, "namespace"),
            (r#"{"namespace": null}"#, "namespace"),
            (r#"{"namespace": "a b"}"#, "namespace"),
            (r#"{"scopes": []}"#, "scopes"),
            (r#"{"scopes": "read"}"#, "scopes"),
            (r#"{"scopes": ["read", "rite"]}"#, "scopes[1]"),
            (r#"{"expires_at": "soon"}"#, "expires_at"),
            (r#"{"expires_at": "2020-01-01T00:00:00Z"}"#, "expires_at"),
            (r#"{"key": "mine"}"#, "key"),
        ] {
            let problem = parse(body.as_bytes(), Some(&own), NOW).expect_err(body);
            assert_eq!(problem.details.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), [path], "{body}");
        }
    }
}
