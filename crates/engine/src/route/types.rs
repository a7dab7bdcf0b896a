//! Event types, and what is made of their schemas.

use super::Routes;
use crate::kept::Kept;
use postrider_core::event::{Namespace, SchemaCheck};
use postrider_core::event_type::EventType;
use postrider_core::schema::{self, BadSchema, EventSchema};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;

/// Most memory that compiled schemas of all registries together may take, in bytes, by [`EventSchema::memory`]: some hundreds of usual ones. What
/// has no room is compiled again when it is used again, which takes some milliseconds at the most.
const MAX_COMPILED_BYTES: usize = 64 << 20;

/// The schemas that payloads were held against last, compiled.
pub(crate) struct Compiled(Kept<Option<EventSchema>>);

impl Compiled {
    pub(crate) fn new() -> Self {
        Compiled(Kept::new(MAX_COMPILED_BYTES))
    }
}

/// A registered event type.
#[derive(Debug)]
pub struct KnownType {
    event_type: EventType,
}

impl Deref for KnownType {
    type Target = EventType;

    fn deref(&self) -> &EventType {
        &self.event_type
    }
}

/// What the check of a payload said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// In short.
    pub check: SchemaCheck,
    /// What the payload breaks; see [`EventSchema::check`].
    pub warnings: Vec<String>,
}

impl KnownType {
    /// A payload made from its schema, as JSON; see [`schema::sample`]. `None` where it has none.
    pub fn sample(&self) -> Option<String> {
        let made = schema::sample(self.event_type.schema.as_ref()?.as_bytes());
        made.inspect_err(|error| self.not_understood(error)).ok().map(|sample| sample.to_string())
    }

    /// Holds a payload against the schema. Up to some tenths of a second of work.
    pub(crate) fn check(&self, compiled: &Compiled, payload: &[u8]) -> Checked {
        let Some(text) = &self.event_type.schema else { return Checked::default() };
        // Kept as well where it is not understood: that is said once, and not with every event.
        let parse = || Ok::<_, Infallible>(EventSchema::parse(text.as_bytes()).inspect_err(|error| self.not_understood(error)).ok());
        let Ok(kept) = compiled.0.get(text, parse, |schema| schema.as_ref().map_or(0, EventSchema::memory));
        let Some(schema) = kept else { return Checked::default() };
        let warnings = schema.check(payload);
        let check = if warnings.is_empty() { SchemaCheck::Passed } else { SchemaCheck::Failed };
        Checked { check, warnings }
    }

    /// It was checked when it was registered, so that only another release has seen it otherwise.
    fn not_understood(&self, error: &BadSchema) {
        tracing::error!(event_type = self.name, %error, "a schema is not understood: nothing is checked");
    }
}

/// Event types by name, in the order of these.
type Registry = BTreeMap<String, Arc<KnownType>>;

/// All event types.
#[derive(Clone, Debug, Default)]
pub(crate) struct Types {
    /// The registry that all share.
    shared: Registry,
    own: HashMap<Namespace, Registry>,
}

impl Types {
    fn registry(&self, of: Option<&Namespace>) -> Option<&Registry> {
        of.map_or(Some(&self.shared), |namespace| self.own.get(namespace))
    }

    fn get(&self, of: Option<&Namespace>, name: &str) -> Option<&Arc<KnownType>> {
        self.registry(of)?.get(name)
    }

    pub(super) fn put(&mut self, new: EventType) {
        let known = KnownType { event_type: new };
        let registry = match &known.namespace {
            None => &mut self.shared,
            Some(namespace) => self.own.entry(namespace.clone()).or_default(),
        };
        registry.insert(known.name.clone(), Arc::new(known));
    }

    pub(super) fn remove(&mut self, of: Option<&Namespace>, name: &str) {
        match of {
            None => drop(self.shared.remove(name)),
            Some(namespace) => {
                let Some(registry) = self.own.get_mut(namespace) else { return };
                registry.remove(name);
                if registry.is_empty() {
                    self.own.remove(namespace);
                }
            }
        }
    }
}

impl Routes {
    /// The types of one registry by name: of a namespace, or of the one that all share.
    pub fn event_types(&self, of: Option<&Namespace>) -> impl Iterator<Item = &Arc<KnownType>> {
        self.types.registry(of).into_iter().flat_map(BTreeMap::values)
    }

    /// The namespaces that have types of their own, in no order.
    pub fn registries(&self) -> impl Iterator<Item = &Namespace> {
        self.types.own.keys()
    }

    /// How many types a registry has.
    pub fn count_of_event_types(&self, of: Option<&Namespace>) -> usize {
        self.types.registry(of).map_or(0, BTreeMap::len)
    }

    /// A type of exactly this registry.
    pub fn event_type(&self, of: Option<&Namespace>, name: &str) -> Option<&Arc<KnownType>> {
        self.types.get(of, name)
    }

    /// The type of an event in a namespace: that of its own registry, or else that of the one that all share.
    pub fn type_of(&self, namespace: &Namespace, name: &str) -> Option<&Arc<KnownType>> {
        self.types.get(Some(namespace), name).or_else(|| self.types.get(None, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::time::Timestamp;

    fn named(name: &str) -> Namespace {
        Namespace::new(name).expect("a namespace")
    }

    fn event_type(registry: Option<&str>, schema: Option<&str>) -> EventType {
        let at = Timestamp::from_secs(1);
        EventType {
            namespace: registry.map(named),
            name: "a.b".to_owned(),
            description: String::new(),
            schema: schema.map(Arc::from),
            metadata: BTreeMap::new(),
            active: true,
            created_at: at,
            updated_at: at,
        }
    }

    fn routes(types: &[EventType]) -> Routes {
        let mut routes = Routes::default();
        for event_type in types {
            Arc::make_mut(&mut routes.types).put(event_type.clone());
        }
        routes
    }

    #[test]
    fn the_own_registry_comes_first() {
        let (shared, own) = (event_type(None, None), event_type(Some("own"), Some("{}")));
        let mut routes = routes(&[shared.clone(), own.clone()]);
        let found = |routes: &Routes, namespace: &str| routes.type_of(&named(namespace), "a.b").map(|known| EventType::clone(known));
        assert_eq!((found(&routes, "own"), found(&routes, "other")), (Some(own.clone()), Some(shared.clone())));
        assert_eq!((routes.event_types(Some(&named("own"))).count(), routes.event_types(Some(&named("other"))).count()), (1, 0));
        Arc::make_mut(&mut routes.types).remove(Some(&named("own")), "a.b");
        assert_eq!((found(&routes, "own"), routes.event_type(Some(&named("own")), "a.b").is_none()), (Some(shared), true));
        Arc::make_mut(&mut routes.types).remove(None, "a.b");
        assert_eq!(found(&routes, "other"), None);
    }

    #[test]
    fn a_schema_is_compiled_once_for_as_long_as_it_is_used() {
        let schema = r#"{"required": ["x"], "properties": {"x": {"type": "integer"}}}"#;
        let known = |routes: &Routes| Arc::clone(routes.event_type(None, "a.b").expect("it is there"));
        let compiled = Compiled::new();
        let kept = || compiled.0.size().0;
        let first = known(&routes(&[event_type(None, Some(schema))]));
        assert_eq!((first.sample().as_deref(), kept()), (Some(r#"{"x":1}"#), 0), "a sample compiles nothing");
        assert_eq!((first.check(&compiled, b"{}").warnings, kept()), (vec![String::from("field 'x': is required")], 1));
        // Another change of the configuration, another type with the same schema.
        let own = routes(&[event_type(Some("own"), Some(schema))]);
        let own = own.event_type(Some(&named("own")), "a.b").expect("it is there");
        assert_eq!((own.check(&compiled, br#"{"x":1}"#).check, kept()), (SchemaCheck::Passed, 1));
        assert_eq!((known(&routes(&[event_type(None, Some("{}"))])).check(&compiled, b"{}").check, kept()), (SchemaCheck::Passed, 2));
        let none = known(&routes(&[event_type(None, None)]));
        assert_eq!((none.check(&compiled, b"{}"), none.sample()), (Checked::default(), None));
        let strange = known(&routes(&[event_type(None, Some("{"))]));
        assert_eq!(
            (strange.check(&compiled, b"{}"), strange.sample(), kept()),
            (Checked::default(), None, 3),
            "kept as one that is not understood"
        );
    }

    #[test]
    fn compiled_schemas_take_bounded_memory() {
        let compiled = Compiled::new();
        for n in 0..100 {
            let choices = vec![0; 20_000];
            let schema = format!(r#"{{"enum": {choices:?}, "title": "{n}"}}"#);
            let routes = routes(&[event_type(None, Some(&schema))]);
            routes.event_type(None, "a.b").expect("it is there").check(&compiled, b"0");
        }
        let (count, bytes) = compiled.0.size();
        assert!((5..50).contains(&count) && bytes <= MAX_COMPILED_BYTES, "{count} {bytes}");
    }
}
