//! Retention drops partitions: those of attempts and of events that are past their age as a whole, and of which hardly anything is needed any more.
//!
//! What is in one is counted page by page, while nobody waits; then it goes in one piece, with the numbers, see `dropping.rs`. The few rows that have
//! to stay move to the partition by default; one of which more has to goes row by row.
//!
//! Rows whose partition is to be dropped soon are not removed one by one, see [`below`]: they stay until all of it is past its age, and where somebody
//! was in the way, until the next run; but not for ever, see `stuck.rs`.

mod dropping;
mod leaving;
mod stuck;

use super::super::aging;
use super::super::conn::Conn;
use super::super::error::Result;
use super::super::prune::Slice;
use super::super::rows::{get, namespace};
use super::super::tallies::Tallies;
use super::super::tx::Tx;
use super::{BEHIND, Day, Days, FEW, MOST_BYTES, TABLES, Table, names};
use dropping::Dropped;
use leaving::Leaving;
use postrider_core::id::floor_at;
use postrider_core::ports::{PruneRequest, REQUEST_MEMORY};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// So many rows are counted in a slice.
const PAGE: i64 = 10_000;

/// So many notes of bare events are removed in a slice.
const NOTES: i64 = 10_000;

/// How often it is tried to drop a partition in a run, and after which pause: somebody may read in it. With each try all wait who use the table.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Rows go on with their partition for no longer than this part of their age, or for a day.
const PART_OF_AGE: i64 = 4;

/// What is dropped by partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgres) enum What {
    Attempts,
    Events,
}

impl What {
    fn table(self) -> Option<&'static Table> {
        let name = match self {
            What::Attempts => "attempts",
            What::Events => "events",
        };
        TABLES.iter().find(|table| table.name == name)
    }

    /// Before when they are past their age.
    fn before(self, request: &PruneRequest) -> Timestamp {
        match self {
            What::Attempts => request.attempts_before,
            What::Events => request.events_before,
        }
    }
}

/// How far a run has come.
#[derive(Clone, Debug, Default)]
pub(in crate::postgres) struct Retiring {
    /// Partitions that stay: what is to go of them goes row by row.
    kept: BTreeSet<String>,
    /// Partitions that somebody was in the way of, with their first ids: all of them are the next run's.
    waiting: BTreeMap<String, (What, Uuid)>,
    /// What nobody could lock for long enough: none of the others would go either.
    held: Option<What>,
    counted: Option<Counted>,
    /// Events that went, and of which something is left.
    leaving: Option<Leaving>,
}

impl Retiring {
    fn is_done_with(&self, name: &str) -> bool {
        self.kept.contains(name) || self.waiting.contains_key(name)
    }

    fn wait(&mut self, name: String, what: What, days: Days) {
        tracing::debug!(partition = name, "a partition that is past its age waits for the next run: somebody was in the way");
        self.waiting.insert(name, (what, days.bounds().0));
    }

    fn keep(&mut self, name: String) {
        tracing::debug!(partition = name, "a partition that is past its age stays: too much of it is needed");
        self.kept.insert(name);
    }
}

/// A partition that is about to go, and what is in it as far as it was counted.
#[derive(Clone, Debug)]
struct Counted {
    what: What,
    days: Days,
    name: String,
    /// The first id that was not looked at; `None` when all were.
    from: Option<Uuid>,
    gone: u64,
    /// What it takes out of the numbers.
    tallies: Tallies,
    stays: Stays,
    /// By what it is seen that nobody has changed it since, nor counted it anew.
    token: i64,
    tries: u32,
}

/// Rows that have to stay.
#[derive(Clone, Debug, Default)]
struct Stays {
    ids: Vec<Uuid>,
    /// How long what is long in them is.
    bytes: i64,
}

impl Stays {
    /// Whether they would keep everybody waiting while they move.
    fn are_too_many(&self) -> bool {
        self.ids.len() as i64 > FEW || self.bytes > MOST_BYTES
    }
}

/// When it is asked for what is past its age, and `None` where it is asked for something else: there is no age then, or room has to be made at once.
fn now(request: &PruneRequest) -> Option<Timestamp> {
    (request.requests_before > Timestamp::MIN).then(|| request.requests_before.after(REQUEST_MEMORY))
}

/// The day of that.
fn today(request: &PruneRequest) -> Option<Day> {
    now(request).map(Day::of)
}

/// Whether history of these days, of which some is past this age, is left until all of them are.
fn goes_on(days: Days, before: Day, today: Day) -> bool {
    let age = today.0 - before.0;
    age > BEHIND && days.contains(before) && days.number() <= (age / PART_OF_AGE).max(1)
}

/// Behind the last id of what is removed row by row for its age, in this run.
pub(in crate::postgres) async fn below(conn: &Conn, what: What, request: &PruneRequest, run: &Retiring) -> Result<Uuid> {
    let before = what.before(request);
    let (Some(table), Some(today)) = (what.table(), today(request)) else { return Ok(floor_at(before)) };
    let of = Day::of(before);
    let going = table.days_among(&names(conn).await?).into_iter().find(|days| goes_on(*days, of, today));
    let below = floor_at(going.map_or(before, |days| days.from.start()));
    let waiting = run.waiting.values().filter(|(of, _)| *of == what).map(|(_, from)| *from);
    Ok(waiting.fold(below, Uuid::min))
}

/// Goes on with dropping partitions that are past their age; whether there are no more in this run. What it does is committed by itself: a slice that
/// has done something has to end.
pub(in crate::postgres) async fn retire(
    tx: &mut Tx,
    run: &mut Retiring,
    what: What,
    request: &PruneRequest,
    slice: &mut Slice,
) -> Result<bool> {
    let Some(now) = now(request) else { return Ok(true) };
    if let Some(leaving) = run.leaving.take() {
        leaving::go_on(&tx.conn, run, leaving).await?;
        return Ok(false);
    }
    let Some(mut counted) = run.counted.take() else { return begin(&tx.conn, run, what, request, now).await };
    let Some(from) = counted.from else {
        if counted.tries > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match dropping::drop_it(tx, &counted).await? {
            Dropped::Yes => gone(run, counted, slice),
            Dropped::NotNow if counted.tries + 1 < TRIES => run.counted = Some(Counted { tries: counted.tries + 1, ..counted }),
            come_to => {
                run.held = (come_to == Dropped::NotNow).then_some(what);
                wait(&tx.conn, run, (counted.name, what, counted.days), now).await?;
            }
        }
        return Ok(false);
    };
    if count_page(&tx.conn, &mut counted, from).await? {
        run.counted = Some(counted);
    } else {
        dropping::unwatch(&tx.conn, &counted.name).await?;
        run.keep(counted.name);
    }
    Ok(false)
}

/// It is the next run's.
async fn wait(conn: &Conn, run: &mut Retiring, (name, what, days): (String, What, Days), now: Timestamp) -> Result<()> {
    if let Some(table) = what.table() {
        stuck::note(conn, table, now).await?;
    }
    run.wait(name, what, days);
    Ok(())
}

/// It was dropped.
fn gone(run: &mut Retiring, counted: Counted, slice: &mut Slice) {
    tracing::info!(partition = counted.name, rows = counted.gone, "a partition was dropped that is past its age");
    match counted.what {
        What::Attempts => slice.pruned.attempts += counted.gone,
        What::Events => {
            slice.pruned.events += counted.gone;
            run.leaving = Some(Leaving::new(counted.name, counted.days));
        }
    }
}

/// Chooses the next partition and has changes of it noted; whether there is none.
async fn begin(conn: &Conn, run: &mut Retiring, what: What, request: &PruneRequest, now: Timestamp) -> Result<bool> {
    let Some(table) = what.table() else { return Ok(true) };
    if what == What::Events {
        run.leaving = leaving::begun(conn, table, run).await?;
        if run.leaving.is_some() {
            return Ok(false);
        }
    }
    if run.held == Some(what) {
        return Ok(true);
    }
    let is_past = |days: &Days| days.to.start() <= what.before(request) && days.to <= Day::of(now).after(-BEHIND);
    let past: Vec<Days> = table.days_among(&names(conn).await?).into_iter().filter(is_past).collect();
    if !past.is_empty() && stuck::is(conn, table, now).await? {
        tracing::warn!(table = table.name, "for a day no partition of it could be dropped, for somebody uses it: rows go one by one");
        for days in past {
            dropping::unwatch(conn, &table.partition(days)).await?;
        }
        return Ok(true);
    }
    for days in past {
        let name = table.partition(days);
        if run.is_done_with(&name) {
            continue;
        }
        // As it is where rows are kept for ever: not worth having every statement planned anew.
        let (from, to) = days.bounds();
        let next = next_page(conn, what, from, to).await?;
        let mut stays = Stays::default();
        look_for_those_that_stay(conn, what, (from, next.unwrap_or(to)), &mut stays).await?;
        if stays.are_too_many() || !dropping::may_be_dropped(conn, &name).await? {
            dropping::unwatch(conn, &name).await?;
            run.keep(name);
            continue;
        }
        let Some(token) = dropping::watch(conn, &name).await? else {
            wait(conn, run, (name, what, days), now).await?;
            return Ok(false);
        };
        let (tallies, stays) = (Tallies::default(), Stays::default());
        run.counted = Some(Counted { what, days, name, from: Some(from), gone: 0, tallies, stays, token, tries: 0 });
        return Ok(false);
    }
    Ok(true)
}

/// Whether nothing belongs to an event any more, and nothing will.
macro_rules! is_bare {
    ($id:literal) => {
        concat!("(SELECT b.event FROM bare_events b WHERE b.event = ", $id, " LIMIT 1)")
    };
}

/// With `OFFSET` an index that has the groups in their order will not do: it has the rows of all pages.
const ATTEMPTS: &str = "SELECT a.namespace, a.subscription, a.endpoint, true, coalesce(a.error_code, ''), count(*), \
     sum(512 + coalesce(octet_length(a.request), 0) + coalesce(octet_length(a.response), 0) + coalesce(octet_length(a.response_head), 0))::int8 \
     FROM (SELECT * FROM attempts WHERE id >= $1 AND id < $2 ORDER BY id OFFSET 0) a WHERE NOT a.keeps_rows AND a.finished_at IS NOT NULL \
     GROUP BY 1, 2, 3, 4, 5";

const ATTEMPTS_THAT_STAY: &str = "SELECT a.id, (coalesce(octet_length(a.request), 0) + coalesce(octet_length(a.response), 0) \
     + coalesce(octet_length(a.response_head), 0))::int8 \
     FROM attempts a WHERE a.id >= $1 AND a.id < $2 AND (a.keeps_rows OR a.finished_at IS NULL) ORDER BY a.id LIMIT $3";

const EVENTS: &str = concat!(
    "SELECT e.namespace, count(*), sum(1024 + octet_length(e.payload) + 2 * coalesce(octet_length(e.labels), 0) \
     + coalesce(octet_length(e.metadata), 0))::int8 FROM (SELECT * FROM events WHERE id >= $1 AND id < $2 ORDER BY id OFFSET 0) e WHERE ",
    is_bare!("e.id"),
    " IS NOT NULL GROUP BY 1"
);

const EVENTS_THAT_STAY: &str = concat!(
    "SELECT e.id, (octet_length(e.payload) + coalesce(octet_length(e.labels), 0) + coalesce(octet_length(e.metadata), 0))::int8 \
     FROM events e WHERE e.id >= $1 AND e.id < $2 AND ",
    is_bare!("e.id"),
    " IS NULL ORDER BY e.id LIMIT $3"
);

/// The first id behind a page; `None` behind the last one.
async fn next_page(conn: &Conn, what: What, from: Uuid, end: Uuid) -> Result<Option<Uuid>> {
    let sql = match what {
        What::Attempts => "SELECT id FROM attempts WHERE id >= $1 AND id < $2 ORDER BY id OFFSET $3 LIMIT 1",
        What::Events => "SELECT id FROM events WHERE id >= $1 AND id < $2 ORDER BY id OFFSET $3 LIMIT 1",
    };
    conn.row(sql, &[&from, &end, &PAGE]).await?.map(|row| get(&row, 0)).transpose()
}

/// Adds rows of a page that have to stay; no more than one more than may move.
async fn look_for_those_that_stay(conn: &Conn, what: What, (from, to): (Uuid, Uuid), stays: &mut Stays) -> Result<()> {
    let sql = match what {
        What::Attempts => ATTEMPTS_THAT_STAY,
        What::Events => EVENTS_THAT_STAY,
    };
    let most = FEW + 1;
    for row in &conn.rows(sql, &[&from, &to, &most]).await? {
        stays.ids.push(get(row, 0)?);
        stays.bytes += get::<i64>(row, 1)?;
    }
    Ok(())
}

/// Counts a page of it. Whether it may still go.
async fn count_page(conn: &Conn, counted: &mut Counted, from: Uuid) -> Result<bool> {
    let (_, end) = counted.days.bounds();
    let next = next_page(conn, counted.what, from, end).await?;
    let to = next.unwrap_or(end);
    look_for_those_that_stay(conn, counted.what, (from, to), &mut counted.stays).await?;
    if counted.stays.are_too_many() {
        return Ok(false);
    }
    match counted.what {
        What::Attempts => {
            let rows = conn.rows(ATTEMPTS, &[&from, &to]).await?;
            counted.gone += aging::count_attempts(&mut counted.tallies, &rows)?;
        }
        What::Events => {
            for row in &conn.rows(EVENTS, &[&from, &to]).await? {
                let n: i64 = get(row, 1)?;
                counted.tallies.events(&namespace(row, 0)?, -n);
                counted.tallies.bytes(-get::<i64>(row, 2)?);
                counted.gone += n.unsigned_abs();
            }
        }
    }
    counted.from = next;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ages_are_kept_to_exactly_and_long_ones_by_partitions() {
        let today = Day(20_000);
        let of = |from: i64, number: i64| Days::new(today.after(from), number);
        // The days, how long ago the age ends, and whether they wait until all of them are past it.
        for (days, age, waits) in [
            (of(0, 1), 0, false),
            (of(-2, 1), 2, false),
            (of(-3, 1), 3, true),
            (of(-3, 1), 4, false),
            (of(-3, 2), 3, false),
            (of(-30, 4), 29, true),
            (of(-30, 8), 29, false),
            (of(-400, 64), 365, true),
        ] {
            assert_eq!(goes_on(days, today.after(-age), today), waits, "{days:?} and {age} days");
        }
    }

    #[test]
    fn only_ages_have_a_day() {
        let no_age = PruneRequest {
            attempts_before: Timestamp::MIN,
            rows_before: Timestamp::MIN,
            bodies_before: Timestamp::MIN,
            events_before: Timestamp::from_secs(1_795_406_400),
            closed_before: Timestamp::MIN,
            requests_before: Timestamp::MIN,
            configuration_before: Timestamp::MIN,
            limit: 1,
        };
        assert_eq!(today(&no_age), None);
        let now = Timestamp::from_secs(1_795_406_400);
        assert_eq!(today(&PruneRequest { requests_before: now.before(REQUEST_MEMORY), ..no_age }), Some(Day::of(now)));
    }

    #[test]
    fn what_waits_is_the_next_runs_and_so_is_what_comes_behind_it() {
        let (mut run, days) = (Retiring::default(), Days::new(Day(20_000), 1));
        run.keep("events_p20241004".to_owned());
        run.wait("events_p20241005".to_owned(), What::Events, days);
        assert!(run.is_done_with("events_p20241004") && run.is_done_with("events_p20241005") && !run.is_done_with("attempts_p20241005"));
        assert_eq!(run.waiting.values().collect::<Vec<_>>(), [&(What::Events, floor_at(Day(20_000).start()))]);
    }

    #[test]
    fn little_moves() {
        let few = |n: i64, bytes: i64| Stays { ids: (0..n).map(|n| Uuid::from_u128(n.cast_unsigned().into())).collect(), bytes };
        assert!(!few(FEW, MOST_BYTES).are_too_many());
        assert!(few(FEW + 1, 0).are_too_many() && few(1, MOST_BYTES + 1).are_too_many());
    }
}
