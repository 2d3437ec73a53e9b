//! Two numbers in one word.

/// The word with `low` in its low half and `high` in its high one.
#[inline(always)]
pub(crate) fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The low half and the high one.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "halves of a word")]
pub(crate) fn split(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_joined_is_split_again() {
        for halves in [(0, 0), (1, 0), (0, 1), (u32::MAX, 7), (7, u32::MAX)] {
            assert_eq!(split(join(halves.0, halves.1)), halves);
        }
        assert_eq!(join(1, 2), 0x2_0000_0001);
    }
}
