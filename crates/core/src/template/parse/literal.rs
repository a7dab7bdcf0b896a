//! Constants, as Go spells them.

use super::super::tree::Operand;

/// What a quoted text stands for; `None` where an escape is none of Go's, or the bytes are no UTF-8.
pub(super) fn text(quoted: &str) -> Option<String> {
    let inside = quoted.get(1..quoted.len().checked_sub(1)?)?;
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = escape(&rest[at + 1..], &mut bytes)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// Puts what the escape behind a backslash stands for, and answers what comes after it.
fn escape<'t>(rest: &'t str, bytes: &mut Vec<u8>) -> Option<&'t str> {
    let first = rest.chars().next()?;
    let plain = match first {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' => first as u8,
        'x' => u8::try_from(digits(rest, 1, 2, 16)?).ok()?,
        '0'..='7' => {
            bytes.push(u8::try_from(digits(rest, 0, 3, 8)?).ok()?);
            return rest.get(3..);
        }
        'u' | 'U' => {
            let count = if first == 'u' { 4 } else { 8 };
            let c = char::from_u32(digits(rest, 1, count, 16)?)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return rest.get(1 + count..);
        }
        _ => return None,
    };
    bytes.push(plain);
    rest.get(if first == 'x' { 3 } else { 1 }..)
}

fn digits(text: &str, from: usize, count: usize, radix: u32) -> Option<u32> {
    let digits = text.get(from..from + count)?;
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

/// The character between single quotes.
pub(super) fn character(quoted: &str) -> Option<char> {
    if quoted == "'\"'" {
        return Some('"');
    }
    let text = text(quoted)?;
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// A number: decimal, `0x`, `0o` or `0b`, with `_` between digits; or with a fraction or an exponent.
pub(super) fn number(text: &str) -> Option<Operand> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit() || b == b'_') => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    let digits = without_underscores(digits, radix != 10)?;
    if !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)) {
        let value = i128::from_str_radix(&digits, radix).ok()?;
        return i64::try_from(if negative { -value } else { value }).ok().map(Operand::Int);
    }
    let is_decimal = radix == 10 && digits.starts_with(|c: char| c == '.' || c.is_ascii_digit());
    let value: f64 = if is_decimal { digits.parse().ok()? } else { return None };
    value.is_finite().then_some(Operand::Float(if negative { -value } else { value }))
}

/// Underscores may stand between digits, and behind the prefix of a radix.
fn without_underscores(digits: &str, has_prefix: bool) -> Option<String> {
    let bytes = digits.as_bytes();
    for (n, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'_') {
        let before = if n == 0 { has_prefix } else { bytes[n - 1].is_ascii_hexdigit() };
        let behind = bytes.get(n + 1).is_some_and(u8::is_ascii_hexdigit);
        if !(before && behind) {
            return None;
        }
    }
    Some(digits.replace('_', ""))
}
