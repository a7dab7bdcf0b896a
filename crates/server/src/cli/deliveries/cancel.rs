//! `postrider deliveries cancel`.

use crate::cli::remote::text::counted;
use crate::cli::remote::{Failure, Remote, ask};
use crate::cli::say;
use postrider_proto::v1;

/// Flags of `postrider deliveries cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider deliveries cancel 0197f3a2-5b1c-7d4e-8f90-123456789abc

One that is being sent right now is cancelled after that attempt, unless it succeeds. There is no dead letter of it.")]
pub struct Args {
    /// Ids of deliveries.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Cancels deliveries.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    let many = i64::try_from(args.ids.len()).unwrap_or(i64::MAX);
    if many > 1 {
        ask::about_many(&format!("Cancel {}?", counted(many, "delivery", "deliveries")), many, args.yes)?;
    }
    let mut failed = Vec::new();
    for id in &args.ids {
        let request = v1::CancelDeliveryRequest { delivery_id: id.clone() };
        match server.call::<_, v1::CancelDeliveryResponse>("postrider.v1.LedgerService/CancelDelivery", &request).await {
            Ok(answer) if server.out.is_json() => {
                server.out.json_line(&serde_json::json!({ "deliveryId": id, "atOnce": answer.at_once }))?;
            }
            Ok(answer) if answer.at_once => say(&format!("cancelled {id}")),
            Ok(_) => say(&format!("{id} is being sent: it is cancelled after this attempt, unless that succeeds")),
            Err(failure) => {
                say(&format!("{id}: {failure}"));
                failed.push(failure);
            }
        }
    }
    Failure::of_many(args.ids.len(), &failed)
}
