//! Nodes that share a database, each with a way of its own to it.

use crate::common::Server;
use crate::common::items::Api;
use crate::postgres::Postgres;
use crate::proxy::Proxy;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const MASTER: &str = "a-master-key-of-this-test";
const SECRETS: &str = "k1=abababababababababababababababababababababababababababababababab";

/// Threads of each node: so many requests can be half sent when it stops.
pub const WORKERS: usize = 2;

/// How long nodes may take to share everything out when nothing is wrong.
const SHARING: Duration = Duration::from_secs(15);

/// How long an answer is waited for that may not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often something is looked at again.
pub const LOOK: Duration = Duration::from_millis(50);

struct Node {
    name: String,
    proxy: Proxy,
    server: Option<Server>,
    /// Whether it is started again when it has ended, as a supervisor does.
    wanted: bool,
}

impl Node {
    fn start(&mut self, database: &Postgres) {
        let url = database.url_by(self.proxy.port);
        let workers = WORKERS.to_string();
        let flags = ["--allow-network", "127.0.0.0/8", "--node-name", &self.name, "--workers", &workers];
        // How often a key may ask is not what is tried.
        let flags = [&flags[..], &["--rate-limit-read", "0", "--rate-limit-write", "0"][..]].concat();
        let environment =
            [("POSTRIDER_DATABASE_URL", url.as_str()), ("POSTRIDER_SECRETS_KEY", SECRETS), ("POSTRIDER_BOOTSTRAP_KEY", MASTER)];
        self.server = Some(Server::start(tempfile::tempdir().expect("a directory"), &flags, &environment));
    }
}

/// The nodes go first, then the database.
pub struct Cluster {
    nodes: Vec<Node>,
    /// Of the tenant `default`; it may read and write.
    pub key: String,
    /// How often a node was killed, or ended because others had taken it for dead: only then may something be sent again.
    pub lost: usize,
    pub database: Postgres,
}

impl Cluster {
    /// So many nodes, among which everything is shared out.
    pub fn start(count: usize) -> Cluster {
        let mut cluster = Cluster { nodes: Vec::new(), key: String::new(), lost: 0, database: Postgres::start() };
        for n in 0..count {
            cluster.join(&format!("n{n}"));
        }
        let body = json!({"namespace": "default", "name": "a test", "scopes": ["read", "write"]});
        let (key, _) = Api::with_key(cluster.node(0), MASTER).key(&body);
        cluster.key = key;
        cluster.until_shared();
        cluster
    }

    /// One more.
    pub fn join(&mut self, name: &str) {
        let proxy = Proxy::start(self.database.runtime(), self.database.port());
        let mut node = Node { name: name.to_owned(), proxy, server: None, wanted: true };
        node.start(&self.database);
        self.nodes.push(node);
    }

    /// Waits until every slot is somebody's, and every node that is there has some.
    pub fn until_shared(&self) {
        let running = self.nodes.iter().filter(|node| node.server.is_some()).count();
        let sql = "SELECT count(*) FILTER (WHERE s.owner = 0 OR n.ended_at IS NOT NULL), count(DISTINCT s.owner) \
                   FROM postrider.slots s LEFT JOIN postrider.nodes n ON n.incarnation = s.owner";
        let begun = Instant::now();
        loop {
            let rows = self.database.query(sql);
            let (without, owners): (i64, i64) = (rows[0].get(0), rows[0].get(1));
            if without == 0 && usize::try_from(owners) == Ok(running) {
                return;
            }
            assert!(begun.elapsed() < SHARING, "{without} slots are nobody's, the others of {owners} nodes out of {running}");
            std::thread::park_timeout(LOOK);
        }
    }

    /// How many there are, those included that have ended.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// One that is there.
    pub fn node(&self, n: usize) -> &Server {
        self.nodes[n].server.as_ref().expect("it is there")
    }

    pub fn proxy(&self, n: usize) -> &Proxy {
        &self.nodes[n].proxy
    }

    pub fn api(&self, n: usize) -> Api<'_> {
        Api::with_key(self.node(n), &self.key)
    }

    /// Where they listen.
    pub fn targets(&self) -> Vec<Option<SocketAddr>> {
        self.nodes.iter().map(|node| node.server.as_ref().map(|server| server.address)).collect()
    }

    /// The node with this incarnation.
    pub fn with_incarnation(&self, incarnation: i64) -> Option<usize> {
        let rows = self.database.query(&format!("SELECT name FROM postrider.nodes WHERE incarnation = {incarnation}"));
        let name: &str = rows.first()?.get(0);
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self, n: usize) {
        let server = self.nodes[n].server.take().expect("it is there");
        self.lost += 1;
        drop(server.crash());
    }

    /// Asks it to stop; it does not come back.
    pub fn stop(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.wanted = false;
        let server = node.server.take().expect("it is there");
        let (status, _directory) = server.stop();
        assert!(status.success(), "{}: {status}", node.name);
    }

    pub fn signal(&self, n: usize, signal: Signal) {
        self.node(n).signal(signal);
    }

    /// Whether it has ended by itself; then because others had taken it for dead, and it says so.
    pub fn has_ended(&mut self, n: usize) -> bool {
        let node = &mut self.nodes[n];
        let Some(status) = node.server.as_mut().and_then(Server::has_ended) else { return false };
        assert_eq!(status.code(), Some(1), "{} ended by itself: {status}", node.name);
        node.server = None;
        self.lost += 1;
        true
    }

    /// Starts those again that have ended.
    pub fn revive(&mut self) {
        for n in 0..self.nodes.len() {
            self.has_ended(n);
            let node = &mut self.nodes[n];
            if node.server.is_none() && node.wanted {
                node.start(&self.database);
            }
        }
    }

    /// How many nodes this one shows as alive; 0 where it does not answer.
    pub fn alive_seen_by(&self, n: usize) -> usize {
        let shown = self.ask(n, "/v1/nodes", MASTER);
        let nodes = shown.as_ref().and_then(|shown| shown["nodes"].as_array());
        nodes.map_or(0, |nodes| nodes.iter().filter(|node| node["state"] == "alive").count())
    }

    /// The total of a list of the Items API on this node; `None` where it does not answer.
    pub fn total(&self, n: usize, path: &str) -> Option<u64> {
        self.ask(n, path, &self.key)?["total"].as_u64()
    }

    /// What a node answers that may not be there, or end in the middle.
    fn ask(&self, n: usize, path: &str, key: &str) -> Option<Value> {
        let address = self.nodes[n].server.as_ref()?.address;
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if head.split(' ').nth(1) == Some("200") { serde_json::from_str(body).ok() } else { None }
    }

    /// The ports at its end of the connections that a node has; none where it has just ended.
    pub fn ports(&self, n: usize) -> BTreeSet<u16> {
        let process = format!("/proc/{}", self.node(n).pid());
        let Ok(files) = std::fs::read_dir(Path::new(&process).join("fd")) else { return BTreeSet::new() };
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let socket = |link: &Path| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
        let sockets: BTreeSet<String> = links.filter_map(|link| socket(&link)).collect();
        let table = std::fs::read_to_string(format!("{process}/net/tcp")).unwrap_or_default();
        let port = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (_, port) = words.get(1)?.split_once(':')?;
            sockets.contains(*words.get(9)?).then(|| u16::from_str_radix(port, 16).ok())?
        };
        table.lines().skip(1).filter_map(port).collect()
    }
}
