//! Signing secrets made anew, with a time in which the one before signs too.

use super::{endpoint_id, find};
use crate::auth::Access;
use crate::config::value::Secret;
use crate::http::{App, Problem};
use crate::random;
use crate::rpc::access::{failed_precondition, timestamp};
use crate::rpc::webhooks::keys::{Keys, shown};
use crate::rpc::webhooks::wanted::check_secret;
use postrider_core::endpoint::Endpoint;
use postrider_core::ports::ConfigChange;
use postrider_core::sign::{Scheme, generate_secret};
use postrider_core::time::Timestamp;
use postrider_proto::v1;
use std::time::Duration;

/// For how long the secret before signs too where the request does not say: a day.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(86_400);

/// The longest overlap, in seconds: 7 days.
const MAX_OVERLAP_SECONDS: u64 = 604_800;

/// Gives an endpoint a new secret; that before it signs too until the overlap ends, and of earlier ones nothing is left.
pub(super) async fn rotate(app: &App, access: &Access, request: v1::RotateSecretRequest) -> Result<v1::RotateSecretResponse, Problem> {
    let (id, overlap) = (endpoint_id(&request.endpoint_id)?, overlap(request.overlap_seconds)?);
    let is_given = !request.secret.is_empty();
    let secret =
        if is_given { check_secret("secret", Secret::new(request.secret))? } else { Secret::new(generate_secret(random::bytes())) };
    let now = app.engine.now();
    let until = app
        .engine
        .edit(|routes| {
            let endpoint = rotated(app, find(routes, access, id)?, &secret, overlap, now)?;
            let until = endpoint.old_secrets_until;
            Ok::<_, Problem>((vec![ConfigChange::Endpoint(endpoint)], until))
        })
        .await?;
    tracing::info!(endpoint = %id, "the signing secret of an endpoint was made anew");
    Ok(v1::RotateSecretResponse {
        secret: if is_given { String::new() } else { secret.reveal().to_owned() },
        overlap_until: until.map(timestamp).into(),
    })
}

fn rotated(app: &App, before: &Endpoint, secret: &Secret, overlap: Duration, now: Timestamp) -> Result<Endpoint, Problem> {
    let Keys { mut shared, pairs } = Keys::of(app, before);
    if !pairs.is_empty() {
        return Err(failed_precondition(
            "deliveries to this endpoint are signed with a pair of Ed25519 keys: for a new pair have webhook.WebhookService/UpdateWebhookConfig set \
             signature_type to hmac and then to ed25519 again, and give receivers the new public key",
        ));
    }
    // One that cannot be opened signs nothing, and while it is there nothing is sent.
    let newest = (!shared.is_empty()).then(|| shared.swap_remove(0)).filter(|sealed| app.engine.open(sealed).is_ok());
    if newest.as_ref().is_some_and(|sealed| is_same(app, sealed, secret)) {
        return Err(Problem::bad_request(
            "secret: this is the one that the endpoint has: give another one, or leave it out to have one made",
        ));
    }
    let kept = newest.filter(|_| !overlap.is_zero());
    let mut endpoint = before.clone();
    endpoint.old_secrets_until = kept.as_ref().map(|_| now.after(overlap));
    endpoint.secrets = std::iter::once(app.engine.seal(secret.reveal(), &mut random::fill)).chain(kept).collect();
    // As when a secret comes through the webhooks of the contract.
    if !endpoint.schemes.contains(&Scheme::Standard) {
        endpoint.schemes.push(Scheme::Standard);
    }
    endpoint.updated_at = now;
    Ok(endpoint)
}

/// Whether a text is the secret itself, or what is shown of it.
fn is_same(app: &App, sealed: &postrider_core::seal::Sealed, text: &Secret) -> bool {
    app.engine.open(sealed).is_ok_and(|secret| Secret::new(secret) == *text) || shown(app, sealed) == text.reveal()
}

fn overlap(seconds: Option<i64>) -> Result<Duration, Problem> {
    let Some(seconds) = seconds else { return Ok(DEFAULT_OVERLAP) };
    let fits = u64::try_from(seconds).ok().filter(|seconds| *seconds <= MAX_OVERLAP_SECONDS);
    fits.map(Duration::from_secs)
        .ok_or_else(|| Problem::bad_request(format!("overlap_seconds must be 0 to {MAX_OVERLAP_SECONDS}, not {seconds}")))
}

/// Takes away all secrets but the newest. A pair of keys stays: it is no older secret.
pub(super) async fn end_rotation(app: &App, access: &Access, request: &v1::EndRotationRequest) -> Result<v1::EndRotationResponse, Problem> {
    let id = endpoint_id(&request.endpoint_id)?;
    let now = app.engine.now();
    let removed = app
        .engine
        .edit(|routes| {
            let before = find(routes, access, id)?;
            let Keys { shared, pairs } = Keys::of(app, before);
            let removed = shared.len().saturating_sub(1);
            if removed == 0 {
                return Ok((Vec::new(), 0));
            }
            let secrets = pairs.into_iter().chain(shared.into_iter().take(1)).collect();
            let endpoint = Endpoint { secrets, old_secrets_until: None, updated_at: now, ..Endpoint::clone(before) };
            Ok::<_, Problem>((vec![ConfigChange::Endpoint(endpoint)], removed))
        })
        .await?;
    if removed > 0 {
        tracing::info!(endpoint = %id, removed, "earlier signing secrets of an endpoint were taken away");
    }
    Ok(v1::EndRotationResponse { removed: crate::rpc::page::count(removed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_has_an_end() {
        let secs = |sent| overlap(sent).map(|overlap| overlap.as_secs()).map_err(|problem| problem.status.as_u16());
        assert_eq!([None, Some(0), Some(604_800)].map(secs), [Ok(86_400), Ok(0), Ok(604_800)]);
        assert_eq!([Some(-1), Some(604_801), Some(i64::MAX)].map(secs), [Err(400); 3]);
    }
}
