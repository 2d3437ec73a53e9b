//! Seeded random numbers and the mixing function of all checksums.

/// A small generator (SplitMix64): the same seed gives the same run on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: mix(seed, 0x5eed) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        finish(self.state)
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The bias is at most bound / 2^64: no matter here.
        self.next() % bound
    }

    /// An index into a slice of this length, which must not be 0.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("the result is below a usize")
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number from `low` to `high`, small ones as likely as large ones on a logarithmic scale.
    pub(crate) fn log_uniform(&mut self, low: u64, high: u64) -> u64 {
        let value = low as f64 * (high as f64 / low as f64).powf(self.unit());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value lies between two u64 numbers"
        )]
        let whole = value as u64;
        whole.clamp(low, high)
    }
}

/// Mixes a value into a running hash.
pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    finish(hash.rotate_left(23).wrapping_mul(0x9fb2_1c65_1e98_df25) ^ value.wrapping_add(GOLDEN))
}

/// The bytes as little-endian words, the last one padded with zeros.
///
/// This is how text lies in the heap's data words, and how it is hashed everywhere.
pub(crate) fn packed(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    (0..bytes.len().div_ceil(8)).map(|index| packed_word(bytes, index))
}

/// Word `index` of [`packed`].
pub(crate) fn packed_word(bytes: &[u8], index: usize) -> u64 {
    let rest = &bytes[index * 8..];
    match rest.first_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The hash of a string, never 0.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    packed(bytes).fold(bytes.len() as u64, mix).max(1)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_pads_the_last_word_with_zeros() {
        let words: Vec<u64> = packed(b"abcdefghi").collect();
        assert_eq!(words, [u64::from_le_bytes(*b"abcdefgh"), u64::from(b'i')]);
        assert_eq!(packed(b"").count(), 0);
    }

    #[test]
    fn log_uniform_stays_in_its_range() {
        let mut random = Random::new(7);
        for _ in 0..1000 {
            assert!((64..=65536).contains(&random.log_uniform(64, 65536)));
        }
    }
}
