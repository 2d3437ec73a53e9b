//! After a cycle: what was learned from it, and how much memory to use until the next.

use std::time::{Duration, Instant};

use crate::container::Group;
use crate::cycle::Collector;
use crate::event::CycleReason;
use crate::model::ObjectModel;
use crate::options::{Container, Growth, Options, Transport};
use crate::space::allocation::warm_pages;
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
    last_end: Instant,
    last_allocated: u32,
}

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
            last_end: Instant::now(),
            last_allocated: 0,
        }
    }
}

impl<M: ObjectModel> Collector<M> {
    /// Learns from a cycle, whose marking took `marked` of `took`, and decides when the next one
    /// starts.
    pub(crate) fn set_pace(&mut self, cycle: &mut CycleStats, marked: Duration, took: Duration) {
        self.look_at_container();
        let core = &*self.core;
        let page_bytes = core.space.geometry.page_bytes();
        let pages = |bytes: u64| u32::try_from(bytes / page_bytes as u64).unwrap_or(u32::MAX);
        let policy = &mut self.policy;
        let mut cursor = core.space.allocation.lock();
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
