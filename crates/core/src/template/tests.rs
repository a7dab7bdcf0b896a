use super::*;

mod bounds;
mod differences;
mod random;

/// The payload of `tests/reference.go`.
const PAYLOAD: &str = r#"{"id":42,"price":12.5,"name":"Ann <a@b.c> & Co","empty":"","zero":0,"no":false,"yes":true,"nothing":null,
"user":{"first":"Ann","last":"Lee","tags":["x","y","z"]},"items":[{"sku":"A1","n":2},{"sku":"B2","n":1}],"list":[3,1,2],"none":[],
"unicode":"héllo wörld ✓","text":"  padded  ","csv":"a,b,,c","day":"2026-03-09","big":"a\"b\\c\nd\te"}"#;

fn context(payload: &str) -> Context<'_> {
    Context {
        event_id: "e-1",
        event_name: "order.created",
        timestamp: Timestamp::from_micros(1_800_000_000_123_456),
        attempt: 2,
        payload: payload.as_bytes(),
    }
}

/// What a template makes of a payload.
fn render(template: &str, payload: &str) -> Result<String, TemplateError> {
    let output = Template::parse(template)?.render(&context(payload))?;
    Ok(String::from_utf8(output.to_vec()).expect("UTF-8"))
}

#[derive(serde::Deserialize)]
struct Pair {
    t: String,
    o: Option<String>,
}

/// `tests/go.json` holds what Go's own text/template makes of templates.
#[test]
fn outputs_are_those_of_go() {
    assert!(include_str!("tests/reference.go").contains(PAYLOAD), "the reference has another payload");
    let pairs: Vec<Pair> = serde_json::from_str(include_str!("tests/go.json")).expect("pairs");
    assert!(pairs.len() > 200);
    let mut wrong = Vec::new();
    for Pair { t, o } in pairs {
        match (render(&t, PAYLOAD), o) {
            (Ok(output), Some(expected)) if output == expected => {}
            (Err(_), None) => {}
            (output, expected) => wrong.push(format!("{t:?}\n   here {output:?}\n  in Go {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_template_serves_many_contexts_and_threads() {
    let template = Template::parse("{{.attempt}} {{.payload.n}}").expect("a template");
    let render = |attempt, payload: &str| {
        let output = template.render(&Context { attempt, ..context(payload) }).expect("output");
        String::from_utf8(output.to_vec()).expect("UTF-8")
    };
    let outputs: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..4).map(|n| scope.spawn(move || render(n, &format!(r#"{{"n":{n}}}"#)))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(outputs, ["1 1", "2 2", "3 3"]);
}

#[test]
fn errors_name_the_line_and_what_is_wrong() {
    let cases = [
        ("a\n{{upper 5}}", "line 2: upper: wrong type for value; expected string; got int"),
        ("{{range .payload.list}}\n\n{{.x}}{{end}}", "line 3: can't evaluate field x in type float64"),
        ("\n\n{{nofunc 1}}", "line 3: function \"nofunc\" not defined"),
        ("{{if true}}\nx", "line 2: unexpected end of the template: {{end}} is missing"),
        ("{{$x}}", "line 1: undefined variable \"$x\""),
        ("{{define \"a\"}}{{end}}\n{{template \"b\"}}", "line 2: template \"b\" not defined"),
        ("{{truncate 1}}", "line 1: wrong number of args for truncate: want 2 got 1"),
        ("{{add}}", "line 1: wrong number of args for add: want at least 1 got 0"),
        ("{{repeat 1001 \"a\"}}", "line 1: repeat: the count must be 0 to 1000; got 1001"),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template, PAYLOAD).expect_err(template).to_string(), expected);
    }
    let long = format!("{{{{index .payload.user {:?} \"x\"}}}}", "é".repeat(1_000));
    assert!(render(&long, PAYLOAD).expect_err("no such field").message.len() <= MAX_MESSAGE_BYTES);
    let long = format!("{{{{parseTime {:?} \"x\"}}}}", "é".repeat(1_000));
    let error = render(&long, PAYLOAD).expect_err("no time");
    assert!(error.message.len() <= MAX_MESSAGE_BYTES && error.message.ends_with('…'), "{error}");
}

#[test]
fn payloads_that_are_no_json_are_told() {
    for payload in ["", "{", "[1,]", "{\"a\":1}}", "nul", "01", "\"\u{1}\""] {
        assert_eq!(render("x", payload).expect_err(payload).kind, TemplateErrorKind::Payload, "{payload:?}");
    }
    assert_eq!(
        Template::parse("x").expect("a template").render(&Context { payload: b"\"\xff\"", ..context("") }).expect_err("no UTF-8").line,
        0
    );
    for (payload, shown) in [(" [1] ", "[1]"), ("null", "<no value>"), ("\"a\\u00e9\\n\"", "aé\n"), ("true", "true"), ("{}", "map[]")] {
        assert_eq!(render("{{.payload}}", payload), Ok(shown.to_owned()), "{payload:?}");
    }
    assert_eq!(render("{{.payload.a}} {{len .payload}}", r#"{"a":1,"a":{"b":[]},"\u0062":2}"#), Ok("map[b:[]] 2".to_owned()));
}

#[test]
fn every_function_is_described_and_its_examples_are_templates() {
    let all: Vec<FunctionInfo> = functions().collect();
    assert!(all.is_sorted_by(|a, b| a.name < b.name), "in order, each once");
    let documented = [
        "json",
        "urlencode",
        "base64",
        "base64decode",
        "now",
        "formatTime",
        "parseTime",
        "upper",
        "lower",
        "title",
        "trim",
        "trimSpace",
        "split",
        "join",
        "default",
        "slice",
        "len",
        "truncate",
        "ellipsis",
        "repeat",
        "contains",
        "hasPrefix",
        "hasSuffix",
        "replace",
    ];
    let later = ["dict", "list", "append", "merge", "add", "sub", "mul", "div", "mod", "dig"];
    let of_go =
        ["and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "print", "printf", "println", "html", "js", "urlquery", "call"];
    for name in documented.iter().chain(&later).chain(&of_go) {
        assert!(all.iter().any(|function| function.name == *name), "{name}");
    }
    assert_eq!(all.len(), documented.len() + later.len() + of_go.len());
    for function in &all {
        assert!(function.description.len() > 15, "{}", function.name);
        for code in function.description.split('`').skip(1).step_by(2).filter(|code| code.starts_with("{{")) {
            assert!(Template::parse(code).is_ok(), "{code}");
        }
    }
}
