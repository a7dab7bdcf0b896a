//! The one place that asks the operating system for randomness.

use aws_lc_rs::rand;

/// Fills `out` with random bytes.
///
/// The generator is seeded by the operating system at its first use and cannot fail afterwards; a machine without a source of
/// randomness must not run a service that makes keys, so the process ends there.
pub fn fill(out: &mut [u8]) {
    rand::fill(out).expect("the operating system gives randomness");
}

/// Random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

/// A seed for the generators that only have to be different in every process.
pub fn seed() -> u64 {
    u64::from_le_bytes(bytes())
}
