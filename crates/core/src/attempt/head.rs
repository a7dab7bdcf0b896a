//! The headers of a response, as they are kept with an attempt.

use http::HeaderMap;
use std::borrow::Cow;
use std::fmt::Write;

/// How much of a response's headers is kept, in bytes.
pub const MAX_HEAD_BLOCK_BYTES: usize = 4_096;

/// Headers whose values are secrets, or may be.
const SECRET: [&str; 7] =
    ["authentication-info", "authorization", "cookie", "proxy-authenticate", "proxy-authorization", "set-cookie", "www-authenticate"];

/// How long a header's line is, in bytes.
fn line(name: &str, value: usize) -> usize {
    name.len() + value + ": \n".len()
}

/// The headers of a response: a line `name: value` for each, in their order, those of one name together. Values that may be secrets are masked.
/// It ends with the last line that fits into [`MAX_HEAD_BLOCK_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadBlock(Box<str>);

impl HeadBlock {
    /// What stands for a masked value.
    pub const MASK: &'static str = "***";

    /// What is kept of these. Bytes that are no text are shown as such.
    pub fn new(headers: &HeaderMap) -> Self {
        // As much as it is going to be, most often: then the text is not moved again.
        let size: usize = headers.iter().map(|(name, value)| line(name.as_str(), value.len())).sum();
        let mut text = String::with_capacity(size.min(MAX_HEAD_BLOCK_BYTES));
        for (name, value) in headers {
            let name = name.as_str();
            let value = if Self::is_secret(name) { Cow::Borrowed(Self::MASK) } else { String::from_utf8_lossy(value.as_bytes()) };
            // Writing to a text cannot fail.
            if text.len() + line(name, value.len()) > MAX_HEAD_BLOCK_BYTES || writeln!(text, "{name}: {value}").is_err() {
                break;
            }
        }
        HeadBlock(text.into_boxed_str())
    }

    /// Whether values of headers with this name, in lower case, are masked.
    pub fn is_secret(name: &str) -> bool {
        SECRET.contains(&name)
    }

    /// Puts stored lines together again: what [`HeadBlock::as_str`] gave.
    pub fn from_lines(lines: impl Into<Box<str>>) -> Self {
        HeadBlock(lines.into())
    }

    /// All lines.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How long they are, in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name, in lower case, with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split('\n').filter_map(|line| line.split_once(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn block(headers: &[(&'static str, &[u8])]) -> HeadBlock {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
        }
        HeadBlock::new(&map)
    }

    #[test]
    fn headers_come_back_in_their_order() {
        let kept = block(&[("server", b"nginx"), ("x-a", b"1: 2"), ("date", b"today"), ("x-a", b""), ("x-b", "h\u{e9}\t".as_bytes())]);
        assert_eq!(kept.as_str(), "server: nginx\nx-a: 1: 2\nx-a: \ndate: today\nx-b: h\u{e9}\t\n");
        let shown: Vec<_> = kept.iter().collect();
        assert_eq!(shown, [("server", "nginx"), ("x-a", "1: 2"), ("x-a", ""), ("date", "today"), ("x-b", "h\u{e9}\t")]);
        assert_eq!(HeadBlock::from_lines(kept.as_str()), kept);
        assert_eq!((block(&[]).len(), block(&[]).is_empty(), block(&[]).iter().count()), (0, true, 0));
    }

    #[test]
    fn nothing_secret_is_kept() {
        for name in SECRET {
            let kept = block(&[(name, b"session=1"), ("x-after", b"2")]);
            assert_eq!(kept.iter().collect::<Vec<_>>(), [(name, HeadBlock::MASK), ("x-after", "2")]);
            assert!(HeadBlock::is_secret(name) && !HeadBlock::is_secret("x-after"));
        }
    }

    #[test]
    fn it_ends_with_the_last_line_that_fits() {
        let value = |length: usize| vec![b'v'; length];
        // A line has three bytes besides its name and its value.
        let (first, second) = (value(4_000), value(MAX_HEAD_BLOCK_BYTES - 4_000 - 2 * 4));
        let kept = block(&[("a", &first), ("b", &second)]);
        assert_eq!((kept.len(), kept.iter().count()), (MAX_HEAD_BLOCK_BYTES, 2));
        let longer = value(second.len() + 1);
        let kept = block(&[("a", &first), ("b", &longer), ("c", b"")]);
        assert_eq!(kept.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a"], "nothing comes after one that is left out");
        // What is no text takes more room when it is shown.
        let kept = block(&[("a", &[0xff; 1_400])]);
        assert_eq!(kept.iter().count(), 0);
        assert_eq!(block(&[("a", &[0xff])]).as_str(), "a: \u{fffd}\n");
    }
}
