//! Lists of attempts and deliveries are put together of parts, in one statement: of each no more is read out of an index than the page can show.
//!
//! A list that is narrowed to a subscription or an endpoint has a part for each subscription and endpoint that go together in it, and one of
//! failures has one for each code. Kept numbers say which parts there are.

use super::conn::Conn;
use super::error::Result;
use super::rows::{count, get};
use postrider_core::event::Namespace;
use postrider_core::id::{EndpointId, SubscriptionId};
use std::collections::BTreeSet;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// What a list is narrowed to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) namespace: Option<&'a str>,
    pub(super) subscription: Option<Uuid>,
    pub(super) endpoint: Option<Uuid>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(namespace: Option<&'a Namespace>, subscription: Option<SubscriptionId>, endpoint: Option<EndpointId>) -> Self {
        Scope {
            namespace: namespace.map(Namespace::as_str),
            subscription: subscription.map(SubscriptionId::uuid),
            endpoint: endpoint.map(EndpointId::uuid),
        }
    }

    /// Whether its parts are pairs of a subscription and an endpoint. No erased endpoint is among them then.
    pub(super) fn is_of_pairs(&self) -> bool {
        self.subscription.is_some() || self.endpoint.is_some()
    }
}

// ---- numbers -----------------------------------------------------------------------------------------------------

/// A kept number that is not zero, see `tallies.rs`.
#[derive(Debug)]
pub(super) struct Number {
    /// Nil where the scope is not of pairs.
    pub(super) subscription: Uuid,
    /// Nil where the scope is not of pairs.
    pub(super) endpoint: Uuid,
    pub(super) kind: i16,
    pub(super) code: String,
    pub(super) n: u64,
}

macro_rules! nil {
    () => {
        "'00000000-0000-0000-0000-000000000000'::uuid"
    };
}
pub(super) use nil;

macro_rules! of_pairs {
    ($column:literal) => {
        concat!(
            "SELECT t.subscription, t.endpoint, t.kind, t.code, sum(t.n)::int8 FROM tallies t WHERE ",
            $column,
            " = $1 AND ",
            $column,
            " <> ",
            nil!(),
            " AND t.kind = ANY ($2::int2[]) AND ($3::text IS NULL OR t.namespace = $3) AND ($4::uuid IS NULL OR t.endpoint = $4) AND",
            not_erased!("t.endpoint"),
            "GROUP BY t.subscription, t.endpoint, t.kind, t.code HAVING sum(t.n) > 0"
        )
    };
}

/// What is counted for a namespace or for everything, less what of that went to erased endpoints.
const OF_NAMESPACE: &str = concat!(
    "SELECT ",
    nil!(),
    ", ",
    nil!(),
    ", s.kind, s.code, sum(s.n)::int8 FROM (SELECT t.kind, t.code, t.n FROM tallies t \
     WHERE t.namespace = coalesce($1::text, '') AND t.subscription = ",
    nil!(),
    " AND t.endpoint = ",
    nil!(),
    " AND t.kind = ANY ($2::int2[]) UNION ALL SELECT t.kind, t.code, -t.n FROM tallies t \
     WHERE t.endpoint = ANY (ARRAY(SELECT endpoint FROM erased_endpoints)) AND t.endpoint <> ",
    nil!(),
    " AND t.kind = ANY ($2::int2[]) AND ($1::text IS NULL OR t.namespace = $1)) s GROUP BY s.kind, s.code HAVING sum(s.n) > 0"
);

/// What there is in the scope, of these kinds; nothing of erased endpoints.
pub(super) async fn numbers(conn: &Conn, scope: &Scope<'_>, kinds: &[i16]) -> Result<Vec<Number>> {
    let Scope { namespace, subscription, endpoint } = scope;
    let rows = match (subscription, endpoint) {
        (Some(of), _) => conn.rows(of_pairs!("t.subscription"), &[of, &kinds, namespace, endpoint]).await?,
        (None, Some(to)) => conn.rows(of_pairs!("t.endpoint"), &[to, &kinds, namespace, endpoint]).await?,
        (None, None) => conn.rows(OF_NAMESPACE, &[namespace, &kinds]).await?,
    };
    rows.iter().map(number).collect()
}

fn number(row: &Row) -> Result<Number> {
    Ok(Number { subscription: get(row, 0)?, endpoint: get(row, 1)?, kind: get(row, 2)?, code: get(row, 3)?, n: count(row, 4)? })
}

/// Goes before the reads of a list, in their transaction: whatever is sorted by an index is read from that, and no further than it is asked for.
/// The planner would rather read and sort all where it takes that for little, and it knows little of what a part has.
pub(super) async fn in_order(conn: &Conn) -> Result<()> {
    conn.batch("SET LOCAL enable_sort = off").await
}

/// What a list is read for one by one: see [`Statement::walk`].
#[derive(Debug, Default)]
pub(super) struct Parts {
    namespaces: Vec<String>,
    subscriptions: Vec<Uuid>,
    endpoints: Vec<Uuid>,
    codes: Vec<String>,
}

impl Parts {
    /// Each subscription, endpoint and code once.
    pub(super) fn of<'n>(scope: &Scope<'_>, keys: impl Iterator<Item = (Uuid, Uuid, &'n str)>) -> Self {
        let mut parts = Parts::default();
        for (subscription, endpoint, code) in keys.collect::<BTreeSet<_>>() {
            parts.namespaces.push(scope.namespace.unwrap_or_default().to_owned());
            parts.subscriptions.push(subscription);
            parts.endpoints.push(endpoint);
            parts.codes.push(code.to_owned());
        }
        parts
    }
}

// ---- statements --------------------------------------------------------------------------------------------------

/// What is wanted of a list: a page of its ids, or how many there are.
#[derive(Debug)]
pub(super) struct Cut {
    is_page: bool,
    /// The first id that it can have.
    pub(super) from: Uuid,
    /// The first id behind those that it can have.
    pub(super) before: Uuid,
    /// How many of a part can matter.
    reach: i64,
    skip: i64,
    /// One more than the page has, which says that more follow.
    limit: i64,
}

impl Cut {
    /// How many have ids within these bounds.
    pub(super) fn number((from, before): (Uuid, Uuid)) -> Self {
        Cut { is_page: false, from, before, reach: 0, skip: 0, limit: 0 }
    }

    /// The page behind that id, of a list that has so many in all.
    pub(super) fn page((from, before): (Uuid, Uuid), after: Option<Uuid>, (skip, limit): (u32, u32), total: u64) -> Self {
        let (skip, limit) = (i64::from(skip), i64::from(limit) + 1);
        // Where all were found nobody needs to look for more.
        let most = if after.is_none() { i64::try_from(total).unwrap_or(i64::MAX) } else { i64::MAX };
        let before = after.map_or(before, |after| after.min(before));
        Cut { is_page: true, from, before, reach: (skip + limit).min(most), skip, limit }
    }

    /// The ids of the page, and the last of them where more follow.
    pub(super) fn cut(&self, mut ids: Vec<Uuid>) -> (Vec<Uuid>, Option<Uuid>) {
        let limit = usize::try_from(self.limit - 1).unwrap_or(0);
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().filter(|_| more).copied();
        (ids, next)
    }
}

/// How a table `t` is read part by part: see `walk!`.
#[derive(Debug)]
pub(super) struct Walk {
    /// Takes the bounds of the ids.
    pub(super) within: &'static str,
    /// The newest first.
    pub(super) order: &'static str,
    /// The order in which they are counted: by it the planner finds the index.
    pub(super) counted: &'static str,
}

/// The rows of a table `t` in the order of their ids: all of them; or those that have in one column what a part `p` has there, and in the columns
/// named behind it too. Then there is an index of these columns in this order, and of `id`.
///
/// A plain equality in the first one would let the planner take an index without it, which has the same order then, and pass over everything that
/// is not of the part. What is compared with an array may have several values as far as it knows, and only that index has these in order.
macro_rules! walk {
    ($table:literal $(, $first:literal $(, $same:literal)*)?) => {
        $crate::postgres::parts::Walk {
            within: concat!(
                $table,
                " t WHERE ",
                $("t.", $first, " = ANY (ARRAY[p.", $first, "]) AND ", $("t.", $same, " = p.", $same, " AND ",)*)?
                "t.id >= ? AND t.id < ?"
            ),
            order: concat!(" ORDER BY ", $("t.", $first, " DESC, ",)? "t.id DESC"),
            counted: concat!("" $(, " ORDER BY t.", $first, " DESC, t.id DESC OFFSET 0")?),
        }
    };
}
pub(super) use walk;

const PARTS: &str = " FROM unnest(?::text[], ?::uuid[], ?::uuid[], ?::text[]) AS p (namespace, subscription, endpoint, error_code) \
    CROSS JOIN LATERAL (SELECT t.id FROM ";

/// A table as lists of every scope read it.
#[derive(Debug)]
pub(super) struct Walks {
    pub(super) of_all: Walk,
    pub(super) of_namespace: Walk,
    pub(super) of_pairs: Walk,
}

impl Walks {
    pub(super) fn of(&self, scope: &Scope<'_>) -> &Walk {
        match scope.namespace {
            _ if scope.is_of_pairs() => &self.of_pairs,
            Some(_) => &self.of_namespace,
            None => &self.of_all,
        }
    }
}

/// A statement that is put together of fixed pieces, with what it is run with. Between its beginning and its end come subqueries, one or more with
/// `UNION ALL` between them: with the column `id` for a page, and `n` for a number.
pub(super) struct Statement<'a> {
    cut: &'a Cut,
    text: String,
    params: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Statement<'a> {
    pub(super) fn new(cut: &'a Cut) -> Self {
        let text = if cut.is_page { "SELECT x.id FROM (" } else { "SELECT coalesce(sum(x.n), 0)::int8 FROM (" };
        Statement { cut, text: text.to_owned(), params: Vec::new() }
    }

    /// Adds a piece. Each `?` stands for the next of these values, and behind the last one for the first again.
    pub(super) fn add(&mut self, piece: &'static str, values: &[&'a (dyn ToSql + Sync)]) -> &mut Self {
        let known = self.params.len();
        self.params.extend_from_slice(values);
        for (n, text) in piece.split('?').enumerate() {
            if let Some(before) = n.checked_sub(1) {
                let number = known + 1 + before % values.len().max(1);
                self.text.push('$');
                self.text.push_str(&number.to_string());
            }
            self.text.push_str(text);
        }
        self
    }

    /// Adds one of two pieces.
    pub(super) fn either(&mut self, page: &'static str, number: &'static str) -> &mut Self {
        self.add(if self.cut.is_page { page } else { number }, &[])
    }

    /// Adds the bounds of ids.
    pub(super) fn within(&mut self, piece: &'static str) -> &mut Self {
        let cut = self.cut;
        self.add(piece, &[&cut.from, &cut.before])
    }

    /// Ends a subquery whose rows are in the order of the list, so that no more of them are read than can matter.
    pub(super) fn end(&mut self, page: &'static str, number: &'static str) -> &mut Self {
        let cut = self.cut;
        if cut.is_page { self.add(page, &[&cut.reach]) } else { self.add(number, &[]) }
    }

    /// A subquery that reads of each part what `narrow` leaves of it.
    pub(super) fn walk(&mut self, walk: &Walk, parts: &'a Parts, narrow: impl FnOnce(&mut Self)) -> &mut Self {
        let columns: [&'a (dyn ToSql + Sync); 4] = [&parts.namespaces, &parts.subscriptions, &parts.endpoints, &parts.codes];
        self.either("SELECT y.id", "SELECT count(*) AS n").add(PARTS, &columns).within(walk.within);
        narrow(self);
        self.either(walk.order, walk.counted).end(" LIMIT ?) y", ") y")
    }

    /// The page, and one more where there is one.
    pub(super) async fn ids(mut self, conn: &Conn) -> Result<Vec<Uuid>> {
        let cut = self.cut;
        self.add(") x ORDER BY x.id DESC LIMIT ? OFFSET ?", &[&cut.limit, &cut.skip]);
        conn.rows(&self.text, &self.params).await?.iter().map(|row| get(row, 0)).collect()
    }

    /// How many there are.
    pub(super) async fn number(mut self, conn: &Conn) -> Result<u64> {
        self.add(") x", &[]);
        count(&conn.only(&self.text, &self.params).await?, 0)
    }
}

/// An id below those of all attempts of a delivery: they begin when it is there, and clocks of nodes are no further apart than a day. So only
/// partitions from then on are looked into.
macro_rules! attempts_floor {
    ($d:literal) => {
        concat!("(lpad(to_hex(greatest(", $d, ".created_at / 1000 - 86400000, 0)), 12, '0') || '70008000000000000000')::uuid")
    };
}
pub(super) use attempts_floor;
