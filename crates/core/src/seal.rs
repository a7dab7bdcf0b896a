//! Secrets at rest: AES-256-GCM envelopes under a ring of keys.
//!
//! Every value has a data key of its own, which is wrapped by a key of the ring, so that rotating the ring never reuses a nonce.
//! Layout of a [`Sealed`] value:
//!
//! ```text
//! version (1) | length of the key's id (1) | the key's id | length of the wrapped data key (2, little-endian)
//! | nonce (12) + wrapped data key (32) + tag (16) | nonce (12) + ciphertext + tag (16)
//! ```
//!
//! Version and id are authenticated with both parts.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

const VERSION: u8 = 1;
const TAG_LEN: usize = 16;
const KEY_LEN: usize = 32;
/// Nonce, data key and tag.
const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;
/// Longest id of a key of the ring.
pub const MAX_KEY_ID_BYTES: usize = 32;

/// A secret that only a [`KeyRing`] opens; shown as base64 in JSON and as its length elsewhere.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Wraps bytes that a store kept. Whether they are whole is found out when they are opened.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Sealed(bytes)
    }

    /// The id of the key that it is sealed under; `None` where it is not whole.
    pub fn key_id(&self) -> Option<&str> {
        Parts::split(&self.0).ok().map(|parts| parts.id)
    }

    /// The bytes, for a store to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for Sealed {
    type Error = OpenError;
    fn try_from(text: String) -> Result<Self, OpenError> {
        STANDARD.decode(text).map(Sealed).map_err(|_| OpenError::Malformed)
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> String {
        STANDARD.encode(sealed.0)
    }
}

/// Why a [`Sealed`] value does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not of the layout above.
    #[error("the sealed value is cut or is none: restore it from a backup or set the secret anew")]
    Malformed,
    /// A later release wrote it.
    #[error("the sealed value has layout {0}, which this release does not know: start the release that wrote it")]
    Version(u8),
    /// Its key is not in the ring.
    #[error("the sealed value needs the key {0:?}, which is not among the given ones: add that key to them")]
    UnknownKey(String),
    /// It was changed, or another key has the same id.
    #[error("the sealed value does not open with its key {0:?}: it was changed, or that id now names another key")]
    Tampered(String),
}

/// Why a text or a set of keys makes no [`KeyRing`]. The text never holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyRing {
    /// There is no key at all.
    #[error("there is no encryption key: give 64 hexadecimal digits, or a list such as new=<64 hex digits>,old=<64 hex digits>")]
    Empty,
    /// An id breaks its rule.
    #[error("the id of an encryption key is 1 to 32 characters of A-Z a-z 0-9 _ -")]
    Id,
    /// A key is not 32 bytes.
    #[error("an encryption key is 64 hexadecimal digits (32 bytes); in a list of several each is id=<64 hex digits>")]
    Key,
    /// Two keys have one id.
    #[error("two encryption keys have the same id")]
    DuplicateId,
}

struct RingKey {
    id: String,
    key: Zeroizing<[u8; KEY_LEN]>,
}

/// The keys that seal and open secrets: the first one seals, all of them open. It never shows itself and is wiped when dropped.
pub struct KeyRing {
    /// Never empty; the first one is the primary.
    keys: Vec<RingKey>,
}

impl KeyRing {
    /// A ring of a primary key and older ones.
    pub fn new(primary: (String, [u8; KEY_LEN]), others: Vec<(String, [u8; KEY_LEN])>) -> Result<Self, BadKeyRing> {
        let mut keys: Vec<RingKey> = Vec::with_capacity(1 + others.len());
        for (id, key) in std::iter::once(primary).chain(others) {
            let key = Zeroizing::new(key);
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            if !(1..=MAX_KEY_ID_BYTES).contains(&id.len()) || !id.bytes().all(allowed) {
                return Err(BadKeyRing::Id);
            }
            if keys.iter().any(|k| k.id == id) {
                return Err(BadKeyRing::DuplicateId);
            }
            keys.push(RingKey { id, key });
        }
        Ok(KeyRing { keys })
    }

    /// Reads `id=<64 hex digits>,id=<64 hex digits>`, the primary first, or 64 hex digits alone, which get the id `k1`.
    /// White space around the parts (the line's end of a file) does not matter.
    pub fn parse(text: &str) -> Result<Self, BadKeyRing> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadKeyRing::Empty);
        }
        if !text.contains(['=', ',']) {
            return Self::new(("k1".to_owned(), parse_key(text)?), Vec::new());
        }
        let mut keys = Vec::new();
        for part in text.split(',') {
            let (id, key) = part.split_once('=').ok_or(BadKeyRing::Key)?;
            keys.push((id.trim().to_owned(), parse_key(key)?));
        }
        let primary = keys.remove(0);
        Self::new(primary, keys)
    }

    /// The ids of all keys, that of the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// The id of the key that seals.
    pub fn primary_id(&self) -> &str {
        &self.primary().id
    }

    /// Seals a secret under the primary key. `random` fills a buffer from the operating system's randomness.
    pub fn seal(&self, plaintext: &[u8], random: &mut dyn FnMut(&mut [u8])) -> Sealed {
        let primary = self.primary();
        let header = header(&primary.id);
        let mut data_key = Zeroizing::new([0; KEY_LEN]);
        random(&mut *data_key);
        let mut out = Vec::with_capacity(header.len() + 2 + WRAPPED_LEN + NONCE_LEN + plaintext.len() + TAG_LEN);
        out.extend_from_slice(&header);
        out.extend_from_slice(&(WRAPPED_LEN as u16).to_le_bytes());
        encrypt(&primary.key, &header, &*data_key, random, &mut out);
        encrypt(&data_key, &header, plaintext, random, &mut out);
        Sealed(out)
    }

    /// Opens a sealed secret; what comes out is wiped when dropped.
    pub fn open(&self, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let parts = Parts::split(&sealed.0)?;
        let Some(ring_key) = self.keys.iter().find(|k| k.id == parts.id) else {
            return Err(OpenError::UnknownKey(parts.id.to_owned()));
        };
        let tampered = || OpenError::Tampered(parts.id.to_owned());
        let opened = decrypt(&ring_key.key, parts.header, parts.wrapped).ok_or_else(tampered)?;
        let mut data_key = Zeroizing::new([0; KEY_LEN]);
        data_key.copy_from_slice(opened.get(..KEY_LEN).ok_or(OpenError::Malformed)?);
        decrypt(&data_key, parts.header, parts.body).ok_or_else(tampered)
    }

    /// Whether a value should be sealed again: it is not under the primary key, or not readable as a sealed value at all.
    pub fn needs_resealing(&self, sealed: &Sealed) -> bool {
        Parts::split(&sealed.0).map_or(true, |parts| parts.id != self.primary().id)
    }

    fn primary(&self) -> &RingKey {
        self.keys.first().expect("a ring is made with its primary key and never loses one")
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|k| k.id.as_str()).collect();
        write!(f, "KeyRing({})", ids.join(", "))
    }
}

fn parse_key(hex: &str) -> Result<[u8; KEY_LEN], BadKeyRing> {
    let bytes = Zeroizing::new(crate::hex::decode(hex.trim()).ok_or(BadKeyRing::Key)?);
    bytes.as_slice().try_into().map_err(|_| BadKeyRing::Key)
}

/// What comes before the wrapped key and is authenticated with everything.
fn header(id: &str) -> Vec<u8> {
    let length = u8::try_from(id.len()).expect("the ring accepts no id longer than 32 bytes");
    [&[VERSION, length], id.as_bytes()].concat()
}

struct Parts<'a> {
    header: &'a [u8],
    id: &'a str,
    wrapped: &'a [u8],
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(bytes: &'a [u8]) -> Result<Self, OpenError> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&other) => return Err(OpenError::Version(other)),
            None => return Err(OpenError::Malformed),
        }
        Self::split_known(bytes).ok_or(OpenError::Malformed)
    }

    fn split_known(bytes: &'a [u8]) -> Option<Self> {
        let header_len = 2 + usize::from(*bytes.get(1)?);
        let (header, rest) = bytes.split_at_checked(header_len)?;
        let id = std::str::from_utf8(header.get(2..)?).ok()?;
        let (length, rest) = rest.split_at_checked(2)?;
        if usize::from(u16::from_le_bytes(length.try_into().ok()?)) != WRAPPED_LEN {
            return None;
        }
        let (wrapped, body) = rest.split_at_checked(WRAPPED_LEN)?;
        (body.len() >= NONCE_LEN + TAG_LEN).then_some(Parts { header, id, wrapped, body })
    }
}

fn cipher(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes any 32 bytes"))
}

/// Appends nonce, ciphertext and tag.
fn encrypt(key: &[u8; KEY_LEN], aad: &[u8], plaintext: &[u8], random: &mut dyn FnMut(&mut [u8]), out: &mut Vec<u8>) {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce);
    out.extend_from_slice(&nonce);
    let begin = out.len();
    out.extend_from_slice(plaintext);
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out[begin..])
        .expect("AES-GCM refuses only what is longer than 64 GiB");
    out.extend_from_slice(tag.as_ref());
}

/// Reads nonce, ciphertext and tag; `None` if they do not belong to the key and the authenticated bytes.
fn decrypt(key: &[u8; KEY_LEN], aad: &[u8], part: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, ciphertext) = part.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = cipher(key).open_in_place(nonce, Aad::from(aad), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}
