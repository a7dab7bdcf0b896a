//! `webhook.SubscriptionService`: which events a webhook gets, and in what form (contract, section 6). A subscription is one, whichever API
//! made it.

pub(super) mod room;
mod sample;
mod shown;
pub(super) mod wanted;

use super::access::{Scope, access, id, timestamp};
use super::page::Page;
use super::webhooks::change::policy;
use super::webhooks::{find as find_webhook, webhook_id};
use crate::auth::Access;
use crate::http::{App, Problem};
use connectrpc::RequestContext;
use postrider_core::body::BodyForm;
use postrider_core::endpoint::Endpoint;
use postrider_core::filter::{LabelFilter, TypePattern};
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::ConfigChange;
use postrider_core::subscription::{Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::service::{Answer, SubscriptionService};
use postrider_proto::webhook as w;
use std::sync::Arc;
use wanted::Wanted;

/// Answers the service.
pub(super) struct Subscriptions {
    app: Arc<App>,
}

impl Subscriptions {
    pub(super) fn new(app: Arc<App>) -> Self {
        Subscriptions { app }
    }

    /// Changes a subscription.
    async fn edit(
        &self,
        access: &Access,
        (id, namespace): (&str, &str),
        mut change: impl FnMut(&Routes, &Subscription) -> Result<Subscription, Problem>,
    ) -> Result<(), Problem> {
        let (id, scope) = (subscription_id(id)?, Scope::of(access, namespace)?);
        self.app
            .engine
            .edit(|routes| {
                let changed = change(routes, find(routes, &scope, id)?)?;
                Ok((vec![ConfigChange::Subscription(changed)], ()))
            })
            .await
    }
}

fn subscription_id(text: &str) -> Result<SubscriptionId, Problem> {
    id(text, "subscription_id", "subscription", SubscriptionId::parse)
}

/// The subscription with this id, if it exists for the caller.
fn find<'r>(routes: &'r Routes, scope: &Scope, id: SubscriptionId) -> Result<&'r Arc<Subscription>, Problem> {
    let found = routes.subscription(id).filter(|subscription| scope.has(&subscription.namespace));
    found.ok_or_else(|| Problem::not_found("there is no subscription with this ID"))
}

/// A subscription of a webhook that nothing else is said of.
pub(super) fn plain(id: SubscriptionId, endpoint: &Endpoint, pattern: TypePattern, now: Timestamp) -> Subscription {
    Subscription {
        id,
        namespace: endpoint.namespace.clone(),
        name: String::new(),
        endpoint: endpoint.id,
        origin: Origin::Rpc,
        active: true,
        patterns: vec![pattern],
        labels: LabelFilter::default(),
        matches: None,
        request: RequestForm::default(),
        body: BodyForm::Rpc,
        retry: policy(&endpoint.http),
        timeout: None,
        rate_limit: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }
}

/// A webhook has one subscription to an event type, `besides` one that is changed: an event would come to it twice.
pub(super) fn check_unique(
    routes: &Routes,
    endpoint: EndpointId,
    pattern: &TypePattern,
    besides: Option<SubscriptionId>,
) -> Result<(), Problem> {
    let mut own = routes.subscriptions_of(endpoint).filter(|subscription| subscription.origin == Origin::Rpc);
    if own.any(|subscription| Some(subscription.id) != besides && subscription.patterns.contains(pattern)) {
        return Err(Problem::conflict("the webhook has a subscription to this event type: resource already exists"));
    }
    Ok(())
}

impl SubscriptionService for Subscriptions {
    async fn create_subscription(
        &self,
        context: RequestContext,
        request: w::CreateSubscriptionRequest,
    ) -> Answer<w::CreateSubscriptionResponse> {
        let (webhook, scope) = (webhook_id(&request.webhook_id)?, Scope::of(access(&context)?, &request.namespace)?);
        let pattern = wanted::pattern(&request.event_name)?;
        let wanted = Wanted::of_new(request)?;
        let engine = &self.app.engine;
        let (id, now) = (SubscriptionId::new(engine.new_id()), engine.now());
        engine
            .edit(|routes| {
                let endpoint = find_webhook(routes, &scope, webhook)?;
                check_unique(routes, endpoint.id, &pattern, None)?;
                let mut subscription = plain(id, endpoint, pattern.clone(), now);
                wanted.put(&mut subscription, Some(&**endpoint))?;
                room::check(routes, std::slice::from_ref(&subscription))?;
                Ok::<_, Problem>((vec![ConfigChange::Subscription(subscription)], ()))
            })
            .await?;
        Ok(w::CreateSubscriptionResponse { subscription_id: id.to_string(), created_at: timestamp(now).into() })
    }

    async fn get_subscription(&self, context: RequestContext, request: w::GetSubscriptionRequest) -> Answer<w::GetSubscriptionResponse> {
        let (id, scope) = (subscription_id(&request.subscription_id)?, Scope::of(access(&context)?, &request.namespace)?);
        let routes = self.app.engine.routes();
        Ok(w::GetSubscriptionResponse { subscription: shown::subscription(find(&routes, &scope, id)?).into() })
    }

    async fn list_subscriptions(
        &self,
        context: RequestContext,
        request: w::ListSubscriptionsRequest,
    ) -> Answer<w::ListSubscriptionsResponse> {
        if request.namespace.is_empty() {
            return Err(Problem::bad_request("namespace is required").into());
        }
        let scope = Scope::of(access(&context)?, &request.namespace)?;
        let webhook = if request.webhook_id.is_empty() { None } else { Some(webhook_id(&request.webhook_id)?) };
        let routes = self.app.engine.routes();
        let mut all: Vec<&Arc<Subscription>> = routes
            .subscriptions()
            .filter(|subscription| scope.has(&subscription.namespace) && webhook.is_none_or(|id| subscription.endpoint == id))
            .filter(|subscription| request.event_name.is_empty() || shown::event_name(subscription) == request.event_name)
            .collect();
        all.sort_unstable_by_key(|subscription| std::cmp::Reverse((subscription.created_at, subscription.id)));
        let page = Page::of(&request.pagination);
        let (cut, total) = page.cut(all);
        let (subscriptions, pagination) = page.fit(total, cut.into_iter().map(|subscription| shown::subscription(subscription)));
        Ok(w::ListSubscriptionsResponse { subscriptions, pagination: pagination.into() })
    }

    async fn update_subscription(
        &self,
        context: RequestContext,
        mut request: w::UpdateSubscriptionRequest,
    ) -> Answer<w::UpdateSubscriptionResponse> {
        let (id, namespace) = (std::mem::take(&mut request.subscription_id), std::mem::take(&mut request.namespace));
        let wanted = Wanted::of_update(request)?;
        let now = self.app.engine.now();
        self.edit(access(&context)?, (&id, &namespace), |routes, before| {
            let mut subscription = Subscription { updated_at: now, ..before.clone() };
            wanted.put(&mut subscription, routes.endpoint(before.endpoint).map(|endpoint| &**endpoint))?;
            room::check(routes, std::slice::from_ref(&subscription))?;
            Ok(subscription)
        })
        .await?;
        Ok(w::UpdateSubscriptionResponse::default())
    }

    async fn delete_subscription(
        &self,
        context: RequestContext,
        request: w::DeleteSubscriptionRequest,
    ) -> Answer<w::DeleteSubscriptionResponse> {
        let now = self.app.engine.now();
        self.edit(access(&context)?, (&request.subscription_id, &request.namespace), |_, before| {
            Ok(Subscription { deleted_at: Some(now), updated_at: now, ..before.clone() })
        })
        .await?;
        Ok(w::DeleteSubscriptionResponse::default())
    }

    async fn test_subscription_template(
        &self,
        context: RequestContext,
        request: w::TestSubscriptionTemplateRequest,
    ) -> Answer<w::TestSubscriptionTemplateResponse> {
        let scope = Scope::of(access(&context)?, &request.namespace)?;
        wanted::check_event_name(&request.event_name)?;
        if request.transform_template.is_empty() {
            return Err(Problem::bad_request("transform_template is required").into());
        }
        let template = wanted::template("transform_template", &request.transform_template)?;
        let event = sample::event(&self.app, &scope, &request.event_name).await?;
        let made = self.app.engine.render(template, &event).await;
        let made = made.map_err(|why| Problem::bad_request(format!("transform_template: {why}")))?;
        // What a template makes is UTF-8.
        Ok(w::TestSubscriptionTemplateResponse { transformed_payload: String::from_utf8_lossy(&made).into_owned() })
    }
}
