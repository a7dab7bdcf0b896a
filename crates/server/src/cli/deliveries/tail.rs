//! `postrider deliveries tail`.

use crate::cli::listen::interruption;
use crate::cli::remote::deliveries::{Filter, endpoint, outcome, tries};
use crate::cli::remote::text::{counted, moment};
use crate::cli::remote::{Failure, Output, Remote, Tone, clean};
use crate::cli::say;
use postrider_proto::v1;
use std::pin::pin;
use std::time::Duration;
use tokio::time::sleep;

/// The pause before the first new connection; it doubles each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// How many can come at a time, and how many of the newest a connection begins with: all that there can be.
const AT_ONCE: i32 = 500;
const REMEMBERED: usize = 500;

/// Flags of `postrider deliveries tail`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider deliveries tail
  postrider deliveries tail --state failed,retrying --endpoint 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider deliveries tail --json | jq -r 'select(.httpStatus == 503) | .deliveryId'

A line is the time, the state, the attempts of the most there can be, the last outcome, the event type, the endpoint and the id. Where more
happens than can be shown, stderr says how many were passed over. It connects again by itself.")]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Begin with so many of the newest, up to 500.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=500))]
    lines: u32,
}

/// What the tail remembers from one connection to the next.
struct Tail<'a> {
    server: &'a Remote,
    args: &'a Args,
    /// Whether anything was shown or could have been: what comes first from then on was seen before, or is new.
    begun: bool,
    /// Whether this connection has brought nothing yet.
    is_fresh: bool,
    /// Ids and what was shown of them last, of the latest message: a new connection begins with deliveries that were shown already.
    seen: Vec<(String, String)>,
}

/// Shows deliveries until Ctrl-C.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    let interrupted = interruption().map_err(|error| Failure::because("cannot watch for signals", error))?;
    let mut interrupted = pin!(interrupted);
    let mut tail = Tail { server, args, begun: false, is_fresh: true, seen: Vec::new() };
    let mut pause = PAUSE;
    loop {
        let ended = tokio::select! {
            () = &mut interrupted => return Ok(()),
            ended = tail.connection() => ended,
        };
        match ended {
            // An hour is over, or something between here and the server ends streams: whoever wants more calls again.
            Ok(()) => {
                if !tail.is_fresh {
                    pause = PAUSE;
                }
                tokio::select! {
                    () = &mut interrupted => return Ok(()),
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(MAX_PAUSE);
            }
            Err(failure) if failure.again().is_none() || !tail.begun => return Err(failure),
            Err(failure) => {
                if !tail.is_fresh {
                    pause = PAUSE;
                }
                say(&format!("{failure}\nconnecting again"));
                tokio::select! {
                    () = &mut interrupted => return Ok(()),
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

impl Tail<'_> {
    /// Shows what comes over one connection, until that ends.
    async fn connection(&mut self) -> Result<(), Failure> {
        self.is_fresh = true;
        let request = v1::WatchDeliveriesRequest { filter: self.args.filter.message(self.server).into(), limit: AT_ONCE };
        let mut messages =
            self.server.stream::<_, v1::WatchDeliveriesResponse>("postrider.v1.LedgerService/WatchDeliveries", &request).await?;
        while let Some(message) = messages.next().await.map_err(Failure::from)? {
            if message.passed > 0 {
                say(&format!("{} passed over: more happens than can be shown", counted(message.passed, "delivery was", "deliveries were")));
            }
            self.show(&message)?;
            self.begun = true;
            self.is_fresh = false;
        }
        Ok(())
    }

    /// Shows what a message tells that was not shown yet, the oldest first.
    fn show(&mut self, message: &v1::WatchDeliveriesResponse) -> Result<(), Failure> {
        let most = if self.begun { message.changed.len() } else { usize::try_from(self.args.lines).unwrap_or(usize::MAX) };
        let out = &self.server.out;
        let at = moment(message.at.as_option());
        let mut shown = Vec::with_capacity(message.changed.len());
        for (place, delivery) in message.changed.iter().enumerate().rev() {
            let stands = format!("{} {} {}", delivery.state, delivery.attempts, delivery.http_status);
            let is_known =
                self.is_fresh && self.begun && self.seen.iter().any(|(id, stood)| *id == delivery.delivery_id && *stood == stands);
            if !is_known && place < most {
                if out.is_json() {
                    out.json_line(delivery)?;
                } else {
                    let when = moment(delivery.last_attempt_at.as_option()).or(moment(delivery.created_at.as_option())).or(at);
                    out.line(&line(out, delivery, &when.map_or_else(String::new, |when| out.clock(when))))?;
                }
            }
            shown.push((delivery.delivery_id.clone(), stands));
        }
        if !shown.is_empty() {
            self.remember(shown);
        }
        Ok(())
    }

    /// Keeps the latest ones, as many as a new connection can begin with.
    fn remember(&mut self, shown: Vec<(String, String)>) {
        self.seen.retain(|(id, _)| !shown.iter().any(|(other, _)| other == id));
        self.seen.extend(shown);
        let many = self.seen.len().saturating_sub(REMEMBERED);
        self.seen.drain(..many);
    }
}

/// A delivery as it stands now.
fn line(out: &Output, delivery: &v1::DeliverySummary, when: &str) -> String {
    let (last, tone) = outcome(delivery);
    let state = out.paint(Tone::of_state(&delivery.state), &format!("{:<9}", delivery.state));
    let last = out.paint(tone, &format!("{:<20}", clean(&last)));
    let (what, whom) = (clean(&delivery.event_type), clean(endpoint(delivery)));
    let when = out.paint(Tone::Dim, when);
    format!("{when}  {state}  {:>5}  {last}  {what} -> {whom}  {}", tries(delivery), out.paint(Tone::Dim, &delivery.delivery_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::remote::Flags;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        args: Args,
    }

    fn delivery(id: &str, state: &str) -> v1::DeliverySummary {
        v1::DeliverySummary {
            delivery_id: id.to_owned(),
            state: state.to_owned(),
            event_type: String::from("order.created"),
            endpoint_name: String::from("shop"),
            attempts: 1,
            max_attempts: 5,
            http_status: 503,
            category: String::from("server_error"),
            took_ms: 12.0,
            ..v1::DeliverySummary::default()
        }
    }

    #[test]
    fn a_line_tells_where_a_delivery_stands() {
        let shown = line(&Output::plain(false), &delivery("d1", "retrying"), "12:00:00.000");
        assert_eq!(shown, "12:00:00.000  retrying     1/5  503 in 12 ms          order.created -> shop  d1");
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_holds_the_latest() {
        let line = Line::try_parse_from(["tail", "--url", "http://127.0.0.1:1", "--json"]).expect("flags");
        let server = Remote::open(&line.flags).expect("a place");
        let mut tail = Tail { server: &server, args: &line.args, begun: true, is_fresh: false, seen: Vec::new() };
        for number in 0..600 {
            tail.remember(vec![(number.to_string(), String::from("a"))]);
        }
        tail.remember(vec![(String::from("599"), String::from("b"))]);
        assert_eq!((tail.seen.len(), tail.seen[499].clone()), (500, (String::from("599"), String::from("b"))));
        assert!(!tail.seen.iter().any(|(id, _)| id == "99"));
    }
}
