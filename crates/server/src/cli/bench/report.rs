//! What a run found out, as a table for people and as JSON for scripts.

use super::args::{Api, Args, Rate, Shape};
use super::measure::Latency;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a run found out. The names are stable; `null` is what was not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Whether nothing was lost, doubled or wrong.
    pub ok: bool,
    /// What was asked for.
    pub settings: Settings,
    /// From the sender straight to the receiver.
    pub direct: Option<Direct>,
    /// Through the server.
    pub server: Option<Through>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Settings {
    /// Version of this program.
    pub version: &'static str,
    /// How events were published.
    pub api: Option<Api>,
    /// Events of the measured phase.
    pub events: u64,
    /// Connections that sent them.
    pub connections: u32,
    /// Events per second; `null` is as fast as the connections go.
    pub rate: Option<f64>,
    /// Bytes of a payload.
    pub size: u32,
    /// Deliveries of an event.
    pub fan_out: u32,
    /// Subscriptions.
    pub endpoints: u32,
    /// How many of them never answer.
    pub hung_endpoints: u32,
    /// Events that were published to a dead endpoint before.
    pub backlog: u64,
    /// How long the receiver waited before it answered, in milliseconds.
    pub receiver_delay_ms: u64,
}

impl Settings {
    /// From the flags.
    pub fn new(args: &Args, shape: Shape) -> Self {
        Settings {
            version: env!("CARGO_PKG_VERSION"),
            api: Some(args.api()),
            events: args.events,
            connections: args.connections,
            rate: match args.rate {
                Rate::Max => None,
                Rate::PerSecond(rate) => Some(rate),
            },
            size: args.size,
            fan_out: shape.fan_out,
            endpoints: shape.endpoints,
            hung_endpoints: shape.hung,
            backlog: args.backlog,
            receiver_delay_ms: u64::try_from(args.receiver_delay.0.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// From the sender straight to the receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Direct {
    /// Exchanges made.
    pub exchanges: u64,
    /// From the first sending to the last answer.
    pub seconds: f64,
    /// Exchanges per second.
    pub per_second: f64,
    /// From sending to answer, in microseconds.
    pub latency_us: Option<Latency>,
    /// CPU seconds of this process per 1,000 exchanges.
    pub cpu_s_per_1000: Option<f64>,
}

/// Through the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Through {
    /// Events sent.
    pub sent: u64,
    /// Events answered 202.
    pub accepted: u64,
    /// Deliveries that the accepted events should make at endpoints that answer.
    pub expected: u64,
    /// Deliveries that arrived, each counted once.
    pub delivered: u64,
    /// From the first sending to the last 202.
    pub accept_seconds: f64,
    /// From the first sending to the last arrival.
    pub delivery_seconds: f64,
    /// Accepted events per second.
    pub accepted_per_second: f64,
    /// Deliveries per second.
    pub delivered_per_second: f64,
    /// Deliveries per second, in percent of direct exchanges per second.
    pub ratio_to_direct_percent: Option<f64>,
    /// From the intended sending to the 202, in microseconds.
    pub accept_latency_us: Option<Latency>,
    /// From the intended sending to the arrival, in microseconds, endpoints that answer only.
    pub arrival_latency_us: Option<Latency>,
    /// One small durable write on the disk of an own server, at the pace of the run and before it, in microseconds.
    pub disk_write_us: Option<Latency>,
    /// Expected deliveries that did not arrive, warm-up included.
    pub lost: u64,
    /// Arrivals beyond the first of a delivery, warm-up included.
    pub duplicates: u64,
    /// Requests whose body or endpoint was not the one sent, warm-up included.
    pub wrong: u64,
    /// Deliveries without an idempotency key, warm-up included.
    pub without_key: u64,
    /// Requests that reached endpoints that never answer.
    pub hung_requests: u64,
    /// Answers other than 202, by status, warm-up and backlog included.
    pub other_answers: BTreeMap<u16, u64>,
    /// The beginning of the first of them.
    pub other_answer_example: Option<String>,
    /// Publishing exchanges that broke off, warm-up and backlog included.
    pub broken_exchanges: u64,
    /// The latest reason of one.
    pub broken_reason: Option<String>,
    /// Whether waiting was given up because nothing arrived any more.
    pub gave_up: bool,
    /// Seconds that publishing the backlog took.
    pub backlog_seconds: Option<f64>,
    /// What the server used.
    pub usage: Usage,
}

/// What server and benchmark used during the measured phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// CPU seconds of the server.
    pub server_cpu_s: Option<f64>,
    /// The same per 1,000 deliveries.
    pub server_cpu_s_per_1000: Option<f64>,
    /// CPU seconds of this process per 1,000 deliveries.
    pub bench_cpu_s_per_1000: Option<f64>,
    /// Resident memory of the server before any load, in bytes.
    pub server_idle_rss_bytes: Option<u64>,
    /// Resident memory of the server once the backlog waited, in bytes.
    pub server_backlog_rss_bytes: Option<u64>,
    /// Resident memory of the server at the end, in bytes.
    pub server_end_rss_bytes: Option<u64>,
    /// The most memory of the server that was ever resident, in bytes.
    pub server_peak_rss_bytes: Option<u64>,
}

impl Through {
    /// Whether everything was accepted and nothing was lost, doubled or wrong.
    pub fn is_ok(&self) -> bool {
        self.accepted > 0
            && self.accepted == self.sent
            && self.lost == 0
            && self.duplicates == 0
            && self.wrong == 0
            && self.without_key == 0
            && !self.gave_up
    }
}

impl Report {
    /// Sets what follows from the rest: the verdict and the ratio to direct.
    pub fn conclude(mut self) -> Report {
        if let (Some(direct), Some(server)) = (&self.direct, &mut self.server) {
            server.ratio_to_direct_percent = ratio(server.delivered_per_second * 100.0, direct.per_second);
        }
        self.ok = self.server.as_ref().is_none_or(Through::is_ok);
        self
    }
}

/// A quotient, unless it has no value.
pub fn ratio(part: f64, whole: f64) -> Option<f64> {
    let quotient = part / whole;
    quotient.is_finite().then_some(quotient)
}

/// One line of the table.
fn row(f: &mut fmt::Formatter<'_>, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{name:<28}{value}")
}

fn latency(f: &mut fmt::Formatter<'_>, name: &str, latency: Option<Latency>) -> fmt::Result {
    let Some(Latency { p50, p90, p99, p999, max }) = latency else { return Ok(()) };
    let ms = |us: u64| us as f64 / 1_000.0;
    let values = [p50, p90, p99, p999, max].map(ms);
    let [p50, p90, p99, p999, max] = values;
    row(f, name, format_args!("p50 {p50:.2} ms  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2}"))
}

fn mebibytes(f: &mut fmt::Formatter<'_>, name: &str, bytes: Option<u64>) -> fmt::Result {
    bytes.map_or(Ok(()), |bytes| row(f, name, format_args!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))))
}

fn seconds(f: &mut fmt::Formatter<'_>, name: &str, seconds: Option<f64>) -> fmt::Result {
    seconds.map_or(Ok(()), |seconds| row(f, name, format_args!("{seconds:.4} s")))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(direct) = &self.direct {
            row(f, "direct exchanges", format_args!("{:.0}/s ({} in {:.2} s)", direct.per_second, direct.exchanges, direct.seconds))?;
            latency(f, "direct latency", direct.latency_us)?;
            seconds(f, "direct CPU per 1,000", direct.cpu_s_per_1000)?;
        }
        if let Some(server) = &self.server {
            server.fmt(f)?;
        }
        f.write_str(if self.ok { "ok" } else { "NOT OK" })
    }
}

impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Through { accepted_per_second, accepted, sent, accept_seconds, .. } = self;
        row(f, "accepted", format_args!("{accepted_per_second:.0}/s ({accepted} of {sent} events in {accept_seconds:.2} s)"))?;
        let Through { delivered_per_second, delivered, expected, delivery_seconds, .. } = self;
        row(f, "delivered", format_args!("{delivered_per_second:.0}/s ({delivered} of {expected} in {delivery_seconds:.2} s)"))?;
        if let Some(ratio) = self.ratio_to_direct_percent {
            row(f, "of direct", format_args!("{ratio:.1} %"))?;
        }
        latency(f, "POST to 202", self.accept_latency_us)?;
        latency(f, "POST to arrival", self.arrival_latency_us)?;
        latency(f, "a disk write by itself", self.disk_write_us)?;
        seconds(f, "server CPU per 1,000", self.usage.server_cpu_s_per_1000)?;
        seconds(f, "bench CPU per 1,000", self.usage.bench_cpu_s_per_1000)?;
        mebibytes(f, "server memory, idle", self.usage.server_idle_rss_bytes)?;
        mebibytes(f, "server memory, backlog", self.usage.server_backlog_rss_bytes)?;
        mebibytes(f, "server memory, peak", self.usage.server_peak_rss_bytes)?;
        if let Some(seconds) = self.backlog_seconds {
            row(f, "backlog published in", format_args!("{seconds:.2} s"))?;
        }
        let Through { lost, duplicates, wrong, without_key, .. } = self;
        row(f, "lost, duplicates, wrong", format_args!("{lost}, {duplicates}, {wrong}"))?;
        if *without_key > 0 {
            row(f, "without idempotency key", format_args!("{without_key}"))?;
        }
        if self.hung_requests > 0 {
            row(f, "requests to hung endpoints", format_args!("{}", self.hung_requests))?;
        }
        for (status, count) in &self.other_answers {
            row(f, "answers other than 202", format_args!("{count} x {status}"))?;
        }
        if let Some(example) = &self.other_answer_example {
            row(f, "the first of them", format_args!("{example}"))?;
        }
        if self.broken_exchanges > 0 {
            let reason = self.broken_reason.as_deref().unwrap_or("unknown");
            row(f, "broken exchanges", format_args!("{} ({reason})", self.broken_exchanges))?;
        }
        if self.gave_up {
            row(f, "gave up", format_args!("nothing arrived any more, see --give-up"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::parse;
    use super::*;

    fn report() -> Report {
        let args = parse("--rate 1000 --endpoints 20 --hang 2").expect("flags");
        let latency = Some(Latency { p50: 500, p90: 900, p99: 1_990, p999: 3_000, max: 12_000 });
        let direct = Direct { exchanges: 100_000, seconds: 1.0, per_second: 100_000.0, latency_us: latency, cpu_s_per_1000: Some(0.02) };
        let server = Through {
            sent: 200_000,
            accepted: 200_000,
            expected: 180_000,
            delivered: 180_000,
            delivered_per_second: 25_000.0,
            arrival_latency_us: latency,
            other_answers: [(429, 3)].into(),
            usage: Usage { server_idle_rss_bytes: Some(20 << 20), ..Usage::default() },
            ..Through::default()
        };
        let settings = Settings::new(&args, args.shape().expect("a shape"));
        Report { ok: false, settings, direct: Some(direct), server: Some(server) }.conclude()
    }

    #[test]
    fn scripts_get_stable_names() {
        let value = serde_json::to_value(report()).expect("JSON");
        assert_eq!((&value["ok"], &value["settings"]["rate"], &value["settings"]["api"]), (&true.into(), &1_000.0.into(), &"tasks".into()));
        assert_eq!(value["server"]["ratio_to_direct_percent"], 25.0);
        assert_eq!(value["server"]["arrival_latency_us"]["p99"], 1_990);
        assert_eq!(value["server"]["other_answers"]["429"], 3);
        assert_eq!(value["server"]["usage"]["server_peak_rss_bytes"], serde_json::Value::Null);
        let keys: Vec<_> = value["server"].as_object().expect("an object").keys().map(String::as_str).collect();
        for key in ["accepted_per_second", "delivered_per_second", "lost", "duplicates", "wrong", "accept_latency_us", "gave_up"] {
            assert!(keys.contains(&key), "{key} of {keys:?}");
        }
    }

    #[test]
    fn people_get_a_table() {
        let table = report().to_string();
        for part in ["100000/s", "25000/s", "25.0 %", "p99 1.99", "20.0 MiB", "3 x 429", "0, 0, 0"] {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
        assert!(table.ends_with("\nok"));
    }

    #[test]
    fn anything_amiss_is_not_ok() {
        let amiss: [fn(&mut Through); 7] = [
            |t| t.lost = 1,
            |t| t.duplicates = 1,
            |t| t.wrong = 1,
            |t| t.without_key = 1,
            |t| t.gave_up = true,
            |t| (t.sent, t.accepted) = (0, 0),
            |t| t.accepted -= 1,
        ];
        for change in amiss {
            let mut report = report();
            change(report.server.as_mut().expect("a server"));
            let report = report.conclude();
            assert!(!report.ok && report.to_string().ends_with("NOT OK"), "{report}");
        }
    }

    #[test]
    fn no_ratio_without_a_whole() {
        assert_eq!((ratio(1.0, 0.0), ratio(0.0, 0.0), ratio(1.0, 4.0)), (None, None, Some(0.25)));
    }
}
