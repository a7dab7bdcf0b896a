use super::*;
use proptest::prelude::*;

fn same(a: &str, b: &str) -> bool {
    let (a, b) = (canonical(a, 8), canonical(b, 8));
    a.is_some() && a == b
}

#[test]
fn what_is_the_same_value_is_spelled_the_same() {
    for (a, b) in [
        ("1", "1.0"),
        ("1", "10e-1"),
        ("-0.0", "0"),
        ("100", "1E+2"),
        ("12.50", " 12.5 "),
        ("123456789012345678901234567890", "123456789012345678901234567890.0"),
        (r#""\u00e9""#, r#""é""#),
        (r#"{"a":1,"b":[1,2]}"#, r#" { "b" : [1.0, 2], "a" : 1 } "#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ("[]", "[ ]"),
    ] {
        assert!(same(a, b), "{a} and {b}");
    }
    for (a, b) in [
        ("1", "\"1\""),
        ("1", "-1"),
        ("0", "false"),
        ("null", "0"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("0.1", "0.10000000000000001"),
        ("1e99999999999999999999", "1e99999999999999999998"),
        ("[1,2]", "[2,1]"),
        (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
    ] {
        assert!(!same(a, b), "{a} and {b}");
    }
    assert_eq!(canonical("[[1]]", 1), None);
    assert_eq!(canonical("[1]", 1).as_deref(), Some("[1e0]"));
}

#[test]
fn fields_keep_their_order_and_texts() {
    let found = fields(r#"{"b": 1.50, "a":{"x" : 1}, "b":2, "\u0063":"\u00e9"}"#).expect("an object");
    let found: Vec<_> = found.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(found, [("b", "2"), ("a", r#"{"x" : 1}"#), ("c", r#""\u00e9""#)]);
    for other in ["[1]", "1", "", "{} {}", r#"{"a":}"#] {
        assert_eq!(fields(other), Err(NotTaken::Malformed), "{other}");
    }
    let many: Vec<_> = (0..=MAX_FIELDS).map(|n| format!("\"{n}\":0")).collect();
    assert_eq!(fields(&format!("{{{}}}", many.join(","))), Err(NotTaken::TooMany));
    assert!(fields(&format!("{{{}}}", many[1..].join(","))).is_ok());
}

#[test]
fn only_the_fields_that_are_wanted_are_found() {
    let mut found = Vec::new();
    let whole = look_up(r#"{"a":1,"b":{"a":2},"c":3}"#, |name| name != "b", |name, value| found.push((name.into_owned(), value)));
    assert_eq!(whole, Some(()));
    assert_eq!(found, [("a".to_owned(), "1"), ("c".to_owned(), "3")]);
    assert_eq!(look_up("[1]", |_| true, |_, _| {}), None);
    assert_eq!(look_up("{} 1", |_| true, |_, _| {}), None);
}

#[test]
fn elements_come_one_by_one_until_the_first_error() {
    let mut seen = Vec::new();
    let mut take = |element| {
        seen.push(element);
        if element == "2" { Err("two") } else { Ok(()) }
    };
    assert_eq!(each_element(" [1, 2, 3] ", &mut take), Ok(Err("two")));
    assert_eq!(each_element("[4]", &mut take), Ok(Ok(())));
    assert_eq!(each_element("{}", &mut take), Err(NotTaken::Malformed));
    assert_eq!(seen, ["1", "2", "4"]);
}

fn compacted(text: &str) -> String {
    let mut out = String::new();
    let done: Result<(), ()> = compact(text, |piece| {
        out.push_str(piece);
        Ok(())
    });
    assert_eq!(done, Ok(()));
    out
}

#[test]
fn white_space_goes_and_nothing_else() {
    assert_eq!(compacted(" {\n\t\"a b\" : [ 1.0 , \"\\\" x\\\\\" ] }\r\n"), "{\"a b\":[1.0,\"\\\" x\\\\\"]}");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,8}|[\"\\\\\n ]{0,4}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("[a-z\"\\\\ ]{0,4}", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_spelling_does_not_change_the_value(value in any_json()) {
        let (plain, pretty) = (value.to_string(), serde_json::to_string_pretty(&value).expect("JSON"));
        prop_assert!(same(&plain, &pretty));
        prop_assert_eq!(compacted(&pretty), plain);
    }

    #[test]
    fn different_values_are_spelled_differently(a in any_json(), b in any_json()) {
        prop_assert_eq!(same(&a.to_string(), &b.to_string()), a == b);
    }
}
