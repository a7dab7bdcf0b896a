//! Signatures on the wire: what a delivery carries, and how a receiver checks it.
//!
//! A signature covers the body without a copy of it being made, except for Ed25519, which reads its message twice.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

mod verify;

pub use verify::*;

#[cfg(test)]
mod tests;

/// What a secret for Standard Webhooks begins with; the rest is the key in base64.
pub const SECRET_PREFIX: &str = "whsec_";

/// What the private half of an Ed25519 key begins with where it is written as text, by the Standard Webhooks specification; the rest is its
/// seed in base64.
pub const ED25519_SECRET_PREFIX: &str = "whsk_";

/// The standard alphabet, with or without padding: both are in use.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Names of the headers that carry signatures, in lower case.
pub mod header {
    /// Standard Webhooks: the message's id.
    pub const STANDARD_ID: &str = "webhook-id";
    /// Standard Webhooks: Unix seconds.
    pub const STANDARD_TIMESTAMP: &str = "webhook-timestamp";
    /// Standard Webhooks: the signatures, separated by spaces.
    pub const STANDARD_SIGNATURE: &str = "webhook-signature";
    /// [`super::Scheme::Postrider`].
    pub const POSTRIDER: &str = "x-postrider-signature";
    /// [`super::Scheme::Hub`].
    pub const HUB: &str = "x-hub-signature-256";
    /// [`super::Scheme::LegacyTimestamped`]: the signature.
    pub const LEGACY_SIGNATURE: &str = "x-sparrow-signature-256";
    /// [`super::Scheme::LegacyTimestamped`]: Unix seconds.
    pub const LEGACY_TIMESTAMP: &str = "x-sparrow-timestamp";
    /// Those whose values are signatures: they are as good as the requests that they were made for, and are shown to nobody.
    pub const SIGNATURES: [&str; 4] = [STANDARD_SIGNATURE, POSTRIDER, HUB, LEGACY_SIGNATURE];
}

/// A way to sign deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Standard Webhooks over `id.timestamp.body`: `v1`, HMAC-SHA256, by each shared secret, and `v1a` by each Ed25519 key.
    Standard,
    /// `X-Postrider-Signature: t=…,v1=…`: HMAC-SHA256 over `timestamp.body`.
    Postrider,
    /// `X-Hub-Signature-256: sha256=…`: HMAC-SHA256 over the body.
    Hub,
    /// `X-Sparrow-Signature-256: sha256=…` with `X-Sparrow-Timestamp`: HMAC-SHA256 over `timestamp.body`.
    LegacyTimestamped,
}

/// A secret that nothing can be signed with. The text never holds the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// It is empty.
    #[error("a signing secret must not be empty")]
    Empty,
    /// It begins with `whsec_`, but what follows is not base64 of at least one byte.
    #[error(
        "a signing secret that begins with whsec_ must go on with base64 (A-Z a-z 0-9 + /): correct it, or choose one without that prefix"
    )]
    NotBase64,
    /// The bytes are no Ed25519 key.
    #[error("this is not an Ed25519 key")]
    NotEd25519,
    /// It begins with `whsk_`, which tells the private half of an Ed25519 key from shared secrets.
    #[error("a signing secret must not begin with whsk_, as the private half of an Ed25519 key does: choose another one")]
    Private,
}

/// A signing secret, prepared once so that signing a message is cheap. It never shows itself.
#[derive(Clone)]
pub struct SigningKey {
    /// The secret's bytes as they are.
    verbatim: hmac::Key,
    /// What Standard Webhooks makes of the secret.
    standard: hmac::Key,
}

impl SigningKey {
    /// Prepares a secret. For Standard Webhooks `whsec_` and base64 (padded or not) stand for the decoded bytes;
    /// any other text, and every text in the other schemes, stands for its UTF-8 bytes.
    pub fn new(secret: &str) -> Result<Self, BadSecret> {
        let mut key = Self::verbatim(secret)?;
        if secret.starts_with(ED25519_SECRET_PREFIX) {
            return Err(BadSecret::Private);
        }
        if let Some(text) = secret.strip_prefix(SECRET_PREFIX) {
            let bytes = BASE64.decode(text).map(Zeroizing::new).map_err(|_| BadSecret::NotBase64)?;
            if bytes.is_empty() {
                return Err(BadSecret::NotBase64);
            }
            key.standard = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        }
        Ok(key)
    }

    /// Prepares a secret whose UTF-8 bytes are the key in every scheme, whatever it begins with:
    /// for senders and receivers that know nothing of the `whsec_` form.
    pub fn verbatim(secret: &str) -> Result<Self, BadSecret> {
        if secret.is_empty() {
            return Err(BadSecret::Empty);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Ok(SigningKey { verbatim: key.clone(), standard: key })
    }

    /// One entry of `webhook-signature`: `v1,<base64>`.
    pub fn standard(&self, id: &str, ts_secs: i64, body: &[u8]) -> String {
        let tag = mac(&self.standard, &[id.as_bytes(), b".", ts_secs.to_string().as_bytes(), b".", body]);
        let mut out = String::with_capacity(47);
        out.push_str("v1,");
        STANDARD.encode_string(tag, &mut out);
        out
    }

    /// One `v1` of [`postrider_header`]: lower-case hexadecimal.
    pub fn postrider(&self, ts_secs: i64, body: &[u8]) -> String {
        crate::hex::encode(mac(&self.verbatim, &[ts_secs.to_string().as_bytes(), b".", body]).as_ref())
    }

    /// The value of `X-Hub-Signature-256`: `sha256=<hex>`.
    pub fn hub(&self, body: &[u8]) -> String {
        format!("sha256={}", crate::hex::encode(mac(&self.verbatim, &[body]).as_ref()))
    }

    /// The value of `X-Sparrow-Signature-256`: `sha256=<hex>`.
    pub fn legacy(&self, ts_secs: i64, body: &[u8]) -> String {
        format!("sha256={}", self.postrider(ts_secs, body))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// HMAC over the parts as if they were one.
fn mac(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// An Ed25519 key for Standard Webhooks `v1a`. It never shows its private half.
pub struct Ed25519Key(Ed25519KeyPair);

impl Ed25519Key {
    /// The key that belongs to a seed; make the seed from the operating system's randomness and keep it sealed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BadSecret> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Ed25519Key).map_err(|_| BadSecret::NotEd25519)
    }

    /// The key that belongs to a text that [`ed25519_secret`] made, padded or not.
    pub fn from_secret(secret: &str) -> Result<Self, BadSecret> {
        let text = secret.strip_prefix(ED25519_SECRET_PREFIX).ok_or(BadSecret::NotEd25519)?;
        let bytes = BASE64.decode(text).map(Zeroizing::new).map_err(|_| BadSecret::NotEd25519)?;
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(bytes[..].try_into().map_err(|_| BadSecret::NotEd25519)?);
        Ed25519Key::from_seed(&seed)
    }

    /// What receivers verify with.
    pub fn public(&self) -> [u8; 32] {
        let mut public = [0; 32];
        public.copy_from_slice(self.0.public_key().as_ref());
        public
    }

    /// The public key as 64 lower-case hexadecimal digits.
    pub fn public_hex(&self) -> String {
        crate::hex::encode(&self.public())
    }

    /// One entry of `webhook-signature`: `v1a,<base64>`.
    pub fn standard(&self, id: &str, ts_secs: i64, body: &[u8]) -> String {
        let signature = self.0.sign(&standard_message(id, &ts_secs.to_string(), body));
        format!("v1a,{}", STANDARD.encode(signature))
    }
}

/// The signing keys of an endpoint, newest first.
#[derive(Debug, Default)]
pub struct SigningKeys {
    /// Secrets that both sides have.
    pub shared: Vec<SigningKey>,
    /// Keys of which receivers have the public half.
    pub pairs: Vec<Ed25519Key>,
}

impl SigningKeys {
    /// Adds what a secret stands for: a pair of keys where it has the form of [`ed25519_secret`], else itself.
    pub fn add(&mut self, secret: &str) -> Result<(), BadSecret> {
        if secret.starts_with(ED25519_SECRET_PREFIX) {
            self.pairs.push(Ed25519Key::from_secret(secret)?);
        } else {
            self.shared.push(SigningKey::new(secret)?);
        }
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.pairs.is_empty()
    }

    /// Those that sign: all of them, as while a rotation overlaps, or only the newest of each kind.
    pub fn in_use(&self, all: bool) -> KeysInUse<'_> {
        let most = if all { usize::MAX } else { 1 };
        let Self { shared, pairs } = self;
        KeysInUse { shared: &shared[..shared.len().min(most)], pairs: &pairs[..pairs.len().min(most)] }
    }
}

/// The keys of an endpoint that sign at a time, newest first.
#[derive(Clone, Copy, Debug)]
pub struct KeysInUse<'k> {
    /// Secrets that both sides have.
    pub shared: &'k [SigningKey],
    /// Keys of which receivers have the public half.
    pub pairs: &'k [Ed25519Key],
}

impl KeysInUse<'_> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.pairs.is_empty()
    }

    /// The value of `webhook-signature`: an entry for each key, separated by spaces.
    pub fn standard(&self, id: &str, ts_secs: i64, body: &[u8]) -> String {
        let shared = self.shared.iter().map(|key| key.standard(id, ts_secs, body));
        let pairs = self.pairs.iter().map(|key| key.standard(id, ts_secs, body));
        shared.chain(pairs).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Key({})", self.public_hex())
    }
}

fn standard_message(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

/// The value of `X-Postrider-Signature`: `t=<Unix seconds>,v1=<hex>`, with one `v1` for each secret in use.
pub fn postrider_header(ts_secs: i64, macs: impl Iterator<Item = String>) -> String {
    let mut out = format!("t={ts_secs}");
    for mac in macs {
        out.push_str(",v1=");
        out.push_str(&mac);
    }
    out
}

/// Makes a signing secret from random bytes: `whsec_` and 32 characters of base64.
pub fn generate_secret(random: [u8; 24]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(random))
}

/// A seed as text, to be sealed like other signing secrets and told from them by its prefix: `whsk_` and 44 characters of base64.
pub fn ed25519_secret(seed: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{ED25519_SECRET_PREFIX}{}", STANDARD.encode(seed)))
}
