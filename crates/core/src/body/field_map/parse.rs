//! Field maps as people write them.

use super::{Added, FieldMap, MAX_FIELD_MAP_BYTES, MAX_FIELD_MAP_ENTRIES, MAX_PATH_BYTES, MAX_PATH_NAMES, Path, Rule};
use crate::invalid::Invalid;
use crate::json::{self, Fields};
use std::collections::BTreeSet;
use std::convert::Infallible;

impl FieldMap {
    /// Reads a map from the text of a JSON object: `{"rules":[{"source","target"}],"static":{},"drop":[]}`, each part optional, or the short
    /// form `{"target":"source"}`, which has none of these three names. `None` for one that does nothing. The error says what is
    /// wrong and where.
    pub fn parse(text: &str) -> Result<Option<Self>, Invalid> {
        if text.len() > MAX_FIELD_MAP_BYTES {
            return Err(Invalid::new("", "a field map is at most 32,768 bytes of JSON"));
        }
        Self::read(text)
    }

    /// Reads a map that was accepted before. Written out it may be longer than it was given, so that its length says nothing any more.
    pub(super) fn read(text: &str) -> Result<Option<Self>, Invalid> {
        let parts = json::fields(text).map_err(|_| Invalid::new("", "a field map must be an object with rules, static or drop"))?;
        let is_short = !parts.iter().any(|(name, _)| ["rules", "static", "drop"].contains(&&**name));
        let map = if is_short { short(&parts)? } else { full(&parts)? };
        map.check()?;
        let does_something = !(map.drop.is_empty() && map.rules.is_empty() && map.added.is_empty());
        Ok(does_something.then(|| FieldMap { text: map.written().into(), ..map }))
    }

    fn check(&self) -> Result<(), Invalid> {
        let mut targets = BTreeSet::new();
        for (n, rule) in self.rules.iter().enumerate() {
            if !targets.insert(&*rule.target) {
                let message = format!("two rules have the target {:?}: a field of the result comes from one source", rule.target);
                return Err(Invalid::new(format!("rules[{n}].target"), message));
            }
        }
        for (part, count) in [("rules", self.rules.len()), ("static", self.added.len()), ("drop", self.drop.len())] {
            if count > MAX_FIELD_MAP_ENTRIES {
                return Err(Invalid::new(part, "at most 64 entries"));
            }
        }
        Ok(())
    }

    fn written(&self) -> String {
        let list = |items: Vec<String>| items.join(",");
        let rule = |rule: &Rule| format!("{{\"source\":{},\"target\":{}}}", json::quoted(&rule.source.text), json::quoted(&rule.target));
        let rules = list(self.rules.iter().map(rule).collect());
        let added = list(self.added.iter().map(|(name, value)| format!("{}:{value}", json::quoted(name))).collect());
        let drop = list(self.drop.iter().map(|path| json::quoted(&path.text)).collect());
        format!("{{\"rules\":[{rules}],\"static\":{{{added}}},\"drop\":[{drop}]}}")
    }
}

fn empty() -> FieldMap {
    FieldMap { text: "".into(), drop: Vec::new(), rules: Vec::new(), added: Vec::new() }
}

fn short(parts: &Fields<'_>) -> Result<FieldMap, Invalid> {
    let rule = |(target, source): &(std::borrow::Cow<'_, str>, &str)| {
        let source = path(source).map_err(|fault| fault.under(target))?;
        Ok(Rule { source, target: checked_target(target).map_err(|fault| fault.under(target))? })
    };
    Ok(FieldMap { rules: parts.iter().map(rule).collect::<Result<_, _>>()?, ..empty() })
}

fn full(parts: &Fields<'_>) -> Result<FieldMap, Invalid> {
    let mut map = empty();
    for (name, value) in parts {
        match &**name {
            "rules" => map.rules = list(name, value, rule)?,
            "drop" => map.drop = list(name, value, path)?,
            "static" => map.added = added(value).map_err(|fault| fault.under("static"))?,
            _ => return Err(Invalid::new(&**name, "unknown: a field map has rules, static and drop")),
        }
    }
    Ok(map)
}

fn list<T>(name: &str, text: &str, read: impl Fn(&str) -> Result<T, Invalid>) -> Result<Vec<T>, Invalid> {
    let mut items = Vec::new();
    let taken = json::each_element(text, |element| {
        items.push(read(element).map_err(|fault| fault.under(&format!("{name}[{}]", items.len())))?);
        Ok(())
    });
    match taken {
        Ok(Ok(())) => Ok(items),
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(Invalid::new(name, "must be a list")),
    }
}

fn rule(text: &str) -> Result<Rule, Invalid> {
    let fields = json::fields(text).map_err(|_| Invalid::new("", "a rule is an object with source and target"))?;
    let (mut source, mut target) = (None, None);
    for (name, value) in fields {
        match &*name {
            "source" => source = Some(path(value).map_err(|fault| fault.under("source"))?),
            "target" => {
                let name = json::string(value).ok_or_else(|| Invalid::new("target", "must be a string"))?;
                target = Some(checked_target(&name).map_err(|fault| fault.under("target"))?);
            }
            _ => return Err(Invalid::new(name.into_owned(), "unknown: a rule has source and target")),
        }
    }
    let source = source.ok_or_else(|| Invalid::new("source", "is missing"))?;
    let target = target.ok_or_else(|| Invalid::new("target", "is missing"))?;
    Ok(Rule { source, target })
}

fn checked_target(name: &str) -> Result<Box<str>, Invalid> {
    if name.is_empty() || name.len() > MAX_PATH_BYTES || name.starts_with('$') || name.contains('.') {
        return Err(Invalid::new(
            "",
            "a target is the name of a field of the result: 1 to 255 bytes, without dots, and not beginning with $",
        ));
    }
    Ok(name.into())
}

fn path(text: &str) -> Result<Path, Invalid> {
    let wrong = |message: &'static str| Err(Invalid::new("", message));
    let Some(text) = json::string(text) else { return wrong("must be a string") };
    let (is_name, names) = match text.strip_prefix("$.") {
        Some(names) => (false, names),
        None => (true, &*text),
    };
    if text.len() > MAX_PATH_BYTES {
        return wrong("a path is at most 255 bytes");
    }
    let names: Vec<Box<str>> = names.split('.').map(Into::into).collect();
    let is_plain = |name: &str| !name.is_empty() && !name.starts_with('$') && !name.contains(['[', ']', '*']);
    if names.len() > MAX_PATH_NAMES || !names.iter().all(|name| is_plain(name)) {
        return wrong("a path is 1 to 8 names of fields separated by dots, such as total, customer.name or $.customer.name");
    }
    Ok(Path { text: (&*text).into(), is_name, names })
}

fn added(text: &str) -> Result<Vec<Added>, Invalid> {
    let fields = json::fields(text).map_err(|_| Invalid::new("", "must be an object: fields and their values"))?;
    let mut added = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let target = checked_target(&name).map_err(|fault| fault.under(&name))?;
        let mut value_text = String::new();
        let Ok(()) = json::compact(value, |piece| {
            value_text.push_str(piece);
            Ok::<(), Infallible>(())
        });
        added.push((target, value_text.into()));
    }
    Ok(added)
}
