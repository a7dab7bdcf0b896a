//! The phases of a run, one after the other.

use super::args::{Api, Args, BacklogMode, Rate, Shape};
use super::lane::Speaks;
use super::ledger::Ledger;
use super::measure::{Latency, cpu_seconds, memory};
use super::own::OwnServer;
use super::pace::Pace;
use super::payload::{Phase, Template};
use super::progress::Progress;
use super::report::{Direct, Report, Settings, Through, Usage, ratio};
use super::sender::{Load, Route, Trouble};
use super::setup::{Target, headers};
use super::sink::{Receiver, Sink};
use crate::cli::CommandError;
use http::header::{CONTENT_TYPE, HOST, TE};
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Exchanges of the direct phase, if there are not fewer events.
const DIRECT_EXCHANGES: u64 = 100_000;
/// Events of a warm-up at full speed, at most, per second of it.
const WARMUP_PER_SECOND: f64 = 100_000.0;
/// How long late duplicates are waited for.
const SETTLE: Duration = Duration::from_millis(500);
/// How often it is looked whether everything has arrived; arrivals carry their own times.
const LOOK: Duration = Duration::from_millis(10);
/// The shape of the backlog: one endpoint that never answers.
const DEAD: Shape = Shape { endpoints: 1, fan_out: 1, hung: 1 };
/// The shape of the direct phase.
const PLAIN: Shape = Shape { endpoints: 1, fan_out: 1, hung: 0 };

/// The method that publishes an event through the RPC API.
const PUSH_EVENT: &str = "/webhook.EventService/PushEvent";

/// The type of the backlog's events, and the header that says so.
const BACKLOG_TYPE: &str = "bench.backlog";
const EVENT_TYPE: HeaderName = HeaderName::from_static("x-event-type");

/// Runs all phases.
pub async fn run(args: &Args) -> Result<Report, CommandError> {
    let shape = args.shape()?;
    let sink = Arc::new(Sink::new(Template::bare(args.size as usize), shape.hung, args.receiver_delay.0));
    let receiver = Receiver::start(sink.clone(), shape.endpoints)?;
    let mut bench = Bench { args, shape, epoch: Instant::now(), sink, receiver, progress: Progress::new(args.quiet || args.json) };
    let direct = if args.skip_direct { None } else { Some(bench.direct().await?) };
    let server = if args.only_direct { None } else { Some(bench.server().await?) };
    bench.progress.clear();
    Ok(Report { ok: false, settings: Settings::new(args, shape), direct, server }.conclude())
}

struct Bench<'a> {
    args: &'a Args,
    shape: Shape,
    epoch: Instant,
    sink: Arc<Sink>,
    receiver: Receiver,
    progress: Progress,
}

/// A server under load.
struct Server {
    own: Option<OwnServer>,
    pid: Option<u32>,
    target: Target,
    routes: Vec<Route>,
    trouble: Arc<Mutex<Trouble>>,
    /// Keeps the port of a backlog that is refused: bound, and nobody listens.
    refusing: Option<TcpSocket>,
    backlog: Option<Route>,
}

impl Bench<'_> {
    async fn direct(&mut self) -> Result<Direct, CommandError> {
        let exchanges = self.args.events.min(DIRECT_EXCHANGES);
        let ledger = self.open(Phase::Direct, PLAIN, exchanges);
        let template = Template::bare(self.args.size as usize);
        let first = self.receiver.addresses()[0];
        let load = Load {
            phase: Phase::Direct,
            addresses: self.receiver.addresses().to_vec(),
            connections: self.args.connections,
            speaks: Speaks::Http1,
            routes: vec![Route { uri: Uri::from_static("/e/0"), template }],
            headers: headers(&first.to_string(), None)?,
            expected: StatusCode::OK,
            insist: true,
            pace: Pace::start(Rate::Max, exchanges, None, self.args.connections),
            ledger: ledger.clone(),
            trouble: Arc::default(),
        };
        let cpu = cpu_seconds(std::process::id());
        let complete = self.drive("direct", load, None).await?;
        let used = cpu_seconds(std::process::id()).zip(cpu).map(|(after, before)| after - before);
        if !complete {
            return Err(CommandError(String::from("the direct phase did not end: is the machine overloaded?")));
        }
        let seconds = ledger.accept_span().as_secs_f64();
        Ok(Direct {
            exchanges,
            seconds,
            per_second: exchanges as f64 / seconds,
            latency_us: Latency::of(ledger.accept_latencies()),
            cpu_s_per_1000: used.map(|used| used * 1_000.0 / exchanges as f64),
        })
    }

    async fn server(&mut self) -> Result<Through, CommandError> {
        let mut server = self.prepare().await?;
        let mut usage = Usage { server_idle_rss_bytes: server.memory().map(|m| m.resident), ..Usage::default() };
        let mut backlog_seconds = None;
        if let Some(route) = server.backlog.clone() {
            let ledger = self.open(Phase::Backlog, DEAD, self.args.backlog);
            let pace = Pace::start(Rate::Max, self.args.backlog, None, self.args.connections);
            let mut load = self.load(Phase::Backlog, &server, vec![route], pace, true, &ledger);
            load.headers.insert(EVENT_TYPE, HeaderValue::from_static(BACKLOG_TYPE));
            self.through("backlog", load, &mut server).await?;
            backlog_seconds = Some(ledger.accept_span().as_secs_f64());
            usage.server_backlog_rss_bytes = server.memory().map(|m| m.resident);
        }
        let disk_write_us = self.disk(&server).await;
        if !self.args.warmup.0.is_zero() {
            self.warm_up(&mut server).await?;
        }
        let (cpu, own_cpu) = (server.pid.and_then(cpu_seconds), cpu_seconds(std::process::id()));
        let ledger = self.open(Phase::Main, self.shape, self.args.events);
        let pace = Pace::start(self.args.rate, self.args.events, None, self.args.connections);
        let insist = self.args.rate == Rate::Max;
        let load = self.load(Phase::Main, &server, server.routes.clone(), pace, insist, &ledger);
        let complete = self.through("measuring", load, &mut server).await?;
        sleep(SETTLE).await;
        let per_1000 = |used: Option<f64>| used.and_then(|used| ratio(used * 1_000.0, ledger.arrived() as f64));
        let used = server.pid.and_then(cpu_seconds).zip(cpu).map(|(after, before)| after - before);
        let own_used = cpu_seconds(std::process::id()).zip(own_cpu).map(|(after, before)| after - before);
        usage.server_cpu_s = used;
        usage.server_cpu_s_per_1000 = per_1000(used);
        usage.bench_cpu_s_per_1000 = per_1000(own_used);
        usage.server_peak_rss_bytes = server.memory().map(|m| m.peak);
        usage.server_end_rss_bytes = server.memory().map(|m| m.resident);
        let trouble = server.trouble.lock().clone();
        let through =
            self.count(&ledger, trouble, Through { gave_up: !complete, backlog_seconds, disk_write_us, usage, ..Through::default() });
        server.stop(self.args.keep).await?;
        Ok(through)
    }

    /// What the disk of an own server takes for itself at the pace of this run, if it has one.
    async fn disk(&mut self, server: &Server) -> Option<Latency> {
        let (Some(own), Rate::PerSecond(rate)) = (&server.own, self.args.rate) else { return None };
        self.progress.begin("the disk");
        super::disk::probe(own.directory(), rate).await
    }

    async fn warm_up(&mut self, server: &mut Server) -> Result<(), CommandError> {
        let length = self.args.warmup.0;
        let per_second = match self.args.rate {
            Rate::Max => WARMUP_PER_SECOND / f64::from(self.shape.fan_out),
            Rate::PerSecond(rate) => rate,
        };
        let events = ((length.as_secs_f64() * per_second) as u64).clamp(1, self.args.events);
        let ledger = self.open(Phase::Warmup, self.shape, events);
        let pace = Pace::start(self.args.rate, events, Some(Instant::now() + length), self.args.connections);
        let load = self.load(Phase::Warmup, server, server.routes.clone(), pace, false, &ledger);
        // What is missing is found in the books at the end.
        self.through("warm-up", load, server).await.map(drop)
    }

    /// What the books say in the end.
    fn count(&self, main: &Ledger, trouble: Trouble, through: Through) -> Through {
        let (accept, delivery) = (main.accept_span().as_secs_f64(), main.delivery_span().as_secs_f64());
        let seen = &self.sink.seen;
        Through {
            sent: main.sent(),
            accepted: main.accepted(),
            expected: main.expected(),
            delivered: main.arrived(),
            accept_seconds: accept,
            delivery_seconds: delivery,
            accepted_per_second: ratio(main.accepted() as f64, accept).unwrap_or_default(),
            delivered_per_second: ratio(main.arrived() as f64, delivery).unwrap_or_default(),
            accept_latency_us: Latency::of(main.accept_latencies()),
            arrival_latency_us: Latency::of(main.arrival_latencies()),
            lost: self.sink.ledgers().map(|books| books.missing()).sum(),
            duplicates: self.sink.ledgers().map(|books| books.duplicates()).sum(),
            wrong: seen.wrong.load(Ordering::Relaxed),
            without_key: seen.without_key.load(Ordering::Relaxed),
            hung_requests: seen.hung.load(Ordering::Relaxed),
            other_answers: trouble.answers,
            other_answer_example: trouble.example,
            broken_exchanges: trouble.broken,
            broken_reason: trouble.reason,
            ..through
        }
    }

    fn open(&self, phase: Phase, shape: Shape, events: u64) -> Arc<Ledger> {
        self.sink.open(phase, Ledger::new(self.epoch, shape, events))
    }

    fn load(&self, phase: Phase, server: &Server, routes: Vec<Route>, pace: Pace, insist: bool, ledger: &Arc<Ledger>) -> Load {
        // A backlog always comes through the Tasks API.
        let api = if phase == Phase::Backlog { Api::Tasks } else { self.args.api() };
        let mut headers = server.target.headers.clone();
        if api == Api::Grpc {
            headers.remove(HOST);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        Load {
            phase,
            addresses: vec![server.target.address],
            connections: self.args.connections,
            speaks: if api == Api::Grpc { Speaks::Grpc } else { Speaks::Http1 },
            routes,
            headers,
            expected: api.accepted(),
            insist,
            pace,
            ledger: ledger.clone(),
            trouble: server.trouble.clone(),
        }
    }

    async fn through(&mut self, name: &str, load: Load, server: &mut Server) -> Result<bool, CommandError> {
        self.drive(name, load, server.own.as_mut()).await
    }

    /// Sends a load and waits until everything has arrived; `false` if nothing moved for too long before that.
    async fn drive(&mut self, name: &str, load: Load, mut own: Option<&mut OwnServer>) -> Result<bool, CommandError> {
        self.progress.begin(name);
        let ledger = load.ledger.clone();
        let mut sending = std::pin::pin!(load.run());
        let mut sent_all = false;
        let (mut moved, mut last) = (Instant::now(), 0);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = sending.as_mut(), if !sent_all => {
                    if let Some(own) = own.as_deref_mut() {
                        own.check()?;
                    }
                    ended?;
                    sent_all = true;
                }
                _ = look.tick() => {}
            }
            if sent_all && ledger.missing() == 0 {
                return Ok(true);
            }
            let state = ledger.sent() + ledger.accepted() + ledger.arrived();
            if state != last {
                (moved, last) = (Instant::now(), state);
            } else if moved.elapsed() > self.args.give_up.0 {
                return Ok(false);
            }
            self.progress.tick(name, &ledger);
            if let Some(own) = own.as_deref_mut() {
                own.check()?;
            }
        }
    }

    /// Finds or starts the server and makes the subscriptions.
    async fn prepare(&mut self) -> Result<Server, CommandError> {
        let args = self.args;
        let (own, target) = match &args.url {
            Some(url) => (None, Target::find(url, args.key.as_deref()).await?),
            None => {
                self.progress.begin("starting a server");
                let own = OwnServer::start(args.data_dir.as_deref(), args.keep, &args.server_args).await?;
                let target = Target::find(&format!("http://{}", own.address), Some(&own.key)).await?;
                (Some(own), target)
            }
        };
        let pid = own.as_ref().map(OwnServer::pid).or(args.server_pid);
        let by_type = args.api() != Api::Tasks;
        // A name of this run alone: on a server that is not ours older subscriptions must not get its events.
        let run = format!("bench.{:08x}", crate::random::seed() as u32);
        let event_type = |group: u32| format!("{run}.g{group}");
        let mut wanted: Vec<_> = (0..self.shape.endpoints)
            .map(|endpoint| (self.receiver.url(endpoint), by_type.then(|| event_type(endpoint / self.shape.fan_out))))
            .collect();
        let mut refusing = None;
        if args.backlog > 0 {
            let (url, socket) = self.dead_target()?;
            refusing = socket;
            // Its type keeps it from getting what other APIs publish.
            wanted.push((url, Some(String::from(BACKLOG_TYPE))));
        }
        let mut ids = target.subscribe(&wanted).await?;
        let template = Template::bare(args.size as usize);
        let ingest = |id: &String| Ok(Route { uri: ingest_uri(id)?, template: template.clone() });
        let backlog = if args.backlog > 0 { ids.pop().as_ref().map(ingest).transpose()? } else { None };
        let routes = if by_type {
            let publish = |group| publishing(args, target.address, &event_type(group));
            (0..self.shape.groups()).map(publish).collect::<Result<_, CommandError>>()?
        } else {
            ids.iter().map(ingest).collect::<Result<_, CommandError>>()?
        };
        Ok(Server { own, pid, target, routes, trouble: Arc::default(), refusing, backlog })
    }

    /// Where the backlog goes, and the socket that keeps its port if connections are to be refused.
    fn dead_target(&self) -> Result<(String, Option<TcpSocket>), CommandError> {
        if self.args.backlog_mode == BacklogMode::Hang {
            return Ok((self.receiver.dead_url(), None));
        }
        let failed = |error| CommandError::new("cannot reserve a port that refuses", error);
        let socket = TcpSocket::new_v4().map_err(failed)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok((format!("http://{address}/dead"), Some(socket)))
    }
}

/// How events of a type are published.
fn publishing(args: &Args, address: SocketAddr, event_type: &str) -> Result<Route, CommandError> {
    let size = args.size as usize;
    Ok(match args.api() {
        Api::Tasks | Api::Items => Route { uri: Uri::from_static("/v1/delivery/events"), template: Template::event(event_type, size) },
        Api::Connect => Route { uri: Uri::from_static(PUSH_EVENT), template: Template::pushed(&args.namespace, event_type, size) },
        Api::Grpc => {
            // HTTP/2 has the server's name in the target.
            let uri = format!("http://{address}{PUSH_EVENT}").parse();
            let uri = uri.map_err(|error| CommandError::new("the server's address is no URL", error))?;
            Route { uri, template: Template::called(&args.namespace, event_type, size) }
        }
    })
}

fn ingest_uri(id: &str) -> Result<Uri, CommandError> {
    format!("/ingest/{id}").parse().map_err(|error| CommandError::new("the server's subscription id is no path segment", error))
}

impl Server {
    fn memory(&self) -> Option<super::measure::Memory> {
        self.pid.and_then(memory)
    }

    async fn stop(self, say_where: bool) -> Result<(), CommandError> {
        drop(self.refusing);
        let Some(own) = self.own else { return Ok(()) };
        if say_where {
            use std::io::Write;
            // Talk that nobody hears.
            let _ = writeln!(std::io::stderr(), "kept: {}", own.directory().display());
        }
        let status = own.stop().await?;
        if status.success() { Ok(()) } else { Err(CommandError(format!("the server did not stop in good order: {status}"))) }
    }
}
