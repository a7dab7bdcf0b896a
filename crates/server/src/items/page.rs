//! Pages of lists: `limit` and `cursor`, and what comes back (contract, section 6).

use crate::http::{Detail, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use postrider_core::id::KeyId;
use serde::Serialize;

/// Entries of a page where the request does not say.
pub(crate) const DEFAULT_LIMIT: u32 = 20;

/// Most entries of a page.
pub(crate) const MAX_LIMIT: u32 = 500;

/// Most parameters of a query.
const MAX_PARAMETERS: usize = 64;

/// A place in a list, and its text in a cursor: opaque, and of one kind of list only.
pub(crate) trait Position: Sized {
    /// What the cursor of such a list begins with.
    const KIND: &'static str;

    /// What it says.
    fn write(&self) -> String;

    /// Reads what [`Position::write`] wrote.
    fn parse(text: &str) -> Option<Self>;

    /// The cursor.
    fn position(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}", Self::KIND, self.write()))
    }

    /// Reads a cursor.
    fn of(cursor: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        Self::parse(std::str::from_utf8(&bytes).ok()?.strip_prefix(Self::KIND)?.strip_prefix(':')?)
    }
}

impl Position for KeyId {
    const KIND: &'static str = "k";

    fn write(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        KeyId::parse(text)
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageOf<P> {
    /// From 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// Only what comes after this.
    pub after: Option<P>,
}

impl<P: Position> PageOf<P> {
    /// Of a request without other parameters that matter; unknown ones are ignored, as the contract says of filters.
    pub(super) fn read(uri: &Uri) -> Result<Self, Problem> {
        Query::of(uri)?.page()
    }
}

/// The parameters of a request's query.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// 400 where it cannot be read, or has more than [`MAX_PARAMETERS`].
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let text = uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(text).map_err(|e| bad("", format!("the query cannot be read: {e}")))?;
        if pairs.len() > MAX_PARAMETERS {
            return Err(bad("", format!("the query has more than {MAX_PARAMETERS} parameters")));
        }
        Ok(Query(pairs))
    }

    /// A parameter's text.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that `read` understands; `what` says what it must be.
    pub(super) fn read<T>(&self, name: &str, what: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        if self.0.iter().filter(|(n, _)| n == name).count() > 1 {
            return Err(bad(name, "is there twice"));
        }
        self.get(name).map(|text| read(text).ok_or_else(|| bad(name, format!("must be {what}")))).transpose()
    }

    /// `limit` and `cursor`.
    pub(super) fn page<P: Position>(&self) -> Result<PageOf<P>, Problem> {
        let what = format!("a whole number from 1 to {MAX_LIMIT}");
        let limit = self.read("limit", &what, |text| text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n)))?;
        let after = self.read("cursor", "the next_cursor of an earlier page of this list", P::of)?;
        Ok(PageOf { limit: limit.unwrap_or(DEFAULT_LIMIT), after })
    }
}

fn bad(name: &str, message: impl Into<String>) -> Problem {
    Problem::validation(vec![Detail { path: name.to_owned(), message: message.into() }])
}

/// A list: `{data, total, next_cursor}`.
#[derive(Debug, Serialize)]
pub(super) struct Listed<T> {
    /// The entries of this page.
    pub data: Vec<T>,
    /// How many there are on all pages.
    pub total: u64,
    /// For the next page; `null` at the end.
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn read(query: &str) -> Result<PageOf<KeyId>, Problem> {
        PageOf::read(&format!("/x?{query}").parse().expect("a URI"))
    }

    #[test]
    fn cursors_come_back_as_they_were() {
        let id = KeyId::new(Uuid::from_u128(7));
        let page = read(&format!("limit=500&cursor={}&whatever=1", id.position())).expect("a page");
        assert_eq!(page, PageOf { limit: 500, after: Some(id) });
        assert_eq!(read("").expect("a page"), PageOf { limit: DEFAULT_LIMIT, after: None });
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let other = URL_SAFE_NO_PAD.encode("x:00000000-0000-0000-0000-000000000007");
        for (query, path) in [
            (String::from("limit=0"), "limit"),
            (String::from("limit=501"), "limit"),
            (String::from("limit=-1"), "limit"),
            (String::from("limit="), "limit"),
            (String::from("limit=1&limit=2"), "limit"),
            (String::from("cursor=abc"), "cursor"),
            (format!("cursor={other}"), "cursor"),
        ] {
            let problem = read(&query).expect_err(&query);
            assert_eq!((problem.code, problem.details[0].path.as_str()), ("validation_error", path), "{query}");
        }
    }
}
