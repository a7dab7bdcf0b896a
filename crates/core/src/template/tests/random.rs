//! Nothing panics and nothing is larger than it may be, whatever the template and the payload.

use super::*;
use proptest::prelude::*;

/// Pieces that templates are made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = functions().map(|function| function.name).collect();
    let piece = prop_oneof![
        2 => prop::sample::select(vec![
            "{{", "}}", "{{-", " -}}", " ", "|", "(", ")", ".", "$", "$x", ":=", "=", ",", "nil", "true", "{{end}}", "{{else}}", "{{/*", "*/}}", "\n",
        ]).prop_map(str::to_owned),
        3 => prop::sample::select(vec![
            "{{if .payload}}", "{{range .payload}}", "{{range $k, $v := .payload}}", "{{with $x := .payload.a}}", "{{$x := .payload}}", "{{.payload.a.b}}",
            "{{define \"t\"}}", "{{template \"t\" .}}", "{{block \"b\" .}}", "{{break}}", "{{continue}}", "{{$x = list $x .}}",
        ]).prop_map(str::to_owned),
        4 => (prop::sample::select(names), prop::collection::vec(argument(), 0..4)).prop_map(|(name, args)| format!("{{{{{name} {}}}}}", args.join(" "))),
        1 => "\\PC{0,8}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn argument() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            ".",
            ".payload",
            ".payload.a",
            "$",
            "nil",
            "true",
            "now",
            "(list 1 \"a\" nil)",
            "(dict \"a\" 1)",
            "0",
            "-1",
            "3",
            "1e400",
            "2.5"
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}")),
        "\\PC{0,6}".prop_map(|text| format!("{text:?}")),
        "(%[-+# 0]{0,3}[0-9*]{0,2}(\\.[0-9*]{0,2})?[vTdsqxXobOcUeEfFgGtz%é]){1,3}".prop_map(|text| format!("{text:?}")),
        "[-0-9Zz:.,_ JanuaryMondySTPpm2006150405]{0,24}".prop_map(|text| format!("{text:?}")),
    ]
}

fn payload() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        "[0-9]{20,40}".prop_map(|digits| format!("-1{digits}")),
        "\\PC{0,6}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[ab]", inner), 0..4).prop_map(|fields| format!(
                "{{{}}}",
                fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",")
            )),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_output_is_bounded(template in pieces(), payload in payload()) {
        if let Ok(template) = Template::parse(&template) {
            match template.render(&context(&payload)) {
                Ok(output) => {
                    prop_assert!(output.len() <= MAX_OUTPUT_BYTES);
                    prop_assert!(std::str::from_utf8(&output).is_ok());
                    prop_assert_eq!(template.render(&context(&payload)), Ok(output), "the same each time");
                }
                Err(error) => prop_assert!(error.message.len() <= MAX_MESSAGE_BYTES && error.kind != TemplateErrorKind::Payload),
            }
        }
    }

    #[test]
    fn any_text_is_a_template_or_an_error(template in "(\\PC|[\\{\\}.$|()\" \n-]){0,64}", payload: Vec<u8>) {
        if let Ok(template) = Template::parse(&template)
            && let Ok(output) = template.render(&Context { payload: &payload, ..context("") })
        {
            prop_assert!(output.len() <= MAX_OUTPUT_BYTES);
        }
    }

    /// What holds no action comes out as it is.
    #[test]
    fn plain_text_stays(text in "[^{]{0,64}") {
        prop_assert_eq!(render(&text, "null"), Ok(text));
    }

    #[test]
    fn json_of_a_payload_is_the_same_json(payload in payload()) {
        let output = render("{{json .payload}}", &payload).expect("output");
        let (before, after) = (crate::json::canonical(&payload, 64), crate::json::canonical(&output, 64));
        prop_assert!(before.is_some() && before == after, "{} {}", payload, output);
    }

    /// Go's layouts undo themselves where they name everything.
    #[test]
    fn times_read_what_they_wrote(seconds in 0i64..4_000_000_000, layout in prop::sample::select(vec![
        "2006-01-02T15:04:05Z07:00", "Mon, 02 Jan 2006 15:04:05 MST", "Monday January _2 3:04:05PM 2006 -0700", "2006 __2 15h4m5s", "20060102150405.000",
    ])) {
        let template = format!("{{{{$t := now}}}}{{{{$s := formatTime {layout:?} $t}}}}{{{{(parseTime {layout:?} $s).Unix}}}}");
        let at = Context { timestamp: Timestamp::from_secs(seconds), ..context("null") };
        let output = Template::parse(&template).expect("a template").render(&at).expect("output");
        prop_assert_eq!(output, Bytes::from(seconds.to_string()));
    }
}
