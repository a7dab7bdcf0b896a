//! Which of the latest events a subscription would have got, and what it would have sent.

use super::wanted::Conditions;
use super::{find_subscription, missing, subscription_id};
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::items::preview::{MAX_SHOWN, beginning};
use crate::rpc::access::{Scope, timestamp};
use crate::rpc::page::count;
use crate::rpc::subscriptions::wanted;
use crate::rpc::v1::summary::conditions;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use postrider_core::body::{BodyForm, RpcHead, Unrenderable, rpc_envelope};
use postrider_core::event::{Event, Namespace};
use postrider_core::filter::LabelFilter;
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::retry::RetryPolicy;
use postrider_core::subscription::{Origin, RequestForm, Subscription};
use postrider_core::template::Source;
use postrider_engine::{MAX_LOOKED_THROUGH, NotLooked};
use postrider_proto::v1;
use std::sync::Arc;
use std::time::Duration;

/// What is to be previewed.
struct Asked {
    /// With the conditions that are asked about; it may be nobody's.
    subscription: Subscription,
    /// Whether it is one that there is, whose bodies are shown then.
    is_known: bool,
    /// What makes the bodies in place of that.
    template: Option<Source>,
    /// How many events are looked through at the most.
    events: u32,
}

/// Answers what would have been sent; nothing is.
pub(super) async fn preview(
    app: &App,
    access: &Access,
    request: v1::PreviewSubscriptionRequest,
) -> Result<v1::PreviewSubscriptionResponse, Problem> {
    let Some(asked) = read(app, access, &request)? else { return Ok(v1::PreviewSubscriptionResponse::default()) };
    let looked = app.engine.look_through(&asked.subscription, asked.events).await.map_err(|why| match why {
        NotLooked::Busy => Problem::unavailable("others are looking through the events of this namespace: try again in a moment"),
        NotLooked::Store(error) => Problem::of_read(error),
    })?;
    let mut examples = Vec::with_capacity(looked.examples.len());
    for event in looked.examples {
        examples.push(example(app, &asked, event).await?);
    }
    let misses = misses(asked.subscription, looked.misses).await?;
    Ok(v1::PreviewSubscriptionResponse {
        examined: count(looked.examined),
        matched: count(looked.matched),
        oldest_at: looked.oldest_at.map(timestamp).into(),
        examples,
        misses,
    })
}

/// What a request asks for; `None` where it is about a namespace that the caller does not see.
fn read(app: &App, access: &Access, request: &v1::PreviewSubscriptionRequest) -> Result<Option<Asked>, Problem> {
    let events = match u32::try_from(request.events) {
        Ok(0) => MAX_LOOKED_THROUGH,
        Ok(events) if events <= MAX_LOOKED_THROUGH => events,
        _ => return Err(Problem::bad_request(format!("events must be 1 to {MAX_LOOKED_THROUGH}, not {}", request.events))),
    };
    let template = match request.template.as_str() {
        "" => None,
        text => Some(wanted::template("template", text)?),
    };
    let sent = request.conditions.as_option().map(Conditions::read).transpose()?;
    let scope = Scope::of(access, &request.namespace)?;
    if request.subscription_id.is_empty() {
        let namespace = match scope {
            Scope::One(namespace) => namespace,
            Scope::All => return Err(Problem::bad_request("namespace is required, for the API key sees several")),
            Scope::Nothing => return Ok(None),
        };
        let subscription = sent.unwrap_or_default().put(blank(app, namespace));
        return Ok(Some(Asked { subscription, is_known: false, template, events }));
    }
    let routes = app.engine.routes();
    let before = find_subscription(&routes, access, subscription_id(&request.subscription_id)?)?;
    if !scope.has(&before.namespace) {
        return Err(Problem::not_found("there is no subscription with this ID in the namespace"));
    }
    let subscription = sent.unwrap_or_else(|| Conditions::of(before)).put(Subscription::clone(before));
    Ok(Some(Asked { subscription: Subscription { active: true, ..subscription }, is_known: true, template, events }))
}

/// A subscription of the RPC API that nobody has.
fn blank(app: &App, namespace: Namespace) -> Subscription {
    let (id, now) = (app.engine.new_id(), app.engine.now());
    Subscription {
        id: SubscriptionId::new(id),
        namespace,
        name: String::new(),
        endpoint: EndpointId::new(id),
        origin: Origin::Rpc,
        active: true,
        patterns: Vec::new(),
        labels: LabelFilter::default(),
        matches: None,
        request: RequestForm::default(),
        body: BodyForm::Rpc,
        retry: RetryPolicy::rpc(0, Duration::ZERO),
        timeout: None,
        rate_limit: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }
}

/// An event that would have been sent, with its body.
async fn example(app: &App, asked: &Asked, event: Arc<Event>) -> Result<v1::PreviewedEvent, Problem> {
    let (made, media_type) = match &asked.template {
        Some(template) => (app.engine.render(template.clone(), &event).await, String::from("application/json")),
        None if asked.is_known => {
            let preview = app.engine.preview(asked.subscription.id, Arc::clone(&event)).await.ok_or_else(missing)?;
            match preview {
                Ok(preview) => {
                    let media = preview.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
                    let media = media.to_owned();
                    (Ok(preview.body), media)
                }
                Err(why) => (Err(why), String::new()),
            }
        }
        None => (enveloped(app, &event), String::from("application/json")),
    };
    let (body, error) = match made {
        Ok(body) => (Some(content(&body, media_type)), String::new()),
        Err(why) => (None, why.to_string()),
    };
    Ok(v1::PreviewedEvent {
        event_id: event.id.to_string(),
        event_type: event.event_type.to_string(),
        created_at: timestamp(event.created_at).into(),
        body: body.into(),
        error,
    })
}

/// What a subscription sends that nothing else is said of.
fn enveloped(app: &App, event: &Event) -> Result<Bytes, Unrenderable> {
    let head = RpcHead { event: event.id, event_type: &event.event_type, at: app.engine.now(), attempt: 1 };
    rpc_envelope(&head, &event.payload, usize::MAX)
}

fn content(body: &Bytes, media_type: String) -> v1::Content {
    v1::Content { bytes: beginning(body).into_bytes(), truncated: body.len() > MAX_SHOWN, removed: false, media_type }
}

/// Events that would not have been sent, with what they lack: beside the runtime's threads, for payloads may be long.
async fn misses(subscription: Subscription, events: Vec<Arc<Event>>) -> Result<Vec<v1::PreviewedMiss>, Problem> {
    let miss = move |event: Arc<Event>| v1::PreviewedMiss {
        event_id: event.id.to_string(),
        event_type: event.event_type.to_string(),
        created_at: timestamp(event.created_at).into(),
        conditions: conditions(&subscription, &event),
    };
    let told = tokio::task::spawn_blocking(move || events.into_iter().map(miss).collect()).await;
    told.map_err(|ended| {
        tracing::error!(%ended, "what events lack for a subscription could not be told");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "what the events lack cannot be told: see the server's log")
    })
}
