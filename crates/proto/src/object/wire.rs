//! From JSON text to `google.protobuf.Struct`. The text is valid and of a bounded depth, so nothing can go wrong but numbers: they become
//! the nearest 64-bit floating point number.

use buffa::encoding::encode_varint;

/// `Struct.fields` and `ListValue.values`: field 1, length-delimited.
const ITEM: u8 = tag(1, 2);
/// Of an entry of `Struct.fields`.
const KEY: u8 = tag(1, 2);
const VALUE: u8 = tag(2, 2);
/// The kinds of a `Value`.
const NULL: u8 = tag(1, 0);
const NUMBER: u8 = tag(2, 1);
const STRING: u8 = tag(3, 2);
const BOOL: u8 = tag(4, 0);
const STRUCT: u8 = tag(5, 2);
const LIST: u8 = tag(6, 2);

const fn tag(number: u8, wire_type: u8) -> u8 {
    number << 3 | wire_type
}

/// The binary form of an object.
pub(super) fn of_object(json: &[u8]) -> Vec<u8> {
    #[cfg(test)]
    super::tests::count(json.len());
    Reader { rest: json }.object()
}

/// What is left of the text.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next byte that is neither blank nor one that separates.
    fn peek(&mut self) -> u8 {
        let is_between = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b':');
        let blanks = self.rest.iter().take_while(|b| is_between(b)).count();
        self.rest = &self.rest[blanks..];
        // Valid text does not end where a value is expected.
        self.rest.first().copied().unwrap_or(b'}')
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn object(&mut self) -> Vec<u8> {
        self.peek();
        self.take(1);
        let mut fields = Vec::new();
        while self.peek() != b'}' {
            let mut entry = Vec::new();
            delimited(&mut entry, KEY, self.string().as_bytes());
            delimited(&mut entry, VALUE, &self.value());
            delimited(&mut fields, ITEM, &entry);
        }
        self.take(1);
        fields
    }

    fn list(&mut self) -> Vec<u8> {
        self.take(1);
        let mut values = Vec::new();
        while self.peek() != b']' {
            delimited(&mut values, ITEM, &self.value());
        }
        self.take(1);
        values
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        match self.peek() {
            b'{' => delimited(&mut value, STRUCT, &self.object()),
            b'[' => delimited(&mut value, LIST, &self.list()),
            b'"' => delimited(&mut value, STRING, self.string().as_bytes()),
            b'n' => {
                self.take("null".len());
                value.extend([NULL, 0]);
            }
            b't' => {
                self.take("true".len());
                value.extend([BOOL, 1]);
            }
            b'f' => {
                self.take("false".len());
                value.extend([BOOL, 0]);
            }
            _ => {
                value.push(NUMBER);
                value.extend(self.number().to_le_bytes());
            }
        }
        value
    }

    fn number(&mut self) -> f64 {
        let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        // At least a byte, so that the text gets shorter whatever it is.
        let length = self.rest.iter().take_while(|b| is_part(b)).count().max(1);
        let number: f64 = std::str::from_utf8(self.take(length)).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        // One beyond the range is infinite, which JSON does not know.
        number.clamp(f64::MIN, f64::MAX)
    }

    fn string(&mut self) -> String {
        self.peek();
        let mut escaped = false;
        let inside = self.rest[1..].iter().take_while(|&&b| {
            let ends = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            !ends
        });
        let length = inside.count() + 2;
        let quoted = self.take(length);
        serde_json::from_slice(quoted).unwrap_or_else(|_| with_surrogates_replaced(&quoted[1..length - 1]))
    }
}

fn delimited(into: &mut Vec<u8>, tag: u8, content: &[u8]) {
    into.push(tag);
    encode_varint(content.len() as u64, into);
    into.extend_from_slice(content);
}

/// The text of a string that escapes half of a surrogate pair, which JSON can spell and UTF-8 cannot: U+FFFD stands in its place.
fn with_surrogates_replaced(inside: &[u8]) -> String {
    let text = String::from_utf8_lossy(inside);
    let mut mended = String::with_capacity(text.len() + 2);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        let escape = |length: usize| rest.get(at..at + length);
        let is_text = |candidate: &str| serde_json::from_str::<String>(&format!("\"{candidate}\"")).ok();
        let pair = escape(12).and_then(|e| Some((is_text(e).filter(|t| t.chars().count() == 1)?, 12)));
        let unit = || escape(6).filter(|e| e.starts_with("\\u")).map(|e| (is_text(e).unwrap_or_else(|| String::from('\u{fffd}')), 6));
        let short = || escape(2).and_then(is_text).map(|t| (t, 2));
        let (meant, length) = pair.or_else(unit).or_else(short).unwrap_or((String::from('\u{fffd}'), 1));
        mended.push_str(&meant);
        rest = &rest[at + length..];
    }
    mended + rest
}
