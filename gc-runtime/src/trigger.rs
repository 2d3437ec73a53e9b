//! When to start a cycle, and how much memory to use before: early enough that the cycle ends
//! before the memory does.

use std::time::Duration;

use crate::options::Growth;

/// Allocation while a cycle runs is reckoned this many times over: rates change.
const SAFETY: f64 = 2.0;

/// What collecting costs is weighed against memory so that a program that allocates a tenth as fast
/// as the collector works gets as much room as it has live data, at 100 MiB of those.
const TRADE_BYTES: f64 = (1u64 << 30) as f64;

/// What one cycle was seen to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Pages found live.
    pub(crate) live: u32,
    /// Mark and remark.
    pub(crate) mark: Duration,
    /// Everything after it, to the end of compaction.
    pub(crate) compact: Duration,
    /// Pages allocated since the last cycle's end.
    pub(crate) allocated: u32,
    /// The time since then.
    pub(crate) interval: Duration,
    /// Pages allocated from the start of marking to the flip.
    pub(crate) born: u32,
}

/// Learns how fast the program allocates and how fast the collector works.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pacer {
    mark: Rate,
    compact: Rate,
    allocation: Rate,
    live: u32,
}

/// Pages in a second: the last value, and an average that favours later ones.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    average: f64,
    last: f64,
}

impl Rate {
    fn note(&mut self, pages: u32, time: Duration) {
        self.last = f64::from(pages) / time.as_secs_f64().max(1e-6);
        self.average = match self.average {
            0.0 => self.last,
            average => average + (self.last - average) / 4.0,
        };
    }

    /// For what must not be underestimated.
    fn high(self) -> f64 {
        self.average.max(self.last)
    }

    /// For what must not be overestimated.
    fn low(self) -> f64 {
        self.average.min(self.last)
    }
}

/// What the pacer wants, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    /// The end of memory that the heap tries to stay below by collecting.
    pub(crate) target: u32,
    /// Pages to be left when the next cycle starts.
    pub(crate) headroom: u32,
}

/// What bounds the pacer's wishes, in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) soft: u32,
    pub(crate) limit: u32,
    pub(crate) page_bytes: usize,
}

impl Pacer {
    /// Learns from a cycle.
    pub(crate) fn learn(&mut self, cycle: Measured) {
        self.live = cycle.live;
        // A heap with nothing in it takes its time too.
        self.mark.note(cycle.live.max(1), cycle.mark);
        self.compact.note(cycle.live.max(1), cycle.compact);
        self.allocation.note(cycle.allocated, cycle.interval);
        // Mutators that served faults or waited for memory were slower than they would like to be;
        // while marking ran nothing held them up.
        let marking = f64::from(cycle.born) / cycle.mark.as_secs_f64().max(1e-6);
        self.allocation.last = self.allocation.last.max(marking);
    }

    /// How long a cycle over what lives now is going to take, in seconds.
    fn cycle_seconds(&self) -> f64 {
        let live = f64::from(self.live.max(1));
        live / self.mark.low().max(1.0) + live / self.compact.low().max(1.0)
    }

    /// Where the heap should end and when the next cycle should start.
    pub(crate) fn aim(&self, growth: Growth, bounds: Bounds) -> Aim {
        let headroom = SAFETY * self.allocation.high() * self.cycle_seconds();
        let live = f64::from(self.live);
        let wanted = match growth {
            Growth::Whole => f64::from(bounds.limit),
            Growth::Adaptive => {
                // The square root rule: what a collection costs is in proportion to the live data,
                // and how many there are is in inverse proportion to the room between them.
                let load = self.allocation.average * self.cycle_seconds() / live.max(1.0);
                #[expect(clippy::cast_precision_loss, reason = "a page size is small")]
                let trade = TRADE_BYTES / bounds.page_bytes as f64;
                let room = (live * load * trade).sqrt();
                live + room.max(live / 4.0).max(1.5 * headroom).max(f64::from(MIN_ROOM_PAGES))
            }
        };
        // The soft limit gives way to what lives and a quarter, for the heap would do nothing but
        // collect; the hard one does not.
        let soft = f64::from(bounds.soft).max(live * 1.25);
        Aim { target: pages(wanted.min(soft)).min(bounds.limit), headroom: pages(headroom) }
    }

    /// Pages allocated in a second, collected in a second: for the statistics.
    pub(crate) fn speeds(&self) -> (f64, f64, f64) {
        (self.allocation.average, self.mark.average, self.compact.average)
    }
}

/// An adaptive heap has at least this much room above what lives.
const MIN_ROOM_PAGES: u32 = 256;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn pages(count: f64) -> u32 {
    count as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::allocation::Cursor;

    const BOUNDS: Bounds = Bounds { soft: u32::MAX, limit: 100_000, page_bytes: 4096 };

    fn cycle(live: u32, allocated: u32) -> Measured {
        Measured {
            live,
            mark: Duration::from_millis(50),
            compact: Duration::from_millis(50),
            allocated,
            interval: Duration::from_secs(1),
            born: 0,
        }
    }

    fn taught(cycles: &[Measured]) -> Pacer {
        let mut pacer = Pacer::default();
        cycles.iter().for_each(|&cycle| pacer.learn(cycle));
        pacer
    }

    #[test]
    fn the_headroom_is_twice_what_is_allocated_while_a_cycle_runs() {
        let aim = taught(&[cycle(1000, 10_000)]).aim(Growth::Whole, BOUNDS);
        assert_eq!(aim, Aim { target: 100_000, headroom: 2 * 10_000 / 10 });
    }

    #[test]
    fn allocation_seen_while_marking_counts_even_if_the_average_is_low() {
        let mut busy = cycle(1000, 100);
        busy.born = 5000;
        assert_eq!(taught(&[busy]).aim(Growth::Whole, BOUNDS).headroom, 2 * 10_000);
    }

    #[test]
    fn a_cycle_over_twice_the_live_data_is_expected_to_take_twice_as_long() {
        let before = taught(&[cycle(1000, 10_000)]);
        let mut after = before;
        after.live = 2000;
        let headroom = |pacer: &Pacer| pacer.aim(Growth::Whole, BOUNDS).headroom;
        assert_eq!(headroom(&after), 2 * headroom(&before));
    }

    #[test]
    fn an_adaptive_heap_grows_with_live_data_and_with_allocation() {
        let target = |live, allocated| {
            taught(&[cycle(live, allocated)]).aim(Growth::Adaptive, BOUNDS).target
        };
        assert!(target(1000, 100) < target(4000, 100));
        assert!(target(1000, 100) < target(1000, 50_000));
        assert_eq!(target(0, 0), MIN_ROOM_PAGES);
        assert!(target(25_600, 25_600) > 2 * 25_600 * 9 / 10);
        assert!(target(25_600, 25_600) < 3 * 25_600);
    }

    #[test]
    fn the_soft_limit_holds_until_the_live_data_outgrow_it() {
        let soft = Bounds { soft: 2000, ..BOUNDS };
        let target = |growth, live| taught(&[cycle(live, 1000)]).aim(growth, soft).target;
        assert_eq!(target(Growth::Whole, 1000), 2000);
        assert_eq!(target(Growth::Whole, 4000), 5000);
        assert_eq!(target(Growth::Whole, 90_000), 100_000);
        assert_eq!(target(Growth::Adaptive, 100), 2000);
    }

    /// Plays a program against a collector in made-up time; the pages it found missing.
    fn play(live: u32, limit: u32, allocated_per_s: f64, pages_per_s: f64) -> u32 {
        let mut pacer = Pacer::default();
        let mut cursor = Cursor::new(limit, limit);
        let (mut short, mut wobble) = (0, [1.0, 1.3, 0.8, 1.2, 0.7].into_iter().cycle());
        cursor.top = live;
        for number in 0..40 {
            let factor: f64 = wobble.next().unwrap();
            let (rate, speed) = (allocated_per_s * factor, pages_per_s / factor);
            let allocated = cursor.trigger.saturating_sub(cursor.top);
            let mark = Duration::from_secs_f64(f64::from(live) / speed);
            let born = pages(rate * mark.as_secs_f64());
            cursor.top = cursor.top.max(cursor.trigger) + born;
            if number > 2 {
                short += cursor.top.saturating_sub(cursor.limit);
            }
            let interval = Duration::from_secs_f64(f64::from(allocated) / rate) + 2 * mark;
            cursor.top = live + born;
            let allocated = allocated + 2 * born;
            pacer.learn(Measured { live, mark, compact: mark, allocated, interval, born });
            let aim = pacer.aim(Growth::Whole, Bounds { soft: limit, limit, page_bytes: 4096 });
            cursor.aim(aim.target, aim.headroom);
            cursor.top += born;
        }
        short
    }

    #[test]
    fn cycles_start_early_enough_that_nobody_waits() {
        for allocated_per_s in [100.0, 1000.0, 5000.0, 20_000.0] {
            for live in [500, 5000, 20_000] {
                assert_eq!(play(live, 60_000, allocated_per_s, 50_000.0), 0, "{allocated_per_s}");
            }
        }
        // And where the memory is too small for that, it is noticed.
        assert!(play(20_000, 22_000, 50_000.0, 50_000.0) > 0);
    }
}
