//! Filters of every kind, on what there is and on what there is not.

use super::build::{Builder, namespace};
use crate::memory::Dump;
use postrider_core::delivery::StateKind;
use postrider_core::error::{Category, ErrorCode};
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::time::Duration;

impl Builder {
    fn ago(&self, secs: u64) -> Option<Timestamp> {
        Some(self.now().before(Duration::from_secs(secs)))
    }

    pub fn attempt_filters(&self, dump: &Dump) -> Vec<AttemptFilter> {
        let outcomes = [
            OutcomeFilter::Any,
            OutcomeFilter::UnderWay,
            OutcomeFilter::Succeeded,
            OutcomeFilter::Failed,
            OutcomeFilter::Code(ErrorCode::DeliveryTimeout),
        ];
        let mut filters = Vec::new();
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let route = self.routes[n % self.routes.len()];
            let any = AttemptFilter { outcome, ..AttemptFilter::default() };
            filters.extend(self.namespaces().map(|namespace| AttemptFilter { namespace, ..any.clone() }));
            let subscription = AttemptFilter { subscription: Some(route.subscription), ..any.clone() };
            let endpoint = AttemptFilter { endpoint: Some(route.endpoint), ..any.clone() };
            filters.push(AttemptFilter { namespace: Some(namespace(1)), began_before: self.ago(10), ..subscription.clone() });
            filters.push(AttemptFilter { namespace: Some(namespace(0)), began_from: self.ago(20), ..endpoint.clone() });
            filters.push(AttemptFilter { endpoint: endpoint.endpoint, ..subscription.clone() });
            filters.push(AttemptFilter { event: dump.events.get(n).map(|event| event.seq), ..endpoint.clone() });
            filters.push(AttemptFilter { began_from: self.ago(30), began_before: self.ago(5), ..any });
            filters.extend([subscription, endpoint]);
        }
        filters
    }

    pub fn delivery_filters(&self, dump: &Dump) -> Vec<DeliveryFilter> {
        use StateKind::*;
        let states: [&[StateKind]; 7] =
            [&[], &[Pending], &[Sending, Retrying], &[Succeeded], &[Failed, Expired], &[Pending, Cancelled], &[Retrying, Succeeded]];
        let categories = [None, Some(Category::ServerError), Some(Category::Timeout), Some(Category::Unknown), Some(Category::Success)];
        let mut filters = Vec::new();
        for (n, states) in states.into_iter().enumerate() {
            let route = self.routes[n % self.routes.len()];
            let category = categories[n % categories.len()];
            let any = DeliveryFilter { states: states.iter().copied().collect(), ..DeliveryFilter::default() };
            filters.extend(self.namespaces().map(|namespace| DeliveryFilter { namespace, ..any.clone() }));
            let subscription = DeliveryFilter { subscription: Some(route.subscription), ..any.clone() };
            let endpoint = DeliveryFilter { endpoint: Some(route.endpoint), ..any.clone() };
            filters.push(DeliveryFilter { namespace: Some(namespace(1)), created_before: self.ago(10), ..subscription.clone() });
            filters.push(DeliveryFilter { namespace: Some(namespace(0)), created_from: self.ago(20), ..endpoint.clone() });
            filters.push(DeliveryFilter { endpoint: endpoint.endpoint, category, ..subscription.clone() });
            filters.push(DeliveryFilter { event: dump.events.get(n).map(|event| event.seq), ..endpoint.clone() });
            filters.push(DeliveryFilter { created_from: self.ago(30), created_before: self.ago(5), category, ..any.clone() });
            filters.push(DeliveryFilter { category: categories[(n + 1) % categories.len()], ..DeliveryFilter::default() });
            let code = [ErrorCode::ConnectionRefused, ErrorCode::Expired, ErrorCode::CancelledByHand].get(n).copied();
            filters.push(DeliveryFilter { code, endpoint: Some(route.endpoint), ..DeliveryFilter::default() });
            filters.push(DeliveryFilter { created_from: self.ago(25), ..any });
            filters.extend([subscription, endpoint]);
        }
        filters
    }

    pub fn event_filters(&self) -> Vec<EventFilter> {
        let mut filters = Vec::new();
        for namespace in self.namespaces() {
            let all = EventFilter { namespace, ..EventFilter::default() };
            filters.push(EventFilter { event_type: Some("order.deleted".to_owned()), ..all.clone() });
            filters.push(EventFilter { created_from: self.ago(20), ..all.clone() });
            let one = EventFilter { labels: [("n".to_owned(), "2".to_owned())].into(), ..all.clone() };
            let two = EventFilter { labels: [("n".to_owned(), "3".to_owned()), ("half".to_owned(), "0".to_owned())].into(), ..all.clone() };
            let valid = EventFilter { schema_valid: Some(true), ..all.clone() };
            let invalid = EventFilter { schema_valid: Some(false), ..all.clone() };
            filters.push(EventFilter { event_type: Some("order.deleted".to_owned()), schema_valid: Some(true), ..one.clone() });
            filters.push(EventFilter { event_type: Some("order.created".to_owned()), ..valid.clone() });
            filters.push(EventFilter { created_before: self.ago(10), ..invalid.clone() });
            filters.push(EventFilter { created_from: self.ago(25), ..valid.clone() });
            filters.push(EventFilter { created_from: self.ago(25), schema_valid: Some(false), ..two.clone() });
            filters.extend([one, two, valid, invalid]);
            filters.push(EventFilter { created_before: self.ago(10), ..all.clone() });
            filters.push(all);
        }
        filters
    }

    pub fn dead_letter_filters(&self) -> Vec<DeadLetterFilter> {
        let mut filters = Vec::new();
        for (namespace, route) in self.namespaces().into_iter().zip(&self.routes) {
            let all = DeadLetterFilter { namespace, ..DeadLetterFilter::default() };
            filters.push(DeadLetterFilter { subscription: Some(route.subscription), ..all.clone() });
            filters.push(DeadLetterFilter { endpoint: Some(route.endpoint), ..all.clone() });
            filters.push(DeadLetterFilter { code: Some(ErrorCode::Connector5xx), ..all.clone() });
            filters.push(DeadLetterFilter { failed_from: self.ago(20), ..all.clone() });
            filters.push(DeadLetterFilter { failed_before: self.ago(10), ..all.clone() });
            filters.push(all);
        }
        filters
    }
}
