//! Faults near each other: the second one in a tract of pages gets all that is left of it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::halves;

/// Tracts that are remembered at a time: a few for each of the mutators that run.
const RECENT: usize = 8;

/// One more than the tract's number is remembered, and with it how much of the tract was built.
const CLUSTER: u32 = 0;
const ALL: u32 = 1;

/// Where the last faults were. They are hints: what two threads do at the same time may be forgotten.
#[derive(Debug, Default)]
pub(crate) struct NearFaults {
    recent: [AtomicU64; RECENT],
    next: AtomicUsize,
}

impl NearFaults {
    /// Another compaction begins.
    pub(crate) fn forget(&self) {
        self.recent.iter().for_each(|recent| recent.store(0, Ordering::Relaxed));
    }

    /// The pages that a fault on `page` builds: the `cluster` it is in, or the `tract`, if one of the last
    /// faults was in the same tract, or got all of the one before. Both are sizes in pages, the second a
    /// multiple of the first.
    pub(crate) fn pages_for(&self, page: u32, cluster: u32, tract: u32) -> Range<u32> {
        let few = aligned(page, cluster);
        if cluster == tract {
            return few;
        }
        let number = page / tract;
        for recent in &self.recent {
            let word = recent.load(Ordering::Relaxed);
            let goes_on = match halves::split(word) {
                (0, _) => false,
                // What is missing there could not be built.
                (seen, ALL) if seen == number + 1 => return few,
                (seen, built) => seen == number + u32::from(built == CLUSTER),
            };
            let all = halves::join(number + 1, ALL);
            if goes_on
                && recent.compare_exchange(word, all, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                return aligned(page, tract);
            }
        }
        let slot = self.next.fetch_add(1, Ordering::Relaxed) % RECENT;
        self.recent[slot].store(halves::join(number + 1, CLUSTER), Ordering::Relaxed);
        few
    }
}

/// The `size` pages that `page` is among.
fn aligned(page: u32, size: u32) -> Range<u32> {
    let start = page / size * size;
    start..start.saturating_add(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACT: u32 = 256;

    fn built(near: &NearFaults, page: u32) -> Range<u32> {
        near.pages_for(page, 16, TRACT)
    }

    #[test]
    fn the_second_fault_in_a_tract_gets_the_tract() {
        let near = NearFaults::default();
        assert_eq!(built(&near, 700), 688..704);
        assert_eq!(built(&near, 520), 512..768);
        assert_eq!(
            built(&near, 600),
            592..608,
            "what could not be built is not tried as a whole again"
        );
    }

    #[test]
    fn who_walks_gets_tract_after_tract() {
        let near = NearFaults::default();
        let walk = [0, 16, 256, 530].map(|page| built(&near, page));
        assert_eq!(walk, [0..16, 0..256, 256..512, 512..768]);
        // Not one further, and not backwards.
        assert_eq!(built(&near, 5 * TRACT), 1280..1296);
        assert_eq!(built(&near, TRACT - 1), 240..256);
    }

    #[test]
    fn walks_do_not_disturb_each_other() {
        let near = NearFaults::default();
        for (page, one, other) in
            [(0, 0..16, 6400..6416), (40, 0..256, 6400..6656), (256, 256..512, 6656..6912)]
        {
            assert_eq!(built(&near, page), one);
            assert_eq!(built(&near, page + 6400), other);
        }
    }

    #[test]
    fn who_jumps_gets_a_cluster() {
        let near = NearFaults::default();
        for tract in [9, 4, 100, 2, 1000, 6] {
            let page = tract * TRACT + 40;
            assert_eq!(built(&near, page), page - 8..page + 8);
        }
    }

    #[test]
    fn another_compaction_begins_with_clusters() {
        let near = NearFaults::default();
        assert_eq!([3, 3].map(|page| built(&near, page)), [0..16, 0..256]);
        near.forget();
        assert_eq!([3, 3].map(|page| built(&near, page)), [0..16, 0..256]);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let near = NearFaults::default();
        for tract in 0..=u32::try_from(RECENT).unwrap() {
            built(&near, 3 * tract * TRACT);
        }
        assert_eq!(built(&near, 100), 96..112);
        assert_eq!(built(&near, 6 * TRACT + 100), 6 * TRACT..7 * TRACT);
    }

    #[test]
    fn where_a_tract_is_a_cluster_nothing_is_remembered() {
        let near = NearFaults::default();
        assert_eq!([3, 20, 5].map(|page| near.pages_for(page, 16, 16)), [0..16, 16..32, 0..16]);
    }
}
