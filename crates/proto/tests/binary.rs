//! Objects in binary, held against the library's own `google.protobuf.Struct`.

use buffa::Message;
use buffa::encoding::encode_varint;
use buffa_types::google::protobuf::{ListValue, Struct, Value as ProtoValue};
use postrider_proto::Object;
use postrider_proto::webhook::PushEventRequest;
use proptest::prelude::*;
use serde_json::{Value, json};

fn object(json: &str) -> Object {
    Object::parse(json.as_bytes()).unwrap_or_else(|e| panic!("{e}: {json}"))
}

/// What another program reads of an object that was sent in binary.
fn as_others_read(json: &str) -> Struct {
    Struct::decode_from_slice(&object(json).encode_to_vec()).unwrap_or_else(|e| panic!("{e}: {json}"))
}

/// The text of what another program sent in binary.
fn as_text(sent: &Struct) -> String {
    let read = Object::decode_from_slice(&sent.encode_to_vec()).unwrap_or_else(|e| panic!("{e}: {sent:?}"));
    String::from_utf8(read.into_json().to_vec()).expect("text")
}

fn one(value: impl Into<ProtoValue>) -> Struct {
    Struct::from_fields([("x", value)])
}

#[test]
fn every_kind_goes_out() {
    let sent = as_others_read(r#" {"s": "a\"\\\n\u00fc", "n": -1.5e3 ,"t":true,"f":false,"z":null,"l":[1,[],{"i": "n"}],"o":{}} "#);
    let list = ListValue::from_values([ProtoValue::from(1.0), ListValue::default().into(), Struct::from_fields([("i", "n")]).into()]);
    let expected = Struct::from_fields([
        ("s", ProtoValue::from("a\"\\\n\u{fc}")),
        ("n", ProtoValue::from(-1500.0)),
        ("t", ProtoValue::from(true)),
        ("f", ProtoValue::from(false)),
        ("z", ProtoValue::null()),
        ("l", list.into()),
        ("o", Struct::default().into()),
    ]);
    assert_eq!(sent, expected);
}

#[test]
fn numbers_go_out_as_the_nearest_that_there_is() {
    for (text, expected) in [("9007199254740993", 9_007_199_254_740_992.0), ("0.1", 0.1), ("1e400", f64::MAX), ("-1e400", f64::MIN)] {
        assert_eq!(as_others_read(&format!(r#"{{"x":{text}}}"#)), one(expected), "{text}");
    }
}

#[test]
fn half_a_pair_of_surrogates_is_replaced() {
    for (text, expected) in [
        (r"\ud800", "\u{fffd}"),
        (r"a\udc00\n\ud83d\ude00b\u0041", "a\u{fffd}\n\u{1f600}bA"),
        (r"\ud800\ud83d\ude00", "\u{fffd}\u{1f600}"),
        (r"\\ud800\ud800", "\\ud800\u{fffd}"),
    ] {
        assert_eq!(as_others_read(&format!(r#"{{"x":"{text}"}}"#)), one(expected), "{text}");
    }
}

#[test]
fn every_kind_comes_in() {
    for (sent, expected) in [
        (one("a\"\n\u{fc}"), r#"{"x":"a\"\nü"}"#),
        (one(3.0), r#"{"x":3}"#),
        (one(-0.0), r#"{"x":-0.0}"#),
        (one(0.1), r#"{"x":0.1}"#),
        (one(9_007_199_254_740_991.0), r#"{"x":9007199254740991}"#),
        (one(1e300), r#"{"x":1e+300}"#),
        (one(true), r#"{"x":true}"#),
        (one(ProtoValue::null()), r#"{"x":null}"#),
        (one(ProtoValue::default()), r#"{"x":null}"#),
        (one(ListValue::from_values([1.0, 2.0])), r#"{"x":[1,2]}"#),
        (one(Struct::default()), r#"{"x":{}}"#),
        (Struct::default(), "{}"),
    ] {
        assert_eq!(as_text(&sent), expected);
    }
}

/// A field of a message: its number, and its content as what it is.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

fn entry(key: &str, text: &str) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, &field(3, text.as_bytes()))].concat())
}

#[test]
fn order_is_kept_and_of_two_the_later_counts() {
    let wire = [entry("b", "1"), entry("a", "2"), field(7, b"unknown"), entry("b", "3")].concat();
    let read = Object::decode_from_slice(&wire).expect("it can be read");
    assert_eq!(&read.json()[..], br#"{"b":"3","a":"2"}"#);
    // A message that comes in two pieces is one.
    let pieces = [field(3, &entry("b", "1")), field(3, &[entry("a", "2"), entry("b", "3")].concat())].concat();
    let request = PushEventRequest::decode_from_slice(&pieces).expect("it can be read");
    assert_eq!(&request.payload.json()[..], br#"{"b":"3","a":"2"}"#);
}

#[test]
fn what_cannot_be_json_is_refused() {
    let number = |number: f64| field(1, &[field(1, b"x"), field(2, &[&[0x11][..], &number.to_le_bytes()].concat())].concat());
    for bad in [
        number(f64::NAN),
        number(f64::INFINITY),
        field(1, &field(1, &[0xff])),
        field(1, &[field(1, b"x"), field(2, &field(3, &[0xff]))].concat()),
        vec![0x0a, 0x05, 0x0a],
        vec![0x08, 0x01],
        entry("x", "cut")[..5].to_vec(),
    ] {
        assert!(Object::decode_from_slice(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn depth_and_number_of_fields_are_bounded() {
    let nested = |levels: usize| {
        let inner = (1..levels).fold(Vec::new(), |wire, _| field(1, &[field(1, b"x"), field(2, &field(5, &wire))].concat()));
        Object::decode_from_slice(&inner)
    };
    assert!(nested(128).is_ok_and(|o| Object::parse(o.json()).is_ok()));
    assert!(nested(129).is_err());
    // Each takes three bytes, and far more in memory.
    let many = |of: usize| Object::decode_from_slice(&field(1, &[]).repeat(of));
    assert!(many(100_000).is_ok() && many(1_000_000).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1i64 << 52)..1 << 52).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite() && n.fract() != 0.0).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_object_means_the_same_after_a_way_in_binary(value in any_json()) {
        let sent = json!({ "value": value });
        let pretty = serde_json::to_vec_pretty(&sent).expect("JSON");
        let wire = Object::parse(&pretty).expect("an object").encode_to_vec();
        let read = Object::decode_from_slice(&wire).expect("it can be read");
        // As text, for a reader of JSON may take a number for its neighbour.
        prop_assert_eq!(String::from_utf8_lossy(read.json()), sent.to_string());
        // And others read the same.
        let others = Struct::decode_from_slice(&wire).expect("it can be read");
        prop_assert_eq!(as_text(&others).len(), read.json().len());
    }

    #[test]
    fn whatever_bytes_come_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = Object::decode_from_slice(&bytes) {
            prop_assert!(Object::parse(read.json()).is_ok());
        }
    }
}
