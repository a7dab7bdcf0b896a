//! Configuration: documents by kind and id, and a version that rises with every change.

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::health;
use super::rows::{get, micros, text, to_json};
use super::tx::Tx;
use postrider_core::endpoint::Deletion;
use postrider_core::event::Namespace;
use postrider_core::id::EndpointId;
use postrider_core::ports::{ConfigChange, Configuration, Configured};
use postrider_core::time::Timestamp;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use uuid::Uuid;

/// `kind` of endpoints.
pub(super) const ENDPOINT: i16 = 0;
/// `kind` of subscriptions.
pub(super) const SUBSCRIPTION: i16 = 1;
/// `kind` of keys.
pub(super) const KEY: i16 = 2;
const EVENT_TYPE: i16 = 3;

/// What a document takes besides its text.
const DOCUMENT: u64 = 256;

/// A change as it is written.
pub(super) struct Document {
    kind: i16,
    id: String,
    namespace: Option<Namespace>,
    gone_at: Option<Timestamp>,
    endpoint: Option<Uuid>,
    erased: bool,
    /// The endpoint that it is about, with its tenant; `None` for everything else.
    about: Option<(EndpointId, Namespace)>,
    /// `None` where it is to be removed.
    json: Option<String>,
}

impl Document {
    fn bytes(&self) -> u64 {
        self.json.as_ref().map_or(0, |json| DOCUMENT + json.len() as u64)
    }
}

/// Writes changes down, away from any transaction.
pub(super) fn documents(changes: &[ConfigChange]) -> Result<Vec<Document>> {
    changes.iter().map(document).collect()
}

fn document(change: &ConfigChange) -> Result<Document> {
    let of = |kind: i16, id: String, namespace: Option<&Namespace>, json: Option<String>| Document {
        kind,
        id,
        namespace: namespace.cloned(),
        gone_at: None,
        endpoint: None,
        erased: false,
        about: None,
        json,
    };
    Ok(match change {
        ConfigChange::Endpoint(endpoint) => Document {
            gone_at: endpoint.deleted.map(Deletion::at),
            erased: endpoint.is_erased(),
            about: Some((endpoint.id, endpoint.namespace.clone())),
            ..of(ENDPOINT, endpoint.id.to_string(), Some(&endpoint.namespace), Some(to_json(endpoint)?))
        },
        ConfigChange::Subscription(subscription) => Document {
            gone_at: subscription.deleted_at,
            endpoint: Some(subscription.endpoint.uuid()),
            ..of(SUBSCRIPTION, subscription.id.to_string(), Some(&subscription.namespace), Some(to_json(subscription)?))
        },
        ConfigChange::Key(key) => Document {
            gone_at: key.revoked_at.filter(|_| key.may_be_forgotten()),
            ..of(KEY, key.id.to_string(), key.namespace.as_ref(), Some(to_json(key)?))
        },
        ConfigChange::EventType(new) => {
            let registry = new.namespace.as_ref();
            of(EVENT_TYPE, type_id(registry, &new.name), registry, Some(to_json(new)?))
        }
        ConfigChange::NoEventType { registry, name } => of(EVENT_TYPE, type_id(registry.as_ref(), name), registry.as_ref(), None),
    })
}

/// What names an event type: no namespace has a slash in it, and none is empty.
fn type_id(registry: Option<&Namespace>, name: &str) -> String {
    [registry.map_or("", Namespace::as_str), "/", &*text(name)].concat()
}

/// About what these take, in bytes.
pub(super) fn bytes(documents: &[Document]) -> u64 {
    documents.iter().map(Document::bytes).sum()
}

/// Whether none of these is new: each replaces what is there, or is gone.
pub(super) async fn are_known(conn: &Conn, documents: &[Document]) -> Result<bool> {
    let new = documents.iter().filter(|document| document.gone_at.is_none() && document.json.is_some());
    let (kinds, ids): (Vec<i16>, Vec<&str>) = new.map(|document| (document.kind, document.id.as_str())).unzip();
    if kinds.is_empty() {
        return Ok(true);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM unnest($1::int2[], $2::text[]) AS u (kind, id) \
               WHERE NOT EXISTS (SELECT 1 FROM config c WHERE c.kind = u.kind AND c.id = u.id))";
    let is_new: bool = get(&conn.only(sql, &[&kinds, &ids]).await?, 0)?;
    Ok(!is_new)
}

/// Puts documents that were made from this version, if it is the newest one.
pub(super) async fn put(tx: &mut Tx, version: i64, documents: &[Document]) -> Result<Configured> {
    if lock(&tx.conn).await? != version {
        return Ok(Configured::Conflict);
    }
    // Of several with one id the last one stays, and a statement writes a row once.
    let last: BTreeMap<(i16, &str), &Document> =
        documents.iter().map(|document| ((document.kind, document.id.as_str()), document)).collect();
    let last: Vec<&Document> = last.into_values().collect();
    write(tx, &last).await?;
    write_erased(&tx.conn, &last).await?;
    let version = changed(&tx.conn).await?;
    keep_health(tx, documents, &last).await?;
    Ok(Configured::Stored { version })
}

/// Writes each of these, none of which comes twice.
async fn write(tx: &mut Tx, documents: &[&Document]) -> Result<()> {
    let (kinds, ids): (Vec<i16>, Vec<&str>) = documents.iter().map(|document| (document.kind, document.id.as_str())).unzip();
    // Retention, which removes some, waits for what is locked here.
    let sql = "SELECT octet_length(c.doc) FROM unnest($1::int2[], $2::text[]) AS u (kind, id) CROSS JOIN LATERAL \
               (SELECT doc FROM config WHERE kind = u.kind AND id = u.id FOR UPDATE) c";
    for row in tx.conn.rows(sql, &[&kinds, &ids]).await? {
        tx.tallies.bytes(-(DOCUMENT as i64) - i64::from(get::<i32>(&row, 0)?));
    }
    let (put, removed): (Vec<&Document>, Vec<&Document>) = documents.iter().copied().partition(|document| document.json.is_some());
    if !put.is_empty() {
        insert(&tx.conn, &put).await?;
        tx.tallies.bytes(put.iter().map(|document| document.bytes() as i64).sum());
    }
    if !removed.is_empty() {
        let (kinds, ids): (Vec<i16>, Vec<&str>) = removed.iter().map(|document| (document.kind, document.id.as_str())).unzip();
        let sql = "DELETE FROM config c USING unnest($1::int2[], $2::text[]) AS u (kind, id) \
                   WHERE c.kind = ANY (ARRAY[u.kind]) AND c.id = u.id";
        tx.conn.execute(sql, &[&kinds, &ids]).await?;
    }
    Ok(())
}

async fn insert(conn: &Conn, documents: &[&Document]) -> Result<()> {
    let (kinds, ids): (Vec<i16>, Vec<&str>) = documents.iter().map(|document| (document.kind, document.id.as_str())).unzip();
    let namespaces: Vec<Option<&str>> = documents.iter().map(|document| document.namespace.as_ref().map(Namespace::as_str)).collect();
    let gone: Vec<Option<i64>> = documents.iter().map(|document| micros(document.gone_at)).collect();
    let endpoints: Vec<Option<Uuid>> = documents.iter().map(|document| document.endpoint).collect();
    let texts: Vec<&str> = documents.iter().map(|document| document.json.as_deref().unwrap_or_default()).collect();
    let sql = "INSERT INTO config (kind, id, namespace, gone_at, endpoint, doc) \
               SELECT u.kind, u.id, u.namespace, u.gone_at, u.endpoint, u.doc \
               FROM unnest($1::int2[], $2::text[], $3::text[], $4::int8[], $5::uuid[], $6::text[]) \
               AS u (kind, id, namespace, gone_at, endpoint, doc) \
               ON CONFLICT (kind, id) DO UPDATE SET namespace = excluded.namespace, gone_at = excluded.gone_at, \
               endpoint = excluded.endpoint, doc = excluded.doc";
    conn.execute(sql, &[&kinds, &ids, &namespaces, &gone, &endpoints, &texts]).await?;
    Ok(())
}

/// Notes which of these endpoints are erased, and which are not, or not any more.
async fn write_erased(conn: &Conn, documents: &[&Document]) -> Result<()> {
    let of = |erased: bool| -> Vec<Uuid> {
        let wanted = documents.iter().filter(|document| document.erased == erased);
        wanted.filter_map(|document| document.about.as_ref()).map(|(endpoint, _)| endpoint.uuid()).collect()
    };
    let (erased, others) = (of(true), of(false));
    if !erased.is_empty() {
        let sql = "INSERT INTO erased_endpoints (endpoint) SELECT u.id FROM unnest($1::uuid[]) AS u (id) ON CONFLICT (endpoint) DO NOTHING";
        conn.execute(sql, &[&erased]).await?;
    }
    if !others.is_empty() {
        conn.execute("DELETE FROM erased_endpoints WHERE endpoint = ANY ($1::uuid[])", &[&others]).await?;
    }
    Ok(())
}

/// Endpoints have a health while they are not deleted. One that was deleted on the way to its last document begins anew.
async fn keep_health(tx: &mut Tx, documents: &[Document], last: &[&Document]) -> Result<()> {
    let deleted = documents.iter().filter(|document| document.gone_at.is_some());
    let deleted: Vec<EndpointId> = deleted.filter_map(|document| document.about.as_ref()).map(|(endpoint, _)| *endpoint).collect();
    let live = last.iter().filter(|document| document.gone_at.is_none());
    let live: Vec<(EndpointId, &Namespace)> =
        live.filter_map(|document| document.about.as_ref()).map(|(endpoint, namespace)| (*endpoint, namespace)).collect();
    if !deleted.is_empty() {
        health::end(tx, &deleted).await?;
    }
    if !live.is_empty() {
        health::begin(tx, &live).await?;
    }
    Ok(())
}

/// Whether all of these are there as they were put. It waits until whoever is changing something at the moment has come to an end.
pub(super) async fn are_there(conn: &Conn, documents: &[Document]) -> Result<bool> {
    let last: BTreeMap<(i16, &str), &Document> =
        documents.iter().map(|document| ((document.kind, document.id.as_str()), document)).collect();
    let (kinds, ids): (Vec<i16>, Vec<&str>) = last.keys().copied().unzip();
    let texts: Vec<Option<&str>> = last.values().map(|document| document.json.as_deref()).collect();
    conn.batch("BEGIN").await?;
    lock(conn).await?;
    let sql = "SELECT NOT EXISTS (SELECT FROM unnest($1::int2[], $2::text[], $3::text[]) AS u (kind, id, doc) \
               LEFT JOIN config c ON c.kind = u.kind AND c.id = u.id WHERE c.doc IS DISTINCT FROM u.doc)";
    let are_there: bool = get(&conn.only(sql, &[&kinds, &ids, &texts]).await?, 0)?;
    conn.batch("COMMIT").await?;
    Ok(are_there)
}

/// The version, which stays what it is until the transaction ends. Whoever changes configuration takes it first, so that nobody waits
/// in a circle.
pub(super) async fn lock(conn: &Conn) -> Result<i64> {
    get(&conn.only("SELECT value FROM meta WHERE key = 'config_version' FOR UPDATE", &[]).await?, 0)
}

/// Raises the version; answers the new one. Nodes tell each other when it is committed: a NOTIFY in the transaction would make it wait for all others
/// that have one.
pub(super) async fn changed(conn: &Conn) -> Result<i64> {
    get(&conn.only("UPDATE meta SET value = value + 1 WHERE key = 'config_version' RETURNING value", &[]).await?, 0)
}

/// Tells all nodes with the commit, for who has no other way to: a line of `news.rs`, from nobody.
pub(super) async fn announce(conn: &Conn) -> Result<()> {
    conn.rows("SELECT pg_notify(left('postrider_' || current_schema(), 63), '1 0 configuration')", &[]).await.map(drop)
}

/// The configuration's version.
pub(super) async fn version(conn: &Conn) -> Result<i64> {
    get(&conn.only("SELECT value FROM meta WHERE key = 'config_version'", &[]).await?, 0)
}

/// Everything that is configured, with its version: one statement, so that both are of one moment.
pub(super) async fn read(conn: &Conn) -> Result<Configuration> {
    let sql = "SELECT m.value, c.kind, c.doc FROM meta m LEFT JOIN config c ON true WHERE m.key = 'config_version' ORDER BY c.kind, c.id";
    let mut configuration = Configuration::default();
    for row in conn.rows(sql, &[]).await? {
        configuration.version = get(&row, 0)?;
        // Without any document there is one row all the same.
        let (Some(kind), Some(doc)) = (get::<Option<i16>>(&row, 1)?, get::<Option<&str>>(&row, 2)?) else { continue };
        match kind {
            ENDPOINT => configuration.endpoints.push(parse(doc)?),
            SUBSCRIPTION => configuration.subscriptions.push(parse(doc)?),
            KEY => configuration.keys.push(parse(doc)?),
            EVENT_TYPE => configuration.event_types.push(parse(doc)?),
            _ => return Err(bad_value(format_args!("the kind of configuration {kind}"))),
        }
    }
    Ok(configuration)
}

fn parse<T: DeserializeOwned>(doc: &str) -> Result<T> {
    serde_json::from_str(doc).map_err(bad_value)
}
