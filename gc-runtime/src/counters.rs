//! What the cycle that is running has done so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::stats::ns;

/// One count that any thread may raise, in a signal handler too.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u32) {
        self.0.fetch_add(u64::from(n), Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_time(&self, time: Duration) {
        self.0.fetch_add(ns(time), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// What the current cycle has done so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes_copied: Count,
    pub(crate) bytes_slid: Count,
    pub(crate) pages_unread: Count,
    pub(crate) pages_moved: Count,
    pub(crate) pages_recycled: Count,
    pub(crate) pages_allocated: Count,
    pub(crate) pages_warmed: Count,
    pub(crate) pages_helped: Count,
    pub(crate) words_helped: Count,
    pub(crate) pages_released: Count,
    pub(crate) ioctls: Count,
    pub(crate) madvise_calls: Count,
    pub(crate) busy_fallbacks: Count,
    pub(crate) stalled_fallbacks: Count,
    pub(crate) refused_fallbacks: Count,
    pub(crate) faults: Count,
    pub(crate) held_back_ns: Count,
    pub(crate) given_way_ns: Count,
    pub(crate) moved_apart: Count,
    /// Time in the pause that is not counted ([`TransportChoice::Floor`](crate::TransportChoice)).
    pub(crate) left_out_ns: Count,
}
