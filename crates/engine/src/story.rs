//! What an attempt carried, made once more by the configuration as it is now: for people who look at it afterwards.

use crate::Engine;
use crate::job::{Job, NOT_NOTED};
use crate::request;
use crate::route::{Route, Secrets};
use http::{HeaderMap, HeaderValue};
use postrider_core::attempt::{Attempt, HeadBlock};
use postrider_core::delivery::{Delivery, Progress, StateKind};
use postrider_core::event::Event;
use postrider_core::id::idempotency_key;
use postrider_core::sign::{SigningKeys, header};
use std::sync::Arc;

/// What an attempt carried, as far as that follows from the configuration of now.
#[derive(Clone, Debug)]
pub struct Carried {
    /// Its headers, without those that the connection adds. Instead of secrets and signatures they have [`HeadBlock::MASK`], marked as sensitive.
    pub headers: HeaderMap,
    /// How many of the endpoint's secrets that both sides have signed it.
    pub shared: usize,
    /// How many of the endpoint's Ed25519 keys signed it.
    pub pairs: usize,
}

impl Engine {
    /// What an attempt at a delivery of this event carried; `None` where its subscription or its endpoint is gone.
    pub fn carried(&self, delivery: &Delivery, event: &Arc<Event>, attempt: &Attempt) -> Option<Carried> {
        let user_agent = &self.shared.config.user_agent;
        let real = self.shared.routes.load().route_of_queued(delivery, user_agent)?;
        let all = real.endpoint.old_secrets_sign(attempt.started_at);
        let keys = real.secrets.keys.as_ref().map(|keys| keys.in_use(all));
        let (shared, pairs) = keys.map_or((0, 0), |keys| (keys.shared.len(), keys.pairs.len()));
        let route = Route::new(Arc::clone(&real.subscription), Arc::clone(&real.endpoint), Arc::new(masked(&real)), user_agent);
        let progress = Progress { attempts: attempt.number.saturating_sub(1), ..delivery.progress };
        let delivery = Delivery { progress, ..delivery.clone() };
        let job = Job { delivery, event: Arc::clone(event), stored: StateKind::Pending, looks: NOT_NOTED };
        let (key, unsigned) = (idempotency_key(job.delivery.subscription, event.seq), SigningKeys::default());
        let mut headers = request::headers(&route, &job, unsigned.in_use(true), (attempt.id, attempt.started_at), &key, &[]);
        put_beside_signatures(&mut headers, &job.delivery, attempt);
        Some(Carried { headers, shared, pairs })
    }
}

/// In the place of an endpoint's secrets: what they are in is named, and nothing can be signed.
fn masked(route: &Route) -> Secrets {
    let endpoint = &route.endpoint;
    let names = endpoint.secret_headers.iter().map(|(name, _)| name.as_str()).chain(endpoint.auth.header_name());
    let headers = names.filter_map(|name| Some((name.parse().ok()?, mask()))).collect();
    Secrets { keys: Ok(SigningKeys::default()), signs: route.secrets.signs, headers: Ok(headers) }
}

fn mask() -> HeaderValue {
    let mut mask = HeaderValue::from_static(HeadBlock::MASK);
    mask.set_sensitive(true);
    mask
}

/// Fills the places that signing would have filled: signatures with masks, what they are made of with itself.
fn put_beside_signatures(headers: &mut HeaderMap, delivery: &Delivery, attempt: &Attempt) {
    let mut put = |name: &str, value: HeaderValue| {
        if let Some(place) = headers.get_mut(name) {
            *place = value;
        }
    };
    header::SIGNATURES.into_iter().for_each(|name| put(name, mask()));
    let at = HeaderValue::from(attempt.started_at.as_secs());
    put(header::STANDARD_TIMESTAMP, at.clone());
    put(header::LEGACY_TIMESTAMP, at);
    if let Ok(id) = HeaderValue::try_from(format!("msg_{}", delivery.id)) {
        put(header::STANDARD_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use postrider_core::endpoint::Endpoint;
    use postrider_core::sign::Scheme;

    #[test]
    fn nothing_secret_is_in_what_stands_for_an_endpoints_secrets() {
        let ring = testing::key_ring();
        let seal = |text: &str| ring.seal(text.as_bytes(), &mut |bytes| bytes.fill(7));
        let real = testing::route(|endpoint| Endpoint {
            secrets: vec![seal("a secret")],
            secret_headers: vec![(String::from("x-token"), seal("a token"))],
            schemes: vec![Scheme::Standard, Scheme::Hub, Scheme::LegacyTimestamped],
            ..endpoint
        });
        let route = Route::new(Arc::clone(&real.subscription), Arc::clone(&real.endpoint), Arc::new(masked(&real)), "tests");
        let job = testing::job(&route);
        let attempt = Attempt {
            id: postrider_core::id::AttemptId::new(uuid::Uuid::from_u128(9)),
            delivery: job.delivery.id,
            subscription: route.subscription.id,
            endpoint: route.endpoint.id,
            number: 1,
            target_url: Arc::clone(&route.url),
            started_at: testing::BEGINNING,
            outcome: None,
        };
        let unsigned = SigningKeys::default();
        let mut headers = request::headers(&route, &job, unsigned.in_use(true), (attempt.id, attempt.started_at), "key", &[]);
        put_beside_signatures(&mut headers, &job.delivery, &attempt);
        let masks: Vec<&str> = headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.as_str()).collect();
        let mut sorted = masks.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["webhook-signature", "x-hub-signature-256", "x-sparrow-signature-256", "x-token"]);
        assert!(
            masks.iter().all(|name| headers[*name] == HeadBlock::MASK) && headers.values().all(|value| !value.is_empty()),
            "{headers:?}"
        );
        assert_eq!(headers["webhook-id"], format!("msg_{}", job.delivery.id));
        assert_eq!(headers["webhook-timestamp"], "1700000000");
        assert_eq!(headers["x-sparrow-timestamp"], "1700000000");
    }
}
