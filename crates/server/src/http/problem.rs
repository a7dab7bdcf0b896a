//! What went wrong with a request, as every API starts from it; each API has its own shape for it.

use crate::auth::Denied;
use crate::observe::Sparingly;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use postrider_core::key::Scope;
use postrider_core::ports::{StoreError, StoreErrorKind};
use postrider_engine::PublishError;

/// After how many seconds the engine looks at a full store again, where it could not make room at once.
const ROOM_IS_LOOKED_AT: u32 = 10;

/// A request that was refused or failed. The text is for the caller and never holds an inner cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs, where an API shows one.
    pub code: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
    /// After how many seconds the same request may succeed.
    pub retry_after: Option<u32>,
    /// What is wrong where, where an API shows that.
    pub details: Vec<Detail>,
    /// The scope that the key lacks.
    pub required_scope: Option<Scope>,
}

/// One thing that is wrong with what was sent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Detail {
    /// Where: names of fields with dots, places in arrays with brackets; empty for the body as a whole.
    pub path: String,
    /// What is wrong with it and how it should be.
    pub message: String,
}

impl Problem {
    /// With a status, its code and a text.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Problem { status, code, message: message.into(), retry_after: None, details: Vec::new(), required_scope: None }
    }

    /// 400 with the code `bad_request`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 400 with the code `validation_error`: what is wrong with the content, at least one thing.
    pub fn validation(details: Vec<Detail>) -> Self {
        let first = details
            .first()
            .map_or_else(String::new, |d| if d.path.is_empty() { d.message.clone() } else { format!("{}: {}", d.path, d.message) });
        let more = if details.len() > 1 { format!(" (and {} more, see details)", details.len() - 1) } else { String::new() };
        Problem { details, ..Problem::new(StatusCode::BAD_REQUEST, "validation_error", format!("{first}{more}")) }
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Problem::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 413 with the limit, in bytes.
    pub fn too_large(limit: usize) -> Self {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", format!("the request body is larger than {limit} bytes"))
    }

    /// 415 with what is expected.
    pub fn media_type(expected: &str) -> Self {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", format!("send the body as Content-Type: {expected}"))
    }

    /// 503 after which trying again makes sense.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Problem { retry_after: Some(1), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message) }
    }

    /// 503 where nobody knows whether what was asked for is stored, for which there is a word of its own.
    pub fn outcome_unknown(message: impl Into<String>) -> Self {
        Problem { code: "outcome_unknown", ..Problem::unavailable(message) }
    }

    /// A store's fault in a read. The published pages know 500 for it and nothing else; `Retry-After` says all the same when it may pass.
    pub fn of_read(error: StoreError) -> Self {
        Problem { status: StatusCode::INTERNAL_SERVER_ERROR, code: "internal_error", ..Problem::from(error) }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.retry_after.is_some() || self.status.is_server_error()
    }

    /// The headers that come with it.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(secs) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        headers
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Missing => Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "an API key is needed: send it as Authorization: Bearer KEY or X-API-Key: KEY; postrider keys create makes one",
            ),
            Denied::Invalid => Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "the API key is unknown, revoked or expired"),
            Denied::Foreign => Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "without a key the development mode answers requests to this machine's own names only, and no page of another origin: use http://127.0.0.1, or show a key",
            ),
            Denied::Scope(scope) => Problem {
                required_scope: Some(scope),
                ..Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", format!("the API key lacks the scope {}", scope.as_str()))
            },
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        static SPARINGLY: Sparingly = Sparingly::new();
        // What is refused for want of room is told by who makes room.
        if error.kind != StoreErrorKind::OverBudget
            && let Some(left_out) = SPARINGLY.now()
        {
            tracing::error!(kind = ?error.kind, cause = %error.cause, left_out, "the store failed");
        }
        let message = error.kind.to_string();
        match error.kind {
            StoreErrorKind::Full => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", message),
            StoreErrorKind::OverBudget => {
                Problem { retry_after: Some(ROOM_IS_LOOKED_AT), ..Problem::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", message) }
            }
            StoreErrorKind::ReadOnly | StoreErrorKind::Unavailable => Problem::unavailable(message),
            StoreErrorKind::Unknown => Problem::outcome_unknown(message),
            StoreErrorKind::Corrupt | StoreErrorKind::Internal => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
            }
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => error.into(),
            PublishError::Stopping => Problem::unavailable("the server is stopping: try again in a moment"),
            PublishError::Unknown => Problem::outcome_unknown(
                "it is not known whether the event is stored: send it again, with the same Idempotency-Key if it has one",
            ),
            PublishError::Busy => Problem::unavailable("the server has more to store than it can hold: try again in a moment"),
            PublishError::UnknownSubscription => Problem::not_found("subscription not found"),
        }
    }
}

/// The shape of the Tasks API, which everything outside of the other APIs shares: `{"error": text}`.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(serde::Serialize)]
        struct Shape<'a> {
            error: &'a str,
        }
        let mut response = super::json(self.status, &Shape { error: &self.message });
        response.headers_mut().extend(self.headers());
        // For an API with a shape of its own.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_store_tells_callers_what_to_do_and_not_why() {
        for (kind, status, retryable) in [
            (StoreErrorKind::Full, 507, true),
            (StoreErrorKind::OverBudget, 507, true),
            (StoreErrorKind::ReadOnly, 503, true),
            (StoreErrorKind::Unavailable, 503, true),
            (StoreErrorKind::Unknown, 503, true),
            (StoreErrorKind::Corrupt, 500, true),
            (StoreErrorKind::Internal, 500, true),
        ] {
            let problem = Problem::from(StoreError { kind, cause: String::from("SQLITE_SECRET at table users") });
            assert_eq!((problem.status.as_u16(), problem.is_retryable()), (status, retryable), "{kind:?}");
            let read = Problem::of_read(StoreError { kind, cause: String::new() });
            assert_eq!((read.status.as_u16(), read.code, read.retry_after), (500, "internal_error", problem.retry_after), "{kind:?}");
            assert!(!problem.message.contains("SQLITE") && !problem.message.is_empty(), "{}", problem.message);
        }
    }

    #[test]
    fn what_is_not_known_is_told_from_what_is_not_stored() {
        let of = |kind| Problem::from(StoreError { kind, cause: String::new() });
        let (unknown, unavailable) = (of(StoreErrorKind::Unknown), of(StoreErrorKind::Unavailable));
        assert_eq!((unknown.status, unknown.code), (unavailable.status, "outcome_unknown"));
        assert_eq!(unavailable.code, "unavailable");
        let published = Problem::from(PublishError::Unknown);
        assert_eq!((published.status, published.code, published.retry_after), (unknown.status, "outcome_unknown", Some(1)));
    }

    #[test]
    fn the_tasks_shape_has_one_field() {
        let response = Problem::from(Denied::Missing).into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let busy = Problem::from(PublishError::Busy).into_response();
        assert_eq!((busy.status().as_u16(), &busy.headers()[RETRY_AFTER]), (503, &HeaderValue::from(1)));
    }
}
