//! `postrider overview`: how the whole of it does.

use super::Outcome;
use super::endpoints::show::states;
use super::remote::text::{counted, grouped, percent, percentiles, rate};
use super::remote::{self, Failure, Flags, Output, Remote, Tone, clean};
use crate::config::value::Span;
use postrider_proto::v1;
use serde::Serialize;
use std::fmt::Write;

/// Flags of `postrider overview`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider overview
  postrider overview --range 24h --namespace shop
  postrider overview --json | jq .overview.oldestOverdue

postrider top shows the same live.")]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// How far to look back, from 1m to 92d.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    range: Span,
}

/// Both answers together, as JSON shows them.
#[derive(Serialize)]
struct Whole {
    overview: v1::GetOverviewResponse,
    series: v1::GetSeriesResponse,
}

/// Runs `postrider overview`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, range } = args;
    remote::run(&flags, |server| async move { show(&server, range).await })
}

async fn show(server: &Remote, range: Span) -> Result<(), Failure> {
    let overview = v1::GetOverviewRequest { namespace: server.namespace.clone() };
    let overview: v1::GetOverviewResponse = server.call("postrider.v1.OverviewService/GetOverview", &overview).await?;
    let series = series(server, range).await?;
    if server.out.is_json() {
        return server.out.json_document(&Whole { overview, series });
    }
    server.out.print(&told(&server.out, &overview, &series, range))
}

/// How it did over a range.
pub async fn series(server: &Remote, range: Span) -> Result<v1::GetSeriesResponse, Failure> {
    let seconds = i32::try_from(range.0.as_secs()).map_err(|_| Failure::usage(format!("--range {range}: at most 92d")))?;
    let request = v1::GetSeriesRequest { namespace: server.namespace.clone(), range_seconds: seconds };
    server.call("postrider.v1.OverviewService/GetSeries", &request).await
}

/// How it does. Writing into a String cannot fail.
fn told(out: &Output, overview: &v1::GetOverviewResponse, series: &v1::GetSeriesResponse, range: Span) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<16}{value}");
    };
    let rates = &overview.rates;
    line("last minute", &format!("{} events, {} deliveries", rate(rates.events_per_second), rate(rates.deliveries_per_second)));
    line("  succeeded", &format!("{} of {} attempts", percent(rates.success_rate), rate(rates.attempts_per_second)));
    line("  delivered in", &percentiles(rates.delivered_after.as_option()));
    line("  answered in", &percentiles(rates.answered_in.as_option()));
    let total = &series.total;
    line(
        &format!("last {range}"),
        &format!("{}, {}", counted(total.events, "event", "events"), counted(total.deliveries, "delivery", "deliveries")),
    );
    line(
        "  succeeded",
        &format!("{} of {}", percent(share(total)), counted(total.attempts_succeeded + total.attempts_failed, "attempt", "attempts")),
    );
    line("  failed", &grouped(total.given_up));
    line("  delivered in", &percentiles(total.delivered_after.as_option()));
    line("  deliveries", &bars(&series.points, 60));
    line("kept", &format!("{}; deliveries: {}", counted(overview.events, "event", "events"), states(&overview.deliveries)));
    let dead = grouped(overview.open_dead_letters);
    line("dead letters", &out.paint(if overview.open_dead_letters > 0 { Tone::Bad } else { Tone::Plain }, &dead));
    line("oldest overdue", &overdue(out, overview));
    line("endpoints", &endpoints(&overview.endpoints));
    for endpoint in &overview.failing {
        text.push_str(&failing(out, endpoint));
    }
    text
}

/// Share of the attempts of a step that succeeded.
pub fn share(point: &v1::SeriesPoint) -> Option<f64> {
    let all = point.attempts_succeeded + point.attempts_failed;
    (all > 0).then(|| point.attempts_succeeded as f64 / all as f64)
}

/// What should have been attempted the longest ago.
pub fn overdue(out: &Output, overview: &v1::GetOverviewResponse) -> String {
    let Some(overdue) = overview.oldest_overdue.as_option() else { return String::from("none") };
    let since = out.time(overdue.due_at.as_option());
    out.paint(Tone::Warn, &format!("due {since} to {}", clean(&overdue.endpoint_name)))
}

fn endpoints(counts: &v1::EndpointCounts) -> String {
    let of = [
        (counts.healthy, "healthy"),
        (counts.degraded, "degraded"),
        (counts.unhealthy, "unhealthy"),
        (counts.idle, "idle"),
        (counts.paused, "paused"),
        (counts.disabled, "disabled"),
    ];
    let said: Vec<String> = of.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{} {word}", grouped(*count))).collect();
    if said.is_empty() { grouped(counts.total) } else { format!("{}: {}", grouped(counts.total), said.join(", ")) }
}

fn failing(out: &Output, endpoint: &v1::FailingEndpoint) -> String {
    let name = if endpoint.name.is_empty() { &endpoint.url } else { &endpoint.name };
    let problem = out.paint(Tone::of_state(&endpoint.problem), &format!("{:<14}", endpoint.problem));
    format!("  {problem}{}  {}  {}\n", clean(name), clean(&endpoint.reason), out.paint(Tone::Dim, &endpoint.endpoint_id))
}

/// Deliveries of the steps as bars, as many as fit; several steps share one where there are more.
fn bars(points: &[v1::SeriesPoint], places: usize) -> String {
    const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = points.len().div_ceil(places.max(1)).max(1);
    let sums: Vec<i64> = points.chunks(each).map(|chunk| chunk.iter().map(|point| point.deliveries).sum()).collect();
    let most = sums.iter().copied().max().unwrap_or(0).max(1);
    // Whatever happened has a mark.
    let level = |sum: &i64| usize::try_from((sum * 8 + most - 1) / most).unwrap_or(0).min(8);
    sums.iter().map(|sum| LEVELS[level(sum)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(deliveries: &[i64]) -> Vec<v1::SeriesPoint> {
        deliveries.iter().map(|deliveries| v1::SeriesPoint { deliveries: *deliveries, ..v1::SeriesPoint::default() }).collect()
    }

    #[test]
    fn bars_are_to_scale_and_nothing_that_happened_is_lost() {
        assert_eq!(bars(&points(&[0, 1, 50, 100]), 10), " ▁▄█");
        assert_eq!(bars(&points(&[1, 1, 4, 4, 2, 2]), 3), "▂█▄");
        assert_eq!(bars(&[], 3), "");
        assert_eq!(bars(&points(&[0, 0]), 3), "  ");
    }

    #[test]
    fn an_overview_tells_what_is_wrong() {
        let failing = v1::FailingEndpoint {
            endpoint_id: String::from("e1"),
            url: String::from("http://h/"),
            problem: String::from("unhealthy"),
            reason: String::from("5 attempts in a row failed"),
            ..v1::FailingEndpoint::default()
        };
        let overview = v1::GetOverviewResponse {
            open_dead_letters: 7,
            endpoints: v1::EndpointCounts { total: 3, healthy: 2, unhealthy: 1, ..v1::EndpointCounts::default() }.into(),
            failing: vec![failing],
            ..v1::GetOverviewResponse::default()
        };
        let series = v1::GetSeriesResponse { points: points(&[1, 2]), ..v1::GetSeriesResponse::default() };
        let told = told(&Output::plain(false), &overview, &series, Span::secs(3_600));
        for words in [
            "last 1h         0 events, 0 deliveries\n",
            "dead letters    7\n",
            "oldest overdue  none\n",
            "endpoints       3: 2 healthy, 1 unhealthy\n  unhealthy     http://h/  5 attempts in a row failed  e1\n",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
