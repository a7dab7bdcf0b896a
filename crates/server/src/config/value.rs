//! How durations, sizes and networks are written in flags, environment and file.

use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// Units of durations with their length in milliseconds, longest first.
const SPAN_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of sizes with their length in bytes, longest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A text that never shows itself: not in a log, not in the printed configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text, for what it is needed for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A duration such as `72h`, `90s`, `1h30m` or `500ms`, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// From whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Span(Duration::from_secs(secs))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a duration: write it like 72h, 10s, 500ms or 1h30m (units d, h, m, s, ms)");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let mut millis = 0u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let number: u64 = number.parse().map_err(|_| bad())?;
            let (_, length) = SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
            millis = number.checked_mul(*length).and_then(|m| millis.checked_add(m)).ok_or_else(bad)?;
            rest = tail;
        }
        Ok(Span(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let exact = SPAN_UNITS.iter().find(|(_, length)| millis > 0 && millis.is_multiple_of(*length));
        match exact {
            Some((unit, length)) => write!(f, "{}{unit}", millis / length),
            None => f.write_str("0s"),
        }
    }
}

/// A number of bytes such as `1MiB`, `512KiB` or `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a size: write it like 1MiB, 512KiB or a number of bytes (units B, KiB, MiB, GiB)");
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let unit = unit.trim_start();
        let length = if unit.is_empty() { 1 } else { SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?.1 };
        number.checked_mul(length).map(Size).ok_or_else(bad)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS.iter().find(|(_, length)| self.0 > 0 && self.0.is_multiple_of(*length));
        match exact {
            Some((unit, length)) => write!(f, "{}{unit}", self.0 / length),
            None => f.write_str("0B"),
        }
    }
}

/// A part of a whole such as `0.1`, in whole hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// How many hundredths, 0 to 100.
    pub percent: u8,
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share: Option<f64> = text.trim().parse().ok();
        let percent = (0..=100).find(|percent| share.is_some_and(|share| (share * 100.0 - f64::from(*percent)).abs() < 1e-6));
        percent
            .map(|percent| Share { percent })
            .ok_or_else(|| format!("{text:?} is not a share: write it like 0.1, from 0 to 1 in hundredths"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.percent) / 100.0)
    }
}

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(|net| Network(net.trunc()))
            .map_err(|_| format!("{text:?} is not a network: write it like 10.0.0.0/8, fd00::/8 or 192.168.1.20"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

struct Text<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotation marks")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

macro_rules! from_text {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text(std::marker::PhantomData))
            }
        }
    )*};
}

from_text! { Span Size Share Network }

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_and_print() {
        let read = |text: &str| text.parse::<Span>().map(|s| s.0);
        assert_eq!(read("72h"), Ok(Duration::from_secs(72 * 3_600)));
        assert_eq!(read("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(read("0s"), Ok(Duration::ZERO));
        for bad in ["", "10", "h", "10 s", "-1s", "1.5h", "10y", "99999999999999999999d", "18446744073709551615d"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Span::secs(259_200).to_string(), "3d");
        assert_eq!(Span(Duration::from_millis(1_500)).to_string(), "1500ms");
        assert_eq!(Span(Duration::ZERO).to_string(), "0s");
    }

    #[test]
    fn sizes_read_and_print() {
        let read = |text: &str| text.parse::<Size>().map(|s| s.0);
        assert_eq!((read("1MiB"), read("4096"), read("2 KiB"), read("7B")), (Ok(1 << 20), Ok(4_096), Ok(2_048), Ok(7)));
        for bad in ["", "MiB", "1MB", "1.5MiB", "-1", "99999999999GiB"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_read_and_print() {
        let read = |text: &str| text.parse::<Share>().map(|share| share.percent);
        assert_eq!((read("0"), read("0.1"), read("0.29"), read(".5"), read("1")), (Ok(0), Ok(10), Ok(29), Ok(50), Ok(100)));
        for bad in ["", "10%", "0.105", "-0.1", "1.01", "NaN", "x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for percent in 0..=100 {
            assert_eq!(read(&Share { percent }.to_string()), Ok(percent));
        }
    }

    #[test]
    fn networks_read() {
        assert_eq!("10.1.2.3/8".parse::<Network>().map(|n| n.to_string()), Ok(String::from("10.0.0.0/8")));
        assert_eq!("::1".parse::<Network>().map(|n| n.to_string()), Ok(String::from("::1/128")));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
        assert!("example.com".parse::<Network>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_the_same(millis in 0u64..1 << 50, bytes: u64) {
            let span = Span(Duration::from_millis(millis));
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
            prop_assert_eq!(Size(bytes).to_string().parse::<Size>(), Ok(Size(bytes)));
        }
    }
}
