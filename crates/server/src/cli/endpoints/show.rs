//! `postrider endpoints show`.

use crate::cli::remote::body::{headers, pairs};
use crate::cli::remote::text::{counted, grouped, percent, rate, took};
use crate::cli::remote::{Failure, Output, Remote, Tone, clean};
use postrider_proto::v1;
use std::fmt::Write;

/// Shows an endpoint.
pub async fn run(server: &Remote, id: &str) -> Result<(), Failure> {
    let request = v1::GetEndpointRequest { endpoint_id: id.to_owned() };
    let answer: v1::GetEndpointResponse = server.call("postrider.v1.EndpointService/GetEndpoint", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&answer);
    }
    let out = &server.out;
    let mut text = does(out, &answer.endpoint);
    text.push_str(&called(out, &answer.settings));
    text.push_str(&format!("\n{}\n", counted(i64::try_from(answer.subscriptions.len()).unwrap_or(0), "subscription", "subscriptions")));
    for subscription in &answer.subscriptions {
        let (word, tone) = if subscription.active { ("active", Tone::Good) } else { ("inactive", Tone::Warn) };
        let _ = writeln!(text, "  {}  {}  {}", subscription.subscription_id, out.paint(tone, word), wants(subscription));
    }
    out.print(&text)
}

/// How an endpoint does. Writing into a String cannot fail.
fn does(out: &Output, endpoint: &v1::EndpointSummary) -> String {
    let mut text = format!("endpoint {}  {}\n", endpoint.endpoint_id, out.paint(Tone::Strong, &clean(&endpoint.name)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    line("url", &clean(&endpoint.url));
    line("namespace", &clean(&endpoint.namespace));
    let since =
        if endpoint.status_since.is_set() { format!("since {}", out.time(endpoint.status_since.as_option())) } else { String::new() };
    let why = if endpoint.status_reason.is_empty() { String::new() } else { format!("for {} ", clean(&endpoint.status_reason)) };
    line("status", format!("{} {why}{since}", out.paint(Tone::of_state(&endpoint.status), &endpoint.status)).trim_end());
    line("health", &out.paint(Tone::of_state(&endpoint.health), &endpoint.health));
    for reason in &endpoint.health_reasons {
        line("", &clean(reason));
    }
    line("last 24 hours", &day(endpoint));
    if endpoint.failures_in_a_row > 0 {
        line("", &format!("{} in a row failed", counted(i64::from(endpoint.failures_in_a_row), "attempt", "attempts")));
    }
    line("last success", &out.time(endpoint.last_success_at.as_option()));
    line("last failure", &out.time(endpoint.last_failure_at.as_option()));
    line("deliveries", &states(&endpoint.deliveries));
    let dead = counted(endpoint.open_dead_letters, "open", "open");
    line("dead letters", &out.paint(if endpoint.open_dead_letters > 0 { Tone::Bad } else { Tone::Plain }, &dead));
    line("created", &out.exact_time(endpoint.created_at.as_option()));
    text
}

/// The last 24 hours: how much of it went well, hour by hour.
fn day(endpoint: &v1::EndpointSummary) -> String {
    let mean = if endpoint.mean_response_ms > 0.0 { format!(", answers in {}", took(endpoint.mean_response_ms)) } else { String::new() };
    let marks: String = endpoint.hours.iter().map(mark).collect();
    format!("{} succeeded{mean}  {marks}", percent(endpoint.success_rate))
}

/// An hour in one place: how much was attempted does not matter, how much of it failed does.
fn mark(hour: &v1::HourOfEndpoint) -> char {
    match (hour.succeeded, hour.failed) {
        (0, 0) => '·',
        (_, 0) => '▁',
        (0, _) => '█',
        (good, bad) if bad * 10 <= good => '▂',
        (good, bad) if bad <= good => '▄',
        _ => '▆',
    }
}

/// Kept deliveries by their state; `none` where there are none.
pub fn states(counts: &v1::StateCounts) -> String {
    let of = [
        (counts.pending, "pending"),
        (counts.sending, "sending"),
        (counts.retrying, "retrying"),
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.expired, "expired"),
        (counts.cancelled, "cancelled"),
    ];
    let said: Vec<String> = of.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{} {word}", grouped(*count))).collect();
    if said.is_empty() { String::from("none") } else { said.join(", ") }
}

fn called(out: &Output, settings: &v1::EndpointSettings) -> String {
    let mut text = String::from("\nhow it is called\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    line("timeout", &took(settings.timeout_seconds * 1_000.0));
    line("credentials", &clean(&settings.auth));
    line("signed by", &clean(&settings.schemes.join(", ")));
    for secret in &settings.secrets {
        let until =
            secret.signs_until.as_option().map_or_else(String::new, |until| format!("  signs until {}", out.exact_time(Some(until))));
        line("secret", &format!("{}{until}", clean(&secret.masked)));
    }
    if !settings.signing_public_key.is_empty() {
        line("public key", &clean(&settings.signing_public_key));
    }
    if settings.rate_limit_per_second > 0.0 {
        line("rate limit", &rate(settings.rate_limit_per_second));
    }
    if settings.concurrency > 0 {
        line("at once", &grouped(i64::from(settings.concurrency)));
    }
    if settings.max_attempts > 0 {
        line("attempts", &grouped(i64::from(settings.max_attempts)));
    }
    if !settings.expected_status_codes.is_empty() {
        let codes: Vec<String> = settings.expected_status_codes.iter().map(ToString::to_string).collect();
        line("expects", &codes.join(", "));
    }
    if !settings.verify_tls {
        line("tls", &out.paint(Tone::Warn, "the certificate is not verified"));
    }
    if !settings.follow_redirects {
        line("redirects", "are not followed");
    }
    text.push_str(&headers(out, &settings.headers, "  header        "));
    text.push_str(&headers(out, &settings.secret_headers, "  header        "));
    text
}

/// What a subscription wants, in a line.
pub fn wants(subscription: &v1::SubscriptionDetail) -> String {
    let types = if subscription.event_types.is_empty() { String::from("every event") } else { clean(&subscription.event_types.join(", ")) };
    let labels = if subscription.labels.is_empty() { String::new() } else { format!(" with {}", pairs(&subscription.labels)) };
    let matching = if subscription.r#match.is_empty() { String::new() } else { format!(" where {}", clean(&subscription.r#match)) };
    format!("{types}{labels}{matching}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_counted_in_words() {
        assert_eq!(states(&v1::StateCounts { failed: 2, succeeded: 1_000, ..v1::StateCounts::default() }), "1,000 succeeded, 2 failed");
        assert_eq!(states(&v1::StateCounts::default()), "none");
    }

    #[test]
    fn an_endpoint_is_told_with_its_day() {
        let hours = [(0, 0), (5, 0), (0, 3), (10, 1), (2, 2), (1, 9)].map(|(succeeded, failed)| v1::HourOfEndpoint { succeeded, failed });
        let endpoint = v1::EndpointSummary {
            endpoint_id: String::from("id"),
            status: String::from("disabled"),
            status_reason: String::from("http_410"),
            success_rate: Some(0.5),
            mean_response_ms: 12.0,
            hours: hours.to_vec(),
            ..v1::EndpointSummary::default()
        };
        let told = does(&Output::plain(false), &endpoint);
        assert!(told.contains("status        disabled for http_410\n"), "{told}");
        assert!(told.contains("last 24 hours 50 % succeeded, answers in 12 ms  ·▁█▂▄▆\n"), "{told}");
    }
}
