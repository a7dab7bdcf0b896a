//! The body of an attempt. What takes its time is made beside the runtime's threads, few at a time.

use crate::job::Job;
use crate::route::Route;
use bytes::Bytes;
use postrider_core::body::{BodyForm, EnvelopeHead, RpcHead, TemplateBody, Unrenderable, rpc_envelope};
use postrider_core::event::Event;
use postrider_core::time::Timestamp;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Renderings that take more than a moment, at a time, whoever they are for: each keeps a processor busy for up to some tenths of a second, and
/// may hold some dozens of MiB meanwhile.
const PLACES: usize = 2;

/// The places for such renderings.
pub(crate) struct Renders(Arc<Semaphore>);

impl Renders {
    pub(crate) fn new() -> Self {
        Renders(Arc::new(Semaphore::new(PLACES)))
    }

    /// Does what takes its time, once there is a place for it.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // It is never closed. The work keeps its place to its end, though nobody may wait for it any more.
        let place = Arc::clone(&self.0).acquire_owned().await;
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
        BodyForm::Template(form) if form.enabled => by_template(renders, form, event, (attempt, delivered_at), route.cap).await,
        BodyForm::Rpc | BodyForm::Template(_) => rpc_envelope(&head(event, (attempt, delivered_at)), &event.payload, route.cap),
    }
}

/// What a template makes of an event.
pub(crate) async fn by_template(
    renders: &Renders,
    form: &TemplateBody,
    event: &Arc<Event>,
    attempt: (u32, Timestamp),
    cap: usize,
) -> Result<Bytes, Unrenderable> {
    if let Some(made) = form.render_briefly(&head(event, attempt), &event.payload, cap) {
        return made;
    }
    let (form, event) = (form.clone(), Arc::clone(event));
    renders.aside(move || form.render(&head(&event, attempt), &event.payload, cap)).await
}

fn head(event: &Event, (attempt, at): (u32, Timestamp)) -> RpcHead<'_> {
    RpcHead { event: event.id, event_type: &event.event_type, at, attempt }
}

/// The number of the attempt that is being made.
pub(crate) fn number(job: &Job) -> u32 {
    job.delivery.progress.attempts.saturating_add(1)
}
