//! The page at `/docs`, as a browser loads it.

use crate::common::{Answer, Server};

/// The values of attributes such as `src="…"`.
fn attributes<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    page.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split_once('"').map(|(value, _)| value)).collect()
}

/// The sources that a directive of the page's policy allows.
fn policy<'p>(page: &'p Answer, directive: &str) -> Vec<&'p str> {
    let whole = page.header("content-security-policy").expect("a policy");
    let found = whole.split(';').map(|part| part.split_whitespace().collect::<Vec<_>>()).find(|words| words[0] == directive);
    found.map_or_else(Vec::new, |words| words[1..].to_vec())
}

#[test]
fn the_page_and_all_it_loads_come_from_this_server() {
    let server = Server::guarded("a-master-key-of-this-test");
    let page = server.get("/docs");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(policy(&page, "default-src"), ["'self'"]);
    for directive in ["script-src", "connect-src", "script-src-elem", "worker-src"] {
        assert!(policy(&page, directive).is_empty(), "{directive} opens what default-src closes");
    }
    let html = page.text();
    assert!(!html.contains("://") && !html.contains("<script>"), "{html}");
    let loaded = || attributes(&html, "src").into_iter().chain(attributes(&html, "href")).filter(|to| !to.starts_with("data:"));
    for target in loaded() {
        assert!(!target.starts_with('/'), "{target}: behind a proxy the page may lie elsewhere");
        let file = server.get(&format!("/{target}"));
        let media = match target.rsplit('.').next() {
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            _ => "application/json",
        };
        assert_eq!((file.status, file.header("content-type")), (200, Some(media)), "{target}");
        assert!(!file.body.is_empty() && file.header("content-encoding").is_none(), "{target}");
        let tag = file.header("etag").expect("a tag").to_owned();
        assert_eq!(server.call("GET", &format!("/{target}"), &[("if-none-match", &tag)], b"").status, 304, "{target}");
        let packed = server.call("GET", &format!("/{target}"), &[("accept-encoding", "gzip")], b"");
        if packed.header("content-encoding") == Some("gzip") {
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed.body), &mut plain).expect("gzip");
            assert!(plain == file.body && packed.body.len() < plain.len(), "{target}");
        }
        if target.ends_with(".css") {
            let urls = file.text().split("url(").skip(1).map(|rest| rest.trim_start_matches(['"', '\'']).to_owned()).collect::<Vec<_>>();
            assert!(urls.iter().all(|url| url.starts_with("data:")) && !file.text().contains("@import"), "{urls:?}");
        }
    }
    // scripts/test says so: what is released shows the full page.
    let is_full = html.contains("swagger-ui-bundle.js");
    assert!(is_full || html.contains("/v1/delivery/items"), "neither the full page nor the plain one: {html}");
    if std::env::var("POSTRIDER_TEST_DOCS").is_ok_and(|wanted| wanted == "full") {
        assert!(is_full, "the binary was built without the full page: run scripts/setup docs, and build again");
        assert_eq!(loaded().count(), 4, "{html}");
        let start = server.get("/docs/start.js").text();
        assert!(start.contains("url: \"openapi.json\"") && start.contains("validatorUrl: null") && !start.contains("://"), "{start}");
        assert!(server.get("/docs/LICENSE").text().contains("Apache License"), "what is passed on goes with its licence");
    }
}

#[test]
fn nothing_else_is_there() {
    let server = Server::dev(&[]);
    let moved = server.get("/docs/");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/docs")));
    for path in ["/docs/nothing", "/docs/..%2fpostrider.db", "/docs/swagger-ui.css.gz", "/docs/a/b"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.error()), (404, String::from("there is nothing at this path")), "{path}");
    }
    assert_eq!(server.call("POST", "/docs", &[], b"").status, 405);
}
