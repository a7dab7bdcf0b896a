//! The outbox: applications publish by SQL, with their own transactions.

#[path = "pg_outbox/application.rs"]
mod application;
mod common;
#[path = "pg_server/database.rs"]
mod database;
#[path = "pg_outbox/tally.rs"]
mod tally;

use application::{Application, new_role};
use common::items::Api;
use common::rpc::Rpc;
use common::{PATIENCE, Receiver, Server, run};
use database::{Database, PASSWORD};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tally::Tally;
use tempfile::TempDir;
use tokio::time::Instant;

const SECRETS: &str = "k1=abababababababababababababababababababababababababababababababab";

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn start(database: &Database, flags: &[&str]) -> Server {
    let flags: Vec<&str> = std::iter::once("--dev").chain(flags.iter().copied()).collect();
    Server::start(directory(), &flags, &[("POSTRIDER_DATABASE_URL", database.url.as_str()), ("POSTRIDER_SECRETS_KEY", SECRETS)])
}

/// Runs a command on the database of this URL, or on none; whether it did its work, and what it said on stdout and on stderr.
fn command(url: Option<&str>, arguments: &[&str]) -> (bool, String, String) {
    let place = directory();
    let environment: Vec<_> =
        url.map(|url| ("POSTRIDER_DATABASE_URL", url)).into_iter().chain([("POSTRIDER_SECRETS_KEY", SECRETS)]).collect();
    let (status, out, talk) = run(arguments, place.path(), &environment);
    assert!(status.success() || status.code() == Some(1), "{arguments:?}: {status}: {talk}");
    (status.success(), out, talk)
}

fn migrate(database: &Database) {
    let (done, _, talk) = command(Some(&database.url), &["migrate"]);
    assert!(done, "{talk}");
}

/// A subscription to all types that begin so; it gets payloads as they are.
fn subscribed(server: &Server, types: &str) -> Receiver {
    let receiver = Receiver::answering(200);
    server.subscribe(&json!({"target_url": receiver.url, "event_types": types}));
    receiver
}

/// The bodies that came, once there are so many, in their order.
fn bodies(receiver: &Receiver, count: usize) -> Vec<String> {
    receiver.wait_for(count).iter().map(|received| String::from_utf8(received.body.clone()).expect("text")).collect()
}

/// Waits until the database says so.
fn until(database: &Database, sql: &str) {
    let begun = Instant::now();
    while database.number(sql) != 1 {
        assert!(begun.elapsed() < PATIENCE, "not yet: {sql}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

const EMPTY: &str = "SELECT (count(*) = 0)::int::int8 FROM postrider.outbox";

#[test]
fn what_is_committed_arrives_and_what_is_rolled_back_does_not() {
    let database = Database::new();
    let server = start(&database, &[]);
    let receiver = subscribed(&server, "order.*");
    let application = Application::new(&database.url);
    application.run("CREATE TABLE orders (n int)");
    application.run("BEGIN; INSERT INTO orders VALUES (1); SELECT postrider.publish('default', 'order.created', '{\"n\": 1}'); COMMIT");
    assert_eq!(bodies(&receiver, 1), [r#"{"n": 1}"#]);
    application.run("BEGIN; INSERT INTO orders VALUES (2); SELECT postrider.publish('default', 'order.created', '{\"n\": 2}'); ROLLBACK");
    application.run("BEGIN; SAVEPOINT s; SELECT postrider.publish('default', 'order.created', '{\"n\": 3}'); ROLLBACK TO s; COMMIT");
    // What comes behind them says that nothing came of them.
    application.publish("'default', 'order.created', '{\"n\": 4}'");
    assert_eq!(bodies(&receiver, 2), [r#"{"n": 1}"#, r#"{"n": 4}"#]);
    assert_eq!(database.number("SELECT count(*) FROM orders"), 1);
    until(&database, EMPTY);
    assert_eq!(database.number("SELECT count(*) FROM postrider.events"), 2);
}

#[test]
fn an_open_transaction_holds_up_nobody_and_comes_when_it_is_committed() {
    let database = Database::new();
    let server = start(&database, &[]);
    let receiver = subscribed(&server, "a.*");
    let (slow, quick) = (Application::new(&database.url), Application::new(&database.url));
    slow.run("BEGIN; SELECT postrider.publish('default', 'a.b', '{\"slow\": 1}')");
    for n in 0..5 {
        quick.publish(&format!("'default', 'a.b', '{{\"n\": {n}}}'"));
        bodies(&receiver, n + 1);
    }
    slow.run("COMMIT");
    assert_eq!(bodies(&receiver, 6)[5], r#"{"slow": 1}"#, "its number is the lowest");
    // Nobody is told of this one, and a node looks all the same.
    quick.run("SET postrider.notify = off; SELECT postrider.publish('default', 'a.b', '{\"quiet\": 1}')");
    assert_eq!(bodies(&receiver, 7)[6], r#"{"quiet": 1}"#);
}

#[test]
fn payloads_come_as_they_were_given() {
    let database = Database::new();
    let server = start(&database, &[]);
    let receiver = subscribed(&server, "a.*");
    let application = Application::new(&database.url);
    let given = r#" {"b" :1.0,  "a":"ü\u0000", "b": 2}"#;
    let nested = format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127));
    let cases = [
        (format!("'{given}'"), given),
        (format!("'{given}'::json"), given),
        (format!("convert_to('{given}', 'UTF8')"), given),
        (String::from(r#"'{"b" :1.0,  "a":"ü", "b": 2}'::jsonb"#), r#"{"a": "ü", "b": 2}"#),
        (String::from("jsonb_build_object('n', 1)"), r#"{"n": 1}"#),
        (format!("payload => '{nested}'"), nested.as_str()),
    ];
    for (n, (argument, expected)) in cases.iter().enumerate() {
        application.publish(&format!("'default', 'a.b', {argument}"));
        assert_eq!(bodies(&receiver, n + 1)[n], *expected, "{argument}");
    }
}

#[test]
fn labels_lifetimes_and_keys_are_those_of_the_event() {
    let database = Database::new();
    let server = start(&database, &[]);
    let (receiver, marker) = (subscribed(&server, "a.*"), subscribed(&server, "z.*"));
    let application = Application::new(&database.url);
    let event = "'default', 'a.b', '{}', labels => '{\"region\": \"eu\"}', metadata => '{\"from\": \"ä\"}', ttl => '1 hour', \
                 idempotency_key => 'order-1'";
    // In one piece, and one after the other.
    application.run(&format!("SELECT postrider.publish({event}), postrider.publish({event})"));
    receiver.wait_for(1);
    application.publish(event);
    application.publish("'default', 'z.end', '{}'");
    marker.wait_for(1);
    until(&database, EMPTY);
    assert_eq!(receiver.count(), 1);
    let api = Api::of(&server);
    let listed = api.get("/v1/delivery/events?event_type=a.b").json();
    assert_eq!(listed["total"], 1, "{listed}");
    let shown = &listed["data"][0];
    let expected = [
        ("labels", json!({"region": "eu"})),
        ("metadata", json!({"from": "ä"})),
        ("ttl_seconds", json!(3_600)),
        ("dedup_key", json!("order-1")),
    ];
    for (field, value) in expected {
        assert_eq!(shown[field], value, "{field}: {shown}");
    }
    // The same key as an event of an API.
    let again = api.post("/v1/delivery/events", &json!({"event_type": "a.b", "payload": {}, "dedup_key": "order-1"}));
    assert_eq!(again.json()["duplicate"], true, "{}", again.text());
}

#[test]
fn what_cannot_be_an_event_is_refused_at_once() {
    let database = Database::new();
    migrate(&database);
    let application = Application::new(&database.url);
    let pairs = |n: usize| format!("(SELECT jsonb_object_agg('k' || n, '') FROM generate_series(1, {n}) n)");
    let text = |n: usize| format!("jsonb_build_object('k', repeat('x', {n}))");
    let deep = |n: usize| format!("'{{\"a\":{}{}}}'", "[".repeat(n), "]".repeat(n));
    let wrong: Vec<(String, &str)> = vec![
        ("NULL, 'a.b', '{}'".into(), "namespace: a namespace is 1 to 64 characters"),
        ("'a b', 'a.b', '{}'".into(), "namespace: a namespace is 1 to 64 characters"),
        ("repeat('n', 65), 'a.b', '{}'".into(), "namespace: a namespace is 1 to 64 characters"),
        ("'d', NULL, '{}'".into(), "type: an event type is 1 to 255 visible ASCII characters"),
        ("'d', 'ä.b', '{}'".into(), "type: an event type is 1 to 255 visible ASCII characters"),
        ("'d', repeat('t', 256), '{}'".into(), "type: an event type is 1 to 255 visible ASCII characters"),
        ("'d', 'a.*', '{}'".into(), "type: an event type has no \"*\""),
        ("'d', 'delivery.x', '{}'".into(), "type: event types that begin with delivery."),
        ("'d', 'a.b', NULL".into(), "payload: is required"),
        ("'d', 'a.b', ''".into(), "payload: must be valid JSON"),
        ("'d', 'a.b', '{\"a\": }'".into(), "payload: must be valid JSON"),
        ("'d', 'a.b', '[1]'".into(), "payload: must be an object"),
        ("'d', 'a.b', 'null'::jsonb".into(), "payload: must be an object"),
        (format!("'d', 'a.b', {}", deep(128)), "payload: its arrays and objects lie deeper than 128 levels"),
        (format!("'d', 'a.b', {}", deep(100_000)), "payload: its arrays and objects lie deeper than 128 levels"),
        ("'d', 'a.b', '{\"a\":\"' || repeat('x', 67108864) || '\"}'".into(), "payload: is larger than 67108864 bytes"),
        ("'d', 'a.b', '{}', labels => '[]'".into(), "labels: must be an object of strings"),
        ("'d', 'a.b', '{}', labels => '{\"a\": 1}'".into(), "labels: must be an object of strings"),
        ("'d', 'a.b', '{}', labels => '{\"a b\": \"\"}'".into(), "labels: a label's key is 1 to 64 characters"),
        ("'d', 'a.b', '{}', labels => '{\"a\": \"\\u0085\"}'".into(), "labels: a label's value is at most 256 bytes"),
        (format!("'d', 'a.b', '{{}}', labels => {}", text(257)), "labels: a label's value is at most 256 bytes"),
        (format!("'d', 'a.b', '{{}}', labels => {}", pairs(21)), "labels: there can be at most 20 labels"),
        ("'d', 'a.b', '{}', metadata => '{\"a\": null}'".into(), "metadata: must be an object of strings"),
        ("'d', 'a.b', '{}', metadata => '{\"\": \"a\"}'".into(), "metadata: must have keys that are not empty"),
        (format!("'d', 'a.b', '{{}}', metadata => {}", text(1_024)), "metadata: must have keys that are not empty"),
        (format!("'d', 'a.b', '{{}}', metadata => {}", pairs(51)), "metadata: must have at most 50 entries"),
        ("'d', 'a.b', '{}', ttl => '999 ms'".into(), "ttl: must be from 1 second to 366 days"),
        ("'d', 'a.b', '{}', ttl => '367 days'".into(), "ttl: must be from 1 second to 366 days"),
        ("'d', 'a.b', '{}', idempotency_key => ''".into(), "idempotency_key: must have 1 to 255 bytes"),
        ("'d', 'a.b', '{}', idempotency_key => repeat('k', 256)".into(), "idempotency_key: must have 1 to 255 bytes"),
    ];
    for (arguments, words) in &wrong {
        let refusal = application.refused(&format!("SELECT postrider.publish({arguments})"));
        assert_eq!(refusal.code, "22023", "{arguments}: {refusal:?}");
        assert!(refusal.message.starts_with(words) && refusal.hint.is_some(), "{arguments}: {refusal:?}");
    }
    assert_eq!(database.number("SELECT count(*) FROM postrider.outbox"), 0);
    // Whoever has the right to write past the function is held to the same.
    let refusal = application.refused("INSERT INTO postrider.outbox (namespace, type, payload) VALUES ('a b', 'a.b', '{}')");
    assert_eq!(refusal.code, "22023", "{refusal:?}");
    let right = format!(
        "repeat('n', 64), repeat('t', 255), {}, labels => {}, metadata => {}, ttl => '366 days', idempotency_key => repeat('k', 255)",
        deep(127),
        pairs(20),
        text(1_023)
    );
    application.publish(&right);
    application.publish(&format!("'d', 'a.b', '{{}}', labels => {}, metadata => NULL, ttl => '1 s'", text(256)));
    application.publish(&format!("'d', 'a.b', '{{}}', labels => NULL, metadata => {}", pairs(50)));
}

#[test]
fn a_role_may_publish_and_nothing_else() {
    let (database, publisher, login) = (Database::new(), new_role(), new_role());
    let name = format!("{publisher} of \"x\"");
    for made in ["was made and may publish", "may publish"] {
        let (done, out, talk) = command(Some(&database.url), &["migrate", "--publisher-role", &name]);
        assert!(done && out.contains(&format!("the role {name} {made}")), "{out}{talk}");
    }
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    database.execute(&format!("CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'; GRANT {quoted} TO {login}"));
    let application = Application::new(&database.url_of(&login));
    // Neither names that the caller makes for itself nor a path of its own lead the function elsewhere.
    application.run("CREATE TEMP TABLE outbox (id int); SET search_path = pg_temp");
    for payload in ["'{}'", "'{}'::jsonb", "'{}'::json", "'{}'::bytea"] {
        assert!(application.publish(&format!("'default', 'a.b', {payload}")) > 0);
    }
    assert_eq!(database.number("SELECT count(*) FROM postrider.outbox"), 4);
    for sql in [
        "SELECT * FROM postrider.outbox",
        "INSERT INTO postrider.outbox (namespace, type, payload) VALUES ('d', 'a.b', '{}')",
        "DELETE FROM postrider.outbox",
        "SELECT nextval('postrider.outbox_id_seq')",
        "SELECT postrider.retry_refused()",
        "SELECT * FROM postrider.events",
        "CREATE TABLE postrider.mine (n int)",
    ] {
        assert_eq!(application.refused(sql).code, "42501", "{sql}");
    }
    let relations = "FROM pg_class c WHERE c.relnamespace = 'postrider'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')";
    let rights = "CASE c.relkind WHEN 'S' THEN has_sequence_privilege('LOGIN', c.oid, 'SELECT, USAGE, UPDATE') \
                  ELSE has_table_privilege('LOGIN', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') END";
    assert!(database.number(&format!("SELECT count(*) {relations}")) > 20);
    assert_eq!(database.number(&format!("SELECT count(*) {relations} AND {}", rights.replace("LOGIN", &login))), 0);
    let functions = format!(
        "SELECT string_agg(DISTINCT proname::text, ' ') FROM pg_proc WHERE pronamespace = 'postrider'::regnamespace \
         AND has_function_privilege('{login}', oid, 'EXECUTE')"
    );
    assert_eq!(database.text(&functions), "publish");
    application.run("DROP TABLE pg_temp.outbox");
    drop(application);
    database.execute(&format!("DROP OWNED BY {quoted}; DROP ROLE {quoted}; DROP OWNED BY {login}; DROP ROLE {login}"));
}

/// Whoever may could make an operator there that fits better than the server's own, and have it run with the owner's rights.
#[test]
fn a_schema_in_which_others_may_create_things_is_refused() {
    let (database, intruder) = (Database::new(), new_role());
    migrate(&database);
    database.execute(&format!(
        "CREATE ROLE {intruder} LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE, CREATE ON SCHEMA postrider TO {intruder}; \
         CREATE TABLE public.ran (what text); GRANT ALL ON public.ran TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC"
    ));
    // One that runs with its rights, as those of the owner of the schema do, and one more way to publish.
    let own = "CREATE FUNCTION postrider.own() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; \
               CREATE FUNCTION postrider.publish(int) RETURNS int LANGUAGE sql AS 'SELECT 1'";
    Application::new(&database.url_of(&intruder)).run(own);
    let words = format!("REVOKE CREATE ON SCHEMA postrider FROM {intruder}");
    for arguments in [&["migrate"][..], &["migrate", "--publisher-role", intruder.as_str()]] {
        let (done, _, talk) = command(Some(&database.url), arguments);
        assert!(!done && talk.contains(&words), "{talk}");
    }
    let (done, out, _) = command(Some(&database.url), &["doctor"]);
    assert!(!done && out.contains(&words), "{out}");
    // What somebody has made there before is not taken all the same.
    let made = |name: &str, types: [&str; 2], answer: &str| {
        format!(
            "CREATE FUNCTION postrider.{name}({0}, {1}) RETURNS {2} LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.ran VALUES ('{name}'); \
             RETURN NULL; END $$; ",
            types[0], types[1], answer
        )
    };
    let operator = |sign: &str, name: &str, types: [&str; 2], answer: &str| {
        format!(
            "{}CREATE OPERATOR postrider.{sign} (LEFTARG = {}, RIGHTARG = {}, FUNCTION = postrider.{name}); ",
            made(name, types, answer),
            types[0],
            types[1]
        )
    };
    let traps = [
        operator("||", "names", ["name", "name"], "text"),
        operator("#>>", "paths", ["jsonb", "jsonb"], "text"),
        operator("<", "less", ["numeric", "int"], "bool"),
        operator(">", "more", ["numeric", "int"], "bool"),
        operator("<=", "not_more", ["numeric", "int"], "bool"),
        operator(">=", "not_less", ["numeric", "int"], "bool"),
        made("left", ["text", "bigint"], "text"),
    ];
    Application::new(&database.url_of(&intruder)).run(&traps.concat());
    let event = "'d', 'a.b', '{}', labels => '{\"a\": \"b\"}', metadata => '{\"a\": \"b\"}', ttl => '1 hour', idempotency_key => 'k'";
    Application::new(&database.url).publish(event);
    assert_eq!(database.number("SELECT count(*) FROM public.ran"), 0);
    database.execute(&format!("{words}; DROP OWNED BY {intruder} CASCADE; DROP ROLE {intruder}"));
    migrate(&database);
}

#[test]
fn who_may_not_make_roles_is_told_what_to_run() {
    let (database, owner, publisher) = (Database::new(), new_role(), new_role());
    database.execute(&format!("CREATE ROLE {owner} LOGIN PASSWORD '{PASSWORD}'"));
    let name = database.text("SELECT current_database()::text");
    database.execute(&format!("GRANT CREATE ON DATABASE {name} TO {owner}"));
    let url = database.url_of(&owner);
    let arguments = ["migrate", "--publisher-role", publisher.as_str()];
    let (done, _, talk) = command(Some(&url), &arguments);
    let wanted = format!("CREATE ROLE {publisher} NOLOGIN");
    assert!(!done && talk.contains(&wanted) && talk.contains("let the administrator GRANT it") && !talk.contains(PASSWORD), "{talk}");
    database.execute(&wanted);
    let (done, out, talk) = command(Some(&url), &arguments);
    assert!(done && out.contains(&format!("the role {publisher} may publish")), "{out}{talk}");
    let (done, _, talk) = command(Some(&database.url_to("nothing_of_this_name")), &arguments);
    assert!(!done && talk.contains("does not have the database"), "{talk}");
    let (done, _, talk) = command(None, &arguments);
    assert!(!done && talk.contains("only a PostgreSQL database has an outbox"), "{talk}");
    database.execute(&format!("DROP OWNED BY {publisher}, {owner} CASCADE; DROP ROLE {publisher}, {owner}"));
}

#[test]
fn what_no_node_takes_is_put_aside_and_can_be_tried_again() {
    let database = Database::new();
    let server = start(&database, &["--max-body", "2KiB"]);
    let receiver = subscribed(&server, "t.*");
    let rpc = Rpc::of(&server);
    rpc.ask("EventService/RegisterEvent", &json!({"name": "t.off", "active": false}));
    let application = Application::new(&database.url);
    let off = application.publish("'default', 't.off', '{\"n\": 1}'");
    let large = application.publish("'default', 't.on', jsonb_build_object('x', repeat('y', 2048))");
    application.publish("'default', 't.on', '{\"n\": 2}'");
    assert_eq!(bodies(&receiver, 1), [r#"{"n": 2}"#], "what is refused holds up nobody");
    until(&database, "SELECT (count(*) = 2 AND count(refused_at) = 2)::int::int8 FROM postrider.outbox");
    let why = |id: i64| database.text(&format!("SELECT refused FROM postrider.outbox WHERE id = {id}"));
    assert_eq!(why(off), "the event type \"t.off\" is not active");
    assert_eq!(why(large), "the payload is larger than 2048 bytes, which is what max_body allows");
    let (_, out, _) = command(Some(&database.url), &["doctor", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    let found = report["findings"].as_array().expect("findings").iter().find(|found| found["check"] == "refused events");
    let found = found.unwrap_or_else(|| panic!("{report}"));
    assert!(found["found"].as_str().is_some_and(|text| text.starts_with("2 events")), "{found}");
    assert!(found["mend"].as_str().is_some_and(|text| text.contains("retry_refused()")), "{found}");

    rpc.ask("EventService/UpdateEvent", &json!({"name": "t.off", "active": true}));
    assert_eq!(database.number(&format!("SELECT postrider.retry_refused({off})")), 1);
    assert_eq!(bodies(&receiver, 2)[1], r#"{"n": 1}"#);
    assert_eq!(database.number("SELECT postrider.retry_refused()"), 1);
    until(&database, "SELECT (count(*) = 1 AND min(refused_at) IS NOT NULL)::int::int8 FROM postrider.outbox");
    assert_eq!(receiver.count(), 2);
}

/// So many events, published in one transaction for a receiver that was subscribed before; no node has run since.
fn committed_while_no_node_runs(count: usize) -> (Database, Receiver) {
    let database = Database::new();
    let server = start(&database, &[]);
    let receiver = subscribed(&server, "a.*");
    assert!(server.stop().0.success());
    database.execute(&format!(
        "SELECT count(postrider.publish('default', 'a.b', jsonb_build_object('n', n))) FROM generate_series(1, {count}) n"
    ));
    (database, receiver)
}

#[test]
fn what_is_committed_while_no_node_runs_is_delivered_when_one_does() {
    const COUNT: usize = 5_000;
    let (database, receiver) = committed_while_no_node_runs(COUNT);
    assert_eq!(database.number("SELECT count(*) FROM postrider.outbox"), COUNT as i64);
    let server = start(&database, &[]);
    let came: BTreeSet<String> = bodies(&receiver, COUNT).into_iter().collect();
    assert_eq!(came.len(), COUNT);
    until(&database, EMPTY);
    assert_eq!(database.number("SELECT count(*) FROM postrider.events"), COUNT as i64);
    assert!(server.stop().0.success());
    assert_eq!(receiver.count(), COUNT, "nothing came twice");
}

/// Publishes numbered events in many transactions, of which this application does every n-th, and in between some that are rolled back, whole or in
/// part: these have numbers that no other has.
fn publish_its_share(application: &Application, (nth, of): (usize, usize), rows: usize) {
    const OF_A_TRANSACTION: usize = 500;
    let publish = |from: usize| {
        format!(
            "SELECT count(postrider.publish('default', 'backlog.row', jsonb_build_object('n', n))) FROM generate_series({from}, {}) n",
            from + OF_A_TRANSACTION - 1
        )
    };
    let undone = publish(rows);
    for (at, from) in (0..rows).step_by(OF_A_TRANSACTION).enumerate().skip(nth).step_by(of) {
        let committed = publish(from);
        match at % 7 {
            0 => application.run(&format!("BEGIN; {undone}; ROLLBACK; BEGIN; {committed}; COMMIT")),
            3 => application.run(&format!("BEGIN; {committed}; SAVEPOINT s; {undone}; ROLLBACK TO s; COMMIT")),
            _ => application.run(&format!("BEGIN; {committed}; COMMIT")),
        }
    }
}

/// What several applications leave over a night.
#[test]
fn a_hundred_thousand_rows_are_delivered_once_each() {
    const ROWS: usize = 100_000;
    const APPLICATIONS: usize = 4;
    let (database, tally) = (Database::new(), Tally::of(ROWS));
    let server = start(&database, &[]);
    server.subscribe(&json!({"target_url": tally.url, "event_types": "backlog.*"}));
    assert!(server.stop().0.success());
    std::thread::scope(|threads| {
        for nth in 0..APPLICATIONS {
            let url = &database.url;
            threads.spawn(move || publish_its_share(&Application::new(url), (nth, APPLICATIONS), ROWS));
        }
    });
    assert_eq!(database.number("SELECT count(*) FROM postrider.outbox"), ROWS as i64);
    let server = start(&database, &[]);
    tally.wait_for_all();
    until(&database, EMPTY);
    until(&database, "SELECT (count(*) = 0)::int::int8 FROM postrider.queue");
    assert_eq!(database.number("SELECT count(*) FROM postrider.events"), ROWS as i64);
    assert_eq!(database.number("SELECT count(*) FROM postrider.deliveries WHERE state = 3"), ROWS as i64);
    assert!(server.stop().0.success());
    // Each has come, so that none has come twice if these are all.
    assert_eq!((tally.requests(), tally.strange()), (ROWS, Vec::new()));
}

/// Each row is still there or is an event, whenever a node dies; and another goes on with what is still there.
#[test]
fn a_node_that_dies_while_it_relays_a_backlog_loses_nothing_of_it() {
    const COUNT: usize = 6_000;
    let (database, receiver) = committed_while_no_node_runs(COUNT);
    // So that there is a middle.
    database.execute(
        "CREATE FUNCTION public.take_a_while() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END'; \
         CREATE TRIGGER slow AFTER DELETE ON postrider.outbox FOR EACH STATEMENT EXECUTE FUNCTION public.take_a_while()",
    );
    let server = start(&database, &[]);
    until(&database, "SELECT (count(*) > 0)::int::int8 FROM postrider.events");
    drop(server.crash());
    // What it had sent off before is committed by now, or will not be.
    until(
        &database,
        "SELECT (count(*) = 0)::int::int8 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'postrider'",
    );
    let (left, made) = (database.number("SELECT count(*) FROM postrider.outbox"), database.number("SELECT count(*) FROM postrider.events"));
    assert!(left > 0 && made > 0, "it died in the middle: {left} are left, {made} were made");
    assert_eq!(left + made, COUNT as i64);
    database.execute("DROP TRIGGER slow ON postrider.outbox; DROP FUNCTION public.take_a_while()");
    let _server = start(&database, &[]);
    until(&database, EMPTY);
    until(&database, "SELECT (count(*) = 0)::int::int8 FROM postrider.queue");
    assert_eq!(database.number("SELECT count(*) FROM postrider.events"), COUNT as i64);
    let came: BTreeSet<String> = bodies(&receiver, COUNT).into_iter().collect();
    assert_eq!(came.len(), COUNT);
}

#[test]
fn of_several_nodes_one_relays_and_another_goes_on_with_it() {
    const COUNT: usize = 300;
    let database = Database::new();
    let (one, two) = (start(&database, &["--node-name", "one"]), start(&database, &["--node-name", "two"]));
    let receiver = subscribed(&one, "a.*");
    let application = Application::new(&database.url);
    let publish = |from: usize| {
        for n in from..from + COUNT {
            application.publish(&format!("'default', 'a.b', '{{\"n\": {n}}}'"));
        }
    };
    until(&database, "SELECT (count(DISTINCT owner) = 2)::int::int8 FROM postrider.slots WHERE owner <> 0");
    let leader = "SELECT n.name FROM postrider.slots s JOIN postrider.nodes n ON n.incarnation = s.owner WHERE s.slot = 0";
    publish(0);
    let before = database.text(leader);
    let (leads, other) = if before == "one" { (one, two) } else { (two, one) };
    assert!(leads.stop().0.success());
    publish(COUNT);
    let came: BTreeSet<String> = bodies(&receiver, 2 * COUNT).into_iter().collect();
    assert_eq!(came.len(), 2 * COUNT);
    until(&database, EMPTY);
    assert_eq!(database.number("SELECT count(*) FROM postrider.events"), 2 * COUNT as i64);
    assert_ne!(database.text(leader), before);
    assert!(other.stop().0.success());
    assert_eq!(receiver.count(), 2 * COUNT, "nothing came twice");
}
