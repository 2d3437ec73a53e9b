//! When to start a cycle: early enough that it ends before the memory does.

use std::time::Duration;

/// What the last cycle teaches about the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Pages in use after the cycle.
    pub(crate) used: u32,
    /// Pages that may be in use.
    pub(crate) limit: u32,
    /// Pages allocated between the ends of the last two cycles.
    pub(crate) allocated: u32,
    /// The time between these ends.
    pub(crate) interval: Duration,
    /// From the start of the cycle until new memory was to be had.
    pub(crate) cycle: Duration,
}

/// Used pages at which the next cycle starts.
///
/// Leaves room for what is allocated while a cycle runs, twice over: rates change. At least a
/// quarter of the free pages is allocated first, and a sixteenth is left.
pub(crate) fn trigger(pace: Pace) -> u32 {
    let free = pace.limit.saturating_sub(pace.used);
    let rate = f64::from(pace.allocated) / pace.interval.as_secs_f64().max(1e-6);
    let needed = 2.0 * rate * pace.cycle.as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a number of pages"
    )]
    let headroom = needed.clamp(0.0, f64::from(free)) as u32;
    let latest = pace.limit - free / 16;
    let earliest = pace.used + free / 4;
    pace.limit.saturating_sub(headroom).clamp(earliest, latest.max(earliest))
}

/// The trigger before anything is known: three fifths of the limit.
pub(crate) fn first_trigger(limit: u32) -> u32 {
    limit / 5 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(allocated: u32, cycle_ms: u64) -> Pace {
        Pace {
            used: 400,
            limit: 1000,
            allocated,
            interval: Duration::from_secs(1),
            cycle: Duration::from_millis(cycle_ms),
        }
    }

    #[test]
    fn faster_allocation_starts_cycles_earlier() {
        let (slow, fast) = (trigger(pace(500, 100)), trigger(pace(2000, 100)));
        assert_eq!((slow, fast), (900, 600));
    }

    #[test]
    fn the_trigger_leaves_room_on_both_sides() {
        assert_eq!(trigger(pace(0, 100)), 1000 - 600 / 16);
        assert_eq!(trigger(pace(1_000_000, 1000)), 400 + 600 / 4);
        let full = trigger(Pace { used: 1000, ..pace(10, 10) });
        assert_eq!(full, 1000);
    }
}
