//! Pages of the lists of `postrider.v1`: how large they are, and the tokens that say where they begin.
//!
//! A token is a place in a list, as the Items API has it in its cursors: of one kind of list only, and whatever the filter. It holds while entries
//! come and go. Clients see a word without meaning.

use crate::http::Problem;
use crate::items::page::Position;
use crate::tasks::page::Place;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_core::event::Namespace;
use postrider_core::id::DeliveryId;
use postrider_core::ports::ScheduledPlace;
use postrider_proto::service::Answer;

/// Entries of a page where the request does not say.
const DEFAULT_SIZE: u32 = 50;

/// Most entries of a page.
pub(in crate::rpc) const MAX_SIZE: u32 = 500;

/// What tokens begin with: those of another form get another number.
const VERSION: u8 = 1;

/// How many entries a page has, by the `page_size` of its request: 1 to [`MAX_SIZE`].
pub(in crate::rpc) fn size(page_size: i32) -> u32 {
    match u32::try_from(page_size) {
        Ok(0) | Err(_) => DEFAULT_SIZE,
        Ok(size) => size.min(MAX_SIZE),
    }
}

/// The `next_page_token` after a page that ends at this place; empty where nothing follows.
pub(in crate::rpc) fn next<P: Position>(place: Option<P>) -> String {
    let Some(place) = place else { return String::new() };
    let mut token = vec![VERSION];
    token.extend_from_slice(format!("{}:{}", P::KIND, place.write()).as_bytes());
    URL_SAFE_NO_PAD.encode(token)
}

/// The place behind which a page begins, by the `page_token` of its request: `None` at the beginning.
pub(in crate::rpc) fn after<P: Position>(token: &str) -> Answer<Option<P>> {
    if token.is_empty() {
        return Ok(None);
    }
    let message = "page_token: this is none of this list; send the next_page_token of the page before, or nothing for the first page";
    match read(token) {
        Some(place) => Ok(Some(place)),
        None => Err(Problem::bad_request(message).into()),
    }
}

fn read<P: Position>(token: &str) -> Option<P> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let text = std::str::from_utf8(bytes.strip_prefix(&[VERSION])?).ok()?;
    P::parse(text.strip_prefix(P::KIND)?.strip_prefix(':')?)
}

impl Position for DeliveryId {
    const KIND: &'static str = "y";

    fn write(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        DeliveryId::parse(text)
    }
}

impl Position for Namespace {
    const KIND: &'static str = "n";

    fn write(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        Namespace::new(text).ok()
    }
}

impl Position for ScheduledPlace {
    const KIND: &'static str = "s";

    fn write(&self) -> String {
        Place::write(self)
    }

    fn parse(text: &str) -> Option<Self> {
        Place::read(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::id::{EndpointId, ScheduledId};
    use postrider_core::time::Timestamp;
    use uuid::Uuid;

    #[test]
    fn sizes_are_bounded() {
        assert_eq!([i32::MIN, -1, 0, 1, 499, 500, 501, i32::MAX].map(size), [50, 50, 50, 1, 499, 500, 500, 500]);
    }

    #[test]
    fn tokens_come_back_as_they_were() {
        let id = EndpointId::new(Uuid::from_u128(7));
        assert_eq!(after::<EndpointId>(&next(Some(id))).expect("a token"), Some(id));
        let place = ScheduledPlace { ended: true, due_at: Timestamp::from_secs(5), id: ScheduledId::new(Uuid::from_u128(9)) };
        assert_eq!(after::<ScheduledPlace>(&next(Some(place))).expect("a token"), Some(place));
        let namespace = Namespace::new("a.b_c-d").expect("a name");
        assert_eq!(after::<Namespace>(&next(Some(namespace.clone()))).expect("a token"), Some(namespace));
        assert_eq!((next::<EndpointId>(None), after::<EndpointId>("").expect("none")), (String::new(), None));
    }

    #[test]
    fn what_is_no_token_of_the_list_is_refused() {
        let id = EndpointId::new(Uuid::from_u128(7));
        let other_version = URL_SAFE_NO_PAD.encode([&[2][..], format!("d:{id}").as_bytes()].concat());
        for token in
            [next(Some(DeliveryId::new(id.uuid()))), other_version, format!("{}A", next(Some(id))), String::from("?"), id.to_string()]
        {
            let refused = after::<EndpointId>(&token).expect_err(&token);
            assert_eq!(refused.code, connectrpc::ErrorCode::InvalidArgument, "{token}");
        }
    }
}
