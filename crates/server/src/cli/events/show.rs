//! `postrider events show`.

use super::list::fate;
use crate::cli::remote::body::{self, Bodies};
use crate::cli::remote::deliveries;
use crate::cli::remote::text::{bytes, grouped};
use crate::cli::remote::{Failure, Output, Remote, Tone, clean};
use postrider_proto::v1;
use std::fmt::Write;

/// Flags of `postrider events show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider events show 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider events show 0197f3a2-5b1c-7d4e-8f90-123456789abc --bodies none")]
pub struct Args {
    /// Id of the event.
    #[arg(value_name = "ID")]
    id: String,
    /// How much of the payload to show.
    #[arg(long, value_name = "HOW", default_value = "short")]
    bodies: Bodies,
}

/// Shows an event.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    let request = v1::ExplainEventRequest { event_id: args.id.clone() };
    let story: v1::ExplainEventResponse = server.call("postrider.v1.LedgerService/ExplainEvent", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&story);
    }
    server.out.print(&told(&server.out, &story, args.bodies))
}

fn told(out: &Output, story: &v1::ExplainEventResponse, bodies: Bodies) -> String {
    let mut text = about(out, &story.event);
    if bodies != Bodies::None {
        text.push_str("\npayload\n");
        text.push_str(&body::body(out, &story.event.payload, bodies, "  "));
    }
    text.push('\n');
    if story.fan_out_pending {
        text.push_str(&out.paint(Tone::Warn, "more deliveries of it are being made\n"));
    }
    if story.deliveries.is_empty() {
        text.push_str("nobody got it\n");
    } else {
        text.push_str(&deliveries::table(out, &story.deliveries));
    }
    skipped(out, story, &mut text);
    unmatched(out, story, &mut text);
    text
}

/// What an event is. Writing into a String cannot fail.
pub fn about(out: &Output, detail: &v1::EventDetail) -> String {
    let event = &detail.event;
    let (became, tone) = fate(&event.deliveries, event.skipped);
    let mut text = format!("event {}  {}\n", event.event_id, out.paint(Tone::Strong, &clean(&event.event_type)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    line("namespace", &clean(&event.namespace));
    line("number", &grouped(event.number));
    line("accepted", &out.exact_time(event.created_at.as_option()));
    line("deliveries", &out.paint(tone, &became));
    if !event.idempotency_key.is_empty() {
        line("key", &clean(&event.idempotency_key));
    }
    if !event.labels.is_empty() {
        line("labels", &body::pairs(&event.labels));
    }
    if !detail.metadata.is_empty() {
        line("metadata", &body::pairs(&detail.metadata));
    }
    if detail.expires_at.is_set() {
        line("expires", &out.exact_time(detail.expires_at.as_option()));
    }
    if !event.schema_valid {
        line("schema", &out.paint(Tone::Warn, "the payload does not fit the schema of its type"));
    }
    line("size", &bytes(event.payload_bytes));
    text
}

fn skipped(out: &Output, story: &v1::ExplainEventResponse, text: &mut String) {
    if story.skipped.is_empty() {
        return;
    }
    text.push_str("\nmatched, but got none\n");
    for one in &story.skipped {
        let whom = if one.endpoint_name.is_empty() { "a deleted endpoint" } else { one.endpoint_name.as_str() };
        let reason = out.paint(Tone::Warn, &clean(&one.reason));
        let _ = writeln!(text, "  {}  subscription {}\n    {reason}", clean(whom), one.subscription_id);
    }
}

fn unmatched(out: &Output, story: &v1::ExplainEventResponse, text: &mut String) {
    if story.unmatched.is_empty() {
        return;
    }
    text.push_str("\ndid not match\n");
    for one in &story.unmatched {
        let _ = writeln!(text, "  {}  subscription {}", clean(&one.endpoint_name), one.subscription_id);
        text.push_str(&conditions(out, &one.conditions, "    "));
    }
}

/// Conditions, and whether they held, a line each.
pub fn conditions(out: &Output, conditions: &[v1::Condition], indent: &str) -> String {
    let line = |condition: &v1::Condition| {
        let (word, tone) = if condition.holds { ("yes", Tone::Good) } else { ("no ", Tone::Bad) };
        format!("{indent}{}  {}\n", out.paint(tone, word), clean(&condition.text))
    };
    conditions.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_with_who_did_not_get_it() {
        let event = v1::EventSummary {
            event_id: String::from("e1"),
            number: 4_711,
            namespace: String::from("shop"),
            event_type: String::from("order.created"),
            schema_valid: true,
            payload_bytes: 2,
            ..v1::EventSummary::default()
        };
        let payload = v1::Content { bytes: b"{}".to_vec(), ..v1::Content::default() };
        let detail = v1::EventDetail { event: event.into(), payload: payload.into(), ..v1::EventDetail::default() };
        let missed = v1::UnmatchedSubscription {
            subscription_id: String::from("s1"),
            endpoint_name: String::from("http://h/"),
            conditions: vec![v1::Condition { text: String::from("event type matches invoice.*"), holds: false }],
            ..v1::UnmatchedSubscription::default()
        };
        let story = v1::ExplainEventResponse { event: detail.into(), unmatched: vec![missed], ..v1::ExplainEventResponse::default() };
        let told = told(&Output::plain(false), &story, Bodies::Short);
        for words in [
            "event e1  order.created",
            "number      4,711",
            "nobody got it",
            "did not match",
            "    no   event type matches invoice.*",
            "  {}",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
