//! Go's `printf`.

use super::meter::{Draft, Fault};
use super::number::{self, Number};
use super::value::Value;
use super::{escape, print, text};

/// The widest field and the highest precision: Go's own bound.
const MAX_WIDTH: i64 = 1_000_000;

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Puts the format with the values in it. What does not fit is told in the text, as in Go: `%!d(string=hi)`.
pub(super) fn printf(format: &str, values: &[Value<'_>], draft: &mut Draft<'_>) -> Result<(), Fault> {
    let mut rest = format;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        draft.meter.step(1)?;
        draft.push(&rest[..at])?;
        rest = &rest[at + 1..];
        let (spec, behind, trouble) = spec(rest, values, &mut next);
        let mut chars = behind.chars();
        let Some(verb) = chars.next() else {
            return draft.push("%!(NOVERB)");
        };
        rest = chars.as_str();
        if let Some(trouble) = trouble {
            draft.push(trouble)?;
        }
        match verb {
            '%' => draft.push("%")?,
            verb => match values.get(next) {
                Some(value) => {
                    next += 1;
                    self::value(value, verb, spec, draft)?;
                }
                None => draft.push(&format!("%!{verb}(MISSING)"))?,
            },
        }
    }
    draft.push(rest)?;
    extra(values.get(next..).unwrap_or_default(), draft)
}

fn extra(values: &[Value<'_>], draft: &mut Draft<'_>) -> Result<(), Fault> {
    if values.is_empty() {
        return Ok(());
    }
    draft.push("%!(EXTRA ")?;
    for (n, value) in values.iter().enumerate() {
        draft.push(if n == 0 { "" } else { ", " })?;
        typed(value, draft)?;
    }
    draft.push(")")
}

/// A value with its type, as Go tells of one that does not fit.
fn typed(value: &Value<'_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    if !value.is_nil() {
        draft.push(value.type_name())?;
        draft.push("=")?;
    }
    print::write(value, draft)
}

fn spec<'t>(text: &'t str, values: &[Value<'_>], next: &mut usize) -> (Spec, &'t str, Option<&'static str>) {
    let mut spec = Spec::default();
    let mut rest = text;
    let mut trouble = None;
    while let Some(c) = rest.chars().next() {
        match c {
            '+' => spec.plus = true,
            '-' => spec.minus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            '0' => spec.zero = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let (width, behind) = count(rest, values, next);
    rest = behind;
    match width {
        Some(Ok(width)) => {
            spec.minus |= width < 0;
            spec.width = usize::try_from(width.unsigned_abs()).ok();
        }
        Some(Err(())) => trouble = Some("%!(BADWIDTH)"),
        None => {}
    }
    if let Some(behind) = rest.strip_prefix('.') {
        let (precision, behind) = count(behind, values, next);
        rest = behind;
        match precision {
            Some(Ok(precision)) => spec.precision = usize::try_from(precision).ok(),
            Some(Err(())) => trouble = Some("%!(BADPREC)"),
            None => spec.precision = Some(0),
        }
    }
    // Zeros go before, never behind.
    spec.zero &= !spec.minus;
    (spec, rest, trouble)
}

/// A number, or `*` for one among the values.
fn count<'t>(text: &'t str, values: &[Value<'_>], next: &mut usize) -> (Option<Result<i64, ()>>, &'t str) {
    let within = |number: i64| if number.abs() <= MAX_WIDTH { Ok(number) } else { Err(()) };
    if let Some(rest) = text.strip_prefix('*') {
        let given = values.get(*next).and_then(|value| text::int(value).ok());
        *next += usize::from(*next < values.len());
        return (Some(given.ok_or(()).and_then(within)), rest);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (None, text);
    }
    (Some(text[..digits].parse().map_err(|_| ()).and_then(within)), &text[digits..])
}

/// One value by one verb.
fn value(value: &Value<'_>, verb: char, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    match (verb, value) {
        ('T', value) => padded(value.type_name(), spec, draft),
        ('v', Value::Number(Number::Float(float))) => padded(&number::float(*float), spec, draft),
        ('v', Value::Number(Number::Int(_) | Number::Spelled(_))) if spec.plus || spec.zero => whole(value, 'd', spec, draft),
        ('v', Value::Text(text)) if spec.sharp => quoted(text.as_str(), Spec { sharp: false, ..spec }, draft),
        ('v', value) => {
            let shown = print::shown(value, draft.meter)?;
            padded(&shown, spec, draft)
        }
        ('t', Value::Bool(_)) => padded(&print::shown(value, draft.meter)?, spec, draft),
        ('s', Value::Text(text)) => padded(cut(text.as_str(), spec), spec, draft),
        ('q', Value::Text(text)) => quoted(cut(text.as_str(), spec), spec, draft),
        ('x' | 'X', Value::Text(text)) => hexadecimal(text.as_str(), verb, spec, draft),
        ('d' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U', Value::Number(_)) => whole(value, verb, spec, draft),
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Number(Number::Int(_))) => misfit(value, verb, draft),
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Number(number)) => float(number.as_float(), verb, spec, draft),
        ('s' | 'd', Value::List(_) | Value::Map(_)) if verb == 's' || verb == 'd' => elements(value, verb, spec, draft),
        ('s', Value::Time(moment)) => padded(&moment.shown(), spec, draft),
        _ => misfit(value, verb, draft),
    }
}

fn misfit(value: &Value<'_>, verb: char, draft: &mut Draft<'_>) -> Result<(), Fault> {
    draft.push(&format!("%!{verb}("))?;
    typed(value, draft)?;
    draft.push(")")
}

/// A list or an object, each of whose elements is put by the verb.
fn elements(value: &Value<'_>, verb: char, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    draft.meter.step(1)?;
    match value {
        Value::List(list) => {
            draft.push("[")?;
            for (n, item) in list.items.iter().enumerate() {
                draft.push(if n == 0 { "" } else { " " })?;
                self::value(item, verb, spec, draft)?;
            }
        }
        Value::Map(map) => {
            draft.push("map[")?;
            for (n, (name, item)) in map.entries.iter().enumerate() {
                draft.push(if n == 0 { "" } else { " " })?;
                self::value(&Value::Text(name.clone()), verb, spec, draft)?;
                draft.push(":")?;
                self::value(item, verb, spec, draft)?;
            }
        }
        other => return misfit(other, verb, draft),
    }
    draft.push("]")
}

/// As many characters as the precision says.
fn cut(text: &str, spec: Spec) -> &str {
    let Some(most) = spec.precision else { return text };
    text.char_indices().nth(most).map_or(text, |(at, _)| &text[..at])
}

fn padded(text: &str, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if spec.minus {
        draft.push(text)?;
        return draft.fill(' ', missing);
    }
    draft.fill(if spec.zero { '0' } else { ' ' }, missing)?;
    draft.push(text)
}

/// A sign and digits, with zeros between them if there shall be some.
fn signed(negative: bool, digits: &str, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    if spec.zero {
        let missing = spec.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
        draft.push(sign)?;
        draft.fill('0', missing)?;
        return draft.push(digits);
    }
    padded(&format!("{sign}{digits}"), spec, draft)
}

fn quoted(text: &str, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let mut out = Draft::new(draft.meter);
    if spec.sharp && !text.contains('`') && text.chars().all(|c| c == '\t' || escape::is_printable(c)) {
        out.push("`")?;
        out.push(text)?;
        out.push("`")?;
    } else {
        out.push("\"")?;
        for c in text.chars() {
            escaped(c, '"', spec.plus, &mut out)?;
        }
        out.push("\"")?;
    }
    let text = out.into_string();
    padded(&text, spec, draft)
}

fn escaped(c: char, quote: char, is_ascii_only: bool, out: &mut Draft<'_>) -> Result<(), Fault> {
    match c {
        c if c == quote || c == '\\' => {
            out.push("\\")?;
            out.push_char(c)
        }
        '\u{7}' => out.push("\\a"),
        '\u{8}' => out.push("\\b"),
        '\u{c}' => out.push("\\f"),
        '\n' => out.push("\\n"),
        '\r' => out.push("\\r"),
        '\t' => out.push("\\t"),
        '\u{b}' => out.push("\\v"),
        c if c.is_ascii() && !c.is_ascii_control() => out.push_char(c),
        c if !c.is_ascii() && !is_ascii_only && escape::is_printable(c) => out.push_char(c),
        c if c.is_ascii() => out.push(&format!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x1_0000 => out.push(&format!("\\u{:04x}", u32::from(c))),
        c => out.push(&format!("\\U{:08x}", u32::from(c))),
    }
}

fn hexadecimal(text: &str, verb: char, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let bytes = &text.as_bytes()[..spec.precision.unwrap_or(text.len()).min(text.len())];
    let prefix = if verb == 'x' { "0x" } else { "0X" };
    let mut out = Draft::new(draft.meter);
    if spec.sharp && !spec.space && !bytes.is_empty() {
        out.push(prefix)?;
    }
    for (n, byte) in bytes.iter().enumerate() {
        if spec.space {
            out.push(if n == 0 { "" } else { " " })?;
            out.push(if spec.sharp { prefix } else { "" })?;
        }
        out.push(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") })?;
    }
    let text = out.into_string();
    padded(&text, spec, draft)
}

/// A whole number.
fn whole(value: &Value<'_>, verb: char, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let Value::Number(number) = value else { return misfit(value, verb, draft) };
    let Some((negative, mut digits)) = number.whole_digits() else { return misfit(value, verb, draft) };
    if verb != 'd' {
        let Ok(size) = digits.parse::<u128>() else { return misfit(value, verb, draft) };
        if matches!(verb, 'c' | 'q' | 'U') {
            return character(size, verb, spec, draft);
        }
        digits = match (verb, spec.sharp) {
            ('b', false) => format!("{size:b}"),
            ('b', true) => format!("{size:#b}"),
            ('o', false) => format!("{size:o}"),
            ('o', true) => format!("0{size:o}"),
            ('O', _) => format!("0o{size:o}"),
            ('x', false) => format!("{size:x}"),
            ('x', true) => format!("{size:#x}"),
            (_, false) => format!("{size:X}"),
            (_, true) => format!("0X{size:X}"),
        };
    }
    if let Some(least) = spec.precision {
        let missing = least.saturating_sub(digits.len());
        draft.meter.make(missing)?;
        digits.insert_str(0, &"0".repeat(missing));
    }
    signed(negative, &digits, Spec { zero: spec.zero && spec.precision.is_none(), ..spec }, draft)
}

fn character(code: u128, verb: char, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let c = u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    match verb {
        'U' => padded(&format!("U+{code:04X}"), Spec { zero: false, ..spec }, draft),
        'c' => padded(c.encode_utf8(&mut [0; 4]), spec, draft),
        _ => {
            let mut out = Draft::new(draft.meter);
            out.push("'")?;
            escaped(c, '\'', spec.plus, &mut out)?;
            out.push("'")?;
            let text = out.into_string();
            padded(&text, spec, draft)
        }
    }
}

fn float(value: f64, verb: char, spec: Spec, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let size = value.abs();
    if !value.is_finite() {
        return signed(value < 0.0, number::special(size).trim_start_matches('+'), Spec { zero: false, ..spec }, draft);
    }
    // No float has more digits than this that are not zero.
    let precision = spec.precision.unwrap_or(6).min(1_100);
    let mut text = match verb {
        'f' | 'F' => format!("{size:.precision$}"),
        'e' | 'E' => number::go_exponent(&format!("{size:.precision$e}")),
        _ => match spec.precision {
            None => number::float(size),
            Some(digits) => general(size, digits.clamp(1, 1_100)),
        },
    };
    if matches!(verb, 'E' | 'G') {
        text = text.replace('e', "E");
    }
    signed(value.is_sign_negative(), &text, spec, draft)
}

/// `%g` with so many significant digits.
fn general(size: f64, digits: usize) -> String {
    let scientific = format!("{size:.*e}", digits - 1);
    let exponent = number::exponent_of(&scientific);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= i32::try_from(digits).unwrap_or(i32::MAX) {
        let (mantissa, _) = scientific.split_once('e').unwrap_or((&scientific, ""));
        return number::go_exponent(&format!("{}e{exponent}", trimmed(mantissa)));
    }
    let places = usize::try_from(i32::try_from(digits).unwrap_or(i32::MAX) - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{size:.places$}"))
}
