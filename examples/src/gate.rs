//! A barrier that can be broken: where the threads of a workload wait for each other.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::Failure;

/// Lets its parties through when all of them have come.
///
/// Unlike `std::sync::Barrier` it can be broken: when one thread fails, the others
/// must not wait for it for ever.
#[derive(Debug)]
pub(crate) struct Gate {
    parties: usize,
    inner: Mutex<Inner>,
    turned: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: usize,
    round: u64,
    broken: bool,
}

impl Gate {
    pub(crate) fn new(parties: usize) -> Self {
        Self { parties, inner: Mutex::default(), turned: Condvar::new() }
    }

    /// Waits until all parties are here, or until the gate is broken.
    pub(crate) fn pass(&self) -> Result<(), Failure> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let round = inner.round;
        inner.waiting += 1;
        if inner.waiting == self.parties {
            inner.waiting = 0;
            inner.round += 1;
            self.turned.notify_all();
        }
        while inner.round == round && !inner.broken {
            inner = self.turned.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.broken { Err(Failure::Stopped) } else { Ok(()) }
    }

    /// Sends everybody home, now and in every later round.
    pub(crate) fn break_it(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).broken = true;
        self.turned.notify_all();
    }
}

/// Breaks the gate unless it is told that all went well: also when its thread panics.
#[derive(Debug)]
pub(crate) struct BreakOnFailure<'g> {
    gate: &'g Gate,
    well: bool,
}

impl<'g> BreakOnFailure<'g> {
    pub(crate) fn new(gate: &'g Gate) -> Self {
        Self { gate, well: false }
    }

    pub(crate) fn all_went_well(mut self) {
        self.well = true;
    }
}

impl Drop for BreakOnFailure<'_> {
    fn drop(&mut self) {
        if !self.well {
            self.gate.break_it();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_gate_sends_waiting_threads_home() {
        let gate = Gate::new(2);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| gate.pass());
            drop(BreakOnFailure::new(&gate));
            assert!(matches!(waiter.join().expect("no panic"), Err(Failure::Stopped)));
        });
    }
}
