//! After a cycle: what was learned from it, and how much memory to use until the next.

use std::time::{Duration, Instant};

use crate::addr::Geometry;
use crate::container::Group;
use crate::cycle::Collector;
use crate::event::CycleReason;
use crate::model::ObjectModel;
use crate::options::{Container, Growth, Options, Transport};
use crate::space::allocation::{Cursor, warm_pages};
use crate::space::pace::Work;
use crate::stats::CycleStats;
use crate::trigger::{Bounds, Measured, Pacer};

/// What side tables may still come to take, in bytes: there are about ten, each of which grows by a
/// huge page at a time.
const SIDE_BYTES: u64 = 24 << 20;

/// The share of what the heap has and what the container leaves that the heap takes, in eighths: the
/// rest is for page tables and the program.
fn share_in_eighths(transport: Transport) -> u64 {
    match transport {
        // Pages change their address, so that a cycle needs next to none besides.
        Transport::Move | Transport::Stw => 7,
        // Each live page exists twice in the worst case: where faults come before the collector.
        Transport::Copy | Transport::Continue | Transport::Mprotect => 4,
    }
}

/// What a heap's collector decides sizes by.
#[derive(Debug)]
pub(crate) struct Policy {
    pacer: Pacer,
    growth: Growth,
    soft: u32,
    group: Option<Group>,
    processors: u64,
    last_end: Instant,
    last_allocated: u32,
    expected: Expected,
}

/// What the next cycle is expected to find and to take, so that mutators can be kept to its pace.
#[derive(Clone, Copy, Debug)]
struct Expected {
    mark: Duration,
    summary: Duration,
    compact: Duration,
    /// Deposit and finish.
    leftovers: Duration,
    /// Pages found live; `None` before the first cycle.
    live: Option<u32>,
    /// The share of what was allocated between two markings that the second found live.
    survival: f64,
    /// Pages granted until marking began.
    allocated: u32,
}

/// Before anything is known.
const UNKNOWN: Expected = Expected {
    mark: Duration::from_millis(16),
    summary: Duration::from_micros(500),
    compact: Duration::from_millis(5),
    leftovers: Duration::from_millis(1),
    live: None,
    survival: 0.0,
    allocated: 0,
};

/// At least this share of what is allocated between two markings is expected to be live.
const LEAST_SURVIVAL: f64 = 0.03;

/// The first summary is expected to take this part of the marking before it.
const FIRST_SUMMARY: u32 = 16;

/// A summary is expected to take so many times what the last one took: there is nothing else to
/// measure its progress by.
const SUMMARY_MARGIN: u32 = 2;

impl Policy {
    /// `soft` is in pages.
    pub(crate) fn new(options: &Options, soft: u32) -> Self {
        Self {
            pacer: Pacer::default(),
            growth: options.growth,
            soft,
            group: match options.container {
                Container::Heed => Group::of_this_process(),
                Container::Ignore => None,
            },
            processors: std::thread::available_parallelism().map_or(1, usize::from) as u64,
            last_end: Instant::now(),
            last_allocated: 0,
            expected: UNKNOWN,
        }
    }

    /// Marking begins: memory has to last until the flip.
    pub(crate) fn pace_marking(&self, cursor: &mut Cursor, geometry: Geometry) {
        let expected = self.expected;
        let allocated = f64::from(cursor.allocated_since.wrapping_sub(expected.allocated));
        let all = f64::from(cursor.top);
        let pages = match expected.live {
            // What no cycle has seen yet is expected to be live.
            None => all,
            Some(live) => {
                all.min(f64::from(live) + allocated * expected.survival.max(LEAST_SURVIVAL))
            }
        };
        let words = pages * f64::from(geometry.page_words_u32());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let words = words as u32;
        let summary = expected.summary * SUMMARY_MARGIN;
        cursor.note_marking();
        cursor.begin_phase(Work::Words(words), share(expected.mark, summary));
    }

    /// The summary begins: all that is left may be used until the flip.
    pub(crate) fn pace_summary(&self, cursor: &mut Cursor, cycle: &CycleStats) {
        let expected = match self.expected.live {
            Some(_) => self.expected.summary,
            None => Duration::from_nanos(cycle.mark_ns) / FIRST_SUMMARY,
        };
        cursor.begin_phase(Work::Time(Instant::now(), expected * SUMMARY_MARGIN), 1.0);
    }

    /// The heap has been set aside: some of what is left is for the next marking, half as much again as
    /// the `born` pages of this one, or its part by time if that is less.
    pub(crate) fn pace_compaction(&self, cursor: &mut Cursor, born: u32) {
        let Expected { mark, summary, compact, .. } = self.expected;
        let rest = cursor.rest();
        let beyond = rest.saturating_sub(born.saturating_add(born / 2));
        let share = share(compact, mark + summary).max(f64::from(beyond) / f64::from(rest.max(1)));
        cursor.begin_phase(Work::Pages(cursor.top), share);
    }

    /// Every page is in place: what is left has to last until the next flip.
    pub(crate) fn pace_leftovers(&self, cursor: &mut Cursor, cycle: &CycleStats) {
        let leftovers = self.expected.leftovers;
        let mark = Duration::from_nanos(cycle.mark_ns);
        let summary = Duration::from_nanos(cycle.summary_ns) * SUMMARY_MARGIN;
        cursor.begin_phase(Work::Leftovers(Instant::now(), leftovers + mark + summary), 1.0);
    }

    /// A cycle has ended that found `live` pages live.
    fn expect_the_same(&mut self, cycle: &CycleStats, live: u32, cursor: &Cursor) {
        let allocated = cursor.allocated_until_marking;
        let grown = live.saturating_sub(self.expected.live.unwrap_or(live));
        let between = allocated.wrapping_sub(self.expected.allocated).max(1);
        let moved = cycle.flip_pause_ns > 0;
        self.expected = Expected {
            mark: Duration::from_nanos(cycle.mark_ns),
            summary: Duration::from_nanos(cycle.summary_ns),
            compact: match moved {
                true => Duration::from_nanos(cycle.compact_ns),
                false => self.expected.compact,
            },
            leftovers: Duration::from_nanos(cycle.deposit_ns + cycle.finish_ns),
            live: Some(live),
            survival: (f64::from(grown) / f64::from(between)).min(1.0),
            allocated,
        };
    }
}

/// What `this` is of both.
fn share(this: Duration, other: Duration) -> f64 {
    let (this, other) = (this.as_secs_f64(), other.as_secs_f64());
    if this > 0.0 { this / (this + other) } else { 0.5 }
}

impl<M: ObjectModel> Collector<M> {
    /// Whether collector threads that are ahead of the mutators give way to them: where the cycle has begun
    /// in time and nobody waits for its end, but there are more threads than processors.
    pub(crate) fn gives_way(&self, cycle: &CycleStats) -> bool {
        let threads = cycle.mutators_running + rayon::current_num_threads() as u64;
        cycle.reason == CycleReason::Allocation && threads > self.policy.processors
    }

    /// Learns from a cycle, whose marking took `marked` of `took`, and decides when the next one
    /// starts.
    pub(crate) fn set_pace(&mut self, cycle: &mut CycleStats, marked: Duration, took: Duration) {
        self.look_at_container();
        let core = &*self.core;
        let page_bytes = core.space.geometry.page_bytes();
        let pages = |bytes: u64| u32::try_from(bytes / page_bytes as u64).unwrap_or(u32::MAX);
        let policy = &mut self.policy;
        let mut cursor = core.space.allocation.lock();
        policy.expect_the_same(cycle, pages(cycle.live_bytes), &cursor);
        let now = Instant::now();
        policy.pacer.learn(Measured {
            live: pages(cycle.live_bytes),
            mark: marked,
            compact: took - marked,
            allocated: cursor.allocated_since.wrapping_sub(policy.last_allocated),
            interval: now - policy.last_end,
            born: pages(cycle.born_bytes),
        });
        (policy.last_end, policy.last_allocated) = (now, cursor.allocated_since);
        let bounds = Bounds { soft: policy.soft, limit: cursor.asked(), page_bytes };
        let aim = policy.pacer.aim(policy.growth, bounds);
        let before = (cursor.limit, cursor.target);
        cursor.aim(aim.target, aim.headroom);
        match cursor.wants_cycle() {
            // The next one begins with the next buffer, and has to find some memory.
            true if cycle.flip_pause_ns > 0 => {}
            true => policy.pace_leftovers(&mut cursor, cycle),
            false => cursor.end_phases(),
        }
        let after = (cursor.limit, cursor.target);
        if cycle.flip_pause_ns == 0 {
            // Nothing moved.
            cycle.used_bytes_before = u64::from(cursor.top) * page_bytes as u64;
        }
        cycle.used_bytes_after = u64::from(cursor.top) * page_bytes as u64;
        cycle.target_bytes = u64::from(cursor.target) * page_bytes as u64;
        drop(cursor);
        let (allocation, mark, compact) = policy.pacer.speeds();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rounded figure for people; casts saturate"
        )]
        let bytes = |pages: f64| (pages * page_bytes as f64) as u64;
        let mut stats = core.observers.stats();
        stats.allocation_bytes_per_s = bytes(allocation);
        stats.mark_bytes_per_s = bytes(mark);
        stats.compact_bytes_per_s = bytes(compact);
        drop(stats);
        if before != after {
            core.tell_limit(after.0, after.1);
        }
    }

    /// Asks the container what it leaves, and keeps the heap below that.
    pub(crate) fn look_at_container(&self) {
        let Some(group) = &self.policy.group else { return };
        let core = &*self.core;
        let left = group.left_bytes();
        let mut cursor = core.space.allocation.lock();
        let cap = match left {
            None => u32::MAX,
            Some(left) => {
                let page_bytes = core.space.geometry.page_bytes() as u64;
                let left = left - SIDE_BYTES.min(left / 2);
                let has = u64::from(cursor.resident.max(cursor.top));
                let share =
                    (has + left / page_bytes) / 8 * share_in_eighths(core.space.transport.kind());
                let all = u32::try_from(share).unwrap_or(u32::MAX);
                // The heap keeps some pages beyond its limit.
                all - warm_pages(all).min(all)
            }
        };
        let before = (cursor.limit, cursor.target);
        cursor.set_cap(cap);
        let (after, wants_cycle) = ((cursor.limit, cursor.target), cursor.wants_cycle());
        drop(cursor);
        if before != after {
            core.tell_limit(after.0, after.1);
            if wants_cycle && after.0 < before.0 {
                core.control.suggest_cycle(CycleReason::Limit);
            }
        }
    }
}
