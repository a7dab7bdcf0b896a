//! What Go has not, has differently, or has only in versions after the one that made `go.json`.

use super::*;

fn check(cases: &[(&str, &str)], payload: &str) {
    for (template, expected) in cases {
        assert_eq!(render(template, payload).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn numbers_of_the_payload_print_as_they_are_spelled() {
    let payload = r#"{"big":9007199254740993,"huge":123456789012345678901234567890,"million":1000000,"money":1.50,"e":1E400,"minus":-0}"#;
    check(
        &[
            (
                "{{.payload.big}} {{.payload.huge}} {{.payload.million}} {{.payload.money}}",
                "9007199254740993 123456789012345678901234567890 1000000 1.50",
            ),
            (
                "{{json .payload}}",
                r#"{"big":9007199254740993,"e":1E400,"huge":123456789012345678901234567890,"million":1000000,"minus":-0,"money":1.50}"#,
            ),
            (
                "{{print .payload.big \"\"}}|{{printf \"%v %d %d\" .payload.big .payload.big .payload.huge}}",
                "9007199254740993|9007199254740993 9007199254740993 123456789012345678901234567890",
            ),
            ("{{join \",\" (list .payload.big .payload.money)}}", "9007199254740993,1.50"),
            (
                "{{eq .payload.big 9007199254740993}} {{eq .payload.big 9007199254740992}} {{gt .payload.huge .payload.big}}",
                "true false true",
            ),
            (
                "{{eq .payload.million 1000000}} {{eq .payload.million 1e6}} {{eq .payload.minus 0}} {{if .payload.minus}}y{{end}}",
                "true true true ",
            ),
            ("{{add .payload.big 1}} {{add .payload.money 1}} {{printf \"%.2f\" .payload.million}}", "9007199254740994 2.5 1000000.00"),
        ],
        payload,
    );
    assert!(render("{{add .payload.huge 1}}", payload).is_err());
}

#[test]
fn cutting_never_cuts_a_character() {
    check(
        &[
            (r#"{{truncate 3 "abcdef"}} {{truncate 2 "aéb"}} {{truncate 3 "aéb"}} {{truncate 99 "é"}} {{truncate -1 "é"}}"#, "abc a aé é "),
            (
                r#"{{ellipsis 6 "abcdefgh"}} {{ellipsis 8 "abcdefgh"}} {{ellipsis 5 "aéé"}} {{ellipsis 4 "éé!"}} {{ellipsis 2 "abc"}}"#,
                "abc... abcdefgh aéé ... ..",
            ),
            (
                r#"{{slice 1 3 "abcd"}} {{slice 2 -1 "abcd"}} {{slice 0 99 "ab"}} {{slice 3 1 "abcd"}} {{slice -5 2 "ab"}}|{{slice 0 2 "aéb"}}{{slice 2 -1 "aéb"}}"#,
                "bc cd ab  ab|aéb",
            ),
        ],
        "null",
    );
}

#[test]
fn lists_objects_and_arithmetic() {
    check(
        &[
            (
                r#"{{json (dict "b" 1 "a" (list 1 "x" nil true))}} {{json (dict)}} {{json (list)}}"#,
                r#"{"a":[1,"x",null,true],"b":1} {} []"#,
            ),
            (r#"{{json (append (list 1) 2 3)}} {{json (append .payload.none 1)}} {{json (append .payload.missing 1)}}"#, "[1,2,3] [1] [1]"),
            (r#"{{json (merge (dict "a" 1) (dict "a" 2 "b" 3) .payload.missing)}}"#, r#"{"a":1,"b":3}"#),
            (
                r#"{{dig "user" "first" "?" .payload}} {{dig "user" "nope" "?" .payload}} {{dig "x" "y" "?" .payload}} {{.payload | dig "id" 0}}"#,
                "Ann ? ? 42",
            ),
            (
                "{{add 1 2 3}} {{add 1 0.5}} {{sub 1 3}} {{mul 2 3 4}} {{div 7 2}} {{div -7 2}} {{div 7.0 2}} {{mod 7 3}} {{mod -7 3}} {{mod 7.5 2}}",
                "6 1.5 -2 24 3 -3 3.5 1 -1 1.5",
            ),
            (r#"{{$l := list}}{{range .payload.items}}{{$l = append $l .sku}}{{end}}{{json $l}}"#, r#"["A1","B2"]"#),
        ],
        PAYLOAD,
    );
    let wrong = [
        "{{div 1 0}}",
        "{{mod 1 0}}",
        "{{div 1 0.0}}",
        "{{add 9223372036854775807 1}}",
        "{{mul 9223372036854775807 2}}",
        "{{sub -9223372036854775807 2}}",
        "{{div -9223372036854775808 -1}}",
        "{{mod -9223372036854775808 -1}}",
        "{{mul 1e308 10}}",
        "{{add \"1\" 2}}",
        "{{add \"1\"}}",
        "{{add nil}}",
        "{{dict \"a\"}}",
        "{{dict 1 2}}",
        "{{append 1 2}}",
        "{{merge 1}}",
        "{{dig \"id\" \"x\" 0 .payload}}",
        "{{join \",\" 5}}",
        "{{base64decode \"//8=\"}}",
    ];
    for template in wrong {
        assert_eq!(render(template, PAYLOAD).expect_err(template).kind, TemplateErrorKind::Failed, "{template}");
    }
}

#[test]
fn what_newer_versions_of_go_have() {
    check(
        &[
            ("{{with .payload.missing}}a{{else with .payload.user}}{{.first}}{{else}}c{{end}}", "Ann"),
            (
                "{{range 3}}{{.}}{{end}} {{range $i := 2}}{{$i}}{{end}} {{range .payload.id}}{{break}}{{else}}x{{end}}{{range 0}}x{{else}}none{{end}}",
                "012 01 none",
            ),
        ],
        PAYLOAD,
    );
    assert!(render("{{range 1.5}}{{end}}", "null").is_err());
}

#[test]
fn times() {
    check(
        &[
            (r#"{{formatTime "2006/01/02" .timestamp}} {{now.UTC.Year}} {{(parseTime "2006" "2026").Unix}}"#, "2027/01/15 2027 1767225600"),
            (r#"{{parseTime "02 Jan 06 15:04 MST" "09 Mar 26 10:00 GMT+3" | formatTime "15:04 -07:00"}}"#, "10:00 +03:00"),
            (r#"{{formatTime "2006-01-02T15:04:05Z07:00" "2026-03-09T10:00:00+02:00"}}"#, "2026-03-09T10:00:00+02:00"),
            (
                r#"{{if now}}y{{end}} {{now | printf "%s"}} {{print now 1}}"#,
                "y 2027-01-15 08:00:00.123456 +0000 UTC 2027-01-15 08:00:00.123456 +0000 UTC 1",
            ),
        ],
        "null",
    );
    for template in
        [r#"{{formatTime "2006" "yesterday"}}"#, r#"{{formatTime "2006" 5}}"#, r#"{{parseTime "2006" "20260"}}"#, r#"{{lt now now}}"#]
    {
        assert!(render(template, "null").is_err(), "{template}");
    }
}
