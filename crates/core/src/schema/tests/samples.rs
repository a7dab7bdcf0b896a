//! Payloads made from schemas.

use super::*;

fn sample_of(document: &Value) -> Value {
    sample(document.to_string().as_bytes()).expect("a schema")
}

/// The sample of a schema, which breaks nothing of it.
fn right(document: &Value) -> Value {
    let schema = schema(&document.to_string());
    let sample = sample_of(document);
    assert_eq!(schema.check(sample.to_string().as_bytes()), Vec::<String>::new(), "{sample} of {document}");
    sample
}

#[test]
fn what_a_schema_says_itself_comes_first() {
    let cases = [
        (json!({"type": "string", "examples": ["e", "f"], "default": "d", "enum": ["e", "d"]}), json!("e")),
        (json!({"type": "string", "default": "d", "enum": ["e", "d"]}), json!("d")),
        (json!({"const": {"a": [1]}}), json!({"a": [1]})),
        (json!({"enum": [null, 1]}), json!(null)),
    ];
    for (document, expected) in cases {
        assert_eq!(right(&document), expected);
    }
}

#[test]
fn types_and_formats_make_values() {
    let cases = [
        (json!({"type": "string"}), json!("sample")),
        (json!({"type": "string", "minLength": 8}), json!("samplexx")),
        (json!({"type": "string", "maxLength": 2}), json!("sa")),
        (json!({"type": "integer"}), json!(1)),
        (json!({"type": "integer", "minimum": 5}), json!(5)),
        (json!({"type": "integer", "maximum": -5}), json!(-5)),
        (json!({"type": "integer", "exclusiveMinimum": 5, "multipleOf": 4}), json!(8)),
        (json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}), json!(0.25)),
        (json!({"type": "number", "multipleOf": 0.5}), json!(0.5)),
        (json!({"type": "boolean"}), json!(true)),
        (json!({"type": "null"}), json!(null)),
        (json!({"type": ["null", "string"]}), json!("sample")),
        (json!({"type": "array", "items": {"type": "integer"}}), json!([1])),
        (json!({"type": "array", "items": {"type": "integer"}, "minItems": 3}), json!([1, 1, 1])),
        (json!({"type": "array", "items": {"type": "integer"}, "maxItems": 0}), json!([])),
        (json!({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}), json!([1, "sample"])),
        (json!({"minimum": 2}), json!(2)),
        (json!({"properties": {"a": {"type": "boolean"}}}), json!({"a": true})),
    ];
    for (document, expected) in cases {
        assert_eq!(right(&document), expected, "{document}");
    }
    for format in [
        "date-time",
        "date",
        "time",
        "duration",
        "uuid",
        "email",
        "uri",
        "uri-reference",
        "uri-template",
        "hostname",
        "ipv4",
        "ipv6",
        "json-pointer",
        "relative-json-pointer",
        "iri",
        "iri-reference",
    ] {
        assert_ne!(right(&json!({"type": "string", "format": format})), json!("sample"), "{format}");
    }
}

#[test]
fn objects_have_required_and_optional_fields() {
    let document = json!({
        "type": "object",
        "required": ["id", "unknown"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "at": {"type": "string", "format": "date-time"},
            "customer": {"$ref": "#/$defs/customer"},
            "never": false,
        },
        "$defs": {"customer": {"type": "object", "properties": {"mail": {"type": "string", "format": "email"}}}},
    });
    let expected = json!({
        "id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "unknown": "sample", "at": "2026-01-15T10:00:00Z", "customer": {"mail": "user@example.com"},
    });
    assert_eq!(right(&document), expected);
}

#[test]
fn parts_are_put_together() {
    let document = json!({
        "allOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {"type": "string"}}}],
        "anyOf": [{"required": ["c"], "properties": {"c": {"type": "boolean"}}}, {"required": ["d"]}],
    });
    assert_eq!(right(&document), json!({"a": 1, "b": "sample", "c": true}));
    assert_eq!(right(&json!({"oneOf": [{"type": "integer"}, {"type": "string"}]})), json!(1));
}

#[test]
fn samples_are_bounded() {
    let list = json!({"type": "object", "properties": {"n": {"type": "integer"}, "next": {"$ref": "#"}}});
    assert!(sample_of(&list).to_string().len() < 200);
    let wide = json!({"type": "array", "minItems": 1_000_000, "items": {"type": "array", "minItems": 1_000_000, "items": {"type": "string", "minLength": 1_000_000}}});
    assert!(sample_of(&wide).to_string().len() < 100_000);
    let tree = json!({"required": ["a", "b", "c", "d"], "additionalProperties": {"$ref": "#"}});
    assert!(sample_of(&tree).to_string().len() < 10_000);
    let long =
        json!({"properties": {"a": {"default": "x".repeat(40_000)}, "b": {"$ref": "#/properties/a"}, "c": {"$ref": "#/properties/a"}}});
    assert!(sample_of(&long).to_string().len() < 70_000);
}
