//! An event published.

use super::super::access::{failed_precondition, own_namespace};
use super::types;
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::items::events::check_metadata;
use bytes::Bytes;
use postrider_core::event::MAX_NAME_BYTES;
use postrider_core::filter::check_labels;
use postrider_engine::{Checked, Publish, To};
use postrider_proto::webhook as w;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time to live, in seconds: a hundred years, beyond which times cannot be shown any more one day.
const MAX_TTL_SECONDS: u64 = 100 * 366 * 86_400;

pub(super) async fn push(app: &App, access: &Access, request: w::PushEventRequest) -> Result<w::PushEventResponse, Problem> {
    let namespace = own_namespace(access, &request.namespace)?;
    types::published_name(&request.event, "event")?;
    let key = key(request.id)?;
    let ttl = ttl(request.ttl_seconds)?;
    let labels: BTreeMap<String, String> = request.labels.into_iter().collect();
    check_labels(&labels).map_err(|rule| Problem::bad_request(format!("labels: {rule}")))?;
    let metadata: BTreeMap<String, String> = request.metadata.into_iter().collect();
    check_metadata(&metadata).map_err(|rule| Problem::bad_request(format!("metadata: {rule}")))?;
    // The client's own bytes: nothing of them is read and written anew.
    let payload = request.payload.as_option().map_or_else(|| Bytes::from_static(b"{}"), |payload| payload.json().clone());
    let checked = match types::known(app, &namespace, &request.event).await? {
        Some(known) if !known.active => return Err(failed_precondition(format!("the event type {:?} is not active", request.event))),
        Some(known) => app.engine.check(&namespace, &known, &payload).await,
        None => Checked::default(),
    };
    let publish = Publish {
        namespace,
        event_type: request.event.into(),
        payload,
        labels,
        metadata,
        idempotency_key: key,
        ttl,
        schema_check: checked.check,
        to: To::Matching,
    };
    let receipt = app.engine.publish(publish).await?;
    // Of what was not stored nothing is told.
    let warnings = if receipt.duplicate { Vec::new() } else { checked.warnings };
    Ok(w::PushEventResponse { event_id: receipt.id.to_string(), warnings, duplicate: receipt.duplicate })
}

fn key(sent: Option<String>) -> Result<Option<String>, Problem> {
    match &sent {
        Some(key) if key.is_empty() || key.len() > MAX_NAME_BYTES => {
            Err(Problem::bad_request(format!("id: an idempotency key has 1 to {MAX_NAME_BYTES} bytes")))
        }
        _ => Ok(sent),
    }
}

/// Zero and below is without an end.
fn ttl(seconds: i64) -> Result<Option<Duration>, Problem> {
    match u64::try_from(seconds) {
        Ok(0) | Err(_) => Ok(None),
        Ok(seconds) if seconds > MAX_TTL_SECONDS => Err(Problem::bad_request(format!("ttl_seconds: at most {MAX_TTL_SECONDS}"))),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_in_seconds_and_none_below_one() {
        let longest = i64::try_from(MAX_TTL_SECONDS).expect("it fits");
        assert_eq!([i64::MIN, -1, 0].map(ttl), [Ok(None), Ok(None), Ok(None)]);
        assert_eq!(ttl(1), Ok(Some(Duration::from_secs(1))));
        assert_eq!(ttl(longest), Ok(Some(Duration::from_secs(MAX_TTL_SECONDS))));
        assert_eq!([longest + 1, i64::MAX].map(|n| ttl(n).map_err(|problem| problem.status.as_u16())), [Err(400), Err(400)]);
    }

    #[test]
    fn a_key_that_is_sent_is_a_key() {
        let status = |key: &str| self::key(Some(key.to_owned())).map_err(|problem| problem.status.as_u16());
        assert_eq!((key(None), status("k"), status("")), (Ok(None), Ok(Some(String::from("k"))), Err(400)));
        let longest = "k".repeat(MAX_NAME_BYTES);
        assert_eq!((status(&longest), status(&format!("{longest}k"))), (Ok(Some(longest.clone())), Err(400)));
    }
}
