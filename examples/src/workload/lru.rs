//! A cache with churn: a hash table and a list in the order of use, values from 64 bytes to 64 KiB.

mod gc_cache;
mod malloc_cache;

use hdrhistogram::Histogram;

use super::crew::{self, Place};
use crate::cli::JobArgs;
use crate::error::Failure;
use crate::measure::StepClock;
use crate::memory::{Hand, Memory, Outcome};
use crate::progress::Progress;
use crate::random::{Random, mix};

/// How much, how often, how many.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    seed: u64,
    threads: usize,
    /// Words of values that one thread's cache may hold.
    budget_words: u64,
    rounds: u64,
}

impl Plan {
    pub(crate) fn new(job: &JobArgs) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the factor is from 0.001 to 1000"
        )]
        let budget_words = (BUDGET_WORDS * job.scale) as u64;
        Self {
            seed: job.seed,
            threads: job.threads as usize,
            budget_words: budget_words.max(4 * LARGEST_WORDS),
            rounds: job.rounds.map_or(ROUNDS, u64::from),
        }
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds * self.threads as u64
    }

    pub(crate) fn default_heap_mib(&self) -> u32 {
        let bytes = self.budget_words * 8 * 21 / 10 * self.threads as u64;
        u32::try_from((bytes >> 20) + 16).unwrap_or(u32::MAX)
    }

    /// Keys there are: about three times as many as fit.
    fn keys(&self) -> u64 {
        (3 * self.budget_words / MEAN_WORDS).max(64)
    }
}

const BUDGET_WORDS: f64 = 7.0 * 1024.0 * 1024.0;
const SMALLEST_WORDS: u64 = 8;
const LARGEST_WORDS: u64 = 8 * 1024;
/// The mean of a size that is uniform on a logarithmic scale between the two.
const MEAN_WORDS: u64 = 1180;
const ROUNDS: u64 = 200;
const ACCESSES_PER_ROUND: u64 = 10_000;
/// One access in this many drops a twentieth of the cache at once.
const CLUMP_EVERY: u64 = 20_000;

/// A thread's cache.
trait Cache: Hand {
    /// A hash over the value of a key, which becomes the last one used.
    fn get(&mut self, key: u64) -> Option<u64>;

    /// Stores a value that is not there yet, as the last one used.
    fn insert(&mut self, key: u64, words: u32) -> Result<(), Failure>;

    /// Removes a key; gives the words that its value had.
    fn remove(&mut self, key: u64) -> Option<u32>;

    /// Removes the key that was not used for the longest time; gives the words of its value.
    fn evict(&mut self) -> Option<u32>;

    fn into_clock(self) -> StepClock;
}

/// What word `at` of a key's value holds.
fn value_word(key: u64, at: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9).wrapping_add(at)
}

/// The hash of a hit: a few words all over the value.
fn hash_value(words: usize, word: impl Fn(usize) -> u64) -> u64 {
    let step = (words / 8).max(1);
    (0..words).step_by(step).fold(words as u64, |hash, at| mix(hash, word(at)))
}

/// Runs the workload on a memory.
pub(crate) fn run(plan: &Plan, memory: &Memory, progress: &Progress) -> Result<Outcome, Failure> {
    crew::run(plan.threads, memory, |place| match (memory, place.kept) {
        (Memory::Heap(heap), Some(kept)) => {
            let cache = gc_cache::GcCache::new(heap, kept, plan.keys())?;
            churn(plan, &place, cache, progress)
        }
        _ => churn(plan, &place, malloc_cache::MallocCache::new(), progress),
    })
}

/// One thread's accesses.
fn churn<C: Cache>(
    plan: &Plan,
    place: &Place<'_>,
    mut cache: C,
    progress: &Progress,
) -> Result<(u64, Histogram<u64>), Failure> {
    let mut random = Random::new(mix(plan.seed, place.thread));
    let keys = plan.keys();
    let mut used_words = 0;
    let mut sum = 0;
    for _ in 0..plan.rounds {
        cache.blocking(|| place.gate.pass())?;
        cache.clock().resume();
        for _ in 0..ACCESSES_PER_ROUND {
            // Few keys are asked for often, most seldom: like Zipf's law.
            let key = random.log_uniform(1, keys);
            if let Some(hash) = cache.get(key) {
                sum = mix(sum, hash);
            } else {
                let words = mix(plan.seed, key);
                let words = Random::new(words).log_uniform(SMALLEST_WORDS, LARGEST_WORDS);
                while used_words + words > plan.budget_words {
                    used_words -=
                        u64::from(cache.evict().expect("the cache holds what it has used"));
                }
                let count = u32::try_from(words).expect("values are small");
                cache.insert(key, count)?;
                used_words += words;
                sum = mix(sum, key);
            }
            // A single death anywhere, and now and then a clump of old ones.
            if random.below(16) == 0 {
                let key = 1 + random.below(keys);
                used_words -= u64::from(cache.remove(key).unwrap_or(0));
            }
            if random.below(CLUMP_EVERY) == 0 {
                let goal = used_words - used_words / 20;
                while used_words > goal {
                    used_words -=
                        u64::from(cache.evict().expect("the cache holds what it has used"));
                }
            }
        }
        progress.advance();
    }
    Ok((mix(sum, used_words), cache.into_clock().into_gaps()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Bars;

    #[test]
    fn heap_and_malloc_have_the_same_hits() {
        let plan = Plan { seed: 1, threads: 2, budget_words: 200_000, rounds: 2 };
        let progress = Progress::new(Bars::Hidden, "test", 1);
        let heap = gc_runtime::Heap::builder().limit_bytes(16 << 20).build().unwrap();
        let on_heap = run(&plan, &Memory::Heap(heap.clone()), &progress).unwrap();
        let on_malloc = run(&plan, &Memory::Malloc, &progress).unwrap();
        assert_eq!(on_heap.checksum, on_malloc.checksum);
        assert!(heap.verify().unwrap().objects > 100, "the caches are still there");
    }
}
