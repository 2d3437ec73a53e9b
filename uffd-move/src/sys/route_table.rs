//! The table of fault routes: looked up in a signal handler, changed by everybody else.
//!
//! A lookup is atomic loads and, for the one line whose range fits, a counter up and down. No
//! allocation, no lock.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use crate::page::PageRange;

use super::signal::install;

/// How many routes there can be at a time in a process.
pub(crate) const ROUTES: usize = 64;

/// By which signal a fault is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultSignal {
    /// SIGBUS: a missing page of a range registered with
    /// [`Features::SIGBUS`](crate::Features::SIGBUS).
    Bus,
    /// SIGSEGV: a page whose protection forbids the access.
    Segv,
}

/// One fault, as the handler on the faulting thread sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalFault {
    /// The address that was touched, in bytes.
    pub addr: usize,
    /// The signal.
    pub signal: FaultSignal,
    /// The kernel's `si_code`: `BUS_ADRERR` or `SEGV_ACCERR`.
    pub code: i32,
}

/// What a [`FaultHandler`] made of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Verdict {
    /// The page is there: let the thread try again.
    Handled,
    /// Not a fault of this owner: go on to the handler that was there before.
    NotMine,
}

/// Who serves the faults of a range, on the thread that faulted, inside a signal handler.
///
/// # Safety
///
/// Whoever implements this promises that [`handle`](Self::handle)
///
/// * calls only what `signal-safety(7)` allows: it allocates nothing, takes no lock that the
///   interrupted code may hold, uses no `thread_local!` with a destructor or a lazy initialiser,
///   and prints nothing through `std`;
/// * returns (no `longjmp`, no unwinding; a panic aborts the process);
/// * does not make or drop a [`SignalRoute`](crate::SignalRoute);
/// * answers [`Verdict::Handled`] only if the access may succeed now, for the thread would fault
///   for ever otherwise.
///
/// It may fault itself: a nested fault is delivered at once, on the same stack. `errno` is saved
/// and restored around it.
pub unsafe trait FaultHandler: Send + Sync {
    /// Serves `fault`.
    fn handle(&self, fault: SignalFault) -> Verdict;
}

/// Who gets which faults.
struct Target {
    signal: FaultSignal,
    range: PageRange,
    handler: Arc<dyn FaultHandler>,
}

/// One line of the table.
///
/// # Invariants
///
/// * `target` is null, or points to a `Target` that lives until `target` was null and then
///   `inside` was seen zero.
/// * `inside` is raised before `target` is read and lowered after its last use. Both are
///   sequentially consistent, so a reader that found the pointer is seen by the one who took it
///   out.
/// * `start` and `len` are those of the target as long as there is one.
struct Line {
    taken: AtomicBool,
    target: AtomicPtr<Target>,
    inside: AtomicUsize,
    // A cheap first look, so that a fault does not count itself into routes of others. It is never
    // wrong about the route that a faulting thread relies on, for that one is not changing.
    start: AtomicUsize,
    len: AtomicUsize,
}

impl Line {
    const fn free() -> Self {
        Self {
            taken: AtomicBool::new(false),
            target: AtomicPtr::new(ptr::null_mut()),
            inside: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
        }
    }

    fn may_take(&self, addr: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        addr.wrapping_sub(start) < self.len.load(Ordering::Acquire)
    }

    fn serve(&self, fault: SignalFault) -> Verdict {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let target = self.target.load(Ordering::SeqCst);
        // SAFETY: null or alive: we are counted in (invariants of `Line`).
        let verdict = match unsafe { target.as_ref() } {
            Some(target) if target.signal == fault.signal && target.range.contains(fault.addr) => {
                target.handler.handle(fault)
            }
            _ => Verdict::NotMine,
        };
        self.inside.fetch_sub(1, Ordering::SeqCst);
        verdict
    }
}

static TABLE: [Line; ROUTES] = [const { Line::free() }; ROUTES];

/// Orders those who change the table. Never taken in a handler, nor held while waiting for one.
static CHANGES: Mutex<()> = Mutex::new(());

/// Why a route could not be added.
#[derive(Debug)]
pub(crate) enum AddError {
    Full,
    Overlaps,
    Install(Errno),
}

/// A taken line; dropping it frees the line.
#[derive(Debug)]
pub(crate) struct Installed {
    line: usize,
}

/// Adds a route, and sees to it that the process's handler is installed.
pub(crate) fn add(
    signal: FaultSignal,
    range: PageRange,
    handler: Arc<dyn FaultHandler>,
) -> Result<Installed, AddError> {
    let _changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free = None;
    for (index, line) in TABLE.iter().enumerate() {
        if !line.taken.load(Ordering::SeqCst) {
            free = free.or(Some(index));
            continue;
        }
        let held = line.target.load(Ordering::SeqCst);
        // SAFETY: null, or alive: who frees it takes it out under the lock that we hold first.
        if let Some(held) = unsafe { held.as_ref() }
            && held.signal == signal
            && held.range.overlaps(range)
        {
            return Err(AddError::Overlaps);
        }
    }
    let index = free.ok_or(AddError::Full)?;
    install(signal).map_err(AddError::Install)?;
    let line = &TABLE[index];
    line.taken.store(true, Ordering::SeqCst);
    line.start.store(range.start().get(), Ordering::SeqCst);
    line.len.store(range.len_bytes(), Ordering::SeqCst);
    let target = Box::new(Target { signal, range, handler });
    line.target.store(Box::into_raw(target), Ordering::SeqCst);
    Ok(Installed { line: index })
}

impl Drop for Installed {
    fn drop(&mut self) {
        let line = &TABLE[self.line];
        let target = {
            let _changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
            line.len.store(0, Ordering::SeqCst);
            line.target.swap(ptr::null_mut(), Ordering::SeqCst)
        };
        while line.inside.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        // SAFETY: `add` made it by `Box::into_raw`, the swap gave it to us alone, and nobody is
        // inside any more (invariants of `Line`).
        drop(unsafe { Box::from_raw(target) });
        line.taken.store(false, Ordering::SeqCst);
    }
}

/// Has `fault` served by whose range it is in. Runs in the signal handler.
pub(super) fn serve(fault: SignalFault) -> Verdict {
    for line in &TABLE {
        if line.may_take(fault.addr) && line.serve(fault) == Verdict::Handled {
            return Verdict::Handled;
        }
    }
    Verdict::NotMine
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Takes;

    // SAFETY: only answers.
    unsafe impl FaultHandler for Takes {
        fn handle(&self, _: SignalFault) -> Verdict {
            Verdict::Handled
        }
    }

    fn range(first: usize) -> PageRange {
        let size = crate::page::page_size();
        PageRange::from_bytes(first * size, 4 * size).unwrap()
    }

    fn fault(addr: usize, signal: FaultSignal) -> SignalFault {
        SignalFault { addr, signal, code: 2 }
    }

    #[test]
    fn a_lookup_takes_no_lock() {
        let here = range(1000);
        let installed = add(FaultSignal::Bus, here, Arc::new(Takes)).unwrap();
        // Held by this very thread: taking it again would never end.
        let changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(serve(fault(here.start().get(), FaultSignal::Bus)), Verdict::Handled);
        drop(changes);
        drop(installed);
    }

    #[test]
    fn a_lookup_minds_range_and_signal() {
        let here = range(2000);
        let installed = add(FaultSignal::Bus, here, Arc::new(Takes)).unwrap();
        let last = here.end().get() - 1;
        assert_eq!(serve(fault(last, FaultSignal::Bus)), Verdict::Handled);
        assert_eq!(serve(fault(last + 1, FaultSignal::Bus)), Verdict::NotMine);
        assert_eq!(serve(fault(here.start().get() - 1, FaultSignal::Bus)), Verdict::NotMine);
        assert_eq!(serve(fault(last, FaultSignal::Segv)), Verdict::NotMine);
        drop(installed);
        assert_eq!(serve(fault(last, FaultSignal::Bus)), Verdict::NotMine);
    }
}
