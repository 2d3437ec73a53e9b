//! Where faults enter: the heap's handler behind the process's signal handler.

use std::fmt;
use std::sync::Arc;

use uffd_move::{FaultHandler, SignalFault, Verdict};

/// What serves the faults of one heap. Runs in a signal handler, on the thread that faulted.
///
/// An implementation allocates nothing, takes no lock and does not unwind.
pub(crate) trait ServeFault: Send + Sync {
    /// Puts the page of `addr` in place.
    fn serve(&self, addr: usize);
}

/// Connects a heap to the fault router.
pub(crate) struct FaultEntry {
    heap: Arc<dyn ServeFault>,
    /// The process that built the heap.
    owner: u32,
}

impl FaultEntry {
    pub(crate) fn new(heap: Arc<dyn ServeFault>) -> Self {
        Self { heap, owner: std::process::id() }
    }
}

impl fmt::Debug for FaultEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultEntry").finish_non_exhaustive()
    }
}

// SAFETY: `ServeFault::serve` promises to be fit for a signal handler: it uses atomics, system
// calls that signal-safety(7) allows and the heap's own mappings, and nothing else. The test
// `serving_a_fault_allocates_nothing` watches it.
unsafe impl FaultHandler for FaultEntry {
    fn handle(&self, fault: SignalFault) -> Verdict {
        // A forked child has the side tables as they were and shares what is mapped shared: a page
        // that it built could end up in its parent's heap. Its fault is a plain one.
        if std::process::id() != self.owner {
            return Verdict::NotMine;
        }
        self.heap.serve(fault.addr);
        Verdict::Handled
    }
}
