//! A thread's access to the heap, with its steps counted.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use gc_runtime::{Heap, Local, Mutator, Record, RootIndex};

use crate::error::Failure;
use crate::measure::StepClock;
use crate::memory::Hand;
use crate::random::packed;

/// A mutator that counts its steps.
///
/// Reading goes straight to the [`Mutator`]; everything that can be a safepoint goes through here.
pub(crate) struct GcHand {
    mutator: Mutator,
    clock: StepClock,
    allocations: u32,
}

impl GcHand {
    /// Makes the calling thread a mutator of `heap`.
    pub(crate) fn new(heap: &Heap) -> Result<Self, Failure> {
        let mutator = heap.attach().map_err(|error| Failure::Attach(error.to_string()))?;
        Ok(Self { mutator, clock: StepClock::start(), allocations: 0 })
    }

    /// A new object in a new root.
    pub(crate) fn alloc(&mut self, refs: u32, data_words: u32) -> Result<RootIndex, Failure> {
        self.count_allocation();
        Ok(self.mutator.alloc(Record { refs, data_words })?)
    }

    /// A new object in a root that is there already.
    pub(crate) fn alloc_into(
        &mut self,
        root: RootIndex,
        refs: u32,
        data_words: u32,
    ) -> Result<(), Failure> {
        self.count_allocation();
        Ok(self.mutator.alloc_into(root, Record { refs, data_words })?)
    }

    /// A step is done, and the collector may stop this thread here.
    pub(crate) fn poll(&mut self) {
        self.mutator.safepoint();
        self.clock.step();
    }

    pub(crate) fn into_clock(self) -> StepClock {
        self.clock
    }

    fn count_allocation(&mut self) {
        self.allocations = self.allocations.wrapping_add(1);
        if self.allocations.is_multiple_of(64) {
            self.clock.step();
        }
    }
}

impl Deref for GcHand {
    type Target = Mutator;

    fn deref(&self) -> &Mutator {
        &self.mutator
    }
}

impl Hand for GcHand {
    fn clock(&mut self) -> &mut StepClock {
        &mut self.clock
    }

    fn blocking<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        self.mutator.blocking(wait)
    }
}

/// What lies in a root that the program has filled itself.
pub(crate) fn held(mutator: &Mutator, root: RootIndex) -> Local<'_> {
    mutator.root(root).expect("the program has put an object into this root")
}

/// Writes text into data words: the first is its length in bytes.
pub(crate) fn write_text(words: &[AtomicU64], text: &[u8]) {
    words[0].store(text.len() as u64, Ordering::Relaxed);
    for (word, value) in words[1..].iter().zip(packed(text)) {
        word.store(value, Ordering::Relaxed);
    }
}

/// The data words that [`write_text`] needs.
pub(crate) fn text_words(text: &[u8]) -> u32 {
    1 + narrow(text.len().div_ceil(8))
}

/// A count that fits an object's header.
pub(crate) fn narrow(count: usize) -> u32 {
    u32::try_from(count).expect("no object of a workload has more than 2^32 parts")
}
