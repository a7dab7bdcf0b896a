//! `postrider subscriptions create` and `update`.

use crate::cli::remote::{Failure, Remote, input};
use crate::cli::say;
use crate::config::value::Span;
use postrider_proto::{v1, webhook as w};

/// Flags of `postrider subscriptions create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider subscriptions create ENDPOINT --event 'order.*' --label region=eu
  postrider subscriptions create ENDPOINT --event order.created --template @order.tmpl

Templates are in the language of Go's text/template; postrider subscriptions preview shows what one makes of real events.")]
pub struct Create {
    /// Id of the endpoint.
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// The event type: order.created, `order.*` for all below order., or `*` for all.
    #[arg(long, short, value_name = "TYPE")]
    event: String,
    /// A label that events must have; may be given several times.
    #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = input::pair)]
    labels: Vec<(String, String)>,
    /// A header that wins over those of the endpoint; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,
    /// HTTP method of the requests.
    #[arg(long, value_name = "METHOD", default_value = "POST", value_parser = ["GET", "POST", "PUT", "PATCH", "DELETE"])]
    method: String,
    /// Longest time for one request, 1s to 5m [default: that of the endpoint].
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// Template that makes the body: as it is, @FILE, or - for stdin.
    #[arg(long, value_name = "TEXT|@FILE|-")]
    template: Option<String>,
}

/// Flags of `postrider subscriptions update`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider subscriptions update ID --event 'order.*' --label region=eu
  postrider subscriptions update ID --template @order.tmpl --template-enabled true
  postrider subscriptions update ID --inactive

--event, --label and --match together replace the conditions that it has.")]
pub struct Update {
    /// Id of the subscription.
    #[arg(value_name = "ID")]
    id: String,
    /// What to call it.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Events are routed to it.
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// No events are routed to it.
    #[arg(long)]
    inactive: bool,
    #[command(flatten)]
    conditions: Conditions,
    /// Template that makes the body: as it is, @FILE, or - for stdin; an empty one takes it away.
    #[arg(long, value_name = "TEXT|@FILE|-")]
    template: Option<String>,
    /// Whether the template makes the body.
    #[arg(long, value_name = "BOOL")]
    template_enabled: Option<bool>,
    /// Rules that rename, drop and add fields, as JSON: as it is, @FILE, or - for stdin; empty takes them away.
    #[arg(long, value_name = "JSON|@FILE|-")]
    field_map: Option<String>,
}

/// Which events are wanted.
#[derive(Clone, Debug, clap::Args)]
pub struct Conditions {
    /// An event type that is wanted: order.created, `order.*` for all below order., or `*` for all; may be given several times where the API
    /// that made it allows that.
    #[arg(long = "event", short, value_name = "TYPE")]
    events: Vec<String>,
    /// A label that events must have; may be given several times.
    #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = input::pair)]
    labels: Vec<(String, String)>,
    /// Values that fields of the payload must have, as a JSON object: as it is, @FILE, or - for stdin.
    #[arg(long = "match", value_name = "JSON|@FILE|-")]
    matching: Option<String>,
}

impl Conditions {
    /// As the contract has them; none where none are given.
    pub fn message(&self) -> Result<Option<v1::Conditions>, Failure> {
        if self.events.is_empty() && self.labels.is_empty() && self.matching.is_none() {
            return Ok(None);
        }
        let matching = self.matching.as_deref().map(|given| input::text("--match", given)).transpose()?;
        Ok(Some(v1::Conditions {
            event_types: self.events.clone(),
            labels: self.labels.iter().cloned().collect(),
            r#match: matching.unwrap_or_default(),
        }))
    }
}

/// Makes a subscription.
pub async fn create(server: &Remote, args: Create) -> Result<(), Failure> {
    let template = args.template.as_deref().map(|given| input::text("--template", given)).transpose()?;
    let timeout = args.timeout.map(|span| i32::try_from(span.0.as_secs()).ok().filter(|_| span.0.subsec_nanos() == 0));
    let Some(timeout) = timeout.unwrap_or(Some(0)) else { return Err(Failure::usage("--timeout: give whole seconds")) };
    let request = w::CreateSubscriptionRequest {
        webhook_id: args.endpoint,
        event_name: args.event,
        namespace: server.namespace.clone(),
        headers: args.headers.into_iter().collect(),
        method: args.method,
        timeout,
        transform_enabled: template.is_some(),
        transform_template: template.unwrap_or_default(),
        label_filters: args.labels.into_iter().collect(),
    };
    let made: w::CreateSubscriptionResponse = server.call("webhook.SubscriptionService/CreateSubscription", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&made);
    }
    server.out.line(&made.subscription_id)
}

/// Changes a subscription.
pub async fn update(server: &Remote, args: Update) -> Result<(), Failure> {
    let active = if args.inactive { Some(false) } else { args.active.then_some(true) };
    let request = v1::UpdateSubscriptionRequest {
        subscription_id: args.id.clone(),
        name: args.name,
        active,
        conditions: args.conditions.message()?.into(),
        template: args.template.as_deref().map(|given| input::text("--template", given)).transpose()?,
        template_enabled: args.template_enabled,
        field_map: args.field_map.as_deref().map(|given| input::text("--field-map", given)).transpose()?,
    };
    if request == (v1::UpdateSubscriptionRequest { subscription_id: args.id, ..v1::UpdateSubscriptionRequest::default() }) {
        return Err(Failure::usage("nothing is to be changed: give what, see --help"));
    }
    let changed: v1::UpdateSubscriptionResponse = server.call("postrider.v1.EndpointService/UpdateSubscription", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&changed.subscription.into_option().unwrap_or_default());
    }
    say("changed");
    Ok(())
}
