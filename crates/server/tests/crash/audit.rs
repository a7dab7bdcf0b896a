//! What must be true after any number of kills.

use crate::common::Server;
use crate::receiver::{Received, Receiver};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// How long the last life may take to deliver what the earlier ones left.
const PATIENCE: Duration = Duration::from_secs(60);

/// Deliveries that can be in flight at one kill: those of 16 publishers, 32 exchanges with one endpoint, a group of outcomes on its way to the disk.
const IN_FLIGHT_AT_MOST: usize = 100;

/// A delivery is in flight from its sending until its outcome is stored. It is not any more where this many requests came after its own in
/// the same life, for there is no room for them while so many outcomes wait to be stored…
const LATER_REQUESTS: usize = 3 * IN_FLIGHT_AT_MOST;

/// …and this long had gone by at the kill: a single thread of a busy machine may sleep while the others go on.
const IN_FLIGHT: Duration = Duration::from_secs(2);

/// Deliveries that the API showed as delivered, with the life of the server in which it did.
pub type Shown = HashMap<String, u64>;

pub fn everything_arrives(receiver: &Receiver, acknowledged: &BTreeMap<u64, String>) {
    let missing = |log: &[Received]| {
        let arrived: HashSet<u64> = log.iter().filter(|r| r.answered == 200).map(|r| r.event).collect();
        acknowledged.keys().filter(|event| !arrived.contains(event)).count()
    };
    // Looking at the whole log for every request would take for ever: it is looked at once there is enough of it.
    let arrived = receiver.wait_until(PATIENCE, |log| log.len() >= acknowledged.len() && missing(log) == 0);
    let (log, _) = receiver.log();
    assert!(arrived, "{} of {} acknowledged events never arrived", missing(&log), acknowledged.len());
}

pub fn history_is_consistent(server: &Server, acknowledged: &BTreeMap<u64, String>) {
    for (event, delivery) in acknowledged {
        let story = server.task_with_status(delivery, "delivered");
        let task = &story["task"];
        assert_eq!(task["payload"], format!("{{\"event\": {event}}}"), "{story}");
        let logs = story["logs"].as_array().expect("logs");
        let numbers: Vec<u64> = logs.iter().map(|log| log["attempt_number"].as_u64().expect("a number")).collect();
        let ascending: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, ascending, "attempts are numbered without gaps: {story}");
        assert_eq!(task["attempt_count"].as_u64(), numbers.last().copied(), "{story}");
        let outcomes: Vec<&Value> = logs.iter().map(|log| &log["outcome"]).collect();
        let (last, earlier) = outcomes.split_last().expect("at least one attempt");
        assert_eq!(*last, "success", "{story}");
        assert!(earlier.iter().all(|outcome| *outcome == "failed_attempt"), "nothing follows a success: {story}");
    }
}

pub fn no_needless_duplicates(receiver: &Receiver, kills: u64) {
    let (log, killed_at) = receiver.log();
    let mut by_event: HashMap<u64, Vec<&Received>> = HashMap::new();
    for received in &log {
        by_event.entry(received.event).or_default().push(received);
    }
    let mut twice_at_kill: BTreeMap<u64, usize> = BTreeMap::new();
    for requests in by_event.values() {
        let first = requests[0];
        assert!(!first.key.is_empty() && !first.delivery.is_empty());
        for request in requests {
            assert_eq!((&request.key, &request.delivery), (&first.key, &first.delivery), "one event, one key: {requests:#?}");
        }
        for pair in requests.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if before.answered != 200 {
                assert!(after.attempt >= before.attempt, "attempts go forward: {requests:#?}");
                continue;
            }
            assert!(after.life > before.life, "made twice without a kill in between: {requests:#?}");
            let kill = killed_at[usize::try_from(before.life).expect("a small number")];
            let later = log.iter().filter(|r| r.life == before.life && r.at > before.at).count();
            assert!(
                kill.saturating_duration_since(before.at) < IN_FLIGHT || later < LATER_REQUESTS,
                "made twice although it was long done at the kill, {later} requests before it: {requests:#?}"
            );
            *twice_at_kill.entry(before.life).or_default() += 1;
        }
    }
    let most = twice_at_kill.values().max().copied().unwrap_or(0);
    let all: usize = twice_at_kill.values().sum();
    eprintln!("{} requests for {} events; made twice: {all} over {kills} kills, at most {most} at one", log.len(), by_event.len());
    assert!(most <= IN_FLIGHT_AT_MOST, "{most} deliveries were made twice after one kill");
}

/// What the server itself has called delivered is on disk, whatever happens next.
pub fn what_was_shown_as_delivered_stays_so(receiver: &Receiver, shown: &Shown) {
    let (log, _) = receiver.log();
    for request in &log {
        if let Some(life) = shown.get(&request.delivery) {
            assert!(request.life <= *life, "made again after the API had shown it as delivered in life {life}: {request:#?}");
        }
    }
}
