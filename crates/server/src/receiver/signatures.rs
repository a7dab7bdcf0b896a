//! Which signatures a request carries, and whether each verifies.

use super::record::text;
use http::HeaderMap;
use postrider_core::sign::{self, BadSecret, BadSignature, SigningKey, header};
use postrider_core::time::Timestamp;

/// What became of one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It verifies with one of the keys.
    Ok,
    /// It does not, and why.
    Bad(BadSignature),
    /// Nobody gave a key for it, or nobody knows how it is made.
    NotChecked(&'static str),
}

impl Verdict {
    /// `ok`, `bad` or `not_checked`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Bad(_) => "bad",
            Verdict::NotChecked(_) => "not_checked",
        }
    }
}

/// One signature of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The header it came in.
    pub header: &'static str,
    /// How it is made: `standard`, `standard_ed25519`, `postrider`, `hub`, `legacy_timestamped` or `unknown`.
    pub scheme: &'static str,
    /// Whether it verifies.
    pub verdict: Verdict,
}

/// The keys to check signatures with. Without any, signatures are found and not checked.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    secrets: Vec<SigningKey>,
    public: Option<[u8; 32]>,
}

const NO_SECRET: Verdict = Verdict::NotChecked("no secret given");
const NO_PUBLIC_KEY: Verdict = Verdict::NotChecked("no Ed25519 public key given");

impl Verifier {
    /// From shared secrets, of which one has to fit, and an Ed25519 public key.
    pub fn new(secrets: &[String], public: Option<[u8; 32]>) -> Result<Self, BadSecret> {
        let secrets = secrets.iter().map(|secret| SigningKey::new(secret)).collect::<Result<_, _>>()?;
        Ok(Verifier { secrets, public })
    }

    /// Every signature the request carries, with its verdict at `now`; none for an unsigned request.
    pub fn inspect(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |header, scheme, verdict| found.push(Finding { header, scheme, verdict });
        if let Some(list) = text(headers, header::STANDARD_SIGNATURE) {
            let has = |version: &str| list.split_ascii_whitespace().any(|entry| entry.starts_with(version));
            let (v1, v1a) = (has("v1,"), has("v1a,"));
            if v1 {
                add(header::STANDARD_SIGNATURE, "standard", self.standard(headers, list, body, now));
            }
            if v1a {
                add(header::STANDARD_SIGNATURE, "standard_ed25519", self.ed25519(headers, list, body, now));
            }
            if !v1 && !v1a {
                add(header::STANDARD_SIGNATURE, "unknown", Verdict::Bad(BadSignature::Malformed));
            }
        }
        if let Some(value) = text(headers, header::POSTRIDER) {
            add(header::POSTRIDER, "postrider", self.any(|key| sign::verify_postrider(key, value, body, now)));
        }
        if let Some(value) = text(headers, header::HUB) {
            let check = |key: &SigningKey| sign::verify_hub(key, value, body).then_some(()).ok_or(BadSignature::Mismatch);
            add(header::HUB, "hub", self.any(check));
        }
        if let Some(value) = text(headers, header::LEGACY_SIGNATURE) {
            let at = text(headers, header::LEGACY_TIMESTAMP).unwrap_or_default();
            let check = |key: &SigningKey| sign::verify_legacy(key, value, at, body, now);
            add(header::LEGACY_SIGNATURE, "legacy_timestamped", self.any(check));
        }
        if headers.contains_key("x-webhook-signature") {
            add("x-webhook-signature", "unknown", Verdict::NotChecked("a header of no known scheme"));
        }
        found
    }

    fn standard(&self, headers: &HeaderMap, list: &str, body: &[u8], now: Timestamp) -> Verdict {
        let (Some(id), Some(at)) = (text(headers, header::STANDARD_ID), text(headers, header::STANDARD_TIMESTAMP)) else {
            return Verdict::Bad(BadSignature::Malformed);
        };
        self.any(|key| sign::verify_standard(&[key], id, at, list, body, now))
    }

    fn ed25519(&self, headers: &HeaderMap, list: &str, body: &[u8], now: Timestamp) -> Verdict {
        let Some(public) = &self.public else { return NO_PUBLIC_KEY };
        let (Some(id), Some(at)) = (text(headers, header::STANDARD_ID), text(headers, header::STANDARD_TIMESTAMP)) else {
            return Verdict::Bad(BadSignature::Malformed);
        };
        match sign::verify_standard_ed25519(public, id, at, list, body, now) {
            Ok(()) => Verdict::Ok,
            Err(why) => Verdict::Bad(why),
        }
    }

    /// Good if one key accepts; otherwise what the last one says.
    fn any(&self, check: impl Fn(&SigningKey) -> Result<(), BadSignature>) -> Verdict {
        let mut verdict = NO_SECRET;
        for key in &self.secrets {
            match check(key) {
                Ok(()) => return Verdict::Ok,
                Err(why) => verdict = Verdict::Bad(why),
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::sign::{Ed25519Key, postrider_header};

    const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const BODY: &[u8] = b"{\"a\": 1}";
    const AT: i64 = 1_800_000_000;
    const ID: &str = "msg_1";

    fn signed(secret: &str, seed: u8) -> HeaderMap {
        let key = SigningKey::new(secret).expect("a secret");
        let pair = Ed25519Key::from_seed(&[seed; 32]).expect("a seed");
        let both = format!("v2,future {} {}", key.standard(ID, AT, BODY), pair.standard(ID, AT, BODY));
        let values = [
            (header::STANDARD_ID, ID.to_string()),
            (header::STANDARD_TIMESTAMP, AT.to_string()),
            (header::STANDARD_SIGNATURE, both),
            (header::POSTRIDER, postrider_header(AT, [key.postrider(AT, BODY)].into_iter())),
            (header::HUB, key.hub(BODY)),
            (header::LEGACY_SIGNATURE, key.legacy(AT, BODY)),
            (header::LEGACY_TIMESTAMP, AT.to_string()),
            ("x-webhook-signature", String::from("abc")),
        ];
        values.into_iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    fn verdicts(verifier: &Verifier, headers: &HeaderMap, body: &[u8], at: i64) -> Vec<(&'static str, &'static str)> {
        let found = verifier.inspect(headers, body, Timestamp::from_secs(at));
        found.iter().map(|finding| (finding.scheme, finding.verdict.as_str())).collect()
    }

    fn all(verdict: &'static str) -> Vec<(&'static str, &'static str)> {
        let mut all = ["standard", "standard_ed25519", "postrider", "hub", "legacy_timestamped"].map(|s| (s, verdict)).to_vec();
        all.push(("unknown", "not_checked"));
        all
    }

    #[test]
    fn every_scheme_is_found_and_verified() {
        let public = Ed25519Key::from_seed(&[7; 32]).expect("a seed").public();
        let verifier = Verifier::new(&[String::from("another"), SECRET.into()], Some(public)).expect("secrets");
        assert_eq!(verdicts(&verifier, &signed(SECRET, 7), BODY, AT), all("ok"));
    }

    #[test]
    fn a_changed_body_or_another_key_is_bad() {
        let public = Ed25519Key::from_seed(&[7; 32]).expect("a seed").public();
        let verifier = Verifier::new(&[SECRET.into()], Some(public)).expect("secrets");
        assert_eq!(verdicts(&verifier, &signed(SECRET, 7), b"{\"a\":1}", AT), all("bad"));
        assert_eq!(verdicts(&verifier, &signed("own-plain-secret", 8), BODY, AT), all("bad"));
    }

    #[test]
    fn an_old_message_is_bad_where_the_scheme_signs_the_time() {
        let verifier = Verifier::new(&[SECRET.into()], None).expect("secrets");
        let found = verdicts(&verifier, &signed(SECRET, 7), BODY, AT + 301);
        assert!(found.contains(&("standard", "bad")) && found.contains(&("postrider", "bad")));
        assert!(found.contains(&("hub", "ok")), "the hub scheme knows no time");
    }

    #[test]
    fn without_keys_nothing_is_called_good_or_bad() {
        assert_eq!(verdicts(&Verifier::default(), &signed(SECRET, 7), BODY, AT), all("not_checked"));
        assert_eq!(verdicts(&Verifier::default(), &HeaderMap::new(), BODY, AT), []);
    }

    #[test]
    fn half_of_the_headers_is_not_enough() {
        let verifier = Verifier::new(&[SECRET.into()], Some([0; 32])).expect("secrets");
        let mut headers = signed(SECRET, 7);
        headers.remove(header::STANDARD_ID);
        headers.remove(header::LEGACY_TIMESTAMP);
        let found = verdicts(&verifier, &headers, BODY, AT);
        for scheme in ["standard", "standard_ed25519", "legacy_timestamped"] {
            assert!(found.contains(&(scheme, "bad")), "{scheme}");
        }
    }
}
