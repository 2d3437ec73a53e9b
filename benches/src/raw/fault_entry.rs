//! Where faults enter: what serves the faults of a space, behind the process's signal handler.

use std::fmt;
use std::sync::Arc;

use uffd_move::{FaultHandler, SignalFault, Verdict};

/// What serves faults. Runs in a signal handler, on the thread that faulted.
///
/// An implementation allocates nothing, takes no lock and does not unwind, and when it returns the
/// page of `addr` is there.
pub trait ServeFault: Send + Sync {
    /// Puts the page of `addr` in place.
    fn serve(&self, addr: usize);
}

/// Connects it to the fault router.
pub struct FaultEntry(Arc<dyn ServeFault>);

impl FaultEntry {
    /// The entry of `owner`.
    #[must_use]
    pub fn new(owner: Arc<dyn ServeFault>) -> Self {
        Self(owner)
    }
}

impl fmt::Debug for FaultEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultEntry").finish_non_exhaustive()
    }
}

// SAFETY: `ServeFault::serve` promises to be fit for a signal handler. Those in this crate use
// atomics, a buffer on the stack, the monotonic clock and the requests of `uffd_move::raw`.
unsafe impl FaultHandler for FaultEntry {
    fn handle(&self, fault: SignalFault) -> Verdict {
        self.0.serve(fault.addr);
        Verdict::Handled
    }
}
