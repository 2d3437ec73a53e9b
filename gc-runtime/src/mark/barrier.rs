//! The write barrier's slow path: a mutator's log of overwritten references.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::mark::batches::Batches;

/// Entries of one mutator's log before it is handed to the collector.
const LOG_ENTRIES: usize = 512;

/// What a mutator logs at the moment.
///
/// The value is the `marking` word of the mutator's published layout: a runtime's inlined barrier
/// tests it for zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum BarrierMode {
    /// Nothing: no marking.
    Idle = 0,
    /// The old value of every slot it overwrites, unless that is black, and a black value that it stores
    /// into an older object.
    LogOld = 1,
    /// The old and the new value: its roots have not been scanned yet.
    LogBoth = 2,
    /// Nothing: marking is over. But how far its stores reach is noted until the flip, as in the two
    /// modes before ([`PageReach`](crate::mark::page_reach::PageReach)).
    Watch = 3,
}

impl BarrierMode {
    /// Whether a mutator whose `marking` word this is logs references.
    #[inline(always)]
    pub(crate) fn logs(marking: u32) -> bool {
        marking == Self::LogOld as u32 || marking == Self::LogBoth as u32
    }
}

/// Logged references, from all mutators.
pub(crate) type LoggedReferences = Batches<u64>;

/// One mutator's log. Written by the mutator, or by the collector while it holds the mutator.
#[derive(Debug)]
pub(crate) struct BarrierLog {
    entries: Box<[AtomicU64]>,
    len: AtomicU32,
}

impl Default for BarrierLog {
    fn default() -> Self {
        Self {
            entries: (0..LOG_ENTRIES).map(|_| AtomicU64::new(0)).collect(),
            len: AtomicU32::new(0),
        }
    }
}

impl BarrierLog {
    /// Logs a reference; null is not worth it.
    #[inline]
    pub(crate) fn log(&self, value: u64, to: &LoggedReferences) {
        if value == 0 {
            return;
        }
        let len = self.len.load(Ordering::Relaxed);
        self.entries[len as usize].store(value, Ordering::Relaxed);
        self.len.store(len + 1, Ordering::Relaxed);
        if len as usize + 1 == LOG_ENTRIES {
            self.flush(to);
        }
    }

    /// Hands everything logged so far to the collector.
    pub(crate) fn flush(&self, to: &LoggedReferences) {
        let len = self.len.swap(0, Ordering::Relaxed) as usize;
        to.push(self.entries[..len].iter().map(|entry| entry.load(Ordering::Relaxed)).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_logged_is_lost() {
        let (log, to) = (BarrierLog::default(), LoggedReferences::default());
        for value in 0..2000 {
            log.log(value, &to);
        }
        log.flush(&to);
        let mut all = Vec::new();
        while let Some(batch) = to.take() {
            all.extend(batch);
        }
        all.sort_unstable();
        assert_eq!(all, (1..2000).collect::<Vec<_>>());
        assert!(to.is_empty());
    }
}
