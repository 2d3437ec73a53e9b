//! Who is told what happens: the statistics, the log lines, the spans, and the program's listeners.

mod log_lines;
mod spans;
mod trace_events;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::event::{Event, Listener};
use crate::stats::HeapStats;

pub use log_lines::UnknownLog;
pub(crate) use log_lines::{LogLines, LogSettings};
pub use trace_events::TraceEvents;

use spans::Spans;

/// Numbers the heaps of a process, for log lines.
static HEAPS: AtomicU64 = AtomicU64::new(0);

/// A listener, until it panics.
struct Ear {
    listener: Arc<dyn Listener>,
    deaf: AtomicBool,
}

/// Everybody who is told about one heap.
pub(crate) struct Observers {
    stats: Mutex<HeapStats>,
    spans: Spans,
    ears: RwLock<Vec<Ear>>,
    /// Somebody besides the statistics may want to know of each fault.
    listening: AtomicBool,
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ears = self.ears.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Observers").field("listeners", &ears.len()).finish_non_exhaustive()
    }
}

impl Observers {
    pub(crate) fn new(stats: HeapStats) -> Self {
        Self {
            stats: Mutex::new(stats),
            spans: Spans::default(),
            ears: RwLock::default(),
            listening: AtomicBool::new(false),
        }
    }

    /// The number of the next heap of this process.
    pub(crate) fn next_heap() -> u64 {
        HEAPS.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tells `listener` too from now on.
    pub(crate) fn add(&self, listener: Arc<dyn Listener>) {
        let ear = Ear { listener, deaf: AtomicBool::new(false) };
        self.ears.write().unwrap_or_else(PoisonError::into_inner).push(ear);
        self.listening.store(true, Ordering::Release);
    }

    /// Whether anybody besides the statistics is told.
    pub(crate) fn are_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// The statistics, held still.
    pub(crate) fn stats(&self) -> MutexGuard<'_, HeapStats> {
        // A panic while they are held (there is none by design) leaves numbers, nothing worse.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, event: &Event) {
        self.stats().note(event);
        self.spans.note(event);
        if self.are_listening() {
            self.tell_listeners(event);
        }
    }

    /// Tells those who asked; the statistics know already.
    pub(crate) fn tell_listeners(&self, event: &Event) {
        let ears = self.ears.read().unwrap_or_else(PoisonError::into_inner);
        for ear in ears.iter().filter(|ear| !ear.deaf.load(Ordering::Relaxed)) {
            let told = catch_unwind(AssertUnwindSafe(|| ear.listener.event(event)));
            if told.is_err() {
                ear.deaf.store(true, Ordering::Relaxed);
                tracing::error!(target: "gc", event = event.name(), "a listener panicked and is told nothing any more");
            }
        }
    }
}
