//! Requests with a key of the client's.

use super::data::Data;
use postrider_core::ports::{Begun, MAX_ANSWER_BYTES, MAX_ANSWERS, NewRequest, RequestKey, StoredResponse};
use postrider_core::time::Timestamp;
use uuid::Uuid;

/// The incarnation of a request that is not being done.
const NOBODY: u64 = 0;

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
        let is_done_by = self.requests.get(&request.key).map(|row| row.incarnation);
        // Where engines follow each other, any other one is dead.
        let is_elsewhere = is_done_by.is_some_and(|by| by != me && self.cluster.is_some() && !self.is_orphaned(by, me));
        match self.requests.get_mut(&request.key).filter(|row| !request.forgets(row.created_at)) {
            None => {
                let NewRequest { key, fingerprint, seed, at } = request;
                self.requests.insert(key, RequestRow { fingerprint, seed, incarnation: me, created_at: at, response: None });
                Begun::New { seed, again: false }
            }
            Some(row) if row.fingerprint != request.fingerprint => Begun::Mismatch,
            Some(RequestRow { response: Some(response), .. }) => Begun::Done(response.clone()),
            Some(row) if row.incarnation == me && row.seed == request.seed => Begun::New { seed: row.seed, again: false },
            Some(row) if row.incarnation == me || is_elsewhere => Begun::Running,
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
            None => row.incarnation = NOBODY,
        }
        self.trim_answers(&key.owner);
    }

    /// Removes the oldest answers of an owner until the others keep to the bounds. Their requests stay known.
    fn trim_answers(&mut self, owner: &str) {
        let of_owner = self.requests.iter().filter(|(key, _)| key.owner == owner);
        let mut answered: Vec<(Timestamp, RequestKey, u64)> =
            of_owner.filter_map(|(key, row)| Some((row.created_at, key.clone(), row.response.as_ref()?.size()))).collect();
        answered.sort_unstable();
        let (mut n, mut bytes) = (answered.len() as u64, answered.iter().map(|(.., size)| size).sum::<u64>());
        for (_, key, size) in answered {
            if n <= MAX_ANSWERS && bytes <= MAX_ANSWER_BYTES {
                return;
            }
            if let Some(row) = self.requests.get_mut(&key) {
                (row.response, row.incarnation) = (None, NOBODY);
            }
            (n, bytes) = (n - 1, bytes - size);
        }
    }
}
