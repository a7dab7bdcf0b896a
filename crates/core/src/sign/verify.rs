//! Checking signatures, in constant time.

use super::{BASE64, SigningKey, mac, standard_message};
use crate::time::Timestamp;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;

/// How far a signed timestamp may lie from now in either direction, inclusive, in seconds.
pub const TOLERANCE_SECS: i64 = 300;

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// A header is not of the form that the scheme asks for.
    #[error("the signature header is malformed")]
    Malformed,
    /// The timestamp is no number of Unix seconds.
    #[error("the timestamp is not a whole number of Unix seconds")]
    Timestamp,
    /// The message was signed too long ago: a replay, or a clock that is wrong.
    #[error("the timestamp is more than 300 seconds in the past: a replayed message, or one of the clocks is wrong")]
    TooOld,
    /// The message claims to come from the future.
    #[error("the timestamp is more than 300 seconds in the future: one of the clocks is wrong")]
    TooNew,
    /// No signature belongs to this message and any of the keys.
    #[error("no signature matches: the secret is another one, or the message was changed on its way")]
    Mismatch,
}

/// Checks `X-Hub-Signature-256` against the body. The prefix `sha256=` is required, the digits may be of either case.
pub fn verify_hub(key: &SigningKey, header: &str, body: &[u8]) -> bool {
    sha256_digits(header).is_some_and(|given| matches(&mac(&key.verbatim, &[body]), &given))
}

/// Checks the three headers of Standard Webhooks with HMAC keys: one signature that one key made is enough.
/// Unknown versions and signatures that are not base64 are passed over. Without keys nothing is accepted.
pub fn verify_standard(
    keys: &[&SigningKey],
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), BadSignature> {
    check_age(timestamp, now)?;
    let given = standard_signatures(signatures, "v1");
    let accepted = keys.iter().any(|key| {
        let tag = mac(&key.standard, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
        given.iter().any(|signature| matches(&tag, signature))
    });
    if accepted { Ok(()) } else { Err(BadSignature::Mismatch) }
}

/// Checks the three headers of Standard Webhooks with an Ed25519 public key, by the rules of [`verify_standard`].
pub fn verify_standard_ed25519(
    public: &[u8; 32],
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), BadSignature> {
    check_age(timestamp, now)?;
    let message = standard_message(id, timestamp, body);
    let key = UnparsedPublicKey::new(&ED25519, public);
    let accepted = standard_signatures(signatures, "v1a").iter().any(|signature| key.verify(&message, signature).is_ok());
    if accepted { Ok(()) } else { Err(BadSignature::Mismatch) }
}

/// Checks `X-Postrider-Signature`: exactly one `t`, and one `v1` that matches. Other fields are passed over.
pub fn verify_postrider(key: &SigningKey, header: &str, body: &[u8], now: Timestamp) -> Result<(), BadSignature> {
    let mut timestamp = None;
    let mut given = Vec::new();
    for field in header.split(',') {
        match field.trim().split_once('=').ok_or(BadSignature::Malformed)? {
            ("t", value) if timestamp.replace(value).is_some() => {
                return Err(BadSignature::Malformed);
            }
            ("v1", value) => given.extend(crate::hex::decode(value)),
            _ => {}
        }
    }
    let timestamp = timestamp.ok_or(BadSignature::Malformed)?;
    check_age(timestamp, now)?;
    let tag = mac(&key.verbatim, &[timestamp.as_bytes(), b".", body]);
    if given.iter().any(|digest| matches(&tag, digest)) { Ok(()) } else { Err(BadSignature::Mismatch) }
}

/// Checks `X-Sparrow-Signature-256` with its `X-Sparrow-Timestamp`.
pub fn verify_legacy(key: &SigningKey, signature: &str, timestamp: &str, body: &[u8], now: Timestamp) -> Result<(), BadSignature> {
    check_age(timestamp, now)?;
    let given = sha256_digits(signature).ok_or(BadSignature::Malformed)?;
    let tag = mac(&key.verbatim, &[timestamp.as_bytes(), b".", body]);
    if matches(&tag, &given) { Ok(()) } else { Err(BadSignature::Mismatch) }
}

fn sha256_digits(header: &str) -> Option<Vec<u8>> {
    crate::hex::decode(header.strip_prefix("sha256=")?)
}

/// The signatures of one version in a list such as `v1,… v1a,…`.
fn standard_signatures(list: &str, version: &str) -> Vec<Vec<u8>> {
    let of_version = list.split_ascii_whitespace().filter_map(|entry| entry.split_once(',')).filter(|(v, _)| *v == version);
    of_version.filter_map(|(_, text)| BASE64.decode(text).ok()).collect()
}

fn matches(tag: &hmac::Tag, given: &[u8]) -> bool {
    verify_slices_are_equal(tag.as_ref(), given).is_ok()
}

/// Judges the timestamp's own text, for that is what was signed.
fn check_age(timestamp: &str, now: Timestamp) -> Result<(), BadSignature> {
    if !timestamp.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadSignature::Timestamp);
    }
    let signed_at: i64 = timestamp.parse().map_err(|_| BadSignature::Timestamp)?;
    let age = now.as_secs().saturating_sub(signed_at);
    if age > TOLERANCE_SECS {
        Err(BadSignature::TooOld)
    } else if age < -TOLERANCE_SECS {
        Err(BadSignature::TooNew)
    } else {
        Ok(())
    }
}
