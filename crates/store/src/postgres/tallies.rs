//! How many there are of everything that lists and counters answer: gathered in memory over a transaction, and written once for each before its
//! commit. Each number is kept in several shards, of which a writer changes its own, so that writers do not wait for each other: see `counter.rs`.
//!
//! | kind | counts | code |
//! |---|---|---|
//! | 0 to 6 | deliveries in the state of this number, those that are there | |
//! | 7, 8 | attempts that ended in success, and otherwise, over the subscription's life: retention does not decrease them | |
//! | 9 | attempts that ended and are there | that of the error; empty for a success |
//! | 10 | open dead letters | that of the reason |
//! | 11 | events | |
//! | 12 | endpoints with a health | the number of its class |
//! | 13 | bytes: about what everything takes that is stored, see `room.rs` | |
//!
//! Kinds 0 to 10 are kept for a subscription and endpoint, 0 to 12 for a namespace, and all for everything.

pub(super) mod counter;
pub(super) mod fold;

use super::conn::Conn;
use super::error::Result;
use counter::Counter;
use postrider_core::delivery::StateKind;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::health::Health;
use postrider_core::id::{EndpointId, SubscriptionId};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Attempts that ended in success, ever.
pub(super) const ATTEMPTS_SUCCEEDED: i16 = 7;
/// Attempts that ended otherwise, ever.
pub(super) const ATTEMPTS_FAILED: i16 = 8;
/// Attempts that ended and are there.
pub(super) const ATTEMPTS: i16 = 9;
/// Open dead letters.
pub(super) const DEAD_LETTERS: i16 = 10;
/// Events.
pub(super) const EVENTS: i16 = 11;
/// Endpoints that have a health.
pub(super) const HEALTH: i16 = 12;
/// Bytes.
pub(super) const BYTES: i16 = 13;

/// Adds to numbers, and begins those that are not there.
pub(super) const COUNT: &str = "INSERT INTO tallies AS t (namespace, subscription, endpoint, kind, code, shard, n) \
    SELECT u.namespace, u.subscription, u.endpoint, u.kind, u.code, u.shard, u.n \
    FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::int2[], $5::text[], $6::int8[], $7::int8[]) WITH ORDINALITY \
    AS u (namespace, subscription, endpoint, kind, code, shard, n, at) ORDER BY u.at \
    ON CONFLICT (namespace, subscription, endpoint, kind, code, shard) DO UPDATE SET n = t.n + excluded.n";

/// Whose number it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) subscription: SubscriptionId,
    pub(super) endpoint: EndpointId,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: String,
    subscription: Uuid,
    endpoint: Uuid,
    kind: i16,
    code: String,
}

/// What a transaction changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies(BTreeMap<Key, i64>);

impl Tallies {
    /// Deliveries that came (or went, if negative) in this state.
    pub(super) fn deliveries(&mut self, of: Of<'_>, state: StateKind, by: i64) {
        self.add(of, state as i16, "", by);
    }

    /// A delivery went from one state to another.
    pub(super) fn moved(&mut self, of: Of<'_>, from: StateKind, to: StateKind) {
        if from != to {
            self.deliveries(of, from, -1);
            self.deliveries(of, to, 1);
        }
    }

    /// An attempt ended, with this error or in success.
    pub(super) fn attempt_ended(&mut self, of: Of<'_>, error: Option<ErrorCode>) {
        self.add(of, if error.is_none() { ATTEMPTS_SUCCEEDED } else { ATTEMPTS_FAILED }, "", 1);
        self.add(of, ATTEMPTS, error.map_or("", ErrorCode::as_str), 1);
    }

    /// Retention removed attempts that had ended with this code (empty for a success).
    pub(super) fn attempts_removed(&mut self, of: Of<'_>, code: &str, n: i64) {
        self.add(of, ATTEMPTS, code, -n);
    }

    /// Dead letters were opened, or closed if negative.
    pub(super) fn dead_letters(&mut self, of: Of<'_>, code: &str, by: i64) {
        self.add(of, DEAD_LETTERS, code, by);
    }

    /// Events came, or went if negative.
    pub(super) fn events(&mut self, namespace: &Namespace, by: i64) {
        self.of_namespace(namespace.as_str(), EVENTS, "", by);
    }

    /// Endpoints of this health came, or went if negative.
    pub(super) fn health(&mut self, namespace: &str, class: Health, by: i64) {
        self.of_namespace(namespace, HEALTH, &(class as u8).to_string(), by);
    }

    /// The store takes more room by so many bytes, or less if negative.
    pub(super) fn bytes(&mut self, by: i64) {
        self.put(Key { namespace: String::new(), subscription: Uuid::nil(), endpoint: Uuid::nil(), kind: BYTES, code: String::new() }, by);
    }

    fn add(&mut self, of: Of<'_>, kind: i16, code: &str, by: i64) {
        let (subscription, endpoint) = (of.subscription.uuid(), of.endpoint.uuid());
        self.put(Key { namespace: of.namespace.as_str().to_owned(), subscription, endpoint, kind, code: code.to_owned() }, by);
        self.of_namespace(of.namespace.as_str(), kind, code, by);
    }

    fn of_namespace(&mut self, namespace: &str, kind: i16, code: &str, by: i64) {
        for namespace in [namespace, ""] {
            let (subscription, endpoint) = (Uuid::nil(), Uuid::nil());
            self.put(Key { namespace: namespace.to_owned(), subscription, endpoint, kind, code: code.to_owned() }, by);
        }
    }

    fn put(&mut self, key: Key, by: i64) {
        *self.0.entry(key).or_default() += by;
    }

    /// What was summed up, and in which shards it is to be counted; what has to move there has moved, in the transaction that is open.
    pub(super) async fn placed(&mut self, conn: &Conn, counter: &mut Counter) -> Result<PlacedTallies> {
        let changed: Vec<(Key, i64)> = std::mem::take(&mut self.0).into_iter().filter(|(_, by)| *by != 0).collect();
        let shards = if changed.is_empty() { Vec::new() } else { counter.shards(conn, &changed).await? };
        Ok(PlacedTallies { changed, shards })
    }

    /// Writes what was summed up, in the transaction that is open.
    pub(super) async fn flush(&mut self, conn: &Conn, counter: &mut Counter) -> Result<()> {
        self.placed(conn, counter).await?.write(conn).await
    }
}

/// Numbers to write, each with its shard. Whoever has the counter writes into shards that nobody else writes into, but for who puts them together, and
/// who waits for nobody.
pub(super) struct PlacedTallies {
    changed: Vec<(Key, i64)>,
    shards: Vec<i64>,
}

impl PlacedTallies {
    /// Writes them with [`COUNT`].
    pub(super) async fn write(&self, conn: &Conn) -> Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let columns = Columns::of(self.changed.iter().map(|(key, _)| key));
        let by: Vec<i64> = self.changed.iter().map(|(_, by)| *by).collect();
        let Columns { namespaces, subscriptions, endpoints, kinds, codes } = &columns;
        conn.execute(COUNT, &[namespaces, subscriptions, endpoints, kinds, codes, &self.shards, &by]).await?;
        Ok(())
    }
}

/// Keys as they are written.
#[derive(Default)]
struct Columns<'a> {
    namespaces: Vec<&'a str>,
    subscriptions: Vec<Uuid>,
    endpoints: Vec<Uuid>,
    kinds: Vec<i16>,
    codes: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(keys: impl Iterator<Item = &'a Key>) -> Self {
        let mut columns = Columns::default();
        for key in keys {
            columns.namespaces.push(&key.namespace);
            columns.subscriptions.push(key.subscription);
            columns.endpoints.push(key.endpoint);
            columns.kinds.push(key.kind);
            columns.codes.push(&key.code);
        }
        columns
    }
}
