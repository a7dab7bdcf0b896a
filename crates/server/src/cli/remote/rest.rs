//! The REST APIs of a server, for what the RPC API has not: destinations, bindings and items, subscriptions of the Tasks API.

use super::table::{Cell, Column};
use super::text::timestamp;
use super::{Exit, Failure, Lines, Listing, Output, Pages, Remote};
use crate::cli::client::{Answer, Asked};
use crate::cli::say;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Things that the Items API lists.
#[derive(Debug)]
pub struct Noun {
    /// Where they are, without the first slash.
    pub path: &'static str,
    /// What they are called, several of them.
    pub what: &'static str,
    /// How they are shown.
    pub columns: &'static [Column],
}

/// A page of a list: its entries as they were sent, and where the next one begins.
#[derive(Debug, Deserialize)]
struct Page {
    #[serde(alias = "items")]
    data: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// Parameters behind a path.
pub type Query = Vec<(&'static str, String)>;

impl Noun {
    /// Where one of them is.
    pub fn at(&self, id: &str) -> Result<String, Failure> {
        Ok(format!("{}/{}", self.path, segment(id)?))
    }
}

impl Remote {
    /// Asks a REST API.
    pub async fn ask(&self, asked: Asked) -> Result<Answer, Failure> {
        Ok(self.client.rest(asked).await?)
    }

    /// Refuses a namespace that is not the one of the key: that is where the REST APIs change things.
    pub async fn only_own(&self) -> Result<(), Failure> {
        if self.namespace.is_empty() {
            return Ok(());
        }
        let session = self.session().await?;
        if session.namespace == self.namespace { Ok(()) } else { Err(self.foreign(&session.namespace)) }
    }

    /// What narrows a list of the Items API to the namespace that is meant. Only a key without a namespace can see another one than its own.
    async fn narrowed(&self) -> Result<Query, Failure> {
        if self.namespace.is_empty() {
            return Ok(Vec::new());
        }
        let session = self.session().await?;
        match session.namespace.as_str() {
            "" => Ok(vec![("customer_id", self.namespace.clone())]),
            own if own == self.namespace => Ok(Vec::new()),
            own => Err(self.foreign(own)),
        }
    }

    fn foreign(&self, own: &str) -> Failure {
        let whose = if own.is_empty() { String::from("has none") } else { format!("has {own}") };
        let wanted = &self.namespace;
        let text = format!("this API takes the namespace from the key, which {whose}: give a key of {wanted}, or leave --namespace away");
        Failure::new(Exit::NotAllowed, text)
    }

    /// Lists things of the Items API.
    pub async fn list<M, R>(&self, noun: &Noun, filter: Query, lines: &Lines, row: R) -> Result<(), Failure>
    where
        M: DeserializeOwned,
        R: Fn(&Output, &M) -> Vec<Cell>,
    {
        let (mut pages, mut listing) = (Pages::new(lines), Listing::new(&self.out, noun.columns));
        let common: Query = self.narrowed().await?.into_iter().chain(filter).collect();
        while let Some(turn) = pages.next() {
            let cursor = Some(("cursor", turn.token)).filter(|(_, token)| !token.is_empty());
            let query: Query = common.iter().cloned().chain([("limit", turn.size.to_string())]).chain(cursor).collect();
            let page: Page = self.ask(Asked::get(noun.path).with_query(&query)?).await?.read()?;
            pages.came(page.data.len(), page.next_cursor.unwrap_or_default());
            for entry in &page.data {
                let read: M = read(entry)?;
                listing.add(entry, |out| row(out, &read))?;
            }
        }
        listing.end(noun.what, Some(&pages))
    }

    /// Lists an array that comes as a whole.
    pub fn list_whole<M, R>(&self, entries: &[Box<RawValue>], columns: &'static [Column], what: &str, row: R) -> Result<(), Failure>
    where
        M: DeserializeOwned,
        R: Fn(&Output, &M) -> Vec<Cell>,
    {
        let mut listing = Listing::new(&self.out, columns);
        for entry in entries {
            let read: M = read(entry)?;
            listing.add(entry, |out| row(out, &read))?;
        }
        listing.end(what, None)
    }

    /// Prints an answer: as it was sent where JSON is wanted, else as text.
    pub fn show<M: DeserializeOwned>(&self, answer: &Answer, text: impl FnOnce(&Output, &M) -> String) -> Result<(), Failure> {
        if self.out.is_json() {
            return self.out.json_text(answer.json()?);
        }
        self.out.print(&text(&self.out, &answer.read()?))
    }

    /// Asks something of each of several things, and says of each how that went: `done` is what it says where it went well.
    pub async fn each<F>(&self, ids: &[String], asked: F, done: &str) -> Result<(), Failure>
    where
        F: Fn(&str) -> Result<Asked, Failure>,
    {
        let mut failed = Vec::new();
        for id in ids {
            let answered = match asked(id) {
                Ok(asked) => self.ask(asked).await,
                Err(failure) => Err(failure),
            };
            match answered {
                Ok(answer) if self.out.is_json() && !answer.is_empty() => self.out.line(answer.json()?)?,
                Ok(_) => say(&format!("{done} {id}")),
                Err(failure) => {
                    say(&format!("{id}: {failure}"));
                    failed.push(failure);
                }
            }
        }
        Failure::of_many(ids.len(), &failed)
    }
}

fn read<M: DeserializeOwned>(entry: &RawValue) -> Result<M, Failure> {
    serde_json::from_str(entry.get()).map_err(|error| Failure::because("the server answers what this command does not know", error))
}

/// An id as a part of a path.
pub fn segment(id: &str) -> Result<&str, Failure> {
    let is_plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if is_plain { Ok(id) } else { Err(Failure::usage(format!("{id:?} is no id"))) }
}

/// A time of a REST API as it is wanted; `-` where there is none.
pub fn time(out: &Output, at: Option<&str>) -> String {
    out.time(stamp(at).as_ref())
}

/// A time of a REST API with milliseconds.
pub fn exact_time(out: &Output, at: Option<&str>) -> String {
    out.exact_time(stamp(at).as_ref())
}

fn stamp(at: Option<&str>) -> Option<Timestamp> {
    at.and_then(Moment::parse_rfc3339).map(timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parts_of_paths_and_nothing_more() {
        let noun = Noun { path: "v1/delivery/items", what: "items", columns: &[] };
        assert_eq!(noun.at("0197f3a2-5b1c"), Ok(String::from("v1/delivery/items/0197f3a2-5b1c")));
        for bad in ["", "..", "a/b", "a?b", "a b", "ä"] {
            assert_eq!(noun.at(bad).map_err(|failure| failure.exit()), Err(Exit::Usage), "{bad}");
        }
    }

    #[test]
    fn times_of_both_apis_are_read() {
        let out = Output::plain(false);
        assert_eq!(time(&out, Some("2026-01-05T08:00:00Z")), "2026-01-05T08:00:00Z");
        assert_eq!(exact_time(&out, Some("2026-01-05T08:00:00.123Z")), "2026-01-05T08:00:00.123Z");
        assert_eq!((time(&out, None), time(&out, Some("soon"))), (String::from("-"), String::from("-")));
    }

    #[test]
    fn pages_are_read_under_both_of_their_names() {
        for name in ["data", "items"] {
            let text = format!("{{\"{name}\": [{{\"n\": 1.50}}], \"total\": 1, \"next_cursor\": null}}");
            let page: Page = serde_json::from_str(&text).expect("a page");
            assert_eq!((page.data[0].get(), page.next_cursor), ("{\"n\": 1.50}", None));
        }
    }
}
