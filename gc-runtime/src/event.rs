//! What a heap tells about itself while it runs: the table of events, and who listens.

use std::fmt;
use std::time::{Duration, Instant};

use crate::error::OutOfMemory;
use crate::stats::CycleStats;

/// Why a cycle was run. Later ones are stronger: of several reasons the strongest is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CycleReason {
    /// Allocation passed the mark that leaves enough room for a cycle.
    #[default]
    Allocation,
    /// Zeal: the number of refills that was asked for.
    Zeal,
    /// The system or the control group is short of memory.
    Pressure,
    /// The limit was lowered below what is in use, by the program or by the container.
    Limit,
    /// The program asked for it.
    Requested,
    /// An allocation found no room after a cycle: everything is packed, nothing slides.
    Emergency,
}

impl CycleReason {
    /// The name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocation => "allocation",
            Self::Zeal => "zeal",
            Self::Pressure => "pressure",
            Self::Limit => "limit",
            Self::Requested => "requested",
            Self::Emergency => "emergency",
        }
    }
}

impl fmt::Display for CycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A named part of a cycle; in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Concurrent marking.
    Mark,
    /// The pause that ends marking.
    Remark,
    /// Concurrent summary.
    Summary,
    /// The pause that sets the heap aside.
    Flip,
    /// Concurrent compaction.
    Compact,
    /// Handing emptied pages to the allocator.
    Deposit,
    /// Giving back and cleaning up.
    Finish,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Mark,
        Self::Remark,
        Self::Summary,
        Self::Flip,
        Self::Compact,
        Self::Deposit,
        Self::Finish,
    ];

    /// The name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Remark => "remark",
            Self::Summary => "summary",
            Self::Flip => "flip",
            Self::Compact => "compact",
            Self::Deposit => "deposit",
            Self::Finish => "finish",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What all mutators were stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PauseKind {
    /// To end marking.
    Remark,
    /// To set the heap aside.
    Flip,
    /// To end a cycle in which nothing moves.
    Skip,
    /// To verify or to digest.
    Check,
}

impl PauseKind {
    /// The name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Remark => "remark",
            Self::Flip => "flip",
            Self::Skip => "skip",
            Self::Check => "check",
        }
    }
}

impl fmt::Display for PauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why free memory was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReleaseReason {
    /// It has not been used for a while ([`Decay`](crate::Decay)).
    Unused,
    /// The program asked for it ([`Heap::trim`](crate::Heap::trim)).
    Requested,
    /// The system or the control group is short of memory.
    Pressure,
}

impl ReleaseReason {
    /// The name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Requested => "requested",
            Self::Pressure => "pressure",
        }
    }
}

impl fmt::Display for ReleaseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something that happened in a heap. `docs/events.md` has the table: when each is told, and on
/// which thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "events are told by reference, one at a time, and the large one once a cycle"
)]
pub enum Event {
    /// A cycle began.
    CycleBegan {
        /// Its number, from 1.
        cycle: u64,
        /// Why it is run.
        reason: CycleReason,
    },
    /// A phase began.
    PhaseBegan {
        /// The cycle's number.
        cycle: u64,
        /// Which phase.
        phase: Phase,
    },
    /// A phase ended.
    PhaseEnded {
        /// The cycle's number.
        cycle: u64,
        /// Which phase.
        phase: Phase,
        /// When it began.
        began: Instant,
        /// How long it took.
        took: Duration,
    },
    /// All mutators were stopped, and run again.
    Paused {
        /// What for.
        kind: PauseKind,
        /// When they were asked to stop.
        began: Instant,
        /// From then until the last one had.
        safepoint: Duration,
        /// From then until the last one was let go.
        took: Duration,
        /// How many there were.
        mutators: usize,
    },
    /// A mutator touched a page that was not there, and it was put there. Told when the cycle has
    /// finished.
    FaultServed {
        /// When its handler began.
        began: Instant,
        /// How long that took.
        took: Duration,
        /// The thread that served it, as gettid(2) names it.
        thread: u32,
    },
    /// A mutator waited for memory.
    Stalled {
        /// When it began to wait.
        began: Instant,
        /// How long it did.
        took: Duration,
        /// The thread, as gettid(2) names it.
        thread: u32,
    },
    /// The end of memory, or the size the heap keeps to, has changed.
    LimitChanged {
        /// Bytes that may be in use.
        limit_bytes: u64,
        /// Bytes that the heap tries to stay below by collecting.
        target_bytes: u64,
    },
    /// Free memory was given back to the system between two cycles.
    Released {
        /// Why.
        reason: ReleaseReason,
        /// When it began.
        began: Instant,
        /// How long it took.
        took: Duration,
        /// Pages.
        pages: u64,
        /// System calls.
        calls: u64,
        /// Pages that the kernel refused to take; they stay.
        refused: u64,
    },
    /// An allocation was answered with an error.
    OutOfMemory {
        /// The error.
        error: OutOfMemory,
    },
    /// A cycle ended; what it counted (pages moved, recycled, released; bytes copied, slid;
    /// fallbacks by cause).
    CycleEnded {
        /// Its counts and times.
        stats: CycleStats,
    },
}

/// Is told what happens in a heap ([`Heap::listen`](crate::Heap::listen)).
///
/// Called on the heap's collector thread, for [`Event::Stalled`] and [`Event::OutOfMemory`] on the
/// mutator concerned, for [`Event::LimitChanged`] also on the thread that changed it, for
/// [`Event::Released`] on the thread that gives memory back. Never in a
/// signal handler, and never while mutators are stopped: pauses are told when they are over. It
/// holds up the collector for as long as it takes, and must not call the heap it listens to, except
/// for [`Heap::stats`](crate::Heap::stats). A listener that panics is told nothing any more.
pub trait Listener: Send + Sync {
    /// Takes note of `event`.
    fn event(&self, event: &Event);
}

/// Every closure is a listener.
impl<F: Fn(&Event) + Send + Sync> Listener for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

impl Event {
    /// The name, as in the table of `docs/events.md`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CycleBegan { .. } => "CycleBegan",
            Self::PhaseBegan { .. } => "PhaseBegan",
            Self::PhaseEnded { .. } => "PhaseEnded",
            Self::Paused { .. } => "Paused",
            Self::FaultServed { .. } => "FaultServed",
            Self::Stalled { .. } => "Stalled",
            Self::LimitChanged { .. } => "LimitChanged",
            Self::Released { .. } => "Released",
            Self::OutOfMemory { .. } => "OutOfMemory",
            Self::CycleEnded { .. } => "CycleEnded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_reason_is_the_greatest() {
        assert!(CycleReason::Emergency > CycleReason::Requested);
        assert!(CycleReason::Requested > CycleReason::Allocation);
    }
}
