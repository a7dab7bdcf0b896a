//! What can go wrong with a request, and how each API says it.

use super::json::Json;
use super::schema::{Schema, all, always, array, boolean, integer, named, object, string, time, word};

/// Whose shape an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/v1`: the flat envelope.
    Items,
    /// `{"error": text}`.
    Tasks,
}

/// One thing that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The HTTP status.
    pub status: u16,
    /// The word for programs, where an API shows one.
    pub code: &'static str,
    /// When it happens.
    pub when: &'static str,
    /// A message, as an example.
    pub message: &'static str,
}

const fn fault(status: u16, code: &'static str, when: &'static str, message: &'static str) -> Fault {
    Fault { status, code, when, message }
}

/// Something is wrong with the content or the query of a request to `/v1`.
pub const VALIDATION: Fault = fault(
    400,
    "validation_error",
    "Something is wrong with the content or the query: `details` says what, and where. Nothing of it is stored.",
    "limit: must be a whole number from 1 to 500",
);
/// A master key where a namespace is needed.
pub const MASTER_VIEW: Fault = fault(
    400,
    "bad_request",
    "Not available in master view (organization-wide API key).",
    "this is not available in master view (organization-wide API key): use a key of the namespace that it is about",
);
/// Something is wrong with a request to the Tasks API.
pub const BAD_REQUEST: Fault = fault(
    400,
    "bad_request",
    "Something is wrong with the content, a header or the query. Parameters and fields that are unknown or there twice are refused.",
    "string",
);
/// No good key.
pub const UNAUTHORIZED: Fault = fault(401, "unauthorized", "Missing or invalid API key.", "the API key is unknown, revoked or expired");
/// No good key and no good signature.
pub const UNSIGNED: Fault = fault(
    401,
    "unauthorized",
    "Missing or invalid API key; or the subscription has a secret and the signature is missing or wrong.",
    "string",
);
/// A key without the scope.
pub const SCOPE: Fault =
    fault(403, "insufficient_scope", "The key lacks a scope, which `required_scopes` names.", "the API key lacks the scope write");
/// The same, in the shape of the Tasks API.
pub const FORBIDDEN: Fault = fault(
    403,
    "insufficient_scope",
    "The key lacks the scope; or, in development mode without a key, the request comes from another machine's name or page.",
    "string",
);
/// A key of a namespace, where only those without one may.
pub const MASTER_ONLY: Fault = fault(
    403,
    "forbidden",
    "The key is one of a namespace.",
    "nodes belong to no namespace: use a key without one (postrider keys create --scopes admin makes it)",
);
/// There is no such thing.
pub const NOT_FOUND: Fault = fault(
    404,
    "not_found",
    "There is no such thing for this key. What belongs to another namespace does not exist, and a malformed id names nothing.",
    "there is no delivery item with this id",
);
/// The body did not arrive in time.
pub const TIMEOUT: Fault =
    fault(408, "request_timeout", "The request body did not arrive in time.", "the request body did not arrive in time");
/// It cannot be done now.
pub const CONFLICT: Fault = fault(
    409,
    "conflict",
    "It cannot be done as things are; the message says why.",
    "this attempt is still under way: wait for its outcome",
);
/// An `Idempotency-Key` that was used for something else.
pub const MISMATCH: Fault = fault(
    422,
    "idempotency_mismatch",
    "The `Idempotency-Key` was used for a request with another content.",
    "this Idempotency-Key was used for a request with another content: use a new key for each request",
);
/// The body is too large.
pub const TOO_LARGE: Fault = fault(
    413,
    "payload_too_large",
    "The body is larger than the server takes (`--max-body`, 1 MiB unless set otherwise).",
    "the request body is larger than 1048576 bytes",
);
/// The body has another media type.
pub const MEDIA_TYPE: Fault =
    fault(415, "unsupported_media_type", "The body has another media type.", "send the body as Content-Type: application/json");
/// The key asks too often.
pub const RATE_LIMITED: Fault = fault(
    429,
    "rate_limited",
    "Too many requests. Retry after the period indicated in the Retry-After header.",
    "this key asks more often than it may: ask again in 1 s, the headers X-RateLimit-* tell the limit",
);
/// The server's own fault.
pub const INTERNAL: Fault = fault(
    500,
    "internal_error",
    "An unexpected error occurred on the server; its log says what. With `Retry-After` where it may pass.",
    "the database failed: see the server's log",
);
/// It may work in a moment.
pub const UNAVAILABLE: Fault = fault(
    503,
    "unavailable",
    "The same request may succeed in a moment. Nothing was stored.",
    "the server is stopping: try again in a moment",
);
/// Nobody knows whether it is done.
pub const OUTCOME_UNKNOWN: Fault = fault(
    503,
    "outcome_unknown",
    "The server stopped, or lost sight of its database, before it knew whether this is stored: send it again, with the same key if it has one.",
    "it is not known whether the event is stored: send it again, with the same Idempotency-Key if it has one",
);
/// The disk, or the store's budget, is full.
pub const STORAGE_FULL: Fault = fault(
    507,
    "storage_full",
    "The disk is full, or the store has grown to its limit (`--max-store-bytes`): nothing was stored. With `Retry-After` where it may pass by itself.",
    "the store's disk is full: free some space, nothing else is needed",
);

/// The schemas of the errors.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let detail = object()
        .field("path", string().about("Names of fields with dots, places in arrays with brackets; empty for the body as a whole."))
        .field("message", string().about("What is wrong there, and how it should be."))
        .closed();
    let items = object()
        .field("statusCode", integer().about("The HTTP status."))
        .field("code", string().about("For programs."))
        .field("error", string().about("The HTTP status's text."))
        .field("message", string().about("For people: what is wrong and how to mend it."))
        .field("retryable", boolean().about("Whether the same request may succeed later."))
        .field("request_id", string().pattern("^req_[0-9a-f]{32}$").about("The same as in the header `X-Request-Id`."))
        .field("timestamp", time())
        .field("path", string().about("The request's path."))
        .optional("details", array(named("ErrorDetail")).items(1..=20).about("With `validation_error`: everything that is wrong."))
        .optional("required_scopes", array(word(["read", "write", "admin"])).about("With `insufficient_scope`: what the key lacks."))
        .closed();
    let tasks = object().field("error", string().about("What is wrong and how to mend it.")).closed();
    vec![("Error", items), ("ErrorDetail", detail), ("TaskError", tasks)]
}

/// What a response to one of these faults holds, which share a status.
pub(super) fn content(api: Api, faults: &[Fault]) -> (Schema, Json) {
    let [first, ..] = faults else { return (object(), Json::object::<&str>([])) };
    if api == Api::Tasks {
        return (named("TaskError"), Json::object([("error", Json::from(first.message))]));
    }
    let narrowed = object().optional("statusCode", always(first.status)).optional("code", word(faults.iter().map(|fault| fault.code)));
    let mut example = vec![
        ("statusCode", Json::from(first.status)),
        ("code", first.code.into()),
        ("error", reason(first.status).into()),
        ("message", first.message.into()),
        ("retryable", (first.status == 429 || first.status >= 500).into()),
        ("request_id", "req_01a200f12ef57824bb695d10f3bd1879".into()),
        ("timestamp", "2026-01-05T08:00:00.000Z".into()),
        ("path", "/v1/delivery/items".into()),
    ];
    if *first == VALIDATION {
        let detail = [("path", Json::from("limit")), ("message", "must be a whole number from 1 to 500".into())];
        example.push(("details", Json::Array(vec![Json::object(detail)])));
    }
    if *first == SCOPE {
        example.push(("required_scopes", Json::array(["write"])));
    }
    (all([named("Error"), narrowed]), Json::object(example))
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}
