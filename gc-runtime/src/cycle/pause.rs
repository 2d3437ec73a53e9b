//! A pause: all mutators stopped, and let go again whatever happens.

use std::time::{Duration, Instant};

use crate::core::HeapCore;
use crate::cycle::Collector;
use crate::event::{Event, PauseKind};
use crate::model::ObjectModel;
use crate::safepoint::Mutators;
use crate::stats::ns;

/// All mutators are stopped while this lives.
pub(crate) struct Pause<'a, M: ObjectModel> {
    core: &'a HeapCore<M>,
    mutators: Mutators<'a>,
    kind: PauseKind,
    asked: Instant,
    safepoint: Duration,
    resumed: bool,
}

impl<M: ObjectModel> Collector<M> {
    /// Stops all mutators.
    pub(crate) fn pause(&self, kind: PauseKind) -> Pause<'_, M> {
        let core = &*self.core;
        let mutators = core.safepoints.mutators();
        let asked = Instant::now();
        core.safepoints.stop(&mutators);
        let safepoint = asked.elapsed();
        Pause { core, mutators, kind, asked, safepoint, resumed: false }
    }
}

impl<'a, M: ObjectModel> Pause<'a, M> {
    pub(crate) fn mutators(&self) -> &Mutators<'a> {
        &self.mutators
    }

    /// Lets all mutators go, then tells of the pause; its length from the request to the last
    /// resume, in nanoseconds.
    pub(crate) fn resume(mut self) -> u64 {
        self.resumed = true;
        let resumed = self.core.safepoints.resume(&self.mutators);
        let took = resumed.duration_since(self.asked);
        let Self { core, kind, asked: began, safepoint, .. } = self;
        let mutators = self.mutators.len();
        // Listeners must not keep anybody from attaching.
        drop(self);
        core.observers.tell(&Event::Paused { kind, began, safepoint, took, mutators });
        ns(took)
    }
}

impl<M: ObjectModel> Drop for Pause<'_, M> {
    fn drop(&mut self) {
        if !self.resumed {
            self.core.safepoints.resume(&self.mutators);
        }
    }
}
