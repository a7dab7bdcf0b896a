//! The flags of `postrider bench` and what they mean.

use crate::cli::CommandError;
use crate::config::value::Span;
use http::StatusCode;
use std::path::PathBuf;

/// The flags of `postrider bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server to load, such as http://127.0.0.1:8080 [default: an own one that is started and stopped].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The API key for that server.
    #[arg(long, value_name = "KEY", env = "POSTRIDER_API_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// The process of that server, if it runs on this machine, so that its CPU and memory can be measured.
    #[arg(long, value_name = "PID", requires = "url")]
    pub server_pid: Option<u32>,
    /// How many events to send.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=MAX_SLOTS))]
    pub events: u64,
    /// How many connections send them.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Events per second, sent on a fixed grid whether or not answers come, or `max`: as fast as the connections go.
    #[arg(long, value_name = "N|max", default_value = "max", value_parser = rate)]
    pub rate: Rate,
    /// Bytes of a payload.
    #[arg(long, value_name = "BYTES", default_value_t = 300, value_parser = clap::value_parser!(u32).range(48..=1_000_000))]
    pub size: u32,
    /// How many subscriptions get each event.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub fan_out: u32,
    /// Over how many subscriptions the deliveries are spread; a multiple of --fan-out [default: --fan-out].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub endpoints: Option<u32>,
    /// How many of them accept requests and never answer. Reports are about the others.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub hang: u32,
    /// How long to warm up before measuring.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub warmup: Span,
    /// First publish N events to a dead endpoint, where they wait while the measurement runs.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_SLOTS))]
    pub backlog: u64,
    /// Whether the dead endpoint never answers or refuses connections.
    #[arg(long, value_name = "HOW", default_value = "hang", requires = "backlog")]
    pub backlog_mode: BacklogMode,
    /// How long the receiver waits before it answers.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub receiver_delay: Span,
    /// How events are published: POST /ingest/{id}, POST /v1/delivery/events, or PushEvent over Connect (JSON) or gRPC [default: tasks,
    /// with a fan-out items].
    #[arg(long, value_name = "API")]
    pub api: Option<Api>,
    /// The namespace that PushEvent names: that of the key.
    #[arg(long, value_name = "NAME", default_value = "default", requires = "url")]
    pub namespace: String,
    /// Give up when nothing has arrived for so long.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub give_up: Span,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// No progress on stderr.
    #[arg(long, short)]
    pub quiet: bool,
    /// Where the own server stores; must be empty or absent [default: a directory of its own under the temporary one].
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub data_dir: Option<PathBuf>,
    /// Keep the own server's directory and log.
    #[arg(long, conflicts_with = "url")]
    pub keep: bool,
    /// One more argument for the own server; may be given several times.
    #[arg(long = "server-arg", value_name = "ARG", allow_hyphen_values = true, conflicts_with = "url")]
    pub server_args: Vec<String>,
    /// Do not measure the exchange between sender and receiver alone.
    #[arg(long, conflicts_with = "only_direct")]
    pub skip_direct: bool,
    /// Measure the exchange between sender and receiver alone, and no server: of the flags about a server none makes sense beside it.
    #[arg(long, conflicts_with_all = OF_A_SERVER)]
    pub only_direct: bool,
}

/// Flags without effect where there is no server.
const OF_A_SERVER: [&str; 13] = [
    "url",
    "server_pid",
    "rate",
    "fan_out",
    "endpoints",
    "hang",
    "warmup",
    "backlog",
    "api",
    "namespace",
    "data_dir",
    "keep",
    "server_args",
];

/// The most deliveries of one run, so that its books (16 bytes each) stay well within memory.
pub const MAX_SLOTS: u64 = 20_000_000;

/// How fast events are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as the connections go.
    Max,
    /// So many a second.
    PerSecond(f64),
}

/// What the endpoint of the backlog does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BacklogMode {
    /// Accepts requests and never answers.
    Hang,
    /// Refuses connections.
    Refuse,
}

/// Which API publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `POST /ingest/{subscription}`.
    Tasks,
    /// `POST /v1/delivery/events`.
    Items,
    /// `PushEvent` over Connect, in JSON.
    Connect,
    /// `PushEvent` over gRPC.
    #[value(alias = "rpc")]
    Grpc,
}

impl Api {
    /// The status that means accepted.
    pub fn accepted(self) -> StatusCode {
        match self {
            Api::Tasks | Api::Items => StatusCode::ACCEPTED,
            Api::Connect | Api::Grpc => StatusCode::OK,
        }
    }
}

/// How events, groups and endpoints belong together: event `n` goes to the `fan_out` endpoints of group `n mod groups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Subscriptions in all.
    pub endpoints: u32,
    /// Subscriptions that get one event.
    pub fan_out: u32,
    /// The first so many endpoints never answer.
    pub hung: u32,
}

impl Shape {
    /// How many groups there are.
    pub fn groups(self) -> u32 {
        self.endpoints / self.fan_out
    }

    /// The group of an event.
    pub fn group_of(self, event: u64) -> u32 {
        u32::try_from(event % u64::from(self.groups())).unwrap_or(0)
    }

    /// Which of the event's deliveries goes to this endpoint, if one does.
    pub fn slot(self, event: u64, endpoint: u32) -> Option<u32> {
        (endpoint < self.endpoints && endpoint / self.fan_out == self.group_of(event)).then_some(endpoint % self.fan_out)
    }

    /// Whether this delivery of the event is expected to arrive.
    pub fn is_expected(self, event: u64, slot: u32) -> bool {
        self.group_of(event) * self.fan_out + slot >= self.hung
    }
}

impl Args {
    /// Which API publishes.
    pub fn api(&self) -> Api {
        self.api.unwrap_or(if self.fan_out > 1 { Api::Items } else { Api::Tasks })
    }

    /// The endpoints, if the flags fit each other.
    pub fn shape(&self) -> Result<Shape, CommandError> {
        let bad = |text: String| Err(CommandError(text));
        if self.key.is_some() && self.url.is_none() {
            return bad(String::from("--key, or POSTRIDER_API_KEY, is for the server at --url: an own server has a key of its own"));
        }
        let endpoints = self.endpoints.unwrap_or(self.fan_out);
        if !endpoints.is_multiple_of(self.fan_out) {
            return bad(format!("--endpoints {endpoints} is no multiple of --fan-out {}", self.fan_out));
        }
        if self.hang >= endpoints {
            return bad(format!("--hang {} leaves none of {endpoints} endpoints to measure: add --endpoints", self.hang));
        }
        if self.fan_out > 1 && self.api == Some(Api::Tasks) {
            return bad(String::from("--api tasks publishes to one subscription: a --fan-out needs --api items, connect or grpc"));
        }
        let slots = self.events.saturating_mul(u64::from(self.fan_out));
        if slots > MAX_SLOTS {
            return bad(format!("{} events x fan-out {} are {slots} deliveries, more than {MAX_SLOTS}", self.events, self.fan_out));
        }
        Ok(Shape { endpoints, fan_out: self.fan_out, hung: self.hang })
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let rate = text.parse().ok().filter(|rate: &f64| (0.01..=1_000_000.0).contains(rate));
    rate.map(Rate::PerSecond).ok_or_else(|| String::from("a rate is max, or a number of events per second from 0.01 to 1000000"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    pub(in crate::cli::bench) fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).map(|line| line.args)
    }

    fn shape(line: &str) -> Result<Shape, CommandError> {
        parse(line).expect("flags").shape()
    }

    #[test]
    fn the_defaults_are_the_plain_run() {
        let args = parse("").expect("no flags");
        assert_eq!((args.events, args.connections, args.rate, args.size), (200_000, 64, Rate::Max, 300));
        assert_eq!(args.shape().expect("a shape"), Shape { endpoints: 1, fan_out: 1, hung: 0 });
        assert_eq!(args.api(), Api::Tasks);
    }

    #[test]
    fn a_fan_out_spreads_each_event_over_one_group() {
        let args = parse("--fan-out 3 --endpoints 6 --hang 1").expect("flags");
        assert_eq!(args.api(), Api::Items);
        let shape = args.shape().expect("a shape");
        assert_eq!(shape.groups(), 2);
        assert_eq!((shape.slot(4, 0), shape.slot(4, 2), shape.slot(4, 3)), (Some(0), Some(2), None));
        assert_eq!((shape.slot(5, 2), shape.slot(5, 5), shape.slot(5, 6)), (None, Some(2), None));
        assert_eq!((shape.is_expected(4, 0), shape.is_expected(4, 1), shape.is_expected(5, 0)), (false, true, true));
    }

    #[test]
    fn flags_that_do_not_fit_are_explained() {
        for (line, part) in [
            ("--fan-out 3 --endpoints 4", "multiple"),
            ("--endpoints 4 --hang 4", "--endpoints"),
            ("--fan-out 2 --api tasks", "--api items"),
            ("--events 10000000 --fan-out 3", "deliveries"),
            ("--key pr_secret", "--url"),
            ("--key pr_secret --only-direct", "--url"),
        ] {
            let error = shape(line).expect_err(line).to_string();
            assert!(error.contains(part), "{error}");
        }
        for line in [
            "--rate 0",
            "--rate fast",
            "--rate inf",
            "--size 10",
            "--events 0",
            "--only-direct --skip-direct",
            "--keep --url http://x",
            "--backlog-mode refuse",
            "--api soap",
            "--api grpc --namespace mine",
        ] {
            parse(line).expect_err(line);
        }
        parse("--backlog-mode refuse --backlog 1").expect("a backlog");
        shape("--key pr_secret --url http://x").expect("the key of that server");
    }

    #[test]
    fn without_a_server_nothing_about_one_is_taken() {
        for line in [
            "--url http://x",
            "--url http://x --server-pid 1",
            "--url http://x --namespace n",
            "--rate 5",
            "--fan-out 2",
            "--endpoints 2",
            "--hang 1",
            "--warmup 1s",
            "--backlog 1",
            "--api items",
            "--api grpc",
            "--data-dir x",
            "--keep",
            "--server-arg x",
        ] {
            let error = parse(&format!("--only-direct {line}")).expect_err(line).to_string();
            let flag = line.split(' ').next().expect("a flag");
            assert!(error.contains("cannot be used with") && error.contains("--only-direct") && error.contains(flag), "{error}");
        }
        parse("--only-direct --events 5 --connections 2 --size 64 --receiver-delay 1ms --json --quiet --give-up 5s")
            .expect("all have effects");
    }

    #[test]
    fn rates_and_server_arguments_are_read() {
        let args = parse("--rate 1000.5 --server-arg --workers --server-arg 1 --warmup 500ms").expect("flags");
        assert_eq!((args.rate, args.server_args), (Rate::PerSecond(1_000.5), vec![String::from("--workers"), "1".into()]));
        assert_eq!(args.warmup.0, std::time::Duration::from_millis(500));
    }
}
