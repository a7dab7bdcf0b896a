//! What went wrong, as the protocols say it.

use crate::auth::Denied;
use crate::http::Problem;
use axum::response::Response;
use connectrpc::{ConnectError, ErrorCode};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

/// The same fault as in the other APIs, under the code that Connect and gRPC have for it; with the headers that belong to it.
impl From<Problem> for ConnectError {
    fn from(problem: Problem) -> Self {
        let headers = problem.headers();
        let mut error = ConnectError::new(code_of(problem.status), problem.message);
        error.response_headers_mut().extend(headers);
        error
    }
}

/// As every fault.
impl From<Denied> for ConnectError {
    fn from(denied: Denied) -> Self {
        Problem::from(denied).into()
    }
}

fn code_of(status: StatusCode) -> ErrorCode {
    match status {
        StatusCode::BAD_REQUEST => ErrorCode::InvalidArgument,
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorCode::PermissionDenied,
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::REQUEST_TIMEOUT => ErrorCode::DeadlineExceeded,
        StatusCode::CONFLICT => ErrorCode::AlreadyExists,
        StatusCode::PRECONDITION_FAILED => ErrorCode::FailedPrecondition,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS | StatusCode::INSUFFICIENT_STORAGE => ErrorCode::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    }
}

/// An error that no service answers with, in the form of the protocol in which it was asked.
pub(super) fn answer(error: ConnectError, headers: &HeaderMap) -> Response {
    super::measured(error.into_http_response(headers))
}

/// Whether it is gRPC or gRPC-Web by its media type, which have an HTTP status of 200 whatever happens.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::ports::{StoreError, StoreErrorKind};
    use postrider_engine::PublishError;

    #[test]
    fn problems_become_the_codes_that_clients_know() {
        let full = StoreError { kind: StoreErrorKind::OverBudget, cause: String::from("secret") };
        for (problem, code, status) in [
            (Problem::bad_request("x"), "invalid_argument", 400),
            (Problem::not_found("x"), "not_found", 404),
            (Problem::conflict("x"), "already_exists", 409),
            (Problem::new(StatusCode::PRECONDITION_FAILED, "failed_precondition", "x"), "failed_precondition", 400),
            (Problem::too_large(1), "resource_exhausted", 429),
            (Problem::from(full), "resource_exhausted", 429),
            (Problem::from(PublishError::Stopping), "unavailable", 503),
            (Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "x"), "internal", 500),
        ] {
            let (message, retry_after) = (problem.message.clone(), problem.retry_after.is_some());
            let error = ConnectError::from(problem);
            assert_eq!((error.code.as_str(), error.http_status().as_u16()), (code, status));
            assert_eq!((error.message.as_deref(), error.response_headers().contains_key("retry-after")), (Some(&*message), retry_after));
        }
    }
}
