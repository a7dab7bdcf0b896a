//! `webhook.WebhookService`: where events are sent, and how (contract, section 6). A webhook is an endpoint, whichever API made it.

pub(super) mod change;
pub(super) mod keys;
pub(super) mod scope;
pub(super) mod shown;
mod stats;
pub(super) mod wanted;

use super::access::{Scope, access, failed_precondition, id, own_namespace, timestamp};
use super::health_service;
use super::page::{Page, count};
use crate::auth::Access;
use crate::http::json::clip;
use crate::http::{App, Problem};
use change::{Changed, changed};
use connectrpc::RequestContext;
use keys::Fresh;
use postrider_core::auth::Auth;
use postrider_core::endpoint::{Deletion, Endpoint, EndpointStatus, HttpOptions};
use postrider_core::id::EndpointId;
use postrider_core::ports::ConfigChange;
use postrider_core::sign::Scheme;
use postrider_core::subscription::Subscription;
use postrider_core::template;
use postrider_engine::Routes;
use postrider_proto::service::{Answer, WebhookService};
use postrider_proto::webhook as w;
use scope::Counts;
use std::sync::Arc;
use wanted::Wanted;

/// Answers the service.
pub(super) struct Webhooks {
    app: Arc<App>,
}

impl Webhooks {
    pub(super) fn new(app: Arc<App>) -> Self {
        Webhooks { app }
    }

    /// Changes one webhook, and answers what `change` answers for it.
    async fn edit<T>(
        &self,
        access: &Access,
        (id, namespace): (&str, &str),
        mut change: impl FnMut(&Routes, &Endpoint) -> Result<(Vec<ConfigChange>, T), Problem>,
    ) -> Result<T, Problem> {
        let (id, scope) = (webhook_id(id)?, Scope::of(access, namespace)?);
        self.app.engine.edit(|routes| change(routes, find(routes, &scope, id)?)).await
    }

    /// Pauses or resumes.
    async fn set_status(
        &self,
        access: &Access,
        of: (&str, &str),
        change: impl Fn(EndpointStatus) -> Result<EndpointStatus, Problem>,
    ) -> Result<(), Problem> {
        let now = self.app.engine.now();
        self.edit(access, of, |_, before| {
            let endpoint = Endpoint { status: change(before.status)?, updated_at: now, ..before.clone() };
            Ok((vec![ConfigChange::Endpoint(endpoint)], ()))
        })
        .await
    }
}

pub(super) fn webhook_id(text: &str) -> Result<EndpointId, Problem> {
    id(text, "webhook_id", "webhook", EndpointId::parse)
}

/// The webhook with this id, if it exists for the caller.
pub(super) fn find<'r>(routes: &'r Routes, scope: &Scope, id: EndpointId) -> Result<&'r Arc<Endpoint>, Problem> {
    let found = routes.endpoint(id).filter(|endpoint| scope.has(&endpoint.namespace));
    found.ok_or_else(|| Problem::not_found("there is no webhook with this ID"))
}

impl WebhookService for Webhooks {
    async fn register_webhook(&self, context: RequestContext, request: w::RegisterWebhookRequest) -> Answer<w::RegisterWebhookResponse> {
        let namespace = own_namespace(access(&context)?, &request.namespace)?;
        let sent = w::WebhookUpdateFields {
            events: request.events,
            url: Some(request.url),
            headers: request.headers,
            timeout: request.timeout,
            active: request.active,
            description: Some(request.description),
            http_config: request.http_config,
            secret_headers: request.secret_headers,
            signature_type: Some(request.signature_type),
        };
        let wanted = Wanted::read(sent, Counts::All, &self.app.guard)?;
        let (engine, fresh) = (&self.app.engine, Fresh::new());
        let (id, now) = (EndpointId::new(engine.new_id()), engine.now());
        let blank = Endpoint {
            id,
            namespace,
            name: String::new(),
            url: String::new(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            auth: Auth::None,
            secrets: Vec::new(),
            schemes: vec![Scheme::Standard],
            http: HttpOptions::rpc(),
            rate_limit: None,
            old_secrets_until: None,
            payload_cap: None,
            concurrency: None,
            status: EndpointStatus::Active,
            created_at: now,
            updated_at: now,
            deleted: None,
        };
        let secret = engine
            .edit(|routes| {
                let Changed { changes, secret } = changed(&self.app, routes, &blank, &wanted, &fresh, now)?;
                Ok::<_, Problem>((changes, secret))
            })
            .await?;
        let public_key = engine.routes().public_key(id);
        Ok(w::RegisterWebhookResponse {
            webhook_id: id.to_string(),
            created_at: timestamp(now).into(),
            signature_type: shown::signature(public_key.as_ref()).as_str().to_owned(),
            signing_public_key: public_key.unwrap_or_default(),
            webhook_secret: secret.map_or_else(String::new, |secret| secret.reveal().to_owned()),
        })
    }

    async fn unregister_webhook(
        &self,
        context: RequestContext,
        request: w::UnregisterWebhookRequest,
    ) -> Answer<w::UnregisterWebhookResponse> {
        let now = self.app.engine.now();
        self.edit(access(&context)?, (&request.webhook_id, &request.namespace), |routes, endpoint| {
            let gone = Endpoint { deleted: Some(Deletion::Kept(now)), updated_at: now, ..endpoint.clone() };
            let theirs = routes.subscriptions_of(endpoint.id);
            let theirs = theirs.map(|s| Subscription { deleted_at: Some(now), updated_at: now, ..Subscription::clone(s) });
            let mut changes: Vec<_> = theirs.map(ConfigChange::Subscription).collect();
            changes.push(ConfigChange::Endpoint(gone));
            Ok((changes, ()))
        })
        .await?;
        Ok(w::UnregisterWebhookResponse::default())
    }

    async fn list_webhooks(&self, context: RequestContext, request: w::ListWebhooksRequest) -> Answer<w::ListWebhooksResponse> {
        let scope = Scope::of(access(&context)?, &request.namespace)?;
        let only = if request.webhook_id.is_empty() { None } else { Some(webhook_id(&request.webhook_id)?) };
        let routes = self.app.engine.routes();
        let is_to = |endpoint: &Endpoint| routes.subscriptions_of(endpoint.id).any(|s| shown::is_to(s, &request.event));
        let mut all: Vec<&Arc<Endpoint>> = routes
            .endpoints()
            .filter(|endpoint| scope.has(&endpoint.namespace) && only.is_none_or(|id| endpoint.id == id))
            .filter(|endpoint| !request.active_only || endpoint.status == EndpointStatus::Active)
            .filter(|endpoint| request.event.is_empty() || is_to(endpoint))
            .collect();
        all.sort_unstable_by_key(|endpoint| std::cmp::Reverse((endpoint.created_at, endpoint.id)));
        let page = Page::of(&request.pagination);
        let (cut, total) = page.cut(all);
        let healths = health_service::of(&self.app, cut.iter().map(|endpoint| endpoint.id).collect()).await?;
        let webhooks = cut.into_iter().zip(healths);
        let webhooks = webhooks.map(|(endpoint, health)| shown::webhook(&self.app, &routes, endpoint, health_service::class(health)));
        let (webhooks, pagination) = page.fit(total, webhooks);
        Ok(w::ListWebhooksResponse { webhooks, pagination: pagination.into() })
    }

    async fn update_webhook_config(
        &self,
        context: RequestContext,
        request: w::UpdateWebhookConfigRequest,
    ) -> Answer<w::UpdateWebhookConfigResponse> {
        let mask = request.update_mask.as_option().cloned().unwrap_or_default();
        let sent = request.updates.as_option().cloned().unwrap_or_default();
        let wanted = Wanted::read(sent, Counts::of_update(&mask)?, &self.app.guard)?;
        let (fresh, now) = (Fresh::new(), self.app.engine.now());
        let secret = self
            .edit(access(&context)?, (&request.webhook_id, &request.namespace), |routes, endpoint| {
                let Changed { changes, secret } = changed(&self.app, routes, endpoint, &wanted, &fresh, now)?;
                Ok((changes, secret))
            })
            .await?;
        let webhook_secret = secret.map_or_else(String::new, |secret| secret.reveal().to_owned());
        Ok(w::UpdateWebhookConfigResponse { webhook_secret })
    }

    async fn pause_webhook(&self, context: RequestContext, request: w::PauseWebhookRequest) -> Answer<w::PauseWebhookResponse> {
        let at = self.app.engine.now();
        let pause = |status| match status {
            EndpointStatus::Paused { .. } => Err(failed_precondition("the webhook is paused already")),
            EndpointStatus::Active | EndpointStatus::Disabled { .. } => Ok(EndpointStatus::Paused { at }),
        };
        self.set_status(access(&context)?, (&request.webhook_id, &request.namespace), pause).await?;
        tracing::info!(webhook = request.webhook_id, reason = %clip(&request.reason), "a webhook is paused");
        Ok(w::PauseWebhookResponse::default())
    }

    async fn resume_webhook(&self, context: RequestContext, request: w::ResumeWebhookRequest) -> Answer<w::ResumeWebhookResponse> {
        let resume = |status| match status {
            EndpointStatus::Active => Err(failed_precondition("the webhook is not paused")),
            EndpointStatus::Paused { .. } | EndpointStatus::Disabled { .. } => Ok(EndpointStatus::Active),
        };
        self.set_status(access(&context)?, (&request.webhook_id, &request.namespace), resume).await?;
        tracing::info!(webhook = request.webhook_id, reason = %clip(&request.reason), "a webhook is active again");
        Ok(w::ResumeWebhookResponse::default())
    }

    async fn get_namespace_stats(
        &self,
        context: RequestContext,
        request: w::GetNamespaceStatsRequest,
    ) -> Answer<w::GetNamespaceStatsResponse> {
        let scope = Scope::of(access(&context)?, &request.namespace)?;
        let stats = stats::of(&self.app, &scope).await?;
        Ok(w::GetNamespaceStatsResponse { namespace: request.namespace, stats: stats.into() })
    }

    async fn get_template_functions(
        &self,
        _: RequestContext,
        _: w::GetTemplateFunctionsRequest,
    ) -> Answer<w::GetTemplateFunctionsResponse> {
        let shown = |f: template::FunctionInfo| w::TemplateFunction { name: f.name.to_owned(), description: f.description.to_owned() };
        let functions: Vec<_> = template::functions().map(shown).collect();
        Ok(w::GetTemplateFunctionsResponse { total_count: count(functions.len()), functions })
    }
}
