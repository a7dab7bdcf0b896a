//! Which way leads to a page, and that no way walks over more than it must.

use super::super::publish;
use super::super::session::{Bounds, Session};
use super::super::{files, settle};
use super::*;
use crate::conformance::{Fixtures, Route};
use postrider_core::attempt::Attempt;
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::ports::{NewEvent, Settled, Settlement};
use rusqlite::types::Null;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What SQLite does for a statement, line by line.
fn plan(conn: &Connection, sql: &str) -> Vec<String> {
    let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
    let unbound = rusqlite::params_from_iter(std::iter::repeat_n(Null, explain.parameter_count()));
    explain.query_map(unbound, |row| row.get(3)).expect("a plan").collect::<Result<_>>().expect("lines")
}

#[test]
fn every_part_is_read_in_the_order_of_an_index() {
    let mut conn = Connection::open_in_memory().expect("a database");
    crate::migrate::migrate(&mut conn).expect("a schema");
    let ours = [
        NEWEST,
        NEWEST_IDS,
        LIVE_OF_ENDPOINT,
        OF_EVENT,
        PLACED,
        PLACED_IN_STATES,
        COUNT_PLACED,
        UNSUCCESSFUL,
        COUNT_UNSUCCESSFUL,
        live::WAITING,
    ];
    for sql in ours.into_iter().chain(query::STATEMENTS) {
        let plan = plan(&conn, sql);
        // Lists that are asked whether they have something are made once, before everything else.
        let beside = ["LIST SUBQUERY", "CREATE BLOOM FILTER", "SCAN json_each"];
        let is_walk = |line: &&String| !beside.iter().any(|text| line.starts_with(text));
        let is_good = |line: &String| line.starts_with("SEARCH ") && !line.contains("AUTOMATIC");
        assert!(!plan.is_empty() && plan.iter().filter(is_walk).all(is_good), "{sql}\n{plan:#?}");
    }
    for sql in [UNSUCCESSFUL, COUNT_UNSUCCESSFUL] {
        assert!(plan(&conn, sql)[0].contains("COVERING INDEX deliveries_unsuccessful"), "{sql} reads what is not in the index");
    }
    for sql in [PLACED, COUNT_PLACED] {
        let plan = plan(&conn, sql);
        assert!(plan.len() == 1 && plan[0].starts_with("SEARCH p USING PRIMARY KEY"), "{sql} reads more than places: {plan:#?}");
    }
}

/// A long history of one route, of which only the oldest failed, only the second waits, and all others succeeded.
fn history(s: &mut Session, make: &mut Fixtures, route: Route, length: usize) -> Vec<NewEvent> {
    let events: Vec<NewEvent> = (0..length).map(|_| make.claimed_event_for(&[route])).collect();
    s.begin().expect("begins");
    publish::publish(s, &events).expect("publishes");
    let ends: Vec<Settlement> = events
        .iter()
        .enumerate()
        .filter(|(n, _)| *n != 1)
        .map(|(n, event)| {
            let of = event.deliveries[0];
            let code = ErrorCode::DnsError;
            let (state, outcome) = if n == 0 { (State::Failed(code), make.failure()) } else { (State::Succeeded, make.success()) };
            let attempt = Attempt {
                id: postrider_core::id::AttemptId::new(make.uuid()),
                delivery: of.id,
                subscription: of.subscription,
                endpoint: of.endpoint,
                number: 1,
                target_url: "http://127.0.0.1:9/hook".into(),
                started_at: make.now(),
                outcome: Some(outcome),
            };
            Settlement {
                delivery: of.id,
                namespace: Namespace::default_namespace(),
                subscription: of.subscription,
                from: StateKind::Pending,
                progress: Progress { state, attempts: 1, spent: 1, expires_at: None },
                attempt: Some(attempt),
                attempt_recorded: false,
                keep_claim: false,
                dead_letter: None,
                follow_up: None,
            }
        })
        .collect();
    assert!(settle::settle(s, &ends).expect("settles").iter().all(|settled| *settled == Settled::Stored));
    s.commit().expect("commits");
    events
}

#[test]
fn what_is_not_among_the_newest_is_found_by_an_index() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("postrider.db");
    let steps = Steps { gather: 16, walk: 4 };
    let conn = files::open_database(&file).expect("a database");
    let bounds = Bounds { steps, ..Bounds::default() };
    let (mut s, mut make) = (Session::start(&file, conn, bounds).expect("a session"), Fixtures::new(1));
    let (old, young) = (make.route(), make.route());
    let first = history(&mut s, &mut make, old, 20);
    history(&mut s, &mut make, young, 60);
    let of_state = |state| DeliveryFilter { states: [state].into(), subscription: Some(old.subscription), ..DeliveryFilter::default() };
    for (state, expected) in [(StateKind::Failed, 0), (StateKind::Pending, 1), (StateKind::Succeeded, 19)] {
        let filter = of_state(state);
        let query = Query::new(&s.conn, &filter, Window::first(1)).expect("a query");
        let total = query.total().expect("a number");
        assert_eq!(query.among_the_newest(total, query.walk(steps)).expect("a walk"), None, "they are all of the other");
        let found = find(&s.conn, &filter, Window::first(1), steps).expect("a list");
        let ids: Vec<DeliveryId> = found.page.items.iter().map(|row| row.delivery.id).collect();
        assert_eq!(ids, [first[expected].deliveries[0].id], "{state:?}");
        assert_eq!(found.total, if state == StateKind::Succeeded { 18 } else { 1 });
    }
}

#[test]
fn a_backlog_behind_younger_ones_is_listed_without_a_look_at_all_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("postrider.db");
    let steps = Steps { gather: 16, walk: 4 };
    let conn = files::open_database(&file).expect("a database");
    let bounds = Bounds { steps, ..Bounds::default() };
    let (mut s, mut make) = (Session::start(&file, conn, bounds).expect("a session"), Fixtures::new(1));
    let (large, all, young) = (make.route(), make.route(), make.route());
    let small = Route { endpoint: large.endpoint, ..make.route() };
    let of_small = history(&mut s, &mut make, small, 3);
    history(&mut s, &mut make, large, 3);
    let mut backlog = |s: &mut Session, route| {
        let events: Vec<NewEvent> = (0..40).map(|_| make.event_for(&[route])).collect();
        s.begin().expect("begins");
        publish::publish(s, &events).expect("publishes");
        s.commit().expect("commits");
        events
    };
    let (of_all, of_large) = (backlog(&mut s, all), backlog(&mut s, large));
    history(&mut s, &mut make, young, 30);
    for (what, route, events, newest, more) in [
        ("among as many of the newest as it has", large, &of_large, 39, true),
        ("in its places, since it has no others", all, &of_all, 39, true),
        ("in its places, which are fewer than what waits for the endpoint", small, &of_small, 1, false),
    ] {
        let states = [StateKind::Pending].into();
        let filter = DeliveryFilter { states, subscription: Some(route.subscription), ..DeliveryFilter::default() };
        let query = Query::new(&s.conn, &filter, Window::first(1)).expect("a query");
        let found = query.page(query.total().expect("a number"), steps).expect("a page");
        assert_eq!(found, (vec![Reverse(events[newest].deliveries[0].id.bytes())], more), "{what}");
        assert!(query.live.get().is_none(), "{what}");
    }
}

/// How many steps SQLite's machine makes for a page of five out of a history of that length: without the number, and with it.
fn steps_of_a_page(length: usize) -> (u64, u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("postrider.db");
    let steps = Steps { gather: 16, walk: 4 };
    let conn = files::open_database(&file).expect("a database");
    let bounds = Bounds { steps, ..Bounds::default() };
    let (mut s, mut make) = (Session::start(&file, conn, bounds).expect("a session"), Fixtures::new(1));
    let route = make.route();
    let filter = DeliveryFilter { created_from: Some(make.now()), endpoint: Some(route.endpoint), ..DeliveryFilter::default() };
    history(&mut s, &mut make, route, length);
    let counted = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&counted);
    let count = move || {
        seen.fetch_add(1, Ordering::Relaxed);
        false
    };
    s.conn.progress_handler(1, Some(count)).expect("it counts");
    let without = page(&s.conn, &filter, Window::first(5), steps).expect("a page");
    let cost = counted.swap(0, Ordering::Relaxed);
    let with = find(&s.conn, &filter, Window::first(5), steps).expect("a list");
    assert_eq!((&without.items, without.next, with.total), (&with.page.items, with.page.next, length as u64));
    (cost, counted.load(Ordering::Relaxed))
}

#[test]
fn a_page_without_its_number_costs_what_it_shows() {
    let ((few, few_counted), (many, many_counted)) = (steps_of_a_page(50), steps_of_a_page(1_000));
    assert!(few > 0 && many <= few + few / 2, "{few} steps out of 50 deliveries, {many} out of 1,000");
    assert!(many_counted > 4 * few_counted, "{few_counted} steps with the number out of 50 deliveries, {many_counted} out of 1,000");
}
