use super::report::{Report, Verdict};
use super::{inside, keys, postgres, sqlite};
use crate::boot::secrets as files;
use crate::config::value::Secret;
use crate::config::{Config, Flags};
use postrider_core::ports::Configuration;
use postrider_core::seal::KeyRing;
use postrider_core::time::Timestamp;
use postrider_store::{NodeRow, PgFindings, PgHeld, PgInside, PgOptions, PgRights, PgTransaction};
use std::time::Duration;

/// A database at which there is nothing to mend.
fn good() -> PgFindings {
    let settings = [
        ("autovacuum", "on"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("idle_in_transaction_session_timeout", "300000"),
        ("max_connections", "100"),
        ("max_locks_per_transaction", "64"),
        ("max_prepared_transactions", "0"),
        ("server_encoding", "UTF8"),
        ("synchronous_commit", "on"),
        ("track_counts", "on"),
    ];
    PgFindings {
        at: String::from("db:5432"),
        version: String::from("17.2"),
        is_new_enough: true,
        schema: 1,
        known: 1,
        rights: PgRights {
            role: String::from("postrider"),
            schema_is_there: true,
            may_make_schema: false,
            may_use: true,
            may_make_tables: true,
            of_others: Vec::new(),
            creators: Vec::new(),
        },
        clock_ahead_us: -400_000,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        most_connections: 97,
        oldest: Some(PgTransaction { age: Duration::from_secs(1), whose: String::from("process 7") }),
        held: Some(PgHeld { transactions: 1_000, whose: String::from("a slot") }),
        inside: Some(PgInside { nodes: vec![node("one", 1, None), node("two", 60, Some(1))], ..PgInside::default() }),
    }
}

fn node(name: &str, silent: u64, ended: Option<i64>) -> NodeRow {
    NodeRow {
        incarnation: 1,
        name: name.to_owned(),
        address: None,
        release: String::from("0.1.0"),
        started_at: Timestamp::from_secs(0),
        heartbeat_at: Timestamp::from_secs(1),
        heartbeat_age: Duration::from_secs(silent),
        ended_at: ended.map(Timestamp::from_secs),
        slots: 0,
        is_self: false,
    }
}

fn judged(found: &PgFindings) -> Report {
    let mut report = Report::default();
    let options = PgOptions::new("postgres://h/d");
    postgres::judge(found, &options, &mut report);
    if let Some(within) = &found.inside {
        inside::judge(within, "postrider", &mut report);
    }
    report
}

#[test]
fn where_nothing_is_wrong_nothing_is_to_be_mended() {
    let report = judged(&good());
    assert!(!report.is_wrong());
    assert!(report.text().contains("0 to look at, 0 wrong") && !report.text().contains("->"), "{}", report.text());
    let json: serde_json::Value = serde_json::from_str(&report.json().expect("JSON")).expect("JSON");
    assert_eq!(json["ok"], true);
    assert!(json["findings"].as_array().is_some_and(|all| all.iter().all(|one| one["mend"].is_null())), "{json}");
}

#[test]
fn one_is_not_many() {
    let mut found = good();
    let shown = |found: &PgFindings| judged(found).text();
    let text = shown(&found);
    assert!(text.contains("97 are allowed; one node opens up to 27\n") && text.contains("no event waits to be relayed\n"), "{text}");
    let nodes = vec![node("one", 1, None), node("two", 1, None)];
    found.inside = Some(PgInside { nodes, held_by_ended: 1, outbox_waiting: 1, ..PgInside::default() });
    let text = shown(&found);
    assert!(text.contains("97 are allowed; 2 nodes open up to 54, 27 each\n"), "{text}");
    assert!(text.contains("1 delivery is still claimed") && text.contains("1 event waits to be relayed, the first for 0 s"), "{text}");
    found.inside = Some(PgInside { held_by_ended: 2, outbox_waiting: 2, ..PgInside::default() });
    let text = shown(&found);
    assert!(text.contains("2 deliveries are still claimed") && text.contains("2 events wait to be relayed"), "{text}");
}

#[test]
fn each_thing_that_is_wrong_is_found() {
    type Change = fn(&mut PgFindings);
    let set = |name: &str, value: &str, found: &mut PgFindings| found.settings.insert(name.to_owned(), value.to_owned());
    let table: [(&str, Verdict, Change); 23] = [
        ("database", Verdict::Wrong, |f| f.is_new_enough = false),
        ("schema", Verdict::Wrong, |f| f.schema = 2),
        ("schema", Verdict::Warning, |f| (f.schema, f.known) = (1, 2)),
        ("rights", Verdict::Wrong, |f| f.rights.may_make_tables = false),
        ("rights", Verdict::Wrong, |f| f.rights.of_others = vec![String::from("events")]),
        ("rights", Verdict::Wrong, |f| f.rights.creators = vec![String::from("PUBLIC")]),
        ("rights", Verdict::Wrong, |f| f.rights.schema_is_there = false),
        ("clock", Verdict::Warning, |f| f.clock_ahead_us = 1_500_000),
        ("clock", Verdict::Wrong, |f| f.clock_ahead_us = -31_000_000),
        ("connections", Verdict::Wrong, |f| f.most_connections = 24),
        ("connections", Verdict::Warning, |f| f.most_connections = 40),
        ("old transactions", Verdict::Warning, |f| f.oldest = Some(PgTransaction { age: OLD, whose: String::new() })),
        ("old transactions", Verdict::Wrong, |f| f.oldest = Some(PgTransaction { age: OLD * 20, whose: String::new() })),
        ("replication", Verdict::Warning, |f| f.held = Some(PgHeld { transactions: 1_000_000, whose: String::new() })),
        ("replication", Verdict::Wrong, |f| f.held = Some(PgHeld { transactions: 1 << 30, whose: String::new() })),
        ("nodes", Verdict::Warning, |f| f.inside = Some(PgInside { nodes: vec![node("three", 30, None)], ..PgInside::default() })),
        ("claims", Verdict::Warning, |f| f.inside = Some(PgInside { held_by_ended: 1, ..PgInside::default() })),
        ("outbox", Verdict::Warning, |f| {
            f.inside = Some(PgInside { outbox_waiting: 1, outbox_age: Duration::from_secs(15), ..PgInside::default() });
        }),
        ("refused events", Verdict::Warning, |f| {
            f.inside = Some(PgInside { outbox_refused: 1, outbox_reason: Some(String::from("why")), ..PgInside::default() });
        }),
        ("queue", Verdict::Warning, |f| {
            f.inside = Some(PgInside { queue_bytes: 1 << 30, queue_rows: 9, queue_is_counted: true, ..PgInside::default() });
        }),
        // After a crash of the server nobody knows.
        ("queue", Verdict::Good, |f| f.inside = Some(PgInside { queue_bytes: 1 << 30, ..PgInside::default() })),
        ("locks", Verdict::Warning, |f| f.inside = Some(PgInside { locks: 2_000, ..PgInside::default() })),
        ("partitions", Verdict::Warning, |f| {
            f.inside = Some(PgInside { missing_partitions: vec![String::from("events_p20261123")], ..PgInside::default() });
        }),
    ];
    for (check, verdict, change) in table {
        let mut found = good();
        change(&mut found);
        assert_eq!(judged(&found).of(check), Some(verdict), "{check}: {found:?}");
    }
    for (name, value, verdict) in [
        ("fsync", "off", Verdict::Wrong),
        ("full_page_writes", "off", Verdict::Warning),
        ("autovacuum", "off", Verdict::Wrong),
        ("track_counts", "off", Verdict::Wrong),
        ("synchronous_commit", "off", Verdict::Good),
    ] {
        let mut found = good();
        set(name, value, &mut found);
        assert_eq!(judged(&found).of(name), Some(verdict), "{name}");
    }
    let mut found = good();
    set("server_encoding", "LATIN1", &mut found);
    assert_eq!(judged(&found).of("encoding"), Some(Verdict::Wrong));
    let mut found = good();
    set("idle_in_transaction_session_timeout", "0", &mut found);
    assert_eq!(judged(&found).of("idle transactions"), Some(Verdict::Warning));
}

const OLD: Duration = Duration::from_secs(300);

#[test]
fn an_embedded_store_is_looked_at_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config::of(Flags { data_dir: Some(directory.path().join("data")), ..Flags::default() }).expect("a configuration");
    let mut report = Report::default();
    sqlite::examine(&config, &mut report);
    assert_eq!(
        (report.of("data directory"), report.of("database"), report.of("secrets")),
        (Some(Verdict::Good), Some(Verdict::Good), Some(Verdict::Good))
    );
    assert!(!directory.path().join("data").exists(), "looking makes nothing");
    std::fs::write(directory.path().join("data"), "a file").expect("a file");
    let mut report = Report::default();
    sqlite::examine(&config, &mut report);
    assert_eq!(report.of("data directory"), Some(Verdict::Wrong));
    assert!(report.text().contains("choose another --data-dir"), "{}", report.text());
}

#[test]
fn a_database_wants_a_key_that_is_given() {
    let flags = Flags { database_url: "postgres://h/d".parse().ok(), dev: Some(true), ..Flags::default() };
    let directory = tempfile::tempdir().expect("a directory");
    let dev = Config::of(Flags { data_dir: Some(directory.path().to_owned()), ..flags }).expect("a configuration");
    for (config, verdict) in [(dev.clone(), Verdict::Good), (Config { dev: false, ..dev.clone() }, Verdict::Wrong)] {
        let mut report = Report::default();
        keys::examine(&config, &Configuration::default(), None, &mut report);
        assert_eq!(report.of("secrets"), Some(verdict));
    }
    // A file that lies there has nothing to do with it, and is some node's of the development mode.
    let key = |digits: &str| format!("k1={}", digits.repeat(32));
    files::write(&directory.path().join(files::FILE), &key("ab")).expect("a file");
    let ring = |digits: &str| KeyRing::parse(&key(digits)).expect("a ring");
    for (is_dev, agreed, verdict) in [
        (false, None, Verdict::Wrong),
        (true, None, Verdict::Good),
        (true, Some(files::proof(&ring("ab"))), Verdict::Good),
        (true, Some(files::proof(&ring("cd"))), Verdict::Wrong),
    ] {
        let mut report = Report::default();
        keys::examine(&Config { dev: is_dev, ..dev.clone() }, &Configuration::default(), agreed.as_ref(), &mut report);
        assert_eq!(report.of("secrets"), Some(verdict), "{}", report.text());
    }
}

#[test]
fn who_listens_to_others_needs_an_api_key() {
    let flags = |listen: [u8; 4]| Flags { listen: Some((listen, 8_080).into()), ..Flags::default() };
    let [here, everywhere] = [[127, 0, 0, 1], [0; 4]].map(|listen| Config::of(flags(listen)).expect("a configuration"));
    let given = Config { bootstrap_key: Some(Secret::new("a-key-that-is-given")), ..everywhere.clone() };
    for (config, verdict) in [(here, Verdict::Good), (everywhere, Verdict::Wrong), (given, Verdict::Good)] {
        let mut report = Report::default();
        keys::examine(&config, &Configuration::default(), None, &mut report);
        assert_eq!(report.of("API keys"), Some(verdict), "{}", report.text());
    }
}
