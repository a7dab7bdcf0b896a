//! What nodes on PostgreSQL do together: who has which slots, what they leave for each other to know, what they tell each other, and who is
//! fenced off.

#[path = "pg/database.rs"]
mod database;
mod pg;

use database::{Database, SCHEMA, number};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{PgOptions, PgStore};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// Longer than anything takes that a test waits for.
const WAIT: Duration = Duration::from_secs(60);

impl Database {
    /// Nobody is taken for dead by mistake.
    fn options(&self) -> PgOptions {
        let (heartbeat, lease) = (Duration::from_secs(1), Duration::from_secs(30));
        PgOptions {
            schema: SCHEMA.to_owned(),
            lanes: 2,
            writers: 3,
            readers: 1,
            own_readers: 1,
            heartbeat,
            lease,
            ..PgOptions::new(&self.url)
        }
    }

    async fn node(&self) -> Node {
        Node::open(self.options()).await
    }
}

/// A store, and what an engine over it knows to be its own.
struct Node {
    store: PgStore,
    known: SlotSet,
}

impl Node {
    async fn open(options: PgOptions) -> Self {
        Node { store: PgStore::open(options).await.expect("the store opens"), known: SlotSet::default() }
    }

    async fn survey(&mut self) -> Survey {
        let survey = self.store.survey(self.known).await.expect("a survey");
        self.known = survey.owned;
        survey
    }

    async fn leave(&mut self, leaving: Leaving) {
        self.known = self.known.without(&leaving.slots);
        self.store.leave_slots(leaving).await.expect("it leaves");
    }

    /// The next news but for those that somebody came or went.
    async fn hears(&self) -> News {
        loop {
            let news = timeout(WAIT, self.store.news()).await.expect("news");
            if news != News::Members {
                return news;
            }
        }
    }

    async fn tells(&self, news: News) {
        self.store.tell(vec![news]).await.expect("it is told");
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !is_so().await {
        assert!(since.elapsed() < WAIT, "{what}: not within {} s", WAIT.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An endpoint that lies in this slot.
fn endpoint_in(slot: Slot) -> EndpointId {
    let id = (1..).map(Uuid::from_u128).find(|id| Slot::of(*id) == slot).expect("ids enough");
    EndpointId::new(id)
}

/// What is left to know of a slot that was taken.
fn limiters(survey: &Survey, slot: Slot) -> &Limiters {
    &survey.taken.iter().find(|taken| taken.slot == slot).expect("it was taken").limiters
}

/// Two nodes, of which the second one has nothing yet, and what the first one is to leave to it.
async fn two(database: &Database) -> (Node, Node, SlotSet) {
    let mut a = database.node().await;
    assert_eq!(a.survey().await.owned, SlotSet::ALL);
    let mut b = database.node().await;
    assert!(b.survey().await.owned.is_empty());
    let to_leave = a.survey().await.to_leave;
    (a, b, to_leave)
}

// ---- slots -------------------------------------------------------------------------------------------------------

#[test]
fn a_node_alone_has_all_slots_and_nobody_has_sent_before() {
    block_on(async {
        let database = Database::new("c").await;
        let mut a = database.node().await;
        let first = a.survey().await;
        assert_eq!((first.owned, first.to_leave), (SlotSet::ALL, SlotSet::default()));
        assert!(first.busy.is_empty() && first.taken.len() == SLOTS, "{first:?}");
        assert!(first.taken.iter().all(|taken| taken.limiters == Limiters::Full), "{first:?}");
        assert!(a.survey().await.taken.is_empty(), "it knows them by now");
        // An engine that does not know what it has taken, for the answer was lost.
        assert_eq!(a.store.survey(SlotSet::default()).await.expect("a survey"), first);
        assert!(a.store.may_act() && a.store.is_shared());
    });
}

#[test]
fn who_joins_gets_its_share_with_what_is_left_of_the_limits() {
    block_on(async {
        let database = Database::new("c").await;
        let (mut a, mut b, to_leave) = two(&database).await;
        assert!((64..=192).contains(&to_leave.len()), "{} of 256", to_leave.len());
        let mut slots = to_leave.iter();
        let (slot, other) = (slots.next().expect("one"), slots.next().expect("another one"));
        let kept = SlotSet::ALL.without(&to_leave).iter().next().expect("one that stays");
        let half_a_minute = Duration::from_secs(30);
        let limiters_of_a = [slot, kept].map(|slot| (endpoint_in(slot), half_a_minute)).to_vec();
        a.leave(Leaving { slots: to_leave, limiters: limiters_of_a, busy: Vec::new() }).await;
        let survey = b.survey().await;
        assert_eq!((survey.owned, survey.to_leave, survey.taken.len()), (to_leave, SlotSet::default(), to_leave.len()));
        match limiters(&survey, slot) {
            Limiters::Known(known) => {
                assert_eq!((known.len(), known[0].0), (1, endpoint_in(slot)));
                assert!(known[0].1 > half_a_minute / 2 && known[0].1 <= half_a_minute, "{known:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(limiters(&survey, other), &Limiters::Full);
        assert_eq!(a.survey().await.owned, SlotSet::ALL.without(&to_leave));
        let nodes = b.store.nodes().await.expect("a read");
        let shares: Vec<u64> = nodes.iter().map(|node| node.slots).collect();
        assert_eq!(shares, [to_leave.len() as u64, (SLOTS - to_leave.len()) as u64]);
        // What is not its own it cannot leave.
        a.leave(Leaving { slots: to_leave, ..Leaving::default() }).await;
        assert_eq!(b.survey().await.owned, to_leave);
    });
}

#[test]
fn limits_are_full_again_in_time() {
    block_on(async {
        let database = Database::new("c").await;
        let (mut a, mut b, to_leave) = two(&database).await;
        let slot = to_leave.iter().next().expect("one");
        let soon = vec![(endpoint_in(slot), Duration::from_millis(10))];
        a.leave(Leaving { slots: to_leave, limiters: soon, busy: Vec::new() }).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(limiters(&b.survey().await, slot), &Limiters::Full);
    });
}

#[test]
fn an_endpoint_stays_busy_until_its_exchanges_have_ended() {
    block_on(async {
        let database = Database::new("c").await;
        let (mut a, mut b, to_leave) = two(&database).await;
        let busy: Vec<EndpointId> = to_leave.iter().map(endpoint_in).collect();
        a.leave(Leaving { slots: to_leave, limiters: vec![(busy[0], WAIT)], busy: busy.clone() }).await;
        let all: BTreeSet<EndpointId> = busy.iter().copied().collect();
        let survey = b.survey().await;
        assert_eq!((survey.owned, &survey.busy), (to_leave, &all));
        a.store.free(vec![busy[0]]).await.expect("it is free");
        let rest: BTreeSet<EndpointId> = busy[1..].iter().copied().collect();
        assert_eq!(b.survey().await.busy, rest);
        // A third one comes while the first one still has its exchanges under way.
        let mut c = database.node().await;
        c.survey().await;
        let next = b.survey().await.to_leave;
        assert!(!next.is_empty());
        let second = next.iter().map(endpoint_in).find(|endpoint| rest.contains(endpoint)).expect("one that is busy");
        b.leave(Leaving { slots: next, limiters: vec![(second, WAIT)], busy: Vec::new() }).await;
        let survey = c.survey().await;
        let of_c = |endpoint: &&EndpointId| survey.owned.contains(Slot::of(endpoint.uuid()));
        assert_eq!(survey.busy, rest.iter().filter(of_c).copied().collect::<BTreeSet<_>>());
        assert!(matches!(limiters(&survey, Slot::of(second.uuid())), Limiters::Known(known) if known[0].0 == second), "{survey:?}");
        a.store.free(busy[1..].to_vec()).await.expect("they are free");
        assert!(b.survey().await.busy.is_empty() && c.survey().await.busy.is_empty());
    });
}

#[test]
fn whoever_has_ended_keeps_nobody_waiting() {
    block_on(async {
        let database = Database::new("c").await;
        let (mut a, mut b, to_leave) = two(&database).await;
        let busy = endpoint_in(to_leave.iter().next().expect("one"));
        a.leave(Leaving { slots: to_leave, busy: vec![busy], ..Leaving::default() }).await;
        assert_eq!(b.survey().await.busy, BTreeSet::from([busy]));
        let ended = format!("UPDATE nodes SET ended_at = clock_timestamp() WHERE incarnation = {}", a.store.incarnation());
        database.client().await.batch_execute(&ended).await.expect("it is ended");
        let survey = b.survey().await;
        assert_eq!((survey.owned, survey.busy.is_empty()), (SlotSet::ALL, true));
        assert!(survey.taken.iter().all(|taken| taken.limiters == Limiters::Unknown), "{survey:?}");
        assert_eq!(survey.taken.len(), SLOTS - to_leave.len());
        let refused = a.store.survey(a.known).await;
        assert_eq!(refused.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert!(a.store.is_lost() && !a.store.may_act());
    });
}

#[test]
fn others_take_over_from_a_node_that_died() {
    block_on(async {
        let database = Database::new("c").await;
        let short = PgOptions { heartbeat: Duration::from_millis(200), lease: Duration::from_secs(2), ..database.options() };
        let mut a = Node::open(short).await;
        assert_eq!(a.survey().await.owned, SlotSet::ALL);
        // Its own lease is long: how long the other one's is it knows from that.
        let long = PgOptions { heartbeat: Duration::from_millis(200), lease: Duration::from_secs(120), ..database.options() };
        let mut b = Node::open(long).await;
        assert!(b.survey().await.owned.is_empty());
        let died = Instant::now();
        drop(a);
        let survey = loop {
            // It was told, by itself: a survey by chance would not show that.
            while timeout(WAIT, b.store.news()).await.expect("news") != News::Members {}
            let survey = b.survey().await;
            if !survey.owned.is_empty() {
                break survey;
            }
        };
        assert!(died.elapsed() < Duration::from_secs(30), "after {:?}", died.elapsed());
        assert_eq!((survey.owned, survey.taken.len()), (SlotSet::ALL, SLOTS));
        assert!(survey.taken.iter().all(|taken| taken.limiters == Limiters::Unknown), "{survey:?}");
        // What it takes over it leaves as anybody does.
        b.leave(Leaving { slots: SlotSet::ALL, ..Leaving::default() }).await;
        assert!(b.survey().await.taken.iter().all(|taken| taken.limiters == Limiters::Full));
    });
}

#[test]
fn whoever_leaves_everything_is_about_to_go() {
    block_on(async {
        let database = Database::new("c").await;
        let (mut a, mut b, _) = two(&database).await;
        a.leave(Leaving { slots: SlotSet::ALL, ..Leaving::default() }).await;
        let survey = b.survey().await;
        assert_eq!((survey.owned, survey.to_leave), (SlotSet::ALL, SlotSet::default()), "it need not wait until the other has gone");
        a.store.close().await;
        let after = timeout(WAIT, b.store.news()).await.expect("news");
        assert_eq!(after, News::Members, "it is told that it has gone");
        for refused in [a.store.survey(SlotSet::default()).await.map(drop), a.store.leave_slots(Leaving::default()).await] {
            assert_eq!(refused.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        }
        assert!(b.survey().await.taken.is_empty());
    });
}

#[test]
fn whoever_leaves_everything_and_stays_gets_its_share_again() {
    block_on(async {
        let database = Database::new("c").await;
        let (mut a, mut b, to_leave) = two(&database).await;
        a.leave(Leaving { slots: SlotSet::ALL, ..Leaving::default() }).await;
        assert_eq!(b.survey().await.owned, SlotSet::ALL);
        assert!(a.survey().await.owned.is_empty());
        assert_eq!(b.survey().await.to_leave, SlotSet::ALL.without(&to_leave));
    });
}

/// It cannot take any yet: nobody would send to the endpoints of slots that were left for it.
#[test]
fn who_has_not_asked_for_slots_yet_gets_none() {
    block_on(async {
        let database = Database::new("c").await;
        let mut a = database.node().await;
        assert_eq!(a.survey().await.owned, SlotSet::ALL);
        let mut b = database.node().await;
        let survey = a.survey().await;
        assert_eq!((survey.owned, survey.to_leave), (SlotSet::ALL, SlotSet::default()));
        b.survey().await;
        assert!(!a.survey().await.to_leave.is_empty());
    });
}

// ---- news --------------------------------------------------------------------------------------------------------

#[test]
fn nodes_hear_what_others_tell() {
    block_on(async {
        let database = Database::new("c").await;
        let (a, b) = (database.node().await, database.node().await);
        a.tells(News::Configuration).await;
        assert_eq!(b.hears().await, News::Configuration);
        let mut make = Fixtures::new(1);
        let due: BTreeSet<EndpointId> = (0..1_000).map(|_| EndpointId::new(make.uuid())).collect();
        a.tells(News::Due(due.iter().copied().collect())).await;
        let mut heard = BTreeSet::new();
        while heard.len() < due.len() {
            match b.hears().await {
                News::Due(some) => heard.extend(some),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heard, due);
        let hastened = vec![(DeliveryId::new(make.uuid()), EndpointId::new(make.uuid()))];
        a.tells(News::Hasten(hastened.clone())).await;
        assert_eq!(b.hears().await, News::Hasten(hastened));
        // Nothing of all this was news to who told it.
        b.tells(News::Work).await;
        assert_eq!(a.hears().await, News::Work);
    });
}

#[test]
fn who_changes_the_configuration_tells_the_others() {
    block_on(async {
        let database = Database::new("c").await;
        let (a, b) = (database.node().await, database.node().await);
        let endpoint = Fixtures::new(1).endpoint();
        let stored = a.store.configure(0, vec![ConfigChange::Endpoint(endpoint.clone())]).await;
        assert_eq!(stored, Ok(Configured::Stored { version: 1 }));
        assert_eq!(b.hears().await, News::Configuration);
        let conflict = a.store.configure(0, vec![ConfigChange::Endpoint(endpoint)]).await;
        assert_eq!(conflict, Ok(Configured::Conflict));
        a.tells(News::Work).await;
        assert_eq!(b.hears().await, News::Work, "of what was not stored nothing is told");
    });
}

#[test]
fn news_go_on_after_the_connection_was_lost() {
    block_on(async {
        let database = Database::new("c").await;
        let (node, client) = (database.node().await, database.client().await);
        let applications = "SELECT pg_notify('postrider_postrider', '1 0 outbox')";
        client.batch_execute(applications).await.expect("it is told");
        assert_eq!(node.hears().await, News::Outbox);
        let kill = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'SELECT pg_notify($1%'";
        until("its connection is killed", async || number(&client, kill).await == 1).await;
        assert_eq!(node.hears().await, News::Missed);
        client.batch_execute(applications).await.expect("it is told");
        assert_eq!(node.hears().await, News::Outbox);
        let other = database.node().await;
        node.tells(News::Configuration).await;
        assert_eq!(other.hears().await, News::Configuration);
    });
}

// ---- what waits --------------------------------------------------------------------------------------------------

#[test]
fn the_backlog_is_read_in_pages() {
    block_on(async {
        let database = Database::new("c").await;
        let (node, mut make) = (database.node().await, Fixtures::new(1));
        let routes: Vec<_> = (0..7).map(|_| make.route()).collect();
        for _ in 0..3 {
            let event = make.event_for(&routes);
            node.store.publish(vec![event]).await.expect("publishes");
            make.advance_secs(1);
        }
        let all = node.store.backlog().await.expect("a read");
        let mut ids: Vec<EndpointId> = routes.iter().map(|route| route.endpoint).collect();
        ids.sort();
        assert_eq!(all.iter().map(|waiting| waiting.endpoint).collect::<Vec<_>>(), ids);
        for limit in [1, 2, 3, 100] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = node.store.backlog_after(after, limit).await.expect("a read");
                assert!(page.len() <= limit as usize);
                let Some(last) = page.last() else { break };
                after = Some(last.endpoint);
                found.extend(page);
            }
            assert_eq!(found, all, "{limit} at a time");
        }
        // Those that are hidden do not end a page.
        let hidden = format!("INSERT INTO erased_endpoints VALUES ('{}'), ('{}')", ids[0].uuid(), ids[2].uuid());
        database.client().await.batch_execute(&hidden).await.expect("they are hidden");
        let page = node.store.backlog_after(None, 2).await.expect("a read");
        assert_eq!(page, [all[1], all[3]]);
    });
}

#[test]
fn several_nodes_share_what_a_dead_one_had() {
    const DELIVERIES: usize = 50;
    block_on(async {
        let database = Database::new("c").await;
        let (a, b, c) = (database.node().await, database.node().await, database.node().await);
        let (mut make, client) = (Fixtures::new(1), database.client().await);
        let route = make.route();
        let events: Vec<NewEvent> = (0..DELIVERIES).map(|_| make.claimed_event_for(&[route])).collect();
        let mut expected: Vec<DeliveryId> = events.iter().map(|event| event.deliveries[0].id).collect();
        a.store.publish(events).await.expect("publishes");
        assert!(b.store.rescue(10).await.expect("rescue").is_empty(), "it is alive");
        let ended = format!("UPDATE nodes SET ended_at = clock_timestamp() WHERE incarnation = {}", a.store.incarnation());
        client.batch_execute(&ended).await.expect("it is ended");
        let mut rescued = Vec::new();
        loop {
            let (of_b, of_c) = tokio::join!(b.store.rescue(7), c.store.rescue(7));
            let (of_b, of_c) = (of_b.expect("rescue"), of_c.expect("rescue"));
            if of_b.is_empty() && of_c.is_empty() {
                break;
            }
            rescued.extend(of_b.iter().chain(&of_c).map(|claimed| claimed.delivery.id));
        }
        rescued.sort();
        expected.sort();
        assert_eq!(rescued, expected, "each of them once");
    });
}

// ---- the fence ---------------------------------------------------------------------------------------------------

#[test]
fn a_node_that_is_ended_in_the_middle_of_a_transaction_stores_nothing() {
    block_on(async {
        let database = Database::new("c").await;
        // It does not find out by its heartbeat.
        let (heartbeat, lease) = (Duration::from_secs(600), Duration::from_secs(3_600));
        let node = Node::open(PgOptions { heartbeat, lease, ..database.options() }).await;
        let (client, locking, mut make) = (database.client().await, database.client().await, Fixtures::new(1));
        node.store.publish(vec![make.event(1)]).await.expect("publishes");
        locking.batch_execute("BEGIN; LOCK TABLE tallies IN EXCLUSIVE MODE").await.expect("a lock");
        let event = make.event(1);
        let publishing = async { node.store.publish(vec![event]).await };
        let ending = async {
            let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'tallies'::regclass AND NOT granted";
            until("the transaction has come to its end but one", async || number(&client, waiting).await > 0).await;
            client.batch_execute("UPDATE nodes SET ended_at = clock_timestamp()").await.expect("it is ended");
            locking.batch_execute("ROLLBACK").await.expect("the lock is free");
        };
        let (answer, ()) = tokio::join!(publishing, ending);
        assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, 1, "what came before is there");
        assert!(node.store.is_lost() && !node.store.may_act());
    });
}

#[test]
fn closing_waits_for_what_is_under_way() {
    block_on(async {
        let database = Database::new("c").await;
        let node = database.node().await;
        let (client, locking, mut make) = (database.client().await, database.client().await, Fixtures::new(1));
        let event = make.event(1);
        let delivery = event.deliveries[0].id;
        node.store.publish(vec![event]).await.expect("publishes");
        locking.batch_execute("BEGIN; LOCK TABLE queue IN EXCLUSIVE MODE").await.expect("a lock");
        let hastening = async { node.store.hasten(delivery, make.now()).await };
        let closing = async {
            let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'queue'::regclass AND NOT granted";
            until("the transaction has begun", async || number(&client, waiting).await > 0).await;
            let free = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                locking.batch_execute("ROLLBACK").await.expect("the lock is free");
            };
            tokio::join!(node.store.close(), free);
        };
        let (answer, ()) = tokio::join!(hastening, closing);
        assert!(answer.is_ok(), "{answer:?}");
        let late = node.store.publish(vec![make.event(1)]).await;
        assert_eq!(late.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert_eq!(number(&client, "SELECT count(*) FROM nodes WHERE ended_at IS NULL").await, 0);
    });
}
