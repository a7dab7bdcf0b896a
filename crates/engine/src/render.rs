//! The body of an attempt. What takes its time is made beside the runtime's threads, few at a time.

use crate::job::Job;
use crate::kept::Kept;
use crate::route::Route;
use bytes::Bytes;
use postrider_core::body::{self, BodyForm, EnvelopeHead, RpcHead, Unrenderable, rpc_envelope};
use postrider_core::event::Event;
use postrider_core::template::{Source, Template};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Renderings that take more than a moment, at a time, whoever they are for: each keeps a processor busy for up to some tenths of a second, and
/// may hold some dozens of MiB meanwhile.
const PLACES: usize = 2;

/// Most memory that parsed templates may take together, in bytes, by [`Template::memory`]: some hundreds of usual ones, and seven of the longest.
/// What has no room is parsed again when it is used again, which takes a millisecond at the most.
const MAX_PARSED_BYTES: usize = 64 << 20;

/// The places for such renderings, and the templates that were used last.
pub(crate) struct Renders {
    places: Arc<Semaphore>,
    parsed: Kept<Template>,
}

impl Renders {
    pub(crate) fn new() -> Self {
        Renders { places: Arc::new(Semaphore::new(PLACES)), parsed: Kept::new(MAX_PARSED_BYTES) }
    }

    fn template(&self, source: &Source) -> Result<Template, Unrenderable> {
        self.parsed.get(source.text(), || source.template(), Template::memory).map_err(Unrenderable::Template)
    }

    /// Does what takes its time, once there is a place for it.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // It is never closed. The work keeps its place to its end, though nobody may wait for it any more.
        let place = Arc::clone(&self.places).acquire_owned().await;
        let working = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        match working.await {
            Ok(done) => done,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime goes down, and whoever waits with it.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Makes the body of an attempt at a delivery.
pub(crate) async fn body(
    renders: &Renders,
    route: &Route,
    job: &Job,
    idempotency_key: &str,
    delivered_at: Timestamp,
) -> Result<Bytes, Unrenderable> {
    let (event, attempt) = (&job.event, number(job));
    match &route.subscription.body {
        BodyForm::Raw if event.payload.len() > route.cap => Err(Unrenderable::TooLarge { limit: route.cap }),
        BodyForm::Raw => Ok(event.payload.clone()),
        BodyForm::Items(form) => {
            let binding = route.subscription.id;
            let head = EnvelopeHead { event_type: &event.event_type, event: event.seq, binding, idempotency_key, attempt, delivered_at };
            form.render(&head, &event.payload, route.cap)
        }
        BodyForm::Template(form) if form.enabled => by_template(renders, &form.source, event, (attempt, delivered_at), route.cap).await,
        BodyForm::Rpc | BodyForm::Template(_) => rpc_envelope(&head(event, (attempt, delivered_at)), &event.payload, route.cap),
    }
}

/// What a template makes of an event.
pub(crate) async fn by_template(
    renders: &Renders,
    source: &Source,
    event: &Arc<Event>,
    attempt: (u32, Timestamp),
    cap: usize,
) -> Result<Bytes, Unrenderable> {
    let template = renders.template(source)?;
    if let Some(made) = body::by_template_briefly(&template, &head(event, attempt), &event.payload, cap) {
        return made;
    }
    let event = Arc::clone(event);
    renders.aside(move || body::by_template(&template, &head(&event, attempt), &event.payload, cap)).await
}

fn head(event: &Event, (attempt, at): (u32, Timestamp)) -> RpcHead<'_> {
    RpcHead { event: event.id, event_type: &event.event_type, at, attempt }
}

/// The number of the attempt that is being made.
pub(crate) fn number(job: &Job) -> u32 {
    job.delivery.progress.attempts.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_templates_take_bounded_memory() {
        let renders = Renders::new();
        let source = |n: usize| Source::parse(&format!("{}{n:05}", "{{.}}".repeat(13_000))).expect("a template");
        for n in [0, 0, 1, 0] {
            renders.template(&source(n)).expect("a template");
        }
        assert_eq!(renders.parsed.size().0, 2, "one that is the same is kept once");
        for n in 0..30 {
            renders.template(&source(n)).expect("a template");
        }
        let (count, bytes) = renders.parsed.size();
        assert!((5..10).contains(&count) && bytes <= MAX_PARSED_BYTES, "{count} {bytes}");
    }
}
