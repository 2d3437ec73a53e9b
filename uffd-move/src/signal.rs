//! Fault delivery on the faulting thread: a signal, a table, the owner of the range.
//!
//! With [`Features::SIGBUS`](crate::Features::SIGBUS) a missing page is a SIGBUS on the thread that
//! touched it; after `mprotect(PROT_NONE)` it is a SIGSEGV. One handler per signal serves the whole
//! process: it looks the address up in a fixed table and calls the range's [`FaultHandler`].
//! Everything else goes on to the handler that was there before (a debugger's, the stack overflow
//! check of Rust's own runtime, or the default, which kills).

use std::fmt;
use std::sync::Arc;

use nix::errno::Errno;

use crate::page::PageRange;
use crate::sys::route_table as table;

pub use table::{FaultHandler, FaultSignal, SignalFault, Verdict};

/// Why a route was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The table is full.
    #[error("all {limit} fault routes of the process are in use")]
    Full {
        /// How many there can be.
        limit: usize,
    },
    /// Another route has a page of the range, for the same signal.
    #[error("another fault route has pages of {range}")]
    Overlaps {
        /// The range asked for.
        range: PageRange,
    },
    /// The handler could not be installed.
    #[error("the signal handler could not be installed")]
    Install {
        /// What the kernel answered.
        #[source]
        errno: Errno,
    },
}

/// Sends the faults of `signal` in `range` to `handler`, until the route is dropped.
///
/// The first route for a signal installs the process's handler, which stays. A handler that another
/// library installs later must chain to the one it replaces, as ours does.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`RouteError::Full`] | 64 routes exist | make one route for neighbouring ranges |
/// | [`RouteError::Overlaps`] | the range is taken | drop the other route first |
/// | [`RouteError::Install`] | the kernel refused the handler | |
///
/// # References
///
/// `sigaction(2)`, `signal-safety(7)`, `UFFDIO_API(2const)` on `UFFD_FEATURE_SIGBUS`
pub fn route(
    signal: FaultSignal,
    range: PageRange,
    handler: Arc<dyn FaultHandler>,
) -> Result<SignalRoute, RouteError> {
    match table::add(signal, range, handler) {
        Ok(installed) => Ok(SignalRoute { signal, range, _installed: installed }),
        Err(table::AddError::Full) => Err(RouteError::Full { limit: table::ROUTES }),
        Err(table::AddError::Overlaps) => Err(RouteError::Overlaps { range }),
        Err(table::AddError::Install(errno)) => Err(RouteError::Install { errno }),
    }
}

/// A range whose faults go to a [`FaultHandler`].
///
/// Dropping it takes the route out, waits until no thread is inside the handler, and then lets the
/// handler go. So it must not be dropped by the handler itself, nor in a forked child while other
/// threads of the parent were inside.
#[must_use = "dropping the route removes it"]
pub struct SignalRoute {
    signal: FaultSignal,
    range: PageRange,
    _installed: table::Installed,
}

impl SignalRoute {
    /// The signal.
    pub fn signal(&self) -> FaultSignal {
        self.signal
    }

    /// The range.
    pub fn range(&self) -> PageRange {
        self.range
    }
}

impl fmt::Debug for SignalRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalRoute")
            .field("signal", &self.signal)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
