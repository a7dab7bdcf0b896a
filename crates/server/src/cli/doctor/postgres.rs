//! The database that nodes share: whether it can be reached, what the role may do there, and what the server is set to.

use super::report::{Report, Verdict, counted};
use super::{inside, keys};
use crate::cli::{CommandError, runtime};
use crate::clock::SystemClock;
use crate::config::Config;
use postrider_store::{PgFindings, PgOpenError, PgOptions};
use std::time::Duration;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// From this difference of clocks on people are misled by times, and from that on nothing is due when it should be.
const CLOCK_MISLEADS_US: u64 = 1_000_000;
const CLOCK_IS_WRONG_US: u64 = 30_000_000;

/// A transaction that is this old keeps rows that are gone from being cleaned away; one that is that old has for long.
const OLD: Duration = Duration::from_secs(300);
const VERY_OLD: Duration = Duration::from_secs(3_600);

/// A replication slot that is behind by so many transactions is felt, and by that many stands still. A busy node makes a thousand in a second.
const MANY: u64 = 1_000_000;
const TOO_MANY: u64 = 20_000_000;

pub(super) fn examine(config: &Config, options: PgOptions, report: &mut Report) -> Result<(), CommandError> {
    let runtime = runtime()?;
    let looked = runtime.block_on(async { tokio::time::timeout(PATIENCE, Box::pin(PgFindings::of(&options, &SystemClock))).await });
    let found = match looked {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            report.wrong("database", error.to_string(), mend_of(&error));
            return Ok(());
        }
        Err(_) => {
            let shown = format!("it did not answer all questions within {} s", PATIENCE.as_secs());
            report.wrong("database", shown, "look at the load of its machine, and at the network between");
            return Ok(());
        }
    };
    judge(&found, &options, report);
    let Some(within) = &found.inside else {
        if found.schema == 0 && (found.rights.may_use || !found.rights.schema_is_there) {
            // The first start finds nothing.
            keys::examine(config, &Default::default(), None, report);
        }
        return Ok(());
    };
    inside::judge(within, &options.schema, report);
    match &within.configured {
        Some(Ok(stored)) => keys::examine(config, stored, within.key_check.as_ref(), report),
        Some(Err(error)) => {
            report.wrong("stored configuration", error.as_str(), "mend what it says; whether secrets can be read was not looked at")
        }
        None => {}
    }
    Ok(())
}

/// The text of the error says what to look at; this says where.
fn mend_of(error: &PgOpenError) -> &'static str {
    match error {
        PgOpenError::Url(_) => "correct POSTRIDER_DATABASE_URL, --database-url or database_url",
        PgOpenError::Refused { .. } => "correct the user or the password, or allow them in the server's pg_hba.conf",
        PgOpenError::NoDatabase { .. } => "CREATE DATABASE, or correct the URL",
        PgOpenError::Tls { .. } => "correct sslmode, sslrootcert, sslcert or sslkey in the URL, or the server's certificate",
        _ => "mend what it says; nothing else could be looked at",
    }
}

/// Everything but what lies in the schema.
pub(super) fn judge(found: &PgFindings, options: &PgOptions, report: &mut Report) {
    let shown = format!("PostgreSQL {} at {}", found.version, found.at);
    report.judge("database", (found.is_new_enough, Verdict::Wrong), shown, "postrider needs PostgreSQL 15 or newer: upgrade the server");
    encoding(found, report);
    schema(found, &options.schema, report);
    rights(found, &options.schema, report);
    clock(found, report);
    durability(found, report);
    cleaning(found, report);
    connections(found, options, report);
    locks(found, options, report);
    match &found.oldest {
        Some(oldest) if oldest.age >= OLD => {
            let shown = format!("{} is in a transaction that began {} min ago", oldest.whose, oldest.age.as_secs() / 60);
            let verdict = if oldest.age >= VERY_OLD { Verdict::Wrong } else { Verdict::Warning };
            let mend =
                "end it (pg_terminate_backend, ROLLBACK PREPARED): until then rows that are gone stay in every table, and all slows down";
            report.judge("old transactions", (false, verdict), shown, mend);
        }
        _ => report.good("old transactions", "there is none that this role can see"),
    }
    held(found, report);
}

/// What needs no session here, and keeps rows that are gone all the same.
fn held(found: &PgFindings, report: &mut Report) {
    let check = "replication";
    let Some(held) = found.held.as_ref().filter(|held| held.transactions >= MANY) else {
        return report.good(check, "no replication slot and no standby holds up the cleaning of tables");
    };
    let shown = format!("{} has kept rows that are gone for {} transactions", held.whose, held.transactions);
    let verdict = if held.transactions >= TOO_MANY { Verdict::Wrong } else { Verdict::Warning };
    let mend = "remove a slot that nobody uses (pg_drop_replication_slot), or have its reader catch up; at a standby end long queries, or turn \
                hot_standby_feedback off: until then all tables grow, and all slows down";
    report.judge(check, (false, verdict), shown, mend);
}

fn schema(found: &PgFindings, name: &str, report: &mut Report) {
    let (there, known) = (found.schema, found.known);
    if there == known {
        report.good("schema", format!("{name} has version {there}, which is up to date"));
    } else if there > known {
        let shown = format!("{name} was made by a newer postrider (version {there}, this one knows {known})");
        report.wrong("schema", shown, "run that release or a later one");
    } else if there > 0 {
        let shown = format!("{name} has version {there}, and this release wants {known}");
        report.warn("schema", shown, "postrider migrate brings it up to date, and so does the next start of a server");
    } else if found.rights.schema_is_there && !found.rights.may_use {
        report.wrong("schema", format!("{name} is closed to {}", found.rights.role), owner(found, name));
    } else {
        report.good("schema", format!("there is no postrider in {name} yet: the first start of a server makes it, or postrider migrate"));
    }
}

fn owner(found: &PgFindings, name: &str) -> String {
    format!("let the role own the schema: ALTER SCHEMA {name} OWNER TO {}", found.rights.role)
}

/// Partitions are made ahead, and old ones are dropped: for that the role must own the tables.
fn rights(found: &PgFindings, name: &str, report: &mut Report) {
    let rights = &found.rights;
    let role = &rights.role;
    if !rights.schema_is_there {
        let mend = format!("GRANT CREATE ON DATABASE to {role}, or CREATE SCHEMA {name} AUTHORIZATION {role}");
        return report.judge("rights", (rights.may_make_schema, Verdict::Wrong), format!("{role} makes the schema {name}"), mend);
    }
    if !rights.may_make_tables {
        return report.wrong("rights", format!("{role} may not make tables in the schema {name}"), owner(found, name));
    }
    if let Some(first) = rights.of_others.first() {
        let count = counted(rights.of_others.len() as u64, "table or sequence belongs", "tables and sequences belong");
        let shown = format!("in {name} {count} to others than {role}, the first of them {first}");
        return report.wrong("rights", shown, "let the role own them: REASSIGN OWNED, or ALTER TABLE … OWNER TO for each");
    }
    if !rights.creators.is_empty() {
        let others = rights.creators.join(", ");
        let shown = format!("{others} may create things in {name}, which could be run with the owner's rights when somebody publishes");
        return report.wrong("rights", shown, format!("REVOKE CREATE ON SCHEMA {name} FROM {others}"));
    }
    report.good("rights", format!("{role} may make tables in {name} and owns what is there"));
}

fn clock(found: &PgFindings, report: &mut Report) {
    let apart = found.clock_ahead_us.unsigned_abs();
    let word = if found.clock_ahead_us < 0 { "behind" } else { "ahead of" };
    let shown = format!("the server's is {} ms {word} this machine's", apart / 1_000);
    let verdict = if apart > CLOCK_IS_WRONG_US { Verdict::Wrong } else { Verdict::Warning };
    let mend = "set both by NTP: retries, expiry and retention go by the clocks of the nodes";
    report.judge("clock", (apart <= CLOCK_MISLEADS_US, verdict), shown, mend);
}

fn setting<'f>(found: &'f PgFindings, name: &str) -> &'f str {
    found.settings.get(name).map_or("not known", String::as_str)
}

/// What is acknowledged is on disk: so it is only where the server keeps to that.
fn durability(found: &PgFindings, report: &mut Report) {
    let of = |name: &str| format!("{name} = {}", setting(found, name));
    let is_on = |name: &str| setting(found, name) == "on";
    report.judge(
        "fsync",
        (is_on("fsync"), Verdict::Wrong),
        of("fsync"),
        "ALTER SYSTEM SET fsync = on: without it a power cut loses what was acknowledged, and may damage the database",
    );
    report.judge(
        "full_page_writes",
        (is_on("full_page_writes"), Verdict::Warning),
        of("full_page_writes"),
        "ALTER SYSTEM SET full_page_writes = on, unless the file system writes pages whole: a power cut may damage the database",
    );
    let shown = of("synchronous_commit");
    match setting(found, "synchronous_commit") {
        // They do it for their own sessions.
        "off" => report.good("synchronous_commit", format!("{shown}; nodes turn it on for what they write")),
        _ => report.good("synchronous_commit", shown),
    }
}

/// Rows change all the time, and what they were must go.
fn cleaning(found: &PgFindings, report: &mut Report) {
    for (name, mend) in [
        ("autovacuum", "ALTER SYSTEM SET autovacuum = on: tables grow without end where nothing cleans them"),
        ("track_counts", "ALTER SYSTEM SET track_counts = on: autovacuum does nothing without it"),
    ] {
        let value = setting(found, name);
        report.judge(name, (value == "on", Verdict::Wrong), format!("{name} = {value}"), mend);
    }
    let name = "idle_in_transaction_session_timeout";
    let value = setting(found, name);
    let mend = "ALTER DATABASE … SET idle_in_transaction_session_timeout = '5min': nodes set their own, but a forgotten session of somebody else's \
                keeps rows that are gone from being cleaned away";
    report.judge("idle transactions", (value != "0", Verdict::Warning), format!("{name} = {value} ms"), mend);
}

/// How many nodes are alive, at the least the one that this is asked for.
fn nodes(found: &PgFindings) -> i64 {
    let alive = found.inside.as_ref().map_or(0, |inside| inside.nodes.iter().filter(|node| node.ended_at.is_none()).count());
    i64::try_from(alive.max(1)).unwrap_or(i64::MAX)
}

/// What one node opens at the most.
fn connections_of_one(options: &PgOptions) -> i64 {
    i64::try_from(options.connections()).unwrap_or(i64::MAX)
}

fn connections(found: &PgFindings, options: &PgOptions, report: &mut Report) {
    let (nodes, each) = (nodes(found), connections_of_one(options));
    let most = found.most_connections;
    let needed = nodes.saturating_mul(each);
    let shown = match nodes {
        1 => format!("{most} are allowed; one node opens up to {each}"),
        _ => format!("{most} are allowed; {nodes} nodes open up to {needed}, {each} each"),
    };
    let mend =
        "raise max_connections (or the limit of the role or the database): a node that is started while others stop needs its own as well";
    let verdict = if most < needed { Verdict::Wrong } else { Verdict::Warning };
    report.judge("connections", (most >= needed.saturating_add(each), verdict), shown, mend);
}

/// Whoever plans statements over all partitions locks these with their indexes, and when partitions change all connections do at once. The server's
/// table of locks has room for two holders of each of these: it takes some more, but nobody promises how many.
fn locks(found: &PgFindings, options: &PgOptions, report: &mut Report) {
    let Some(inside) = &found.inside else { return };
    let number = |name: &str| found.settings.get(name).and_then(|text| text.parse::<i64>().ok());
    let (Some(per_transaction), Some(connections)) = (number("max_locks_per_transaction"), number("max_connections")) else { return };
    let transactions = connections.saturating_add(number("max_prepared_transactions").unwrap_or(0)).max(1);
    let room = per_transaction.saturating_mul(transactions).saturating_mul(2);
    let locks = i64::try_from(inside.locks).unwrap_or(i64::MAX);
    let needed = nodes(found).saturating_mul(connections_of_one(options)).saturating_mul(locks);
    let wanted = (needed / transactions.saturating_mul(2)).saturating_add(1);
    let shown = format!("max_locks_per_transaction = {per_transaction}, room for {room}; the nodes hold up to {needed} at once");
    let mend = format!(
        "ALTER SYSTEM SET max_locks_per_transaction = {}, and restart the server: without room transactions fail and are tried again",
        u64::try_from(wanted).unwrap_or(1).next_power_of_two()
    );
    report.judge("locks", (room >= needed, Verdict::Warning), shown, mend);
}

/// Others lack characters, and somebody's text would be refused.
fn encoding(found: &PgFindings, report: &mut Report) {
    let value = setting(found, "server_encoding");
    let mend = "make another database: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'";
    report.judge("encoding", (value == "UTF8", Verdict::Wrong), format!("server_encoding = {value}"), mend);
}
