//! What is done about a commit that nobody saw the end of.

use super::{LONGEST_PAUSE, PAUSE, Writers, ended};
use crate::postgres::error::{Error, Result};
use crate::postgres::marks::{Fate, Mark};
use std::time::Duration;
use tokio::time::Instant;

/// How long a commit that nobody waits for any more may go on before its process at the server is ended.
const PATIENCE_WITH_LOST: Duration = Duration::from_secs(1);

impl Writers {
    /// What became of a transaction whose COMMIT was lost with its connection: nothing is wrong if it holds, and `lost` says that it does not.
    /// Whoever stops waiting leaves its place to others.
    pub(super) async fn find_out(&self, mut mark: Mark<'_>, lost: Error) -> Result<()> {
        tracing::warn!(error = %lost, "a connection was lost in a commit; it is looked up what became of it");
        let since = Instant::now();
        let mut pause = PAUSE;
        loop {
            // Whoever has to look for longer asks for the end as well: the server may still wait for a client that is gone.
            match self.fate(&mark, since.elapsed() >= PATIENCE_WITH_LOST).await {
                Ok(Fate::Committed) => {
                    mark.has_ended();
                    return Ok(());
                }
                Ok(Fate::Undone) => {
                    mark.has_ended();
                    return Err(lost);
                }
                Ok(Fate::UnderWay) => {}
                Ok(Fate::Forgotten) => break,
                Err(error) => tracing::debug!(%error, "the server does not say what became of a commit"),
            }
            // One that was ended is not told anything any more.
            if self.standing.is_lost() || since.elapsed() + pause > self.doubt {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        tracing::error!(error = %lost, "nobody knows whether a transaction was committed; this node leaves");
        self.standing.lose();
        Err(Error::InDoubt(lost.to_string()))
    }

    async fn fate(&self, mark: &Mark<'_>, end_it: bool) -> Result<Fate> {
        let reading = self.pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended()) };
        let fate = self.pool.within(mark.fate(conn, end_it)).await;
        reading.end(fate)
    }
}
