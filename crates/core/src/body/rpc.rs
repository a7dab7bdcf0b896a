//! The envelope of the RPC API (its contract, section 8).

use super::buffer::Buffer;
use super::{ENVELOPE_ROOM, Unrenderable};
use crate::id::EventId;
use crate::json;
use crate::time::Timestamp;
use bytes::Bytes;

/// What the envelope says about the delivery.
#[derive(Clone, Copy, Debug)]
pub struct RpcHead<'a> {
    /// The event.
    pub event: EventId,
    /// Its type.
    pub event_type: &'a str,
    /// When this attempt began; shown in whole seconds.
    pub at: Timestamp,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// Makes the body of one attempt, of at most `cap` bytes. The payload's bytes in it are the accepted ones.
pub fn rpc_envelope(head: &RpcHead<'_>, payload: &Bytes, cap: usize) -> Result<Bytes, Unrenderable> {
    let text = json::checked(payload).ok_or(Unrenderable::NotJson)?;
    let RpcHead { event, event_type, at, attempt } = head;
    let mut out = Buffer::new(payload.len() + ENVELOPE_ROOM, cap);
    let (name, at) = (json::quoted(event_type), at.rfc3339(0));
    let head = format!(
        "{{\"version\":\"1\",\"event_id\":\"{event}\",\"event_name\":{name},\"timestamp\":\"{at}\",\"attempt\":{attempt},\"payload\":"
    );
    out.put_all([&head, text, "}"])?;
    Ok(Bytes::from(out.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const HEAD: RpcHead<'static> = RpcHead {
        event: EventId::new(Uuid::from_u128(0x0b8f_6c1e_2f4a_4d7b_9c33_5a1d_e0c7_f001)),
        event_type: "order\"paid",
        at: Timestamp::from_micros(1_767_600_000_999_999),
        attempt: 3,
    };

    fn made(payload: &'static str, cap: usize) -> Result<Bytes, Unrenderable> {
        rpc_envelope(&HEAD, &Bytes::from_static(payload.as_bytes()), cap)
    }

    #[test]
    fn the_envelope_is_the_contracts_and_the_payload_keeps_its_bytes() {
        let payload = "{ \"n\" : 9007199254740993, \"e\":\"\\u00e9\"}";
        let expected = format!(
            r#"{{"version":"1","event_id":"0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001","event_name":"order\"paid","timestamp":"2026-01-05T08:00:00Z","attempt":3,"payload":{payload}}}"#
        );
        assert_eq!(made(payload, usize::MAX), Ok(Bytes::from(expected.clone())));
        assert_eq!(made(payload, expected.len()), Ok(Bytes::from(expected.clone())));
        let limit = expected.len() - 1;
        assert_eq!(made(payload, limit), Err(Unrenderable::TooLarge { limit }));
        assert_eq!(made("no json", usize::MAX), Err(Unrenderable::NotJson));
    }
}
