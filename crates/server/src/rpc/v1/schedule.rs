//! `postrider.v1.ScheduleService`: payloads that are delivered at a later time, as `/scheduled` of the Tasks API has them.

use crate::auth::Access;
use crate::http::json::{self, clip};
use crate::http::{App, Problem};
use crate::items::preview::beginning;
use crate::rpc::access::{Scope, access, bound, failed_precondition, id, timestamp};
use crate::rpc::v1::page;
use crate::rpc::v1::summary::{endpoint_label, long};
use crate::tasks::scheduled::row;
use bytes::Bytes;
use connectrpc::RequestContext;
use postrider_core::event::Namespace;
use postrider_core::id::{ScheduledId, SubscriptionId};
use postrider_core::ports::{PageRequest, ScheduledPlace};
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::service::{Answer, ScheduleService};
use postrider_proto::v1;
use std::sync::Arc;
use uuid::Uuid;

/// How many are read at a time, and their payloads in bytes.
const PIECE: u32 = 50;
const PIECE_BYTES: u64 = 4 << 20;

/// How many a call looks at where those with the wanted status are few. The page ends there then, and the next one goes on.
const MAX_LOOKED_AT: usize = 5_000;

/// Where a page ends whatever its size says, in bytes of payloads as they are shown: gRPC clients read messages of 4 MiB.
const MAX_SHOWN_BYTES: usize = 3 << 19;

/// Answers the service.
pub(in crate::rpc) struct Schedules {
    app: Arc<App>,
}

impl Schedules {
    pub(in crate::rpc) fn new(app: Arc<App>) -> Self {
        Schedules { app }
    }
}

/// The words for a status.
const STATUSES: [&str; 3] = ["pending", "completed", "failed"];

fn status(of: ScheduledStatus) -> &'static str {
    match of {
        ScheduledStatus::Pending => "pending",
        ScheduledStatus::Completed(_) => "completed",
        ScheduledStatus::Failed => "failed",
    }
}

/// Which ones a list has.
struct Wanted<'r> {
    namespace: Option<Namespace>,
    subscription: Option<SubscriptionId>,
    /// Empty for all.
    status: &'r str,
}

impl Wanted<'_> {
    /// Where a list begins: those that have ended come behind all that are pending.
    fn begin(&self) -> Option<ScheduledPlace> {
        let ends = ["completed", "failed"].contains(&self.status);
        ends.then(|| ScheduledPlace { ended: true, due_at: Timestamp::MAX, id: ScheduledId::new(Uuid::max()) })
    }

    /// Whether nothing behind this place can have the wanted status.
    fn ends_at(&self, place: &ScheduledPlace) -> bool {
        self.status == "pending" && place.ended
    }
}

/// A page, as far as it goes.
async fn page_of(
    app: &App,
    wanted: &Wanted<'_>,
    (size, after): (u32, Option<ScheduledPlace>),
) -> Result<(Vec<v1::Scheduled>, Option<ScheduledPlace>), Problem> {
    let (mut shown, mut bytes, mut looked_at) = (Vec::new(), 0_usize, 0_usize);
    let mut place = after.or_else(|| wanted.begin());
    loop {
        // No more than fit, so that the page ends where the piece does.
        let left = size.saturating_sub(u32::try_from(shown.len()).unwrap_or(u32::MAX));
        let request = PageRequest { after: place, limit: left.min(PIECE), max_bytes: PIECE_BYTES };
        let piece = app.engine.store().scheduled(wanted.namespace.clone(), wanted.subscription, request).await.map_err(Problem::of_read)?;
        let routes = app.engine.routes();
        looked_at += piece.items.len();
        for row in piece.items.iter().filter(|row| wanted.status.is_empty() || status(row.status) == wanted.status) {
            let made = made(&routes, row);
            bytes += made.payload.len();
            shown.push(made);
        }
        place = piece.next.filter(|next| !wanted.ends_at(next));
        let is_full = shown.len() >= size as usize || bytes >= MAX_SHOWN_BYTES || looked_at >= MAX_LOOKED_AT;
        if is_full || place.is_none() {
            return Ok((shown, place));
        }
    }
}

fn made(routes: &Routes, row: &Scheduled) -> v1::Scheduled {
    let endpoint = routes.subscription(row.subscription).map(|subscription| subscription.endpoint);
    let delivery = match row.status {
        ScheduledStatus::Completed(delivery) => Some(delivery),
        ScheduledStatus::Pending | ScheduledStatus::Failed => None,
    };
    v1::Scheduled {
        scheduled_id: row.id.to_string(),
        namespace: row.namespace.to_string(),
        subscription_id: row.subscription.to_string(),
        endpoint_id: endpoint.map(|id| id.to_string()).unwrap_or_default(),
        endpoint_name: endpoint.map(|id| endpoint_label(routes, id)).unwrap_or_default(),
        due_at: timestamp(row.due_at).into(),
        recurrence: row.recurrence.as_str().to_owned(),
        status: status(row.status).to_owned(),
        delivery_id: delivery.map(|id| id.to_string()).unwrap_or_default(),
        payload: beginning(&row.payload),
        payload_bytes: long(row.payload.len()),
        created_at: timestamp(row.created_at).into(),
    }
}

fn subscription_id(text: &str) -> Result<SubscriptionId, Problem> {
    id(text, "subscription_id", "subscription", SubscriptionId::parse)
}

/// What a request wants scheduled, but for its subscription, checked: the payload, of so many bytes at the most, when it is due, and how often it comes
/// again.
fn read(request: v1::CreateScheduledRequest, now: Timestamp, most: usize) -> Result<(Bytes, Timestamp, Recurrence), Problem> {
    if request.payload.is_empty() {
        return Err(Problem::bad_request("payload is required"));
    }
    if request.payload.len() > most {
        return Err(Problem::bad_request(format!("payload is larger than {most} bytes: send a reference to what is large")));
    }
    json::check(request.payload.as_bytes()).map_err(|problem| Problem::bad_request(problem.message.replacen("the body", "payload", 1)))?;
    let due_at = bound(request.due_at.as_option(), "due_at")?.ok_or_else(|| Problem::bad_request("due_at is required"))?;
    if due_at <= now {
        return Err(Problem::bad_request(format!("due_at must be in the future; it is {} now", now.rfc3339(0))));
    }
    let recurrence = match request.recurrence.as_str() {
        "" => Recurrence::None,
        word => Recurrence::parse(word).ok_or_else(|| {
            let known = Recurrence::ALL.map(Recurrence::as_str).join(", ");
            Problem::bad_request(format!("recurrence must be one of {known}, not {:?}", clip(word)))
        })?,
    };
    Ok((Bytes::from(request.payload), due_at, recurrence))
}

impl Schedules {
    async fn create(&self, access: &Access, request: v1::CreateScheduledRequest) -> Result<v1::Scheduled, Problem> {
        let (app, id) = (&self.app, subscription_id(&request.subscription_id)?);
        let found = app.engine.routes().subscription(id).filter(|subscription| access.sees(&subscription.namespace)).cloned();
        let subscription = found.ok_or_else(|| Problem::not_found("there is no subscription with this ID"))?;
        let (payload, due_at, recurrence) = read(request, app.engine.now(), app.bodies.limit())?;
        let row = row(app, &subscription, payload, (due_at, recurrence));
        let shown = made(&app.engine.routes(), &row);
        app.engine.schedule(row).await?;
        Ok(shown)
    }

    async fn cancel(&self, access: &Access, request: &v1::CancelScheduledRequest) -> Result<(), Problem> {
        let missing = || Problem::not_found("there is no scheduled webhook with this ID");
        let id = id(&request.scheduled_id, "scheduled_id", "scheduled webhook", ScheduledId::parse)?;
        let row = self.one(access, id).await?.ok_or_else(missing)?;
        if row.status == ScheduledStatus::Pending && self.app.engine.unschedule(id, true).await? {
            return Ok(());
        }
        // It may have fired since it was read: its series goes on then.
        match self.one(access, id).await?.ok_or_else(missing)?.status {
            ScheduledStatus::Completed(_) => Err(failed_precondition("this scheduled webhook was delivered already")),
            ScheduledStatus::Failed => {
                Err(failed_precondition("this scheduled webhook has failed: its subscription was gone when it was due"))
            }
            ScheduledStatus::Pending => Err(Problem::unavailable("this scheduled webhook is being changed: try again in a moment")),
        }
    }

    /// A scheduled webhook that the caller sees.
    async fn one(&self, access: &Access, id: ScheduledId) -> Result<Option<Scheduled>, Problem> {
        let found = self.app.engine.store().scheduled_one(id).await.map_err(Problem::of_read)?;
        Ok(found.filter(|row| access.sees(&row.namespace)))
    }
}

impl ScheduleService for Schedules {
    async fn list_scheduled(&self, context: RequestContext, request: v1::ListScheduledRequest) -> Answer<v1::ListScheduledResponse> {
        let scope = Scope::of(access(&context)?, &request.namespace)?;
        let part = (page::size(request.page_size), page::after::<ScheduledPlace>(&request.page_token)?);
        let status = request.status.as_str();
        if !status.is_empty() && !STATUSES.contains(&status) {
            let message = format!("status must be one of {}, not {:?}", STATUSES.join(", "), clip(status));
            return Err(Problem::bad_request(message).into());
        }
        let subscription = match request.subscription_id.as_str() {
            "" => None,
            text => Some(subscription_id(text)?),
        };
        let Some(namespace) = scope.narrowed() else { return Ok(v1::ListScheduledResponse::default()) };
        let (scheduled, next) = page_of(&self.app, &Wanted { namespace, subscription, status }, part).await?;
        Ok(v1::ListScheduledResponse { scheduled, next_page_token: page::next(next) })
    }

    async fn create_scheduled(&self, context: RequestContext, request: v1::CreateScheduledRequest) -> Answer<v1::CreateScheduledResponse> {
        let scheduled = self.create(access(&context)?, request).await?;
        Ok(v1::CreateScheduledResponse { scheduled: scheduled.into() })
    }

    async fn cancel_scheduled(&self, context: RequestContext, request: v1::CancelScheduledRequest) -> Answer<v1::CancelScheduledResponse> {
        self.cancel(access(&context)?, &request).await?;
        Ok(v1::CancelScheduledResponse::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_proto::Timestamp as Sent;

    #[test]
    fn what_is_scheduled_is_checked() {
        let now = Timestamp::from_secs(1_700_000_000);
        let request = |payload: &str, due: Option<i64>, recurrence: &str| v1::CreateScheduledRequest {
            subscription_id: String::from("0196c0de-0000-7000-8000-000000000000"),
            payload: payload.to_owned(),
            due_at: due.map(|secs| Sent::from_unix(secs, 0)).into(),
            recurrence: recurrence.to_owned(),
        };
        let due = Some(1_700_000_001);
        let (payload, at, recurrence) = read(request("{\"a\":  1}", due, "weekly"), now, 9).expect("a right one");
        assert_eq!((&payload[..], at.as_secs(), recurrence), (&b"{\"a\":  1}"[..], 1_700_000_001, Recurrence::Weekly), "byte for byte");
        assert_eq!(read(request("1", due, ""), now, 9).expect("a right one").2, Recurrence::None);
        for (payload, due, recurrence, part) in [
            ("", due, "", "payload is required"),
            ("{", due, "", "payload is not valid JSON"),
            ("\"12345678\"", due, "", "payload is larger than 9 bytes"),
            ("1", None, "", "due_at is required"),
            ("1", Some(1_700_000_000), "", "due_at must be in the future"),
            ("1", due, "hourly", "none, daily, weekly, monthly, not \"hourly\""),
        ] {
            let refused = read(request(payload, due, recurrence), now, 9).expect_err(part);
            assert!(refused.status == 400 && refused.message.contains(part), "{}", refused.message);
        }
    }

    #[test]
    fn a_list_of_one_status_begins_and_ends_where_that_does() {
        let wanted = |status| Wanted { namespace: None, subscription: None, status };
        let place = |ended| ScheduledPlace { ended, due_at: Timestamp::from_secs(1), id: ScheduledId::new(Uuid::nil()) };
        for status in ["completed", "failed"] {
            assert!(wanted(status).begin().is_some_and(|begin| begin < place(true) && place(false) < begin));
        }
        assert!(wanted("").begin().is_none() && wanted("pending").begin().is_none());
        assert_eq!(["pending", "completed", ""].map(|status| wanted(status).ends_at(&place(true))), [true, false, false]);
        assert!(!wanted("pending").ends_at(&place(false)));
    }
}
