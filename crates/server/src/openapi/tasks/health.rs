//! `/healthz`.

use crate::openapi::operation::{answer, get};
use crate::openapi::schema::{object, word};
use crate::openapi::{Noun, Tag};

pub(super) fn noun() -> Noun {
    let status = |word_of: &'static str| object().field("status", word([word_of])).closed();
    let operation = get("/healthz", "health", "Health check")
        .about("Whether the store reads and writes. It needs no key; an answer is good for a second.")
        .open()
        .answers(answer(200, "The server works.").json(status("healthy"), r#"{"status": "healthy"}"#))
        .answers(answer(503, "The store cannot be used.").json(status("unhealthy"), r#"{"status": "unhealthy"}"#));
    Noun { tag: Tag { name: "Health", about: "For load balancers." }, schemas: Vec::new(), operations: vec![operation] }
}
