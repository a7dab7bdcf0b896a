//! What every answer of this API carries, and the flat envelope of its errors (contract, section 4).

use crate::http::{App, Problem, json};
use axum::response::Response;
use http::HeaderValue;
use postrider_core::key::Scope;
use serde::Serialize;

/// Gives an answer its request id, and an error its envelope.
pub fn dress(app: &App, path: &str, mut response: Response) -> Response {
    let id = format!("req_{}", app.engine.new_id().as_simple());
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let allow = response.headers_mut().remove(http::header::ALLOW);
        response = envelope(&problem, path, &id, &app.engine.now().rfc3339(3));
        response.headers_mut().extend(allow.map(|allow| (http::header::ALLOW, allow)));
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    details: &'a [crate::http::Detail],
    #[serde(rename = "required_scopes", skip_serializing_if = "Option::is_none")]
    required_scopes: Option<[&'static str; 1]>,
}

fn envelope(problem: &Problem, path: &str, id: &str, timestamp: &str) -> Response {
    let shape = Shape {
        status_code: problem.status.as_u16(),
        code: problem.code,
        error: problem.status.canonical_reason().unwrap_or("Error"),
        message: &problem.message,
        retryable: problem.is_retryable(),
        request_id: id,
        timestamp,
        path,
        details: &problem.details,
        required_scopes: problem.required_scope.map(|scope: Scope| [scope.as_str()]),
    };
    let mut response = json(problem.status, &shape);
    response.headers_mut().extend(problem.headers());
    response
}
