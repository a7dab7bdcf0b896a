//! What a client says about a webhook, checked: the same at registration and in an update.

use super::scope::{Counts, Want};
use crate::config::value::Secret;
use crate::http::json::clip;
use crate::http::{Problem, target};
use postrider_core::auth::Auth;
use postrider_core::endpoint::{MAX_CONTENT_TYPE_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS, check_header};
use postrider_core::event_type::MAX_DESCRIPTION_BYTES;
use postrider_core::filter::TypePattern;
use postrider_core::guard::Guard;
use postrider_core::limit::{MAX_INTERVAL, RateLimit};
use postrider_core::policy::MAX_RATE;
use postrider_core::sign::SigningKey;
use postrider_proto::webhook as w;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Most event types of one webhook, as in the other APIs.
pub(super) const MAX_EVENTS: usize = 100;

/// Longest signing secret, in bytes, as in the other APIs.
const MAX_SECRET_BYTES: usize = 1_024;

/// The limits of the contract's section 6.
const RETRIES: RangeInclusive<u32> = 0..=10;
const BACKOFF_SECONDS: RangeInclusive<u32> = 1..=3_600;
pub(in crate::rpc) const TIMEOUT_SECONDS: RangeInclusive<u32> = 1..=300;
const CODES: RangeInclusive<u16> = 100..=599;

/// How deliveries are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// With a secret that both sides have.
    Hmac,
    /// With a key of which receivers have the public half.
    Ed25519,
}

impl Signature {
    /// As the contract spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Signature::Hmac => "hmac",
            Signature::Ed25519 => "ed25519",
        }
    }
}

/// What is wanted of a webhook.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) url: Want<String>,
    pub(super) active: Want<bool>,
    pub(super) description: Want<String>,
    pub(super) events: Want<Vec<TypePattern>>,
    pub(super) headers: Want<Vec<(String, String)>>,
    pub(super) secret_headers: Want<Vec<(String, Secret)>>,
    pub(super) signature: Want<Signature>,
    pub(super) secret: Want<Secret>,
    pub(super) http: Http,
}

/// What is wanted of how it is called.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) max_retries: Want<u32>,
    pub(super) backoff: Want<Duration>,
    pub(super) timeout: Want<Duration>,
    pub(super) captures: Want<bool>,
    pub(super) follows: Want<bool>,
    pub(super) verifies: Want<bool>,
    pub(super) expected: Want<Vec<u16>>,
    pub(super) user_agent: Want<String>,
    pub(super) content_type: Want<String>,
    pub(super) rate: Want<Option<RateLimit>>,
}

impl Wanted {
    /// Reads what is sent, as far as it counts.
    pub(super) fn read(sent: w::WebhookUpdateFields, counts: Counts<'_>, guard: &Guard) -> Result<Self, Problem> {
        let config = sent.http_config.as_option();
        let secret = config.and_then(|config| config.webhook_secret.clone()).filter(|secret| !secret.is_empty());
        let signature = sent.signature_type.filter(|kind| !kind.is_empty());
        Ok(Wanted {
            url: required(counts.of("url", sent.url.filter(|url| !url.is_empty())), "url")?.read(|url| check_url(&url, guard))?,
            active: counts.of("active", sent.active),
            description: counts.of("description", sent.description).read(check_description)?,
            events: counts.of("events", some(sent.events)).read(patterns)?,
            headers: counts.of("headers", listed(sent.headers)).read(|headers| check_headers("headers", headers))?,
            secret_headers: counts.of("secret_headers", listed(sent.secret_headers)).read(|headers| {
                let headers = check_headers("secret_headers", headers)?;
                Ok(headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
            })?,
            signature: counts.of("signature_type", signature).read(|kind| read_signature(&kind))?,
            secret: secret_of(counts, secret)?,
            http: Http::read(config, sent.timeout, counts)?,
        })
    }
}

/// The whole of `http_config` may be set back without a word on its secret: that would take it away unasked.
fn secret_of(counts: Counts<'_>, sent: Option<String>) -> Result<Want<Secret>, Problem> {
    match counts.of_http("webhook_secret", sent, true) {
        Want::Set(secret) => Ok(Want::Set(check_secret("http_config.webhook_secret", Secret::new(secret))?)),
        Want::Default => Ok(Want::Default),
        Want::Keep => Ok(Want::Keep),
    }
}

impl Http {
    fn read(sent: Option<&w::WebhookHTTPConfig>, old_timeout: Option<i32>, counts: Counts<'_>) -> Result<Self, Problem> {
        let is_sent = sent.is_some();
        let blank = w::WebhookHTTPConfig::default();
        let config = sent.unwrap_or(&blank);
        let text = |field: &str, text: &Option<String>| counts.of_http(field, text.clone().filter(|text| !text.is_empty()), is_sent);
        Ok(Http {
            max_retries: counts.of_http("max_retries", config.max_retries, is_sent).read(|n| within("max_retries", n, RETRIES))?,
            backoff: counts
                .of_http("retry_backoff_seconds", config.retry_backoff_seconds, is_sent)
                .read(|n| within("retry_backoff_seconds", n, BACKOFF_SECONDS).map(seconds))?,
            timeout: timeout(config.request_timeout_seconds, is_sent, old_timeout, counts)?,
            captures: counts.of_http("capture_response_body", config.capture_response_body, is_sent),
            follows: counts.of_http("follow_redirects", config.follow_redirects, is_sent),
            verifies: counts.of_http("verify_ssl", config.verify_ssl, is_sent),
            expected: counts.of_http("expected_status_codes", some(config.expected_status_codes.clone()), is_sent).read(codes)?,
            user_agent: text("user_agent", &config.user_agent).read(|text| header_value("user_agent", text, MAX_HEADER_VALUE_BYTES))?,
            content_type: text("content_type", &config.content_type)
                .read(|text| header_value("content_type", text, MAX_CONTENT_TYPE_BYTES))?,
            rate: counts.of_http("rate_limit_rps", config.rate_limit_rps, is_sent).read(rate)?,
        })
    }
}

/// What older clients send as `timeout` stands for the other where that is not sent.
fn timeout(sent: Option<i32>, is_sent: bool, old: Option<i32>, counts: Counts<'_>) -> Result<Want<Duration>, Problem> {
    let wanted = match counts.of_http("request_timeout_seconds", sent, is_sent) {
        Want::Set(sent) => Want::Set(("http_config.request_timeout_seconds", sent)),
        other => match (counts.of("timeout", old), other) {
            (Want::Set(old), _) => Want::Set(("timeout", old)),
            (Want::Default, _) | (_, Want::Default) => Want::Default,
            (Want::Keep, _) => Want::Keep,
        },
    };
    wanted.read(|(name, n)| in_range(name, n, TIMEOUT_SECONDS).map(seconds))
}

/// A list or a map that is empty was not sent: the wire does not tell the two from each other.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// In an order that does not change from one reading to the next.
pub(in crate::rpc) fn listed<S: BuildHasher>(map: HashMap<String, String, S>) -> Option<Vec<(String, String)>> {
    let mut list: Vec<_> = map.into_iter().collect();
    list.sort_unstable();
    some(list)
}

fn required<T>(want: Want<T>, name: &str) -> Result<Want<T>, Problem> {
    match want {
        Want::Default => Err(Problem::bad_request(format!("{name} is required"))),
        other => Ok(other),
    }
}

pub(in crate::rpc) fn seconds(n: u32) -> Duration {
    Duration::from_secs(u64::from(n))
}

fn within(field: &str, n: i32, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    in_range(&format!("http_config.{field}"), n, range)
}

pub(in crate::rpc) fn in_range(name: &str, n: i32, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    let (least, most) = (*range.start(), *range.end());
    let fits = u32::try_from(n).ok().filter(|n| range.contains(n));
    fits.ok_or_else(|| Problem::bad_request(format!("{name} must be {least} to {most}, not {n}")))
}

fn check_url(url: &str, guard: &Guard) -> Result<String, Problem> {
    target::check(url, guard).map_err(|e| Problem::bad_request(format!("url: {e}")))
}

fn check_description(text: String) -> Result<String, Problem> {
    if text.len() > MAX_DESCRIPTION_BYTES {
        return Err(Problem::bad_request(format!("description: at most {MAX_DESCRIPTION_BYTES} bytes")));
    }
    Ok(text)
}

fn patterns(names: Vec<String>) -> Result<Vec<TypePattern>, Problem> {
    let mut patterns = Vec::with_capacity(names.len().min(MAX_EVENTS));
    for name in names {
        if name.is_empty() {
            return Err(Problem::bad_request("events: the name of an event type must not be empty"));
        }
        let pattern = TypePattern::parse(&name).map_err(|rule| Problem::bad_request(format!("events: {:?}: {rule}", clip(&name))))?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
        if patterns.len() > MAX_EVENTS {
            return Err(Problem::bad_request(format!("events: at most {MAX_EVENTS}")));
        }
    }
    Ok(patterns)
}

pub(in crate::rpc) fn check_headers(field: &str, headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, Problem> {
    if headers.len() > MAX_HEADERS {
        return Err(Problem::bad_request(format!("{field}: at most {MAX_HEADERS}")));
    }
    for (at, (name, value)) in headers.iter().enumerate() {
        let refuse = |rule: &dyn std::fmt::Display| Problem::bad_request(format!("{field}: {:?}: {rule}", clip(name)));
        // The credentials of the webhook are looked at where it is changed.
        check_header(name, value, &Auth::None).map_err(|rule| refuse(&rule))?;
        if headers[..at].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            return Err(refuse(&"is there twice: the names of headers differ in more than upper and lower case"));
        }
    }
    Ok(headers)
}

fn header_value(field: &str, text: String, most: usize) -> Result<String, Problem> {
    let is_fine = text.len() <= most && http::HeaderValue::try_from(text.as_str()).is_ok_and(|value| value.to_str().is_ok());
    if is_fine {
        return Ok(text);
    }
    Err(Problem::bad_request(format!("http_config.{field}: at most {most} visible ASCII characters and blanks")))
}

fn codes(sent: Vec<i32>) -> Result<Vec<u16>, Problem> {
    let mut codes = Vec::new();
    for code in sent {
        let fits = u16::try_from(code).ok().filter(|code| CODES.contains(code));
        let (least, most) = (CODES.start(), CODES.end());
        let refuse = || Problem::bad_request(format!("http_config.expected_status_codes: {code} is not a status from {least} to {most}"));
        let code = fits.ok_or_else(refuse)?;
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    Ok(codes)
}

/// Single precision is read as the decimal number that it stands for: 0.1, and not the neighbour of that.
fn rate(sent: f32) -> Result<Option<RateLimit>, Problem> {
    let rate: f64 = sent.to_string().parse().unwrap_or(f64::NAN);
    if rate == 0.0 {
        return Ok(None);
    }
    let limit = if rate <= MAX_RATE { RateLimit::per_second(rate, rate.ceil().max(1.0) as u32) } else { None };
    let slowest = MAX_INTERVAL.as_secs();
    let message = || {
        format!(
            "http_config.rate_limit_rps must be 0 for no limit, or at most {MAX_RATE} and at least one in {slowest} seconds, not {sent}"
        )
    };
    limit.map(Some).ok_or_else(|| Problem::bad_request(message()))
}

fn read_signature(kind: &str) -> Result<Signature, Problem> {
    [Signature::Hmac, Signature::Ed25519]
        .into_iter()
        .find(|known| known.as_str() == kind)
        .ok_or_else(|| Problem::bad_request(format!("signature_type must be \"hmac\" or \"ed25519\", not {:?}", clip(kind))))
}

/// A secret that can sign: `name` is its field in the contract.
pub(in crate::rpc) fn check_secret(name: &str, secret: Secret) -> Result<Secret, Problem> {
    if secret.reveal().len() > MAX_SECRET_BYTES {
        return Err(Problem::bad_request(format!("{name}: at most {MAX_SECRET_BYTES} bytes")));
    }
    match SigningKey::new(secret.reveal()) {
        Ok(_) => Ok(secret),
        Err(error) => Err(Problem::bad_request(format!("{name}: {error}"))),
    }
}
