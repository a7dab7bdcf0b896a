//! `postrider endpoints rotate-secret` and `end-rotation`.

use crate::cli::remote::text::counted;
use crate::cli::remote::{Failure, Remote, input};
use crate::cli::say;
use crate::config::value::Span;
use postrider_proto::v1;

/// Flags of `postrider endpoints rotate-secret`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider endpoints rotate-secret 0197f3a2-5b1c-7d4e-8f90-123456789abc --overlap 48h
  pass show hooks/shop | postrider endpoints rotate-secret ENDPOINT --secret -")]
pub struct Rotate {
    /// Id of the endpoint.
    #[arg(value_name = "ID")]
    id: String,
    /// For how long the secret before signs too, at most 7d; 0s ends it at once.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    overlap: Span,
    /// The new secret, where the server is not to make one: - reads it from stdin, @FILE from a file.
    #[arg(long, value_name = "SECRET|@FILE|-")]
    secret: Option<String>,
}

/// Makes a new secret.
pub async fn rotate(server: &Remote, args: &Rotate) -> Result<(), Failure> {
    let secret = args.secret.as_deref().map(|given| input::secret("--secret", given)).transpose()?;
    let overlap = i64::try_from(args.overlap.0.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
    let request =
        v1::RotateSecretRequest { endpoint_id: args.id.clone(), overlap_seconds: Some(overlap), secret: secret.unwrap_or_default() };
    let made: v1::RotateSecretResponse = server.call("postrider.v1.EndpointService/RotateSecret", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&made);
    }
    match made.overlap_until.as_option() {
        Some(until) => say(&format!("the secret before signs too, until {}", server.out.exact_time(Some(until)))),
        None => say("only the new secret signs"),
    }
    if made.secret.is_empty() {
        return Ok(());
    }
    say("the new secret, which is not shown again:");
    server.out.line(&made.secret)
}

/// Ends a rotation.
pub async fn end(server: &Remote, id: &str) -> Result<(), Failure> {
    let request = v1::EndRotationRequest { endpoint_id: id.to_owned() };
    let ended: v1::EndRotationResponse = server.call("postrider.v1.EndpointService/EndRotation", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&ended);
    }
    match ended.removed {
        0 => say("there was no rotation under way"),
        removed => say(&format!("{} signs no more", counted(i64::from(removed), "earlier secret", "earlier secrets"))),
    }
    Ok(())
}
