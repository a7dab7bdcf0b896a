//! The flat error envelope of the Items API (contract, section 4).

use crate::http::{App, Problem, json};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use serde::Serialize;

/// A problem in its envelope.
#[derive(Debug)]
pub struct Failed {
    problem: Problem,
    path: String,
    request_id: String,
    timestamp: String,
}

impl Failed {
    /// With the path of the request that it is about.
    pub fn new(app: &App, path: &str, problem: Problem) -> Self {
        Failed {
            problem,
            path: path.to_owned(),
            request_id: format!("req_{}", app.engine.new_id().as_simple()),
            timestamp: app.engine.now().rfc3339(3),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    status_code: u16,
    code: &'a str,
    error: &'a str,
    message: &'a str,
    retryable: bool,
    #[serde(rename = "request_id")]
    request_id: &'a str,
    timestamp: &'a str,
    path: &'a str,
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = self.problem.status;
        let shape = Shape {
            status_code: status.as_u16(),
            code: self.problem.code,
            error: status.canonical_reason().unwrap_or("Error"),
            message: &self.problem.message,
            retryable: self.problem.is_retryable(),
            request_id: &self.request_id,
            timestamp: &self.timestamp,
            path: &self.path,
        };
        let mut response = json(status, &shape);
        response.headers_mut().extend(self.problem.headers());
        if let Ok(id) = HeaderValue::try_from(self.request_id) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }
}
