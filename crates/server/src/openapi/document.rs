//! The document as a whole: operations, components and what is said of all of them.

use super::faults::{self, Api, Fault};
use super::json::Json;
use super::operation::{Access, Answer, Content, JSON, Operation, Parameter};
use super::schema::{Schema, integer, string};
use std::collections::BTreeMap;

type Fields = Vec<(&'static str, Json)>;

const ABOUT: &str = "Self-hosted webhook delivery: accepts an event, stores it, and delivers it signed, with retries and a history of every attempt.\n\n\
Two REST APIs share one address: the **Items API** under `/v1` and the **Tasks API** beside it. Send the key as `Authorization: Bearer KEY` or \
`X-API-Key: KEY`. In development mode (`postrider serve --dev`) requests to the Tasks API without a key act in the namespace `default`. What \
belongs to another namespace does not exist: 404. Limits of texts are bytes of their UTF-8; a `maxLength` here counts characters.";

const SERVER: &str = "This server";

/// A group of operations.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Its name.
    pub name: &'static str,
    /// For people.
    pub about: &'static str,
}

/// Puts everything together.
pub(super) fn document(tags: &[Tag], operations: &[Operation], schemas: Vec<(&'static str, Schema)>) -> Json {
    let about = [("title", "Postrider".into()), ("description", ABOUT.into()), ("version", env!("CARGO_PKG_VERSION").into())];
    let license = Json::object([("name", Json::from("Apache-2.0")), ("identifier", "Apache-2.0".into())]);
    let info = Json::object(about.into_iter().chain([("license", license)]));
    let server = Json::object([("url", Json::from("/")), ("description", SERVER.into())]);
    let tags = tags.iter().map(|tag| Json::object([("name", Json::from(tag.name)), ("description", tag.about.into())]));
    let mut responses = BTreeMap::new();
    let paths = paths(operations, &mut responses);
    Json::object([
        ("openapi", "3.1.0".into()),
        ("info", info),
        ("servers", Json::Array(vec![server])),
        ("tags", Json::Array(tags.collect())),
        ("paths", paths),
        ("components", components(schemas, responses)),
    ])
}

fn paths(operations: &[Operation], responses: &mut BTreeMap<String, Json>) -> Json {
    let mut paths: Vec<(&'static str, Fields)> = Vec::new();
    for operation in operations {
        let method = match operation.method {
            http::Method::POST => "post",
            http::Method::PUT => "put",
            http::Method::DELETE => "delete",
            _ => "get",
        };
        let shown = (method, show(operation, responses));
        match paths.iter_mut().find(|(path, _)| *path == operation.path) {
            Some((_, methods)) => methods.push(shown),
            None => paths.push((operation.path, vec![shown])),
        }
    }
    Json::object(paths.into_iter().map(|(path, methods)| (path, Json::object(methods))))
}

fn show(operation: &Operation, responses: &mut BTreeMap<String, Json>) -> Json {
    let mut fields: Fields = vec![
        ("operationId", operation.id.into()),
        ("tags", Json::array([operation.tag])),
        ("summary", operation.summary.into()),
        ("description", operation.about.clone().into()),
        ("security", security(operation.access)),
    ];
    if !operation.parameters.is_empty() {
        fields.push(("parameters", Json::Array(operation.parameters.iter().map(parameter).collect())));
    }
    if !operation.body.is_empty() {
        let content = operation.body.iter().map(|content| (content.media, media(content)));
        fields.push(("requestBody", Json::object([("required", operation.body_required.into()), ("content", Json::object(content))])));
    }
    let is_once = operation.faults.contains(&faults::MISMATCH);
    let successes = operation.answers.iter().map(|answer| (answer.status.to_string(), success(operation.api, answer, is_once)));
    let failures = by_status(&operation.faults).into_iter().map(|(status, faults)| {
        let name = component(operation.api, status, &faults);
        let reference = Json::object([("$ref", format!("#/components/responses/{name}").into())]);
        responses.entry(name).or_insert_with(|| failure(operation.api, status, &faults));
        (status.to_string(), reference)
    });
    fields.push(("responses", Json::object(successes.chain(failures))));
    Json::object(fields)
}

/// In OpenAPI 3.1 a requirement lists roles that are needed, whatever the scheme: the key's scope.
fn security(access: Access) -> Json {
    let with = |scheme: &'static str, scope: Option<&'static str>| Json::object([(scheme, Json::array(scope))]);
    let key = |scope| [with("bearer", Some(scope)), with("apiKey", Some(scope))];
    match access {
        Access::Open => Json::Array(Vec::new()),
        Access::Key(scope) => Json::Array(key(scope.as_str()).to_vec()),
        Access::KeyOrSignature => Json::Array(key("write").into_iter().chain([with("hubSignature", None)]).collect()),
    }
}

fn parameter(parameter: &Parameter) -> Json {
    let Parameter { place, name, required, about, schema } = parameter.clone();
    Json::object([
        ("name", name.into()),
        ("in", place.into()),
        ("required", required.into()),
        ("description", about.into()),
        ("schema", schema.into()),
    ])
}

fn media(content: &Content) -> Json {
    let example = |(name, value): &(&'static str, Json)| (*name, Json::object([("value", value.clone())]));
    let examples = (!content.examples.is_empty()).then(|| ("examples", Json::object(content.examples.iter().map(example))));
    Json::object([("schema", Json::from(content.schema.clone()))].into_iter().chain(examples))
}

fn success(api: Api, answer: &Answer, is_once: bool) -> Json {
    let usual: &[&str] = if api == Api::Items { &ITEMS_HEADERS } else { &[] };
    let replayed = is_once.then_some("Idempotency-Replayed");
    let headers: Vec<&str> = answer.headers.iter().copied().chain(replayed).chain(usual.iter().copied()).collect();
    let content = answer.content.as_ref().map(|content| Json::object([(content.media, media(content))]));
    response(answer.about, &headers, content)
}

fn response(about: &str, headers: &[&'static str], content: Option<Json>) -> Json {
    let mut fields: Fields = vec![("description", about.into())];
    if !headers.is_empty() {
        let reference = |name: &'static str| (name, Json::object([("$ref", format!("#/components/headers/{name}").into())]));
        fields.push(("headers", Json::object(headers.iter().copied().map(reference))));
    }
    fields.extend(content.map(|content| ("content", content)));
    Json::object(fields)
}

fn by_status(faults: &[Fault]) -> BTreeMap<u16, Vec<Fault>> {
    let mut all: BTreeMap<u16, Vec<Fault>> = BTreeMap::new();
    for fault in faults {
        all.entry(fault.status).or_default().push(*fault);
    }
    // In one order, so that the same faults are one component.
    all.values_mut().for_each(|faults| faults.sort_by_key(|fault| std::cmp::Reverse((fault.code, fault.when))));
    all
}

fn component(api: Api, status: u16, faults: &[Fault]) -> String {
    let api = if api == Api::Items { "v1" } else { "tasks" };
    let codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
    let signed = if faults.contains(&faults::UNSIGNED) { ".unsigned" } else { "" };
    format!("{api}.{status}.{}{signed}", codes.join("."))
}

fn failure(api: Api, status: u16, of: &[Fault]) -> Json {
    let (schema, example) = faults::content(api, of);
    let media = media(&Content { media: JSON, schema, examples: vec![("answer", example)] });
    let about: Vec<&str> = of.iter().map(|fault| fault.when).collect();
    let mut headers: Vec<&'static str> = Vec::new();
    headers.extend((status == 401).then_some("WWW-Authenticate"));
    headers.extend(matches!(status, 409 | 429 | 500 | 503 | 507).then_some("Retry-After"));
    headers.extend(if api == Api::Items { &ITEMS_HEADERS[..] } else { &[] });
    response(&about.join(" "), &headers, Some(Json::object([(JSON, media)])))
}

/// What answers of `/v1` carry.
const ITEMS_HEADERS: [&str; 4] = ["X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

fn headers() -> Json {
    let path = || string().pattern("^/");
    let all: [(&'static str, bool, &str, Schema); 11] = [
        ("X-Request-Id", true, "Names the request, in errors too.", string().pattern("^req_[0-9a-f]{32}$")),
        (
            "X-RateLimit-Limit",
            false,
            "Requests that the key may make at once. The three are left out where there is no limit.",
            integer().at_least(1),
        ),
        ("X-RateLimit-Remaining", false, "Requests that are left.", integer().at_least(0)),
        ("X-RateLimit-Reset", false, "The Unix second at which all of them are back.", integer().at_least(0)),
        ("Retry-After", false, "After how many seconds the same request may succeed. Always there with 429.", integer().at_least(1)),
        (
            "Idempotency-Replayed",
            false,
            "`true` where this is the answer of an earlier request with the same `Idempotency-Key`.",
            super::schema::word(["true"]),
        ),
        ("WWW-Authenticate", true, "`Bearer`.", super::schema::word(["Bearer"])),
        ("Location", true, "The path of what was made.", path()),
        ("Link", false, "With `rel=\"next\"`: the path of the next page. Left out at the end.", string().pattern("^</.*>; rel=\"next\"$")),
        ("Cache-Control", true, "`no-store`, or `no-cache`.", super::schema::word(["no-store", "no-cache"])),
        ("ETag", true, "Changes with the content.", string().pattern("^\"[0-9a-f]{32}\"$")),
    ];
    Json::object(all.into_iter().map(|(name, required, about, schema)| {
        (name, Json::object([("description", about.into()), ("required", required.into()), ("schema", Json::from(schema))]))
    }))
}

fn components(schemas: Vec<(&'static str, Schema)>, responses: BTreeMap<String, Json>) -> Json {
    let schemas = schemas.into_iter().map(|(name, schema)| (name, Json::from(schema)));
    Json::object([
        ("schemas", Json::object(schemas)),
        ("responses", Json::object(responses)),
        ("headers", headers()),
        ("securitySchemes", security_schemes()),
    ])
}

fn security_schemes() -> Json {
    let scheme = |fields: &[(&'static str, &'static str)]| Json::object(fields.iter().map(|(name, text)| (*name, Json::from(*text))));
    Json::object([
        ("bearer", scheme(&[("type", "http"), ("scheme", "bearer"), ("description", "An API key: `Authorization: Bearer KEY`.")])),
        ("apiKey", scheme(&[("type", "apiKey"), ("in", "header"), ("name", "X-API-Key"), ("description", "An API key.")])),
        (
            "hubSignature",
            scheme(&[
                ("type", "apiKey"),
                ("in", "header"),
                ("name", "X-Hub-Signature-256"),
                (
                    "description",
                    "For subscriptions with a secret: `sha256=` and the HMAC-SHA256 of the request body under the secret, in hexadecimal.",
                ),
            ]),
        ),
    ])
}
