//! A running server, as its clients see it: whether it is reached and over what, who the key is, and how the server does.

use super::report::{Report, Verdict, counted};
use crate::cli::client::Asked;
use crate::cli::remote::text::{coarse, moment, took};
use crate::cli::remote::{Connection, Exit, Failure, Output, Remote, clean, is_open};
use crate::cli::{CommandError, runtime};
use crate::clock::SystemClock;
use postrider_core::ports::Clock;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::v1;
use std::time::Duration;
use tokio::time::Instant;

/// Clocks that differ by less are of no interest: so much may be on the way.
const CLOCK_OFF: Duration = Duration::from_secs(5);

/// Receivers take signatures of the last five minutes.
const CLOCK_WRONG: Duration = Duration::from_secs(300);

/// A node says every second that it is alive.
const SILENT: Duration = Duration::from_secs(15);

/// Under load a delivery may be late for a moment.
const LATE: Duration = Duration::from_secs(10);

/// What is late for so long does not come by itself any more.
const VERY_LATE: Duration = Duration::from_secs(600);

/// A key that ends within this time should be replaced.
const KEY_ENDS: Duration = Duration::from_secs(14 * 86_400);

/// How many failing endpoints are named.
const NAMED: usize = 3;

/// Looks at a server; answers how the process ends where something is wrong.
pub(super) fn examine(connection: &Connection, report: &mut Report) -> Result<Exit, CommandError> {
    let runtime = runtime()?;
    match Remote::with(connection, None, Output::plain(false)) {
        Ok(server) => Ok(runtime.block_on(Box::pin(look(&server, report)))),
        Err(failure) => {
            tell("server", &failure, "say where it is with --url, or with a profile of postrider profiles list", report);
            Ok(failure.exit())
        }
    }
}

async fn look(server: &Remote, report: &mut Report) -> Exit {
    let begun = Instant::now();
    if let Err(failure) = server.session().await {
        if failure.exit() == Exit::NotAllowed {
            report.good("server", format!("{} answers", server.url()));
            tell("key", &failure, "make one where the server runs, with postrider keys create", report);
        } else {
            tell("server", &failure, "start it, or correct --url; curl -v shows what is on the way", report);
        }
        return failure.exit();
    }
    let first = begun.elapsed();
    // Over the connection that is there by now, so that the answer takes no longer than it must.
    let (asked_at, begun) = (SystemClock.now(), Instant::now());
    let session = match server.session().await {
        Ok(session) => session,
        Err(failure) => {
            tell("server", &failure, "it answered a moment ago: see whether it has just stopped", report);
            return failure.exit();
        }
    };
    let again = begun.elapsed();
    reached(server, &session, (first, again), report);
    health(server, report).await;
    key(server, &session, asked_at, report);
    clock(moment(session.now.as_option()), asked_at.after(again / 2), report);
    nodes(server, &session, report).await;
    let request = v1::GetOverviewRequest { namespace: server.namespace.clone() };
    match server.call::<_, v1::GetOverviewResponse>("postrider.v1.OverviewService/GetOverview", &request).await {
        Ok(overview) => work(&overview, report),
        Err(failure) => tell("deliveries", &failure, "give a key with the scope read to have them looked at", report),
    }
    Exit::Refused
}

/// Says what a call came to that did not go well: the hint of the failure, or else `mend`, says what to do.
fn tell(check: &'static str, failure: &Failure, mend: &str, report: &mut Report) {
    let text = failure.to_string();
    let (found, hint) = text.split_once('\n').unwrap_or((text.as_str(), ""));
    let hint = hint.trim();
    report.wrong(check, found, if hint.is_empty() { mend } else { hint });
}

fn reached(server: &Remote, session: &v1::GetSessionResponse, (first, again): (Duration, Duration), report: &mut Report) {
    let millis = |span: Duration| took(span.as_secs_f64() * 1_000.0);
    let (first, again) = (millis(first), millis(again));
    let node = if session.node.is_empty() { String::new() } else { format!(", node {}", clean(&session.node)) };
    report.good("server", format!("{} answers in {again}, the first time in {first}{node}, store {}", server.url(), clean(&session.store)));
    let is_tls = server.url().starts_with("https://");
    let shown = match (is_tls, is_open(server.url())) {
        (true, _) => "encrypted, and the certificate is good",
        (false, false) => "not encrypted, but it stays on this machine",
        (false, true) => "not encrypted: whoever is on the way can read the key and the payloads",
    };
    let mend = "put the server behind a proxy that speaks TLS, and name it with https://";
    report.judge("connection", (is_tls || !is_open(server.url()), Verdict::Warning), shown, mend);
    let (theirs, ours) = (session.server_version.as_str(), env!("CARGO_PKG_VERSION"));
    let shown = if theirs == ours { format!("{ours}, as this command") } else { format!("{}, this command is {ours}", clean(theirs)) };
    report.judge(
        "release",
        (theirs == ours, Verdict::Warning),
        shown,
        "use the command of the server's release: the other may lack something",
    );
}

/// Whether the server can do its work.
async fn health(server: &Remote, report: &mut Report) {
    match server.ask(Asked::get("healthz")).await {
        Ok(_) => report.good("health", "the server says that it is healthy"),
        Err(failure) => tell("health", &failure, "its log says what is wrong with its store", report),
    }
}

fn key(server: &Remote, session: &v1::GetSessionResponse, now: Moment, report: &mut Report) {
    let place =
        if session.namespace.is_empty() { String::from("all namespaces") } else { format!("namespace {}", clean(&session.namespace)) };
    let may = if session.scopes.is_empty() { String::from("nothing") } else { session.scopes.join(", ") };
    if session.key_name.is_empty() && session.development {
        let shown = format!("none is needed: in development mode everybody may {may} in {place}");
        let mend = "run it without --dev, and make keys with postrider keys create";
        return report.judge("key", (!is_open(server.url()), Verdict::Warning), shown, mend);
    }
    let name = if session.key_name.is_empty() { String::from("it has no name") } else { clean(&session.key_name) };
    let shown = format!("{name}: may {may} in {place}");
    match moment(session.key_expires_at.as_option()) {
        Some(ends) if ends.since(now) < KEY_ENDS => {
            let shown = format!("{shown}; it ends in {}", coarse(ends.since(now)));
            report.warn("key", shown, "make another one in time, with postrider keys create");
        }
        _ => report.good("key", shown),
    }
}

fn clock(theirs: Option<Moment>, ours: Moment, report: &mut Report) {
    let Some(theirs) = theirs else { return };
    let ahead = theirs.as_micros().saturating_sub(ours.as_micros());
    let by = Duration::from_micros(ahead.unsigned_abs());
    let shown = match by {
        near if near < Duration::from_secs(1) => String::from("within a second of that of this machine"),
        far if ahead > 0 => format!("{} ahead of that of this machine", coarse(far)),
        far => format!("{} behind that of this machine", coarse(far)),
    };
    let verdict = if by >= CLOCK_WRONG { Verdict::Wrong } else { Verdict::Warning };
    let mend = "set the one that is wrong, by NTP: receivers refuse signatures that are more than 5 minutes old, or ahead";
    report.judge("clock", (by < CLOCK_OFF, verdict), shown, mend);
}

async fn nodes(server: &Remote, session: &v1::GetSessionResponse, report: &mut Report) {
    if !session.namespace.is_empty() || !session.scopes.iter().any(|scope| scope == "admin") {
        return report.good("nodes", "not looked at: that wants a key with the scope admin and without a namespace");
    }
    match server.call::<_, v1::ListNodesResponse>("postrider.v1.AdminService/ListNodes", &v1::ListNodesRequest::default()).await {
        Ok(listed) => judge_nodes(&listed.nodes, moment(session.now.as_option()), report),
        Err(failure) => tell("nodes", &failure, "ask again in a moment", report),
    }
}

fn judge_nodes(nodes: &[v1::Node], now: Option<Moment>, report: &mut Report) {
    let alive: Vec<&v1::Node> = nodes.iter().filter(|node| !node.ended_at.is_set()).collect();
    let silent_for = |node: &v1::Node| Some(now?.since(moment(node.last_heartbeat_at.as_option())?));
    let silent = alive.iter().find_map(|node| silent_for(node).filter(|span| *span >= SILENT).map(|span| (*node, span)));
    let names: Vec<String> = alive.iter().map(|node| clean(&node.name)).collect();
    match silent {
        Some((node, span)) => {
            let shown = format!("{} was last heard {} ago", clean(&node.name), coarse(span));
            report.warn("nodes", shown, "see whether it still runs: another node takes it for dead after 4 s, and its work with that");
        }
        None => report.good("nodes", format!("running: {}", names.join(", "))),
    }
    let mut releases: Vec<&str> = alive.iter().map(|node| node.release.as_str()).collect();
    releases.sort_unstable();
    releases.dedup();
    if releases.len() > 1 {
        let shown = format!("nodes run {}", clean(&releases.join(" and ")));
        report.warn("releases", shown, "bring all of them to the same one; until then they only do what the older one can");
    }
}

/// How deliveries and endpoints do.
fn work(overview: &v1::GetOverviewResponse, report: &mut Report) {
    let late = overview.oldest_overdue.as_option().and_then(|overdue| {
        let by = moment(overview.at.as_option())?.since(moment(overdue.due_at.as_option())?);
        Some((by, clean(&overdue.endpoint_name)))
    });
    match late {
        None => report.good("deliveries", "none is late"),
        Some((by, endpoint)) => {
            let shown = format!("one to {endpoint} is late by {}", coarse(by));
            let verdict = if by >= VERY_LATE { Verdict::Wrong } else { Verdict::Warning };
            let mend =
                "postrider top shows what waits and where; a slow endpoint, or one with a rate limit, only holds up its own deliveries";
            report.judge("deliveries", (by < LATE, verdict), shown, mend);
        }
    }
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    let all = counted(number(overview.endpoints.total), "endpoint", "endpoints");
    if overview.failing.is_empty() {
        report.good("endpoints", format!("{all}, none of which fails"));
    } else {
        let named: Vec<String> = overview.failing.iter().take(NAMED).map(named).collect();
        let more = overview.failing.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        report.warn("endpoints", format!("{all}; {}{more}", named.join("; ")), "postrider endpoints show ID says what is wrong, and why");
    }
    let dead = counted(number(overview.open_dead_letters), "is open", "are open");
    let mend = "postrider dlq groups shows their causes, postrider dlq replay delivers them after all";
    report.judge("dead letters", (overview.open_dead_letters == 0, Verdict::Warning), dead, mend);
}

fn named(endpoint: &v1::FailingEndpoint) -> String {
    let name = if endpoint.name.is_empty() { &endpoint.url } else { &endpoint.name };
    format!("{} ({}) is {}: {}", clean(name), clean(&endpoint.endpoint_id), clean(&endpoint.problem), clean(&endpoint.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::remote::text::timestamp;

    #[test]
    fn clocks_may_differ_a_little() {
        let of = |ahead: i64| {
            let mut report = Report::default();
            let ours = Moment::from_secs(10_000);
            clock(Some(Moment::from_secs(10_000 + ahead)), ours, &mut report);
            (report.of("clock"), report.text())
        };
        assert_eq!([0, 4, -4, 5, -60, 300].map(|ahead| of(ahead).0), {
            use Verdict::{Good, Warning, Wrong};
            [Good, Good, Good, Warning, Warning, Wrong].map(Some)
        });
        assert!(of(-60).1.contains("1 min behind that of this machine"), "{}", of(-60).1);
    }

    #[test]
    fn what_is_late_and_what_fails_is_named() {
        let at = |seconds: i64| timestamp(Moment::from_secs(seconds));
        let overdue = |due: i64| v1::Overdue { endpoint_name: String::from("shop"), due_at: at(due).into(), ..v1::Overdue::default() };
        let failing = v1::FailingEndpoint {
            endpoint_id: String::from("e1"),
            url: String::from("http://h/"),
            problem: String::from("unhealthy"),
            reason: String::from("5 attempts in a row failed"),
            ..v1::FailingEndpoint::default()
        };
        let judged = |overview: &v1::GetOverviewResponse| {
            let mut report = Report::default();
            work(overview, &mut report);
            report
        };
        let good = judged(&v1::GetOverviewResponse::default());
        assert_eq!(["deliveries", "endpoints", "dead letters"].map(|check| good.of(check)), [Some(Verdict::Good); 3]);
        for (due, verdict) in [(995, Verdict::Good), (900, Verdict::Warning), (100, Verdict::Wrong)] {
            let overview =
                v1::GetOverviewResponse { at: at(1_000).into(), oldest_overdue: overdue(due).into(), ..v1::GetOverviewResponse::default() };
            assert_eq!(judged(&overview).of("deliveries"), Some(verdict), "{due}");
        }
        let bad =
            judged(&v1::GetOverviewResponse { failing: vec![failing; 5], open_dead_letters: 7, ..v1::GetOverviewResponse::default() });
        assert_eq!((bad.of("endpoints"), bad.of("dead letters"), bad.is_wrong()), (Some(Verdict::Warning), Some(Verdict::Warning), false));
        let text = bad.text();
        assert!(text.contains("http://h/ (e1) is unhealthy: 5 attempts in a row failed") && text.contains("and 2 more"), "{text}");
    }

    #[test]
    fn silent_and_unlike_nodes_are_named() {
        let node = |name: &str, heard: i64, release: &str| v1::Node {
            name: name.to_owned(),
            release: release.to_owned(),
            last_heartbeat_at: timestamp(Moment::from_secs(heard)).into(),
            ..v1::Node::default()
        };
        let judged = |nodes: &[v1::Node]| {
            let mut report = Report::default();
            judge_nodes(nodes, Some(Moment::from_secs(1_000)), &mut report);
            report
        };
        assert_eq!(judged(&[node("a", 999, "1"), node("b", 998, "1")]).of("nodes"), Some(Verdict::Good));
        let both = judged(&[node("a", 999, "1"), node("b", 900, "2")]);
        assert_eq!((both.of("nodes"), both.of("releases")), (Some(Verdict::Warning), Some(Verdict::Warning)));
    }

    #[test]
    fn the_hint_of_a_failure_says_how_to_mend_it() {
        let mut report = Report::default();
        tell("server", &Failure::refused("no\n  do this"), "do that", &mut report);
        tell("key", &Failure::refused("no"), "do that", &mut report);
        let text = report.text();
        assert!(text.contains("-> do this") && text.contains("-> do that"), "{text}");
    }
}
