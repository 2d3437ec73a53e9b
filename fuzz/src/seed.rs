//! A number that stands for a case.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) const FIRST: Self = Self(1);

    pub(crate) fn of_the_clock() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(mixed(now.as_secs() << 30 ^ u64::from(now.subsec_nanos())))
    }

    /// Reads what [`fmt::Display`] writes, or a decimal number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
        .map(Self)
    }

    pub(crate) fn next(self) -> Self {
        Self(mixed(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    }

    /// The case, to be decoded: from 32 bytes to 8 KiB, every size about as often as its double.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let size = 32usize << (mixed(self.0) % 9);
        let words = (1..).map(|at: u64| mixed(self.0 ^ mixed(at)));
        words.flat_map(u64::to_le_bytes).take(size).collect()
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The finaliser of a well-known family of hashes: every bit of the input changes half of the
/// output.
fn mixed(mut word: u64) -> u64 {
    word ^= word >> 30;
    word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word ^= word >> 27;
    word = word.wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
