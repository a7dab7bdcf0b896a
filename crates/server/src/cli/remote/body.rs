//! Payloads, bodies and headers for people.

use super::text::bytes;
use super::{Output, Tone, clean};
use crate::cli::listen::indented;
use postrider_proto::v1;

/// How much of a body is shown unless all of it is wanted, in bytes.
const SHOWN: usize = 2 << 10;

/// How much of bodies is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bodies {
    /// All that is kept.
    Full,
    /// Up to 2 KiB of each.
    Short,
    /// Nothing.
    None,
}

/// A body, each line of it behind `indent`; JSON with line breaks.
pub fn body(out: &Output, content: &v1::Content, bodies: Bodies, indent: &str) -> String {
    let dim = |text: &str| format!("{indent}{}\n", out.paint(Tone::Dim, text));
    match (bodies, content.removed, content.bytes.is_empty()) {
        (Bodies::None, ..) => return String::new(),
        (_, true, _) => return dim("(removed by retention)"),
        (_, false, true) => return dim("(empty)"),
        (_, false, false) => {}
    }
    let Ok(whole) = std::str::from_utf8(&content.bytes) else {
        let size = bytes(i64::try_from(content.bytes.len()).unwrap_or(i64::MAX));
        return dim(&format!("({size} that are no text; --json has them in base64)"));
    };
    let whole = serde_json::from_str::<&serde_json::value::RawValue>(whole)
        .ok()
        .and_then(|json| indented(json.get()))
        .map_or(std::borrow::Cow::Borrowed(whole), std::borrow::Cow::Owned);
    let most = if bodies == Bodies::Full { whole.len() } else { whole.len().min(SHOWN) };
    let end = (0..=most).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
    let mut text: String = whole[..end].lines().map(|line| format!("{indent}{}\n", clean(&line.replace('\t', "    ")))).collect();
    if end < whole.len() {
        text.push_str(&dim(&format!("… {} more: --bodies full shows them", bytes(i64::try_from(whole.len() - end).unwrap_or(i64::MAX)))));
    }
    if content.truncated {
        text.push_str(&dim("… no more of it is kept"));
    }
    text
}

/// Headers, a line each behind `indent`.
pub fn headers(out: &Output, headers: &[v1::Header], indent: &str) -> String {
    let line = |header: &v1::Header| {
        let tone = if header.masked { Tone::Dim } else { Tone::Plain };
        format!("{indent}{}: {}\n", clean(&header.name), out.paint(tone, &clean(&header.value)))
    };
    headers.iter().map(line).collect()
}

/// Pairs in the order of their keys, as `key=value, key=value`; `-` where there are none.
pub fn pairs<'a>(of: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut pairs: Vec<String> = of.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort_unstable();
    if pairs.is_empty() { String::from("-") } else { clean(&pairs.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8], bodies: Bodies) -> String {
        body(&Output::plain(false), &v1::Content { bytes: bytes.to_vec(), ..v1::Content::default() }, bodies, "  ")
    }

    #[test]
    fn json_gets_line_breaks_and_keeps_its_numbers() {
        assert_eq!(shown(b"{\"b\":1.50,\"a\":[]}", Bodies::Short), "  {\n    \"b\": 1.50,\n    \"a\": []\n  }\n");
    }

    #[test]
    fn bodies_are_cut_unless_all_is_wanted() {
        let long = "é".repeat(SHOWN);
        assert!(shown(long.as_bytes(), Bodies::Short).ends_with("more: --bodies full shows them\n"));
        assert_eq!(shown(long.as_bytes(), Bodies::Full), format!("  {long}\n"));
        assert_eq!(shown(b"x", Bodies::None), "");
    }

    #[test]
    fn what_is_no_text_or_not_there_is_said() {
        assert!(shown(&[0xff, 0xfe], Bodies::Short).contains("(2 B that are no text"));
        assert_eq!(shown(b"", Bodies::Short), "  (empty)\n");
        assert!(!shown(b"\x1b[2J", Bodies::Short).contains('\x1b'));
        let removed = v1::Content { removed: true, ..v1::Content::default() };
        assert_eq!(body(&Output::plain(false), &removed, Bodies::Short, ""), "(removed by retention)\n");
    }

    #[test]
    fn pairs_have_an_order() {
        let of = [(String::from("b"), String::from("2")), (String::from("a"), String::from("1"))];
        assert_eq!(pairs(of.iter().map(|(key, value)| (key, value))), "a=1, b=2");
    }
}
