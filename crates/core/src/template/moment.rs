//! Times, as Go has them, and their functions.

use super::eval::Tools;
use super::layout::{self, Fields};
use super::meter::{Draft, Fault, Meter};
use super::text;
use super::value::Value;
use crate::time::Timestamp;
use jiff::tz::{Offset, TimeZone};

type Answer<'a> = Result<Value<'a>, Fault>;

/// An instant and the zone that it is shown in. Equal are those of one instant, as for Go's `Equal`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: jiff::Timestamp,
    zone: Zone,
}

/// A zone: how far from UTC, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    /// East of UTC.
    pub(super) seconds: i32,
    /// Up to eight letters and digits; none for a zone that has only an offset.
    pub(super) name: Option<[u8; 8]>,
}

impl Zone {
    pub(super) const UTC: Zone = Zone { seconds: 0, name: Some(*b"UTC\0\0\0\0\0") };

    /// What it is called, if it has a name.
    pub(super) fn letters(&self) -> Option<&str> {
        let name = self.name.as_ref()?;
        std::str::from_utf8(name).ok().map(|name| name.trim_end_matches('\0'))
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Moment {
    /// An instant in UTC.
    pub(super) fn at(timestamp: Timestamp) -> Self {
        let at = jiff::Timestamp::from_microsecond(timestamp.as_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Moment { at, zone: Zone::UTC }
    }

    /// The instant at which clocks of that zone show this; `None` beyond the years that can be.
    pub(super) fn of(civil: jiff::civil::DateTime, zone: Zone) -> Option<Self> {
        let offset = Offset::from_seconds(zone.seconds).ok()?;
        let at = offset.to_timestamp(civil).ok()?;
        Some(Moment { at, zone })
    }

    /// RFC 3339 with any offset.
    fn parse(text: &str) -> Option<Self> {
        layout::parse("2006-01-02T15:04:05Z07:00", text).ok()
    }

    fn fields(&self) -> Fields {
        let offset = Offset::from_seconds(self.zone.seconds).unwrap_or(Offset::UTC);
        Fields { civil: self.at.to_zoned(TimeZone::fixed(offset)).datetime(), zone: self.zone }
    }

    /// As Go's `Format` writes it.
    pub(super) fn format(&self, layout: &str, draft: &mut Draft<'_>) -> Result<(), Fault> {
        // A part can be written as nothing, so what is pushed does not count them.
        draft.meter.step(layout.len())?;
        layout::format(layout, &self.fields(), &mut |piece| draft.push(piece))
    }

    fn written(&self, layout: &str) -> String {
        let mut text = String::new();
        let taken: Result<(), ()> = layout::format(layout, &self.fields(), &mut |piece| {
            text.push_str(piece);
            Ok(())
        });
        debug_assert!(taken.is_ok(), "nothing refuses a piece");
        text
    }

    /// As Go's `String` has it: `2026-01-02 15:04:05.5 +0000 UTC`.
    pub(super) fn shown(&self) -> String {
        self.written("2006-01-02 15:04:05.999999999 -0700 MST")
    }

    /// As JSON has it, with as many digits of a second as there are.
    pub(super) fn rfc3339(&self) -> String {
        self.written("2006-01-02T15:04:05.999999999Z07:00")
    }

    /// The methods that Go's times have and that are of use here.
    pub(super) fn method<'a>(&self, name: &str, args: &[Value<'a>], meter: &mut Meter) -> Answer<'a> {
        meter.step(1)?;
        let wanted = usize::from(name == "Format");
        let civil = self.fields().civil;
        let value = match name {
            "Format" if args.len() == 1 => {
                let mut draft = Draft::new(meter);
                self.format(text::string(&args[0])?, &mut draft)?;
                return Ok(draft.into_value());
            }
            "Unix" => Value::int(self.at.as_second()),
            "UnixMilli" => Value::int(self.at.as_millisecond()),
            "UTC" => Value::Time(Moment { at: self.at, zone: Zone::UTC }),
            "Year" => Value::int(i64::from(civil.year())),
            "YearDay" => Value::int(i64::from(civil.day_of_year())),
            "Day" => Value::int(i64::from(civil.day())),
            "Hour" => Value::int(i64::from(civil.hour())),
            "Minute" => Value::int(i64::from(civil.minute())),
            "Second" => Value::int(i64::from(civil.second())),
            "Format" => Value::Missing,
            other => return Err(Fault::failed(format!("can't evaluate field {other} in type time.Time"))),
        };
        if args.len() == wanted {
            return Ok(value);
        }
        Err(Fault::failed(format!("wrong number of args for {name}: want {wanted} got {}", args.len())))
    }
}

/// The instant of the rendering.
pub(super) fn now<'a>(tools: &mut Tools<'_>, _: &[Value<'a>]) -> Answer<'a> {
    Ok(Value::Time(tools.now))
}

/// formatTime(layout, time): a time, or a text in RFC 3339, such as `.timestamp`.
pub(super) fn format_time<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let layout = text::string(&args[0])?;
    let moment = match &args[1] {
        Value::Time(moment) => *moment,
        Value::Text(text) => {
            let moment = Moment::parse(text.as_str());
            moment.ok_or_else(|| Fault::failed("a text that is formatted as a time must be RFC 3339: read others with parseTime"))?
        }
        other => return Err(Fault::failed(format!("wrong type for value; expected time.Time; got {}", other.type_name()))),
    };
    let mut draft = Draft::new(tools.meter);
    moment.format(layout, &mut draft)?;
    Ok(draft.into_value())
}

/// parseTime(layout, text)
pub(super) fn parse_time<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (layout, text) = (text::string(&args[0])?, text::string(&args[1])?);
    tools.meter.step(layout.len())?;
    layout::parse(layout, text).map(Value::Time).map_err(Fault::failed)
}
