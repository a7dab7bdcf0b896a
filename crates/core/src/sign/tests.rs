use super::*;
use crate::time::Timestamp;
use proptest::prelude::*;

const ID: &str = "msg_3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const TS: i64 = 1_800_000_000;
const BODY: &str = r#"{"version":"1","event_id":"e","attempt":1,"payload":{"n":"ü"}}"#;
const BASE64_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PUBLIC: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";

fn key(secret: &str) -> SigningKey {
    SigningKey::new(secret).expect(secret)
}

fn now() -> Timestamp {
    Timestamp::from_secs(TS)
}

fn ed25519() -> Ed25519Key {
    Ed25519Key::from_seed(&[7; 32]).expect("any seed is a key")
}

#[test]
fn vectors_of_the_rpc_contract() {
    let body = BODY.as_bytes();
    assert_eq!(key(BASE64_SECRET).standard(ID, TS, body), "v1,Z0d1uHGthFMssWHqVw1rHZELk9NdE0IiCX6UyeGstXg=");
    assert_eq!(key(BASE64_SECRET.trim_end_matches('=')).standard(ID, TS, body), "v1,Z0d1uHGthFMssWHqVw1rHZELk9NdE0IiCX6UyeGstXg=");
    let plain = key("own-plain-secret");
    assert_eq!(plain.standard(ID, TS, body), "v1,jnXI4D5t0b+ozhyr2DSojXzUMikiVHf39pZiaghponQ=");
    assert_eq!(plain.legacy(TS, body), "sha256=4fb042671218827dd545ada6bff46de737738e65a89e9264eee31d8f02f35443");
    assert_eq!(ed25519().public_hex(), PUBLIC);
    assert_eq!(
        ed25519().standard(ID, TS, body),
        "v1a,HS1OtSewaRyqPK1GqaOXQ2G+yZGtG1fFuDTOG1n2+26dyusjpmIZxIXINO9alekqj4JjB6xi8O51DWzkt18iBg=="
    );
}

#[test]
fn vectors_of_the_items_contract() {
    let body = r#"{"event":"extraction.complete","delivery_id":"dlv_test123","timestamp":"2026-01-15T10:00:00Z","data":{"extraction_id":"ext_abc","document_id":"doc_xyz","schema_id":"sch_123","status":"complete","confidence":0.95}}"#;
    let hub = SigningKey::verbatim("whsec_test_secret_do_not_use_in_production").expect("a secret");
    assert_eq!(hub.hub(body.as_bytes()), "sha256=1e23bdc14b051f268d4fd9544387b51b074186c51c5b6c76ce700956308d168a");

    let mac = key("whsec_demo").postrider(1_767_225_600, br#"{"hello":"world"}"#);
    assert_eq!(mac, "80bc0fcf7e225231d60dadc54f926d50db216b527cd2510b5a2260dec3f1e000");
    let two = postrider_header(1_767_225_600, [mac.clone(), "00".to_owned()].into_iter());
    assert_eq!(two, format!("t=1767225600,v1={mac},v1=00"));
    assert_eq!(verify_postrider(&key("whsec_demo"), &two, br#"{"hello":"world"}"#, Timestamp::from_secs(1_767_225_600)), Ok(()));
}

/// The example of the Standard Webhooks specification, as its libraries test it.
#[test]
fn the_vector_of_standard_webhooks() {
    let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let body = br#"{"test": 2432232314}"#;
    let signature = key.standard("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn bad_secrets_are_refused_and_never_shown() {
    assert_eq!(SigningKey::new("").expect_err("empty"), BadSecret::Empty);
    assert_eq!(SigningKey::verbatim("").expect_err("empty"), BadSecret::Empty);
    for bad in ["whsec_", "whsec_a", "whsec_a_b-", "whsec_ AAEC", "whsec_test_secret_do_not_use_in_production"] {
        assert_eq!(SigningKey::new(bad).expect_err(bad), BadSecret::NotBase64, "{bad}");
    }
    assert_eq!(format!("{:?}", key("own-plain-secret")), "SigningKey(…)");
    assert_eq!(format!("{:?}", ed25519()), format!("Ed25519Key({PUBLIC})"));
}

#[test]
fn ed25519_keys_come_back_from_their_text() {
    let secret = ed25519_secret(&[7; 32]);
    assert_eq!(&**secret, "whsk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    for text in [&**secret, secret.trim_end_matches('=')] {
        assert_eq!(Ed25519Key::from_secret(text).expect("a key").public_hex(), PUBLIC);
    }
    for bad in
        ["", "whsk_", "whsk_!", "whsk_AAEC", BASE64_SECRET, &secret[5..], &secret[..40], &format!("{}BwcH", secret.trim_end_matches('='))]
    {
        assert_eq!(Ed25519Key::from_secret(bad).expect_err(bad), BadSecret::NotEd25519, "{bad}");
    }
}

#[test]
fn the_whsec_form_is_decoded_for_standard_webhooks_only() {
    let (decoded, verbatim) = (key(BASE64_SECRET), SigningKey::verbatim(BASE64_SECRET).expect("a secret"));
    assert_ne!(decoded.standard(ID, TS, b""), verbatim.standard(ID, TS, b""));
    assert_eq!(decoded.hub(b"x"), verbatim.hub(b"x"));
    assert_eq!(decoded.postrider(TS, b"x"), verbatim.postrider(TS, b"x"));
    assert_eq!(decoded.legacy(TS, b"x"), verbatim.legacy(TS, b"x"));
}

#[test]
fn generated_secrets_are_usable_and_of_the_known_form() {
    assert_eq!(generate_secret([0; 24]), "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(SigningKey::new(&generate_secret([0xfb; 24])).is_ok());
}

#[test]
fn every_key_of_an_endpoint_signs() {
    let (id, ts, body) = ("msg_1", TS, &b"body"[..]);
    let mut keys = SigningKeys::default();
    assert!(keys.is_empty() && keys.in_use(true).standard(id, ts, body).is_empty() && keys.in_use(false).shared.is_empty());
    let pair = ed25519_secret(&[7; 32]);
    for secret in ["newer", &*pair, "older"] {
        keys.add(secret).expect("a secret");
    }
    let signed = keys.in_use(true).standard(id, ts, body);
    let entries: Vec<&str> = signed.split(' ').collect();
    let key = Ed25519Key::from_seed(&[7; 32]).expect("a seed");
    assert_eq!(
        entries,
        [
            SigningKey::new("newer").expect("a secret").standard(id, ts, body),
            SigningKey::new("older").expect("a secret").standard(id, ts, body),
            key.standard(id, ts, body)
        ]
    );
    let other = ed25519_secret(&[8; 32]);
    keys.add(&other).expect("a pair");
    let newest = keys.in_use(false);
    assert_eq!(newest.standard(id, ts, body), [entries[0], entries[2]].join(" "), "the newest of each kind");
    assert_eq!((newest.shared.len(), newest.pairs.len(), keys.in_use(true).pairs.len()), (1, 1, 2));
    // What looks like a private key is one, or nothing.
    assert_eq!(keys.add("whsk_AAAA"), Err(BadSecret::NotEd25519));
    assert_eq!(SigningKey::new(&pair).map(drop), Err(BadSecret::Private));
}

#[test]
fn schemes_have_stable_names() {
    let all = [Scheme::Standard, Scheme::Postrider, Scheme::Hub, Scheme::LegacyTimestamped];
    let json = serde_json::to_string(&all).expect("json");
    assert_eq!(json, r#"["standard","postrider","hub","legacy_timestamped"]"#);
    assert_eq!(serde_json::from_str::<[Scheme; 4]>(&json).expect("schemes"), all);
}

#[test]
fn hub_wants_its_prefix_and_takes_either_case() {
    let (key, body) = (key("s"), b"body");
    let header = key.hub(body);
    assert!(verify_hub(&key, &header, body));
    let digits = header.trim_start_matches("sha256=");
    assert!(verify_hub(&key, &format!("sha256={}", digits.to_uppercase()), body));
    for bad in [
        digits,
        "",
        "sha256=",
        &format!("sha1={digits}"),
        &header[..header.len() - 2],
        &format!("{header}00"),
        &format!("sha256= {digits}"),
    ] {
        assert!(!verify_hub(&key, bad, body), "{bad}");
    }
}

#[test]
fn a_list_of_standard_signatures_needs_one_that_fits() {
    let (key, other, body) = (key(BASE64_SECRET), key("own-plain-secret"), BODY.as_bytes());
    let (good, bad) = (key.standard(ID, TS, body), other.standard(ID, TS, body));
    let check = |keys: &[&SigningKey], list: &str| verify_standard(keys, ID, &TS.to_string(), list, body, now());
    assert_eq!(check(&[&key], &format!("  {bad}   v2,AAAA v1a,AAAA v1,!! nonsense v1 {good} ")), Ok(()));
    assert_eq!(check(&[&other, &key], &good), Ok(()), "any key");
    assert_eq!(check(&[&key], &good.replace("v1,", "v2,")), Err(BadSignature::Mismatch), "the version counts");
    assert_eq!(check(&[&key], good.trim_end_matches('=')), Ok(()), "padding is optional");
    for list in ["", " ", &*bad, "v1,", "v1"] {
        assert_eq!(check(&[&key], list), Err(BadSignature::Mismatch), "{list:?}");
    }
    assert_eq!(check(&[], &good), Err(BadSignature::Mismatch), "no keys, no trust");
}

#[test]
fn an_empty_body_is_a_body() {
    let key = key("s");
    assert_eq!(verify_standard(&[&key], "m", "1800000000", &key.standard("m", TS, b""), b"", now()), Ok(()));
    assert!(verify_hub(&key, &key.hub(b""), b""));
}

#[test]
fn the_tolerance_is_300_seconds_inclusive_both_ways() {
    let (key, ed) = (key("s"), ed25519());
    let cases = [(-301, Err(BadSignature::TooNew)), (-300, Ok(())), (0, Ok(())), (300, Ok(())), (301, Err(BadSignature::TooOld))];
    for (age, expected) in cases {
        let now = Timestamp::from_secs(TS + age);
        let ts = TS.to_string();
        assert_eq!(verify_standard(&[&key], ID, &ts, &key.standard(ID, TS, b"b"), b"b", now), expected, "{age}");
        assert_eq!(verify_standard_ed25519(&ed.public(), ID, &ts, &ed.standard(ID, TS, b"b"), b"b", now), expected, "{age}");
        assert_eq!(verify_legacy(&key, &key.legacy(TS, b"b"), &ts, b"b", now), expected, "{age}");
        let header = postrider_header(TS, std::iter::once(key.postrider(TS, b"b")));
        assert_eq!(verify_postrider(&key, &header, b"b", now), expected, "{age}");
    }
}

#[test]
fn timestamps_are_digits() {
    let key = key("s");
    for bad in ["", "-1800000000", "+1800000000", " 1800000000", "1800000000.0", "0x1", "99999999999999999999", "2027-01-15T08:00:00Z"] {
        assert_eq!(verify_legacy(&key, "sha256=00", bad, b"b", now()), Err(BadSignature::Timestamp), "{bad:?}");
    }
    let early = i64::MAX.to_string();
    assert_eq!(verify_legacy(&key, "sha256=00", &early, b"b", Timestamp::MIN), Err(BadSignature::TooNew));
}

#[test]
fn the_header_of_postrider_is_read_strictly_where_it_matters() {
    let (key, old) = (key("s"), key("older"));
    let (mac, old_mac) = (key.postrider(TS, b"b"), old.postrider(TS, b"b"));
    let check = |header: &str| verify_postrider(&key, header, b"b", now());
    assert_eq!(check(&postrider_header(TS, [old_mac.clone(), mac.clone()].into_iter())), Ok(()));
    assert_eq!(check(&format!("v1={mac}, t={TS}, v9=zz")), Ok(()), "in any order, with later fields");
    assert_eq!(check(&format!("t={TS},v1={old_mac}")), Err(BadSignature::Mismatch));
    assert_eq!(check(&format!("t={TS}")), Err(BadSignature::Mismatch));
    assert_eq!(check(&format!("t={TS},v1=xyz")), Err(BadSignature::Mismatch));
    for bad in [String::new(), format!("v1={mac}"), format!("t={TS},t={TS},v1={mac}"), format!("{TS},{mac}")] {
        assert_eq!(check(&bad), Err(BadSignature::Malformed), "{bad}");
    }
}

/// Changes one byte of `bytes`, if there is one.
fn flipped(bytes: &[u8], at: prop::sample::Index, mask: u8) -> Option<Vec<u8>> {
    let mut out = bytes.to_vec();
    let i = (!out.is_empty()).then(|| at.index(out.len()))?;
    out[i] ^= mask;
    Some(out)
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_nothing_else_does(
        secret in "[ -~]{1,40}", id in "[a-z_0-9]{1,20}", body: Vec<u8>, at: prop::sample::Index, mask in 1u8..,
    ) {
        let Ok(key) = SigningKey::new(&secret) else { return Ok(()) };
        let (ts, ed) = (TS.to_string(), ed25519());
        let (standard, v1a, hub, legacy) = (key.standard(&id, TS, &body), ed.standard(&id, TS, &body), key.hub(&body), key.legacy(TS, &body));
        let header = postrider_header(TS, std::iter::once(key.postrider(TS, &body)));
        let accepted = |body: &[u8], id: &str, ts: &str| {
            [
                verify_standard(&[&key], id, ts, &standard, body, now()).is_ok(),
                verify_standard_ed25519(&ed.public(), id, ts, &v1a, body, now()).is_ok(),
                verify_hub(&key, &hub, body),
                verify_legacy(&key, &legacy, ts, body, now()).is_ok(),
                verify_postrider(&key, &header, body, now()).is_ok(),
            ]
        };
        prop_assert_eq!(accepted(&body, &id, &ts), [true; 5]);
        if let Some(other) = flipped(&body, at, mask) {
            prop_assert_eq!(accepted(&other, &id, &ts), [false; 5]);
        }
        let longer = [&body[..], &[mask]].concat();
        prop_assert_eq!(accepted(&longer, &id, &ts), [false; 5]);
        // The id is signed by the two of Standard Webhooks, the timestamp by all but Hub; the last one carries its own.
        prop_assert_eq!(accepted(&body, &format!("{id}x"), &ts), [false, false, true, true, true]);
        prop_assert_eq!(accepted(&body, &id, &(TS + 1).to_string()), [false, false, true, false, true]);
    }

    #[test]
    fn a_changed_signature_never_verifies(body: Vec<u8>, at: prop::sample::Index, mask in 1u8..) {
        let key = key("secret");
        let digest = crate::hex::decode(&key.postrider(TS, &body)).expect("hex");
        let other = crate::hex::encode(&flipped(&digest, at, mask).expect("32 bytes"));
        prop_assert_eq!(verify_postrider(&key, &format!("t={TS},v1={other}"), &body, now()), Err(BadSignature::Mismatch));
        prop_assert_eq!(verify_legacy(&key, &format!("sha256={other}"), &TS.to_string(), &body, now()), Err(BadSignature::Mismatch));
        let hub = verify_hub(&key, &format!("sha256={other}"), &body);
        prop_assert!(!hub);
        let tag = STANDARD.encode(crate::hex::decode(&other).expect("hex"));
        let standard = verify_standard(&[&key], ID, &TS.to_string(), &format!("v1,{tag}"), &body, now());
        prop_assert_eq!(standard, Err(BadSignature::Mismatch));
    }

    #[test]
    fn no_header_panics(a: String, b: String, body: Vec<u8>, at: i64) {
        let (key, now) = (key("s"), Timestamp::from_micros(at));
        prop_assert!(!verify_hub(&key, &a, &body));
        prop_assert!(verify_postrider(&key, &a, &body, now).is_err());
        prop_assert!(verify_legacy(&key, &a, &b, &body, now).is_err());
        prop_assert!(verify_standard(&[&key], &a, &at.to_string(), &b, &body, Timestamp::from_secs(at)).is_err());
        prop_assert!(verify_standard_ed25519(&[0; 32], &a, &at.to_string(), &b, &body, Timestamp::from_secs(at)).is_err());
    }
}
