//! The sides of a comparison of transports, and one measured cycle of each.

use std::fmt;

use gc_runtime::{Heap, HeapStats, Islands, Transport, TransportChoice};

use crate::error::{BenchError, chain};
use crate::pass::Pass;
use crate::samples::counter;
use crate::shape::Shape;

/// What is compared: a transport, or the floor under all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// The same object copying with no kernel call for any page.
    Floor,
    /// A way to put pages in place.
    Of(Transport),
}

impl Contender {
    /// The floor, then all transports.
    pub const ALL: [Self; 6] = [
        Self::Floor,
        Self::Of(Transport::Move),
        Self::Of(Transport::Copy),
        Self::Of(Transport::Continue),
        Self::Of(Transport::Mprotect),
        Self::Of(Transport::Stw),
    ];

    /// Those that this machine has, and a line for each of the others.
    #[must_use]
    pub fn here() -> (Vec<Self>, Vec<String>) {
        let (mut here, mut missing) = (Vec::new(), Vec::new());
        for contender in Self::ALL {
            match contender.build(2 << 20, Islands::On) {
                Ok(_) => here.push(contender),
                Err(error) => missing.push(format!("{contender}: not here: {}", chain(&error))),
            }
        }
        (here, missing)
    }

    /// A heap with one collector thread and room for twice `used` bytes, so that it has no reason
    /// to start a cycle by itself while it is filled.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Build`] | this kernel lacks the transport, or memory is short | leave this side out |
    ///
    /// # Panics
    ///
    /// If twice `used` does not fit into an address space.
    pub fn build(self, used: u64, islands: Islands) -> Result<Heap, BenchError> {
        let limit = usize::try_from(2 * used).expect("the sizes here fit into an address space");
        let choice = match self {
            Self::Floor => TransportChoice::Floor,
            Self::Of(transport) => TransportChoice::Only(transport),
        };
        let builder = Heap::builder().limit_bytes(limit).collector_threads(1);
        Ok(builder.transport(choice).islands(islands).build()?)
    }

    /// A new heap, a warm-up cycle, then `cycles` measured ones over `used` bytes each. A new heap
    /// for each turn gives nobody the memory that another one left behind.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Damaged`] | an item is missing or overwritten | the heap is broken: throw the figures away |
    /// | any other | the heap could not be built or filled | see the reason |
    ///
    /// # Panics
    ///
    /// As [`build`](Self::build).
    pub fn turn(
        self,
        used: u64,
        shape: Shape,
        islands: Islands,
        cycles: usize,
    ) -> Result<Vec<Cycle>, BenchError> {
        let heap = self.build(used, islands)?;
        let mut mutator = heap.attach()?;
        let mut measured = Vec::with_capacity(cycles);
        for pass in 0..=cycles {
            let seed = u64::try_from(pass).expect("a small number");
            let pass_over = Pass::over(&heap, &mut mutator, used, shape, seed, || Ok(()))?;
            let is_warm_up = pass == 0;
            if !is_warm_up {
                measured.push(pass_over.cycle);
            }
        }
        Ok(measured)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor",
            Self::Of(transport) => transport.name(),
        })
    }
}

/// One measured cycle, or the sum over several where the heap started one by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cycle {
    /// Bytes found live.
    pub live_bytes: f64,
    /// Flip pause, compaction and finish.
    pub wall_ns: f64,
    /// The same, processor time.
    pub cpu_ns: f64,
    /// Handing left-over pages to the allocator; not in `wall_ns`.
    pub deposit_ns: f64,
    /// Marking and summary.
    pub mark_ns: f64,
    /// Summary alone.
    pub summary_ns: f64,
    /// System calls that put pages in place.
    pub ioctls: f64,
    /// Bytes copied from old pages to new ones.
    pub copied: f64,
    /// Bytes of whole pages that kept their content.
    pub slid: f64,
    /// Runs of pages that kept their content.
    pub islands: f64,
    /// Pages the kernel had to allocate.
    pub pages_allocated: f64,
    /// System calls that gave memory back.
    pub madvise_calls: f64,
}

impl Cycle {
    /// What lies between two looks at one heap's statistics.
    #[must_use]
    pub fn between(before: &HeapStats, after: &HeapStats) -> Self {
        let grown = |of: fn(&HeapStats) -> u64| counter(of(after).saturating_sub(of(before)));
        Self {
            live_bytes: grown(|stats| stats.live_bytes_total),
            wall_ns: grown(|stats| stats.compaction_ns),
            cpu_ns: grown(|stats| stats.compaction_cpu_ns),
            deposit_ns: grown(|stats| stats.deposit_ns),
            summary_ns: grown(|stats| stats.summary_ns),
            mark_ns: grown(|stats| stats.mark_ns + stats.summary_ns),
            ioctls: grown(|stats| stats.ioctls),
            copied: grown(|stats| stats.bytes_copied),
            slid: grown(|stats| stats.bytes_slid),
            islands: grown(|stats| stats.islands),
            pages_allocated: grown(|stats| stats.pages_allocated),
            madvise_calls: grown(|stats| stats.madvise_calls),
        }
    }

    /// Live data in MiB.
    #[must_use]
    pub fn live_mib(&self) -> f64 {
        self.live_bytes / (1024.0 * 1024.0)
    }

    /// Compaction in microseconds per MiB of live data.
    #[must_use]
    pub fn wall_us_per_mib(&self) -> f64 {
        self.wall_ns / 1000.0 / self.live_mib()
    }
}
