//! `GET /healthz`.

use crate::http::{App, json_bytes};
use crate::observe::Sparingly;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use postrider_core::ports::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long the store may take to show that it lives.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer is good for: anybody may ask, and finding out costs a write to the disk.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What the health check found last, and when. Whoever asks while somebody finds out waits for that answer.
#[derive(Debug, Default)]
pub struct Health(Mutex<Option<(Instant, bool)>>);

impl Health {
    pub(crate) async fn is_good(&self, store: &dyn Store) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, good)) = *last
            && at.elapsed() < GOOD_FOR
        {
            return good;
        }
        let good = match tokio::time::timeout(PATIENCE, store.health()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => unhealthy(&error.cause),
            Err(_) => unhealthy("the store did not answer in time"),
        };
        *last = Some((Instant::now(), good));
        good
    }
}

/// 200 if the store reads and writes, else 503. It needs no key: load balancers have none.
pub(super) async fn healthz(State(app): State<Arc<App>>) -> Response {
    if app.is_healthy().await {
        return json_bytes(StatusCode::OK, br#"{"status":"healthy"}"#.to_vec());
    }
    json_bytes(StatusCode::SERVICE_UNAVAILABLE, br#"{"status":"unhealthy"}"#.to_vec())
}

fn unhealthy(cause: &str) -> bool {
    static SPARINGLY: Sparingly = Sparingly::new();
    if let Some(left_out) = SPARINGLY.now() {
        tracing::warn!(cause, left_out, "the health check failed");
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_store::{SqliteOptions, SqliteStore};

    #[tokio::test(start_paused = true)]
    async fn finding_out_is_done_once_for_all_who_ask_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(SqliteOptions::new(directory.path())).expect("a store");
        // Time stands: the runtime lets none pass while blocking work is under way.
        let (_held, gone) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || gone.recv());
        let health = Health::default();
        let answers = futures_util::future::join_all((0..50).map(|_| health.is_good(&store))).await;
        assert!(answers.iter().all(|good| *good));
        assert_eq!(store.commits(), 1);
        store.close();
        assert!(health.is_good(&store).await, "the answer is good for a moment");
        tokio::time::advance(GOOD_FOR).await;
        assert!(!health.is_good(&store).await);
    }
}
