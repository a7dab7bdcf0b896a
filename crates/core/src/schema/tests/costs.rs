//! What schemas may cost: counted in steps and in what is kept, never in time.

use super::*;

/// How many steps a check takes; `None` where there are too many.
fn steps(document: &Value, payload: &Value) -> Option<u64> {
    let patterns = shape::check(document).expect("a schema");
    work::measure(document, &patterns, payload).ok()
}

fn refusal_of(document: &Value) -> String {
    EventSchema::parse(document.to_string().as_bytes()).expect_err("refused").to_string()
}

/// A schema so often in itself, each time by `wrap`.
fn wrapped(depth: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(json!({}), |inner, _| wrap(inner))
}

#[test]
fn schemas_that_ask_what_was_evaluated_do_not_multiply() {
    let any_of = |inner: Value| json!({"anyOf": [inner], "unevaluatedProperties": {"type": "integer"}});
    let items = |inner: Value| json!({"allOf": [inner], "unevaluatedItems": false});
    let branch = |inner: Value| json!({"if": {}, "then": inner, "unevaluatedProperties": false});
    let below = |inner: Value| json!({"additionalProperties": inner, "unevaluatedProperties": true});
    let choices: [&dyn Fn(Value) -> Value; 4] = [&any_of, &items, &branch, &below];
    for wrap in choices {
        assert!(refusal_of(&wrapped(30, wrap)).contains("multiply"));
        assert!(EventSchema::parse(wrapped(3, wrap).to_string().as_bytes()).is_ok());
    }
    // What references lead to is compiled once. It is walked again for each of them, which is counted when a payload comes.
    let by_references: serde_json::Map<String, Value> = (0..15)
        .map(|n| (format!("a{n}"), json!({"allOf": [{"$ref": format!("#/$defs/a{}", n + 1)}], "unevaluatedProperties": false})))
        .chain([(String::from("a15"), json!({}))])
        .collect();
    let by_references = json!({"$ref": "#/$defs/a0", "$defs": by_references});
    assert!(steps(&by_references, &json!({"a": 1})).is_none_or(|steps| steps > 1 << 15));
    assert_eq!(check(&by_references.to_string(), r#"{"a":1}"#).len(), 1);
    let elsewhere = json!({"$ref": "#/x", "x": wrapped(30, any_of)});
    assert!(refusal_of(&elsewhere).contains("multiply"), "where no keyword looks for a schema");
}

#[test]
fn what_is_walked_again_is_counted_again() {
    // Two levels of the payload are walked twice each, and what is in them four times.
    let tree = json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}}], "unevaluatedProperties": false});
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
    let counted: Vec<u64> = (0..8).map(|depth| steps(&tree, &nested(depth)).expect("counted")).collect();
    for pair in counted.windows(2).skip(1) {
        assert!(pair[1] >= 2 * pair[0], "{counted:?}");
    }
    assert_eq!(steps(&tree, &nested(40)), None);
    let document = tree.to_string();
    assert_eq!(check(&document, &nested(4).to_string()), Vec::<String>::new());
    assert!(check(&document, &nested(40).to_string())[0].contains("is not checked"));
    // Choices in each other are tried anew from each of them.
    let chosen = |depth: usize| steps(&wrapped(depth, |inner| json!({"oneOf": [inner]})), &json!(1)).expect("counted");
    assert!(chosen(30) > 400 && chosen(10) < 100, "{} {}", chosen(10), chosen(30));
}

#[test]
fn a_text_costs_its_length_times_that_of_the_pattern() {
    let long = json!("a".repeat(60_000));
    let pattern = |count: usize| json!({"pattern": format!("[a-m][a-z0-9]{{{count}}}[A-Z]")});
    let [short, longer] = [1, 100].map(|count| steps(&pattern(count), &long).expect("counted"));
    assert!(longer > 20 * short && longer >= 60_000 * 100 / 32, "{short} {longer}");
    assert_eq!(steps(&pattern(600), &long), None);
    assert!(refusal_of(&pattern(20_000)).contains("repeat too much"));
    // So do names, by all patterns for names, and once more where there is a rule for the others.
    let name = json!({ ("a".repeat(6_000)): 1 });
    let named = steps(&json!({"patternProperties": {"[a-m][a-z0-9]{100}[A-Z]": {}}}), &name).expect("counted");
    let both = steps(&json!({"patternProperties": {"[a-m][a-z0-9]{100}[A-Z]": {}}, "additionalProperties": true}), &name).expect("counted");
    assert!(named >= 6_000 * 100 / 32 && both >= 2 * 6_000 * 100 / 32, "{named} {both}");
    let of_names = steps(&json!({"propertyNames": pattern(100)}), &name).expect("counted");
    assert!(of_names >= 6_000 * 100 / 32, "{of_names}");
    for (pattern, most) in
        [("^[a-z]{1,1000}$", 1), ("^abc", 1), ("^(a|b)$", 1), ("a{0,500}b", 3), ("(a|bc){3}", 40), ("(((a?){9}){9}){9}", 6_000)]
    {
        let mut patterns = patterns::Patterns::default();
        patterns.add(pattern).expect("a pattern");
        assert!((1..=most).contains(&patterns.places(pattern)), "{pattern}: {}", patterns.places(pattern));
    }
    let mut patterns = patterns::Patterns::default();
    patterns.add("(((a?){9}){9}){9}b").expect("a pattern");
    assert!(patterns.places("(((a?){9}){9}){9}b") >= 729);
}

#[test]
fn ordinary_patterns_on_ordinary_payloads_are_checked() {
    let document = json!({"items": {"properties": {
        "id": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        "mail": {"type": "string", "pattern": r"^[^@\s]+@[^@\s]+\.[^@\s]+$"},
        "at": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2}))?$"},
        "name": {"type": "string", "pattern": r"^\p{L}[\p{L} '-]*$"},
        "phone": {"type": "string", "pattern": r"^\+?[0-9 ()-]{7,20}$"},
        "text": {"type": "string", "pattern": "^.{0,4000}$"},
    }}});
    let item = json!({"id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "mail": "somebody@example.com", "at": "2026-01-15T10:00:00.123Z",
        "name": "Zoë O'Neill", "phone": "+41 44 123 45 67", "text": "é".repeat(200)});
    let schema = schema(&document.to_string());
    assert_eq!(schema.check(Value::from(vec![item; 1_000]).to_string().as_bytes()), Vec::<String>::new());
    assert!(schema.memory() < 1_024 * 1_024, "{}", schema.memory());
    assert_eq!(check(&document.to_string(), r#"[{"id":"x"}]"#).len(), 1);
}

#[test]
fn a_long_reference_is_counted_and_a_longer_one_is_refused() {
    let to = |name: &str| json!({"items": {"$ref": format!("#/$defs/{name}")}, "$defs": {name: {}}});
    let payload = Value::from(vec![1; 1_000]);
    let [short, long] = [to("a"), to(&"a".repeat(1_000))].map(|document| steps(&document, &payload).expect("counted"));
    assert!(long >= short + 1_000 * 15, "{short} {long}");
    assert!(refusal_of(&to(&"a".repeat(1_017))).contains("a $ref is at most 1,024 bytes"));
}

#[test]
fn what_a_schema_keeps_is_bounded() {
    let patterns: Vec<Value> = (0..20).map(|n| json!({"pattern": format!("[ab{n}]{{2500}}c")})).collect();
    assert!(refusal_of(&json!({ "anyOf": patterns })).contains("repeat too much"));
    let small = schema(r#"{"type":"object"}"#).memory();
    assert!((1_000..10_000).contains(&small), "{small}");
    let large = schema(&json!({"enum": vec![0; 30_000]}).to_string()).memory();
    assert!(large > 30_000 * 64, "{large}");
}

#[test]
fn a_sample_needs_no_more_than_the_document() {
    // The type is none, which only compiling finds out.
    let document = br#"{"type": "nonsense", "example": 1, "properties": {"a": {"type": "integer"}}}"#;
    assert!(EventSchema::parse(document).is_err());
    assert!(sample(document).is_ok());
    assert!(sample(b"{").is_err() && sample(&vec![b' '; MAX_SCHEMA_BYTES + 1]).is_err());
}
