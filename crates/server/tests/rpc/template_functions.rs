//! Every function that templates can call, tried over the RPC API: those that are told of are those that are here.

use crate::common::Server;
use crate::common::rpc::Rpc;
use serde_json::json;
use std::collections::BTreeSet;

const TEST: &str = "SubscriptionService/TestSubscriptionTemplate";

/// A function, a template that calls it, and what that makes of the payload `{"list":[1,2,3],"object":{"k":"v"},"text":" Ab c "}`.
const CASES: [(&str, &str, &str); 52] = [
    ("add", "{{add 1 2 3}} {{add 1 0.5}}", "6 1.5"),
    ("and", "{{and .payload.list 0 (index .payload.list 9)}}", "0"),
    ("append", "{{json (append .payload.list 4)}}", "[1,2,3,4]"),
    ("base64", "{{base64 \"hi\"}}", "aGk="),
    ("base64decode", "{{base64decode \"aGk=\"}}", "hi"),
    ("contains", "{{contains \"oo\" \"foot\"}} {{contains \"x\" \"foot\"}}", "true false"),
    ("default", "{{.payload.none | default \"nobody\"}} {{5 | default 1}}", "nobody 5"),
    ("dict", "{{json (dict \"n\" 1)}}", "{\"n\":1}"),
    ("dig", "{{dig \"object\" \"k\" \"x\" .payload}} {{dig \"object\" \"l\" \"x\" .payload}}", "v x"),
    ("div", "{{div 7 2}} {{div 7.0 2}}", "3 3.5"),
    ("ellipsis", "{{ellipsis 6 \"abcdefgh\"}} {{ellipsis 6 \"abc\"}}", "abc... abc"),
    ("eq", "{{eq .payload.object.k \"a\" \"v\"}}", "true"),
    ("formatTime", "{{formatTime \"Jan 2, 2006\" \"2026-01-05T08:00:00Z\"}}", "Jan 5, 2026"),
    ("ge", "{{ge 2 2}} {{ge 1 2}}", "true false"),
    ("gt", "{{gt 3 2}} {{gt 2 2}}", "true false"),
    ("hasPrefix", "{{hasPrefix \"a.\" .event_name}}", "true"),
    ("hasSuffix", "{{hasSuffix \".b\" .event_name}}", "true"),
    ("html", "{{html \"<a&b>\"}}", "&lt;a&amp;b&gt;"),
    ("index", "{{index .payload.list 1}} {{index .payload.object \"k\"}}", "2 v"),
    ("join", "{{join \"-\" .payload.list}}", "1-2-3"),
    ("js", "{{js \"it's\"}}", "it\\'s"),
    ("json", "{{json .payload.object}}", "{\"k\":\"v\"}"),
    ("le", "{{le 2 2}} {{le 3 2}}", "true false"),
    ("len", "{{len .payload.list}} {{len \"abc\"}}", "3 3"),
    ("list", "{{json (list 1 \"a\")}}", "[1,\"a\"]"),
    ("lower", "{{lower \"AbC\"}}", "abc"),
    ("lt", "{{lt 1 2}} {{lt 2 2}}", "true false"),
    ("merge", "{{json (merge (dict \"k\" 1) .payload.object)}}", "{\"k\":1}"),
    ("mod", "{{mod 7 2}}", "1"),
    ("mul", "{{mul 2 3 4}}", "24"),
    ("ne", "{{ne 1 2}} {{ne 1 1}}", "true false"),
    ("not", "{{not 0}} {{not 1}}", "true false"),
    ("now", "{{len (now | formatTime \"2006-01-02\")}}", "10"),
    ("or", "{{or 0 \"\" \"x\" (index .payload.list 9)}}", "x"),
    ("parseTime", "{{parseTime \"02.01.2006\" \"05.01.2026\" | formatTime \"2006-01-02\"}}", "2026-01-05"),
    ("print", "{{print 1 2 \"a\" 3}}", "1 2a3"),
    ("printf", "{{printf \"%05d %q\" 42 \"a\"}}", "00042 \"a\""),
    ("println", "{{println 1 \"a\"}}", "1 a\n"),
    ("repeat", "{{repeat 3 \"ab\"}}", "ababab"),
    ("replace", "{{replace \"a\" \"b\" \"banana\"}}", "bbnbnb"),
    ("slice", "{{slice 0 3 \"abcdef\"}} {{slice 3 -1 \"abcdef\"}}", "abc def"),
    ("split", "{{json (split \",\" \"a,b\")}}", "[\"a\",\"b\"]"),
    ("sub", "{{sub 7 2}}", "5"),
    ("title", "{{title \"ab cd\"}}", "Ab Cd"),
    ("trim", "{{trim \"-\" \"--a--\"}}", "a"),
    ("trimSpace", "[{{trimSpace .payload.text}}]", "[Ab c]"),
    ("truncate", "{{truncate 3 \"abcdef\"}}", "abc"),
    ("upper", "{{upper \"abc\"}}", "ABC"),
    ("urlencode", "{{urlencode \"a b&c\"}}", "a+b%26c"),
    ("urlquery", "{{urlquery \"a b&c\"}}", "a+b%26c"),
    ("", "{{range .payload.list}}{{.}};{{end}}{{with .payload.none}}x{{else}}y{{end}}", "1;2;3;y"),
    ("", "{{.event_name}} {{.attempt}}", "a.b 1"),
];

#[test]
fn every_function_does_what_it_is_said_to() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let payload = json!({"list": [1, 2, 3], "object": {"k": "v"}, "text": " Ab c "});
    rpc.ask("EventService/PushEvent", &json!({"namespace": "default", "event": "a.b", "payload": payload}));
    let wrong: Vec<String> = CASES
        .iter()
        .filter_map(|(_, template, expected)| {
            let answer = rpc.json(TEST, &json!({"event_name": "a.b", "transform_template": template}));
            (answer.json()["transformedPayload"] != *expected).then(|| format!("{template} is not {expected:?}: {}", answer.text()))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // No value of an event is a function.
    let call = json!({"event_name": "a.b", "transform_template": "{{call .payload.text}}"});
    assert_eq!(rpc.refused(TEST, &call).1, "invalid_argument");
    let told = rpc.ask("WebhookService/GetTemplateFunctions", &json!({}));
    let functions = told["functions"].as_array().expect("some");
    let told_of: BTreeSet<&str> = functions.iter().filter_map(|function| function["name"].as_str()).collect();
    let tried: BTreeSet<&str> = CASES.iter().map(|(name, ..)| *name).filter(|name| !name.is_empty()).chain(["call"]).collect();
    assert_eq!((&told_of, &told["totalCount"]), (&tried, &json!(functions.len())));
    assert!(functions.iter().all(|function| function["description"].as_str().is_some_and(|text| !text.is_empty())), "{told}");
}
