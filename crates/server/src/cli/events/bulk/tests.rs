//! Lines of files, without a server.

use super::*;

fn bulk() -> Bulk {
    Bulk {
        file: PathBuf::from("-"),
        namespace: String::from("shop"),
        resume_key: Some(String::from("orders.ndjson")),
        is_by_place: false,
        event_type: None,
        labels: vec![(String::from("region"), String::from("eu")), (String::from("source"), String::from("file"))],
        metadata: Vec::new(),
        ttl_seconds: 60,
        concurrency: 1,
        gap: None,
    }
}

fn raw(number: u64, text: &str) -> Raw {
    Raw { number, end: 0, text: text.as_bytes().to_vec() }
}

async fn lines_of(text: &[u8]) -> Vec<(u64, u64, usize)> {
    let (sender, mut lines) = mpsc::channel(1);
    let text = text.to_vec();
    std::thread::spawn(move || read(BufReader::with_capacity(7, text.as_slice()), &sender));
    let mut all = Vec::new();
    while let Some(line) = lines.recv().await {
        let line = line.expect("a line");
        all.push((line.number, line.end, line.text.len()));
    }
    all
}

#[test]
fn a_line_is_an_event_and_the_flags_fill_it_in() {
    let line = r#"{"event_type": "order.created", "payload": {"total": 1.50}, "labels": {"region": "us"}, "dedup_key": "k"}"#;
    let request = request(&bulk(), &raw(1, line)).expect("a request");
    assert_eq!((request.event.as_str(), request.id.as_deref(), request.ttl_seconds), ("order.created", Some("k"), 60));
    assert_eq!(request.payload.json().as_ref(), br#"{"total": 1.50}"#);
    let label = |key: &str| request.labels.get(key).map(String::as_str);
    assert_eq!((label("region"), label("source")), (Some("us"), Some("file")));
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    for (line, words) in [
        ("{", "EOF"),
        (r#"{"payload": {}}"#, "no \"event\""),
        (r#"{"event": "a"}"#, "no \"payload\""),
        (r#"{"event": "a", "payload": [1]}"#, "\"payload\": it must be a JSON object"),
        (r#"{"event": "a", "payload": {}, "lables": {}}"#, "unknown field `lables`"),
    ] {
        let why = request(&bulk(), &raw(1, line)).expect_err(line);
        assert!(why.contains(words), "{line}: {why}");
    }
    let long = format!(r#"{{"event": "a", "payload": {{"x": "{}"}}}}"#, "y".repeat(MAX_LINE));
    assert!(request(&bulk(), &raw(1, &long)).expect_err("too long").contains("4 MiB"));
}

#[test]
fn ids_are_the_same_again_and_differ_by_line_and_file() {
    let of = |file: &str, number: u64, text: &str| key(file, &raw(number, text));
    let first = of("f", 1, "x");
    assert_eq!(first, of("f", 1, "x"));
    assert!(first.starts_with("push-") && first.len() == 69, "{first}");
    for other in [of("f", 2, "x"), of("g", 1, "x"), of("f", 1, "y"), of("", 1, "fx")] {
        assert_ne!(first, other);
    }
}

#[test]
fn what_comes_over_a_pipe_has_no_ids_of_its_own() {
    let line = r#"{"event": "a", "payload": {}}"#;
    let id = |bulk: &Bulk, line: &str| request(bulk, &raw(1, line)).expect("a request").id;
    assert!(id(&bulk(), line).is_some_and(|id| id.starts_with("push-")));
    let nameless = Bulk { resume_key: None, ..bulk() };
    assert_eq!(id(&nameless, line), None);
    assert_eq!(id(&nameless, r#"{"event": "a", "payload": {}, "id": "k"}"#).as_deref(), Some("k"));
}

#[tokio::test]
async fn lines_are_numbered_and_empty_ones_passed_over() {
    assert_eq!(lines_of(b"{}\r\n\n  \n[1]\n{}").await, [(1, 4, 2), (4, 12, 3), (5, 14, 2)]);
    assert!(lines_of(b"").await.is_empty());
}

#[tokio::test]
async fn a_line_that_is_too_long_is_passed_over() {
    let mut text = vec![b'x'; MAX_LINE + 100];
    text.extend_from_slice(b"\n{}\n");
    let end = text.len() as u64;
    assert_eq!(lines_of(&text).await, [(1, end - 3, MAX_LINE + 2), (2, end, 2)]);
}

#[test]
fn the_end_is_told_in_a_sentence() {
    let tally = Tally { published: 1_200, duplicates: 1, refused: 2, with_warnings: 3 };
    assert_eq!(
        tally.to_string(),
        "1,200 events published, 3 of them not fitting the schema of the type, 1 was there before, 2 were refused"
    );
    assert_eq!(Tally { published: 1, ..Tally::default() }.to_string(), "1 event published");
}
