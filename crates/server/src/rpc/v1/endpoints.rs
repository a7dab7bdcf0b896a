//! `postrider.v1.EndpointService`: endpoints with how they do, and their subscriptions whole, whichever API made them.
//!
//! | file | holds |
//! |---|---|
//! | this one | the service, and what it looks for |
//! | `list.rs` | endpoints in a list, filters |
//! | `health.rs` | how an endpoint does, in words |
//! | `detail.rs` | an endpoint with its settings, a subscription with all of its parts |
//! | `secrets.rs` | signing secrets made anew |
//! | `probe.rs` | tests |
//! | `wanted.rs` | conditions as a request says them |
//! | `subscription.rs` | changes of a subscription |
//! | `preview.rs` | which of the latest events a subscription would have got |

mod detail;
mod health;
mod list;
mod preview;
mod probe;
mod secrets;
mod subscription;
mod wanted;

use crate::auth::Access;
use crate::http::json::clip;
use crate::http::{App, Problem};
use crate::rpc::access::{access, id};
use connectrpc::RequestContext;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::ConfigChange;
use postrider_core::subscription::Subscription;
use postrider_engine::Routes;
use postrider_proto::service::{Answer, EndpointService};
use postrider_proto::v1;
use std::sync::Arc;

/// Answers the service.
pub(in crate::rpc) struct Endpoints {
    app: Arc<App>,
}

impl Endpoints {
    pub(in crate::rpc) fn new(app: Arc<App>) -> Self {
        Endpoints { app }
    }

    /// Pauses an endpoint, or makes it active; nothing happens to one that is so already.
    async fn set_status(&self, access: &Access, id: EndpointId, is_active: bool) -> Result<(), Problem> {
        let now = self.app.engine.now();
        let is_changed = self
            .app
            .engine
            .edit(|routes| {
                let before = find(routes, access, id)?;
                let status = match (is_active, before.status) {
                    (true, _) => EndpointStatus::Active,
                    (false, paused @ EndpointStatus::Paused { .. }) => paused,
                    (false, EndpointStatus::Active | EndpointStatus::Disabled { .. }) => EndpointStatus::Paused { at: now },
                };
                if status == before.status {
                    return Ok((Vec::new(), false));
                }
                let endpoint = Endpoint { status, updated_at: now, ..Endpoint::clone(before) };
                Ok::<_, Problem>((vec![ConfigChange::Endpoint(endpoint)], true))
            })
            .await?;
        if is_changed {
            tracing::info!(endpoint = %id, "an endpoint is {}", if is_active { "active again" } else { "paused" });
        }
        Ok(())
    }
}

fn endpoint_id(text: &str) -> Result<EndpointId, Problem> {
    id(text, "endpoint_id", "endpoint", EndpointId::parse)
}

/// The endpoint with this id, if it exists for the caller.
fn find<'r>(routes: &'r Routes, access: &Access, id: EndpointId) -> Result<&'r Arc<Endpoint>, Problem> {
    routes.endpoint(id).filter(|endpoint| access.sees(&endpoint.namespace)).ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("there is no endpoint with this ID")
}

fn subscription_id(text: &str) -> Result<SubscriptionId, Problem> {
    id(text, "subscription_id", "subscription", SubscriptionId::parse)
}

/// The subscription with this id, if it exists for the caller.
fn find_subscription<'r>(routes: &'r Routes, access: &Access, id: SubscriptionId) -> Result<&'r Arc<Subscription>, Problem> {
    let found = routes.subscription(id).filter(|subscription| access.sees(&subscription.namespace));
    found.ok_or_else(|| Problem::not_found("there is no subscription with this ID"))
}

impl EndpointService for Endpoints {
    async fn list_endpoints(&self, context: RequestContext, request: v1::ListEndpointsRequest) -> Answer<v1::ListEndpointsResponse> {
        list::list(&self.app, access(&context)?, &request).await
    }

    async fn get_endpoint(&self, context: RequestContext, request: v1::GetEndpointRequest) -> Answer<v1::GetEndpointResponse> {
        Ok(detail::endpoint(&self.app, access(&context)?, endpoint_id(&request.endpoint_id)?).await?)
    }

    async fn set_endpoint_status(
        &self,
        context: RequestContext,
        request: v1::SetEndpointStatusRequest,
    ) -> Answer<v1::SetEndpointStatusResponse> {
        let (access, id) = (access(&context)?, endpoint_id(&request.endpoint_id)?);
        let is_active = match request.status.as_str() {
            "active" => true,
            "paused" => false,
            other => {
                return Err(Problem::bad_request(format!("status must be \"active\" or \"paused\", not {:?}", clip(other))).into());
            }
        };
        self.set_status(access, id, is_active).await?;
        Ok(v1::SetEndpointStatusResponse { endpoint: list::summary(&self.app, access, id).await?.into() })
    }

    async fn rotate_secret(&self, context: RequestContext, request: v1::RotateSecretRequest) -> Answer<v1::RotateSecretResponse> {
        Ok(secrets::rotate(&self.app, access(&context)?, request).await?)
    }

    async fn end_rotation(&self, context: RequestContext, request: v1::EndRotationRequest) -> Answer<v1::EndRotationResponse> {
        Ok(secrets::end_rotation(&self.app, access(&context)?, &request).await?)
    }

    async fn test_endpoint(&self, context: RequestContext, request: v1::TestEndpointRequest) -> Answer<v1::TestEndpointResponse> {
        Ok(probe::test(&self.app, access(&context)?, endpoint_id(&request.endpoint_id)?).await?)
    }

    async fn get_subscription(&self, context: RequestContext, request: v1::GetSubscriptionRequest) -> Answer<v1::GetSubscriptionResponse> {
        let subscription = detail::subscription(&self.app, access(&context)?, subscription_id(&request.subscription_id)?).await?;
        Ok(v1::GetSubscriptionResponse { subscription: subscription.into() })
    }

    async fn update_subscription(
        &self,
        context: RequestContext,
        request: v1::UpdateSubscriptionRequest,
    ) -> Answer<v1::UpdateSubscriptionResponse> {
        let access = access(&context)?;
        let id = subscription::update(&self.app, access, request).await?;
        Ok(v1::UpdateSubscriptionResponse { subscription: detail::subscription(&self.app, access, id).await?.into() })
    }

    async fn preview_subscription(
        &self,
        context: RequestContext,
        request: v1::PreviewSubscriptionRequest,
    ) -> Answer<v1::PreviewSubscriptionResponse> {
        Ok(preview::preview(&self.app, access(&context)?, request).await?)
    }
}
