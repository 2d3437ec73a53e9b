//! A pause: all mutators stopped, and let go again whatever happens.

use std::time::Instant;

use crate::core::HeapCore;
use crate::cycle::{Collector, ns};
use crate::model::ObjectModel;
use crate::safepoint::{Mutators, Safepoints};

/// All mutators are stopped while this lives.
pub(crate) struct Pause<'a, M: ObjectModel> {
    core: &'a HeapCore<M>,
    mutators: Mutators<'a>,
    asked: Instant,
    resumed: bool,
}

impl<M: ObjectModel> Collector<M> {
    /// Stops all mutators.
    pub(crate) fn pause(&self) -> Pause<'_, M> {
        let core = &*self.core;
        let mutators = core.safepoints.mutators();
        let asked = Instant::now();
        core.safepoints.stop(&mutators);
        let stopped = ns(asked.elapsed());
        if !mutators.is_empty()
            && let Ok(mut stats) = core.stats.lock()
        {
            stats.safepoint_ns.saturating_record(stopped.max(1));
        }
        Pause { core, mutators, asked, resumed: false }
    }
}

impl<'a, M: ObjectModel> Pause<'a, M> {
    pub(crate) fn mutators(&self) -> &Mutators<'a> {
        &self.mutators
    }

    /// Lets all mutators go; the pause's length from the request to here, in nanoseconds.
    pub(crate) fn resume(mut self) -> u64 {
        self.resumed = true;
        Safepoints::resume(&self.mutators);
        let length = ns(self.asked.elapsed());
        if !self.mutators.is_empty()
            && let Ok(mut stats) = self.core.stats.lock()
        {
            stats.pause_ns.saturating_record(length.max(1));
        }
        length
    }
}

impl<M: ObjectModel> Drop for Pause<'_, M> {
    fn drop(&mut self) {
        if !self.resumed {
            Safepoints::resume(&self.mutators);
        }
    }
}
