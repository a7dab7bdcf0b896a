use super::*;
use proptest::prelude::*;

fn map(text: &str) -> FieldMap {
    FieldMap::parse(text).expect("a right map").expect("one that does something")
}

fn applied(text: &str, payload: &str) -> String {
    map(text).apply(payload, 1 << 20).expect("it applies")
}

#[test]
fn drop_then_rename_then_static() {
    let payload = r#"{"vendor":"Acme","total":4950.00,"secret":"x"}"#;
    let text = r#"{"rules":[{"source":"vendor","target":"supplier"}],"static":{"source":"erp"},"drop":["secret"]}"#;
    assert_eq!(applied(text, payload), r#"{"supplier":"Acme","total":4950.00,"source":"erp"}"#);
    let dropped_first = r#"{"drop":["a"],"rules":[{"source":"a","target":"b"}]}"#;
    assert_eq!(applied(dropped_first, r#"{"a":1,"c":2}"#), r#"{"c":2}"#, "what is dropped cannot be renamed");
    let all = r#"{"drop":["a"],"rules":[{"source":"b","target":"x"}],"static":{"x":0,"a":9,"c":[1, 2]}}"#;
    assert_eq!(applied(all, r#"{"a":1,"b":2,"c":3}"#), r#"{"c":[1,2],"x":0,"a":9}"#, "static wins");
}

#[test]
fn rules_move_fields() {
    for (text, payload, result) in [
        (r#"{"b":"$.a","a":"$.b"}"#, r#"{"a":1,"b":2}"#, r#"{"b":1,"a":2}"#),
        (r#"{"b":"a"}"#, r#"{"x":0,"a":1,"b":2,"y":3}"#, r#"{"x":0,"b":1,"y":3}"#),
        (r#"{"b":"a"}"#, r#"{"b":2}"#, r#"{"b":2}"#),
        (r#"{"a":"a"}"#, r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"x":"a","y":"a"}"#, r#"{"a":1,"b":2}"#, r#"{"x":1,"y":1,"b":2}"#),
        (r#"{"name":"$.customer.name"}"#, r#"{"customer":{"id": 7,"name":"A"},"t":1}"#, r#"{"customer":{"id":7},"t":1,"name":"A"}"#),
        (r#"{"d":"a.b.c"}"#, r#"{"a":{"b":{"c":{"x" : 1}}}}"#, r#"{"a":{"b":{}},"d":{"x" : 1}}"#),
        (r#"{"d":"a.b","e":"a"}"#, r#"{"a":{"b":1,"c":2}}"#, r#"{"e":{"b":1,"c":2},"d":1}"#),
        (r#"{"d":"a.b"}"#, r#"{"a":[{"b":1}]}"#, r#"{"a":[{"b":1}]}"#),
        (r#"{"d":"a.b"}"#, r#"{"a":{"b":1},"a.b":2}"#, r#"{"a":{"b":1},"d":2}"#),
        (r#"{"d":"$.a.b"}"#, r#"{"a":{"b":1},"a.b":2}"#, r#"{"a":{},"a.b":2,"d":1}"#),
        (r#"{"drop":["a.b","$.c.d.e","none"]}"#, r#"{"a":{"b":1,"x":2},"c":{"d":{"e":1}}}"#, r#"{"a":{"x":2},"c":{"d":{}}}"#),
        (r#"{"drop":["a"]}"#, r#"[{"a":1,"b":2},{"c":3}]"#, r#"[{"b":2},{"c":3}]"#),
    ] {
        assert_eq!(applied(text, payload), result, "{text} {payload}");
    }
}

#[test]
fn values_keep_their_text() {
    let payload = r#"{"a":123456789012345678901234567890.10,"b":"\u00e9\/","c":1E400}"#;
    assert_eq!(applied(r#"{"x":"a"}"#, payload), r#"{"x":123456789012345678901234567890.10,"b":"\u00e9\/","c":1E400}"#);
}

#[test]
fn payloads_without_fields_are_refused() {
    for payload in ["1", "\"a\"", "null", "[1]", "[[]]"] {
        assert_eq!(map(r#"{"drop":["a"]}"#).apply(payload, 100), Err(Unrenderable::NoFields), "{payload}");
    }
    assert_eq!(map(r#"{"drop":["a"]}"#).apply("{\"a\":", 100), Err(Unrenderable::NotJson));
    assert_eq!(map(r#"{"drop":["b"]}"#).apply(r#"{"a":"0123456789"}"#, 17), Err(Unrenderable::TooLarge { limit: 17 }));
}

#[test]
fn both_forms_are_one() {
    let full = r#"{"rules":[{"source":"$.a","target":"x"},{"source":"b","target":"y"}],"static":{},"drop":[]}"#;
    assert_eq!(map(r#"{"x":"$.a","y":"b"}"#).as_json(), full);
    assert_eq!(map(full), map(r#"{"x":"$.a","y":"b"}"#));
    assert_eq!(
        map(r#"{ "drop" : [ "a" ], "static": {"b": { "c": 1.0 }} }"#).as_json(),
        r#"{"rules":[],"static":{"b":{"c":1.0}},"drop":["a"]}"#
    );
    for nothing in ["{}", r#"{"rules":[]}"#, r#"{"rules":[],"static":{},"drop":[]}"#] {
        assert_eq!(FieldMap::parse(nothing), Ok(None), "{nothing}");
    }
    let stored = serde_json::to_string(&map(full)).expect("JSON");
    assert_eq!(serde_json::from_str::<FieldMap>(&stored).expect("the same"), map(full));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let many = |part: &str, item: &dyn Fn(usize) -> String| {
        let items: Vec<_> = (0..=MAX_FIELD_MAP_ENTRIES).map(item).collect();
        format!("{{\"{part}\":[{}]}}", items.join(","))
    };
    let (rules, drops) = (many("rules", &|n| format!("{{\"source\":\"a\",\"target\":\"t{n}\"}}")), many("drop", &|n| format!("\"d{n}\"")));
    for (text, path) in [
        ("[]", ""),
        ("", ""),
        (r#"{"rules":[{"source":"a","target":"x"},{"source":"b","target":"x"}]}"#, "rules[1].target"),
        (r#"{"rules":[{"source":"a"}]}"#, "rules[0].target"),
        (r#"{"rules":[{"target":"a"}]}"#, "rules[0].source"),
        (r#"{"rules":[{"source":"a","target":"b","copy":true}]}"#, "rules[0].copy"),
        (r#"{"rules":["a"]}"#, "rules[0]"),
        (r#"{"rules":{"a":1}}"#, "rules"),
        (r#"{"rules":[{"source":"a..b","target":"x"}]}"#, "rules[0].source"),
        (r#"{"rules":[{"source":"$","target":"x"}]}"#, "rules[0].source"),
        (r#"{"rules":[{"source":"$.a[0]","target":"x"}]}"#, "rules[0].source"),
        (r#"{"rules":[{"source":"a.b.c.d.e.f.g.h.i","target":"x"}]}"#, "rules[0].source"),
        (r#"{"rules":[{"source":1,"target":"x"}]}"#, "rules[0].source"),
        (r#"{"rules":[{"source":"a","target":"x.y"}]}"#, "rules[0].target"),
        (r#"{"rules":[{"source":"a","target":""}]}"#, "rules[0].target"),
        (r#"{"x":"$.a","y":"$."}"#, "y"),
        (r#"{"x.y":"$.a"}"#, "x.y"),
        (r#"{"x":"$.a","n":1}"#, "n"),
        (r#"{"drop":[],"x":"$.a"}"#, "x"),
        (r#"{"static":[]}"#, "static"),
        (r#"{"static":{"$a":1}}"#, "static.$a"),
        (r#"{"drop":"a"}"#, "drop"),
        (r#"{"drop":["a",1]}"#, "drop[1]"),
        (&rules, "rules"),
        (&drops, "drop"),
        (&format!("{{\"static\":{{\"a\":\"{}\"}}}}", "x".repeat(MAX_FIELD_MAP_BYTES)), ""),
    ] {
        assert_eq!(FieldMap::parse(text).expect_err(text).path, path, "{text}");
    }
}

proptest! {
    /// Names are ours alone, values are the payload's: the result is JSON, holds no dropped name, and has every field once.
    #[test]
    fn results_are_objects_without_doubles(
        fields in prop::collection::btree_map("[a-e]", 0i64..100, 0..5),
        rules in prop::collection::btree_map("[a-h]", "[a-e]", 0..4),
        added in prop::collection::btree_map("[a-h]", 100i64..200, 0..3),
        dropped in prop::collection::btree_set("[a-e]", 0..3),
    ) {
        let rules_json: Vec<_> = rules.iter().map(|(target, source)| serde_json::json!({ "source": source, "target": target })).collect();
        let text = serde_json::json!({ "rules": rules_json, "static": added, "drop": dropped }).to_string();
        let Some(map) = FieldMap::parse(&text).expect("a right map") else { return Ok(()) };
        let payload = serde_json::to_string(&fields).expect("JSON");
        let result = map.apply(&payload, 1 << 20).expect("it applies");

        let left: BTreeMap<_, _> = fields.iter().filter(|(name, _)| !dropped.contains(*name)).collect();
        let moved: BTreeSet<_> = rules.values().filter(|source| left.contains_key(source)).collect();
        let mut expected: BTreeMap<String, i64> =
            left.iter().filter(|(name, _)| !moved.contains(*name)).map(|(name, value)| ((*name).clone(), **value)).collect();
        expected.extend(rules.iter().filter_map(|(target, source)| Some((target.clone(), **left.get(source)?))));
        expected.extend(added);
        let names = json::fields(&result).expect("an object").len();
        prop_assert_eq!(result.matches(':').count(), names, "no name twice in {}", &result);
        prop_assert_eq!(serde_json::from_str::<BTreeMap<String, i64>>(&result).expect("an object"), expected);
    }
}

/// What is stored is longer than what was given, in the short form most of all: it must be readable all the same, for ever.
#[test]
fn the_longest_maps_are_read_back() {
    let padding = "x".repeat(MAX_FIELD_MAP_BYTES - r#"{"static":{"a":""}}"#.len());
    let longest = format!(r#"{{"static":{{"a":"{padding}"}}}}"#);
    assert_eq!(longest.len(), MAX_FIELD_MAP_BYTES);
    let short: Vec<String> = (0..MAX_FIELD_MAP_ENTRIES).map(|n| format!("\"t{n:0240}\":\"s{n:0240}\"")).collect();
    let short = format!("{{{}}}", short.join(","));
    for given in [longest, short] {
        let map = FieldMap::parse(&given).expect("a right one").expect("it does something");
        assert!(map.as_json().len() > given.len());
        let stored = serde_json::to_string(&map).expect("JSON");
        assert_eq!(serde_json::from_str::<FieldMap>(&stored).expect("it is read back"), map);
    }
}
