//! What an id or a key is of.

use super::places::Turns;
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::{Scope, timestamp};
use crate::rpc::v1::page;
use crate::rpc::v1::summary::{endpoint_label, word};
use postrider_core::event::{Event, MAX_NAME_BYTES, Namespace};
use postrider_core::id::{
    AttemptId, DeadLetterId, DeliveryId, EndpointId, EventId, EventSeq, JobId, KeyId, ScheduledId, SubscriptionId, idempotency_key,
};
use postrider_core::key;
use postrider_core::ports::{DeliveryKeyParts, DeliveryRow, MAX_DELIVERY_KEYS, MAX_KEY_NAMESPACES};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::service::Answer;
use postrider_proto::v1;
use uuid::Uuid;

/// How many deliveries are looked at for a key in a call.
const MAX_LOOKED_AT: usize = 200_000;

/// Into how many namespaces a call looks for the key of an event.
const MAX_NAMESPACES: usize = 20_000;

/// How many characters a delivery's key has.
const KEY_CHARACTERS: usize = 32;

/// Most deliveries with one key that are shown.
const MAX_SHOWN: usize = 100;

/// What ids of messages begin with that receivers of Standard Webhooks see; the rest is the delivery's.
const MESSAGE_PREFIX: &str = "msg_";

/// Who looks for what.
struct Search<'a> {
    app: &'a App,
    access: &'a Access,
    /// `None` is everywhere.
    namespace: Option<Namespace>,
    text: &'a str,
}

pub(super) async fn find(app: &App, turns: &Turns, access: &Access, request: &v1::FindRequest) -> Answer<v1::FindResponse> {
    let text = request.text.trim();
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(Problem::bad_request(format!("text: 1 to {MAX_NAME_BYTES} bytes are required")).into());
    }
    let after = page::after::<DeliveryId>(&request.page_token)?;
    let Some(namespace) = Scope::of(access, &request.namespace)?.narrowed() else { return Ok(v1::FindResponse::default()) };
    let search = Search { app, access, namespace, text };
    let mut response = v1::FindResponse::default();
    if after.is_none() {
        response.findings = search.by_id().await?;
        let (findings, left) = search.by_event_key().await?;
        response.findings.extend(findings);
        response.namespaces_left = left;
    }
    if text.len() == KEY_CHARACTERS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let _turn = turns.turn(access).await?;
        let walked = search.by_delivery_key(after).await?;
        for id in walked.found.into_iter().take(MAX_SHOWN) {
            response.findings.extend(search.delivery(id).await?);
        }
        response.next_page_token = page::next(walked.next);
        response.looked_back_to = timestamp(walked.back_to.map_or_else(|| app.engine.now(), made_at)).into();
    }
    Ok(response)
}

/// When the id of a delivery was made, in whole milliseconds.
fn made_at(id: DeliveryId) -> Timestamp {
    let millis = i64::try_from(id.uuid().as_u128() >> 80).unwrap_or_default();
    Timestamp::from_micros(millis.saturating_mul(1_000))
}

/// What a walk over keys of deliveries has come to.
struct Walked {
    found: Vec<DeliveryId>,
    /// The last one that was looked at.
    back_to: Option<DeliveryId>,
    /// The same where it can go on.
    next: Option<DeliveryId>,
}

impl Search<'_> {
    /// Whether things of this namespace are looked for.
    fn sees(&self, of: &Namespace) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == of)
    }

    async fn by_id(&self) -> Result<Vec<v1::Finding>, Problem> {
        let mut findings = Vec::new();
        if let Ok(number) = self.text.parse().map(EventSeq) {
            let found = self.app.engine.store().event_by_number(number, self.namespace.clone()).await.map_err(Problem::of_read)?;
            findings.extend(found.map(|row| event(&row.event)));
        }
        let text = self.text.strip_prefix(MESSAGE_PREFIX).unwrap_or(self.text);
        let Some(id) = Uuid::try_parse(text).ok().filter(|_| text.len() == 36) else { return Ok(findings) };
        findings.extend(self.delivery(DeliveryId::new(id)).await?);
        findings.extend(self.configured(id));
        findings.extend(self.stored(id).await?);
        Ok(findings)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<v1::Finding>, Problem> {
        let found = self.app.engine.store().deliveries_by_id(vec![id], self.namespace.clone()).await.map_err(Problem::of_read)?.pop();
        let routes = self.app.engine.routes();
        Ok(found.map(|row| finding("delivery", id, Some(&row.delivery.namespace), delivery_text(&routes, &row))))
    }

    /// What is configured under an id.
    fn configured(&self, id: Uuid) -> Vec<v1::Finding> {
        let routes = self.app.engine.routes();
        let endpoint = routes.endpoint(EndpointId::new(id)).filter(|endpoint| self.sees(&endpoint.namespace));
        let endpoint = endpoint.map(|endpoint| finding("endpoint", id, Some(&endpoint.namespace), endpoint_label(&routes, endpoint.id)));
        let subscription = routes.subscription(SubscriptionId::new(id)).filter(|subscription| self.sees(&subscription.namespace));
        let subscription = subscription.map(|subscription| {
            let patterns: Vec<String> = subscription.patterns.iter().take(5).map(ToString::to_string).collect();
            let wanted = if patterns.is_empty() { String::from("every event type") } else { patterns.join(", ") };
            let text = format!("{wanted} to {}", endpoint_label(&routes, subscription.endpoint));
            finding("subscription", id, Some(&subscription.namespace), text)
        });
        let may_see = |key: &key::ApiKey| match &key.namespace {
            Some(of) => self.sees(of),
            None => self.namespace.is_none(),
        };
        let is_admin = self.access.allow(key::Scope::Admin).is_ok();
        let key = routes.key(KeyId::new(id)).filter(|key| is_admin && may_see(key));
        let key = key.map(|key| finding("key", id, key.namespace.as_ref(), format!("{} ({}…)", key.name, key.prefix)));
        [endpoint, subscription, key].into_iter().flatten().collect()
    }

    /// What else is stored under an id.
    async fn stored(&self, id: Uuid) -> Result<Vec<v1::Finding>, Problem> {
        let (store, of) = (self.app.engine.store(), &self.namespace);
        let read = tokio::try_join!(
            store.event_by_id(EventId::new(id), of.clone()),
            store.attempt(AttemptId::new(id), of.clone()),
            store.dead_letter(DeadLetterId::new(id)),
            store.scheduled_one(ScheduledId::new(id)),
            store.job(JobId::new(id)),
        );
        let (row, attempt, letter, scheduled, job) = read.map_err(Problem::of_read)?;
        let row = row.map(|row| event(&row.event));
        let attempt = attempt.map(|detail| {
            let text = format!("attempt {} to {}", detail.attempt.number, detail.attempt.target_url);
            let found = finding("attempt", id, Some(&detail.delivery.namespace), text);
            v1::Finding { delivery_id: detail.delivery.id.to_string(), ..found }
        });
        let letter = letter.filter(|view| self.sees(&view.delivery.namespace)).map(|view| {
            let text = format!("{}: {}", view.dead_letter.code, view.dead_letter.message);
            let found = finding("dead_letter", id, Some(&view.delivery.namespace), text);
            v1::Finding { delivery_id: view.delivery.id.to_string(), ..found }
        });
        let scheduled = scheduled.filter(|row| self.sees(&row.namespace));
        let scheduled = scheduled.map(|row| finding("scheduled", id, Some(&row.namespace), format!("due {}", row.due_at.rfc3339(0))));
        let job = job.filter(|job| self.sees(&job.namespace));
        let job = job.map(|job| finding("job", id, Some(&job.namespace), format!("{} of {} replayed", job.replayed, job.matched)));
        Ok([row, attempt, letter, scheduled, job].into_iter().flatten().collect())
    }

    /// Events that their publisher gave this key, and whether there are namespaces that were not looked into.
    async fn by_event_key(&self) -> Result<(Vec<v1::Finding>, bool), Problem> {
        if let Some(one) = &self.namespace {
            return Ok((self.by_event_key_among(vec![one.clone()]).await?, false));
        }
        let (mut findings, mut after, mut looked_into) = (Vec::new(), None, 0);
        loop {
            let among = self.app.engine.store().counted_namespaces(after).await.map_err(Problem::of_read)?;
            looked_into += among.len();
            let (is_last, last) = (among.len() < MAX_KEY_NAMESPACES, among.last().cloned());
            findings.extend(self.by_event_key_among(among).await?);
            if is_last || looked_into >= MAX_NAMESPACES {
                return Ok((findings, !is_last));
            }
            after = last;
        }
    }

    async fn by_event_key_among(&self, among: Vec<Namespace>) -> Result<Vec<v1::Finding>, Problem> {
        let (store, mut findings) = (self.app.engine.store(), Vec::new());
        for (namespace, id) in store.events_by_key(among, self.text.to_owned()).await.map_err(Problem::of_read)? {
            let found = store.event_by_id(id, Some(namespace)).await.map_err(Problem::of_read)?;
            findings.extend(found.map(|row| event(&row.event)));
        }
        Ok(findings)
    }

    /// Deliveries whose key this is: as far as the newest of them that are looked at, and no further than the piece in which one is found.
    async fn by_delivery_key(&self, after: Option<DeliveryId>) -> Result<Walked, Problem> {
        let key = self.text.to_ascii_lowercase();
        let (mut found, mut back_to, mut looked_at) = (Vec::new(), after, 0);
        loop {
            let piece = self.app.engine.store().delivery_keys(self.namespace.clone(), back_to, MAX_DELIVERY_KEYS);
            let piece = piece.await.map_err(Problem::of_read)?;
            let (length, last) = (piece.len(), piece.last().map(|parts| parts.id));
            found.extend(with_key(piece, key.clone()).await?);
            looked_at += length;
            back_to = last.or(back_to);
            if length < MAX_DELIVERY_KEYS as usize {
                return Ok(Walked { found, back_to, next: None });
            }
            if looked_at >= MAX_LOOKED_AT || !found.is_empty() {
                return Ok(Walked { found, back_to, next: back_to });
            }
        }
    }
}

/// Those of these deliveries whose key this is. It takes some milliseconds, and keeps no other request waiting.
async fn with_key(piece: Vec<DeliveryKeyParts>, key: String) -> Result<Vec<DeliveryId>, Problem> {
    let hashing = tokio::task::spawn_blocking(move || {
        let has_it = piece.iter().filter(|parts| idempotency_key(parts.subscription, parts.event) == key);
        has_it.map(|parts| parts.id).collect()
    });
    hashing.await.map_err(|_| Problem::unavailable("the search was broken off, for the server is stopping: try again in a moment"))
}

fn finding(kind: &str, id: impl ToString, namespace: Option<&Namespace>, text: String) -> v1::Finding {
    let namespace = namespace.map(ToString::to_string).unwrap_or_default();
    v1::Finding { kind: kind.to_owned(), id: id.to_string(), namespace, text, delivery_id: String::new() }
}

fn event(of: &Event) -> v1::Finding {
    let event_type = if of.event_type.is_empty() { "without a type" } else { &*of.event_type };
    finding("event", of.id, Some(&of.namespace), format!("{event_type}, accepted {}", of.created_at.rfc3339(0)))
}

fn delivery_text(routes: &Routes, row: &DeliveryRow) -> String {
    let event_type = if row.event_type.is_empty() { "an event without a type" } else { &*row.event_type };
    let label = endpoint_label(routes, row.delivery.endpoint);
    let label = if label.is_empty() { String::from("an endpoint that was deleted") } else { label };
    format!("{event_type} to {label}: {}", word(row.delivery.progress.state.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::id::IdGen;

    #[test]
    fn an_id_says_when_it_was_made() {
        let at = Timestamp::from_micros(1_700_000_000_123_456);
        let id = DeliveryId::new(IdGen::new(1).next(at));
        assert_eq!(made_at(id), Timestamp::from_micros(1_700_000_000_123_000));
    }
}
