//! `postrider bindings create` and `update`.

use super::{Binding, NOUN};
use crate::cli::client::Asked;
use crate::cli::remote::{Failure, Remote, input};
use crate::cli::say;
use crate::config::value::Span;
use http::Method;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Flags of `postrider bindings create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider bindings create DESTINATION --event order.created
  postrider bindings create DESTINATION --event order.paid --match '{\"vip\": true}' --format csv
  postrider bindings create DESTINATION --event order.paid --max-attempts 3 --backoff 1s,1m")]
pub struct Create {
    /// Id of the destination.
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// The event type, exactly: order.created. A binding takes one; a subscription takes patterns.
    #[arg(long, short, value_name = "TYPE")]
    event: String,
    /// Make it inactive.
    #[arg(long)]
    inactive: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Flags of `postrider bindings update`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider bindings update 0197f3a2-5b1c-7d4e-8f90-123456789abc --to DESTINATION
  postrider bindings update 0197f3a2-5b1c-7d4e-8f90-123456789abc --event order.paid --format raw
  postrider bindings update 0197f3a2-5b1c-7d4e-8f90-123456789abc --without policy,field-map

--event and --match together replace what it wants; --max-attempts, --backoff, --timeout, --rate-limit and --burst together replace its policy, and
what is not given of that has its default.")]
pub struct Update {
    /// Id of the binding.
    #[arg(value_name = "ID")]
    id: String,
    /// The destination that it sends to from the next event on.
    #[arg(long = "to", value_name = "DESTINATION")]
    destination: Option<String>,
    /// The event type, exactly: order.created. A binding takes one; a subscription takes patterns.
    #[arg(long, short, value_name = "TYPE")]
    event: Option<String>,
    /// Events are routed to it.
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// No events are routed to it.
    #[arg(long)]
    inactive: bool,
    /// What to take away, or to put back to its default.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    without: Vec<Without>,
    #[command(flatten)]
    settings: Settings,
}

/// What can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Without {
    /// The field map.
    FieldMap,
    /// The policy of its own: attempts, pauses, timeout and rate limit have their defaults again.
    Policy,
}

/// What is the same for both.
#[derive(Debug, clap::Args)]
struct Settings {
    /// What to call it [default of a new one: the event type].
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Values that fields of the payload must have, as a JSON object: as it is, @FILE, or - for stdin.
    #[arg(long = "match", value_name = "JSON|@FILE|-")]
    matching: Option<String>,
    /// The format of bodies [default of a new one: json].
    #[arg(long, value_name = "FORMAT", value_parser = ["json", "ndjson", "csv", "txt", "raw"])]
    format: Option<String>,
    /// Whether the payload comes in {event, payload, content}, and not bare [default: true; raw bodies have none].
    #[arg(long, value_name = "BOOL")]
    envelope: Option<bool>,
    /// Rules that drop, rename and add fields, as a JSON object: as it is, @FILE, or - for stdin.
    #[arg(long, value_name = "JSON|@FILE|-")]
    field_map: Option<String>,
    /// Attempts in all.
    #[arg(long, value_name = "N")]
    max_attempts: Option<u64>,
    /// Pauses between attempts, with commas: 1s,30s,10m.
    #[arg(long, value_name = "DURATIONS", value_delimiter = ',')]
    backoff: Vec<Span>,
    /// Longest time for one request.
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// Most requests per second.
    #[arg(long, value_name = "N")]
    rate_limit: Option<f64>,
    /// How many of them may come at once [default: as many as in a second].
    #[arg(long, value_name = "N", requires = "rate_limit")]
    burst: Option<u64>,
}

/// A request; what it leaves out stays, or has its default.
#[derive(Debug, Default, Serialize)]
struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal_filter: Option<Filter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliverable_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serializer_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serializer_config: Option<Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field_map: Option<Option<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_policy: Option<Option<Policy>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Filter {
    event_type: String,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matches: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct Config {
    envelope: bool,
}

#[derive(Debug, Serialize)]
struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff_schedule: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimit>,
}

#[derive(Debug, Serialize)]
struct RateLimit {
    #[serde(rename = "ratePerSec")]
    rate_per_second: f64,
    capacity: u64,
}

impl Settings {
    /// What is given of them, as the API has it. What is wanted is only given with an event type.
    fn request(self, event: Option<String>) -> Result<Request, Failure> {
        let policy = self.policy();
        let json = |flag: &str, given: &Option<String>| given.as_deref().map(|given| input::json(flag, given)).transpose();
        let signal_filter = match (event, json("--match", &self.matching)?) {
            (Some(event_type), matches) => Some(Filter { event_type, matches }),
            (None, Some(_)) => return Err(Failure::usage("--match goes with --event: together they replace what the binding wants")),
            (None, None) => None,
        };
        Ok(Request {
            signal_filter,
            field_map: json("--field-map", &self.field_map)?.map(Some),
            name: self.name,
            serializer_format: self.format,
            serializer_config: self.envelope.map(|envelope| Config { envelope }),
            delivery_policy: policy.map(Some),
            ..Request::default()
        })
    }

    fn policy(&self) -> Option<Policy> {
        let millis = |span: &Span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        let policy = Policy {
            max_attempts: self.max_attempts,
            backoff_schedule: (!self.backoff.is_empty()).then(|| self.backoff.iter().map(millis).collect()),
            timeout_ms: self.timeout.as_ref().map(millis),
            rate_limit: self.rate_limit.map(|rate| RateLimit {
                rate_per_second: rate,
                // What is no number is refused by the server.
                capacity: self.burst.unwrap_or(rate.ceil().max(1.0) as u64),
            }),
        };
        let is_given = policy.max_attempts.is_some()
            || policy.backoff_schedule.is_some()
            || policy.timeout_ms.is_some()
            || policy.rate_limit.is_some();
        is_given.then_some(policy)
    }
}

impl Update {
    fn request(self) -> Result<(String, Request), Failure> {
        let mut request = self.settings.request(self.event)?;
        for without in self.without {
            let is_given = match without {
                Without::FieldMap => request.field_map.replace(None).is_some(),
                Without::Policy => request.delivery_policy.replace(None).is_some(),
            };
            if is_given {
                return Err(Failure::usage("something is given and taken away with --without: leave one of the two"));
            }
        }
        request.destination_id = self.destination;
        request.is_active = if self.inactive { Some(false) } else { self.active.then_some(true) };
        Ok((self.id, request))
    }
}

/// Makes a binding.
pub async fn create(server: &Remote, args: Create) -> Result<(), Failure> {
    let mut request = args.settings.request(Some(args.event.clone()))?;
    request.name.get_or_insert(args.event);
    request.deliverable_type = Some("event");
    request.destination_id = Some(args.destination);
    request.serializer_format.get_or_insert_with(|| String::from("json"));
    request.is_active = args.inactive.then_some(false);
    server.only_own().await?;
    let answer = server.ask(Asked::new(Method::POST, NOUN.path).with_json(&request)?).await?;
    server.show(&answer, |_, made: &Binding| format!("{}\n", made.id))
}

/// Changes a binding.
pub async fn update(server: &Remote, args: Update) -> Result<(), Failure> {
    let (id, request) = args.request()?;
    let asked = Asked::new(Method::PUT, NOUN.at(&id)?).with_json(&request)?;
    if serde_json::to_value(&request).is_ok_and(|written| written == json!({})) {
        return Err(Failure::usage("nothing is to be changed: give what, see --help"));
    }
    server.only_own().await?;
    let answer = server.ask(asked).await?;
    if server.out.is_json() {
        return server.out.json_text(answer.json()?);
    }
    say("changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::Value;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn request_of(line: &str) -> Result<Value, String> {
        let line = Line::try_parse_from(std::iter::once("update").chain(line.split_whitespace())).map_err(|error| error.to_string())?;
        let (_, request) = line.update.request().map_err(|failure| failure.to_string())?;
        serde_json::to_value(&request).map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_is_given_is_changed() {
        assert_eq!(request_of("id"), Ok(json!({})));
        let expected = json!({
            "signal_filter": {"event_type": "a.b", "match": {"n": 1}},
            "serializer_format": "csv",
            "serializer_config": {"envelope": false},
            "delivery_policy": {"backoff_schedule": [1000, 60000], "rate_limit": {"ratePerSec": 2.5, "capacity": 3}},
            "is_active": false,
        });
        let given = "id --event a.b --match {\"n\":1} --format csv --envelope false --backoff 1s,1m --rate-limit 2.5 --inactive";
        assert_eq!(request_of(given), Ok(expected));
        assert_eq!(request_of("id --without field-map,policy"), Ok(json!({"field_map": null, "delivery_policy": null})));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in ["id --match {}", "id --burst 2", "id --without policy --timeout 1s", "id --event a --match {", "id --format xml"] {
            assert!(request_of(bad).is_err(), "{bad}");
        }
    }
}
