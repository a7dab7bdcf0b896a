//! What belongs to no API.

use super::operation::{answer, get};
use super::schema::object;
use super::{Noun, Tag};

pub(super) fn noun() -> Noun {
    let operation = get("/openapi.json", "getOpenApi", "This document")
        .about("The OpenAPI document of this server's REST APIs; `/docs` shows it to people. It needs no key. With `If-None-Match` it is answered 304 where it is the same.")
        .open()
        .answers(answer(200, "The document.").content(super::operation::JSON, object(), None).header("ETag").header("Cache-Control"))
        .answers(answer(304, "It is the one that the caller has.").header("ETag").header("Cache-Control"));
    Noun { tag: Tag { name: "Documentation", about: "About the APIs themselves." }, schemas: Vec::new(), operations: vec![operation] }
}
