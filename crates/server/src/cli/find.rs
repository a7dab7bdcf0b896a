//! `postrider find`: what a text from a log or from a customer is.

use super::remote::text::{ago, moment};
use super::remote::{self, Exit, Failure, Flags, Remote, Tone, clean};
use super::{Outcome, say};
use crate::clock::SystemClock;
use postrider_core::ports::Clock;
use postrider_proto::v1;

/// Flags of `postrider find`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider find 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider find order-4711
  postrider find msg_2KWPBgLlAfxdpx2AI54pPJ85f4W

Exit code 3 where nothing is found.")]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// An id of anything, an event's idempotency key, or the idempotency key of a delivery as receivers see it.
    #[arg(value_name = "TEXT")]
    text: String,
    /// Look only through the newest 200,000 deliveries for the key of one, and not through all of them.
    #[arg(long)]
    quick: bool,
}

/// Runs `postrider find`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, text, quick } = args;
    remote::run(&flags, |server| async move { find(&server, text, quick).await })
}

async fn find(server: &Remote, text: String, quick: bool) -> Result<(), Failure> {
    let mut request = v1::FindRequest { text, namespace: server.namespace.clone(), ..v1::FindRequest::default() };
    let mut found = 0;
    loop {
        let answer: v1::FindResponse = server.call("postrider.v1.LedgerService/Find", &request).await?;
        for finding in &answer.findings {
            found += 1;
            show(server, finding)?;
        }
        let is_over = answer.next_page_token.is_empty() || quick || found > 0;
        if is_over && found > 0 {
            return Ok(());
        }
        let back = moment(answer.looked_back_to.as_option()).map(|at| ago(at, SystemClock.now()));
        if is_over {
            let far = back.map_or_else(String::new, |back| format!(", neither a key of the deliveries made since {back}"));
            return Err(Failure::new(Exit::NotFound, format!("nothing has this id or key{far}")));
        }
        say(&format!("not among the deliveries made since {}; looking further back", back.unwrap_or_default()));
        request.page_token = answer.next_page_token;
    }
}

fn show(server: &Remote, finding: &v1::Finding) -> Result<(), Failure> {
    let out = &server.out;
    if out.is_json() {
        return out.json_line(finding);
    }
    let kind = out.paint(Tone::Strong, &clean(&finding.kind).replace('_', " "));
    let place = if finding.namespace.is_empty() { String::new() } else { format!(" in {}", clean(&finding.namespace)) };
    out.print(&format!("{kind} {}{place}: {}\n", clean(&finding.id), clean(&finding.text)))?;
    let command = match finding.kind.as_str() {
        "delivery" => format!("deliveries show {}", finding.id),
        "event" => format!("events show {}", finding.id),
        "endpoint" => format!("endpoints show {}", finding.id),
        "subscription" => format!("subscriptions show {}", finding.id),
        "job" => format!("jobs show {}", finding.id),
        _ if !finding.delivery_id.is_empty() => format!("deliveries show {}", finding.delivery_id),
        _ => return Ok(()),
    };
    out.line(&format!("  postrider {}", clean(&command)))
}
