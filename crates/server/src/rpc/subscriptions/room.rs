//! How many subscriptions there may be, and how long their templates together: all of them are in memory.

use crate::http::Problem;
use http::StatusCode;
use postrider_core::body::BodyForm;
use postrider_core::id::SubscriptionId;
use postrider_core::subscription::{Origin, Subscription};
use postrider_engine::Routes;
use std::collections::HashSet;

/// Most subscriptions of one webhook that were made over the RPC API. Each one that matches is a delivery of its own.
const MAX_OF_WEBHOOK: usize = 1_000;

/// Most subscriptions of one namespace that were made over the RPC API: every event is matched against them.
const MAX_OF_NAMESPACE: usize = 10_000;

/// What the templates of one namespace may have together, in bytes: 256 of the longest.
const MAX_TEMPLATE_BYTES: usize = 16 << 20;

/// What counts against the limits of a subscription's webhook and namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    of_webhook: usize,
    of_namespace: usize,
    template_bytes: usize,
}

impl Sums {
    fn of<'s>(all: impl Iterator<Item = &'s Subscription>, like: &Subscription) -> Self {
        let mut sums = Sums::default();
        for subscription in all.filter(|subscription| is_counted(subscription, like)) {
            sums.of_namespace += 1;
            sums.of_webhook += usize::from(subscription.endpoint == like.endpoint);
            if let BodyForm::Template(form) = &subscription.body {
                sums.template_bytes += form.source.as_str().len();
            }
        }
        sums
    }

    /// Refuses what grows beyond a limit. What is beyond it may still be changed and taken away.
    fn grown(self, before: Sums) -> Result<(), Problem> {
        let limits = [
            (before.of_webhook, self.of_webhook, MAX_OF_WEBHOOK, "subscriptions of the webhook"),
            (before.of_namespace, self.of_namespace, MAX_OF_NAMESPACE, "subscriptions of the namespace"),
            (before.template_bytes, self.template_bytes, MAX_TEMPLATE_BYTES, "bytes in the templates of the namespace"),
        ];
        match limits.into_iter().find(|(before, after, most, _)| after > most && after > before) {
            Some((_, after, most, what)) => {
                let message = format!("that would be {after} {what}, and {most} is the most: delete some");
                Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "too_many_subscriptions", message))
            }
            None => Ok(()),
        }
    }
}

/// Those of other APIs have nothing to do with the limits of this one.
fn is_counted(subscription: &Subscription, like: &Subscription) -> bool {
    subscription.origin == Origin::Rpc && subscription.namespace == like.namespace && subscription.deleted_at.is_none()
}

/// Whether there is room for these subscriptions of one webhook, new ones or changed ones; what is deleted takes none.
pub(in crate::rpc) fn check(routes: &Routes, changed: &[Subscription]) -> Result<(), Problem> {
    let Some(like) = changed.first() else { return Ok(()) };
    let ids: HashSet<SubscriptionId> = changed.iter().map(|subscription| subscription.id).collect();
    let now = || routes.subscriptions().map(|subscription| &**subscription);
    let others = now().filter(|subscription| !ids.contains(&subscription.id));
    Sums::of(others.chain(changed), like).grown(Sums::of(now(), like))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_beyond_a_limit_is_refused_and_nothing_else() {
        let sums = |of_webhook, of_namespace, template_bytes| Sums { of_webhook, of_namespace, template_bytes };
        let status = |before: Sums, after: Sums| after.grown(before).map_err(|problem| problem.status.as_u16());
        let full = sums(MAX_OF_WEBHOOK, MAX_OF_NAMESPACE, MAX_TEMPLATE_BYTES);
        assert_eq!((status(Sums::default(), full), status(full, full)), (Ok(()), Ok(())));
        for more in [
            Sums { of_webhook: full.of_webhook + 1, ..full },
            Sums { of_namespace: full.of_namespace + 1, ..full },
            Sums { template_bytes: full.template_bytes + 1, ..full },
        ] {
            assert_eq!(status(full, more), Err(507), "{more:?}");
            assert_eq!((status(more, more), status(more, full)), (Ok(()), Ok(())), "what is there stays and may shrink");
        }
    }
}
