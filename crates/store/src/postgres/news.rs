//! What nodes tell each other, by LISTEN and NOTIFY on a connection that nothing else is done on: a NOTIFY takes a lock at its commit that all share
//! who notify, so that it is never part of a transaction that writes. It may be lost with the connection; then everything is looked at again.
//!
//! What is told is a line: the version of this, the incarnation of who tells (0: no node), a word, and what belongs to it.

use super::error::{Error, Result};
use super::pool::Connector;
use parking_lot::Mutex;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::News;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

/// The longest name of a channel, in bytes.
const LONGEST_NAME: usize = 63;

/// Lines of other versions are not for us.
const VERSION: &str = "1";

/// How many endpoints, or deliveries with theirs, one line names: it must be shorter than 8,000 bytes.
const ENDPOINTS_OF_A_LINE: usize = 200;
const DELIVERIES_OF_A_LINE: usize = 100;

/// How many endpoints are remembered one by one: of more than these whoever listens looks at all that waits.
const MOST_ENDPOINTS: usize = 4_096;

/// How many deliveries are hastened at a time, and called off; others are tried when they are due, the latter once more.
const MOST_DELIVERIES: usize = 4_096;

/// What comes within this time travels together.
const GATHER: Duration = Duration::from_millis(2);

/// How often the connection is tried while nobody has anything to tell: one that swallows everything says nothing.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// The first pause before a lost connection is opened anew, and the longest one.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long closing waits for the last news to go out.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where the nodes of a schema listen. Two schemas of one database with very long names may have the same: their nodes look more often, then.
fn channel(schema: &str) -> String {
    // A schema has a plain name.
    format!("postrider_{schema}").chars().take(LONGEST_NAME).collect()
}

/// News that nobody has taken yet, each once.
#[derive(Debug, Default)]
struct Waiting {
    /// Those that name nothing, in the order in which they came.
    plain: Vec<News>,
    due: BTreeSet<EndpointId>,
    hasty: BTreeSet<(DeliveryId, EndpointId)>,
    called_off: BTreeSet<(DeliveryId, EndpointId)>,
}

/// As many of them as there is room for.
fn put_some(there: &mut BTreeSet<(DeliveryId, EndpointId)>, more: Vec<(DeliveryId, EndpointId)>) {
    let room = MOST_DELIVERIES.saturating_sub(there.len());
    there.extend(more.into_iter().take(room));
}

impl Waiting {
    fn put(&mut self, news: News) {
        match news {
            News::Hasten(deliveries) => put_some(&mut self.hasty, deliveries),
            News::CallOff(deliveries) => put_some(&mut self.called_off, deliveries),
            News::Missed => {
                self.plain = vec![News::Missed];
                self.due.clear();
            }
            // Whoever looks at everything, or at all that waits, needs no more hints.
            _ if self.plain.contains(&News::Missed) => {}
            News::Backlog => {
                self.due.clear();
                if !self.plain.contains(&News::Backlog) {
                    self.plain.push(News::Backlog);
                }
            }
            News::Due(_) if self.plain.contains(&News::Backlog) => {}
            News::Due(endpoints) => {
                self.due.extend(endpoints);
                if self.due.len() > MOST_ENDPOINTS {
                    self.put(News::Backlog);
                }
            }
            other if self.plain.contains(&other) => {}
            other => self.plain.push(other),
        }
    }

    fn take(&mut self) -> Option<News> {
        if !self.plain.is_empty() {
            return Some(self.plain.remove(0));
        }
        if !self.called_off.is_empty() {
            return Some(News::CallOff(std::mem::take(&mut self.called_off).into_iter().collect()));
        }
        if !self.hasty.is_empty() {
            return Some(News::Hasten(std::mem::take(&mut self.hasty).into_iter().collect()));
        }
        let due: Vec<EndpointId> = std::mem::take(&mut self.due).into_iter().collect();
        (!due.is_empty()).then_some(News::Due(due))
    }
}

/// Waiting news, and who waits for them.
#[derive(Debug, Default)]
struct Board {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

impl Board {
    fn put(&self, news: News) {
        self.waiting.lock().put(news);
        self.bell.notify_one();
    }

    fn take(&self) -> Option<News> {
        self.waiting.lock().take()
    }
}

/// What a node hears, and what it has to tell.
#[derive(Debug)]
pub(super) struct Wire {
    incarnation: i64,
    heard: Board,
    told: Board,
    is_closing: AtomicBool,
}

impl Wire {
    pub(super) fn new(incarnation: i64) -> Self {
        Wire { incarnation, heard: Board::default(), told: Board::default(), is_closing: AtomicBool::new(false) }
    }

    /// Tells the others.
    pub(super) fn tell(&self, news: News) {
        self.told.put(news);
    }

    /// Tells the others and this node itself.
    pub(super) fn announce(&self, news: News) {
        self.heard.put(news.clone());
        self.told.put(news);
    }

    /// Waits for news. One waits at a time.
    pub(super) async fn next(&self) -> News {
        loop {
            if let Some(news) = self.heard.take() {
                return news;
            }
            self.heard.bell.notified().await;
        }
    }

    fn hear(&self, line: &str) {
        if let Some(news) = read(line, self.incarnation) {
            self.heard.put(news);
        }
    }
}

/// The lines that say this.
fn lines(news: &News, teller: i64) -> Vec<String> {
    let line = |word: &str| vec![format!("{VERSION} {teller} {word}")];
    match news {
        News::Configuration => line("configuration"),
        News::Members => line("members"),
        News::Backlog => line("backlog"),
        News::Work => line("work"),
        News::Outbox => line("outbox"),
        News::Missed => line("missed"),
        News::Due(endpoints) => {
            let ids: Vec<Uuid> = endpoints.iter().map(|endpoint| endpoint.uuid()).collect();
            ids.chunks(ENDPOINTS_OF_A_LINE).flat_map(|ids| line(&format!("due{}", names(ids)))).collect()
        }
        News::Hasten(deliveries) => {
            pairs(deliveries).chunks(2 * DELIVERIES_OF_A_LINE).flat_map(|ids| line(&format!("hasten{}", names(ids)))).collect()
        }
        News::CallOff(deliveries) => {
            pairs(deliveries).chunks(2 * DELIVERIES_OF_A_LINE).flat_map(|ids| line(&format!("calloff{}", names(ids)))).collect()
        }
    }
}

/// Each delivery and its endpoint.
fn pairs(deliveries: &[(DeliveryId, EndpointId)]) -> Vec<Uuid> {
    deliveries.iter().flat_map(|(delivery, endpoint)| [delivery.uuid(), endpoint.uuid()]).collect()
}

/// Each behind a space.
fn names(ids: &[Uuid]) -> String {
    ids.iter().map(|id| format!(" {}", id.simple())).collect()
}

/// What a line says, unless this node said it itself, or it is of a later release.
fn read(line: &str, own: i64) -> Option<News> {
    let mut words = line.split(' ');
    if words.next() != Some(VERSION) || words.next()?.parse::<i64>() == Ok(own) {
        return None;
    }
    match words.next()? {
        "configuration" => Some(News::Configuration),
        "members" => Some(News::Members),
        "backlog" => Some(News::Backlog),
        "work" => Some(News::Work),
        "outbox" => Some(News::Outbox),
        "missed" => Some(News::Missed),
        "due" => Some(News::Due(ids(words)?.into_iter().map(EndpointId::new).collect())),
        "hasten" => Some(News::Hasten(paired(&ids(words)?))),
        "calloff" => Some(News::CallOff(paired(&ids(words)?))),
        _ => None,
    }
}

/// What [`pairs`] made.
fn paired(ids: &[Uuid]) -> Vec<(DeliveryId, EndpointId)> {
    ids.chunks_exact(2).map(|pair| (DeliveryId::new(pair[0]), EndpointId::new(pair[1]))).collect()
}

/// None if there is none, or something else among them.
fn ids<'a>(words: impl Iterator<Item = &'a str>) -> Option<Vec<Uuid>> {
    let ids: Vec<Uuid> = words.map(|word| Uuid::try_parse(word).ok()).collect::<Option<_>>()?;
    (!ids.is_empty()).then_some(ids)
}

/// A connection that listens and tells. It ends when this is dropped.
pub(super) struct Open {
    client: Client,
    notify: Statement,
    /// Ends when the connection is lost.
    task: JoinHandle<()>,
}

/// What keeps such a connection open.
pub(super) struct Line {
    connector: Connector,
    wire: Arc<Wire>,
    channel: String,
    /// How long opening may take.
    to_open: Duration,
    /// How long telling may take.
    to_tell: Duration,
}

impl Line {
    pub(super) fn new(connector: Connector, wire: Arc<Wire>, schema: &str, to_open: Duration, to_tell: Duration) -> Self {
        Line { connector, wire, channel: channel(schema), to_open, to_tell }
    }

    /// From here on nothing is missed.
    pub(super) async fn open(&self) -> Result<Open> {
        let opening = async {
            let (wire, channel) = (Arc::clone(&self.wire), self.channel.clone());
            let hear = move |said: &tokio_postgres::Notification| {
                if said.channel() == channel {
                    wire.hear(said.payload());
                }
            };
            let (client, task) = self.connector.start(hear).await?;
            client.batch_execute(&format!("LISTEN \"{}\"", self.channel)).await?;
            let notify = client.prepare("SELECT pg_notify($1::text, said) FROM unnest($2::text[]) AS told (said)").await?;
            Ok::<_, Error>(Open { client, notify, task })
        };
        tokio::time::timeout(self.to_open, opening).await.unwrap_or_else(|_| Err(silent()))
    }

    /// Goes on until the wire is closed, over one connection after another.
    pub(super) async fn run(self, first: Open) {
        let (mut open, mut pause) = (Some(first), PAUSE);
        loop {
            let since = Instant::now();
            let found = match open.take() {
                Some(first) => Ok(first),
                None => self.open().await.inspect(|_| self.wire.heard.put(News::Missed)),
            };
            let ended = match found {
                Ok(mut found) => self.serve(&mut found).await,
                Err(error) => Err(error),
            };
            let Err(error) = ended else { return };
            tracing::debug!(%error, "what other nodes tell is not heard; the connection is opened anew");
            pause = if since.elapsed() > LONGEST_PAUSE { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Until the wire is closed, or the connection is lost.
    async fn serve(&self, open: &mut Open) -> Result<()> {
        loop {
            let is_closing = self.wire.is_closing.load(Ordering::Relaxed);
            let told: Vec<News> = std::iter::from_fn(|| self.wire.told.take()).collect();
            if let Err(error) = self.tell(open, &told).await {
                told.into_iter().for_each(|news| self.wire.told.put(news));
                return Err(error);
            }
            if is_closing {
                return Ok(());
            }
            if !told.is_empty() {
                tokio::time::sleep(GATHER).await;
            }
            tokio::select! {
                _ = &mut open.task => return Err(Error::NoConnection("the server has ended it".to_owned())),
                () = self.wire.told.bell.notified() => {}
                () = tokio::time::sleep(TRY_EVERY) => {}
            }
        }
    }

    /// With nothing to tell it is tried whether the connection is there.
    async fn tell(&self, open: &Open, told: &[News]) -> Result<()> {
        let lines: Vec<String> = told.iter().flat_map(|news| lines(news, self.wire.incarnation)).collect();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&self.channel, &lines];
        match tokio::time::timeout(self.to_tell, open.client.execute(&open.notify, &params)).await {
            Ok(done) => Ok(done.map(drop)?),
            Err(_) => Err(silent()),
        }
    }
}

fn silent() -> Error {
    Error::NoConnection("the database does not answer".to_owned())
}

/// Ends what [`Line::run`] does, once it has told what there is to tell.
pub(super) async fn close(wire: &Wire, mut line: JoinHandle<()>) {
    wire.is_closing.store(true, Ordering::Relaxed);
    wire.told.bell.notify_one();
    if tokio::time::timeout(LAST_WORDS, &mut line).await.is_err() {
        line.abort();
    }
}

#[cfg(test)]
mod tests;
