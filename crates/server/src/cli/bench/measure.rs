//! What a process has used, read from `/proc`; nothing where there is none.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// CPU seconds, user and system, of a process since its start.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ticks(&stat)? as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// `utime` and `stime`, the 14th and 15th field. The second one may hold spaces and ends with the last parenthesis.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

/// Memory of a process.
pub fn memory(pid: u32) -> Option<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Memory { resident: kibibytes(&status, "VmRSS:")?, peak: kibibytes(&status, "VmHWM:")? })
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// How latencies are distributed, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half are at most so long.
    pub p50: u64,
    /// Nine in ten.
    pub p90: u64,
    /// 99 in a hundred.
    pub p99: u64,
    /// 999 in a thousand.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// The longest latency that is told apart; longer ones count as this long.
const LONGEST: Duration = Duration::from_secs(3_600);

impl Latency {
    /// The distribution, to three digits; `None` without any.
    pub fn of(latencies: impl Iterator<Item = Duration>) -> Option<Latency> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST.as_micros() as u64, 3).ok()?;
        for latency in latencies {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
        let at = |quantile| histogram.value_at_quantile(quantile).min(histogram.max());
        let all = || Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() };
        (!histogram.is_empty()).then(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_is_no_trouble() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 1 1 1";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!((kibibytes(status, "VmHWM:"), kibibytes(status, "VmSwap:")), (Some(2 << 20), None));
        let own = memory(std::process::id()).expect("this process has memory");
        assert!(own.resident > 0 && own.peak >= own.resident);
        assert!(cpu_seconds(std::process::id()).is_some());
        assert_eq!((memory(u32::MAX), cpu_seconds(u32::MAX)), (None, None));
    }

    #[test]
    fn latencies_are_summed_up() {
        let latency = Latency::of((1..=1_000).map(Duration::from_micros)).expect("some");
        assert_eq!(latency, Latency { p50: 500, p90: 900, p99: 990, p999: 999, max: 1_000 });
        assert_eq!(Latency::of(std::iter::empty()), None);
        let extremes = Latency::of([Duration::ZERO, Duration::from_secs(100_000)].into_iter()).expect("some");
        assert_eq!(extremes.p50, 0);
        assert!(extremes.max >= 3_600_000_000 && extremes.max < 3_610_000_000, "{extremes:?}");
    }
}
