//! `postrider bindings catalog`.

use crate::cli::client::Asked;
use crate::cli::remote::table::{Cell, Column};
use crate::cli::remote::{Failure, Output, Remote};
use serde::Deserialize;
use serde_json::value::RawValue;

const COLUMNS: [Column; 2] = [Column::whole("NAME"), Column::text("ABOUT", 20)];

/// Flags of `postrider bindings catalog`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider bindings catalog signals
  postrider bindings catalog serializers --json")]
pub struct Args {
    /// What to list.
    #[arg(value_name = "WHAT", default_value = "signals")]
    what: What,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Types of events that are known beforehand; every other type of the right form can be bound too.
    Signals,
    /// What can be delivered of an event.
    Deliverables,
    /// The formats of bodies.
    Serializers,
    /// The ways to a destination.
    Connectors,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Signals => "signals",
            What::Deliverables => "deliverables",
            What::Serializers => "serializers",
            What::Connectors => "connectors",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Listed {
    data: Vec<Box<RawValue>>,
}

/// An entry of any of the four lists.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(alias = "type", alias = "format")]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    supports_kinds: Vec<String>,
    #[serde(default)]
    supported_serializers: Vec<String>,
}

/// Lists a part of the catalog.
pub async fn run(server: &Remote, args: Args) -> Result<(), Failure> {
    let name = args.what.name();
    let answer = server.ask(Asked::get(format!("v1/delivery/catalog/{name}"))).await?;
    let listed: Listed = answer.read()?;
    server.list_whole(&listed.data, &COLUMNS, name, row)
}

fn row(_: &Output, entry: &Entry) -> Vec<Cell> {
    let about = match (&entry.description, &entry.supports_kinds, &entry.supported_serializers) {
        (text, ..) if !text.is_empty() => text.clone(),
        (_, kinds, _) if !kinds.is_empty() => format!("for {}", kinds.join(", ")),
        (.., formats) => formats.join(", "),
    };
    vec![entry.name.as_str().into(), about.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::remote::table::Table;

    #[test]
    fn entries_of_all_lists_are_shown() {
        let mut table = Table::new(&COLUMNS);
        for sent in [
            r#"{"type":"order","category":"x","description":"an order","payload_fields":["a"]}"#,
            r#"{"format":"csv","supports_kinds":["record","envelope"]}"#,
            r#"{"type":"webhook","supported_serializers":["json","raw"],"max_payload_bytes":null}"#,
        ] {
            table.push(row(&Output::plain(false), &serde_json::from_str(sent).expect(sent)));
        }
        let expected = "NAME     ABOUT\norder    an order\ncsv      for record, envelope\nwebhook  json, raw\n";
        assert_eq!(table.take(&Output::plain(false)), expected);
    }
}
