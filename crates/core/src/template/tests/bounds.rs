//! Hostile templates.

use super::*;

/// Renders on a small stack, so that a recursion without a bound would end the test's process.
fn on_small_stack(template: String, payload: String) -> Result<String, TemplateError> {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || render(&template, &payload));
    thread.expect("a thread").join().expect("no panic")
}

fn bound(template: &str, payload: &str) -> String {
    let error = on_small_stack(template.to_owned(), payload.to_owned()).expect_err("a bound");
    assert_eq!(error.kind, TemplateErrorKind::Bound, "{error}");
    error.message
}

fn numbers(count: usize) -> String {
    format!("[{}]", vec!["1"; count].join(","))
}

const STEPS: &str = "the template takes more than 1,000,000 steps";
const OUTPUT: &str = "the output would be larger than 1 MiB";
const TEXT: &str = "a function would make a text of more than 1 MiB";
const MADE: &str = "functions would make more than 16 MiB of texts, lists and objects";
const DEPTH: &str = "blocks, parentheses and templates nest more than 100 levels deep";

#[test]
fn loops_take_steps() {
    let list = numbers(1_000);
    let nested = "{{range $.payload}}{{range $.payload}}{{range $.payload}}{{end}}{{end}}{{end}}";
    assert_eq!(bound(nested, &list), STEPS);
    assert_eq!(bound("{{range 9223372036854775807}}{{end}}", "1"), STEPS);
    assert_eq!(bound("{{$x := .payload}}{{range $x}}{{range $x}}{{if contains \"b\" \"a\"}}{{end}}{{end}}{{end}}", &list), STEPS);
    assert_eq!(render("{{range $.payload}}{{range $.payload}}{{end}}{{end}}", &numbers(300)), Ok(String::new()));
}

#[test]
fn looking_at_long_texts_takes_steps() {
    let long = format!("{:?}", "a".repeat(MAX_OUTPUT_BYTES));
    assert_eq!(bound("{{range 100000}}{{if contains \"b\" $.payload}}{{end}}{{end}}", &long), STEPS);
    assert_eq!(bound("{{range 100000}}{{if eq \"b\" $.payload}}{{end}}{{end}}", &long), STEPS);
    assert_eq!(bound("{{$l := repeat 1000 (repeat 100 \".9\")}}{{range 100}}{{if now.Format $l}}{{end}}{{end}}", "1"), STEPS);
    assert_eq!(bound("{{$l := repeat 1000 (repeat 100 \".9\")}}{{range 100}}{{if parseTime $l \"\"}}{{end}}{{end}}", "1"), STEPS);
    let object = format!("{{{long}:1,\"{}b\":2}}", "a".repeat(MAX_OUTPUT_BYTES));
    assert_eq!(bound("{{range 1000}}{{if merge $.payload $.payload}}{{end}}{{end}}", &object), STEPS);
    assert_eq!(bound(&format!("{{{{range 1000000}}}}{{{{if $.payload.{}}}}}{{{{end}}}}{{{{end}}}}", "a".repeat(60_000)), &object), STEPS);
    assert_eq!(bound(&format!("{{{{range 100}}}}{{{{if trim {:?} $.payload}}}}{{{{end}}}}{{{{end}}}}", "bcd".repeat(9_000)), &long), STEPS);
}

#[test]
fn output_is_bounded_while_it_is_written() {
    assert_eq!(bound("{{range 2000}}{{$.payload}}{{end}}", &format!("{:?}", "a".repeat(1_000))), OUTPUT);
    assert_eq!(bound(&format!("{{{{range 100}}}}{}{{{{end}}}}", "text ".repeat(3_000)), "1"), OUTPUT);
    let exact = format!("{:?}", "a".repeat(MAX_OUTPUT_BYTES / 4));
    assert_eq!(render("{{range 4}}{{$.payload}}{{end}}", &exact).expect("just so much").len(), MAX_OUTPUT_BYTES);
    assert_eq!(bound("{{range 4}}{{$.payload}}{{end}}{{1}}", &exact), OUTPUT);
}

#[test]
fn texts_that_grow_are_stopped() {
    assert_eq!(bound("{{$x := repeat 1000 \"0123456789\"}}{{$x = repeat 1000 $x}}", "1"), TEXT);
    let doubled = "{{$x := \"ab\"}}{{range 30}}{{$x = print $x $x}}{{end}}";
    assert_eq!(bound(doubled, "1"), TEXT);
    assert_eq!(bound("{{$x := repeat 1000 (repeat 1000 \"a\")}}{{range 30}}{{$x = upper $x}}{{end}}", "1"), MADE);
    for function in ["html", "js", "urlquery", "json", "printf \"%q\"", "printf \"%+q\"", "printf \"%x\"", "base64"] {
        assert_eq!(bound(&format!("{{{{$x := repeat 900 (repeat 1000 \"<\\\"é\")}}}}{{{{{function} $x}}}}"), "1"), TEXT, "{function}");
    }
    assert_eq!(bound("{{printf \"%1000000d%1000000d\" 1 2}}", "1"), TEXT);
    assert_eq!(bound("{{range 100}}{{if printf \"%.1000000d\" 1}}{{end}}{{end}}", "1"), MADE);
    assert_eq!(bound("{{replace \"\" (repeat 1000 \"x\") (repeat 1000 (repeat 100 \"y\"))}}", "1"), TEXT);
    assert_eq!(bound("{{$x := repeat 1000 (repeat 900 \",\")}}{{$y := split \",\" $x}}", "1"), MADE);
}

#[test]
fn lists_that_grow_are_stopped() {
    assert_eq!(bound("{{$x := list 1}}{{range 100000}}{{$x = append $x 1}}{{end}}", "1"), MADE);
    assert_eq!(bound("{{$x := dict}}{{range 100000}}{{$x = merge (dict (print .) 1) $x}}{{end}}", "1"), MADE);
    assert_eq!(bound("{{$x := list 1}}{{range 100000}}{{$x = list $x}}{{end}}", "1"), "lists and objects nest more than 128 levels deep");
    assert_eq!(bound("{{$x := list 1 1 1 1 1 1 1 1}}{{range 20}}{{$x = list $x $x $x $x $x $x $x $x}}{{end}}{{json $x}}", "1"), TEXT);
}

#[test]
fn templates_that_call_themselves_are_stopped() {
    assert_eq!(bound("{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" .}}", "1"), DEPTH);
    assert_eq!(
        bound(
            "{{define \"a\"}}{{template \"b\" .}}{{end}}{{define \"b\"}}{{if true}}{{template \"a\" (print 1 (print 2))}}{{end}}{{end}}{{template \"a\"}}",
            "1"
        ),
        DEPTH
    );
    let twice = "{{define \"a\"}}{{if lt (len .) 90}}{{template \"a\" (print . 1)}}{{template \"a\" (print . 2)}}{{end}}{{end}}{{template \"a\" \"x\"}}";
    assert!([STEPS, DEPTH].contains(&&*bound(twice, "1")));
    let tree = r#"{"n":1,"next":{"n":2,"next":{"n":3}}}"#;
    let walk = "{{define \"a\"}}{{.n}}{{with .next}}{{template \"a\" .}}{{end}}{{end}}{{template \"a\" .payload}}";
    assert_eq!(render(walk, tree), Ok("123".to_owned()));
}

#[test]
fn deep_texts_are_refused() {
    let depth = MAX_SOURCE_BYTES / 2;
    for (open, close) in [("(", ")"), ("{{if 1}}", "{{end}}"), ("{{range 1}}", "{{end}}"), ("{{block \"a\" .}}", "{{end}}")] {
        for close in [close, ""] {
            let count = depth / (open.len() + close.len());
            let inside = format!("{}1{}", open.repeat(count), close.repeat(count));
            let text = if open == "(" { format!("{{{{{inside}}}}}") } else { inside };
            let error = on_small_stack(text, "1".to_owned()).expect_err("too deep");
            assert_eq!(error.kind, TemplateErrorKind::Syntax, "{error}");
        }
    }
    let chain = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(4_000));
    assert_eq!(on_small_stack(chain, "1".to_owned()).expect_err("too deep").kind, TemplateErrorKind::Syntax);
    let deepest = format!("{{{{{}1{}}}}}", "(".repeat(MAX_DEPTH as usize), ")".repeat(MAX_DEPTH as usize));
    assert_eq!(on_small_stack(deepest, "1".to_owned()), Ok("1".to_owned()));
}

#[test]
fn long_texts_are_refused_and_long_pipelines_are_not() {
    assert_eq!(Template::parse(&"a".repeat(MAX_SOURCE_BYTES + 1)).expect_err("too long").kind, TemplateErrorKind::Syntax);
    let pipeline = format!("{{{{1{}}}}}", "|print".repeat(10_000));
    assert_eq!(on_small_stack(pipeline, "1".to_owned()), Ok("1".to_owned()));
    let arguments = format!("{{{{len (list{})}}}}", " 1".repeat(30_000));
    assert_eq!(on_small_stack(arguments, "1".to_owned()), Ok("30000".to_owned()));
    let fields = format!("{{{{.payload{}}}}}", ".a".repeat(30_000));
    assert_eq!(on_small_stack(fields, "{}".to_owned()), Ok("<no value>".to_owned()));
    let variables: String = (0..4_000).map(|n| format!("{{{{$a{n}:=1}}}}")).collect();
    assert_eq!(
        on_small_stack(variables + "{{range 900}}{{$a0}}{{end}}", "1".to_owned()).map_err(|error| error.message),
        Ok("1".repeat(900))
    );
}

#[test]
fn payloads_are_bounded() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(on_small_stack("{{len .payload}}".to_owned(), deep(128)), Ok("1".to_owned()));
    for depth in [129, 100_000] {
        assert_eq!(on_small_stack("x".to_owned(), deep(depth)).expect_err("too deep").kind, TemplateErrorKind::Payload);
    }
    let long = |digits: usize| "9".repeat(digits);
    assert_eq!(on_small_stack("{{.payload}}{{if .payload}}{{end}}".to_owned(), long(1_000)), Ok(long(1_000)));
    assert_eq!(on_small_stack("x".to_owned(), long(1_001)).expect_err("too long").kind, TemplateErrorKind::Payload);
    assert_eq!(on_small_stack("x".to_owned(), numbers(MAX_VALUES)).expect_err("too many").kind, TemplateErrorKind::Payload);
    assert_eq!(on_small_stack("{{len .payload}}".to_owned(), numbers(MAX_VALUES - 1)), Ok((MAX_VALUES - 1).to_string()));
}

#[test]
fn what_takes_its_time_is_told_from_what_does_not() {
    let briefly = |template: &str, payload: &str| {
        let template = Template::parse(template).expect("a template");
        let made = template.render_briefly(&context(payload));
        let whole = template.render(&context(payload));
        assert!(made.is_none() || made == Some(whole.clone()), "both say the same");
        (made.is_some(), whole.is_ok())
    };
    assert_eq!(briefly("{{json .payload}}", r#"{"a":[1,2,{"b":null}]}"#), (true, true));
    assert_eq!(briefly("{{.payload.a.b}}", r#"{"a":1}"#), (true, false), "what fails for another reason fails at once");
    assert_eq!(briefly("{{len .payload}}", "no json"), (true, false));
    assert_eq!(briefly("{{range 30000}}{{end}}", "1"), (false, true));
    assert_eq!(briefly("{{range 2000000}}{{end}}", "1"), (false, false));
    assert_eq!(briefly("{{len (repeat 1000 (repeat 300 \"a\"))}}", "1"), (false, true));
    assert_eq!(briefly("x", &format!("{:?}", "a".repeat(BRIEF_PAYLOAD_BYTES - 2))), (true, true));
    assert_eq!(briefly("x", &format!("{:?}", "a".repeat(BRIEF_PAYLOAD_BYTES - 1))), (false, true));
}
