//! Threads that each have data of their own: how `trees` and `lru` run.

use std::time::Instant;

use gc_runtime::GlobalRoot;
use hdrhistogram::Histogram;

use crate::error::Failure;
use crate::gate::{BreakOnFailure, Gate};
use crate::measure::new_histogram;
use crate::memory::{Memory, Outcome};
use crate::random::mix;

/// What a thread gets: its number, the gate, and a root that outlives it (on the heap).
pub(super) struct Place<'a> {
    pub(super) thread: u64,
    pub(super) gate: &'a Gate,
    pub(super) kept: Option<&'a GlobalRoot>,
}

/// Runs `work` on each of so many threads; it gives a checksum and the thread's gaps.
///
/// The first failure breaks the gate, so that no thread waits for one that has gone.
pub(super) fn run<W>(threads: usize, memory: &Memory, work: W) -> Result<Outcome, Failure>
where
    W: Fn(Place<'_>) -> Result<(u64, Histogram<u64>), Failure> + Sync,
{
    let gate = Gate::new(threads);
    let kept: Vec<_> = match memory {
        Memory::Heap(heap) => (0..threads).map(|_| heap.global_root()).collect(),
        Memory::Malloc => Vec::new(),
    };
    let start = Instant::now();
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let place = Place { thread: thread as u64, gate: &gate, kept: kept.get(thread) };
                let work = &work;
                scope.spawn(move || {
                    let guard = BreakOnFailure::new(place.gate);
                    let result = work(place)?;
                    guard.all_went_well();
                    Ok(result)
                })
            })
            .collect();
        let join = "a thread of the workload has panicked";
        running.into_iter().map(|thread| thread.join().expect(join)).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let mut outcome = Outcome { checksum: 0, gaps: new_histogram(), seconds, kept };
    let mut failure: Option<Failure> = None;
    for result in results {
        match result {
            Ok((sum, gaps)) => {
                outcome.checksum = mix(outcome.checksum, sum);
                outcome.gaps.add(gaps).expect("all gap histograms have the same bounds");
            }
            Err(new) => failure = Some(failure.unwrap_or(Failure::Stopped).or_cause(new)),
        }
    }
    failure.map_or(Ok(outcome), Err)
}
