//! Processors, by the kernel's numbers: which one a thread was last seen on, and moving to another.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

/// No processor has this number.
const NOWHERE: u32 = u32::MAX;

/// To these calls: the thread that makes them.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The processor that a thread was last seen on.
#[derive(Debug)]
pub(crate) struct LastSeen(AtomicU32);

impl Default for LastSeen {
    fn default() -> Self {
        Self(AtomicU32::new(NOWHERE))
    }
}

impl LastSeen {
    /// By the thread itself.
    pub(crate) fn note(&self) {
        let here = current().and_then(|here| u32::try_from(here).ok()).unwrap_or(NOWHERE);
        // The collector reads it now and then: most of the time there is nothing to tell it.
        if self.0.load(Ordering::Relaxed) != here {
            self.0.store(here, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> Option<usize> {
        match self.0.load(Ordering::Relaxed) {
            NOWHERE => None,
            processor => usize::try_from(processor).ok(),
        }
    }
}

/// The processor that the calling thread is on, as far as one can know; no system call.
pub(crate) fn current() -> Option<usize> {
    sched_getcpu().ok()
}

/// The processors that the calling thread may use.
pub(crate) fn allowed() -> Result<CpuSet> {
    sched_getaffinity(THIS_THREAD)
}

/// The numbers in a set, in order.
pub(crate) fn numbers(set: &CpuSet) -> impl Iterator<Item = usize> + Clone {
    (0..CpuSet::count()).filter(|&processor| set.is_set(processor) == Ok(true))
}

/// All numbers that a processor can have.
fn every() -> Result<CpuSet> {
    let mut every = CpuSet::new();
    (0..CpuSet::count()).try_for_each(|processor| every.set(processor))?;
    Ok(every)
}

/// Moves the calling thread to `processor`. Afterwards it may use all that were `allowed`, and stays only
/// for as long as the scheduler likes.
pub(crate) fn move_to(processor: usize, allowed: &CpuSet) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(processor)?;
    // The thread is there when this returns.
    sched_setaffinity(THIS_THREAD, &only)?;
    // Where it is the container that limits the set, it has to grow with the container later: what a
    // thread has asked for once, the kernel never exceeds.
    sched_setaffinity(THIS_THREAD, &every()?)?;
    if self::allowed()? != *allowed {
        sched_setaffinity(THIS_THREAD, allowed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_not_been_seen_is_nowhere() {
        let seen = LastSeen::default();
        assert_eq!(seen.get(), None);
        seen.note();
        let numbers: Vec<usize> = numbers(&allowed().unwrap()).collect();
        assert!(seen.get().is_some_and(|at| numbers.contains(&at)), "{seen:?}, not of {numbers:?}");
    }

    #[test]
    fn a_thread_that_has_moved_may_use_what_it_might_before() {
        let before = allowed().unwrap();
        for processor in numbers(&before) {
            move_to(processor, &before).unwrap();
            assert_eq!(allowed(), Ok(before));
        }
    }

    #[test]
    fn a_thread_that_the_program_restricts_stays_restricted() {
        let mut few = CpuSet::new();
        let processor = numbers(&allowed().unwrap()).next().unwrap();
        few.set(processor).unwrap();
        sched_setaffinity(THIS_THREAD, &few).unwrap();
        move_to(processor, &few).unwrap();
        assert_eq!(allowed(), Ok(few));
    }
}
