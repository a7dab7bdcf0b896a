use super::*;
use proptest::prelude::*;

fn guard(allowed: &[&str], allow_http: bool) -> Guard {
    Guard::new(allowed.iter().map(|net| net.parse().expect(net)).collect(), allow_http)
}

fn check(text: &str) -> Result<TargetUrl, UrlError> {
    Guard::default().check_url(text)
}

fn accepted(guard: &Guard, text: &str) -> bool {
    guard.check_url(text).is_ok()
}

#[test]
fn a_url_is_taken_apart() {
    let url = check("HTTPS://Bücher.Example.:8443/a b".replace(' ', "%20").as_str()).expect("a URL");
    assert_eq!(url.normalised, "https://xn--bcher-kva.example:8443/a%20b");
    let url = check("https://example.com?x=1&y=ü").expect("a URL");
    let expected = TargetUrl {
        https: true,
        host: "example.com".into(),
        port: 443,
        path_and_query: "/?x=1&y=%C3%BC".into(),
        normalised: "https://example.com/?x=1&y=%C3%BC".into(),
    };
    assert_eq!(url, expected);
    let url = check("https://[2606:4700:4700:0:0:0:0:1111]:443/hook").expect("a URL");
    assert_eq!((url.host.as_str(), url.port), ("2606:4700:4700::1111", 443));
    assert_eq!(url.normalised, "https://[2606:4700:4700::1111]/hook");
    let url = guard(&[], true).check_url("http://example.com").expect("a URL");
    assert_eq!((url.https, url.port, url.normalised.as_str()), (false, 80, "http://example.com/"));
}

#[test]
fn what_is_wrong_is_named() {
    let long = format!("https://example.com/{}", "x".repeat(MAX_URL_BYTES));
    let grows = format!("https://example.com/{}", "ü".repeat(900));
    let label = format!("https://{}.example", "x".repeat(64));
    let host = format!("https://{}example", "abcdefgh.".repeat(30));
    let cases = [
        ("", UrlError::Empty),
        ("  ", UrlError::Empty),
        (&*long, UrlError::TooLong),
        (&*grows, UrlError::TooLong),
        ("https://example.com/a b", UrlError::BadCharacter),
        (" https://example.com/", UrlError::BadCharacter),
        ("https://example.com/\r\nX-A: b", UrlError::BadCharacter),
        ("https://exa\tmple.com/", UrlError::BadCharacter),
        ("https://example.com/\u{85}", UrlError::BadCharacter),
        ("https:\\\\example.com", UrlError::BadCharacter),
        ("https://good.example\\@10.0.0.1/", UrlError::BadCharacter),
        ("/hook", UrlError::Scheme),
        ("example.com/hook", UrlError::Scheme),
        ("//example.com", UrlError::Scheme),
        ("https:example.com", UrlError::Scheme),
        ("ftp://example.com/", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("gopher://example.com", UrlError::Scheme),
        ("https://", UrlError::NoHost),
        ("https:///path", UrlError::NoHost),
        ("https://?x", UrlError::NoHost),
        ("https://:443/", UrlError::NoHost),
        ("https://user@example.com/", UrlError::Userinfo),
        ("https://:password@example.com/", UrlError::Userinfo),
        ("https://@example.com/", UrlError::Userinfo),
        ("https://example.com@10.0.0.1/", UrlError::Userinfo),
        ("https://example.com/#", UrlError::Fragment),
        ("https://example.com/a#b", UrlError::Fragment),
        ("https://exa_mple..com/", UrlError::Host),
        ("https://./", UrlError::Host),
        ("https://a%2fb.example/", UrlError::Host),
        ("https://1.2.3.4.5/", UrlError::Host),
        ("https://256.1.1.1/", UrlError::Host),
        ("https://[::1/", UrlError::Host),
        ("https://[fe80::1%25eth0]/", UrlError::Host),
        ("https://a!b.example/", UrlError::Host),
        (&*label, UrlError::Host),
        (&*host, UrlError::Host),
        ("https://example.com:0/", UrlError::Port),
        ("https://example.com:65536/", UrlError::Port),
        ("https://example.com:abc/", UrlError::Port),
    ];
    for (text, expected) in cases {
        let error = check(text).expect_err(text);
        assert_eq!(error, expected, "{text:?}");
    }
    assert!(accepted(&Guard::default(), "https://example.com:65535/an@sign/is%20fine?a@b"));
}

#[test]
fn credentials_are_never_repeated() {
    for text in ["https://user:hunter2@example.com/", "https://hunter2@127.0.0.1/", "http://hunter2@localhost/#x", "https://hunter2@[::1"] {
        let error = check(text).expect_err(text);
        assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn every_spelling_of_a_private_literal_is_seen_through() {
    let spellings = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "017700000001",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "0",
        "0.0.0.0",
        "[::]",
    ];
    for host in spellings {
        let error = check(&format!("https://{host}/")).expect_err(host);
        assert!(matches!(error, UrlError::Blocked(_)), "{host}: {error}");
        assert!(error.to_string().contains("--allow-network "), "{host}: {error}");
    }
    assert!(accepted(&Guard::default(), "https://8.8.8.8/"));
    assert_eq!(guard(&["127.0.0.0/8"], false).check_url("http://0x7f.1:80/").expect("opened").host, "127.0.0.1");
}

#[test]
fn names_of_this_machine_follow_its_loopback() {
    for name in ["localhost", "LOCALHOST", "localhost.", "app.localhost", "app.localhost."] {
        let error = check(&format!("https://{name}/")).expect_err(name);
        assert!(matches!(error, UrlError::Localhost(_)), "{name}: {error}");
        for open in ["127.0.0.0/8", "127.0.0.1/32", "::1/128"] {
            let guard = guard(&[open], false);
            assert!(accepted(&guard, &format!("https://{name}/")), "{name} with {open}");
            assert!(accepted(&guard, &format!("http://{name}:3000/")), "plain {name} with {open}");
        }
        assert!(!accepted(&guard(&["10.0.0.0/8"], true), &format!("https://{name}/")), "{name}");
    }
    for other in ["https://notlocalhost/", "https://localhost.example/", "https://box.internal/", "https://printer.local/"] {
        assert!(accepted(&Guard::default(), other), "{other} is judged when it is dialled");
    }
}

#[test]
fn where_plain_http_is_accepted() {
    let (none, some, all) = (Guard::default(), guard(&["10.0.0.0/8"], false), guard(&[], true));
    for (url, expected) in [
        ("http://example.com/", [false, true, true]),
        ("http://8.8.8.8/", [false, false, true]),
        ("http://10.1.2.3/", [false, true, false]),
        ("http://[::ffff:10.1.2.3]/", [false, true, false]),
        ("https://8.8.8.8/", [true, true, true]),
    ] {
        assert_eq!([&none, &some, &all].map(|g| accepted(g, url)), expected, "{url}");
    }
    let error = check("http://example.com/").expect_err("plain http");
    assert_eq!(error.to_string(), "plain http is not accepted for example.com: use https, or start the server with --allow-http");
}

proptest! {
    #[test]
    fn whatever_is_accepted_can_be_sent_and_reads_the_same_again(
        scheme in "https?://", host in "[a-zA-Z0-9.:\\[\\]@%-]{0,20}", rest in "[/?#]?[ -~ü]{0,20}",
    ) {
        let guard = guard(&["0.0.0.0/0", "::/0"], true);
        if let Ok(url) = guard.check_url(&format!("{scheme}{host}{rest}")) {
            prop_assert!(url.port > 0 && !url.host.is_empty());
            prop_assert!(url.path_and_query.starts_with('/'));
            prop_assert!(PathAndQuery::try_from(url.path_and_query.as_str()).is_ok());
            prop_assert!(url.normalised.parse::<http::Uri>().is_ok(), "{}", url.normalised);
            prop_assert_eq!(guard.check_url(&url.normalised), Ok(url.clone()));
        }
    }

    #[test]
    fn no_literal_gets_past_the_guard(bits: u32, form in 0u8..4) {
        let v4 = Ipv4Addr::from_bits(bits);
        let host = match form {
            0 => v4.to_string(),
            1 => bits.to_string(),
            2 => format!("0x{bits:x}"),
            _ => format!("[{}]", v4.to_ipv6_mapped()),
        };
        let guard = Guard::default();
        prop_assert_eq!(guard.check_url(&format!("https://{host}/")).is_ok(), guard.check(v4.into()).is_ok(), "{}", host);
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = check(&text);
        let _ = check(&format!("https://{text}"));
    }
}
