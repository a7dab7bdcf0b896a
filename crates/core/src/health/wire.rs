//! A tally as it is stored. It is read and written once for each endpoint and group of results, so that it is short and quick to read: numbers
//! of seven bits a byte, and of an hour only those that are not zero. An endpoint that takes everything has some 15 bytes for each hour.

use super::{HealthTally, NUMBERS, Results, WINDOW_HOURS};
use crate::time::Timestamp;

/// What comes first in a tally that is not empty.
const VERSION: u8 = 1;

// Which instants there are besides the first one.
const HAS_SUCCESS: u64 = 1;
const HAS_FAILURE: u64 = 2;

impl HealthTally {
    /// The tally as bytes; none for that of an endpoint without results.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Some(first) = self.first_at else { return Vec::new() };
        let mut bytes = vec![VERSION];
        let flag = |at: Option<Timestamp>, flag| if at.is_some() { flag } else { 0 };
        put(&mut bytes, flag(self.last_success_at, HAS_SUCCESS) | flag(self.last_failure_at, HAS_FAILURE));
        for at in std::iter::once(first).chain(self.last_success_at).chain(self.last_failure_at) {
            put_signed(&mut bytes, at.as_micros());
        }
        put(&mut bytes, self.failures_in_a_row.into());
        let mut last = 0_i64;
        for (hour, results) in &self.hours {
            put_signed(&mut bytes, hour.wrapping_sub(last));
            last = *hour;
            let numbers = results.numbers;
            put(&mut bytes, (0..NUMBERS).filter(|n| numbers[*n] != 0).fold(0, |mask, n| mask | 1 << n));
            numbers.into_iter().filter(|number| *number != 0).for_each(|number| put(&mut bytes, number));
        }
        bytes
    }

    /// The tally that was made into these bytes; `None` if there is none like that.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(HealthTally::default());
        }
        let mut bytes = bytes.strip_prefix(&[VERSION])?;
        let bytes = &mut bytes;
        let flags = take(bytes)?;
        let mut at = |is_there: bool| if is_there { take_signed(bytes).map(|at| Some(Timestamp::from_micros(at))) } else { Some(None) };
        let (first_at, last_success_at, last_failure_at) = (at(true)?, at(flags & HAS_SUCCESS != 0)?, at(flags & HAS_FAILURE != 0)?);
        let failures_in_a_row = u32::try_from(take(bytes)?).ok()?;
        let mut hours: Vec<(i64, Results)> = Vec::new();
        while !bytes.is_empty() {
            let last = hours.last().map(|(hour, _)| *hour);
            let hour = last.unwrap_or(0).checked_add(take_signed(bytes)?)?;
            let oldest = hours.first().map_or(hour, |(oldest, _)| *oldest);
            if last.is_some_and(|last| hour <= last) || hour.checked_sub(oldest)? >= WINDOW_HOURS {
                return None;
            }
            hours.push((hour, take_results(bytes)?));
        }
        Some(HealthTally { first_at, last_success_at, last_failure_at, failures_in_a_row, hours })
    }
}

fn take_results(bytes: &mut &[u8]) -> Option<Results> {
    let mask = take(bytes)?;
    let mut results = Results::default();
    for (n, number) in results.numbers.iter_mut().enumerate() {
        if mask >> n & 1 == 1 {
            *number = take(bytes)?;
        }
    }
    (mask >> NUMBERS == 0).then_some(results)
}

/// Writes a number, seven bits a byte.
pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads what [`put`] wrote; `None` where that is no such number.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The sign comes last, so that small numbers are short whatever their sign.
fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, (number << 1 ^ number >> 63) as u64);
}

fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let number = take(bytes)?;
    Some((number >> 1) as i64 ^ -((number & 1) as i64))
}
