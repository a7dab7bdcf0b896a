//! `postrider.v1.AdminService`: keys, nodes and settings, for who runs the server.
//!
//! Whatever the name of a method says of reading and writing, each wants the scope `admin`.

use crate::auth::{self, Access};
use crate::http::json::clip;
use crate::http::{App, Problem};
use crate::items::keys::manages;
use crate::rpc::access::{Scope, access, bound, failed_precondition, id, timestamp};
use crate::rpc::page::count;
use crate::rpc::v1::page;
use connectrpc::{ConnectError, RequestContext};
use http::StatusCode;
use postrider_core::event::Namespace;
use postrider_core::id::KeyId;
use postrider_core::key::{self, ApiKey, Scopes};
use postrider_core::ports::ConfigChange;
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::service::{AdminService, Answer};
use postrider_proto::v1;
use std::sync::Arc;

/// Answers the service.
pub(in crate::rpc) struct Admin {
    app: Arc<App>,
}

impl Admin {
    pub(in crate::rpc) fn new(app: Arc<App>) -> Self {
        Admin { app }
    }
}

/// Who calls, if it may manage anything.
fn admin(context: &RequestContext) -> Result<&Access, ConnectError> {
    let access = access(context)?;
    access.allow(key::Scope::Admin).map_err(Problem::from)?;
    Ok(access)
}

/// The same for what belongs to no namespace.
fn admin_of_all(context: &RequestContext) -> Result<&Access, ConnectError> {
    let access = admin(context)?;
    if access.namespace.is_none() {
        return Ok(access);
    }
    Err(forbidden("nodes and settings belong to no namespace: use a key without one (postrider keys create --scopes admin makes it)")
        .into())
}

fn forbidden(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", message)
}

fn shown(key: &ApiKey, access: &Access) -> v1::Key {
    v1::Key {
        key_id: key.id.to_string(),
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        namespace: key.namespace.as_ref().map(ToString::to_string).unwrap_or_default(),
        scopes: key.scopes.names().into_iter().map(str::to_owned).collect(),
        created_at: timestamp(key.created_at).into(),
        expires_at: key.expires_at.map(timestamp).into(),
        revoked_at: key.revoked_at.map(timestamp).into(),
        is_own: access.key == Some(key.id),
    }
}

/// What is wanted of a key.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    namespace: Option<Namespace>,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
}

impl Wanted {
    fn read(access: &Access, sent: v1::CreateKeyRequest, now: Timestamp) -> Result<Self, Problem> {
        let most = auth::MAX_KEY_NAME_BYTES;
        if sent.name.is_empty() || sent.name.len() > most {
            return Err(Problem::bad_request(format!("name must have 1 to {most} bytes")));
        }
        if auth::is_reserved_name(&sent.name) {
            return Err(Problem::bad_request(format!("name: {:?} is one that the server gives to keys of its own", sent.name)));
        }
        let namespace = match sent.namespace.as_str() {
            "" => None,
            named => {
                let invalid = |rule| Problem::bad_request(format!("invalid namespace {:?}: {rule}", clip(named)));
                Some(Namespace::new(named).map_err(invalid)?)
            }
        };
        if !manages(access, namespace.as_ref()) {
            return Err(forbidden("a key of a namespace makes keys of that namespace alone: name it"));
        }
        let scopes = scopes(access, &sent.scopes)?;
        let expires_at = bound(sent.expires_at.as_option(), "expires_at")?;
        if expires_at.is_some_and(|at| at <= now) {
            return Err(Problem::bad_request(format!("expires_at must be in the future; it is {} now", now.rfc3339(0))));
        }
        Ok(Wanted { name: sent.name, namespace, scopes, expires_at })
    }
}

/// The scopes of a key: no more than its maker has.
fn scopes(access: &Access, words: &[String]) -> Result<Scopes, Problem> {
    let mut scopes = Scopes::default();
    for word in words {
        let scope = match word.as_str() {
            "read" => key::Scope::Read,
            "write" => key::Scope::Write,
            "admin" => key::Scope::Admin,
            other => return Err(Problem::bad_request(format!("scopes: {:?} is none; there are read, write and admin", clip(other)))),
        };
        if access.allow(scope).is_err() {
            return Err(forbidden(format!("scopes: a key that lacks {word} makes none that has it")));
        }
        match scope {
            key::Scope::Read => scopes.read = true,
            key::Scope::Write => scopes.write = true,
            key::Scope::Admin => scopes.admin = true,
        }
    }
    if words.is_empty() {
        return Err(Problem::bad_request("scopes is required: a key without one may do nothing"));
    }
    Ok(scopes)
}

/// Whether nobody could manage keys of this one's namespace any more without it.
fn is_last(routes: &Routes, key: &ApiKey, now: Timestamp) -> bool {
    let may_manage = |other: &ApiKey| other.is_valid(now) && other.scopes.admin;
    let reaches = |other: &ApiKey| other.namespace.is_none() || other.namespace == key.namespace;
    may_manage(key) && !routes.keys().any(|other| other.id != key.id && may_manage(other) && reaches(other))
}

fn missing() -> Problem {
    Problem::not_found("there is no key with this ID")
}

impl AdminService for Admin {
    async fn list_keys(&self, context: RequestContext, request: v1::ListKeysRequest) -> Answer<v1::ListKeysResponse> {
        let access = admin(&context)?;
        let scope = Scope::of(access, &request.namespace)?;
        let is_listed = |key: &ApiKey| match (&scope, &key.namespace) {
            (Scope::All, _) => true,
            (scope, Some(namespace)) => scope.has(namespace),
            (_, None) => false,
        };
        let size = if request.page_size <= 0 { page::MAX_SIZE } else { page::size(request.page_size) };
        let after = page::after::<KeyId>(&request.page_token)?;
        let routes = self.app.engine.routes();
        let mut rest = routes.keys().rev().filter(|key| is_listed(key)).filter(|key| after.is_none_or(|after| key.id < after));
        let keys: Vec<&Arc<ApiKey>> = rest.by_ref().take(size as usize).collect();
        let last = keys.last().map(|key| key.id).filter(|_| rest.next().is_some());
        let keys = keys.into_iter().map(|key| shown(key, access)).collect();
        Ok(v1::ListKeysResponse { keys, next_page_token: page::next(last) })
    }

    async fn create_key(&self, context: RequestContext, request: v1::CreateKeyRequest) -> Answer<v1::CreateKeyResponse> {
        let (access, engine) = (admin(&context)?, &self.app.engine);
        let wanted = Wanted::read(access, request, engine.now())?;
        let (id, secret) = (KeyId::new(engine.new_id()), auth::new_secret());
        let key = ApiKey {
            expires_at: wanted.expires_at,
            ..auth::new_key(id, &secret, &wanted.name, wanted.namespace, wanted.scopes, engine.now())
        };
        engine.edit(|_| Ok::<_, Problem>((vec![ConfigChange::Key(key.clone())], ()))).await?;
        tracing::info!(key = %id, "an API key was made");
        Ok(v1::CreateKeyResponse { key: shown(&key, access).into(), secret })
    }

    async fn revoke_key(&self, context: RequestContext, request: v1::RevokeKeyRequest) -> Answer<v1::RevokeKeyResponse> {
        let (access, now) = (admin(&context)?, self.app.engine.now());
        let id = id(&request.key_id, "key_id", "key", KeyId::parse)?;
        let revoked = self
            .app
            .engine
            .edit(|routes| {
                let key = routes.key(id).filter(|key| manages(access, key.namespace.as_ref())).ok_or_else(missing)?;
                if !key.is_valid(now) {
                    return Ok((Vec::new(), ApiKey::clone(key)));
                }
                if is_last(routes, key, now) {
                    return Err(failed_precondition(
                        "this is the last key that can manage keys: make another one with the scope admin first",
                    ));
                }
                let revoked = ApiKey { revoked_at: Some(now), ..ApiKey::clone(key) };
                Ok::<_, Problem>((vec![ConfigChange::Key(revoked.clone())], revoked))
            })
            .await?;
        Ok(v1::RevokeKeyResponse { key: shown(&revoked, access).into() })
    }

    async fn list_nodes(&self, context: RequestContext, _: v1::ListNodesRequest) -> Answer<v1::ListNodesResponse> {
        admin_of_all(&context)?;
        let nodes = self.app.nodes.all(self.app.engine.now()).await.map_err(Problem::of_read)?;
        let shown = nodes.into_iter().map(|node| v1::Node {
            name: node.name,
            address: node.address.unwrap_or_default(),
            release: node.release,
            incarnation: node.incarnation,
            started_at: timestamp(node.started_at).into(),
            last_heartbeat_at: timestamp(node.last_heartbeat_at).into(),
            ended_at: node.ended_at.map(timestamp).into(),
            slots: count(node.slots),
            is_this: node.is_this,
        });
        Ok(v1::ListNodesResponse { nodes: shown.collect() })
    }

    async fn get_settings(&self, context: RequestContext, _: v1::GetSettingsRequest) -> Answer<v1::GetSettingsResponse> {
        admin_of_all(&context)?;
        let settings = self.app.settings.iter().map(|setting| v1::Setting {
            name: setting.name.clone(),
            value: setting.value.clone(),
            source: setting.source.as_str().to_owned(),
            description: setting.description.clone(),
        });
        Ok(v1::GetSettingsResponse { settings: settings.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_proto::Timestamp as Sent;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn caller(namespace: Option<&str>, scopes: &str) -> Access {
        let scopes = Scopes::parse(scopes).expect("scopes");
        Access { key: None, namespace: namespace.map(|name| Namespace::new(name).expect("a name")), scopes }
    }

    fn request(name: &str, namespace: &str, scopes: &[&str], expires: Option<i64>) -> v1::CreateKeyRequest {
        v1::CreateKeyRequest {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            scopes: scopes.iter().map(|word| (*word).to_owned()).collect(),
            expires_at: expires.map(|secs| Sent::from_unix(secs, 0)).into(),
        }
    }

    #[test]
    fn keys_that_are_wanted_are_checked() {
        let (master, own) = (caller(None, "admin"), caller(Some("own"), "admin"));
        let status = |caller: &Access, request| Wanted::read(caller, request, NOW).map(drop).map_err(|problem| problem.status.as_u16());
        let later = Some(NOW.as_secs() + 1);
        assert_eq!(status(&master, request("k", "", &["read", "admin"], later)), Ok(()));
        assert_eq!(status(&own, request("k", "own", &["read"], None)), Ok(()));
        assert_eq!(
            (status(&own, request("k", "", &["read"], None)), status(&own, request("k", "other", &["read"], None))),
            (Err(403), Err(403))
        );
        for bad in [
            request("", "", &["read"], None),
            request(&"x".repeat(101), "", &["read"], None),
            request("dev", "", &["read"], None),
            request("k", "a b", &["read"], None),
            request("k", "", &[], None),
            request("k", "", &["rite"], None),
            request("k", "", &["read"], Some(NOW.as_secs())),
        ] {
            assert_eq!(status(&master, bad.clone()), Err(400), "{bad:?}");
        }
    }

    #[test]
    fn nobody_grants_what_they_lack() {
        let reader = caller(None, "read");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(scopes(&reader, &words(&["read"])), Ok(Scopes { read: true, write: false, admin: false }));
        for lacking in ["write", "admin"] {
            assert_eq!(scopes(&reader, &words(&["read", lacking])).map_err(|problem| problem.status.as_u16()), Err(403));
        }
        assert!(scopes(&caller(None, "admin"), &words(&["read", "write"])).is_ok(), "admin includes all");
    }
}
