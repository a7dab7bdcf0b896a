//! Go's layouts of times: the reference time, Mon Jan 2 15:04:05 MST 2006, written as other times shall be.

use super::moment::Zone;
use jiff::civil::DateTime;

mod parse;

pub(super) use parse::parse;

/// What clocks and calendars show.
pub(super) struct Fields {
    pub(super) civil: DateTime,
    pub(super) zone: Zone,
}

pub(super) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// How an offset from UTC is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetForm {
    /// Whether UTC is `Z`.
    pub(super) z: bool,
    pub(super) colons: bool,
    /// Hours, minutes, seconds: 1 to 3 parts.
    pub(super) parts: u8,
}

/// A part of a layout that stands for a part of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    Offset(OffsetForm),
    /// A point or a comma, and so many digits; whether zeros at the end are left out.
    Fraction {
        point: u8,
        digits: usize,
        trims: bool,
    },
}

/// Parts without an offset or a fraction. Longer ones come before those that they begin with.
const PLAIN: [(&str, Part); 28] = [
    ("January", Part::LongMonth),
    ("Jan", Part::Month),
    ("Monday", Part::LongWeekday),
    ("Mon", Part::Weekday),
    ("MST", Part::ZoneName),
    ("01", Part::ZeroMonth),
    ("002", Part::ZeroYearDay),
    ("02", Part::ZeroDay),
    ("03", Part::ZeroHour12),
    ("04", Part::ZeroMinute),
    ("05", Part::ZeroSecond),
    ("06", Part::Year),
    ("15", Part::Hour),
    ("1", Part::NumMonth),
    ("2006", Part::LongYear),
    ("2", Part::Day),
    ("__2", Part::UnderYearDay),
    ("_2", Part::UnderDay),
    ("3", Part::Hour12),
    ("4", Part::Minute),
    ("5", Part::Second),
    ("PM", Part::UpperPm),
    ("pm", Part::LowerPm),
    ("-07", Part::Offset(OffsetForm { z: false, colons: false, parts: 1 })),
    ("Z070000", Part::Offset(OffsetForm { z: true, colons: false, parts: 3 })),
    ("Z07:00:00", Part::Offset(OffsetForm { z: true, colons: true, parts: 3 })),
    ("Z0700", Part::Offset(OffsetForm { z: true, colons: false, parts: 2 })),
    ("Z07", Part::Offset(OffsetForm { z: true, colons: false, parts: 1 })),
];

/// Offsets that begin as a shorter one does.
const LONGER: [(&str, Part); 5] = [
    ("-070000", Part::Offset(OffsetForm { z: false, colons: false, parts: 3 })),
    ("-07:00:00", Part::Offset(OffsetForm { z: false, colons: true, parts: 3 })),
    ("-0700", Part::Offset(OffsetForm { z: false, colons: false, parts: 2 })),
    ("-07:00", Part::Offset(OffsetForm { z: false, colons: true, parts: 2 })),
    ("Z07:00", Part::Offset(OffsetForm { z: true, colons: true, parts: 2 })),
];

/// The first part of a layout: what stands before it, it, and what comes after it.
pub(super) fn next_part(layout: &str) -> (&str, Option<(Part, &str)>) {
    for (at, first) in layout.bytes().enumerate() {
        if !matches!(first, b'J' | b'M' | b'0'..=b'5' | b'_' | b'P' | b'p' | b'-' | b'Z' | b'.' | b',') {
            continue;
        }
        let rest = &layout[at..];
        // `_2006` is an underscore and a year.
        if rest.starts_with("_2006") {
            continue;
        }
        if let Some((part, length)) = part_at(rest) {
            return (&layout[..at], Some((part, &rest[length..])));
        }
    }
    (layout, None)
}

fn part_at(rest: &str) -> Option<(Part, usize)> {
    if let Some(found) = fraction_at(rest) {
        return Some(found);
    }
    let (text, part) = LONGER.iter().chain(&PLAIN).find(|(text, _)| rest.starts_with(text))?;
    let runs_on = matches!(part, Part::Month | Part::Weekday) && rest[text.len()..].starts_with(|c: char| c.is_ascii_lowercase());
    (!runs_on).then_some((*part, text.len()))
}

fn fraction_at(rest: &str) -> Option<(Part, usize)> {
    let bytes = rest.as_bytes();
    let (point, digit) = (*bytes.first()?, *bytes.get(1)?);
    if !matches!(point, b'.' | b',') || !matches!(digit, b'0' | b'9') {
        return None;
    }
    let digits = bytes[1..].iter().take_while(|b| **b == digit).count();
    let ends = !bytes.get(1 + digits).is_some_and(u8::is_ascii_digit);
    ends.then_some((Part::Fraction { point, digits, trims: digit == b'9' }, 1 + digits))
}

/// Writes a time in a layout, piece by piece.
pub(super) fn format<E>(layout: &str, time: &Fields, put: &mut impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let mut rest = layout;
    loop {
        let (before, found) = next_part(rest);
        put(before)?;
        let Some((part, behind)) = found else { return Ok(()) };
        put(&written(part, time))?;
        rest = behind;
    }
}

fn written(part: Part, time: &Fields) -> String {
    let civil = &time.civil;
    let month = MONTHS[usize::from(civil.month().unsigned_abs()).clamp(1, 12) - 1];
    let weekday = DAYS[usize::from(civil.weekday().to_sunday_zero_offset().unsigned_abs()) % 7];
    let hour12 = if civil.hour() % 12 == 0 { 12 } else { civil.hour() % 12 };
    let is_pm = civil.hour() >= 12;
    match part {
        Part::LongMonth => month.to_owned(),
        Part::Month => month[..3].to_owned(),
        Part::NumMonth => civil.month().to_string(),
        Part::ZeroMonth => format!("{:02}", civil.month()),
        Part::LongWeekday => weekday.to_owned(),
        Part::Weekday => weekday[..3].to_owned(),
        Part::Day => civil.day().to_string(),
        Part::UnderDay => format!("{:2}", civil.day()),
        Part::ZeroDay => format!("{:02}", civil.day()),
        Part::UnderYearDay => format!("{:3}", civil.day_of_year()),
        Part::ZeroYearDay => format!("{:03}", civil.day_of_year()),
        Part::Hour => format!("{:02}", civil.hour()),
        Part::Hour12 => hour12.to_string(),
        Part::ZeroHour12 => format!("{hour12:02}"),
        Part::Minute => civil.minute().to_string(),
        Part::ZeroMinute => format!("{:02}", civil.minute()),
        Part::Second => civil.second().to_string(),
        Part::ZeroSecond => format!("{:02}", civil.second()),
        Part::LongYear if civil.year() < 0 => format!("-{:04}", civil.year().unsigned_abs()),
        Part::LongYear => format!("{:04}", civil.year()),
        Part::Year => format!("{:02}", civil.year().rem_euclid(100)),
        Part::UpperPm => if is_pm { "PM" } else { "AM" }.to_owned(),
        Part::LowerPm => if is_pm { "pm" } else { "am" }.to_owned(),
        Part::ZoneName => match time.zone.letters() {
            Some(letters) => letters.to_owned(),
            None => offset(OffsetForm { z: false, colons: false, parts: 2 }, time.zone.seconds),
        },
        Part::Offset(form) => offset(form, time.zone.seconds),
        Part::Fraction { point, digits, trims } => fraction(point, digits, trims, civil.subsec_nanosecond()),
    }
}

fn offset(form: OffsetForm, seconds: i32) -> String {
    if form.z && seconds == 0 {
        return "Z".to_owned();
    }
    let size = seconds.unsigned_abs();
    let parts = [size / 3_600, size / 60 % 60, size % 60];
    let mut text = String::from(if seconds < 0 { "-" } else { "+" });
    for (n, part) in parts.iter().take(usize::from(form.parts)).enumerate() {
        text.push_str(if n > 0 && form.colons { ":" } else { "" });
        text.push_str(&format!("{part:02}"));
    }
    text
}

fn fraction(point: u8, digits: usize, trims: bool, nanos: i32) -> String {
    let all = format!("{:09}", nanos.unsigned_abs());
    let cut = &all[..digits.min(9)];
    let shown = if trims { cut.trim_end_matches('0') } else { cut };
    if shown.is_empty() { String::new() } else { format!("{}{shown}", char::from(point)) }
}
