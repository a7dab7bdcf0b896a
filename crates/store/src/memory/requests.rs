//! Requests with a key of the client's.

use super::data::Data;
use postrider_core::ports::{Begun, NewRequest, RequestKey, StoredResponse};
use postrider_core::time::Timestamp;
use uuid::Uuid;

#[derive(Debug)]
pub(super) struct RequestRow {
    fingerprint: [u8; 32],
    seed: Uuid,
    /// The incarnation that is doing it, or was.
    incarnation: u64,
    pub created_at: Timestamp,
    response: Option<StoredResponse>,
}

impl Data {
    pub fn begin_request(&mut self, request: NewRequest, me: u64) -> Begun {
        match self.requests.get_mut(&request.key).filter(|row| !request.forgets(row.created_at)) {
            None => {
                let NewRequest { key, fingerprint, seed, at } = request;
                self.requests.insert(key, RequestRow { fingerprint, seed, incarnation: me, created_at: at, response: None });
                Begun::New { seed, again: false }
            }
            Some(row) if row.fingerprint != request.fingerprint => Begun::Mismatch,
            Some(RequestRow { response: Some(response), .. }) => Begun::Done(response.clone()),
            Some(row) if row.incarnation == me => Begun::Running,
            Some(row) => {
                row.incarnation = me;
                Begun::New { seed: row.seed, again: true }
            }
        }
    }

    pub fn end_request(&mut self, key: &RequestKey, response: Option<StoredResponse>, me: u64) {
        let is_ours = |row: &&mut RequestRow| row.incarnation == me && row.response.is_none();
        let Some(row) = self.requests.get_mut(key).filter(is_ours) else { return };
        match response {
            Some(response) => row.response = Some(response),
            None => drop(self.requests.remove(key)),
        }
    }
}
