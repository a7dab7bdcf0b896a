//! What `postrider top` draws.

use super::Data;
use crate::cli::overview::{overdue, share};
use crate::cli::remote::deliveries::{endpoint, outcome, tries};
use crate::cli::remote::table::cut;
use crate::cli::remote::text::{grouped, percent, percentiles, rate};
use crate::cli::remote::{Failure, Output, clean};
use crate::config::value::Span as Range;
use postrider_proto::v1;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};

/// The ranges that the keys 1 to 4 choose.
pub const RANGES: [Range; 4] = [Range::secs(600), Range::secs(3_600), Range::secs(86_400), Range::secs(604_800)];

const GOOD: Style = Style::new().fg(Color::Green);
const WARN: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// What is drawn.
pub struct View {
    namespace: String,
    range: usize,
    data: Data,
    /// Why what is shown is not the newest.
    trouble: Option<String>,
    colored: bool,
    /// How times are shown; its text has no colours of its own.
    out: Output,
}

impl View {
    /// Of what the server answered first, with times and colours as they are wanted.
    pub fn new(namespace: &str, data: Data, out: &Output) -> Self {
        let (colored, out) = (out.is_colored(), out.without_colors());
        View { namespace: namespace.to_owned(), range: 0, data, trouble: None, colored, out }
    }

    /// Which of the ranges is shown.
    pub fn range(&self) -> usize {
        self.range
    }

    /// Shows another range.
    pub fn choose(&mut self, range: usize) {
        self.range = range.min(RANGES.len() - 1);
    }

    /// Takes what the server answered; what was there before stays where it did not.
    pub fn take(&mut self, fetched: Result<Data, Failure>) {
        match fetched {
            Ok(data) => {
                self.data = data;
                self.trouble = None;
            }
            Err(failure) => self.trouble = Some(failure.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    /// Draws all of it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let failing = u16::try_from(self.data.overview.failing.len()).unwrap_or(u16::MAX).clamp(1, 10) + 2;
        let rows = [Constraint::Length(1), Constraint::Length(6), Constraint::Length(8), Constraint::Length(failing), Constraint::Min(3)];
        let [head, numbers, chart, endpoints, failures] = Layout::vertical(rows).areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        frame.render_widget(Paragraph::new(self.numbers()), numbers);
        self.chart(frame, chart);
        let (lines, title) = (self.failing(endpoints), " failing endpoints ");
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), endpoints);
        let (lines, title) = (self.failures(failures), " newest that failed ");
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), failures);
        if !self.colored {
            // What is bold, dim or reversed is no colour, and stays.
            frame.buffer_mut().content.iter_mut().for_each(|cell| cell.fg = Color::Reset);
        }
    }

    fn head(&self) -> Line<'static> {
        let mut spans = vec![Span::styled("postrider top", STRONG)];
        let namespace = if self.namespace.is_empty() { String::new() } else { format!("  {}", clean(&self.namespace)) };
        spans.push(Span::raw(namespace));
        for (at, range) in RANGES.iter().enumerate() {
            let style = if at == self.range { STRONG.add_modifier(Modifier::REVERSED) } else { DIM };
            spans.push(Span::raw("  "));
            spans.push(Span::styled(format!("{} {range}", at + 1), style));
        }
        spans.push(Span::styled("  q quits", DIM));
        if let Some(trouble) = &self.trouble {
            spans.push(Span::styled(format!("  {}", clean(trouble)), BAD));
        }
        Line::from(spans)
    }

    fn numbers(&self) -> Vec<Line<'static>> {
        let Data { overview, series, .. } = &self.data;
        let rates = &overview.rates;
        let states = &overview.deliveries;
        let backlog = states.pending + states.sending + states.retrying;
        let success = rates.success_rate;
        let well = match success {
            Some(share) if share < 0.5 => BAD,
            Some(share) if share < 0.95 => WARN,
            _ => GOOD,
        };
        let late = if overview.oldest_overdue.is_set() { WARN } else { GOOD };
        let dead = if overview.open_dead_letters > 0 { BAD } else { GOOD };
        let line = |name: &str, value: String, style: Style| {
            Line::from(vec![Span::styled(format!("{name:<16}"), DIM), Span::styled(value, style)])
        };
        vec![
            line(
                "last minute",
                format!(
                    "{} events, {} deliveries, {} attempts",
                    rate(rates.events_per_second),
                    rate(rates.deliveries_per_second),
                    rate(rates.attempts_per_second)
                ),
                STRONG,
            ),
            line(
                "succeeded",
                format!("{} in the last minute, {} in {}", percent(success), percent(share(&series.total)), RANGES[self.range]),
                well,
            ),
            line("delivered in", percentiles(rates.delivered_after.as_option()), Style::new()),
            line("answered in", percentiles(rates.answered_in.as_option()), Style::new()),
            line("backlog", format!("{} waiting; oldest overdue: {}", grouped(backlog), overdue(&self.out, overview)), late),
            line("dead letters", grouped(overview.open_dead_letters), dead),
        ]
    }

    fn chart(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered();
        let places = usize::from(block.inner(area).width);
        let series = &self.data.series;
        let bars = bars(&series.points, places);
        let seconds = i64::from(series.step_seconds.max(1)) * i64::try_from(bars.1).unwrap_or(1);
        let most = bars.0.iter().copied().max().unwrap_or(0);
        let title = format!(" deliveries in {}, at most {} ", RANGES[self.range], rate(most as f64 / seconds as f64));
        let chart = Sparkline::default().block(block.title(title)).data(&bars.0).style(Style::new().fg(Color::Cyan));
        frame.render_widget(chart, area);
    }

    fn failing(&self, area: Rect) -> Vec<Line<'static>> {
        let failing = &self.data.overview.failing;
        if failing.is_empty() {
            return vec![Line::styled("none", GOOD)];
        }
        let places = usize::from(area.width.saturating_sub(2));
        let line = |endpoint: &v1::FailingEndpoint| {
            let name = if endpoint.name.is_empty() { &endpoint.url } else { &endpoint.name };
            let style = if endpoint.problem == "degraded" { WARN } else { BAD };
            let problem = format!("{:<10}", endpoint.problem);
            let rest = format!(" {:>7}  {}  {}", percent(endpoint.success_rate), clean(name), clean(&endpoint.reason));
            Line::from(vec![Span::styled(problem, style), Span::raw(cut(&rest, places.saturating_sub(10)))])
        };
        failing.iter().map(line).collect()
    }

    fn failures(&self, area: Rect) -> Vec<Line<'static>> {
        if self.data.failures.is_empty() {
            return vec![Line::styled("none", GOOD)];
        }
        let places = usize::from(area.width.saturating_sub(2));
        let line = |delivery: &v1::DeliverySummary| {
            let style = if delivery.state == "retrying" { WARN } else { BAD };
            let at = self.out.time(delivery.last_attempt_at.as_option());
            let (what, whom) = (clean(&delivery.event_type), clean(endpoint(delivery)));
            let rest =
                format!(" {at:<14} {:>5}  {:<20} {what} -> {whom}  {}", tries(delivery), clean(&outcome(delivery).0), delivery.delivery_id);
            Line::from(vec![Span::styled(format!("{:<9}", delivery.state), style), Span::raw(cut(&rest, places.saturating_sub(9)))])
        };
        self.data.failures.iter().map(line).collect()
    }
}

/// Deliveries of the steps as at most so many bars, each of the sum of as many steps; and of how many. The newest steps fill their bar.
fn bars(points: &[v1::SeriesPoint], places: usize) -> (Vec<u64>, usize) {
    let each = points.len().div_ceil(places.max(1)).max(1);
    let sum = |chunk: &[v1::SeriesPoint]| chunk.iter().map(|point| u64::try_from(point.deliveries).unwrap_or(0)).sum();
    let mut bars: Vec<u64> = points.rchunks(each).map(sum).collect();
    bars.reverse();
    (bars, each)
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_proto::Timestamp;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn data() -> Data {
        let failing = v1::FailingEndpoint {
            name: String::from("billing"),
            problem: String::from("unhealthy"),
            reason: String::from("12 attempts in a row failed"),
            success_rate: Some(0.1),
            ..v1::FailingEndpoint::default()
        };
        let rates = v1::Rates { deliveries_per_second: 1_250.0, success_rate: Some(0.42), ..v1::Rates::default() };
        let failed = v1::DeliverySummary {
            delivery_id: String::from("d1"),
            state: String::from("failed"),
            event_type: String::from("order.created"),
            url: String::from("http://h/\x1b[2J"),
            last_attempt_at: Timestamp::from_unix(1_747_051_200, 0).into(),
            ..v1::DeliverySummary::default()
        };
        Data {
            overview: v1::GetOverviewResponse {
                rates: rates.into(),
                open_dead_letters: 1_234,
                failing: vec![failing],
                ..v1::GetOverviewResponse::default()
            },
            series: v1::GetSeriesResponse {
                step_seconds: 10,
                points: (0..60).map(|n| v1::SeriesPoint { deliveries: n, ..v1::SeriesPoint::default() }).collect(),
                ..v1::GetSeriesResponse::default()
            },
            failures: vec![failed],
        }
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| view.draw(frame)).expect("a frame");
        terminal.backend().to_string()
    }

    #[test]
    fn everything_that_matters_is_drawn() {
        let mut view = View::new("shop", data(), &Output::plain(false));
        let shown = drawn(&view, 120, 40);
        for words in [
            "postrider top  shop",
            "1250/s deliveries",
            "42 %",
            "1,234",
            "at most 5.9/s",
            "unhealthy",
            "billing",
            "12 attempts in a row",
            "order.created",
            "2025-05-12T12:00:00Z",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(!shown.contains('\x1b'), "{shown}");
        view.take(Err(Failure::refused("cannot connect\nis it there?")));
        assert!(drawn(&view, 120, 40).contains("cannot connect"), "what was there stays, with what is wrong");
        view.take(Ok(data()));
        assert!(!drawn(&view, 120, 40).contains("cannot connect"));
    }

    #[test]
    fn colours_are_there_only_if_wanted() {
        let colours = |colored| {
            let mut terminal = Terminal::new(TestBackend::new(120, 40)).expect("a terminal");
            let view = View { colored, ..View::new("shop", data(), &Output::plain(false)) };
            terminal.draw(|frame| view.draw(frame)).expect("a frame");
            terminal.backend().buffer().content.iter().filter(|cell| cell.fg != Color::Reset).count()
        };
        assert!(colours(true) > 0);
        assert_eq!(colours(false), 0);
    }

    #[test]
    fn any_terminal_will_do() {
        let view = View::new("", data(), &Output::plain(false));
        for (width, height) in [(1, 1), (20, 5), (400, 10), (30, 100)] {
            drawn(&view, width, height);
        }
    }

    #[test]
    fn steps_share_bars_where_there_are_more() {
        let points: Vec<v1::SeriesPoint> = (1..=5).map(|n| v1::SeriesPoint { deliveries: n, ..v1::SeriesPoint::default() }).collect();
        assert_eq!(bars(&points, 10), (vec![1, 2, 3, 4, 5], 1));
        assert_eq!(bars(&points, 3), (vec![1, 5, 9], 2));
        assert_eq!(bars(&[], 3), (vec![], 1));
    }
}
