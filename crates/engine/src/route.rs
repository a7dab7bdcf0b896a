//! Routes: the configuration as an immutable snapshot, prepared so that neither routing nor sending has to read or parse anything.

use crate::request;
use http::{HeaderMap, Uri};
use postrider_core::delivery::Delivery;
use postrider_core::endpoint::Endpoint;
use postrider_core::event::{Namespace, SkipReason, Skipped};
use postrider_core::filter::Facts;
use postrider_core::id::{EndpointId, KeyId, SubscriptionId};
use postrider_core::key::ApiKey;
use postrider_core::limit::RateLimit;
use postrider_core::ports::{ConfigChange, Configuration, Target};
use postrider_core::seal::KeyRing;
use postrider_core::sign;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

mod parked;
mod secrets;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use types::Compiled;
pub use types::{Checked, KnownType};

use parked::skips;
pub(crate) use secrets::{Secrets, Signs, newest_secrets};
use types::Types;

/// One subscription with its endpoint, ready to send.
#[derive(Debug)]
pub struct Route {
    /// The subscription.
    pub subscription: Arc<Subscription>,
    /// Its endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Where its lanes go.
    pub target: Arc<Target>,
    /// The endpoint's URL, shared with the attempts made under it.
    pub(crate) url: Arc<str>,
    /// See [`request::template`].
    pub(crate) headers: HeaderMap,
    /// What the endpoint's secrets open to.
    pub(crate) secrets: Arc<Secrets>,
    /// The largest body that is sent, in bytes.
    pub(crate) cap: usize,
}

impl Route {
    pub(crate) fn new(subscription: Arc<Subscription>, endpoint: Arc<Endpoint>, secrets: Arc<Secrets>, user_agent: &str) -> Self {
        Route {
            target: Arc::new(target_of(&subscription, &endpoint)),
            url: endpoint.url.as_str().into(),
            headers: request::template(&subscription, &endpoint, &secrets, user_agent),
            cap: endpoint.cap_for(subscription.origin),
            secrets,
            subscription,
            endpoint,
        }
    }

    /// Whether what is ingested for it must be signed.
    pub fn is_signed(&self) -> bool {
        !self.endpoint.secrets.is_empty()
    }

    /// Whether `header` is a right `X-Hub-Signature-256` of `body` under one of the secrets that sign at this time. The error says why a secret
    /// cannot be opened: then nobody can tell.
    pub fn verify_hub(&self, header: &str, body: &[u8], at: Timestamp) -> Result<bool, &str> {
        let keys = self.secrets.keys.as_ref().map_err(String::as_str)?.in_use(self.endpoint.old_secrets_sign(at));
        Ok(keys.shared.iter().any(|key| sign::verify_hub(key, header, body)))
    }
}

/// The URL was checked when it was stored; one that no longer parses leads nowhere and fails as such.
fn target_of(subscription: &Subscription, endpoint: &Endpoint) -> Target {
    let timeout = subscription.timeout.unwrap_or(endpoint.http.timeout);
    let uri: Uri = endpoint.url.parse().unwrap_or_default();
    let https = uri.scheme_str() != Some("http");
    let host = uri.host().unwrap_or_default();
    Target {
        https,
        host: host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_ascii_lowercase(),
        port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        path_and_query: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        timeout,
        connect_timeout: endpoint.http.connect_timeout.min(timeout),
        follow_redirects: endpoint.http.follow_redirects,
        verify_tls: endpoint.http.verify_tls,
        response_cap: endpoint.http.response_cap,
    }
}

/// Who gets an event.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// In ascending order of subscription id: fan-outs are resumed by it.
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) skipped: Vec<Skipped>,
}

/// An endpoint, and what its secrets open to: all routes to it share that.
#[derive(Clone, Debug)]
struct Known {
    endpoint: Arc<Endpoint>,
    secrets: Arc<Secrets>,
}

/// The whole configuration at one moment.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    pub(crate) version: i64,
    endpoints: BTreeMap<EndpointId, Known>,
    /// Those of retired subscriptions too.
    routes: HashMap<SubscriptionId, Arc<Route>>,
    subscriptions: BTreeMap<SubscriptionId, Arc<Subscription>>,
    by_endpoint: HashMap<EndpointId, BTreeSet<SubscriptionId>>,
    /// Deleted bindings, by the endpoints of what was queued for them: that is still delivered (contract of the Items API, section 9.3). Once
    /// nothing of it is left they are forgotten (`retired.rs`).
    retired: BTreeMap<(EndpointId, SubscriptionId), Arc<Subscription>>,
    /// Subscriptions by namespace and the exact types they name.
    exact: HashMap<Namespace, HashMap<String, Vec<SubscriptionId>>>,
    /// Subscriptions by namespace that name a pattern, or nothing.
    patterns: HashMap<Namespace, Vec<SubscriptionId>>,
    keys: BTreeMap<KeyId, Arc<ApiKey>>,
    keys_by_hash: HashMap<String, Arc<ApiKey>>,
    types: Arc<Types>,
}

impl Routes {
    pub(crate) fn new(configuration: Configuration, ring: &KeyRing, user_agent: &str) -> Self {
        let mut routes = Routes { version: configuration.version, ..Routes::default() };
        let endpoints = configuration.endpoints.into_iter().map(ConfigChange::Endpoint);
        let subscriptions = configuration.subscriptions.into_iter().map(ConfigChange::Subscription);
        let keys = configuration.keys.into_iter().map(ConfigChange::Key);
        let types = configuration.event_types.into_iter().map(ConfigChange::EventType);
        for change in endpoints.chain(subscriptions).chain(keys).chain(types) {
            routes.apply(change, ring, user_agent);
        }
        routes
    }

    /// Takes one change over. Deleted and revoked things disappear.
    pub(crate) fn apply(&mut self, change: ConfigChange, ring: &KeyRing, user_agent: &str) {
        match change {
            ConfigChange::Endpoint(endpoint) => self.put_endpoint(endpoint, ring, user_agent),
            ConfigChange::Subscription(subscription) => self.put_subscription(subscription, user_agent),
            ConfigChange::Key(key) => self.put_key(key),
            ConfigChange::EventType(new) => Arc::make_mut(&mut self.types).put(new),
            ConfigChange::NoEventType { registry, name } => Arc::make_mut(&mut self.types).remove(registry.as_ref(), &name),
        }
    }

    fn put_endpoint(&mut self, endpoint: Endpoint, ring: &KeyRing, user_agent: &str) {
        let id = endpoint.id;
        let affected: Vec<_> = self.subscriptions_of(id).chain(self.retired_of(id)).cloned().collect();
        if endpoint.deleted.is_some() {
            self.endpoints.remove(&id);
            for subscription in affected {
                self.routes.remove(&subscription.id);
                self.retired.remove(&(id, subscription.id));
            }
            return;
        }
        let known = Known { secrets: Arc::new(Secrets::open(&endpoint, ring)), endpoint: Arc::new(endpoint) };
        for subscription in affected {
            let route = Route::new(Arc::clone(&subscription), Arc::clone(&known.endpoint), Arc::clone(&known.secrets), user_agent);
            self.routes.insert(subscription.id, Arc::new(route));
        }
        self.endpoints.insert(id, known);
    }

    fn put_subscription(&mut self, subscription: Subscription, user_agent: &str) {
        let id = subscription.id;
        self.unindex(id);
        let subscription = Arc::new(subscription);
        if subscription.deleted_at.is_some() {
            if subscription.origin == Origin::Items && self.put_route(&subscription, user_agent) {
                self.retired.insert((subscription.endpoint, id), subscription);
            }
            return;
        }
        let namespace = &subscription.namespace;
        let exact: Option<Vec<&str>> = subscription.patterns.iter().map(|p| p.as_exact()).collect();
        match exact {
            Some(types) if !types.is_empty() => {
                let by_type = self.exact.entry(namespace.clone()).or_default();
                for name in types {
                    let ids = by_type.entry(name.to_owned()).or_default();
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
            }
            _ => self.patterns.entry(namespace.clone()).or_default().push(id),
        }
        self.put_route(&subscription, user_agent);
        self.by_endpoint.entry(subscription.endpoint).or_default().insert(id);
        self.subscriptions.insert(id, subscription);
    }

    /// Answers whether there is an endpoint for it.
    fn put_route(&mut self, subscription: &Arc<Subscription>, user_agent: &str) -> bool {
        let Some(Known { endpoint, secrets }) = self.endpoints.get(&subscription.endpoint) else { return false };
        let route = Route::new(Arc::clone(subscription), Arc::clone(endpoint), Arc::clone(secrets), user_agent);
        self.routes.insert(subscription.id, Arc::new(route));
        true
    }

    fn unindex(&mut self, id: SubscriptionId) {
        if let Some(route) = self.routes.remove(&id) {
            self.retired.remove(&(route.endpoint.id, id));
        }
        let Some(old) = self.subscriptions.remove(&id) else {
            return;
        };
        if let Some(ids) = self.by_endpoint.get_mut(&old.endpoint) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_endpoint.remove(&old.endpoint);
            }
        }
        if let Some(ids) = self.patterns.get_mut(&old.namespace) {
            ids.retain(|i| *i != id);
        }
        if let Some(by_type) = self.exact.get_mut(&old.namespace) {
            for name in old.patterns.iter().filter_map(|p| p.as_exact()) {
                if let Some(ids) = by_type.get_mut(name) {
                    ids.retain(|i| *i != id);
                    if ids.is_empty() {
                        by_type.remove(name);
                    }
                }
            }
        }
    }

    fn put_key(&mut self, key: ApiKey) {
        if let Some(old) = self.keys.remove(&key.id) {
            self.keys_by_hash.remove(&old.hash);
        }
        let key = Arc::new(key);
        if key.revoked_at.is_none() {
            self.keys_by_hash.insert(key.hash.clone(), Arc::clone(&key));
        }
        self.keys.insert(key.id, key);
    }

    /// Subscriptions of a namespace that may want events of a type.
    fn named(&self, namespace: &Namespace, event_type: &str) -> impl Iterator<Item = &Arc<Subscription>> {
        let exact = self.exact.get(namespace).and_then(|by_type| by_type.get(event_type));
        let patterns = self.patterns.get(namespace);
        exact.into_iter().flatten().chain(patterns.into_iter().flatten()).filter_map(|id| self.subscriptions.get(id))
    }

    /// Whether anybody would want an event of this type and without labels, were it not for its payload.
    pub(crate) fn may_match(&self, namespace: &Namespace, event_type: &str) -> bool {
        self.named(namespace, event_type).any(|subscription| subscription.may_want(event_type, &BTreeMap::new()))
    }

    /// Everything that matches an event. The payload is read once, and only if it matters to somebody whom everything else fits.
    pub(crate) fn matching(&self, namespace: &Namespace, event_type: &str, labels: &BTreeMap<String, String>, payload: &[u8]) -> Matched {
        let candidates = || self.named(namespace, event_type).filter(|subscription| subscription.may_want(event_type, labels));
        let facts = OnceCell::new();
        let read = || Facts::read(payload, candidates().filter_map(|subscription| subscription.matches.as_ref()));
        let mut matched = Matched::default();
        for subscription in candidates() {
            let id = subscription.id;
            if subscription.matches.as_ref().is_some_and(|predicate| !predicate.matches(facts.get_or_init(read))) {
                continue;
            }
            match self.routes.get(&id) {
                Some(route) if skips(route) => matched.skipped.push(Skipped { subscription: id, reason: SkipReason::EndpointPaused }),
                Some(route) => matched.routes.push(Arc::clone(route)),
                None => matched.skipped.push(Skipped { subscription: id, reason: SkipReason::EndpointGone }),
            }
        }
        matched.routes.sort_unstable_by_key(|r| r.subscription.id);
        matched
    }

    /// The route of a subscription, unless it or its endpoint was deleted.
    pub fn route(&self, id: SubscriptionId) -> Option<&Arc<Route>> {
        self.routes.get(&id).filter(|route| route.subscription.deleted_at.is_none())
    }

    /// The route of what is queued: by its subscription as that is now, to the endpoint for which it was routed. A deleted binding still has
    /// one, as long as that endpoint is there.
    pub(crate) fn route_of_queued(&self, delivery: &Delivery, user_agent: &str) -> Option<Arc<Route>> {
        let route = self.routes.get(&delivery.subscription);
        match route {
            Some(route) if route.endpoint.id == delivery.endpoint => Some(Arc::clone(route)),
            // It has moved since: what it gets from now on goes elsewhere.
            _ => {
                let subscription = route.map(|route| &route.subscription).or_else(|| self.subscriptions.get(&delivery.subscription))?;
                let Known { endpoint, secrets } = self.endpoints.get(&delivery.endpoint)?;
                Some(Arc::new(Route::new(Arc::clone(subscription), Arc::clone(endpoint), Arc::clone(secrets), user_agent)))
            }
        }
    }

    /// A subscription, unless it was deleted.
    pub fn subscription(&self, id: SubscriptionId) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(&id)
    }

    /// Every subscription in the order of creation.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.subscriptions.values()
    }

    /// The subscriptions of an endpoint in the order of creation.
    pub fn subscriptions_of(&self, endpoint: EndpointId) -> impl Iterator<Item = &Arc<Subscription>> {
        self.by_endpoint.get(&endpoint).into_iter().flatten().filter_map(|id| self.subscriptions.get(id))
    }

    /// Deleted bindings for which something may wait.
    pub fn retired(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.retired.values()
    }

    /// Forgets deleted bindings for which nothing waits.
    pub(crate) fn forget_retired(&mut self, idle: &BTreeSet<SubscriptionId>) {
        self.retired.retain(|(_, id), _| !idle.contains(id));
        self.routes.retain(|id, _| !idle.contains(id));
    }

    fn retired_of(&self, endpoint: EndpointId) -> impl Iterator<Item = &Arc<Subscription>> {
        let (from, to) = (SubscriptionId::new(Uuid::nil()), SubscriptionId::new(Uuid::max()));
        self.retired.range((endpoint, from)..=(endpoint, to)).map(|(_, subscription)| subscription)
    }

    /// How often an endpoint may be sent to: the strictest of its own limit and those of its active subscriptions. It holds for all that is
    /// sent there, whichever subscription it is for: what the limits protect is the receiver.
    pub fn rate_limit(&self, endpoint: EndpointId) -> Option<RateLimit> {
        let own = self.endpoint(endpoint).and_then(|e| e.rate_limit);
        let theirs = self.subscriptions_of(endpoint).filter(|s| s.active).filter_map(|s| s.rate_limit);
        own.into_iter().chain(theirs).reduce(RateLimit::strictest)
    }

    /// An endpoint with what its secrets open to, unless it was deleted.
    pub(crate) fn known(&self, id: EndpointId) -> Option<(&Arc<Endpoint>, &Arc<Secrets>)> {
        self.endpoints.get(&id).map(|known| (&known.endpoint, &known.secrets))
    }

    /// An endpoint, unless it was deleted.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id).map(|known| &known.endpoint)
    }

    /// The public half of the newest Ed25519 key with which deliveries to an endpoint are signed, as 64 hexadecimal digits.
    pub fn public_key(&self, id: EndpointId) -> Option<String> {
        let keys = self.endpoints.get(&id)?.secrets.keys.as_ref().ok()?;
        keys.pairs.first().map(sign::Ed25519Key::public_hex)
    }

    /// Every endpoint in the order of creation.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values().map(|known| &known.endpoint)
    }

    /// Why a secret of this endpoint cannot be opened, if one cannot.
    pub(crate) fn unreadable(&self, id: EndpointId) -> Option<&str> {
        let secrets = &self.endpoints.get(&id)?.secrets;
        secrets.keys.as_ref().err().or(secrets.headers.as_ref().err()).map(String::as_str)
    }

    /// A key that was not revoked, by the hash of its secret.
    pub fn key_by_hash(&self, hash: &str) -> Option<&Arc<ApiKey>> {
        self.keys_by_hash.get(hash)
    }

    /// A key by its id, revoked ones too.
    pub fn key(&self, id: KeyId) -> Option<&Arc<ApiKey>> {
        self.keys.get(&id)
    }

    /// Every key, revoked ones too, in the order of creation.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Arc<ApiKey>> {
        self.keys.values()
    }
}
