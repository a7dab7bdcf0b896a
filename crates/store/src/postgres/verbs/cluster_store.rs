//! The verbs about what nodes do together.

use crate::postgres::*;
use postrider_core::id::EndpointId;

impl PgStore {
    /// Refuses if this node is about to leave, or others may have ended it.
    fn may_share(&self) -> Result<(), StoreError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(error::closed());
        }
        self.standing.may_write().map_err(Error::into_store)
    }
}

impl ClusterStore for PgStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn may_act(&self) -> bool {
        self.standing.may_act()
    }

    fn survey(&self, known: SlotSet) -> BoxFuture<'_, Result<Survey, StoreError>> {
        Box::pin(async move {
            self.may_share()?;
            let found = look!(self.sharing, conn => cluster::survey(conn, self.incarnation(), &known));
            if matches!(found, Err(Error::Lost)) {
                self.standing.lose();
            }
            found.map_err(Error::into_store)
        })
    }

    fn leave_slots(&self, leaving: Leaving) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.may_share()?;
            look!(self.sharing, conn => cluster::leave(conn, self.incarnation(), &leaving)).map_err(Error::into_store)
        })
    }

    fn free(&self, endpoints: Vec<EndpointId>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.may_share()?;
            look!(self.sharing, conn => cluster::free(conn, self.incarnation(), &endpoints)).map_err(Error::into_store)
        })
    }

    fn news(&self) -> BoxFuture<'_, News> {
        Box::pin(self.wire.next())
    }

    /// Answers before it is told: it goes on with whatever else comes.
    fn tell(&self, news: Vec<News>) -> BoxFuture<'_, Result<(), StoreError>> {
        news.into_iter().for_each(|news| self.wire.tell(news));
        Box::pin(std::future::ready(Ok(())))
    }

    fn backlog_after(&self, after: Option<EndpointId>, limit: u32) -> BoxFuture<'_, Result<Vec<Backlog>, StoreError>> {
        read!(self.own, conn => claim::backlog_after(conn, after, limit))
    }
}
