//! `postrider subscriptions preview`.

use super::settings::Conditions;
use crate::cli::events::conditions;
use crate::cli::remote::body::{Bodies, body};
use crate::cli::remote::text::grouped;
use crate::cli::remote::{Failure, Output, Remote, Tone, clean, input};
use postrider_proto::v1;
use std::fmt::Write;

/// Flags of `postrider subscriptions preview`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider subscriptions preview --event 'order.*' --label region=eu
  postrider subscriptions preview --event 'order.*' --match '{\"currency\": \"EUR\"}' --template @o.tmpl
  postrider subscriptions preview --like 0197f3a2-5b1c-7d4e-8f90-123456789abc --event '*'")]
pub struct Args {
    #[command(flatten)]
    conditions: Conditions,
    /// Show the bodies that this subscription makes [default: those of a new one of the RPC API].
    #[arg(long, value_name = "ID")]
    like: Option<String>,
    /// Template that makes the bodies: as it is, @FILE, or - for stdin.
    #[arg(long, value_name = "TEXT|@FILE|-")]
    template: Option<String>,
    /// How many of the latest events to look through.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    latest: i32,
    /// How much of the bodies to show.
    #[arg(long, value_name = "HOW", default_value = "short")]
    bodies: Bodies,
}

/// Previews a subscription.
pub async fn run(server: &Remote, args: Args) -> Result<(), Failure> {
    let request = v1::PreviewSubscriptionRequest {
        namespace: server.own_namespace().await?,
        conditions: args.conditions.message()?.into(),
        subscription_id: args.like.unwrap_or_default(),
        template: args.template.as_deref().map(|given| input::text("--template", given)).transpose()?.unwrap_or_default(),
        events: args.latest,
    };
    let found: v1::PreviewSubscriptionResponse = server.call("postrider.v1.EndpointService/PreviewSubscription", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&found);
    }
    server.out.print(&told(&server.out, &found, args.bodies))
}

/// What a preview has found. Writing into a String cannot fail.
fn told(out: &Output, found: &v1::PreviewSubscriptionResponse, bodies: Bodies) -> String {
    let (matched, examined) = (grouped(i64::from(found.matched)), grouped(i64::from(found.examined)));
    let mut text = format!("would have matched {} of {examined}", out.paint(Tone::Strong, &matched));
    match found.oldest_at.as_option() {
        Some(at) => {
            let _ = writeln!(text, " events, the oldest from {}", out.time(Some(at)));
        }
        None => text.push_str(" events\n"),
    }
    if !found.examples.is_empty() {
        text.push_str("\nthe newest that match\n");
    }
    for example in &found.examples {
        let at = out.time(example.created_at.as_option());
        let _ = writeln!(text, "  {}  {}  {at}", example.event_id, clean(&example.event_type));
        match example.error.as_str() {
            "" => text.push_str(&body(out, &example.body, bodies, "    ")),
            error => {
                let _ = writeln!(text, "    {}", out.paint(Tone::Bad, &clean(error)));
            }
        }
    }
    if !found.misses.is_empty() {
        text.push_str("\nthe newest that do not\n");
    }
    for miss in &found.misses {
        let at = out.time(miss.created_at.as_option());
        let _ = writeln!(text, "  {}  {}  {at}", miss.event_id, clean(&miss.event_type));
        text.push_str(&conditions(out, &miss.conditions, "    "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_tells_how_many_and_shows_the_newest() {
        let body = v1::Content { bytes: b"{\"a\":1}".to_vec(), ..v1::Content::default() };
        let example = v1::PreviewedEvent { event_id: String::from("e1"), body: body.into(), ..v1::PreviewedEvent::default() };
        let lacks = v1::Condition { text: String::from("label region is eu"), holds: false };
        let miss = v1::PreviewedMiss { event_id: String::from("e2"), conditions: vec![lacks], ..v1::PreviewedMiss::default() };
        let found = v1::PreviewSubscriptionResponse {
            examined: 10_000,
            matched: 412,
            examples: vec![example],
            misses: vec![miss],
            ..v1::PreviewSubscriptionResponse::default()
        };
        let told = told(&Output::plain(false), &found, Bodies::Short);
        assert!(told.starts_with("would have matched 412 of 10,000 events\n"), "{told}");
        assert!(told.contains("  e1") && told.contains("    {\n      \"a\": 1\n    }\n"), "{told}");
        assert!(told.contains("  e2") && told.contains("    no   label region is eu\n"), "{told}");
    }
}
