//! `postrider subscriptions try-template` and `functions`: templates without a subscription.

use crate::cli::remote::body::{Bodies, body};
use crate::cli::remote::table::Column;
use crate::cli::remote::{Failure, Listing, Remote, input};
use postrider_proto::{v1, webhook as w};

const COLUMNS: [Column; 2] = [Column::whole("NAME"), Column::text("DOES", 30)];

/// Flags of `postrider subscriptions try-template`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider subscriptions try-template order.created --template '{{ .payload.total }}'
  postrider subscriptions try-template order.created --template @order.tmpl | jq .

postrider subscriptions preview shows what a template makes of the events that a subscription would get.")]
pub struct Try {
    /// The event type.
    #[arg(value_name = "TYPE")]
    event: String,
    /// The template: as it is, @FILE, or - for stdin.
    #[arg(long, value_name = "TEXT|@FILE|-")]
    template: String,
}

/// Flags of `postrider subscriptions functions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider subscriptions functions
  postrider subscriptions functions date")]
pub struct Functions {
    /// Only those whose name or description contains this.
    #[arg(value_name = "TEXT", default_value = "", hide_default_value = true)]
    text: String,
}

/// Shows what a template makes.
pub async fn try_out(server: &Remote, args: &Try) -> Result<(), Failure> {
    let request = w::TestSubscriptionTemplateRequest {
        event_name: args.event.clone(),
        transform_template: input::text("--template", &args.template)?,
        namespace: server.own_namespace().await?,
    };
    let made: w::TestSubscriptionTemplateResponse = server.call("webhook.SubscriptionService/TestSubscriptionTemplate", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&made);
    }
    // What is in it comes from anybody, and is not to steer a terminal.
    match server.out.width() {
        Some(_) => {
            let content = v1::Content { bytes: made.transformed_payload.into_bytes(), ..v1::Content::default() };
            server.out.print(&body(&server.out, &content, Bodies::Full, ""))
        }
        None => server.out.line(&made.transformed_payload),
    }
}

/// Lists the functions of templates.
pub async fn functions(server: &Remote, args: &Functions) -> Result<(), Failure> {
    let request = w::GetTemplateFunctionsRequest::default();
    let known: w::GetTemplateFunctionsResponse = server.call("webhook.WebhookService/GetTemplateFunctions", &request).await?;
    let wanted = args.text.to_lowercase();
    let mut listing = Listing::new(&server.out, &COLUMNS);
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    for function in known.functions.iter().filter(|function| has(&function.name) || has(&function.description)) {
        listing.add(function, |_| vec![function.name.as_str().into(), function.description.as_str().into()])?;
    }
    listing.end("functions of this name", None)
}
