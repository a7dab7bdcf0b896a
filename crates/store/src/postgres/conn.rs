//! A connection: statements are prepared once for each, and run by their text.

use super::error::Result;
use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage};

/// What a statement is run with: `$1` and so on.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection out of a pool. Statements that are polled together travel together, and are done in the order in which they were polled first.
pub(super) struct Conn(Object);

impl Conn {
    pub(super) fn new(object: Object) -> Self {
        Conn(object)
    }

    /// Prepares these, unless they are. Statements that are polled together are sent in their order only if none of them has to be prepared first.
    pub(super) async fn ready(&self, statements: &[&str]) -> Result<()> {
        for sql in statements {
            self.0.prepare_cached(sql).await?;
        }
        Ok(())
    }

    /// All rows.
    pub(super) async fn rows(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        let statement = self.0.prepare_cached(sql).await?;
        Ok(self.0.query(&statement, params).await?)
    }

    /// The row, if there is one; more than one is a fault of the statement.
    pub(super) async fn row(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>> {
        let statement = self.0.prepare_cached(sql).await?;
        Ok(self.0.query_opt(&statement, params).await?)
    }

    /// The row that there must be.
    pub(super) async fn only(&self, sql: &str, params: Params<'_>) -> Result<Row> {
        let statement = self.0.prepare_cached(sql).await?;
        Ok(self.0.query_one(&statement, params).await?)
    }

    /// How many rows were written.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        let statement = self.0.prepare_cached(sql).await?;
        Ok(self.0.execute(&statement, params).await?)
    }

    /// The same of a statement that is not run again, such as one with the name of a partition: it is not kept.
    pub(super) async fn row_once(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>> {
        Ok(self.0.query_opt(sql, params).await?)
    }

    /// How many rows were written by a statement that is not run again.
    pub(super) async fn execute_once(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        Ok(self.0.execute(sql, params).await?)
    }

    /// Several statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.0.batch_execute(sql).await?)
    }

    /// Several statements without parameters, and what they say.
    pub(super) async fn simple(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>> {
        Ok(self.0.simple_query(sql).await?)
    }

    /// Whether nothing more can be done with it.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Ends the connection: the server undoes what it had begun.
    pub(super) fn discard(self) {
        drop(Object::take(self.0));
    }
}
