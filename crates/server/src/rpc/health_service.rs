//! `webhook.HealthService`: how the receivers of webhooks do (contract, section 11). What it answers is kept with every outcome; nothing is
//! counted when it is asked.

use super::access::{Scope, access, timestamp};
use super::page::{Page, count};
use super::webhooks::{find, shown, webhook_id};
use crate::http::{App, Problem};
use connectrpc::RequestContext;
use postrider_core::health::{FailureKind, Health, HealthTally};
use postrider_core::id::EndpointId;
use postrider_core::ports::Window;
use postrider_proto::service::{Answer, HealthService};
use postrider_proto::webhook as w;
use std::sync::Arc;

/// Answers the service.
pub(super) struct Healths {
    app: Arc<App>,
}

impl Healths {
    pub(super) fn new(app: Arc<App>) -> Self {
        Healths { app }
    }
}

/// The name of a health in the contract, where without history it is unspecified.
pub(super) fn class(health: Health) -> w::WebhookHealth {
    match health {
        Health::Unknown => w::WebhookHealth::HEALTH_UNSPECIFIED,
        Health::Healthy => w::WebhookHealth::HEALTH_HEALTHY,
        Health::Degraded => w::WebhookHealth::HEALTH_DEGRADED,
        Health::Unhealthy => w::WebhookHealth::HEALTH_UNHEALTHY,
    }
}

fn wanted(class: w::WebhookHealth) -> Health {
    match class {
        w::WebhookHealth::HEALTH_UNSPECIFIED => Health::Unknown,
        w::WebhookHealth::HEALTH_HEALTHY => Health::Healthy,
        w::WebhookHealth::HEALTH_DEGRADED => Health::Degraded,
        w::WebhookHealth::HEALTH_UNHEALTHY => Health::Unhealthy,
    }
}

/// The health of each of these webhooks, in their order.
pub(super) async fn of(app: &App, webhooks: Vec<EndpointId>) -> Result<Vec<Health>, Problem> {
    let tallies = app.engine.store().endpoint_health(webhooks).await.map_err(Problem::of_read)?;
    // One that was deleted a moment ago has none.
    Ok(tallies.into_iter().map(|tally| tally.map_or(Health::Unknown, |tally| tally.health())).collect())
}

/// What the health was judged by; `None` where nothing was ever delivered.
fn metrics(of: EndpointId, tally: &HealthTally) -> Option<w::WebhookHealthMetrics> {
    let first_at = tally.first_at()?;
    let window = tally.window();
    let deliveries = window.deliveries();
    let failures = |kind| count(window.failures(kind));
    Some(w::WebhookHealthMetrics {
        webhook_id: of.to_string(),
        total_deliveries: count(deliveries.succeeded.saturating_add(deliveries.failed)),
        successful_deliveries: count(deliveries.succeeded),
        failed_deliveries: count(deliveries.failed),
        consecutive_failures: count(tally.failures_in_a_row()),
        last_success_at: tally.last_success_at().map(timestamp).into(),
        last_failure_at: tally.last_failure_at().map(timestamp).into(),
        success_rate: deliveries.rate().unwrap_or_default(),
        // Whole milliseconds, of which a part counts as one: 0 says that nothing was answered.
        avg_response_time: count(window.mean_response_us().unwrap_or_default().div_ceil(1_000)),
        created_at: timestamp(first_at).into(),
        updated_at: tally.last_at().map(timestamp).into(),
        client_errors: failures(FailureKind::Client),
        server_errors: failures(FailureKind::Server),
        timeout_errors: failures(FailureKind::Timeout),
        network_errors: failures(FailureKind::Network),
        unexpected_status_errors: failures(FailureKind::UnexpectedStatus),
    })
}

impl HealthService for Healths {
    async fn get_webhook_health(
        &self,
        context: RequestContext,
        request: w::GetWebhookHealthRequest,
    ) -> Answer<w::GetWebhookHealthResponse> {
        let (id, scope) = (webhook_id(&request.webhook_id)?, Scope::of(access(&context)?, &request.namespace)?);
        find(&self.app.engine.routes(), &scope, id)?;
        let tallies = self.app.engine.store().endpoint_health(vec![id]).await.map_err(Problem::of_read)?;
        let tally = tallies.into_iter().flatten().next().unwrap_or_default();
        let (health, metrics) = (class(tally.health()).into(), metrics(id, &tally).into());
        Ok(w::GetWebhookHealthResponse { webhook_id: id.to_string(), health, metrics })
    }

    async fn list_webhooks_by_health(
        &self,
        context: RequestContext,
        request: w::ListWebhooksByHealthRequest,
    ) -> Answer<w::ListWebhooksByHealthResponse> {
        let namespace = access(&context)?.namespace.clone();
        let health = request.health.as_known().ok_or_else(|| Problem::bad_request("health: there is no such health"))?;
        let page = Page::of(&request.pagination);
        let (skip, limit) = page.window()?;
        let window = Window { after: None, skip, limit };
        let found = self.app.engine.store().endpoints_by_health(namespace, wanted(health), window).await.map_err(Problem::of_read)?;
        let routes = self.app.engine.routes();
        let webhooks = found.page.items.into_iter().filter_map(|id| routes.endpoint(id));
        Ok(w::ListWebhooksByHealthResponse {
            webhooks: webhooks.map(|endpoint| shown::webhook(&self.app, &routes, endpoint, health)).collect(),
            pagination: page.answer(found.total, None).into(),
        })
    }

    async fn get_health_summary(&self, context: RequestContext, _: w::GetHealthSummaryRequest) -> Answer<w::GetHealthSummaryResponse> {
        let namespace = access(&context)?.namespace.clone();
        let counts = self.app.engine.store().health_summary(namespace).await.map_err(Problem::of_read)?;
        let of = |health| count(counts[health as usize]);
        let summary = w::HealthSummary {
            healthy_count: of(Health::Healthy),
            degraded_count: of(Health::Degraded),
            unhealthy_count: of(Health::Unhealthy),
            unknown_count: of(Health::Unknown),
            total_count: count(counts.iter().sum::<u64>()),
        };
        Ok(w::GetHealthSummaryResponse { summary: summary.into() })
    }
}
