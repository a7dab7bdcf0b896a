//! Dead letters in groups and lists, and the filter that says which.

use super::advice;
use crate::auth::Access;
use crate::http::json::clip;
use crate::http::{App, Problem};
use crate::rpc::access::{Scope, bound, id, timestamp};
use crate::rpc::page::count;
use crate::rpc::v1::page;
use crate::rpc::v1::summary::{endpoint_label, long};
use postrider_core::error::ErrorCode;
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::{DeadLetterFilter, DeadLetterPlace, DeadLetterRow, Found, Page, Window};
use postrider_engine::Routes;
use postrider_proto::service::Answer;
use postrider_proto::v1;

/// Most groups.
const MAX_GROUPS: u32 = 1_000;

/// What a filter asks for; `None` where it is about a namespace that the caller does not see.
pub(super) fn filter(access: &Access, sent: &v1::DeadLetterFilter) -> Result<Option<DeadLetterFilter>, Problem> {
    let scope = Scope::of(access, &sent.namespace)?;
    let filter = DeadLetterFilter {
        namespace: None,
        subscription: optional(&sent.subscription_id, |text| id(text, "subscription_id", "subscription", SubscriptionId::parse))?,
        endpoint: optional(&sent.endpoint_id, |text| id(text, "endpoint_id", "endpoint", EndpointId::parse))?,
        code: optional(&sent.error_code, |text| {
            let unknown = || Problem::bad_request(format!("error_code: {:?} is no code that this server knows", clip(text)));
            ErrorCode::parse(text).ok_or_else(unknown)
        })?,
        failed_from: bound(sent.failed_from.as_option(), "failed_from")?,
        failed_before: bound(sent.failed_before.as_option(), "failed_before")?,
    };
    Ok(scope.narrowed().map(|namespace| DeadLetterFilter { namespace, ..filter }))
}

fn optional<T>(text: &str, read: impl FnOnce(&str) -> Result<T, Problem>) -> Result<Option<T>, Problem> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

/// A filter as it is shown.
pub(super) fn shown(filter: &DeadLetterFilter) -> v1::DeadLetterFilter {
    v1::DeadLetterFilter {
        namespace: filter.namespace.as_ref().map(ToString::to_string).unwrap_or_default(),
        endpoint_id: filter.endpoint.map(|id| id.to_string()).unwrap_or_default(),
        subscription_id: filter.subscription.map(|id| id.to_string()).unwrap_or_default(),
        error_code: filter.code.map_or("", ErrorCode::as_str).to_owned(),
        failed_from: filter.failed_from.map(timestamp).into(),
        failed_before: filter.failed_before.map(timestamp).into(),
    }
}

/// How many dead letters match.
pub(super) async fn matching(app: &App, filter: DeadLetterFilter) -> Result<u64, Problem> {
    let found = app.engine.store().find_dead_letters(filter, Window::first(0)).await.map_err(Problem::of_read)?;
    Ok(found.total)
}

/// Answers the groups, the largest first.
pub(super) async fn groups(
    app: &App,
    access: &Access,
    request: &v1::ListDeadLetterGroupsRequest,
) -> Result<v1::ListDeadLetterGroupsResponse, Problem> {
    let Some(namespace) = Scope::of(access, &request.namespace)?.narrowed() else {
        return Ok(v1::ListDeadLetterGroupsResponse::default());
    };
    let found = app.engine.store().dead_letter_groups(namespace.clone(), MAX_GROUPS).await.map_err(Problem::of_read)?;
    let total = matching(app, DeadLetterFilter { namespace, ..DeadLetterFilter::default() }).await?;
    let routes = app.engine.routes();
    let groups = found.into_iter().map(|group| {
        let (explanation, advice) = advice::of(group.code);
        v1::DeadLetterGroup {
            namespace: group.namespace.to_string(),
            endpoint_id: group.endpoint.to_string(),
            endpoint_name: endpoint_label(&routes, group.endpoint),
            error_code: group.code.as_str().to_owned(),
            explanation: explanation.to_owned(),
            advice: advice.to_owned(),
            count: long(group.open),
        }
    });
    Ok(v1::ListDeadLetterGroupsResponse { groups: groups.collect(), total: long(total) })
}

/// Answers the dead letters, the newest first.
pub(super) async fn list(app: &App, access: &Access, request: &v1::ListDeadLettersRequest) -> Answer<v1::ListDeadLettersResponse> {
    let (limit, after) = (page::size(request.page_size), page::after::<DeadLetterPlace>(&request.page_token)?);
    let Some(filter) = filter(access, &request.filter)? else { return Ok(v1::ListDeadLettersResponse::default()) };
    let window = Window { after, skip: 0, limit };
    let found = app.engine.store().find_dead_letters(filter, window).await.map_err(Problem::of_read)?;
    let Found { page: Page { items, next }, total } = found;
    let routes = app.engine.routes();
    let dead_letters = items.iter().map(|row| made(&routes, row)).collect();
    Ok(v1::ListDeadLettersResponse { dead_letters, next_page_token: page::next(next), total: long(total) })
}

fn made(routes: &Routes, row: &DeadLetterRow) -> v1::DeadLetter {
    let letter = &row.dead_letter;
    v1::DeadLetter {
        dead_letter_id: letter.id.to_string(),
        delivery_id: letter.delivery.to_string(),
        namespace: row.namespace.to_string(),
        endpoint_id: row.endpoint.to_string(),
        endpoint_name: endpoint_label(routes, row.endpoint),
        subscription_id: row.subscription.to_string(),
        event_id: row.event_id.to_string(),
        event_type: row.event_type.to_string(),
        error_code: letter.code.as_str().to_owned(),
        error_message: letter.message.clone(),
        attempts: count(letter.attempts),
        failed_at: timestamp(letter.failed_at).into(),
    }
}
