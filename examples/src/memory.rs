//! What a workload's thread needs from any memory, whatever it builds there.

use gc_runtime::{GlobalRoot, Heap};
use hdrhistogram::Histogram;

use crate::measure::StepClock;

/// Where a workload keeps its data.
#[derive(Clone)]
pub(crate) enum Memory {
    /// The heap, over one of the transports.
    Heap(Heap),
    /// Ordinary Rust data: the baseline.
    Malloc,
}

/// One thread of a workload and its access to memory.
pub(crate) trait Hand {
    /// The clock that this thread's steps are measured with.
    fn clock(&mut self) -> &mut StepClock;

    /// Runs something that may wait, so that nobody need wait for this thread.
    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R;
}

/// What a workload hands back.
pub(crate) struct Outcome {
    /// The same for every memory and every number of threads that share the work.
    pub(crate) checksum: u64,
    /// The time between two steps, all threads together, in nanoseconds.
    pub(crate) gaps: Histogram<u64>,
    /// The time from the first step to the last, in seconds.
    pub(crate) seconds: f64,
    /// Holds the live data until the heap has been verified.
    pub(crate) kept: Vec<GlobalRoot>,
}
