//! Field maps: what becomes of a payload's fields before it is serialized.

use super::Unrenderable;
use super::buffer::Buffer;
use crate::invalid::Invalid;
use crate::json::{self, Kind, NotTaken};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

mod parse;
#[cfg(test)]
mod tests;

/// Most rules of one map, most names it drops, and most fields it adds.
pub const MAX_FIELD_MAP_ENTRIES: usize = 64;

/// Longest path and longest name of a target, in bytes.
pub const MAX_PATH_BYTES: usize = 255;

/// Most names in one path.
pub const MAX_PATH_NAMES: usize = 8;

/// Longest field map, in bytes of its JSON.
pub const MAX_FIELD_MAP_BYTES: usize = 32_768;

/// What becomes of a payload's fields: some are dropped, then some get another name, then some are added.
///
/// - Whatever nothing is said about passes through.
/// - All rules read what is left after dropping, so that two of them can exchange two fields. A rule moves a field: its source is gone from
///   where it was, from inside another object too. One source may have several targets. A source that is not there makes no field.
/// - A target takes the place of a field of the same name; an added (`static`) field takes the place of both.
/// - A path is a name of the payload's own fields, or names separated by dots that lead into nested objects, with `$.` before it or not.
///   Without `$.`, a field of the payload that has the whole path as its name comes first. Elements of arrays have no path.
/// - A target is a field of the result itself.
/// - The result has its fields in the payload's order: a renamed one stands where its source stood, one from inside another object and an
///   added one at the end. Values keep their text, so numbers keep their digits.
/// - A payload that is an array is mapped element by element.
///
/// Stored and shown as JSON: `{"rules":[{"source":…,"target":…}],"static":{…},"drop":[…]}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldMap {
    text: Box<str>,
    drop: Vec<Path>,
    rules: Vec<Rule>,
    added: Vec<Added>,
}

/// A field's name and its value as JSON.
type Added = (Box<str>, Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rule {
    source: Path,
    target: Box<str>,
}

/// Where a field is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Path {
    /// As it was given.
    text: Box<str>,
    /// Whether a field with the whole text as its name comes first.
    is_name: bool,
    /// At least one.
    names: Vec<Box<str>>,
}

/// Where a path leads in one object.
#[derive(Clone, Copy)]
enum Place<'p> {
    /// To one of its own fields.
    Own(usize),
    /// Into one of them.
    Inside(usize, &'p [Box<str>]),
}

impl FieldMap {
    /// The map as JSON.
    pub fn as_json(&self) -> &str {
        &self.text
    }

    /// Maps a payload: an object, or an array of objects. `limit` bounds the result, in bytes.
    pub fn apply(&self, payload: &str, limit: usize) -> Result<String, Unrenderable> {
        let mut out = Buffer::new(payload.len(), limit);
        match json::kind(payload) {
            Kind::Object => self.object(payload, &mut out)?,
            Kind::Array => {
                out.put("[")?;
                let mut first = true;
                let mapped = json::each_element(payload, |element| {
                    out.put(if std::mem::take(&mut first) { "" } else { "," })?;
                    match json::kind(element) {
                        Kind::Object => self.object(element, &mut out),
                        _ => Err(Unrenderable::NoFields),
                    }
                });
                mapped.map_err(Unrenderable::from)??;
                out.put("]")?;
            }
            Kind::String | Kind::Plain => return Err(Unrenderable::NoFields),
        }
        String::from_utf8(out.into_bytes()).map_err(|_| Unrenderable::NotJson)
    }

    fn object(&self, text: &str, out: &mut Buffer) -> Result<(), Unrenderable> {
        let fields = json::fields(text)?;
        let index: HashMap<&str, usize> = fields.iter().enumerate().map(|(n, (name, _))| (&**name, n)).collect();
        let dropped = Gone::new(self.drop.iter().filter_map(|path| path.place(&index)));
        let left = dropped.left_of(fields.iter().map(|(_, text)| Some(Cow::Borrowed(*text))))?;
        let found: Vec<_> = self.rules.iter().filter_map(|rule| rule.find(&index, &left)).collect();
        let moved = Gone::new(found.iter().map(|found| found.place));
        let stay = moved.left_of(left.iter().map(|text| text.as_deref().map(Cow::Borrowed)))?;

        let mut added: BTreeMap<&str, &str> = self.added.iter().map(|(name, text)| (&**name, &**text)).collect();
        let is_added = |name: &str| self.added.iter().any(|(added, _)| **added == *name);
        let targets: BTreeSet<&str> = found.iter().map(|found| found.target).collect();
        let mut by_source: HashMap<usize, Vec<&Found<'_>>> = HashMap::new();
        for found in found.iter().filter(|found| !is_added(found.target)) {
            // Those from inside come behind everything.
            let place = if let Place::Own(n) = found.place { n } else { usize::MAX };
            by_source.entry(place).or_default().push(found);
        }
        let mut writer = ObjectWriter { out, first: true };
        writer.out.put("{")?;
        for (n, (name, _)) in fields.iter().enumerate() {
            for found in by_source.get(&n).into_iter().flatten() {
                writer.field(found.target, &found.text)?;
            }
            match &stay[n] {
                None => {}
                Some(_) if is_added(name) => {
                    if let Some(text) = added.remove(&**name) {
                        writer.field(name, text)?;
                    }
                }
                Some(_) if targets.contains(&**name) => {}
                Some(text) => writer.field(name, text)?,
            }
        }
        for found in by_source.get(&usize::MAX).into_iter().flatten() {
            writer.field(found.target, &found.text)?;
        }
        for (name, text) in self.added.iter().filter(|(name, _)| added.contains_key(&**name)) {
            writer.field(name, text)?;
        }
        writer.out.put("}")
    }
}

impl TryFrom<String> for FieldMap {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        FieldMap::read(&text)?.ok_or_else(|| Invalid::new("", "a stored field map does something"))
    }
}

impl From<FieldMap> for String {
    fn from(map: FieldMap) -> String {
        map.text.into()
    }
}

struct ObjectWriter<'b> {
    out: &'b mut Buffer,
    first: bool,
}

impl ObjectWriter<'_> {
    fn field(&mut self, name: &str, text: &str) -> Result<(), Unrenderable> {
        let comma = if std::mem::take(&mut self.first) { "" } else { "," };
        self.out.put_all([comma, &json::quoted(name), ":", text])
    }
}

/// What a rule found.
struct Found<'a> {
    place: Place<'a>,
    text: Cow<'a, str>,
    target: &'a str,
}

impl Rule {
    fn find<'a>(&'a self, index: &HashMap<&str, usize>, left: &'a [Option<Cow<'a, str>>]) -> Option<Found<'a>> {
        let place = self.source.place(index)?;
        let text = match place {
            Place::Own(n) => left[n].as_deref()?,
            Place::Inside(n, names) => inside(left[n].as_deref()?, names)?,
        };
        Some(Found { place, text: Cow::Borrowed(text), target: &self.target })
    }
}

impl Path {
    fn place(&self, index: &HashMap<&str, usize>) -> Option<Place<'_>> {
        if self.is_name
            && let Some(&n) = index.get(&*self.text)
        {
            return Some(Place::Own(n));
        }
        let (first, rest) = self.names.split_first()?;
        let &n = index.get(&**first)?;
        Some(if rest.is_empty() { Place::Own(n) } else { Place::Inside(n, rest) })
    }
}

/// The value that names lead to.
fn inside<'a>(text: &'a str, names: &[Box<str>]) -> Option<&'a str> {
    names.iter().try_fold(text, |text, wanted| {
        let mut value = None;
        json::look_up(text, |name| *name == **wanted, |_, text| value = Some(text))?;
        value
    })
}

/// Fields that are not where they were any more.
struct Gone<'p> {
    own: BTreeSet<usize>,
    inside: BTreeMap<usize, Vec<&'p [Box<str>]>>,
}

impl<'p> Gone<'p> {
    fn new(places: impl Iterator<Item = Place<'p>>) -> Self {
        let mut gone = Gone { own: BTreeSet::new(), inside: BTreeMap::new() };
        for place in places {
            match place {
                Place::Own(n) => _ = gone.own.insert(n),
                Place::Inside(n, names) => gone.inside.entry(n).or_default().push(names),
            }
        }
        gone
    }

    /// What is left of each of these values.
    fn left_of<'a>(&self, values: impl Iterator<Item = Option<Cow<'a, str>>>) -> Result<Vec<Option<Cow<'a, str>>>, Unrenderable> {
        let left = |(n, value): (usize, Option<Cow<'a, str>>)| match (value, self.inside.get(&n)) {
            _ if self.own.contains(&n) => Ok(None),
            (Some(text), Some(paths)) => Ok(Some(Cow::Owned(without(&text, paths)?))),
            (value, _) => Ok(value),
        };
        values.enumerate().map(left).collect()
    }
}

/// An object without what these paths lead to; anything else as it is.
fn without(text: &str, paths: &[&[Box<str>]]) -> Result<String, NotTaken> {
    if json::kind(text) != Kind::Object {
        return Ok(text.to_owned());
    }
    let mut out = String::from("{");
    for (name, value) in json::fields(text)? {
        let below: Vec<&[Box<str>]> =
            paths.iter().filter_map(|path| path.split_first().filter(|(first, _)| ***first == *name).map(|(_, rest)| rest)).collect();
        if below.iter().any(|rest| rest.is_empty()) {
            continue;
        }
        out.push_str(if out.len() == 1 { "" } else { "," });
        out.push_str(&json::quoted(&name));
        out.push(':');
        out.push_str(&if below.is_empty() { Cow::Borrowed(value) } else { Cow::Owned(without(value, &below)?) });
    }
    out.push('}');
    Ok(out)
}
