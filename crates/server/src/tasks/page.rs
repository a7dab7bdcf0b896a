//! Pages of lists: the parameters `limit` and `after`, and the header `Link` that leads to the next page.

use crate::http::{self, Problem};
use ::http::header::{HeaderValue, LINK};
use ::http::{StatusCode, Uri};
use axum::response::Response;
use postrider_core::id::{DeadLetterId, ScheduledId};
use postrider_core::ports::{DeadLetterPlace, PageRequest, ScheduledPlace};
use postrider_core::time::Timestamp;
use serde::Serialize;

/// Where a page ends whatever its limit says: payloads of this many bytes, which as JSON are at most twice as long.
const MAX_PAYLOAD_BYTES: u64 = 4 << 20;

/// A place in a list, as clients hand it back. To them it is a word without meaning.
pub(crate) trait Place: Copy {
    fn write(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Place for DeadLetterPlace {
    fn write(&self) -> String {
        format!("{}_{}", self.failed_at.as_micros(), self.id)
    }

    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('_')?;
        Some(DeadLetterPlace { failed_at: Timestamp::from_micros(at.parse().ok()?), id: DeadLetterId::parse(id)? })
    }
}

impl Place for ScheduledPlace {
    fn write(&self) -> String {
        format!("{}_{}_{}", u8::from(self.ended), self.due_at.as_micros(), self.id)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '_');
        let ended = match parts.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        Some(ScheduledPlace { ended, due_at: Timestamp::from_micros(parts.next()?.parse().ok()?), id: ScheduledId::parse(parts.next()?)? })
    }
}

/// The page that a query asks for: at most `most` items, and `default` where it does not say how many.
pub(super) fn request<P: Place>(query: &[(String, String)], default: u32, most: u32) -> Result<PageRequest<P>, Problem> {
    let after = query.iter().find(|(name, _)| name == "after").map(|(_, text)| {
        P::read(text).ok_or_else(|| {
            Problem::bad_request("after must be a place that a Link header of this list named: leave it away to begin at the top")
        })
    });
    Ok(PageRequest { after: after.transpose()?, limit: http::limit(query, default, most)?, max_bytes: MAX_PAYLOAD_BYTES })
}

/// A page as an array. Where more follows, `Link: <…>; rel="next"` says how to ask for it.
pub(super) fn respond<P: Place>(uri: &Uri, query: &[(String, String)], items: &impl Serialize, next: Option<P>) -> Response {
    let mut response = http::json(StatusCode::OK, items);
    if let Some(place) = next {
        let place = place.write();
        let kept = query.iter().filter(|(name, _)| name != "after").map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<(&str, &str)> = kept.chain([("after", place.as_str())]).collect();
        // Pairs of text always make a query, and a query is always a header's text.
        let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
        if let Ok(link) = HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())) {
            response.headers_mut().insert(LINK, link);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_and_nothing_else_does() {
        let at = Timestamp::from_micros(1_700_000_000_000_001);
        let letter = DeadLetterPlace { failed_at: at, id: DeadLetterId::new(uuid::Uuid::from_u128(7)) };
        assert_eq!(DeadLetterPlace::read(&letter.write()), Some(letter));
        for ended in [false, true] {
            let row = ScheduledPlace { ended, due_at: at, id: ScheduledId::new(uuid::Uuid::from_u128(7)) };
            assert_eq!(ScheduledPlace::read(&row.write()), Some(row));
        }
        for bad in ["", "_", "1", "2_1_00000000-0000-0000-0000-000000000007", "x_00000000-0000-0000-0000-000000000007", "1_1_7"] {
            assert!(DeadLetterPlace::read(bad).is_none() && ScheduledPlace::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_link_keeps_the_rest_of_the_query() {
        let uri = Uri::from_static("/scheduled?subscription_id=a%26b&after=old");
        let query = http::query(&uri, &["subscription_id", "after"]).expect("a query");
        let place = ScheduledPlace { ended: true, due_at: Timestamp::from_micros(5), id: ScheduledId::new(uuid::Uuid::nil()) };
        let response = respond(&uri, &query, &[0], Some(place));
        let expected = "</scheduled?subscription_id=a%26b&after=1_5_00000000-0000-0000-0000-000000000000>; rel=\"next\"";
        assert_eq!(response.headers()[LINK], expected);
        assert!(!respond::<ScheduledPlace>(&uri, &query, &[0], None).headers().contains_key(LINK));
    }
}
