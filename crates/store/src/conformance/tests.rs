//! The list of cases.

/// A case that is written and not listed would never run.
#[test]
fn every_case_is_listed() {
    let modules = [
        ("configuration", include_str!("configuration.rs")),
        ("publish", include_str!("publish.rs")),
        ("fan_out", include_str!("fan_out.rs")),
        ("settle", include_str!("settle.rs")),
        ("follow_up", include_str!("follow_up.rs")),
        ("claim", include_str!("claim.rs")),
        ("rescue", include_str!("rescue.rs")),
        ("replay", include_str!("replay.rs")),
        ("retry", include_str!("retry.rs")),
        ("cancel", include_str!("cancel.rs")),
        ("expire", include_str!("expire.rs")),
        ("dead_letters", include_str!("dead_letters.rs")),
        ("schedule", include_str!("schedule.rs")),
        ("jobs", include_str!("jobs.rs")),
        ("batches", include_str!("batches.rs")),
        ("requests", include_str!("requests.rs")),
        ("prune", include_str!("prune.rs")),
        ("prune_slices", include_str!("prune_slices.rs")),
        ("gone", include_str!("gone.rs")),
        ("health", include_str!("health.rs")),
        ("series", include_str!("series.rs")),
        ("room", include_str!("room.rs")),
        ("find_attempts", include_str!("find_attempts.rs")),
        ("find_deliveries", include_str!("find_deliveries.rs")),
        ("deliveries_change", include_str!("deliveries_change.rs")),
        ("find_events", include_str!("find_events.rs")),
        ("find_others", include_str!("find_others.rs")),
        ("lookup", include_str!("lookup.rs")),
        ("reads", include_str!("reads.rs")),
    ];
    let list = include_str!("cases.rs");
    for (module, source) in modules {
        let (_, after) = list.split_once(&format!("            {module} {{")).expect("the module is listed");
        let (listed, _) = after.split_once('}').expect("its list ends");
        let listed: Vec<&str> = listed.split_whitespace().collect();
        let written: Vec<&str> =
            source.lines().filter_map(|l| l.strip_prefix("pub async fn ")).filter_map(|l| l.split('<').next()).collect();
        assert_eq!(written, listed, "the cases of {module}");
    }
}
