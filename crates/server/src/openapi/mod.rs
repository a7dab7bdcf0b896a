//! The OpenAPI 3.1 document of both REST APIs: `openapi.json`, which is also served.
//!
//! One file per noun, each with the schemas and the operations of it. To add an operation, add its route to the API's [`crate::http::Table`] and
//! an entry to `operations()` of its noun; then `postrider openapi > openapi.json`. Tests compare routes, document and file.
//!
//! | module | is |
//! |---|---|
//! | [`json`], [`schema`], [`operation`], [`faults`] | what documents are built from |
//! | `document` | puts everything together |
//! | `items`, `tasks`, `system` | what there is, noun by noun |

mod document;
pub mod faults;
mod items;
pub mod json;
pub mod operation;
pub mod schema;
mod system;
mod tasks;

pub use document::Tag;

use json::Json;
use operation::Operation;
use schema::Schema;
use std::sync::LazyLock;

/// What a file about a noun says.
#[derive(Debug)]
struct Noun {
    tag: Tag,
    schemas: Vec<(&'static str, Schema)>,
    operations: Vec<Operation>,
}

fn nouns() -> Vec<Noun> {
    items::nouns().into_iter().chain(tasks::nouns()).chain([system::noun()]).collect()
}

/// Every operation that is documented.
pub fn operations() -> Vec<Operation> {
    nouns().into_iter().flat_map(|noun| noun.operations.into_iter().map(move |operation| operation.tag(noun.tag.name))).collect()
}

/// The document.
pub fn document() -> Json {
    let (mut tags, mut schemas) = (Vec::new(), faults::schemas());
    for noun in nouns() {
        tags.push(noun.tag);
        schemas.extend(noun.schemas);
    }
    document::document(&tags, &operations(), schemas)
}

/// The document's text, as `openapi.json` has it.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // Texts, numbers and lists of them are always JSON.
        let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

#[cfg(test)]
mod tests;
