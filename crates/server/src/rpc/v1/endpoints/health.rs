//! How an endpoint does, in words: by the thresholds of [`postrider_core::health`].

use crate::http::json::clip;
use crate::rpc::v1::summary::health_reasons;
use postrider_core::health::{DEGRADED_IN_A_ROW, Health, HealthTally};
use postrider_core::ports::AttemptRow;
use postrider_core::time::Timestamp;

/// The word for a health; without results of the last day it is `idle`.
pub(super) fn word(health: Health) -> &'static str {
    match health {
        Health::Unknown => "idle",
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Unhealthy => "unhealthy",
    }
}

/// The health of that word.
pub(super) fn of_word(text: &str) -> Option<Health> {
    Health::ALL.into_iter().find(|health| word(*health) == text)
}

/// Whether the failures in a row alone make it worse than healthy, so that a reason names the last one.
pub(super) fn names_last(tally: &HealthTally) -> bool {
    tally.failures_in_a_row() >= DEGRADED_IN_A_ROW
}

/// Why the health is what it is, a sentence each. `last` is the endpoint's latest attempt, which is wanted where [`names_last`] says so.
pub(super) fn reasons(tally: &HealthTally, last: Option<&AttemptRow>, now: Timestamp) -> Vec<String> {
    let mut reasons = health_reasons(tally, now);
    let error = last.and_then(|row| row.end.as_ref()?.error.as_ref());
    // The first one is of the failures in a row.
    if let (true, Some(error), Some(first)) = (names_last(tally), error, reasons.first_mut()) {
        first.push_str(&format!(" with {}", clip(&error.message)));
    }
    if tally.window().deliveries().rate().is_none() {
        reasons.push(String::from("nothing was delivered to it in the last 24 hours"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::attempt::{AttemptError, Phases};
    use postrider_core::error::ErrorCode;
    use postrider_core::event::Namespace;
    use postrider_core::health::{FailureKind, Observation};
    use postrider_core::id::{AttemptId, DeliveryId, EndpointId, EventSeq, SubscriptionId};
    use postrider_core::ports::AttemptEnd;
    use uuid::Uuid;

    const AT: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn tally(results: &[bool]) -> HealthTally {
        let mut tally = HealthTally::default();
        for succeeded in results {
            let failure = (!succeeded).then_some(FailureKind::Network);
            tally.observe(&Observation { at: AT, failure, response_us: None, earlier: None });
        }
        tally
    }

    fn refused() -> AttemptRow {
        let error = AttemptError { code: ErrorCode::ConnectionRefused, message: String::from("connection refused") };
        AttemptRow {
            id: AttemptId::new(Uuid::nil()),
            namespace: Namespace::default_namespace(),
            event: EventSeq(1),
            delivery: DeliveryId::new(Uuid::nil()),
            subscription: SubscriptionId::new(Uuid::nil()),
            endpoint: EndpointId::new(Uuid::nil()),
            number: 1,
            target_url: "https://a.test/".into(),
            started_at: AT,
            end: Some(AttemptEnd { finished_at: AT, http_status: None, error: Some(error), phases: Phases::default() }),
        }
    }

    #[test]
    fn every_health_has_its_word() {
        assert_eq!(Health::ALL.map(word), ["idle", "healthy", "degraded", "unhealthy"]);
        assert_eq!(Health::ALL.map(|health| of_word(word(health))), Health::ALL.map(Some));
        assert_eq!(of_word("ill"), None);
    }

    #[test]
    fn reasons_name_the_last_failure_where_failures_follow_each_other() {
        let (last, now) = (refused(), AT.after(std::time::Duration::from_secs(180)));
        assert_eq!(reasons(&HealthTally::default(), Some(&last), now), ["nothing was delivered to it in the last 24 hours"]);
        assert_eq!(reasons(&tally(&[true, false, false]), Some(&last), now).len(), 1);
        let failing = reasons(&tally(&[true, false, false, false]), Some(&last), now);
        assert_eq!(failing.len(), 2);
        assert!(
            failing[0].starts_with("3 attempts in a row failed") && failing[0].ends_with("3 min ago with connection refused"),
            "{failing:?}"
        );
    }
}
