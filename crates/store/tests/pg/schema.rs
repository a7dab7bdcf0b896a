//! The schema: how it is made, its partitions, and rows that stay in their pages.

use crate::{Database, SCHEMA, number, pg, settlement, stored, until};
use postrider_core::delivery::{State, StateKind};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{PgOpenError, PgOptions, PgStore};
use tokio_postgres::Client;

#[test]
fn the_schema_is_made_once() {
    block_on(async {
        let database = Database::new("d").await;
        let (a, b) = tokio::join!(database.open(), database.open());
        let client = database.client().await;
        let steps = number(&client, "SELECT count(*) FROM schema_steps").await;
        assert!(steps > 0 && steps == number(&client, "SELECT max(step)::int8 FROM schema_steps").await);
        assert_eq!(number(&client, "SELECT count(*) FROM nodes WHERE ended_at IS NULL").await, 2);
        let event = Fixtures::new(1).event(1);
        stored(a.publish(vec![event.clone()]).await);
        let again = database.open().await;
        assert!(again.event(event.id).await.expect("a read").is_some());
        assert_eq!(number(&client, "SELECT count(*) FROM schema_steps").await, steps);
        drop((a, b));
    });
}

/// What others make in it could be run with the owner's rights. A schema that is in use goes on all the same.
#[test]
fn nothing_is_made_in_a_schema_in_which_others_may_create_things() {
    block_on(async {
        let (database, intruder) = (Database::new("d").await, pg::unique("r"));
        let client = pg::connect(&database.url).await;
        let open = format!("CREATE ROLE {intruder}; CREATE SCHEMA {SCHEMA}; GRANT CREATE ON SCHEMA {SCHEMA} TO {intruder}");
        client.batch_execute(&open).await.expect("a schema");
        let words = format!("REVOKE CREATE ON SCHEMA {SCHEMA} FROM {intruder}");
        let refused = database.refusal(database.options()).await;
        assert!(matches!(&refused, PgOpenError::Denied(why) if why.contains(&words)), "{refused:?}");
        assert_eq!(number(&client, &format!("SELECT (to_regclass('{SCHEMA}.schema_steps') IS NULL)::int::int8")).await, 1);
        client.batch_execute(&words).await.expect("it is closed");
        drop(database.open().await);
        client.batch_execute(&format!("GRANT CREATE ON SCHEMA {SCHEMA} TO {intruder}")).await.expect("it is open again");
        drop(database.open().await);
        client.batch_execute(&format!("{words}; DROP ROLE {intruder}")).await.expect("the role goes");
    });
}

/// Whatever wants a table waits behind a step that waits for it: so the step gives way now and then.
#[test]
fn a_step_that_cannot_have_its_table_gives_way_and_is_tried_again() {
    const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tallies'::regclass";
    block_on(async {
        let database = Database::new("d").await;
        drop(database.open().await);
        let (client, mut holder) = (database.client().await, database.client().await);
        let known = number(&client, "SELECT max(step)::int8 FROM schema_steps").await;
        let undo = format!("DROP INDEX tallies_dead_letters; DELETE FROM schema_steps WHERE step = {known}");
        client.batch_execute(&undo).await.expect("as before the last step");
        let held = holder.transaction().await.expect("a transaction");
        held.batch_execute("LOCK TABLE tallies IN ROW EXCLUSIVE MODE").await.expect("the lock of one that writes");
        let hold = async {
            until("the step waits for the table", async || number(&client, WAITING).await == 1).await;
            until("the step gives way", async || number(&client, WAITING).await == 0).await;
            assert_eq!(number(&client, "SELECT max(step)::int8 FROM schema_steps").await, known - 1, "it has not been taken");
            held.commit().await.expect("it lets go");
        };
        let (store, ()) = tokio::join!(database.open(), hold);
        assert_eq!(number(&client, "SELECT max(step)::int8 FROM schema_steps").await, known);
        assert_eq!(number(&client, "SELECT (to_regclass('tallies_dead_letters') IS NOT NULL)::int::int8").await, 1);
        drop(store);
    });
}

#[test]
fn a_newer_schema_is_refused() {
    block_on(async {
        let database = Database::new("d").await;
        drop(database.open().await);
        let client = database.client().await;
        let known = number(&client, "SELECT max(step)::int8 FROM schema_steps").await;
        client.batch_execute("INSERT INTO schema_steps (step) VALUES (99)").await.expect("a later release's step");
        let refused = database.refusal(database.options()).await;
        let text = format!(
            "the schema {SCHEMA} was made by a newer postrider (version 99, this one knows {known}): run that release or a later one"
        );
        assert!(matches!(&refused, PgOpenError::Newer(said) if *said == text), "{refused:?}");
    });
}

/// A database that cannot hold every character says so at the start, and not when somebody sends one.
#[test]
fn another_encoding_is_refused() {
    block_on(async {
        let (server, name) = (pg::server(), pg::unique("d"));
        let made = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
        pg::connect(&server).await.batch_execute(&made).await.expect("a database");
        let (place, _) = server.rsplit_once('/').expect("a URL with a database");
        let database = Database { url: format!("{place}/{name}"), name };
        let refused = database.refusal(database.options()).await;
        assert!(
            matches!(&refused, PgOpenError::Encoding(said) if said.contains("is LATIN1") && said.contains("ENCODING 'UTF8'")),
            "{refused:?}"
        );
    });
}

#[test]
fn a_user_without_rights_is_told_what_is_missing() {
    block_on(async {
        let database = Database::new("d").await;
        let (client, user) = (pg::connect(&database.url).await, pg::unique("u"));
        client.batch_execute(&format!("CREATE ROLE {user} LOGIN PASSWORD '{user}'")).await.expect("a role");
        let url = database.url_of(&user, &database.place());
        // There is no schema yet; then there is one, of another user.
        for _ in 0..2 {
            let refused = database.refusal(PgOptions { url: url.clone(), ..database.options() }).await;
            assert!(matches!(&refused, PgOpenError::Denied(said) if said.contains("GRANT CREATE ON DATABASE")), "{refused:?}");
            drop(database.open().await);
        }
        client.batch_execute(&format!("DROP ROLE {user}")).await.expect("the role goes");
    });
}

/// One that may join and nothing more, as where the server has no connection left: nobody waits for it.
#[test]
fn a_node_that_cannot_start_leaves() {
    block_on(async {
        let database = Database::new("d").await;
        let (admin, user) = (pg::connect(&database.url).await, pg::unique("u"));
        let made = format!("CREATE ROLE {user} LOGIN PASSWORD '{user}'; GRANT CREATE ON DATABASE {} TO {user}", database.name);
        admin.batch_execute(&made).await.expect("a role");
        let options = PgOptions { url: database.url_of(&user, &database.place()), ..database.options() };
        PgStore::open(options.clone()).await.expect("the store opens").close().await;
        let full = format!(
            "CREATE FUNCTION public.no_more() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ \
             BEGIN ALTER ROLE {user} CONNECTION LIMIT 0; RETURN NULL; END $$; \
             CREATE TRIGGER no_more AFTER INSERT ON {SCHEMA}.nodes EXECUTE FUNCTION public.no_more()"
        );
        admin.batch_execute(&full).await.expect("a trigger");
        let refused = database.refusal(options).await;
        let client = database.client().await;
        assert_eq!(number(&client, "SELECT count(*) FROM nodes").await, 2, "it had joined: {refused:?}");
        assert_eq!(number(&client, "SELECT count(*) FROM nodes WHERE ended_at IS NULL").await, 0);
        assert_eq!(number(&client, "SELECT count(*) FROM living").await, 0);
        client.batch_execute(&format!("DROP OWNED BY {user} CASCADE; DROP ROLE {user}")).await.expect("the role goes");
    });
}

/// Nodes may have users of their own, all of one role: what one of them makes another one may drop.
#[test]
fn partitions_are_the_owners_whoever_makes_them() {
    block_on(async {
        let database = Database::new("d").await;
        let (admin, owner, member) = (pg::connect(&database.url).await, pg::unique("o"), pg::unique("m"));
        let made = format!(
            "CREATE ROLE {owner} LOGIN PASSWORD '{owner}'; GRANT CREATE ON DATABASE {} TO {owner}; \
             CREATE ROLE {member} LOGIN PASSWORD '{member}' IN ROLE {owner}",
            database.name
        );
        admin.batch_execute(&made).await.expect("roles");
        let options = |user: &str| PgOptions { url: database.url_of(user, &database.place()), ..database.options() };
        PgStore::open(options(&owner)).await.expect("the store opens").close().await;
        let client = database.client().await;
        let (missing, ..) = day(&client, "events", 1).await;
        client.batch_execute(&format!("DROP TABLE {missing}")).await.expect("it goes");
        PgStore::open(options(&member)).await.expect("the store opens").close().await;
        let sql = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = to_regclass($1::text)";
        let made_by: String = client.query_one(sql, &[&missing]).await.expect("it is there again").get(0);
        assert_eq!(made_by, owner);
        let gone = format!("DROP OWNED BY {member}; DROP ROLE {member}; DROP OWNED BY {owner} CASCADE; DROP ROLE {owner}");
        client.batch_execute(&gone).await.expect("the roles go");
    });
}

/// Fixtures whose time is the server's.
async fn of_today(client: &Client) -> Fixtures {
    let mut make = Fixtures::new(1);
    let now = number(client, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8").await;
    make.advance(Timestamp::from_micros(now).since(make.now()));
    make
}

// ---- partitions --------------------------------------------------------------------------------------------------

/// The partition's name and its bounds, of that many days from now.
pub(crate) async fn day(client: &Client, table: &str, from_now: i64) -> (String, uuid::Uuid, uuid::Uuid) {
    let sql = "SELECT extract(epoch FROM d)::int8, to_char(d, 'YYYYMMDD') \
               FROM (SELECT date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') + $1::int8 * interval '1 day' AS d) t";
    let row = client.query_one(sql, &[&from_now]).await.expect("a day");
    let (start, digits): (i64, String) = (row.get(0), row.get(1));
    let bound = |secs| floor_at(Timestamp::from_secs(secs));
    (format!("{table}_p{digits}"), bound(start), bound(start + 86_400))
}

pub(crate) async fn is_there(client: &Client, table: &str) -> bool {
    client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&table]).await.expect("a look").get(0)
}

#[test]
fn days_to_come_have_partitions_and_those_of_hardly_any_rows_go() {
    block_on(async {
        let database = Database::new("d").await;
        drop(database.open().await);
        let client = database.client().await;
        for table in ["events", "event_labels", "deliveries", "attempts"] {
            for from_now in 0..3 {
                let (name, ..) = day(&client, table, from_now).await;
                assert!(is_there(&client, &name).await, "{name}");
            }
        }
        // Two of long ago, of which one still has a row, one with many, and a day to come that has a row already where its partition is missing.
        let ((empty, first, last), (few, from, to)) = (day(&client, "attempts", -9).await, day(&client, "event_labels", -8).await);
        let (taken, within, _) = day(&client, "event_labels", 1).await;
        let (many, since, until_then) = day(&client, "event_labels", -7).await;
        let labels = "INSERT INTO event_labels (event, namespace, key, value, created_at, seq) VALUES";
        let past = format!(
            "CREATE TABLE {empty} PARTITION OF attempts FOR VALUES FROM ('{first}') TO ('{last}'); \
             CREATE TABLE {few} PARTITION OF event_labels FOR VALUES FROM ('{from}') TO ('{to}'); \
             CREATE TABLE {many} PARTITION OF event_labels FOR VALUES FROM ('{since}') TO ('{until_then}'); \
             DROP TABLE {taken}; {labels} ('{from}', 'default', 'k', 'v', 0, 1); {labels} ('{within}', 'default', 'k', 'v', 0, 2); \
             INSERT INTO event_labels SELECT '{since}', 'default', 'k' || n, 'v', 0, 3 FROM generate_series(1, 1000) AS n"
        );
        client.batch_execute(&past).await.expect("partitions");
        let store = database.open().await;
        until("an empty partition of the past goes", async || !is_there(&client, &empty).await).await;
        until("so does one with a row", async || !is_there(&client, &few).await).await;
        assert!(is_there(&client, &many).await, "there are rows in it");
        for (table, rows) in [("event_labels_default", 1), (taken.as_str(), 1), (many.as_str(), 1_000), ("event_labels", 1_002)] {
            assert_eq!(number(&client, &format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
        }
        assert_eq!(store.health().await, Ok(()));
    });
}

/// Deliveries are made as an engine makes them, some at a time. Their states are written without a new entry in any index.
#[test]
fn deliveries_stay_in_their_pages() {
    const GROUPS: i64 = 60;
    const AT_A_TIME: i64 = 8;
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let mut make = of_today(&client).await;
        let route = make.route();
        for _ in 0..GROUPS {
            let events: Vec<NewEvent> = (0..AT_A_TIME).map(|_| make.claimed_event_for(&[route])).collect();
            let attempts: Vec<AttemptId> = events.iter().map(|_| AttemptId::new(make.uuid())).collect();
            store.publish(events.clone()).await.expect("publishes");
            for (states, outcome) in
                [((StateKind::Pending, State::Sending), None), ((StateKind::Sending, State::Succeeded), Some(make.success()))]
            {
                let group: Vec<Settlement> =
                    events.iter().zip(&attempts).map(|(event, attempt)| settlement(event, *attempt, states, outcome.clone())).collect();
                let answers = store.settle(group.into()).await.expect("settles");
                assert!(answers.iter().all(|answer| *answer == Settled::Stored), "{answers:?}");
            }
        }
        assert_eq!(number(&client, "SELECT count(*) FROM deliveries WHERE state = 3").await, GROUPS * AT_A_TIME);
        assert_eq!(number(&client, "SELECT count(*) FROM deliveries_default").await, 0, "today has a partition");
        // Connections that end tell what they have done.
        drop(store);
        let written = |column: &str| {
            format!(
                "SELECT coalesce(sum({column}), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = '{SCHEMA}' AND relname ~ '^deliveries_'"
            )
        };
        let (all, hot) = (written("n_tup_upd"), written("n_tup_hot_upd"));
        let expected = 2 * GROUPS * AT_A_TIME;
        until("the server has counted all updates", async || number(&client, &all).await >= expected).await;
        let (all, hot) = (number(&client, &all).await, number(&client, &hot).await);
        assert!(hot * 10 >= all * 9, "{hot} of {all} updates stayed in their page");
    });
}
