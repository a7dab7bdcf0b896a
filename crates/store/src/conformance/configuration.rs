//! Endpoints, subscriptions, keys, event types, and the version that tells of changes.

use super::{Harness, World};
use postrider_core::endpoint::{Deletion, Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::event_type::EventType;
use postrider_core::filter::{LabelFilter, TypePattern};
use postrider_core::key::Scopes;
use postrider_core::limit::RateLimit;
use postrider_core::ports::*;
use postrider_core::retry::RetryPolicy;
use postrider_core::seal::Sealed;
use postrider_core::sign::Scheme;
use postrider_core::subscription::Origin;
use std::time::Duration;

/// A new store has no configuration, and a version all the same.
pub async fn starts_empty<H: Harness>(w: &mut World<H>) {
    let configuration = read(w).await;
    assert!(configuration.endpoints.is_empty() && configuration.subscriptions.is_empty() && configuration.keys.is_empty());
    assert_eq!(version(w).await, configuration.version);
}

/// Every field of every kind comes back as it was put.
pub async fn gives_back_what_was_put<H: Harness>(w: &mut World<H>) {
    let mut endpoint = w.make.endpoint();
    endpoint.namespace = Namespace::new("Tenant-1._").expect("a namespace");
    endpoint.url = "https://example.com:8443/hook?a=ü&b='\"".to_owned();
    endpoint.headers =
        vec![("X-Two".to_owned(), "2".to_owned()), ("X-One".to_owned(), String::new()), ("X-Two".to_owned(), "3".to_owned())];
    endpoint.secrets = vec![Sealed::from_bytes((0..=255).collect()), Sealed::from_bytes(vec![1])];
    endpoint.schemes = vec![Scheme::LegacyTimestamped, Scheme::Postrider, Scheme::Standard];
    endpoint.http.user_agent = Some("agent/1".to_owned());
    endpoint.http.timeout = Duration::from_millis(1_234);
    endpoint.http.follow_redirects = true;
    endpoint.http.verify_tls = false;
    endpoint.http.content_type = Some("application/cloudevents+json".to_owned());
    endpoint.http.expected_status = vec![200, 418];
    endpoint.http.retry = Some(RetryPolicy::rpc(0, Duration::from_secs(7)));
    endpoint.rate_limit = Some(RateLimit { interval: Duration::from_nanos(33_333_333), burst: 7 });
    endpoint.concurrency = Some(3);
    let now = w.make.advance_secs(5);
    endpoint.status = EndpointStatus::Disabled { reason: ErrorCode::EndpointGone, at: now };
    endpoint.updated_at = now;
    endpoint.deleted = Some(Deletion::Erased { erased_at: now });

    let mut subscription = w.make.subscription(&endpoint);
    subscription.origin = Origin::Items;
    subscription.patterns = ["order.*", "*", "user.created"].map(|text| TypePattern::parse(text).expect("a pattern")).to_vec();
    subscription.labels = LabelFilter([("region".to_owned(), "eu ü".to_owned())].into());
    subscription.retry = RetryPolicy::items();
    subscription.deleted_at = Some(now);

    let mut key = w.make.key();
    key.namespace = None;
    key.scopes = Scopes { read: false, write: false, admin: true };
    key.revoked_at = Some(now);

    let order = event_type(w, Some("Tenant-1._"), "order/paid");
    let changes = vec![
        ConfigChange::Key(key.clone()),
        ConfigChange::Endpoint(endpoint.clone()),
        ConfigChange::Subscription(subscription.clone()),
        ConfigChange::EventType(order.clone()),
    ];
    put(w, changes).await;
    let configuration = read(w).await;
    assert_eq!(configuration.endpoints, [endpoint]);
    assert_eq!(configuration.subscriptions, [subscription]);
    assert_eq!(configuration.keys, [key]);
    assert_eq!(configuration.event_types, [order]);
}

/// Event types are apart by registry and name; one is replaced, and removed, under these alone, and stays over a restart.
pub async fn event_types_are_named_by_their_registry<H: Harness>(w: &mut World<H>) {
    let shared = event_type(w, None, "a/b");
    let own = EventType { namespace: Some(named("a")), ..shared.clone() };
    let other = EventType { name: "b".to_owned(), ..own.clone() };
    put(w, [&shared, &own, &other].map(|of| ConfigChange::EventType(of.clone())).to_vec()).await;
    let changed = EventType { active: false, schema: None, ..own.clone() };
    put(w, vec![ConfigChange::EventType(changed.clone())]).await;
    let types = async |w: &World<H>| {
        let mut types = read(w).await.event_types;
        types.sort_by_key(|of| (of.namespace.clone(), of.name.clone()));
        types
    };
    assert_eq!(types(w).await, [shared.clone(), changed.clone(), other.clone()]);
    let before = version(w).await;
    put(w, vec![ConfigChange::NoEventType { registry: None, name: "a/b".to_owned() }]).await;
    assert!(version(w).await > before, "others have to see it");
    put(w, vec![ConfigChange::NoEventType { registry: Some(named("b")), name: "b".to_owned() }]).await;
    w.reopen().await;
    assert_eq!(types(w).await, [changed, other]);
}

/// What is put replaces what has its id, within one batch too, and nothing else.
pub async fn replaces_what_has_the_same_id<H: Harness>(w: &mut World<H>) {
    let (mut endpoint, other) = (w.make.endpoint(), w.make.endpoint());
    put(w, vec![ConfigChange::Endpoint(endpoint.clone()), ConfigChange::Endpoint(other.clone())]).await;
    let mut middle = endpoint.clone();
    middle.url = "http://127.0.0.1:9/middle".to_owned();
    endpoint.url = "http://127.0.0.1:9/last".to_owned();
    put(w, vec![ConfigChange::Endpoint(middle), ConfigChange::Endpoint(endpoint.clone())]).await;
    let mut found = read(w).await.endpoints;
    found.sort_by_key(|e| e.id);
    assert_eq!(found, [endpoint, other]);
}

/// The version rises with every change and only then, and is the same wherever it is read.
pub async fn version_rises_with_every_change<H: Harness>(w: &mut World<H>) {
    let mut last = version(w).await;
    for _ in 0..3 {
        assert_eq!(version(w).await, last, "asking changes nothing");
        let key = w.make.key();
        put(w, vec![ConfigChange::Key(key)]).await;
        let next = version(w).await;
        assert!(next > last, "{next} follows {last}");
        assert_eq!(read(w).await.version, next);
        last = next;
    }
}

/// What was made from an older version is not stored, nothing of it, whoever changed the configuration since.
pub async fn an_older_version_is_not_written_over<H: Harness>(w: &mut World<H>) {
    let (first, second) = (w.make.endpoint(), w.make.endpoint());
    let before = version(w).await;
    let change = |endpoint: &Endpoint| vec![ConfigChange::Endpoint(endpoint.clone())];
    let answer = w.store().configure(before, change(&first)).await.expect("configure");
    let after = version(w).await;
    assert_eq!(answer, Configured::Stored { version: after });
    for wrong in [before, after + 1] {
        assert_eq!(w.store().configure(wrong, change(&second)).await, Ok(Configured::Conflict));
    }
    assert_eq!((version(w).await, read(w).await.endpoints), (after, vec![first]));
    let answer = w.store().configure(after, change(&second)).await;
    assert_eq!(answer, Ok(Configured::Stored { version: version(w).await }));
    // What retention removes is a change too.
    let gone = Endpoint { deleted: Some(Deletion::Kept(w.make.now())), ..second.clone() };
    put(w, change(&gone)).await;
    let before = version(w).await;
    let later = w.make.advance_secs(1);
    assert_eq!(w.prune(super::prune::before(later)).await.configuration, 1);
    assert_eq!(w.store().configure(before, change(&second)).await, Ok(Configured::Conflict));
}

/// Configuration and version outlive a restart.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    let endpoint = w.make.endpoint();
    let subscription = w.make.subscription(&endpoint);
    put(w, vec![ConfigChange::Endpoint(endpoint.clone()), ConfigChange::Subscription(subscription.clone())]).await;
    let before = version(w).await;
    w.reopen().await;
    let configuration = read(w).await;
    assert_eq!((configuration.endpoints, configuration.subscriptions), (vec![endpoint], vec![subscription]));
    assert!(version(w).await >= before, "the version never falls");
    let key = w.make.key();
    put(w, vec![ConfigChange::Key(key)]).await;
    assert!(version(w).await > before, "a change after the restart is seen as one");
}

fn named(name: &str) -> Namespace {
    Namespace::new(name).expect("a namespace")
}

fn event_type<H: Harness>(w: &World<H>, registry: Option<&str>, name: &str) -> EventType {
    EventType {
        namespace: registry.map(named),
        name: name.to_owned(),
        description: "what it means: \u{fc}".to_owned(),
        schema: Some("{\"type\" : \"object\"}".into()),
        metadata: [("owner".to_owned(), "shop".to_owned())].into(),
        active: true,
        created_at: w.make.now(),
        updated_at: w.make.now(),
    }
}

async fn put<H: Harness>(w: &World<H>, changes: Vec<ConfigChange>) {
    w.configure(changes).await.expect("configure");
}

async fn read<H: Harness>(w: &World<H>) -> Configuration {
    w.store().configuration().await.expect("configuration")
}

async fn version<H: Harness>(w: &World<H>) -> i64 {
    w.store().configuration_version().await.expect("configuration_version")
}
