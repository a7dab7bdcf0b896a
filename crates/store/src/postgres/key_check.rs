//! Whether all nodes have the same keys of secrets: a value that the first one has sealed under its keys lies beside what they share, and whoever
//! cannot open it has other keys.

use super::conn::Conn;
use super::error::{Error, Result};
use super::rows::get;
use super::{PgAdmin, PgStore};
use postrider_core::ports::StoreError;
use postrider_core::seal::Sealed;

impl PgStore {
    /// Puts this there, unless there is one already; answers which one is there.
    pub async fn agree_on_keys(&self, ours: &Sealed) -> std::result::Result<Sealed, StoreError> {
        let agreed = transact!(self.writers.seat(), tx => agree(&tx.conn, ours));
        agreed.map_err(Error::into_store)
    }

    /// What the first node has put there, if any node has.
    pub async fn key_check(&self) -> std::result::Result<Option<Sealed>, StoreError> {
        look!(self.own, conn => read(conn)).map_err(Error::into_store)
    }
}

impl PgAdmin {
    /// What the first node has put there, if any node has.
    pub async fn key_check(&self) -> std::result::Result<Option<Sealed>, StoreError> {
        look!(self.pool, conn => read(conn)).map_err(Error::into_store)
    }

    /// Puts another one there in place of this one; answers whether it is there.
    pub async fn put_key_check(&self, before: Option<&Sealed>, after: &Sealed) -> std::result::Result<bool, StoreError> {
        look!(self.pool, conn => replace(conn, before, after)).map_err(Error::into_store)
    }
}

/// The one that is there.
pub(super) async fn read(conn: &Conn) -> Result<Option<Sealed>> {
    let row = conn.row("SELECT sealed FROM key_check WHERE one", &[]).await?;
    row.map(|row| get(&row, 0).map(Sealed::from_bytes)).transpose()
}

const INSERT: &str = "INSERT INTO key_check (sealed) VALUES ($1) ON CONFLICT (one) DO NOTHING";

async fn agree(conn: &Conn, ours: &Sealed) -> Result<Sealed> {
    // Of several at once the others wait until the first one has committed, and see it then.
    conn.execute(INSERT, &[&ours.as_bytes()]).await?;
    let row = conn.only("SELECT sealed FROM key_check WHERE one", &[]).await?;
    get(&row, 0).map(Sealed::from_bytes)
}

/// Asked again it finds what it has done.
async fn replace(conn: &Conn, before: Option<&Sealed>, after: &Sealed) -> Result<bool> {
    match before {
        None => conn.execute(INSERT, &[&after.as_bytes()]).await?,
        Some(before) => {
            conn.execute("UPDATE key_check SET sealed = $2 WHERE sealed = $1", &[&before.as_bytes(), &after.as_bytes()]).await?
        }
    };
    Ok(read(conn).await?.as_ref() == Some(after))
}
