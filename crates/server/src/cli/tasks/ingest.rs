//! `postrider tasks ingest`.

use crate::cli::client::Asked;
use crate::cli::remote::rest::segment;
use crate::cli::remote::{Failure, Remote, input};
use crate::cli::say;
use bytes::Bytes;
use http::Method;
use postrider_core::sign::SigningKey;
use serde::Deserialize;

/// Flags of `postrider tasks ingest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider tasks ingest SUBSCRIPTION --data '{\"order\": 4711}'
  postrider tasks ingest SUBSCRIPTION --event order.created --data @order.json --secret @secret.txt
  postrider tasks ingest SUBSCRIPTION --data @order.json --id order-4711

A subscription that has a secret takes only what is signed with it: --secret signs, with X-Hub-Signature-256 as other senders do. What the
subscription does not want is not stored, which is no failure.")]
pub struct Args {
    /// Id of the subscription.
    #[arg(value_name = "SUBSCRIPTION")]
    subscription: String,
    /// The payload, any JSON: as it is, @FILE, or - for stdin. It is delivered byte by byte as it is.
    #[arg(long, short, value_name = "JSON|@FILE|-")]
    data: String,
    /// The event type.
    #[arg(long, short, value_name = "TYPE")]
    event: Option<String>,
    /// The secret of the subscription, to sign with: - reads it from stdin, @FILE from a file.
    #[arg(long, value_name = "SECRET|@FILE|-")]
    secret: Option<String>,
    /// Idempotency key: what had it before is not stored again, and the first task is printed.
    #[arg(long, value_name = "KEY")]
    id: Option<String>,
}

/// What is stored.
#[derive(Debug, Deserialize)]
struct Accepted {
    delivery_task_id: Option<String>,
}

/// Ingests a payload.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    let payload = input::value(&args.data)?;
    let mut asked = Asked::new(Method::POST, format!("ingest/{}", segment(&args.subscription)?));
    if let Some(event) = &args.event {
        asked = asked.with_header("x-event-type", event)?;
    }
    if let Some(id) = &args.id {
        asked = asked.with_header("idempotency-key", id)?;
    }
    if let Some(given) = &args.secret {
        asked = asked.with_header("x-hub-signature-256", &signature(&input::secret("--secret", given)?, &payload)?)?;
    }
    let answer = server.ask(asked.with_bytes(Bytes::from(payload))).await?;
    if answer.is_empty() {
        say("the subscription does not want this event type: nothing was stored");
        return Ok(());
    }
    let task = |accepted: &Accepted| accepted.delivery_task_id.as_ref().map(|id| format!("{id}\n")).unwrap_or_default();
    server.show(&answer, |_, accepted: &Accepted| task(accepted))?;
    let accepted: Accepted = answer.read()?;
    if accepted.delivery_task_id.is_none() {
        say("it was ingested before, and its task is not kept any more");
    }
    Ok(())
}

/// What proves that the sender knows the secret.
fn signature(secret: &str, payload: &[u8]) -> Result<String, Failure> {
    let key = SigningKey::new(secret).map_err(|error| Failure::usage(format!("--secret: {error}")))?;
    Ok(key.hub(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_signed_as_hubs_do() {
        let signed = signature("It's a Secret to Everybody", b"Hello, World!").expect("a signature");
        assert_eq!(signed, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
        assert!(signature("whsec_!!!", b"").expect_err("no secret").to_string().starts_with("--secret: "));
    }
}
