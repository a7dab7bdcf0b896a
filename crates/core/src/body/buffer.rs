//! A text that is put together, up to a bound.

use super::Unrenderable;

/// Bytes so far, and how many there may be.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
}

impl Buffer {
    /// An empty one with room for about `likely` bytes.
    pub(super) fn new(likely: usize, limit: usize) -> Self {
        Buffer { bytes: Vec::with_capacity(likely.min(limit)), limit }
    }

    pub(super) fn put(&mut self, piece: impl AsRef<[u8]>) -> Result<(), Unrenderable> {
        let piece = piece.as_ref();
        if piece.len() > self.limit - self.bytes.len() {
            return Err(Unrenderable::TooLarge { limit: self.limit });
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn put_all<const N: usize>(&mut self, pieces: [&str; N]) -> Result<(), Unrenderable> {
        pieces.into_iter().try_for_each(|piece| self.put(piece))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
