//! The dashboard at `/`, as a browser loads it, and the plain page of a build without it.

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
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(policy(&page, "default-src"), ["'none'"]);
    for directive in ["base-uri", "form-action", "frame-ancestors"] {
        assert_eq!(policy(&page, directive), ["'none'"], "{directive}");
    }
    let html = page.text();
    // scripts/test says so: what is released has the dashboard.
    let is_whole = html.contains("assets/");
    assert!(is_whole || html.contains("scripts/setup web"), "neither the dashboard nor the plain page: {html}");
    if std::env::var("POSTRIDER_TEST_DASHBOARD").is_ok_and(|wanted| wanted == "whole") {
        assert!(is_whole, "the binary was built without the dashboard: run scripts/setup web, and build again");
    }
    if !is_whole {
        return;
    }
    for directive in ["script-src", "style-src", "connect-src", "font-src"] {
        assert_eq!(policy(&page, directive), ["'self'"], "{directive}");
    }
    assert!(!html.contains("://") && !html.contains("<script>") && !html.contains(" style="), "{html}");
    let tag = page.header("etag").expect("a tag").to_owned();
    assert_eq!(server.call("GET", "/", &[("if-none-match", &tag)], b"").status, 304);
    let loaded: Vec<&str> = attributes(&html, "src").into_iter().chain(attributes(&html, "href")).collect();
    assert!(loaded.iter().any(|target| target.ends_with(".js")) && loaded.iter().any(|target| target.ends_with(".css")), "{loaded:?}");
    for target in loaded {
        let name = target.strip_prefix("./assets/").expect("behind a proxy the page may lie elsewhere");
        let file = server.get(&format!("/assets/{name}"));
        let media = match name.rsplit('.').next() {
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        };
        assert_eq!((file.status, file.header("content-type")), (200, Some(media)), "{target}");
        assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"), "{target}");
        let packed = server.call("GET", &format!("/assets/{name}"), &[("accept-encoding", "gzip")], b"");
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{target}");
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed.body), &mut plain).expect("gzip");
        assert!(plain == file.body && !plain.is_empty(), "{target}");
    }
}

#[test]
fn nothing_else_is_there() {
    let server = Server::dev(&[]);
    for path in ["/assets/nothing.js", "/assets/", "/assets/..%2findex.html", "/assets/index.html", "/index.html"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.error()), (404, String::from("there is nothing at this path")), "{path}");
    }
    assert_eq!(server.call("POST", "/assets/nothing.js", &[], b"").status, 405);
}
