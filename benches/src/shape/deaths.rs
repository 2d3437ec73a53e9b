//! Which items die, and in what company.

use super::random::Random;

/// Bytes of a clump: items that were made one after the other, and live or die together.
pub const CLUMP_BYTES: u64 = 64 << 10;

/// How many of the items that were made stay alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// So many of a hundred, at random: the heap is left with holes of every size.
    Percent(u64),
    /// So many of a hundred clumps of [`CLUMP_BYTES`], as programs do that build and drop whole
    /// structures.
    Clumps(u64),
}

/// Decides for one item after the other.
#[derive(Debug)]
pub(super) struct Deaths {
    keep: Keep,
    /// The clump that the last item was in, counted from one, and whether that one stays.
    clump: u64,
    stays: bool,
}

impl Deaths {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, clump: 0, stays: true }
    }

    /// Whether the item that is made after `bytes` of others stays alive.
    pub(super) fn spare(&mut self, bytes: u64, random: &mut Random) -> bool {
        match self.keep {
            Keep::All => true,
            Keep::Percent(percent) => random.below(100) < percent,
            Keep::Clumps(percent) => {
                let clump = bytes / CLUMP_BYTES + 1;
                if clump != self.clump {
                    (self.clump, self.stays) = (clump, random.below(100) < percent);
                }
                self.stays
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clump_lives_or_dies_as_one() {
        let (mut deaths, mut random) = (Deaths::new(Keep::Clumps(50)), Random::new(7));
        let fates: Vec<bool> =
            (0..64 * 64).map(|kib| deaths.spare(kib << 10, &mut random)).collect();
        assert!(fates.chunks(64).all(|clump| clump.iter().all(|&fate| fate == clump[0])));
        let alive = fates.iter().filter(|&&fate| fate).count();
        assert!((1024..3072).contains(&alive), "{alive} of 4096");
    }
}
