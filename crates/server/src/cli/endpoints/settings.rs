//! `postrider endpoints create` and `update`.

use crate::cli::remote::{Failure, Remote, input};
use crate::cli::say;
use crate::config::value::Span;
use postrider_proto::{Mask, webhook as w};

/// Flags of `postrider endpoints create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider endpoints create https://shop.example.com/hooks --event order.created --name shop
  postrider endpoints create https://shop.example.com/hooks --event '*' --secret - < secret.txt")]
pub struct Create {
    /// Where to send, http or https.
    #[arg(value_name = "URL")]
    target: String,
    /// Make it paused.
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Flags of `postrider endpoints update`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider endpoints update ENDPOINT --to https://shop.example.com/new --timeout 10s
  postrider endpoints update 0197f3a2-5b1c-7d4e-8f90-123456789abc --without headers,rate-limit")]
pub struct Update {
    /// Id of the endpoint.
    #[arg(value_name = "ID")]
    id: String,
    /// Where to send from now on.
    #[arg(long = "to", value_name = "URL")]
    target: Option<String>,
    /// What to take away, or to put back to its default.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    without: Vec<Without>,
    #[command(flatten)]
    settings: Settings,
}

/// What can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Without {
    /// Every header.
    Headers,
    /// Every secret header.
    SecretHeaders,
    /// Every subscription of the RPC API.
    Events,
    /// The limit of requests per second.
    RateLimit,
    /// The User-Agent of its own.
    UserAgent,
    /// The Content-Type of its own.
    ContentType,
    /// The statuses that are a success: the default ones are again.
    ExpectedStatus,
}

impl Without {
    fn path(self) -> &'static str {
        match self {
            Without::Headers => "headers",
            Without::SecretHeaders => "secret_headers",
            Without::Events => "events",
            Without::RateLimit => "http_config.rate_limit_rps",
            Without::UserAgent => "http_config.user_agent",
            Without::ContentType => "http_config.content_type",
            Without::ExpectedStatus => "http_config.expected_status_codes",
        }
    }
}

/// What is the same for both.
#[derive(Debug, clap::Args)]
struct Settings {
    /// An event type that it gets, such as order.created; `order.*` is all below that, `*` all. May be given several times; an update replaces
    /// those it has.
    #[arg(long = "event", short, value_name = "TYPE")]
    events: Vec<String>,
    /// What to call it.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A header of every request; may be given several times, and replaces those it has.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,
    /// A header whose value is stored encrypted and never shown again; VALUE may be @FILE. May be given several times.
    #[arg(long = "secret-header", value_name = "NAME: VALUE", value_parser = input::header)]
    secret_headers: Vec<(String, String)>,
    /// The signing secret: - reads it from stdin, @FILE from a file [default: the server makes one].
    #[arg(long, value_name = "SECRET|@FILE|-")]
    secret: Option<String>,
    /// How it is signed.
    #[arg(long, value_name = "HOW", value_parser = ["hmac", "ed25519"])]
    signature: Option<String>,
    /// Attempts after the first one, 0 to 10 [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=10))]
    max_retries: Option<i32>,
    /// Wait before the first retry, 1s to 1h; it doubles with every retry [default: 60s].
    #[arg(long, value_name = "DURATION")]
    backoff: Option<Span>,
    /// Longest time for one request, 1s to 5m [default: 30s].
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// Most requests per second [default: no limit].
    #[arg(long, value_name = "N")]
    rate_limit: Option<f32>,
    /// A status code that is a success; may be given several times, or several with commas [default: 200,201,202,204].
    #[arg(long = "expect", value_name = "STATUS", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(100..=599))]
    expected: Vec<i32>,
    /// The User-Agent of requests.
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// The Content-Type of requests.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Whether redirects with 307 and 308 are followed [default: true].
    #[arg(long, value_name = "BOOL")]
    follow_redirects: Option<bool>,
    /// Whether the receiver's certificate is verified [default: true].
    #[arg(long, value_name = "BOOL")]
    verify_tls: Option<bool>,
    /// Whether 1 MiB of a response is kept in place of 1 KiB [default: false].
    #[arg(long, value_name = "BOOL")]
    keep_responses: Option<bool>,
}

impl Settings {
    fn http(&self) -> Result<w::WebhookHTTPConfig, Failure> {
        let secret = self.secret.as_deref().map(|given| input::secret("--secret", given)).transpose()?;
        Ok(w::WebhookHTTPConfig {
            max_retries: self.max_retries,
            retry_backoff_seconds: self.backoff.map(|span| seconds("--backoff", span)).transpose()?,
            capture_response_body: self.keep_responses,
            follow_redirects: self.follow_redirects,
            verify_ssl: self.verify_tls,
            request_timeout_seconds: self.timeout.map(|span| seconds("--timeout", span)).transpose()?,
            expected_status_codes: self.expected.clone(),
            webhook_secret: secret,
            user_agent: self.user_agent.clone(),
            content_type: self.content_type.clone(),
            rate_limit_rps: self.rate_limit,
        })
    }

    fn secret_headers(&self) -> Result<Vec<(String, String)>, Failure> {
        let read = |(name, value): &(String, String)| -> Result<(String, String), Failure> {
            let whole = if value.starts_with('@') { input::secret("--secret-header", value)? } else { value.clone() };
            Ok((name.clone(), whole))
        };
        self.secret_headers.iter().map(read).collect()
    }

    /// The paths of what is given.
    fn paths(&self) -> Vec<&'static str> {
        let given = [
            ("events", !self.events.is_empty()),
            ("description", self.name.is_some()),
            ("headers", !self.headers.is_empty()),
            ("secret_headers", !self.secret_headers.is_empty()),
            ("signature_type", self.signature.is_some()),
            ("http_config.webhook_secret", self.secret.is_some()),
            ("http_config.max_retries", self.max_retries.is_some()),
            ("http_config.retry_backoff_seconds", self.backoff.is_some()),
            ("http_config.request_timeout_seconds", self.timeout.is_some()),
            ("http_config.rate_limit_rps", self.rate_limit.is_some()),
            ("http_config.expected_status_codes", !self.expected.is_empty()),
            ("http_config.user_agent", self.user_agent.is_some()),
            ("http_config.content_type", self.content_type.is_some()),
            ("http_config.follow_redirects", self.follow_redirects.is_some()),
            ("http_config.verify_ssl", self.verify_tls.is_some()),
            ("http_config.capture_response_body", self.keep_responses.is_some()),
        ];
        given.into_iter().filter_map(|(path, is_given)| is_given.then_some(path)).collect()
    }
}

/// Whole seconds, as the contract has them.
fn seconds(flag: &str, span: Span) -> Result<i32, Failure> {
    let whole = i32::try_from(span.0.as_secs()).ok().filter(|_| span.0.subsec_nanos() == 0);
    whole.ok_or_else(|| Failure::usage(format!("{flag} {span}: give whole seconds")))
}

/// Makes an endpoint.
pub async fn create(server: &Remote, args: Create) -> Result<(), Failure> {
    let (http, secret_headers) = (args.settings.http()?, args.settings.secret_headers()?);
    let Settings { events, name, headers, signature, .. } = args.settings;
    let request = w::RegisterWebhookRequest {
        namespace: server.own_namespace().await?,
        events,
        url: args.target,
        headers: headers.into_iter().collect(),
        active: Some(!args.paused),
        description: name.unwrap_or_default(),
        http_config: http.into(),
        secret_headers: secret_headers.into_iter().collect(),
        signature_type: signature.unwrap_or_default(),
        ..w::RegisterWebhookRequest::default()
    };
    let is_unsubscribed = request.events.is_empty();
    let made: w::RegisterWebhookResponse = server.call("webhook.WebhookService/RegisterWebhook", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&made);
    }
    server.out.line(&made.webhook_id)?;
    if is_unsubscribed {
        say("it gets nothing yet: postrider subscriptions create, or endpoints update --event, says what it gets");
    }
    if !made.signing_public_key.is_empty() {
        say("receivers verify with this public key:");
        server.out.line(&made.signing_public_key)?;
    }
    if made.webhook_secret.is_empty() {
        return Ok(());
    }
    say("its signing secret, which is not shown again:");
    server.out.line(&made.webhook_secret)
}

/// Changes an endpoint.
pub async fn update(server: &Remote, args: Update) -> Result<(), Failure> {
    let mut paths = args.settings.paths();
    if args.target.is_some() {
        paths.push("url");
    }
    for without in args.without.iter().map(|without| without.path()) {
        if paths.contains(&without) {
            return Err(Failure::usage(format!("{without} is given and taken away: leave one of the two")));
        }
        paths.push(without);
    }
    if paths.is_empty() {
        return Err(Failure::usage("nothing is to be changed: give what, see --help"));
    }
    let (http, secret_headers) = (args.settings.http()?, args.settings.secret_headers()?);
    let Settings { events, name, headers, signature, .. } = args.settings;
    let updates = w::WebhookUpdateFields {
        events,
        url: args.target,
        headers: headers.into_iter().collect(),
        description: name,
        http_config: http.into(),
        secret_headers: secret_headers.into_iter().collect(),
        signature_type: signature,
        ..w::WebhookUpdateFields::default()
    };
    let request = w::UpdateWebhookConfigRequest {
        webhook_id: args.id,
        namespace: server.namespace.clone(),
        updates: updates.into(),
        update_mask: Mask { paths: paths.into_iter().map(String::from).collect() }.into(),
    };
    let changed: w::UpdateWebhookConfigResponse = server.call("webhook.WebhookService/UpdateWebhookConfig", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&changed);
    }
    say("changed");
    if changed.webhook_secret.is_empty() {
        return Ok(());
    }
    say("its new signing secret, which is not shown again:");
    server.out.line(&changed.webhook_secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn update_of(line: &str) -> Result<Update, clap::Error> {
        Line::try_parse_from(std::iter::once("update").chain(line.split_whitespace())).map(|line| line.update)
    }

    #[test]
    fn what_is_given_is_what_changes() {
        let update = update_of("id --name x --timeout 10s --expect 200,204 -e a -e b").expect("flags");
        let expected = ["events", "description", "http_config.request_timeout_seconds", "http_config.expected_status_codes"];
        assert_eq!(update.settings.paths(), expected);
        let http = update.settings.http().expect("settings");
        assert_eq!((http.request_timeout_seconds, http.expected_status_codes, http.verify_ssl), (Some(10), vec![200, 204], None));
        assert!(update_of("id").expect("flags").settings.paths().is_empty());
    }

    #[test]
    fn parts_of_seconds_are_refused() {
        let update = update_of("id --timeout 1500ms").expect("flags");
        assert!(update.settings.http().expect_err("half a second").to_string().contains("--timeout 1500ms"));
        update_of("id --expect 99").map(|_| ()).expect_err("no status");
    }
}
