//! Counting: what each cycle did, and totals since the heap was built.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::addr::WORD_BYTES;
use crate::counters::Counters;
use crate::event::{CycleReason, Event, PauseKind};
use crate::options::Transport;

/// One finished cycle. Times in nanoseconds, sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CycleStats {
    /// Cycle number, from 1.
    pub number: u64,
    /// Why it was run.
    pub reason: CycleReason,
    /// Mutators that ran when the cycle began: that were not in a blocking region.
    pub mutators_running: u64,
    /// Bytes found live by marking, without what was allocated after the roots were scanned last.
    pub live_bytes: u64,
    /// Bytes of the heap in use at the flip.
    pub used_bytes_before: u64,
    /// Bytes of the heap in use at the end, what was allocated since the flip included.
    pub used_bytes_after: u64,
    /// Bytes that the heap tries to stay below until the next cycle.
    pub target_bytes: u64,
    /// Bytes allocated between the start of marking and the flip.
    pub born_bytes: u64,
    /// Those of them that count as live, because they were allocated after the last time that roots
    /// were scanned.
    pub black_bytes: u64,
    /// Time that mutators waited for memory since the last cycle's end, all together.
    pub allocation_stall_ns: u64,
    /// Time that mutators were held back since the last cycle's end, all together, in short waits, so
    /// that memory lasts until the collector is done. Waits of more than a millisecond are counted as
    /// stalls too.
    pub held_back_ns: u64,
    /// Time that collector threads gave way to mutators, all together, because memory would last and
    /// there were more threads than processors. It is part of `compact_ns`.
    pub given_way_ns: u64,
    /// How often the collector thread left the processor of a running mutator for one without.
    pub moved_apart: u64,
    /// Most pages of heap and from-space with memory behind them during the cycle, by count.
    pub peak_resident_pages: u64,
    /// Concurrent marking.
    pub mark_ns: u64,
    /// The pause that ends marking.
    pub remark_pause_ns: u64,
    /// Concurrent summary.
    pub summary_ns: u64,
    /// The pause that sets the heap aside, from the request to the last resume.
    pub flip_pause_ns: u64,
    /// Concurrent compaction.
    pub compact_ns: u64,
    /// Handing emptied pages to the allocator, which saves mutators their page faults. Only where
    /// pages can be moved; not part of compaction, as those page faults are not.
    pub deposit_ns: u64,
    /// Giving back and cleaning up after it.
    pub finish_ns: u64,
    /// Processor time of the collector's threads from flip to finish.
    pub compaction_cpu_ns: u64,
    /// Bytes copied from old pages to new ones.
    pub bytes_copied: u64,
    /// Bytes of whole pages that kept their content: what islands have saved from being copied.
    pub bytes_slid: u64,
    /// Of these pages, those whose words were not looked at: without references, or with none that
    /// changes.
    pub pages_unread: u64,
    /// Runs of pages that kept their content, without the dense prefix.
    pub islands: u64,
    /// Bytes left empty before them.
    pub island_padding_bytes: u64,
    /// The share of live words from which on a page was dense enough for an island, in percent; zero
    /// if none was.
    pub island_threshold_percent: u64,
    /// Pages the kernel moved.
    pub pages_moved: u64,
    /// Emptied pages that became staging pages.
    pub pages_recycled: u64,
    /// Pages the kernel had to allocate.
    pub pages_allocated: u64,
    /// Pages added to the warm pool before the flip.
    pub pages_warmed: u64,
    /// Pages that mutators built which would have had to wait for the collector.
    pub pages_helped: u64,
    /// Live bytes that mutators found which would have had to wait for the collector.
    pub bytes_marked_by_mutators: u64,
    /// Pages given back to the kernel while the cycle ran.
    pub pages_released: u64,
    /// System calls that put pages in place.
    pub ioctls: u64,
    /// System calls that gave memory back.
    pub madvise_calls: u64,
    /// Pages that could not be moved because they are shared or pinned (`EBUSY`), and were copied.
    pub busy_fallbacks: u64,
    /// Pages that were copied because the kernel made no progress (`EAGAIN`, `EINTR`, `ENOMEM`).
    pub stalled_fallbacks: u64,
    /// Pages that were copied because the kernel refused for any other reason.
    pub refused_fallbacks: u64,
    /// Faults served by mutators, or for them.
    pub faults: u64,
    /// Faults whose time was not recorded, for there were too many.
    pub faults_unrecorded: u64,
}

/// Totals since the heap was built. Times in nanoseconds, sizes in bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeapStats {
    /// How pages are put in place.
    pub transport: Transport,
    /// The kernel's page size.
    pub page_bytes: usize,
    /// The heap's limit: what the program asked for, or what the container leaves, if that is less.
    pub limit_bytes: usize,
    /// Bytes that the heap tries to stay below by collecting.
    pub target_bytes: usize,
    /// Finished cycles.
    pub cycles: u64,
    /// Those among them for which an allocation had found no room.
    pub emergency_cycles: u64,
    /// Allocations that were answered with an error because the heap was full.
    pub out_of_memory: u64,
    /// Bytes allocated in a second, on average over the last cycles.
    pub allocation_bytes_per_s: u64,
    /// Live bytes marked in a second, on average over the last cycles.
    pub mark_bytes_per_s: u64,
    /// Live bytes that summary, flip and compaction dealt with in a second, on average.
    pub compact_bytes_per_s: u64,
    /// Bytes found live by the last cycle.
    pub live_bytes: u64,
    /// The same, added up over all cycles.
    pub live_bytes_total: u64,
    /// Flip pause, compaction and finish, wall time.
    pub compaction_ns: u64,
    /// The same, processor time of the collector's threads.
    pub compaction_cpu_ns: u64,
    /// Handing emptied pages to the allocator; not part of compaction.
    pub deposit_ns: u64,
    /// Concurrent marking.
    pub mark_ns: u64,
    /// Concurrent summary.
    pub summary_ns: u64,
    /// Time that mutators waited for memory, all together.
    pub allocation_stall_ns: u64,
    /// Time that mutators were held back, all together, in short waits.
    pub held_back_ns: u64,
    /// Time that collector threads gave way to mutators, all together.
    pub given_way_ns: u64,
    /// How often the collector thread left the processor of a running mutator for one without.
    pub moved_apart: u64,
    /// Bytes copied from old pages to new ones.
    pub bytes_copied: u64,
    /// Bytes of whole pages that kept their content.
    pub bytes_slid: u64,
    /// Of these pages, those whose words were not looked at.
    pub pages_unread: u64,
    /// Runs of pages that kept their content, without dense prefixes.
    pub islands: u64,
    /// Bytes left empty before them.
    pub island_padding_bytes: u64,
    /// Pages the kernel moved.
    pub pages_moved: u64,
    /// Emptied pages that became staging pages.
    pub pages_recycled: u64,
    /// Pages the kernel had to allocate for compaction.
    pub pages_allocated: u64,
    /// Pages added to the warm pool.
    pub pages_warmed: u64,
    /// Pages that mutators built which would have had to wait for the collector.
    pub pages_helped: u64,
    /// Live bytes that mutators found which would have had to wait for the collector.
    pub bytes_marked_by_mutators: u64,
    /// Pages given back to the kernel, in cycles and between them.
    pub pages_released: u64,
    /// Those among them that were given back between cycles: not used for a while, on request, or
    /// because memory was short.
    pub pages_released_between: u64,
    /// Free pages that the kernel refused to take back (locked in memory, for example).
    pub pages_kept_back: u64,
    /// System calls that put pages in place.
    pub ioctls: u64,
    /// System calls that gave memory back.
    pub madvise_calls: u64,
    /// Pages that could not be moved because they are shared or pinned (`EBUSY`), and were copied.
    pub busy_fallbacks: u64,
    /// Pages that were copied because the kernel made no progress (`EAGAIN`, `EINTR`, `ENOMEM`).
    pub stalled_fallbacks: u64,
    /// Pages that were copied because the kernel refused for any other reason.
    pub refused_fallbacks: u64,
    /// Faults served by mutators, or for them.
    pub faults_by_mutators: u64,
    /// Most pages of heap and from-space with memory behind them, by count.
    pub peak_resident_pages: u64,
    /// Bytes of the collector's side tables per MiB of heap, when all of them are in use.
    pub metadata_bytes_per_mib: u64,
    /// All pauses, from the request to the last resume.
    pub pause_ns: Histogram<u64>,
    /// The pauses that set the heap aside.
    pub flip_pause_ns: Histogram<u64>,
    /// From asking the mutators to stop until the last one has.
    pub safepoint_ns: Histogram<u64>,
    /// Serving a fault, on the thread that serves it.
    pub fault_ns: Histogram<u64>,
    /// Waiting for memory, each time a mutator had to.
    pub stall_ns: Histogram<u64>,
    /// The last 1024 cycles.
    pub cycle_log: Vec<CycleStats>,
    /// What mutators had waited at the end of the last cycle.
    stall_ns_told: u64,
}

/// How many cycles the log keeps.
const LOG_CYCLES: usize = 1024;

fn histogram() -> Histogram<u64> {
    // Three digits from 1 ns to 100 s; larger values count as 100 s.
    Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("constant bounds are valid")
}

impl HeapStats {
    pub(crate) fn new(transport: Transport, page_bytes: usize, limit_bytes: usize) -> Self {
        Self {
            transport,
            page_bytes,
            limit_bytes,
            target_bytes: limit_bytes,
            cycles: 0,
            emergency_cycles: 0,
            out_of_memory: 0,
            allocation_bytes_per_s: 0,
            mark_bytes_per_s: 0,
            compact_bytes_per_s: 0,
            live_bytes: 0,
            live_bytes_total: 0,
            compaction_ns: 0,
            compaction_cpu_ns: 0,
            deposit_ns: 0,
            mark_ns: 0,
            summary_ns: 0,
            allocation_stall_ns: 0,
            held_back_ns: 0,
            given_way_ns: 0,
            moved_apart: 0,
            bytes_copied: 0,
            bytes_slid: 0,
            pages_unread: 0,
            islands: 0,
            island_padding_bytes: 0,
            pages_moved: 0,
            pages_recycled: 0,
            pages_allocated: 0,
            pages_warmed: 0,
            pages_helped: 0,
            bytes_marked_by_mutators: 0,
            pages_released: 0,
            pages_released_between: 0,
            pages_kept_back: 0,
            ioctls: 0,
            madvise_calls: 0,
            busy_fallbacks: 0,
            stalled_fallbacks: 0,
            refused_fallbacks: 0,
            faults_by_mutators: 0,
            peak_resident_pages: 0,
            metadata_bytes_per_mib: 0,
            pause_ns: histogram(),
            flip_pause_ns: histogram(),
            safepoint_ns: histogram(),
            fault_ns: histogram(),
            stall_ns: histogram(),
            cycle_log: Vec::new(),
            stall_ns_told: 0,
        }
    }

    /// Counts an event in.
    pub(crate) fn note(&mut self, event: &Event) {
        match *event {
            Event::Paused { kind, safepoint, took, mutators, .. } => {
                if kind == PauseKind::Flip {
                    self.flip_pause_ns.saturating_record(ns(took).max(1));
                }
                if mutators > 0 {
                    self.safepoint_ns.saturating_record(ns(safepoint).max(1));
                    self.pause_ns.saturating_record(ns(took).max(1));
                }
            }
            Event::FaultServed { took, .. } => self.fault_ns.saturating_record(ns(took).max(1)),
            Event::Stalled { took, .. } => {
                self.allocation_stall_ns += ns(took);
                self.stall_ns.saturating_record(ns(took).max(1));
            }
            Event::LimitChanged { limit_bytes, target_bytes } => {
                self.limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
                self.target_bytes = usize::try_from(target_bytes).unwrap_or(usize::MAX);
            }
            Event::Released { pages, calls, refused, .. } => {
                self.pages_released += pages;
                self.pages_released_between += pages;
                self.pages_kept_back += refused;
                self.madvise_calls += calls;
            }
            Event::OutOfMemory { .. } => self.out_of_memory += 1,
            Event::CycleEnded { ref stats } => self.add_cycle(*stats),
            Event::CycleBegan { .. } | Event::PhaseBegan { .. } | Event::PhaseEnded { .. } => {}
        }
    }

    /// Moves what was counted in a finished cycle into `cycle`.
    pub(crate) fn take_counts(&mut self, cycle: &mut CycleStats, counters: &Counters) {
        cycle.bytes_copied = counters.bytes_copied.take();
        cycle.bytes_slid = counters.bytes_slid.take();
        cycle.pages_unread = counters.pages_unread.take();
        cycle.pages_moved = counters.pages_moved.take();
        cycle.pages_recycled = counters.pages_recycled.take();
        cycle.pages_allocated = counters.pages_allocated.take();
        cycle.pages_warmed = counters.pages_warmed.take();
        cycle.pages_helped = counters.pages_helped.take();
        cycle.bytes_marked_by_mutators = counters.words_helped.take() * WORD_BYTES as u64;
        cycle.pages_released = counters.pages_released.take();
        cycle.ioctls = counters.ioctls.take();
        cycle.madvise_calls = counters.madvise_calls.take();
        cycle.busy_fallbacks = counters.busy_fallbacks.take();
        cycle.stalled_fallbacks = counters.stalled_fallbacks.take();
        cycle.refused_fallbacks = counters.refused_fallbacks.take();
        cycle.faults = counters.faults.take();
        cycle.held_back_ns = counters.held_back_ns.take();
        cycle.given_way_ns = counters.given_way_ns.take();
        cycle.moved_apart = counters.moved_apart.take();
        cycle.allocation_stall_ns = self.allocation_stall_ns - self.stall_ns_told;
        self.stall_ns_told = self.allocation_stall_ns;
    }

    fn add_cycle(&mut self, cycle: CycleStats) {
        self.cycles = cycle.number;
        self.emergency_cycles += u64::from(cycle.reason == CycleReason::Emergency);
        self.live_bytes = cycle.live_bytes;
        self.live_bytes_total += cycle.live_bytes;
        self.held_back_ns += cycle.held_back_ns;
        self.given_way_ns += cycle.given_way_ns;
        self.moved_apart += cycle.moved_apart;
        self.compaction_ns += cycle.flip_pause_ns + cycle.compact_ns + cycle.finish_ns;
        self.compaction_cpu_ns += cycle.compaction_cpu_ns;
        self.deposit_ns += cycle.deposit_ns;
        self.mark_ns += cycle.mark_ns;
        self.summary_ns += cycle.summary_ns;
        self.bytes_copied += cycle.bytes_copied;
        self.bytes_slid += cycle.bytes_slid;
        self.pages_unread += cycle.pages_unread;
        self.islands += cycle.islands;
        self.island_padding_bytes += cycle.island_padding_bytes;
        self.pages_moved += cycle.pages_moved;
        self.pages_recycled += cycle.pages_recycled;
        self.pages_allocated += cycle.pages_allocated;
        self.pages_warmed += cycle.pages_warmed;
        self.pages_helped += cycle.pages_helped;
        self.bytes_marked_by_mutators += cycle.bytes_marked_by_mutators;
        self.pages_released += cycle.pages_released;
        self.ioctls += cycle.ioctls;
        self.madvise_calls += cycle.madvise_calls;
        self.busy_fallbacks += cycle.busy_fallbacks;
        self.stalled_fallbacks += cycle.stalled_fallbacks;
        self.refused_fallbacks += cycle.refused_fallbacks;
        self.faults_by_mutators += cycle.faults;
        self.peak_resident_pages = self.peak_resident_pages.max(cycle.peak_resident_pages);
        if self.cycle_log.len() == LOG_CYCLES {
            self.cycle_log.remove(0);
        }
        self.cycle_log.push(cycle);
    }
}

/// A duration in whole nanoseconds.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The share of side tables in the heap: live bitmap, half as much for marks apart, offsets, straddlers,
/// first words, states, extents, splits, pages with slots.
pub(crate) fn metadata_bytes_per_mib(page_bytes: usize) -> u64 {
    let mib = 1 << 20;
    let per_page = 24 + 4 + 4 + 4 + 8 + 1;
    (mib / 64 + mib / 128 + mib / 512 * 4 + mib / page_bytes * per_page) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn side_tables_stay_below_four_and_a_half_percent() {
        for page_bytes in [4096, 16384] {
            let share = metadata_bytes_per_mib(page_bytes);
            assert!(share * 1000 <= 45 << 20, "{share} bytes per MiB");
        }
    }

    #[test]
    fn totals_are_sums_of_cycles() {
        let counters = Counters::default();
        let mut stats = HeapStats::new(Transport::Move, 4096, 1 << 20);
        for number in 1..=2 {
            counters.ioctls.add(3);
            let mut cycle =
                CycleStats { number, compact_ns: 5, live_bytes: 100, ..Default::default() };
            let stalled =
                Event::Stalled { began: Instant::now(), took: Duration::from_nanos(7), thread: 1 };
            stats.note(&stalled);
            stats.take_counts(&mut cycle, &counters);
            stats.note(&Event::CycleEnded { stats: cycle });
        }
        assert_eq!((stats.cycles, stats.ioctls, stats.compaction_ns), (2, 6, 10));
        assert_eq!((stats.live_bytes, stats.live_bytes_total), (100, 200));
        assert_eq!(stats.cycle_log[1].ioctls, 3);
        assert_eq!((stats.allocation_stall_ns, stats.stall_ns.len()), (14, 2));
        assert_eq!(stats.cycle_log[1].allocation_stall_ns, 7);
    }
}
