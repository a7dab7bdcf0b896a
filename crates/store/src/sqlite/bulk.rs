//! Many rows per statement.

use rusqlite::{Connection, Result, ToSql};

/// How many rows one statement inserts: what it costs besides, such as finding its way into the tree, is shared by them.
const ROWS: usize = 32;

/// Puts rows into a table, in their order, with the values of these columns (`table (column, ...)`). What is there already stays as it is.
pub(super) fn insert<T, const N: usize>(
    conn: &Connection,
    columns: &str,
    rows: &[T],
    values: impl Fn(&T) -> [&dyn ToSql; N],
) -> Result<()> {
    let chunks = rows.chunks_exact(ROWS);
    let rest = chunks.remainder().chunks(1);
    let put = |n: usize, chunks: &mut dyn Iterator<Item = &[T]>| -> Result<()> {
        let row = format!("({})", ["?"; N].join(", "));
        let sql = format!("INSERT OR IGNORE INTO {columns} VALUES {}", vec![row; n].join(", "));
        let mut statement = conn.prepare_cached(&sql)?;
        for chunk in chunks {
            for (n, value) in chunk.iter().flat_map(&values).enumerate() {
                statement.raw_bind_parameter(n + 1, value)?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    };
    put(ROWS, &mut chunks.into_iter())?;
    put(1, &mut rest.into_iter())
}
