//! The signing keys of a webhook, and how much of them is shown.

use super::scope::Want;
use super::wanted::Signature;
use crate::config::value::Secret;
use crate::http::App;
use crate::random;
use postrider_core::endpoint::Endpoint;
use postrider_core::seal::Sealed;
use postrider_core::sign::{ED25519_SECRET_PREFIX, Scheme, ed25519_secret, generate_secret};

/// What stands for the value of a secret header, and for a secret that cannot be opened (contract, section 6).
pub(in crate::rpc) const MASK: &str = "\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}";

/// How many characters of a secret are shown, of secrets that are at least twice as long.
const SHOWN: usize = 4;

/// Keys that are made when they are needed, the same ones however often a change is tried.
pub(super) struct Fresh {
    secret: Secret,
    seed: Secret,
}

impl Fresh {
    pub(super) fn new() -> Self {
        let seed = ed25519_secret(&random::bytes());
        Fresh { secret: Secret::new(generate_secret(random::bytes())), seed: Secret::new(seed.as_str()) }
    }
}

/// The keys of a webhook, newest first.
pub(in crate::rpc) struct Keys {
    /// Secrets that both sides have.
    pub(in crate::rpc) shared: Vec<Sealed>,
    /// Keys of which receivers have the public half.
    pub(in crate::rpc) pairs: Vec<Sealed>,
}

impl Keys {
    /// One that cannot be opened counts as a shared secret: it signs nothing either way, and deliveries say so.
    pub(in crate::rpc) fn of(app: &App, endpoint: &Endpoint) -> Self {
        let is_pair = |sealed: &&Sealed| app.engine.open(sealed).is_ok_and(|secret| secret.starts_with(ED25519_SECRET_PREFIX));
        let (pairs, shared) = endpoint.secrets.iter().partition::<Vec<_>, _>(is_pair);
        Keys { shared: shared.into_iter().cloned().collect(), pairs: pairs.into_iter().cloned().collect() }
    }
}

/// Gives a webhook the keys that are wanted; answers the secret that was made for it, if one was.
///
/// With `hmac` it has a secret, with `ed25519` a pair of keys; and beside that a secret only where the client gave one, with which
/// deliveries are signed as well.
pub(super) fn change(
    app: &App,
    endpoint: &mut Endpoint,
    secret: &Want<Secret>,
    signature: &Want<Signature>,
    fresh: &Fresh,
) -> Option<Secret> {
    if secret.keeps() && signature.keeps() {
        return None;
    }
    let Keys { mut shared, mut pairs } = Keys::of(app, endpoint);
    let before = if pairs.is_empty() { Signature::Hmac } else { Signature::Ed25519 };
    let after = signature.clone().or(|| Signature::Hmac).unwrap_or(before);
    let seal = |secret: &Secret| app.engine.seal(secret.reveal(), &mut random::fill);
    let mut made = None;
    match (secret, after) {
        (Want::Set(secret), _) if shared.first().is_some_and(|kept| shown(app, kept) == secret.reveal()) => {}
        (Want::Set(secret), _) => shared = vec![seal(secret)],
        (Want::Keep, _) if before == after => {}
        (Want::Keep, Signature::Hmac) if !shared.is_empty() => {}
        (_, Signature::Ed25519) => shared.clear(),
        (_, Signature::Hmac) => {
            shared = vec![seal(&fresh.secret)];
            made = Some(fresh.secret.clone());
        }
    }
    match after {
        Signature::Hmac => pairs.clear(),
        Signature::Ed25519 if pairs.is_empty() => pairs.push(seal(&fresh.seed)),
        Signature::Ed25519 => {}
    }
    endpoint.secrets = pairs;
    endpoint.secrets.append(&mut shared);
    if !endpoint.schemes.contains(&Scheme::Standard) {
        endpoint.schemes.push(Scheme::Standard);
    }
    made
}

/// What is shown of the secret that both sides have; empty if there is none.
pub(super) fn shown_secret(app: &App, endpoint: &Endpoint) -> String {
    Keys::of(app, endpoint).shared.first().map_or_else(String::new, |secret| shown(app, secret))
}

/// The first characters and a `*` for each other one.
pub(in crate::rpc) fn shown(app: &App, secret: &Sealed) -> String {
    app.engine.open(secret).map_or_else(|_| MASK.to_owned(), |secret| masked(&Secret::new(secret)))
}

fn masked(secret: &Secret) -> String {
    let length = secret.reveal().chars().count();
    let shown = if length >= 2 * SHOWN { SHOWN } else { 0 };
    secret.reveal().chars().take(shown).chain(std::iter::repeat_n('*', length - shown)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_of_a_secret_is_shown_and_nothing_of_a_short_one() {
        for (secret, expected) in [("whsec_AAEC", "whse******"), ("12345678", "1234****"), ("1234567", "*******"), ("\u{fc}", "*")] {
            assert_eq!(masked(&Secret::new(secret)), expected);
        }
    }
}
