//! What lies in the schema: nodes, the queue, partitions.

use super::report::{Report, Verdict, counted};
use postrider_store::PgInside;
use std::time::Duration;

/// A node says every second that it is alive, and the others end one that has not for four. One that is silent for longer has nobody to end it.
const SILENT: Duration = Duration::from_secs(15);

/// What a row of the queue takes with its indexes, several times over: where it is more, there is hardly anything but what is gone.
const ROW_BYTES: u64 = 4_096;

/// A queue that takes less than this is never too large.
const SMALL_QUEUE: u64 = 256 << 20;

/// A node relays what is in the outbox within a second.
const RELAYED_LATE: Duration = Duration::from_secs(15);

pub(super) fn judge(found: &PgInside, schema: &str, report: &mut Report) {
    nodes(found, report);
    queue(found, schema, report);
    outbox(found, schema, report);
    if found.missing_partitions.is_empty() {
        report.good("partitions", "those of today and of the next two days are there");
    } else {
        let mend = "a node makes them at its start and every hour: look for warnings in its log. Until then rows go to the default partition, which \
                    is as right, but retention removes them one by one";
        report.warn("partitions", format!("missing: {}", found.missing_partitions.join(", ")), mend);
    }
}

fn nodes(found: &PgInside, report: &mut Report) {
    let (silent, alive): (Vec<_>, Vec<_>) =
        found.nodes.iter().filter(|node| node.ended_at.is_none()).partition(|node| node.heartbeat_age >= SILENT);
    if let Some(first) = silent.first() {
        let shown = format!(
            "{} died without anybody who noticed, the first of them {} (incarnation {}), which was last heard {} s ago",
            counted(silent.len() as u64, "has", "have"),
            first.name,
            first.incarnation,
            first.heartbeat_age.as_secs()
        );
        report.warn("nodes", shown, "start a node: it takes them for dead after 4 s, and what they had under way goes on");
    } else {
        let names: Vec<&str> = alive.iter().map(|node| node.name.as_str()).collect();
        report.good("nodes", if names.is_empty() { String::from("none is running") } else { format!("running: {}", names.join(", ")) });
    }
    if found.held_by_ended > 0 {
        let shown = format!("{} still claimed by nodes that have ended", counted(found.held_by_ended, "delivery is", "deliveries are"));
        report.warn("claims", shown, "start a node, or start one again: it takes them over");
    } else {
        report.good("claims", "no delivery is claimed by a node that has ended");
    }
}

fn queue(found: &PgInside, schema: &str, report: &mut Report) {
    let (bytes, rows) = (found.queue_bytes, found.queue_rows);
    if !found.queue_is_counted && bytes >= SMALL_QUEUE {
        let shown = format!("{} MiB; how many rows that is for the server has not counted since its last crash", bytes >> 20);
        return report.good("queue", shown);
    }
    let shown = format!("{} MiB for about {rows} rows, and {} that are gone", bytes >> 20, found.queue_dead_rows);
    let is_fine = bytes < SMALL_QUEUE || bytes / ROW_BYTES < rows;
    let mend = format!(
        "look for old transactions first; then VACUUM {schema}.queue and REINDEX TABLE CONCURRENTLY {schema}.queue. VACUUM FULL makes it as small as \
         it can be, and stops all nodes meanwhile"
    );
    report.judge("queue", (is_fine, Verdict::Warning), shown, mend);
}

fn outbox(found: &PgInside, schema: &str, report: &mut Report) {
    let PgInside { outbox_waiting: waiting, outbox_age: age, outbox_refused: refused, .. } = found;
    let shown = match *waiting {
        0 => String::from("no event waits to be relayed"),
        _ => format!("{} to be relayed, the first for {} s", counted(*waiting, "event waits", "events wait"), age.as_secs()),
    };
    let mend = "start a node; where one runs, its log says why it does not relay them";
    report.judge("outbox", (*age < RELAYED_LATE, Verdict::Warning), shown, mend);
    if let Some(reason) = &found.outbox_reason {
        let count = counted(*refused, "event in the outbox was", "events in the outbox were");
        let shown = format!("{count} refused, the last for this: {reason}");
        let mend = format!(
            "SELECT * FROM {schema}.outbox WHERE refused_at IS NOT NULL; mend the cause or the rows, then SELECT {schema}.retry_refused(), or DELETE \
             them"
        );
        report.warn("refused events", shown, mend);
    }
}
