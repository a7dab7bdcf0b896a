//! Event types, with what their schemas come to.

use super::Routes;
use postrider_core::event::{Namespace, SchemaCheck};
use postrider_core::event_type::EventType;
use postrider_core::schema::EventSchema;
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A registered event type.
#[derive(Debug)]
pub struct KnownType {
    event_type: EventType,
    /// What its schema compiles to, once that was asked for: a moment's work, and memory that types which nobody publishes need not take.
    compiled: OnceLock<Option<EventSchema>>,
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
    fn new(event_type: EventType) -> Self {
        KnownType { event_type, compiled: OnceLock::new() }
    }

    /// Its schema, if it has one. Compiled when it is asked for the first time, which takes some milliseconds for a large one.
    pub fn schema(&self) -> Option<&EventSchema> {
        let compile = || {
            let text = self.event_type.schema.as_ref()?;
            let parsed = EventSchema::parse(text.as_bytes());
            // It was checked when it was registered, so that only another release has seen it otherwise.
            parsed
                .inspect_err(|error| tracing::error!(event_type = self.name, %error, "a schema is not understood: nothing is checked"))
                .ok()
        };
        self.compiled.get_or_init(compile).as_ref()
    }

    /// Holds a payload against the schema. Up to some tenths of a second of work.
    pub(crate) fn check(&self, payload: &[u8]) -> Checked {
        let Some(schema) = self.schema() else { return Checked::default() };
        let warnings = schema.check(payload);
        let check = if warnings.is_empty() { SchemaCheck::Passed } else { SchemaCheck::Failed };
        Checked { check, warnings }
    }

    /// Takes over what an earlier one of the same schema has compiled.
    fn keep_compiled(&self, before: &KnownType) {
        if before.schema == self.schema
            && let Some(compiled) = before.compiled.get()
        {
            // Who was quicker has compiled the same.
            _ = self.compiled.set(compiled.clone());
        }
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
        let known = KnownType::new(new);
        if let Some(before) = self.get(known.namespace.as_ref(), &known.name) {
            known.keep_compiled(before);
        }
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

    /// Takes over what these have compiled of schemas that are the same here.
    pub(crate) fn keep_compiled(&self, before: &Routes) {
        let all = self.types.shared.values().chain(self.types.own.values().flat_map(BTreeMap::values));
        for known in all {
            if let Some(earlier) = before.types.get(known.namespace.as_ref(), &known.name) {
                known.keep_compiled(earlier);
            }
        }
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
    fn a_schema_is_compiled_once_for_as_long_as_it_is_the_same() {
        let schema = r#"{"required": ["x"]}"#;
        let old = routes(&[event_type(None, Some(schema))]);
        let known = |routes: &Routes| Arc::clone(routes.event_type(None, "a.b").expect("it is there"));
        assert_eq!(known(&old).check(b"{}").warnings, ["field 'x': is required"]);
        let (same, other) = (routes(&[event_type(None, Some(schema))]), routes(&[event_type(None, Some("{}"))]));
        for (new, is_kept) in [(&same, true), (&other, false)] {
            new.keep_compiled(&old);
            assert_eq!(known(new).compiled.get().is_some(), is_kept);
        }
        assert_eq!(known(&other).check(b"{}").check, SchemaCheck::Passed);
        // A change of anything else keeps it too.
        let mut changed = old.clone();
        Arc::make_mut(&mut changed.types).put(EventType { active: false, ..event_type(None, Some(schema)) });
        assert!(known(&changed).compiled.get().is_some());
        let none = routes(&[event_type(None, None)]);
        assert_eq!(known(&none).check(b"{}"), Checked::default());
    }
}
