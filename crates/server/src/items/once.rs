//! `Idempotency-Key`: a request that comes again within 24 hours is answered as the first time, and not done again (contract, section 6).

use super::envelope::dress;
use crate::auth::Access;
use crate::http::{App, Detail, Problem};
use crate::random;
use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use postrider_core::ports::{Begun, NewRequest, RequestKey, StoredResponse};
use postrider_core::seal::Sealed;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The header of requests.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says of an answer that it is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest key, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 255;

/// What is kept of an answer besides its status and body.
const KEPT: [HeaderName; 3] = [CONTENT_TYPE, LOCATION, CACHE_CONTROL];

/// Stands among the headers of a stored answer whose body is sealed: one that is shown once holds a secret.
const SEALED: &str = ":sealed";

/// How often an answer that could not be stored is tried again; then the key stays taken until the server starts again.
const TRIES: u32 = 600;

/// How long after the try before.
const PAUSE: Duration = Duration::from_secs(1);

/// What a request makes when it is done: the same things whenever it is done again because a crash cut it off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    seed: Option<Uuid>,
    again: bool,
}

impl Fresh {
    /// Of the request with these extensions.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Fresh>().copied().unwrap_or(Fresh { seed: None, again: false })
    }

    /// The id of the one thing that the request makes.
    pub(super) fn id(&self, app: &App) -> Uuid {
        self.seed.unwrap_or_else(|| app.engine.new_id())
    }

    /// Whether it may have been done already, by a process that is gone.
    pub(super) fn is_again(&self) -> bool {
        self.again
    }

    /// The key under which the n-th event of the request is stored once, where it has none of its own.
    pub(super) fn dedup_key(&self, n: usize) -> Option<String> {
        self.seed.map(|seed| format!("request.{}.{n}", seed.as_simple()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Fresh {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Fresh::of(&parts.extensions))
    }
}

/// Does a request, unless it was done before. The answer is complete.
pub(super) async fn run(app: Arc<App>, access: &Access, request: Request<Body>, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD) && !path.ends_with("/preview");
    let key = match key(request.headers()) {
        Ok(key) => key.filter(|_| changes),
        Err(problem) => return dress(&app, &path, problem.into_response()),
    };
    let Some(key) = key else { return dress(&app, &path, next.run(request).await) };
    let (parts, body) = request.into_parts();
    let body = match app.read_body(&parts.headers, body).await {
        Ok(body) => body,
        Err(problem) => return dress(&app, &path, problem.into_response()),
    };
    let access = access.clone();
    // It goes on when the caller goes away: once it is begun it must end, and whoever asks again is to hear what became of it.
    let doing = tokio::spawn(async move {
        match begin(&app, &access, key, parts, body).await {
            Ok(Turn::First(key, request)) => first(app, path, key, request, next).await,
            Ok(Turn::Answered(stored)) => again(&app, &path, stored),
            Err(problem) => dress(&app, &path, problem.into_response()),
        }
    });
    doing.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// How to go on with a request.
#[expect(clippy::large_enum_variant, reason = "one at a time, on its way from one function to the next")]
enum Turn {
    /// It was done.
    Answered(StoredResponse),
    /// It is to be done under its key.
    First(RequestKey, Request<Body>),
}

async fn begin(app: &App, access: &Access, key: String, mut parts: Parts, body: Bytes) -> Result<Turn, Problem> {
    let owner = access.key.map_or_else(String::new, |key| key.to_string());
    let key = RequestKey { owner, scope: format!("{} {}", parts.method, parts.uri.path()), key };
    let fingerprint = fingerprint(&parts.headers, parts.uri.query().unwrap_or_default(), &body);
    let new = NewRequest { key: key.clone(), fingerprint, seed: app.engine.new_id(), at: app.engine.now() };
    match app.engine.store().begin_request(new).await? {
        Begun::New { seed, again } => {
            parts.extensions.insert(Fresh { seed: Some(seed), again });
            Ok(Turn::First(key, Request::from_parts(parts, Body::from(body))))
        }
        Begun::Done(stored) => Ok(Turn::Answered(stored)),
        Begun::Running => {
            let message = "the first request with this Idempotency-Key is still being done: ask again in a moment";
            Err(Problem { retry_after: Some(1), ..Problem::conflict(message) })
        }
        Begun::Mismatch => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_mismatch",
            "this Idempotency-Key was used for a request with another content: use a new key for each request",
        )),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()));
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text.to_owned())),
        _ => {
            let message = format!("must be there once, with 1 to {MAX_KEY_BYTES} visible ASCII characters");
            Err(Problem::validation(vec![Detail { path: String::from("Idempotency-Key"), message }]))
        }
    }
}

fn fingerprint(headers: &HeaderMap, query: &str, body: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let form = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    for part in [form, query.as_bytes()] {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    context.update(body);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

async fn first(app: Arc<App>, path: String, key: RequestKey, request: Request<Body>, next: Next) -> Response {
    let (parts, body) = dress(&app, &path, next.run(request).await).into_parts();
    // Answers are in memory as a whole already.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let is_final = !parts.status.is_server_error();
    let stored = is_final.then(|| stored(&app, parts.status, &parts.headers, &body));
    if !ended(&app, &key, &stored).await {
        // Whoever asks again meanwhile is told to wait.
        tokio::spawn(async move {
            for _ in 0..TRIES {
                tokio::time::sleep(PAUSE).await;
                if ended(&app, &key, &stored).await {
                    return;
                }
            }
        });
    }
    Response::from_parts(parts, Body::from(body))
}

fn stored(app: &App, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> StoredResponse {
    let text = |name: &HeaderName| Some((name.as_str().to_owned(), headers.get(name)?.to_str().ok()?.to_owned()));
    let mut kept: Vec<_> = KEPT.iter().filter_map(text).collect();
    let is_secret = headers.get(CACHE_CONTROL).is_some_and(|value| value == "no-store");
    let body = if is_secret {
        kept.push((SEALED.to_owned(), String::new()));
        Bytes::copy_from_slice(app.engine.seal(body, &mut random::fill).as_bytes())
    } else {
        body.clone()
    };
    StoredResponse { status: status.as_u16(), headers: kept, body }
}

async fn ended(app: &App, key: &RequestKey, stored: &Option<StoredResponse>) -> bool {
    let ending = app.engine.store().end_request(key.clone(), stored.clone()).await;
    ending.inspect_err(|error| tracing::warn!(%error, cause = error.cause, "the answer under an Idempotency-Key is not stored yet")).is_ok()
}

/// The answer of the first time.
fn again(app: &App, path: &str, stored: StoredResponse) -> Response {
    let is_sealed = stored.headers.iter().any(|(name, _)| name == SEALED);
    let body = if is_sealed {
        match app.engine.open(&Sealed::from_bytes(stored.body.to_vec())) {
            Ok(text) => Bytes::from(text),
            Err(_) => {
                let problem =
                    Problem::conflict("this request was done, and its answer cannot be shown again: the server's secrets key has changed");
                return dress(app, path, problem.into_response());
            }
        }
    } else {
        stored.body
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    for (name, value) in &stored.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    dress(app, path, response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_plain_and_there_once() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|value| _ = headers.append(KEY, HeaderValue::from_str(value).expect("a value")));
            key(&headers).map_err(|problem| problem.details[0].path.clone())
        };
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&["8e03978e-40d5"]), Ok(Some(String::from("8e03978e-40d5"))));
        assert_eq!(with(&[&"x".repeat(255)]), Ok(Some("x".repeat(255))));
        for bad in [&[""][..], &["a b"], &["a", "a"], &[&"x".repeat(256)]] {
            assert_eq!(with(bad), Err(String::from("Idempotency-Key")), "{bad:?}");
        }
    }

    #[test]
    fn a_fingerprint_tells_the_parts_apart() {
        let print = |form: &'static str, query: &str, body: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(form))]);
            fingerprint(&headers, query, body.as_bytes())
        };
        let all = [print("a", "b", "c"), print("ab", "", "c"), print("a", "", "bc"), print("a", "b", "d")];
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other != one));
        }
        assert_eq!(print("a", "b", "c"), all[0]);
    }
}
