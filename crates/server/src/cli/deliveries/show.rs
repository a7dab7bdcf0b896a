//! `postrider deliveries show`: the same story as the page of a delivery.

use crate::cli::events::{about, conditions};
use crate::cli::remote::body::{Bodies, body};
use crate::cli::remote::deliveries::{endpoint, tries};
use crate::cli::remote::story::{self, How};
use crate::cli::remote::text::counted;
use crate::cli::remote::{Failure, Output, Remote, Tone, clean};
use postrider_proto::v1;
use std::fmt::Write;

/// Flags of `postrider deliveries show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider deliveries show 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider deliveries show 0197f3a2-5b1c-7d4e-8f90-123456789abc --bodies full | less
  postrider deliveries show DELIVERY --json | jq '.attempts[-1].httpStatus'

Values of secret headers and signatures are masked: nobody gets to see them again.")]
pub struct Args {
    /// Id of the delivery.
    #[arg(value_name = "ID")]
    id: String,
    /// Show only the latest N attempts; 0 shows all that are kept.
    #[arg(long, value_name = "N", default_value_t = 10)]
    attempts: usize,
    #[command(flatten)]
    how: How,
}

/// Tells the story of a delivery.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    let request = v1::ExplainDeliveryRequest { delivery_id: args.id.clone() };
    let story: v1::ExplainDeliveryResponse = server.call("postrider.v1.LedgerService/ExplainDelivery", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&story);
    }
    server.out.print(&told(&server.out, &story, args))
}

/// The story. Writing into a String cannot fail.
fn told(out: &Output, story: &v1::ExplainDeliveryResponse, args: &Args) -> String {
    let mut text = head(out, story);
    text.push('\n');
    text.push_str(&about(out, &story.event));
    if args.how.bodies != Bodies::None {
        text.push_str("  payload\n");
        text.push_str(&body(out, &story.event.payload, args.how.bodies, "    "));
    }
    text.push_str("\nwhy it was made\n");
    text.push_str(&conditions(out, &story.matched, "  "));
    if story.matched.is_empty() {
        text.push_str("  it was made for this subscription alone\n");
    }
    if story.subscription_changed {
        let note = "the subscription was changed or deleted since: it may have been another condition";
        let _ = writeln!(text, "  {}", out.paint(Tone::Warn, note));
    }
    let passed = if args.attempts == 0 { 0 } else { story.attempts.len().saturating_sub(args.attempts) };
    if passed > 0 {
        let many = counted(i64::try_from(passed).unwrap_or(i64::MAX), "earlier attempt", "earlier attempts");
        let _ = writeln!(text, "\n{}", out.paint(Tone::Dim, &format!("({many}: --attempts 0 shows all)")));
    }
    for attempt in story.attempts.iter().skip(passed) {
        text.push('\n');
        text.push_str(&story::attempt(out, attempt, args.how));
    }
    let _ = writeln!(text, "\n{}", next(out, story));
    text
}

fn head(out: &Output, story: &v1::ExplainDeliveryResponse) -> String {
    let delivery = &story.delivery;
    let state = out.paint(Tone::of_state(&delivery.state), &delivery.state);
    let mut text = format!("delivery {}  {state}\n", delivery.delivery_id);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    line("to", &clean(endpoint(delivery)));
    line("url", &clean(&delivery.url));
    line("endpoint", &delivery.endpoint_id);
    line("subscription", &delivery.subscription_id);
    line("attempts", &tries(delivery));
    line("made", &out.exact_time(delivery.created_at.as_option()));
    line("key", &clean(&story.idempotency_key));
    if story.expires_at.is_set() {
        line("expires", &out.exact_time(story.expires_at.as_option()));
    }
    if !story.dead_letter_id.is_empty() {
        line("dead letter", &story.dead_letter_id);
    }
    text
}

/// What happens next, and what can be done about it.
fn next(out: &Output, story: &v1::ExplainDeliveryResponse) -> String {
    let id = &story.delivery.delivery_id;
    let commands: Vec<String> = story.actions.iter().map(|action| format!("postrider deliveries {} {id}", clean(action))).collect();
    let next = format!("next: {}", out.paint(Tone::Strong, &clean(&story.next)));
    if commands.is_empty() { next } else { format!("{next}\n  {}", commands.join("\n  ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(attempts: i32) -> v1::ExplainDeliveryResponse {
        let delivery = v1::DeliverySummary {
            delivery_id: String::from("d1"),
            state: String::from("retrying"),
            url: String::from("http://h/"),
            attempts,
            max_attempts: 5,
            ..v1::DeliverySummary::default()
        };
        let attempt = |number| v1::AttemptStory { number, category: String::from("timeout"), ..v1::AttemptStory::default() };
        v1::ExplainDeliveryResponse {
            delivery: delivery.into(),
            matched: vec![v1::Condition { text: String::from("event type matches *"), holds: true }],
            attempts: (1..=attempts).map(attempt).collect(),
            next: String::from("the third attempt is in 4 minutes"),
            actions: vec![String::from("retry"), String::from("cancel")],
            ..v1::ExplainDeliveryResponse::default()
        }
    }

    fn args(attempts: usize) -> Args {
        Args { id: String::from("d1"), attempts, how: How { bodies: Bodies::Short, ascii: true } }
    }

    #[test]
    fn a_story_is_told_in_its_order() {
        let told = told(&Output::plain(false), &story(2), &args(10));
        let mut rest = told.as_str();
        for words in [
            "delivery d1  retrying\n",
            "  attempts      2/5\n",
            "why it was made\n  yes  event type matches *\n",
            "attempt 1  timeout",
            "attempt 2  timeout",
            "next: the third attempt is in 4 minutes\n  postrider deliveries retry d1\n  postrider deliveries cancel d1\n",
        ] {
            let at = rest.find(words).unwrap_or_else(|| panic!("{words:?} is not next in {rest}"));
            rest = &rest[at + words.len()..];
        }
    }

    #[test]
    fn of_many_attempts_the_latest_are_shown() {
        let told = told(&Output::plain(false), &story(12), &args(10));
        assert!(told.contains("(2 earlier attempts: --attempts 0 shows all)") && !told.contains("attempt 2  "), "{told}");
        assert!(told.contains("attempt 3  ") && told.contains("attempt 12  "), "{told}");
    }
}
