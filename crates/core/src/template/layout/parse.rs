//! Times from text, as Go's `time.Parse` reads them.

use super::super::moment::{Moment, Zone};
use super::{DAYS, MONTHS, OffsetForm, Part, next_part};
use jiff::civil::{Date, DateTime};

/// What was read so far.
#[derive(Default)]
struct Found {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    year_day: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    /// Whether `PM` was read, or `AM`.
    is_pm: Option<bool>,
    zone: Option<Zone>,
}

/// Reads a time. What the layout does not name is that of 0000-01-01T00:00:00Z.
pub(in super::super) fn parse(layout: &str, text: &str) -> Result<Moment, String> {
    let mut found = Found::default();
    let (mut layout_rest, mut rest) = (layout, text);
    loop {
        let (before, part) = next_part(layout_rest);
        rest = skip(rest, before).ok_or_else(|| format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {before:?}"))?;
        let Some((part, behind)) = part else { break };
        let fraction_follows = matches!(next_part(behind), ("", Some((Part::Fraction { .. }, _))));
        rest = take(part, rest, fraction_follows, &mut found)
            .ok_or_else(|| format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?}"))?;
        layout_rest = behind;
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {rest:?}"));
    }
    whole(&found).ok_or_else(|| format!("parsing time {text:?}: out of range"))
}

fn whole(found: &Found) -> Option<Moment> {
    let hour = match (found.is_pm, found.hour) {
        (Some(true), hour @ 0..12) => hour + 12,
        (Some(false), 12) => 0,
        (_, hour) => hour,
    };
    let date = match found.year_day {
        Some(day) => {
            let date = Date::new(found.year, 1, 1).ok()?.with().day_of_year(day).build().ok()?;
            let fits = found.month.is_none_or(|month| month == date.month()) && found.day.is_none_or(|day| day == date.day());
            fits.then_some(date)?
        }
        None => Date::new(found.year, found.month.unwrap_or(1), found.day.unwrap_or(1)).ok()?,
    };
    let civil: DateTime = date.at(hour, found.minute, found.second, 0);
    let civil = civil.with().subsec_nanosecond(found.nanos).build().ok()?;
    Moment::of(civil, found.zone.unwrap_or(Zone::UTC))
}

/// Passes what a layout has between its parts. White space of it stands for any.
fn skip<'t>(text: &'t str, between: &str) -> Option<&'t str> {
    let (mut text, mut between) = (text, between);
    while let Some(c) = between.chars().next() {
        if c == ' ' {
            if !text.is_empty() && !text.starts_with(' ') {
                return None;
            }
            between = between.trim_start_matches(' ');
            text = text.trim_start_matches(' ');
        } else {
            text = text.strip_prefix(c)?;
            between = &between[c.len_utf8()..];
        }
    }
    Some(text)
}

/// Up to `most` digits, at least `least`, and what comes after them.
fn digits(text: &str, least: usize, most: usize) -> Option<(i16, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

/// A number of one or two digits in a range.
fn number(text: &str, is_fixed: bool, range: std::ops::RangeInclusive<i16>) -> Option<(i8, &str)> {
    let (number, rest) = digits(text, if is_fixed { 2 } else { 1 }, 2)?;
    let number = range.contains(&number).then_some(number)?;
    Some((i8::try_from(number).ok()?, rest))
}

/// The place of the name that the text begins with, in either case, and what comes after it.
fn name<'t>(text: &'t str, names: &[&str], length: Option<usize>) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(n, name)| {
        let name = &name[..length.unwrap_or(name.len())];
        let begin = text.get(..name.len())?;
        begin.eq_ignore_ascii_case(name).then(|| (n, &text[name.len()..]))
    })
}

/// Takes one part; answers what comes after it.
fn take<'t>(part: Part, text: &'t str, fraction_follows: bool, found: &mut Found) -> Option<&'t str> {
    let month = |(n, rest): (usize, &'t str)| Some((i8::try_from(n + 1).ok()?, rest));
    let rest;
    match part {
        Part::LongYear => (found.year, rest) = digits(text, 4, 4)?,
        Part::Year => {
            let (year, behind) = digits(text, 2, 2)?;
            found.year = year + if year >= 69 { 1_900 } else { 2_000 };
            rest = behind;
        }
        Part::LongMonth | Part::Month => {
            let (number, behind) = month(name(text, &MONTHS, (part == Part::Month).then_some(3))?)?;
            found.month = Some(number);
            rest = behind;
        }
        Part::NumMonth | Part::ZeroMonth => {
            let (number, behind) = number(text, part == Part::ZeroMonth, 1..=12)?;
            found.month = Some(number);
            rest = behind;
        }
        Part::LongWeekday => rest = name(text, &DAYS, None)?.1,
        Part::Weekday => rest = name(text, &DAYS, Some(3))?.1,
        Part::Day | Part::UnderDay | Part::ZeroDay => {
            let text = if part == Part::UnderDay { text.strip_prefix(' ').unwrap_or(text) } else { text };
            let (number, behind) = number(text, part == Part::ZeroDay, 1..=31)?;
            found.day = Some(number);
            rest = behind;
        }
        Part::UnderYearDay | Part::ZeroYearDay => {
            let least = if part == Part::ZeroYearDay { 3 } else { 1 };
            let spaces = text.len() - text.trim_start_matches(' ').len();
            let text = if part == Part::UnderYearDay { &text[spaces.min(2)..] } else { text };
            let (number, behind) = digits(text, least, 3)?;
            found.year_day = Some(number);
            rest = behind;
        }
        Part::Hour => (found.hour, rest) = number(text, false, 0..=23)?,
        Part::Hour12 | Part::ZeroHour12 => (found.hour, rest) = number(text, part == Part::ZeroHour12, 0..=12)?,
        Part::Minute | Part::ZeroMinute => (found.minute, rest) = number(text, part == Part::ZeroMinute, 0..=59)?,
        Part::Second | Part::ZeroSecond => {
            let behind;
            (found.second, behind) = number(text, part == Part::ZeroSecond, 0..=59)?;
            // A fraction is taken although the layout has none.
            rest = if fraction_follows { behind } else { fraction(behind, found) };
        }
        Part::UpperPm | Part::LowerPm => rest = half_of_day(part, text, found)?,
        Part::Offset(form) => rest = offset(form, text, found)?,
        Part::ZoneName => rest = zone_name(text, found)?,
        Part::Fraction { trims: true, .. } => rest = fraction(text, found),
        Part::Fraction { digits, .. } => {
            let behind = fraction(text, found);
            rest = (text.len() - behind.len() == digits + 1).then_some(behind)?;
        }
    }
    Some(rest)
}

fn half_of_day<'t>(part: Part, text: &'t str, found: &mut Found) -> Option<&'t str> {
    let (am, pm) = if part == Part::UpperPm { ("AM", "PM") } else { ("am", "pm") };
    let is_pm = text.starts_with(pm);
    found.is_pm = Some(is_pm);
    text.strip_prefix(if is_pm { pm } else { am })
}

/// Takes a fraction of a second if the text begins with one.
fn fraction<'t>(text: &'t str, found: &mut Found) -> &'t str {
    let Some(digits) = text.strip_prefix(['.', ',']) else { return text };
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 {
        return text;
    }
    let shown = &digits[..count.min(9)];
    found.nanos = format!("{shown:0<9}").parse().unwrap_or(0);
    &digits[count..]
}

fn offset<'t>(form: OffsetForm, text: &'t str, found: &mut Found) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix('Z').filter(|_| form.z) {
        found.zone = Some(Zone::UTC);
        return Some(rest);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut rest = &text[1..];
    let mut seconds = 0;
    for (n, unit) in [3_600, 60, 1].into_iter().take(usize::from(form.parts)).enumerate() {
        if n > 0 && form.colons {
            rest = rest.strip_prefix(':')?;
        }
        let (part, behind) = number(rest, true, 0..=if n == 0 { 24 } else { 60 })?;
        seconds += i32::from(part) * unit;
        rest = behind;
    }
    let named = found.zone.and_then(|zone| zone.name);
    found.zone = Some(if seconds == 0 && named.is_none() { Zone::UTC } else { Zone { seconds: sign * seconds, name: named } });
    Some(rest)
}

/// A zone's abbreviation. Only UTC's has a known offset, and `GMT` with hours behind it.
fn zone_name<'t>(text: &'t str, found: &mut Found) -> Option<&'t str> {
    let length = zone_length(text)?;
    let (letters, rest) = text.split_at(length);
    let mut name = [0; 8];
    name.get_mut(..length)?.copy_from_slice(letters.as_bytes());
    let hours: i32 = letters.strip_prefix("GMT").and_then(|hours| hours.parse().ok()).unwrap_or(0);
    let seconds = found.zone.map_or(hours * 3_600, |zone| zone.seconds);
    found.zone = Some(Zone { seconds, name: Some(name) });
    Some(rest)
}

fn zone_length(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    let signed = |text: &str| {
        let digits = text.strip_prefix(['+', '-'])?;
        let (hours, rest) = self::digits(digits, 1, 2)?;
        (hours < 24).then_some(text.len() - rest.len())
    };
    if let Some(rest) = text.strip_prefix("GMT") {
        return Some(3 + signed(rest).unwrap_or(0));
    }
    if let Some(length) = signed(text) {
        return Some(length);
    }
    let letters = text.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    match letters {
        5 if text.as_bytes()[4] == b'T' => Some(5),
        4 if text.as_bytes()[3] == b'T' || text.starts_with("WITA") => Some(4),
        3 => Some(3),
        _ => None,
    }
}
