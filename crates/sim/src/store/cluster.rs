//! What several engines ask of the store, with faults; a store that is one engine's has nothing of it.

use super::{Answer, FaultyStore};
use crate::Sabotage;
use postrider_core::id::EndpointId;
use postrider_core::ports::*;

/// How many of a hundred answers are lost on their way back, of verbs that may be asked again whatever became of them.
const LOST: u8 = 5;

/// Which troubles of the store a verb meets. What is told does not last: it is none of those that a full disk stops.
const READ: bool = false;
const WRITE: bool = true;

impl FaultyStore {
    /// The same as any verb; but sometimes it is done, and nobody gets to know.
    fn unsure<T: Send + 'static>(
        &self,
        verb: &'static str,
        act: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> BoxFuture<'_, Answer<T>> {
        let process = self.process.clone();
        self.run(verb, WRITE, async move {
            let answer = act.await?;
            // In a calm world nothing gets lost.
            if process.has_troubles() && process.state().rng.u8(..100) < LOST {
                process.note(format_args!("the answer of {verb} is lost"));
                return Err(StoreError { kind: StoreErrorKind::Unavailable, cause: "simulated".to_owned() });
            }
            Ok(answer)
        })
    }
}

impl ClusterStore for FaultyStore {
    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn may_act(&self) -> bool {
        self.process.may_act() && self.inner.may_act()
    }

    fn survey(&self, known: SlotSet) -> BoxFuture<'_, Answer<Survey>> {
        let inner = self.inner.clone();
        let forgets = self.sabotaged(Sabotage::ForgetsHandovers);
        self.unsure("survey", async move {
            let mut survey = inner.survey(known).await?;
            if forgets {
                survey.busy.clear();
                survey.taken.iter_mut().for_each(|taken| taken.limiters = Limiters::Full);
            }
            Ok(survey)
        })
    }

    fn leave_slots(&self, leaving: Leaving) -> BoxFuture<'_, Answer<()>> {
        let inner = self.inner.clone();
        self.unsure("leave_slots", async move { inner.leave_slots(leaving).await })
    }

    fn free(&self, endpoints: Vec<EndpointId>) -> BoxFuture<'_, Answer<()>> {
        let inner = self.inner.clone();
        self.unsure("free", async move { inner.free(endpoints).await })
    }

    fn news(&self) -> BoxFuture<'_, News> {
        Box::pin(async move {
            loop {
                let news = self.inner.news().await;
                self.process.step().await;
                let lost = self.process.plan.cluster.as_ref().map_or(0, |cluster| cluster.lost_news);
                if !self.process.is_away() && self.process.state().rng.u8(..100) >= lost {
                    return news;
                }
            }
        })
    }

    fn tell(&self, news: Vec<News>) -> BoxFuture<'_, Answer<()>> {
        let inner = self.inner.clone();
        self.run("tell", READ, async move { inner.tell(news).await })
    }

    fn backlog_after(&self, after: Option<EndpointId>, limit: u32) -> BoxFuture<'_, Answer<Vec<Backlog>>> {
        let inner = self.inner.clone();
        self.run("backlog_after", READ, async move { inner.backlog_after(after, limit).await })
    }
}
