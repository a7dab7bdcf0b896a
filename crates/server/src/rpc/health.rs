//! `grpc.health.v1`: the same as `GET /healthz`, for gRPC clients and their load balancers.

use crate::http::App;
use connectrpc::ConnectError;
use connectrpc_health::{Checker, Status, StatusStream};
use futures_util::stream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How often a watched health is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// After how long it is told again although it has not changed: a client that is gone without a word is noticed when it is written to.
const AGAIN: Duration = Duration::from_secs(60);

/// Answers for the whole server, whose name is empty, and for each service that it has.
pub(super) struct Checks {
    app: Arc<App>,
    services: Vec<&'static str>,
}

impl Checks {
    pub(super) fn new(app: Arc<App>, services: &[&'static str]) -> Self {
        Checks { app, services: services.to_vec() }
    }

    fn known(&self, service: &str) -> Result<(), ConnectError> {
        if service.is_empty() || self.services.contains(&service) {
            return Ok(());
        }
        Err(ConnectError::not_found(format!("there is no service {}", crate::http::json::clip(service))))
    }
}

impl Checker for Checks {
    async fn check(&self, service: &str) -> Result<Status, ConnectError> {
        self.known(service)?;
        Ok(status(&self.app).await)
    }

    async fn watch(&self, service: &str) -> Result<StatusStream, ConnectError> {
        self.known(service)?;
        let app = Arc::clone(&self.app);
        let stopping = app.stopping.clone();
        Ok(changes(stopping, move || {
            let app = Arc::clone(&app);
            async move { status(&app).await }
        }))
    }
}

async fn status(app: &App) -> Status {
    if app.is_healthy().await { Status::Serving } else { Status::NotServing }
}

/// What `look` sees, at once and then whenever it changes. Ends when the server stops, after saying so.
fn changes<F, Fut>(stopping: watch::Receiver<bool>, look: F) -> StatusStream
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = Status> + Send + 'static,
{
    let begin = Some(Watcher { stopping, look, told: None });
    StatusStream::new(stream::unfold(begin, |watcher| async move {
        let mut watcher = watcher?;
        let status = watcher.next().await;
        Some(if watcher.is_stopping() { (Status::NotServing, None) } else { (status, Some(watcher)) })
    }))
}

struct Watcher<F> {
    stopping: watch::Receiver<bool>,
    look: F,
    /// What the client was told last, and when.
    told: Option<(Status, Instant)>,
}

impl<F, Fut> Watcher<F>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Status>,
{
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The next thing to tell; returns at once when the server stops.
    async fn next(&mut self) -> Status {
        loop {
            if let Some((status, _)) = self.told {
                tokio::select! {
                    () = sleep(EVERY) => {}
                    _ = self.stopping.wait_for(|stopping| *stopping) => return status,
                }
            }
            let status = (self.look)().await;
            if self.is_stopping() || self.told.is_none_or(|(told, at)| told != status || at.elapsed() >= AGAIN) {
                self.told = Some((status, Instant::now()));
                return status;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_watcher_hears_of_changes_and_of_the_end() {
        let (stop, stopping) = watch::channel(false);
        let good = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&good);
        let mut changes = changes(stopping, move || {
            let good = seen.load(Ordering::Relaxed);
            async move { if good { Status::Serving } else { Status::NotServing } }
        });
        let begun = Instant::now();
        assert_eq!(changes.next().await, Some(Status::Serving));
        assert_eq!(begun.elapsed().as_secs(), 0);
        good.store(false, Ordering::Relaxed);
        assert_eq!((changes.next().await, begun.elapsed().as_secs()), (Some(Status::NotServing), 5));
        // Nothing changes, so that it is told again to find out whether anybody listens.
        assert_eq!((changes.next().await, begun.elapsed().as_secs()), (Some(Status::NotServing), 65));
        good.store(true, Ordering::Relaxed);
        assert_eq!(changes.next().await, Some(Status::Serving));
        let waiting = tokio::spawn(async move { (changes.next().await, changes.next().await) });
        stop.send_replace(true);
        assert_eq!(waiting.await.expect("an answer"), (Some(Status::NotServing), None));
    }
}
