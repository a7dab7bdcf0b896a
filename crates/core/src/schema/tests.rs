use super::*;
use proptest::prelude::*;
use serde_json::json;

mod costs;
mod samples;

fn schema(text: &str) -> EventSchema {
    EventSchema::parse(text.as_bytes()).expect(text)
}

fn check(document: &str, payload: &str) -> Vec<String> {
    schema(document).check(payload.as_bytes())
}

const ORDER: &str = r##"{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "required": ["id", "items"],
  "additionalProperties": false,
  "properties": {
    "id": {"type": "integer", "minimum": 1},
    "customer": {"$ref": "#/definitions/customer"},
    "items": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string", "pattern": "^[A-Z]\\d$"}}}}
  },
  "definitions": {"customer": {"type": "object", "properties": {"mail": {"type": "string", "format": "email"}, "kind": {"enum": ["a", "b"]}}}}
}"##;

#[test]
fn warnings_name_fields_and_rules_and_no_values() {
    assert_eq!(check(ORDER, r#"{"id":7,"items":[{"sku":"A1"}],"customer":{"mail":"a@b.example","kind":"a"}}"#), Vec::<String>::new());
    let cases = [
        (r#"{"id":7}"#, vec!["field 'items': is required"]),
        (r#"{"id":"secret","items":[{"sku":"A1"}]}"#, vec!["field 'id': value is not of type \"integer\""]),
        (r#"{"id":7,"items":[{"sku":"A1"},{}]}"#, vec!["field 'items[1].sku': is required"]),
        (r#"{"id":7,"items":[{"sku":"secret"}]}"#, vec!["field 'items[0].sku': value does not match \"^[A-Z]\\d$\""]),
        (
            r#"{"id":7,"items":[{"sku":"A1"}],"x":1,"y":2}"#,
            vec!["field 'x': is not a field of the schema", "field 'y': is not a field of the schema"],
        ),
        ("5", vec!["field '(root)': value is not of type \"object\""]),
    ];
    for (payload, expected) in cases {
        assert_eq!(check(ORDER, payload), expected, "{payload}");
    }
    let nested = check(ORDER, r#"{"id":7,"items":[{"sku":"A1"}],"customer":{"mail":"secret","kind":"secret"}}"#);
    assert!(nested.iter().any(|warning| warning.starts_with("field 'customer.mail': ")), "{nested:?}");
    assert!(nested.iter().any(|warning| warning.starts_with("field 'customer.kind': ")), "{nested:?}");
    assert!(!nested.iter().any(|warning| warning.contains("secret")), "{nested:?}");
}

#[test]
fn each_draft_has_its_rules() {
    let exclusive_4 = r#"{"$schema":"http://json-schema.org/draft-04/schema#","minimum":1,"exclusiveMinimum":true}"#;
    assert_eq!((check(exclusive_4, "1").len(), check(exclusive_4, "2").len()), (1, 0));
    let tuple_7 = r#"{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"string"}]}"#;
    assert_eq!((check(tuple_7, "[1]").len(), check(tuple_7, "[\"a\"]").len()), (1, 0));
    for schema in [
        r#"{"prefixItems":[{"type":"string"}]}"#,
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","prefixItems":[{"type":"string"}]}"#,
    ] {
        assert_eq!((check(schema, "[1]").len(), check(schema, "[\"a\"]").len()), (1, 0), "{schema}");
    }
    for (format, wrong, right) in [
        ("date-time", "yesterday", "2026-01-15T10:00:00Z"),
        ("uuid", "x", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
        ("ipv4", "1.2.3", "192.0.2.1"),
    ] {
        let schema = json!({ "format": format }).to_string();
        assert_eq!((check(&schema, &json!(wrong).to_string()).len(), check(&schema, &json!(right).to_string()).len()), (1, 0), "{format}");
    }
    assert_eq!(check("true", "1").len() + check("{}", "null").len(), 0);
    assert_eq!(check("false", "1").len(), 1);
}

#[test]
fn warnings_are_bounded() {
    let strict = r#"{"additionalProperties":false,"required":["a"],"propertyNames":{"maxLength":1}}"#;
    let fields: serde_json::Map<String, Value> = (0..10_000).map(|n| ("n".repeat(400) + &n.to_string(), json!(1))).collect();
    let warnings = check(strict, &Value::Object(fields).to_string());
    assert_eq!(warnings.len(), MAX_WARNINGS);
    assert!(warnings.iter().all(|warning| warning.len() <= MAX_WARNING_BYTES && warning.starts_with("field '")));
    assert_eq!(warnings.last().map(String::as_str), Some("field '(root)': breaks more of the schema than is told here"));
    let choices: Vec<String> = (0..1_000).map(|n| format!("{n}é")).collect();
    assert!(check(&json!({ "enum": choices }).to_string(), "1").iter().all(|warning| warning.len() <= MAX_WARNING_BYTES));
    let required: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    let all = check(&json!({ "required": required }).to_string(), "{}");
    assert!(all.len() == 20 && all.iter().all(|warning| warning.ends_with("is required")), "{all:?}");
}

#[test]
fn payloads_that_cannot_be_checked_are_told() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for payload in ["", "{", "1e999", &deep] {
        let warnings = check("{}", payload);
        assert!(warnings.len() == 1 && warnings[0].starts_with("field '(root)': is not checked"), "{warnings:?}");
    }
    assert_eq!(schema("{}").check(b"\"\xff\"").len(), 1);
    assert_eq!(check(r#"{"type":"integer"}"#, "123456789012345678901234567890"), Vec::<String>::new());
}

#[test]
fn what_is_no_schema_is_refused() {
    let cases = [
        ("", "the schema is not JSON"),
        ("{", "the schema is not JSON"),
        (r#"{"type":5}"#, "this is no JSON Schema at /type"),
        (r#"{"required":"a"}"#, "this is no JSON Schema at /required"),
        (r#"{"pattern":"("}"#, "this is no JSON Schema"),
        (r##"{"$ref":"#/nowhere"}"##, "leads to no schema"),
        (r#"{"$ref":5}"#, "$ref must be a text"),
        ("5", "this is no JSON Schema"),
    ];
    for (text, expected) in cases {
        let error = EventSchema::parse(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn nothing_leads_out_of_a_schema() {
    for reference in [
        "http://127.0.0.1:1/x.json",
        "https://example.com/x#/a",
        "file:///etc/passwd",
        "other.json",
        "#anchor",
        "//example.com",
        "./x#/y",
        "",
    ] {
        for document in [
            json!({ "$ref": reference }),
            json!({"properties": {"a": {"items": [{"$ref": reference}]}}}),
            json!({"x": {"$ref": reference}, "$ref": "#/x"}),
        ] {
            let error = EventSchema::parse(document.to_string().as_bytes()).expect_err(reference);
            assert!(error.to_string().contains("leads out of the schema"), "{document}: {error}");
        }
    }
    for text in [
        r#"{"properties":{"a":{"$id":"http://127.0.0.1:1/"}}}"#,
        r##"{"$dynamicRef":"#a"}"##,
        r##"{"$recursiveRef":"#"}"##,
        r#"{"$schema":"http://127.0.0.1:1/meta"}"#,
        r#"{"$schema":"file:///etc/passwd"}"#,
    ] {
        assert!(EventSchema::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(EventSchema::parse(br#"{"$id":"https://example.com/order","type":"object"}"#).is_ok());
}

/// Checks on a small stack, so that a recursion without a bound would end the test's process.
fn on_small_stack(document: String, payload: String) -> Result<Vec<String>, BadSchema> {
    let run = move || Ok(EventSchema::parse(document.as_bytes())?.check(payload.as_bytes()));
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).expect("a thread").join().expect("no panic")
}

#[test]
fn schemas_that_go_round_or_multiply_are_refused() {
    let doubling: serde_json::Map<String, Value> = (0..15)
        .map(|n| (format!("a{n}"), json!({"allOf": [{"$ref": format!("#/$defs/a{}", n + 1)}, {"$ref": format!("#/$defs/a{}", n + 1)}]})))
        .chain([("a15".to_owned(), json!(true))])
        .collect();
    let chain: serde_json::Map<String, Value> = (0..100)
        .map(|n| (format!("a{n}"), json!({"$ref": format!("#/$defs/a{}", n + 1)})))
        .chain([("a100".to_owned(), json!(true))])
        .collect();
    for (document, expected) in [
        (json!({"$ref": "#"}), "refer to itself"),
        (json!({"allOf": [{"$ref": "#"}]}), "refer to itself"),
        (json!({"$ref": "#/x", "x": {"y": {"not": {"$ref": "#/x/y"}}, "$ref": "#/x/y"}}), "refer to itself"),
        (json!({"$ref": "#/$defs/a0", "$defs": chain}), "refer to itself"),
        (json!({"$ref": "#/$defs/a0", "$defs": doubling}), "references multiply"),
        (json!({"patternProperties": (0..65).map(|n| (n.to_string(), json!(true))).collect::<serde_json::Map<_, _>>()}), "64 patterns"),
        (json!({"anyOf": vec![json!({}); 2_001]}), "2,000 schemas"),
    ] {
        let error = on_small_stack(document.to_string(), "1".to_owned()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let nested = |depth: usize| format!("{}true{}", "{\"items\":".repeat(depth), "}".repeat(depth));
    assert_eq!(on_small_stack(nested(100), "1".to_owned()).expect_err("too deep").to_string(), "schemas nest more than 32 levels deep");
    assert!(on_small_stack(nested(30), "1".to_owned()).is_ok());
    assert!(EventSchema::parse(&vec![b' '; MAX_SCHEMA_BYTES + 1]).is_err());
}

#[test]
fn schemas_that_multiply_by_the_payload_are_not_checked() {
    let twice = json!({"items": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}).to_string();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(on_small_stack(twice.clone(), deep(4)), Ok(Vec::new()));
    for depth in [30, 100] {
        let warnings = on_small_stack(twice.clone(), deep(depth)).expect("a schema");
        assert!(warnings.len() == 1 && warnings[0].contains("is not checked"), "{warnings:?}");
    }
    let tree =
        json!({"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}}).to_string();
    let mut payload = json!({"n": 1});
    for _ in 0..10 {
        payload = json!({"n": 1, "left": payload, "right": payload});
    }
    assert_eq!(on_small_stack(tree, payload.to_string()), Ok(Vec::new()), "a tree is as much work as it is large");
    let long_way = json!({"items": {"$ref": "#/$defs/a0"}, "$defs": (0..24)
        .map(|n| (format!("a{n}"), if n < 23 { json!({"$ref": format!("#/$defs/a{}", n + 1)}) } else { json!({"$ref": "#"}) }))
        .collect::<serde_json::Map<_, _>>()});
    assert_eq!(on_small_stack(long_way.to_string(), deep(5)), Ok(Vec::new()));
    let warnings = on_small_stack(long_way.to_string(), deep(120)).expect("a schema");
    assert!(warnings.len() == 1 && warnings[0].contains("is not checked"), "{warnings:?}");
}

#[test]
fn patterns_are_linear_and_small() {
    let text = "a".repeat(50_000) + "!";
    assert_eq!(check(r#"{"pattern":"^(a+)+$"}"#, &json!(text).to_string()).len(), 1);
    assert_eq!(check(r#"{"pattern":"^(a|aa)+$"}"#, &json!(text).to_string()).len(), 1);
    for pattern in [r"(\\w{1000}){1000}", "(a{1000}){1000}", "(?=a)b", r"(a)\\1"] {
        assert!(EventSchema::parse(format!(r#"{{"pattern":"{pattern}"}}"#).as_bytes()).is_err(), "{pattern}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_warnings_are_bounded(document in any_schema(3), payload in any_json()) {
        if let Ok(schema) = EventSchema::parse(document.to_string().as_bytes()) {
            let warnings = schema.check(payload.to_string().as_bytes());
            prop_assert!(warnings.len() <= MAX_WARNINGS);
            prop_assert!(warnings.iter().all(|warning| warning.len() <= MAX_WARNING_BYTES && warning.starts_with("field '")));
            prop_assert_eq!(warnings.is_empty(), schema.inner.validator.is_valid(&payload));
            let sample = sample(document.to_string().as_bytes()).expect("a schema");
            prop_assert!(sample.to_string().len() < 512 * 1_024);
        }
    }

    #[test]
    fn any_bytes_are_a_schema_or_an_error(bytes: Vec<u8>) {
        if EventSchema::parse(&bytes).is_ok() {
            prop_assert!(sample(&bytes).is_ok());
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_schema(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec!["object", "array", "string", "integer", "number", "boolean", "null", "nonsense"])
            .prop_map(|kind| json!({ "type": kind })),
        any::<i32>().prop_map(|n| json!({"minimum": n, "multipleOf": 3})),
        (0u32..4, 0u32..4).prop_map(|(a, b)| json!({"minLength": a, "maxLength": b, "minItems": a, "maxItems": b, "pattern": "^a"})),
        prop::sample::select(vec!["#", "#/properties/a", "#/$defs/x", "http://x/"]).prop_map(|reference| json!({ "$ref": reference })),
        any_json().prop_map(|value| json!({"const": value, "default": value, "uniqueItems": true})),
        prop::sample::select(vec!["email", "date-time", "uuid", "uri", "nonsense"])
            .prop_map(|format| json!({"type": "string", "format": format})),
    ];
    leaf.prop_recursive(depth, 24, 3, |inner| {
        let one = inner.clone();
        let list = prop::collection::vec(inner.clone(), 1..3);
        let map = prop::collection::btree_map("[abx]", inner, 0..3).prop_map(|fields| Value::Object(fields.into_iter().collect()));
        prop_oneof![
            (
                prop::sample::select(vec![
                    "not",
                    "if",
                    "then",
                    "items",
                    "contains",
                    "additionalProperties",
                    "propertyNames",
                    "unevaluatedProperties"
                ]),
                one
            )
                .prop_map(|(keyword, schema)| json!({ keyword: schema })),
            (prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]), list)
                .prop_map(|(keyword, list)| json!({ keyword: list })),
            (prop::sample::select(vec!["properties", "patternProperties", "$defs", "dependentSchemas"]), map)
                .prop_map(|(keyword, map)| json!({ keyword: map, "required": ["a"] })),
        ]
    })
}
