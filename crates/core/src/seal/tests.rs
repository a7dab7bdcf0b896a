use super::*;
use proptest::prelude::*;

/// Random bytes that are different every time and the same in every run.
fn rng(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut rng = fastrand::Rng::with_seed(seed);
    move |buffer| rng.fill(buffer)
}

fn ring(text: &str) -> KeyRing {
    KeyRing::parse(text).expect("a ring")
}

fn hex(byte: u8) -> String {
    crate::hex::encode(&[byte; 32])
}

#[test]
fn what_is_sealed_opens_and_looks_different_every_time() {
    let ring = ring(&hex(1));
    let mut random = rng(7);
    let (a, b) = (ring.seal(b"whsec_secret", &mut random), ring.seal(b"whsec_secret", &mut random));
    assert_ne!(a, b);
    assert!(!a.as_bytes().windows(6).any(|w| w == b"secret"));
    assert_eq!(ring.open(&a).expect("opens").as_slice(), b"whsec_secret");
    assert_eq!(ring.open(&b).expect("opens").as_slice(), b"whsec_secret");
    assert_eq!(ring.open(&ring.seal(b"", &mut random)).expect("opens").as_slice(), b"");
}

/// The layout is a file format: values of today must open for ever.
#[test]
fn the_layout_is_as_documented() {
    let sealed = ring(&format!("ab={}", hex(9))).seal(b"xyz", &mut rng(1));
    let bytes = sealed.as_bytes();
    assert_eq!(bytes[..4], [1, 2, b'a', b'b']);
    assert_eq!(bytes[4..6], 60u16.to_le_bytes());
    assert_eq!(bytes.len(), 4 + 2 + 60 + 12 + 3 + 16);
    let kept = "AQJhYjwAyaY3In1hegJ6NZVMyFg6Pd8/WM1Q2Pq+6FLN9dYwXznDXjtT5/PXwt5NOFDhi9ez9ll5KSFJvPWssgz69R2j4gx/58Qqo99hxfC91rztdwmxAj/EWb2NLZTXAg==";
    let kept = Sealed::try_from(kept.to_owned()).expect("base64");
    assert_eq!(ring(&format!("ab={}", hex(9))).open(&kept).expect("opens").as_slice(), b"xyz");
}

#[test]
fn rotation_opens_the_old_and_seals_with_the_new() {
    let old = ring(&format!("2024={}", hex(1)));
    let both = ring(&format!("2025={},2024={}", hex(2), hex(1)));
    let new = ring(&format!("2025={}", hex(2)));
    let sealed = old.seal(b"s", &mut rng(1));
    assert!(!old.needs_resealing(&sealed));
    assert!(both.needs_resealing(&sealed));
    assert_eq!(both.open(&sealed).expect("opens").as_slice(), b"s");
    let resealed = both.seal(&both.open(&sealed).expect("opens"), &mut rng(2));
    assert!(!both.needs_resealing(&resealed));
    assert_eq!(new.open(&resealed).expect("opens").as_slice(), b"s");
    let error = new.open(&sealed).expect_err("the old key is gone");
    assert_eq!(error, OpenError::UnknownKey("2024".into()));
    assert!(error.to_string().contains("\"2024\""), "{error}");
}

#[test]
fn another_key_under_the_same_id_is_told_apart_from_a_missing_one() {
    let sealed = ring(&hex(1)).seal(b"s", &mut rng(1));
    assert_eq!(ring(&hex(2)).open(&sealed).expect_err("another key"), OpenError::Tampered("k1".into()));
}

#[test]
fn the_id_is_authenticated() {
    // One key under two ids: a value may not be moved from one to the other.
    let both = ring(&format!("aa={0},bb={0}", hex(1)));
    let mut bytes = both.seal(b"s", &mut rng(1)).as_bytes().to_vec();
    bytes[2..4].copy_from_slice(b"bb");
    assert_eq!(both.open(&Sealed::from_bytes(bytes)).expect_err("moved"), OpenError::Tampered("bb".into()));
}

#[test]
fn later_layouts_and_broken_values_are_named() {
    let ring = ring(&hex(1));
    let good = ring.seal(b"secret", &mut rng(1)).as_bytes().to_vec();
    for length in 0..good.len() {
        let cut = Sealed::from_bytes(good[..length].to_vec());
        assert!(ring.open(&cut).is_err(), "{length} bytes");
    }
    assert_eq!(ring.open(&Sealed::from_bytes(Vec::new())).expect_err("nothing"), OpenError::Malformed);
    let mut later = good;
    later[0] = 2;
    let later = Sealed::from_bytes(later);
    assert_eq!(ring.open(&later).expect_err("later"), OpenError::Version(2));
    assert!(ring.needs_resealing(&later));
}

#[test]
fn keys_are_read_from_text() {
    assert_eq!(ring(&format!(" {}\n", hex(0xab).to_uppercase())).primary_id(), "k1");
    assert_eq!(ring(&format!("new={}, old={}\n", hex(1), hex(2))).primary_id(), "new");
    let long = "x".repeat(33);
    let cases = [
        (String::new(), BadKeyRing::Empty),
        (" \n".into(), BadKeyRing::Empty),
        ("abcd".into(), BadKeyRing::Key),
        (format!("{}00", hex(1)), BadKeyRing::Key),
        (format!("a={}", &hex(1)[1..]), BadKeyRing::Key),
        (format!("a={},", hex(1)), BadKeyRing::Key),
        (format!("{},{}", hex(1), hex(2)), BadKeyRing::Key),
        (format!("={}", hex(1)), BadKeyRing::Id),
        (format!("a b={}", hex(1)), BadKeyRing::Id),
        (format!("{long}={}", hex(1)), BadKeyRing::Id),
        (format!("a={},a={}", hex(1), hex(2)), BadKeyRing::DuplicateId),
    ];
    for (text, expected) in cases {
        let error = KeyRing::parse(&text).expect_err(&text);
        assert_eq!(error, expected, "{text}");
        assert!(!error.to_string().contains(&hex(1)[..8]));
    }
    assert!(KeyRing::parse(&format!("{}={}", &long[1..], hex(1))).is_ok());
}

#[test]
fn nothing_shows_a_secret() {
    let ring = ring(&format!("new={},old={}", hex(1), hex(2)));
    assert_eq!(format!("{ring:?}"), "KeyRing(new, old)");
    let sealed = ring.seal(b"secret", &mut rng(1));
    assert_eq!(format!("{sealed:?}"), format!("Sealed({} bytes)", sealed.as_bytes().len()));
}

#[test]
fn a_sealed_value_is_base64_in_json() {
    let sealed = ring(&hex(1)).seal(b"secret", &mut rng(1));
    let json = serde_json::to_string(&sealed).expect("json");
    assert!(json.starts_with("\"AQJrMTwA"), "{json}");
    assert_eq!(serde_json::from_str::<Sealed>(&json).expect("sealed"), sealed);
    assert!(serde_json::from_str::<Sealed>("\"not base64!\"").is_err());
}

proptest! {
    #[test]
    fn opening_undoes_sealing(plaintext: Vec<u8>, seed: u64) {
        let ring = ring(&hex(3));
        let sealed = ring.seal(&plaintext, &mut rng(seed));
        prop_assert_eq!(ring.open(&sealed).expect("opens").to_vec(), plaintext);
    }

    #[test]
    fn a_flipped_bit_never_opens(plaintext: Vec<u8>, seed: u64, at: prop::sample::Index, bit in 0u8..8) {
        let ring = ring(&hex(3));
        let mut bytes = ring.seal(&plaintext, &mut rng(seed)).as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(ring.open(&Sealed::from_bytes(bytes)).is_err());
    }

    #[test]
    fn no_bytes_panic(mut bytes: Vec<u8>, version: bool) {
        if let (true, Some(first)) = (version, bytes.first_mut()) {
            *first = VERSION;
        }
        prop_assert!(ring(&hex(3)).open(&Sealed::from_bytes(bytes)).is_err());
    }
}
