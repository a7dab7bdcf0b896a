//! Operations: what a method at a path takes and answers.

use super::faults::{self, Api, Fault};
use super::json::Json;
use super::schema::{Schema, integer, string, uuid};
use crate::items::once::MAX_KEY_BYTES;
use crate::items::page::{DEFAULT_LIMIT, MAX_LIMIT};
use http::Method;
use postrider_core::key::Scope;

/// What JSON comes as.
pub const JSON: &str = "application/json";

/// An operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, as the router has it.
    pub path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) about: String,
    pub(super) api: Api,
    pub(super) access: Access,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Vec<Content>,
    pub(super) body_required: bool,
    pub(super) answers: Vec<Answer>,
    pub(super) faults: Vec<Fault>,
}

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Open,
    /// A key with this scope.
    Key(Scope),
    /// A key that may write, or who can sign.
    KeyOrSignature,
}

/// A parameter.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub place: &'static str,
    pub name: &'static str,
    pub required: bool,
    pub about: String,
    pub schema: Schema,
}

/// A body of one media type.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub media: &'static str,
    pub schema: Schema,
    pub examples: Vec<(&'static str, Json)>,
}

/// A success.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: Option<Content>,
    pub(super) headers: Vec<&'static str>,
}

/// A success with this status.
pub fn answer(status: u16, about: &'static str) -> Answer {
    Answer { status, about, content: None, headers: Vec::new() }
}

impl Answer {
    /// It holds JSON; the example is a JSON text.
    pub fn json(self, schema: Schema, example: &str) -> Self {
        self.content(JSON, schema, Some(Json::example(example)))
    }

    /// It holds something of another media type.
    pub fn content(mut self, media: &'static str, schema: Schema, example: Option<Json>) -> Self {
        self.content = Some(Content { media, schema, examples: example.into_iter().map(|example| ("answer", example)).collect() });
        self
    }

    /// It has a header of the components.
    pub fn header(mut self, name: &'static str) -> Self {
        self.headers.push(name);
        self
    }
}

impl Operation {
    fn new(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        let is_items = path.starts_with(crate::items::PREFIX);
        let api = if is_items { Api::Items } else { Api::Tasks };
        let scope = if method == Method::GET { Scope::Read } else { Scope::Write };
        let usual: &[Fault] = if is_items {
            &[faults::UNAUTHORIZED, faults::SCOPE, faults::RATE_LIMITED]
        } else {
            &[faults::UNAUTHORIZED, faults::FORBIDDEN]
        };
        Operation {
            method,
            path,
            id,
            tag: "",
            summary,
            about: String::new(),
            api,
            access: Access::Key(scope),
            parameters: Vec::new(),
            body: Vec::new(),
            body_required: true,
            answers: Vec::new(),
            faults: usual.to_vec(),
        }
    }

    /// The name of its group.
    pub fn group(&self) -> &'static str {
        self.tag
    }

    /// What it does, in a few words.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// For people, in Markdown.
    pub fn about(mut self, text: impl Into<String>) -> Self {
        self.about = text.into();
        self
    }

    /// Its group.
    pub fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// It needs another scope than its method says.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.access = Access::Key(scope);
        self
    }

    /// Everybody may.
    pub fn open(mut self) -> Self {
        self.access = Access::Open;
        self.faults.clear();
        self
    }

    /// A signature may stand for the key.
    pub fn signed(mut self) -> Self {
        self.access = Access::KeyOrSignature;
        self.faults = vec![faults::UNSIGNED, faults::FORBIDDEN];
        self
    }

    /// The id in its path, of the form UUID. What has none is answered 404.
    pub fn id(self, name: &'static str, about: impl Into<String>) -> Self {
        self.place(name, about, uuid())
    }

    /// What its path names.
    pub fn place(self, name: &'static str, about: impl Into<String>, schema: Schema) -> Self {
        self.parameter("path", name, true, about.into(), schema).fault(faults::NOT_FOUND)
    }

    /// A parameter of the query.
    pub fn query(self, name: &'static str, about: impl Into<String>, schema: Schema) -> Self {
        let wrong = if self.api == Api::Items { faults::VALIDATION } else { faults::BAD_REQUEST };
        self.parameter("query", name, false, about.into(), schema).fault(wrong)
    }

    /// A header of the request.
    pub fn header(self, name: &'static str, about: impl Into<String>, schema: Schema) -> Self {
        self.parameter("header", name, false, about.into(), schema)
    }

    fn parameter(mut self, place: &'static str, name: &'static str, required: bool, about: String, schema: Schema) -> Self {
        self.parameters.push(Parameter { place, name, required, about, schema });
        self
    }

    /// It answers a page: `limit` and `cursor`.
    pub fn pages(self) -> Self {
        let limit = integer().range(1..=MAX_LIMIT).default(DEFAULT_LIMIT);
        self.query("limit", "Entries of a page.", limit).query("cursor", "The `next_cursor` of the page before.", string())
    }

    /// A master key may name a namespace.
    pub fn of_customer(self) -> Self {
        self.query("customer_id", "Of this namespace, for keys without one of their own; for others it is an unknown filter.", string())
    }

    /// It takes a JSON body; the examples are JSON texts, each with its name.
    pub fn takes(self, schema: Schema, examples: &[(&'static str, &str)]) -> Self {
        self.takes_unlabelled(schema, examples).fault(faults::MEDIA_TYPE)
    }

    /// It takes a JSON body, whatever the request calls it.
    pub fn takes_unlabelled(self, schema: Schema, examples: &[(&'static str, &str)]) -> Self {
        let wrong = if self.api == Api::Items { faults::VALIDATION } else { faults::BAD_REQUEST };
        let faults = [wrong, faults::TIMEOUT, faults::TOO_LARGE, faults::UNAVAILABLE];
        let examples = examples.iter().map(|(name, text)| (*name, Json::example(text))).collect();
        faults.into_iter().fold(self, Operation::fault).or_takes(JSON, schema, examples)
    }

    /// It takes a body of another media type too.
    pub fn or_takes(mut self, media: &'static str, schema: Schema, examples: Vec<(&'static str, Json)>) -> Self {
        self.body.push(Content { media, schema, examples });
        self
    }

    /// The body may be left out.
    pub fn body_optional(mut self) -> Self {
        self.body_required = false;
        self
    }

    /// It works in one namespace: a master key is refused.
    pub fn tenant(self) -> Self {
        self.fault(faults::MASTER_VIEW)
    }

    /// It reads the store.
    pub fn reads(self) -> Self {
        self.fault(faults::INTERNAL)
    }

    /// It writes to the store.
    pub fn writes(self) -> Self {
        let faults = [faults::INTERNAL, faults::UNAVAILABLE, faults::OUTCOME_UNKNOWN, faults::STORAGE_FULL];
        faults.into_iter().fold(self, Operation::fault)
    }

    /// Whatever changes something in `/v1` can carry a key under which it is done once.
    fn once(self) -> Self {
        if self.api != Api::Items {
            return self;
        }
        let about = "The same key with the same request again within 24 hours does nothing more and answers as the first time, with \
                     `Idempotency-Replayed: true`. While the first is being done: 409.";
        let key = string().length(1..=MAX_KEY_BYTES).pattern("^[!-~]+$");
        let faults = [faults::VALIDATION, faults::TIMEOUT, faults::CONFLICT, faults::TOO_LARGE, faults::MISMATCH];
        faults.into_iter().fold(self.header("Idempotency-Key", about, key).writes(), Operation::fault)
    }

    /// Something else can go wrong.
    pub fn fault(mut self, fault: Fault) -> Self {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
        self
    }

    /// A success.
    pub fn answers(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }
}

/// `GET`.
pub fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::GET, path, id, summary)
}

/// `POST`.
pub fn post(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::POST, path, id, summary).once()
}

/// `POST` that changes nothing.
pub fn post_to_look(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::POST, path, id, summary).scope(Scope::Read)
}

/// `PUT`.
pub fn put(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::PUT, path, id, summary).once()
}

/// `DELETE`.
pub fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::DELETE, path, id, summary).once()
}
