//! A thread of the baseline: ordinary Rust data, with its steps counted the same way.

use crate::measure::StepClock;
use crate::memory::Hand;

/// The counterpart of [`crate::gc_memory::GcHand`].
pub(crate) struct MallocHand {
    clock: StepClock,
    allocations: u32,
}

impl MallocHand {
    pub(crate) fn new() -> Self {
        Self { clock: StepClock::start(), allocations: 0 }
    }

    /// Something was allocated: 64 of these are a step.
    pub(crate) fn count_allocation(&mut self) {
        self.allocations = self.allocations.wrapping_add(1);
        if self.allocations.is_multiple_of(64) {
            self.clock.step();
        }
    }

    /// A step is done.
    pub(crate) fn poll(&mut self) {
        self.clock.step();
    }

    pub(crate) fn into_clock(self) -> StepClock {
        self.clock
    }
}

impl Hand for MallocHand {
    fn clock(&mut self) -> &mut StepClock {
        &mut self.clock
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        wait()
    }
}
