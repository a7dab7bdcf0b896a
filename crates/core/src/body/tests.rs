use super::*;
use proptest::prelude::*;

const HEAD: EnvelopeHead<'static> = EnvelopeHead {
    event_type: "invoice.paid",
    event: EventSeq(1042),
    binding: SubscriptionId::new(uuid::Uuid::from_u128(0x0b8f_6c1e_2f4a_4d7b_9c33_5a1d_e0c7_f001)),
    idempotency_key: "8292d2c510f03785f5515d748574d8f6",
    attempt: 1,
    delivered_at: Timestamp::from_micros(1_767_600_000_000_999),
};

fn rendered(format: Format, envelope: bool, map: &str, payload: &str) -> Result<String, Unrenderable> {
    let body = ItemsBody { format, envelope, field_map: FieldMap::parse(map).expect("a map") };
    let bytes = body.render(&HEAD, &Bytes::copy_from_slice(payload.as_bytes()), usize::MAX)?;
    Ok(String::from_utf8(bytes.to_vec()).expect("text"))
}

fn bare(format: Format, payload: &str) -> Result<String, Unrenderable> {
    rendered(format, false, "{}", payload)
}

#[test]
fn the_envelope_is_the_contracts() {
    let head = r#"{"event":{"event_type":"invoice.paid","event_id":"1042","binding_id":"0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001","idempotency_key":"8292d2c510f03785f5515d748574d8f6","attempt":1,"delivered_at":"2026-01-05T08:00:00.000Z"},"#;
    let payload = "{ \"invoice\" : \"I-7\",\n\"total\":12.50, \"e\":\"\\u00e9\"}";
    let json = rendered(Format::Json, true, "{}", payload).expect("a body");
    assert_eq!(json, format!("{head}\"payload\":{payload},\"content\":null}}"), "the accepted bytes, white space and all");
    let csv = rendered(Format::Csv, true, "{}", r#"{"a":"x, \"y\""}"#).expect("a body");
    let data = "\"a\\r\\n\\\"x, \\\"\\\"y\\\"\\\"\\\"\\r\\n\"";
    let content = format!("{head}\"payload\":null,\"content\":{{\"mime\":\"text/csv\",\"encoding\":\"utf-8\",\"data\":{data}}}}}");
    assert_eq!(csv, content);
    assert!(serde_json::from_str::<serde_json::Value>(&csv).is_ok());
    for (format, mime) in [(Format::Ndjson, "application/x-ndjson"), (Format::Txt, "text/plain")] {
        let body: serde_json::Value = serde_json::from_str(&rendered(format, true, "{}", "{\"a\": 1}").expect("a body")).expect("JSON");
        assert_eq!((&body["payload"], &body["content"]["mime"]), (&serde_json::Value::Null, &mime.into()));
    }
}

#[test]
fn without_envelope_the_accepted_bytes_go_as_they_are() {
    let payload = Bytes::from_static(b"  {\"a\" : 1}\n");
    let body = ItemsBody { format: Format::Json, envelope: false, field_map: None };
    let sent = body.render(&HEAD, &payload, 1 << 20).expect("a body");
    assert_eq!((sent.as_ptr(), sent.len()), (payload.as_ptr(), payload.len()), "not even copied");
}

#[test]
fn ndjson_is_one_line_for_each() {
    assert_eq!(bare(Format::Ndjson, "{\n \"a b\": 1.0 }\n").as_deref(), Ok("{\"a b\":1.0}\n"));
    assert_eq!(bare(Format::Ndjson, "[{\"a\": 1},\n 2]").as_deref(), Ok("{\"a\":1}\n2\n"));
    assert_eq!(bare(Format::Ndjson, "[]").as_deref(), Ok(""));
}

#[test]
fn csv_is_a_line_of_names_and_a_line_for_each() {
    let one = r#"{"name":"Acme, Inc.","total":4950.00,"note":"say \"hi\"\nplease","none":null,"empty":"","ok":true,"tags":[1, "a"]}"#;
    let lines = "name,total,note,none,empty,ok,tags\r\n\"Acme, Inc.\",4950.00,\"say \"\"hi\"\"\nplease\",,\"\",true,\"[1,\"\"a\"\"]\"\r\n";
    assert_eq!(bare(Format::Csv, one).as_deref(), Ok(lines));
    assert_eq!(bare(Format::Csv, r#"[{"a":1,"b":2},{"b":3,"c":4}]"#).as_deref(), Ok("a,b,c\r\n1,2,\r\n,3,4\r\n"));
    assert_eq!(bare(Format::Csv, "{}").as_deref(), Ok(""));
    for other in ["1", "\"a\"", "null", "[1]", "[{\"a\":1},[]]"] {
        assert_eq!(bare(Format::Csv, other), Err(Unrenderable::NoFields), "{other}");
    }
}

/// The decision of `csv.rs`: what a receiver gets is what was published.
#[test]
fn what_a_spreadsheet_takes_for_a_formula_is_not_changed() {
    let payload = r#"{"a":"=1+1","b":"+49 30 1234","c":-5,"d":"@x"}"#;
    assert_eq!(bare(Format::Csv, payload).as_deref(), Ok("a,b,c,d\r\n=1+1,+49 30 1234,-5,@x\r\n"));
}

#[test]
fn txt_is_lines_or_the_text_itself() {
    assert_eq!(bare(Format::Txt, "\"all is \\\"well\\\"\\n\"").as_deref(), Ok("all is \"well\"\n"));
    let payload = r#"{"a":"b: c","n":1.50,"x":null,"o":{"p": [1]},"two":"a\nb","k\ne":1}"#;
    assert_eq!(bare(Format::Txt, payload).as_deref(), Ok("a: b: c\nn: 1.50\nx: null\no: {\"p\":[1]}\ntwo: \"a\\nb\"\n\"k\\ne\": 1\n"));
    assert_eq!(bare(Format::Txt, "[1, 2]").as_deref(), Ok("[1,2]"));
    assert_eq!(bare(Format::Txt, "{\"a\":\"x\u{2028}y\"}").as_deref(), Ok("a: \"x\u{2028}y\"\n"));
}

#[test]
fn field_maps_come_first() {
    let map = r#"{"drop":["b"],"static":{"src":"postrider"}}"#;
    assert_eq!(rendered(Format::Csv, false, map, r#"[{"a":1,"b":2}]"#).as_deref(), Ok("a,src\r\n1,postrider\r\n"));
    let body = rendered(Format::Json, true, map, r#"{"a":1.0,"b":2}"#).expect("a body");
    assert!(body.contains(r#""payload":{"a":1.0,"src":"postrider"},"content":null}"#), "{body}");
    assert_eq!(rendered(Format::Json, true, map, "\"text\""), Err(Unrenderable::NoFields));
}

#[test]
fn what_is_no_json_is_not_wrapped() {
    for bytes in [&b"{"[..], b"a=b", b"", b"{} {}", b"\"\xff\""] {
        for (format, envelope) in [(Format::Json, true), (Format::Json, false), (Format::Txt, false)] {
            let body = ItemsBody { format, envelope, field_map: None };
            let result = body.render(&HEAD, &Bytes::copy_from_slice(bytes), usize::MAX);
            assert_eq!(result, Err(Unrenderable::NotJson), "{bytes:?}");
        }
    }
    assert_eq!(Unrenderable::NotJson.code(), ErrorCode::SerializationFailed);
}

#[test]
fn caps_hold_to_the_byte() {
    for (format, envelope) in
        [(Format::Json, true), (Format::Json, false), (Format::Ndjson, false), (Format::Csv, true), (Format::Txt, false)]
    {
        let body = ItemsBody { format, envelope, field_map: None };
        let payload = Bytes::from_static(br#"{"a":"0123456789","b":[1,2,3]}"#);
        let exact = body.render(&HEAD, &payload, usize::MAX).expect("a body").len();
        assert_eq!(body.render(&HEAD, &payload, exact).map(|b| b.len()), Ok(exact));
        let refused = body.render(&HEAD, &payload, exact - 1).expect_err("one byte too many");
        assert_eq!((refused.code(), refused), (ErrorCode::PayloadTooLarge, Unrenderable::TooLarge { limit: exact - 1 }));
    }
}

/// A few bytes of payload must not become gigabytes of body.
#[test]
fn bodies_do_not_grow_out_of_proportion() {
    let static_text = format!("{{\"static\":{{\"a\":\"{}\"}}}}", "x".repeat(10_000));
    let many = format!("[{}]", vec!["{}"; 10_000].join(","));
    assert_eq!(rendered(Format::Json, false, &static_text, &many), Err(Unrenderable::Grows));
    let sparse: Vec<_> = (0..3_000).map(|n| format!("{{\"{n}\":0}}")).collect();
    assert_eq!(bare(Format::Csv, &format!("[{}]", sparse.join(","))), Err(Unrenderable::Grows));
    assert_eq!(Unrenderable::Grows.code(), ErrorCode::SerializationFailed);
    let worst = format!("{{\"a\":[{}]}}", vec!["\"\\\"\""; 20_000].join(","));
    assert!(rendered(Format::Csv, true, "{}", &worst).is_ok(), "what merely needs quotes does not");
}

#[test]
fn forms_are_stored_and_old_ones_read() {
    assert_eq!(serde_json::from_str::<BodyForm>("\"raw\"").expect("an old document"), BodyForm::Raw);
    assert_eq!(serde_json::to_string(&BodyForm::Raw).expect("JSON"), "\"raw\"");
    let map = FieldMap::parse(r#"{"rules":[{"source":"$.a.b","target":"c"}]}"#).expect("a map");
    let form = BodyForm::Items(ItemsBody { format: Format::Csv, envelope: false, field_map: map });
    let stored = serde_json::to_string(&form).expect("JSON");
    assert_eq!(serde_json::from_str::<BodyForm>(&stored).expect("the same"), form);
    assert_eq!((form.serializer().as_str(), form.content_type()), ("csv", "text/csv; charset=utf-8; header=present"));
    assert_eq!(BodyForm::Items(ItemsBody::json()).content_type(), "application/json");
    for serializer in Serializer::ALL {
        assert_eq!(Serializer::parse(serializer.as_str()), Some(serializer));
    }
}

/// Reads what [`csv`] writes, by RFC 4180.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.push(chars.next().expect("a quote")),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {
                chars.next();
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "the last line is whole");
    rows
}

proptest! {
    #[test]
    fn csv_can_be_read_back(fields in prop::collection::btree_map("[a-z,\"\r\n= ]{1,6}", "[a-z0-9,;\"\r\n\t=+ é-]{0,8}", 1..6)) {
        let payload = serde_json::to_string(&fields).expect("JSON");
        let rows = read_csv(&bare(Format::Csv, &payload).expect("a body"));
        let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
        prop_assert_eq!(rows, [names, values]);
    }

    #[test]
    fn an_envelope_is_json_and_holds_the_payload(text in "\\PC{0,20}", number: i64, format in 0usize..4) {
        let payload = serde_json::json!({ text.clone(): number, "t": text }).to_string();
        let format = [Format::Json, Format::Ndjson, Format::Csv, Format::Txt][format];
        let body: serde_json::Value = serde_json::from_str(&rendered(format, true, "{}", &payload).expect("a body")).expect("JSON");
        prop_assert_eq!(body["payload"].is_null(), format != Format::Json);
        prop_assert_eq!(body["content"].is_null(), format == Format::Json);
        if format == Format::Json {
            prop_assert_eq!(&body["payload"], &serde_json::from_str::<serde_json::Value>(&payload).expect("JSON"));
        } else {
            let bare = bare(format, &payload).expect("a body");
            prop_assert_eq!(body["content"]["data"].as_str(), Some(bare.as_str()));
        }
    }
}
