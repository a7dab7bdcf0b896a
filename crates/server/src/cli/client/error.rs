//! Why a call came to nothing.

use connectrpc::ErrorCode;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// Longest text of somebody else's that is passed on, in characters.
const MAX_TEXT: usize = 500;

/// What a person without a valid key can do.
const GIVE_KEY: &str = "give --key or POSTRIDER_KEY";

/// Where a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Here: the URL or the key cannot be used, and nothing was asked.
    Given,
    /// On the way: the server was not reached, or the connection broke before its answer was whole. What was asked may have been done.
    Way,
    /// There: the server answered so.
    Server,
}

/// Why a call came to nothing: what is wrong, and how to mend it. Says nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The code that the server answered, or what comes nearest.
    pub code: ErrorCode,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where the message does not say so.
    pub hint: Option<String>,
    /// Where it went wrong.
    pub origin: Origin,
    /// When to ask again, if the server said so.
    pub retry_after: Option<Duration>,
}

/// The hint is on a line of its own.
impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  {hint}"))
    }
}

impl std::error::Error for CallError {}

impl CallError {
    fn new(origin: Origin, code: ErrorCode, message: impl Into<String>) -> Self {
        CallError { code, message: message.into(), hint: None, origin, retry_after: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Something that was given here cannot be used.
    pub(super) fn given(message: impl Into<String>) -> Self {
        CallError::new(Origin::Given, ErrorCode::InvalidArgument, message)
    }

    /// There is no connection to the server at `url`.
    pub(super) fn unreachable(url: &str, cause: impl fmt::Display) -> Self {
        let message = format!("cannot connect to {url}: {}", clip(&cause.to_string()));
        CallError::new(Origin::Way, ErrorCode::Unavailable, message).hint(format!("is the server running at {url}?"))
    }

    /// The connection to `url` broke before the answer was whole.
    pub(super) fn broken(url: &str, cause: impl fmt::Display) -> Self {
        let message = format!("the connection to {url} broke: {}", clip(&cause.to_string()));
        CallError::new(Origin::Way, ErrorCode::Unavailable, message).hint(format!("is the server still running at {url}?"))
    }

    /// Nothing came from `url` for so long.
    pub(super) fn silent(url: &str, within: Duration) -> Self {
        let message = format!("nothing came from {url} for {} s", within.as_secs());
        CallError::new(Origin::Way, ErrorCode::DeadlineExceeded, message)
    }

    /// What answers at `url` is no server of ours, or one of another release.
    pub(super) fn foreign(url: &str, what: impl fmt::Display) -> Self {
        let message = format!("what answers at {url} is not what this command knows: {}", clip(&what.to_string()));
        let hint = format!("is {url} a Postrider server, of release {} or near?", env!("CARGO_PKG_VERSION"));
        CallError::new(Origin::Server, ErrorCode::Internal, message).hint(hint)
    }

    /// What the server at `url` told in the form of the protocol. `with_key` is whether it was shown one.
    pub(super) fn told(told: Told, url: &str, with_key: bool) -> Self {
        let code = told.code.parse().unwrap_or(ErrorCode::Unknown);
        let message = if told.message.is_empty() { format!("the server answered {}", code.as_str()) } else { clip(&told.message) };
        let error = CallError::new(Origin::Server, code, message);
        match code {
            ErrorCode::Unauthenticated if with_key => error.hint(format!(
                "{url} does not take this key, which may be revoked or expired: give another one, by --key or POSTRIDER_KEY"
            )),
            ErrorCode::Unauthenticated => error.hint(GIVE_KEY),
            ErrorCode::PermissionDenied => {
                error.hint("give a key that may, by --key or POSTRIDER_KEY; postrider keys list shows their scopes")
            }
            ErrorCode::Unimplemented => {
                error.hint(format!("the server at {url} may be older than this command, which is {}", env!("CARGO_PKG_VERSION")))
            }
            _ => error,
        }
    }

    /// An answer with an HTTP status that means failure.
    pub(super) fn answered(status: StatusCode, headers: &HeaderMap, body: &[u8], url: &str, with_key: bool) -> Self {
        let mut error = match serde_json::from_slice::<Told>(body) {
            Ok(told) => CallError::told(told, url, with_key),
            Err(_) => CallError::by_status(status, headers, url, with_key),
        };
        error.retry_after = retry_after(headers);
        error
    }

    /// An answer of a REST API that means failure.
    pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], url: &str, with_key: bool) -> Self {
        let mut error = match serde_json::from_slice::<Refusal>(body).ok().and_then(Refusal::text) {
            Some(message) => {
                // A signature that is wrong is no matter of the key.
                let is_about_key = status != StatusCode::UNAUTHORIZED || message.contains("API key");
                let told = CallError::told(Told { code: code_of(status).as_str().to_owned(), message }, url, with_key);
                if is_about_key { told } else { CallError { hint: None, ..told } }
            }
            None => CallError::by_status(status, headers, url, with_key),
        };
        error.retry_after = retry_after(headers);
        error
    }

    /// What stands between here and the server answered, or the server without the form of the protocol.
    fn by_status(status: StatusCode, headers: &HeaderMap, url: &str, with_key: bool) -> Self {
        if status == StatusCode::UNAUTHORIZED {
            let message = String::from(if with_key { "the key is not valid" } else { "there is no key" });
            return CallError::told(Told { code: String::from("unauthenticated"), message }, url, with_key);
        }
        if let Some(place) = headers.get(http::header::LOCATION).filter(|_| status.is_redirection()) {
            let place = clip(&String::from_utf8_lossy(place.as_bytes()));
            return CallError::foreign(url, format_args!("it answers {status} and points to {place}"))
                .hint("give the URL that it points to, without the name of the method, as --url");
        }
        let code = match status {
            StatusCode::FORBIDDEN => ErrorCode::PermissionDenied,
            StatusCode::NOT_FOUND => ErrorCode::Unimplemented,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                ErrorCode::Unavailable
            }
            StatusCode::BAD_REQUEST => ErrorCode::Internal,
            _ => ErrorCode::Unknown,
        };
        let error = CallError { code, ..CallError::foreign(url, format_args!("it answers {status}")) };
        if code == ErrorCode::Unavailable { error.hint(format!("is the server running behind {url}?")) } else { error }
    }
}

/// An error in the form of the protocol.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

/// An error of the REST APIs, in the form of one or the other.
#[derive(Debug, Deserialize)]
struct Refusal {
    /// What is wrong, in the form of the Items API.
    message: Option<String>,
    /// What is wrong, in the form of the Tasks API; beside a message it is the name of the status.
    error: Option<String>,
    /// What is wrong where, if that is more than one thing.
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    path: String,
    message: String,
}

impl Refusal {
    fn text(self) -> Option<String> {
        if self.details.len() > 1 {
            let each: Vec<String> = self.details.iter().map(|detail| format!("{}: {}", detail.path, detail.message)).collect();
            return Some(each.join("; "));
        }
        self.message.or(self.error).filter(|text| !text.is_empty())
    }
}

/// The code of the protocol that comes nearest to a status of the REST APIs.
fn code_of(status: StatusCode) -> ErrorCode {
    match status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorCode::PermissionDenied,
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::CONFLICT => ErrorCode::FailedPrecondition,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::ResourceExhausted,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => ErrorCode::Unavailable,
        status if status.is_client_error() => ErrorCode::InvalidArgument,
        _ => ErrorCode::Internal,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    seconds.map(Duration::from_secs)
}

/// Foreign text on one line, without what a terminal would take for an order, and not longer than a message should be.
fn clip(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}
