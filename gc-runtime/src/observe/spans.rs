//! Cycles and phases as `tracing` spans (target `gc`), on the collector thread.

use std::sync::{Mutex, PoisonError};

use tracing::Span;

use crate::event::{Event, Phase};

/// The spans that are open: a cycle's, then a phase's. Events come from one thread, in order.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    open: Mutex<Vec<Span>>,
}

impl Spans {
    pub(crate) fn note(&self, event: &Event) {
        match *event {
            Event::CycleBegan { cycle, reason } => {
                self.close_down_to(0);
                self.open(tracing::info_span!(target: "gc", "cycle", cycle, %reason));
            }
            Event::PhaseBegan { phase, .. } => {
                self.close_down_to(1);
                self.open(span_of(phase));
            }
            Event::PhaseEnded { .. } => self.close_down_to(1),
            Event::CycleEnded { .. } => self.close_down_to(0),
            Event::Stalled { took, thread, .. } => {
                tracing::info!(target: "gc", thread, us = micros(took), "stalled");
            }
            Event::LimitChanged { limit_bytes, target_bytes } => {
                tracing::debug!(target: "gc", limit_bytes, target_bytes, "limit changed");
            }
            Event::Released { reason, took, pages, .. } => {
                tracing::debug!(target: "gc", %reason, pages, us = micros(took), "released");
            }
            Event::OutOfMemory { error } => tracing::warn!(target: "gc", %error, "out of memory"),
            Event::Paused { kind, safepoint, took, .. } => {
                tracing::debug!(target: "gc", %kind, us = micros(took), safepoint_us = micros(safepoint), "paused");
            }
            Event::FaultServed { .. } => {}
        }
    }

    fn open(&self, span: Span) {
        // By hand: a guard would have to stay on this thread's stack.
        span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }

    fn close_down_to(&self, depth: usize) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while open.len() > depth {
            let span = open.pop();
            span.as_ref().map(|span| span.with_subscriber(|(id, dispatch)| dispatch.exit(id)));
        }
    }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Span names are fixed where they are made.
fn span_of(phase: Phase) -> Span {
    match phase {
        Phase::Mark => tracing::debug_span!(target: "gc", "mark"),
        Phase::Remark => tracing::debug_span!(target: "gc", "remark"),
        Phase::Summary => tracing::debug_span!(target: "gc", "summary"),
        Phase::Flip => tracing::debug_span!(target: "gc", "flip"),
        Phase::Compact => tracing::debug_span!(target: "gc", "compact"),
        Phase::Deposit => tracing::debug_span!(target: "gc", "deposit"),
        Phase::Finish => tracing::debug_span!(target: "gc", "finish"),
    }
}
