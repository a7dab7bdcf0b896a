//! `postrider bindings preview`.

use super::NOUN;
use crate::cli::client::Asked;
use crate::cli::remote::body::{Bodies, body};
use crate::cli::remote::text::bytes;
use crate::cli::remote::{Failure, Output, Remote, Tone, clean, input};
use http::Method;
use postrider_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Flags of `postrider bindings preview`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider bindings preview 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider bindings preview 0197f3a2-5b1c-7d4e-8f90-123456789abc --event 1042
  postrider bindings preview 0197f3a2-5b1c-7d4e-8f90-123456789abc --data '{\"total\": 49.50}'

Without --event and --data it is the newest event that the binding wants, or one that is made up where there is none.

Exit code 1 where the body cannot be made.")]
pub struct Args {
    /// Id of the binding.
    #[arg(value_name = "ID")]
    id: String,
    /// The event, by its number in the Items API.
    #[arg(long, short, value_name = "NUMBER", conflicts_with = "data")]
    event: Option<String>,
    /// The payload of an event that nobody published, as a JSON object: as it is, @FILE, or - for stdin.
    #[arg(long, short, value_name = "JSON|@FILE|-")]
    data: Option<String>,
    /// How much of the body to show.
    #[arg(long, value_name = "HOW", default_value = "short")]
    bodies: Bodies,
}

#[derive(Debug, Default, Serialize)]
struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
}

/// What would be sent, as far as it is shown to people.
#[derive(Debug, Deserialize)]
struct Shown {
    matched: bool,
    signal: Signal,
    wire_preview: Option<Wire>,
    fallback_reason: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Signal {
    event_type: String,
    event_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Wire {
    body_preview: String,
    size_bytes: usize,
    #[serde(default)]
    headers_preview: BTreeMap<String, String>,
}

/// Previews a binding.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    let payload = args.data.as_deref().map(|given| input::json("--data", given)).transpose()?;
    let request = Request { event_id: args.event.clone(), payload };
    let answer = server.ask(Asked::new(Method::POST, format!("{}/preview", NOUN.at(&args.id)?)).with_json(&request)?).await?;
    server.show(&answer, |out, shown: &Shown| told(out, shown, args.bodies))?;
    let shown: Shown = answer.read()?;
    match shown.error_code {
        Some(code) => Err(Failure::refused(format!("the body cannot be made: {}", clean(&shown.error_message.unwrap_or(code))))),
        None => Ok(()),
    }
}

/// What would be sent. Writing into a String cannot fail.
fn told(out: &Output, shown: &Shown, bodies: Bodies) -> String {
    let event = match &shown.signal.event_id {
        Some(id) => format!("event {}", clean(id)),
        None => String::from("an event that nobody published"),
    };
    let wanted = if shown.matched { out.paint(Tone::Good, "wanted") } else { out.paint(Tone::Warn, "not wanted by this binding") };
    let mut text = format!("{event} of type {}: {wanted}\n", clean(&shown.signal.event_type));
    if let Some(why) = &shown.fallback_reason {
        let _ = writeln!(text, "  {}", out.paint(Tone::Dim, &clean(why)));
    }
    if let Some(wire) = &shown.wire_preview {
        text.push('\n');
        for (name, value) in &wire.headers_preview {
            let _ = writeln!(text, "  {}: {}", clean(name), clean(value));
        }
        let content = v1::Content { bytes: wire.body_preview.clone().into_bytes(), ..v1::Content::default() };
        let _ = write!(text, "\n{}", body(out, &content, bodies, "  "));
        if wire.size_bytes > wire.body_preview.len() {
            let size = bytes(i64::try_from(wire.size_bytes).unwrap_or(i64::MAX));
            let _ = writeln!(text, "  {}", out.paint(Tone::Dim, &format!("… all of it has {size}, of which no more is shown here")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_tells_which_event_and_what_would_be_sent() {
        let sent = r#"{"available":true,"sample_mode":"real","matched":true,"signal":{"event_type":"order.created","event_id":"1042"},
            "wire_preview":{"body_preview":"{\"a\":1}","mime":"application/json","size_bytes":9000,
            "headers_preview":{"content-type":"application/json"}},"error_code":null,"error_message":null}"#;
        let told = told(&Output::plain(false), &serde_json::from_str(sent).expect("a preview"), Bodies::Short);
        let head = "event 1042 of type order.created: wanted\n\n  content-type: application/json\n\n  {\n    \"a\": 1\n  }\n";
        assert!(told.starts_with(head) && told.contains("all of it has 8.8 KiB"), "{told}");
    }
}
