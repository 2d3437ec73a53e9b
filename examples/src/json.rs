//! The results as JSON: the shape that other programs may rely on.

use gc_runtime::HeapStats;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::error::DemoError;
use crate::memory::Outcome;

/// A run or a comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) kernel: String,
    pub(crate) workload: String,
    pub(crate) seed: u64,
    pub(crate) heap_limit_bytes: u64,
    pub(crate) transports: Vec<Row>,
    /// Transports that took no part, with the reason.
    pub(crate) missing: Vec<Missing>,
    pub(crate) malloc: Option<Baseline>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// One run on the heap.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Sixteen hexadecimal digits: a JSON number would lose some.
    pub(crate) checksum: String,
    pub(crate) cycles: u64,
    pub(crate) compaction_ns_per_live_mib: f64,
    /// The same in CPU time of the collector threads: what others do on the machine disturbs it less.
    pub(crate) compaction_cpu_ns_per_live_mib: f64,
    /// Handing emptied pages to the allocator, which is not part of compaction: the other transports
    /// leave it to the mutators' page faults.
    pub(crate) deposit_ns_per_live_mib: f64,
    /// Compaction time as a multiple of that of `copy` in the same comparison.
    pub(crate) ratio_to_copy: Option<f64>,
    pub(crate) bytes_copied_per_live_byte: f64,
    pub(crate) bytes_slid_per_live_byte: f64,
    pub(crate) ioctls_per_mib: f64,
    /// Over all cycles, the first ones too, which fill the warm pool.
    pub(crate) pages_allocated_per_cycle: f64,
    /// Over the second half of the cycles that are on record.
    pub(crate) pages_allocated_per_steady_cycle: f64,
    pub(crate) pages_recycled: u64,
    pub(crate) pages_allocated: u64,
    pub(crate) pages_warmed: u64,
    pub(crate) pages_released: u64,
    pub(crate) ioctls: u64,
    pub(crate) busy_fallbacks: u64,
    pub(crate) bytes_copied: u64,
    pub(crate) bytes_slid: u64,
    pub(crate) faults_by_mutators: u64,
    pub(crate) fault_us: FaultTimes,
    pub(crate) pause_us: Times,
    pub(crate) flip_pause_us: Times,
    pub(crate) safepoint_us: Times,
    pub(crate) gap_ms: Gaps,
    pub(crate) allocation_stall_ms: f64,
    /// After the last cycle, when nothing but the live data was left.
    pub(crate) live_bytes: u64,
    pub(crate) heap_limit_bytes: u64,
    pub(crate) peak_rss_bytes: u64,
    /// Peak resident memory over the heap's limit. Both peaks are without what was resident before the heap was built.
    pub(crate) peak_rss_over_heap: f64,
    /// Peak resident memory over the live data.
    pub(crate) peak_rss_over_live: f64,
    /// Peak of the heap's own pages, each counted once: the kernel counts a page that is mapped twice twice.
    pub(crate) peak_heap_pages_over_live: f64,
    pub(crate) total_s: f64,
    pub(crate) verified: bool,
    pub(crate) verified_objects: u64,
    pub(crate) detail: Detail,
}

/// The baseline without the heap.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Baseline {
    pub(crate) checksum: String,
    pub(crate) total_s: f64,
    pub(crate) gap_ms: Gaps,
    pub(crate) peak_rss_bytes: u64,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct FaultTimes {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// The time between two steps of the program, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Gaps {
    pub(crate) p9999: f64,
    pub(crate) max: f64,
}

/// What the pictures of the report are drawn from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Detail {
    /// Upper edge in microseconds, and count.
    pub(crate) pauses: Vec<(f64, u64)>,
    pub(crate) faults: Vec<(f64, u64)>,
    /// After each cycle that was seen, one letter for each part of the heap.
    pub(crate) pages: Vec<PageRow>,
}

/// The heap's pages after a cycle: `.` free, `c` compacted, `s` slid, `f` fresh.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PageRow {
    pub(crate) cycle: u64,
    pub(crate) pages: String,
}

/// What a run found out beside the heap's own statistics.
pub(crate) struct Findings {
    pub(crate) baseline_rss_bytes: u64,
    pub(crate) peak_rss_bytes: u64,
    /// The number of objects, or nothing when the verification failed.
    pub(crate) verified_objects: Option<u64>,
    pub(crate) pages: Vec<PageRow>,
}

impl Results {
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("the shape has only plain values");
        text.push('\n');
        text
    }

    /// Fills in the ratios to `copy`, when it was run.
    pub(crate) fn compare_to_copy(&mut self) {
        let copy = self.transports.iter().find(|row| row.name == "copy");
        let copy = copy.map(|row| row.compaction_ns_per_live_mib).filter(|nanos| *nanos > 0.0);
        for row in &mut self.transports {
            row.ratio_to_copy = copy.map(|copy| row.compaction_ns_per_live_mib / copy);
        }
    }

    /// Whether all checksums are the same and every heap was found in order.
    pub(crate) fn check(&self) -> Result<(), DemoError> {
        if let Some(row) = self.transports.iter().find(|row| !row.verified) {
            return Err(DemoError::Check(format!(
                "the heap on {} is damaged: its verification failed; please report this with the command line",
                row.name
            )));
        }
        let of_malloc = self.malloc.iter().map(|row| ("malloc", &row.checksum));
        let of_heap = self.transports.iter().map(|row| (row.name.as_str(), &row.checksum));
        let mut all = of_malloc.chain(of_heap);
        let Some((name, checksum)) = all.next() else { return Ok(()) };
        match all.find(|(_, other)| *other != checksum) {
            None => Ok(()),
            Some((other_name, other)) => Err(DemoError::Check(format!(
                "the answers differ: checksum {checksum} on {name}, {other} on {other_name}; please report this \
                 with the command line"
            ))),
        }
    }
}

impl Row {
    pub(crate) fn new(outcome: &Outcome, stats: &HeapStats, findings: Findings) -> Self {
        let live_mib = stats.live_bytes_total as f64 / MIB;
        let peak = findings.peak_rss_bytes.saturating_sub(findings.baseline_rss_bytes) as f64;
        let most_live = stats.cycle_log.iter().map(|cycle| cycle.live_bytes).max();
        let most_live = most_live.unwrap_or(0).max(stats.live_bytes) as f64;
        let heap_pages = stats.peak_resident_pages as f64 * stats.page_bytes as f64;
        let steady = &stats.cycle_log[stats.cycle_log.len() / 2..];
        let steady_pages: u64 = steady.iter().map(|cycle| cycle.pages_allocated).sum();
        Self {
            name: stats.transport.to_string(),
            checksum: hexadecimal(outcome.checksum),
            cycles: stats.cycles,
            compaction_ns_per_live_mib: over(stats.compaction_ns as f64, live_mib),
            compaction_cpu_ns_per_live_mib: over(stats.compaction_cpu_ns as f64, live_mib),
            deposit_ns_per_live_mib: over(stats.deposit_ns as f64, live_mib),
            ratio_to_copy: None,
            bytes_copied_per_live_byte: over(stats.bytes_copied as f64, live_mib * MIB),
            bytes_slid_per_live_byte: over(stats.bytes_slid as f64, live_mib * MIB),
            ioctls_per_mib: over(stats.ioctls as f64, live_mib),
            pages_allocated_per_cycle: over(stats.pages_allocated as f64, stats.cycles as f64),
            pages_allocated_per_steady_cycle: over(steady_pages as f64, steady.len() as f64),
            pages_recycled: stats.pages_recycled,
            pages_allocated: stats.pages_allocated,
            pages_warmed: stats.pages_warmed,
            pages_released: stats.pages_released,
            ioctls: stats.ioctls,
            busy_fallbacks: stats.busy_fallbacks,
            bytes_copied: stats.bytes_copied,
            bytes_slid: stats.bytes_slid,
            faults_by_mutators: stats.faults_by_mutators,
            fault_us: FaultTimes {
                p50: micros(stats.fault_ns.value_at_quantile(0.5)),
                p99: micros(stats.fault_ns.value_at_quantile(0.99)),
                p999: micros(stats.fault_ns.value_at_quantile(0.999)),
            },
            pause_us: Times::of(&stats.pause_ns),
            flip_pause_us: Times::of(&stats.flip_pause_ns),
            safepoint_us: Times::of(&stats.safepoint_ns),
            gap_ms: Gaps::of(&outcome.gaps),
            allocation_stall_ms: stats.allocation_stall_ns as f64 / 1e6,
            live_bytes: stats.live_bytes,
            heap_limit_bytes: stats.limit_bytes as u64,
            peak_rss_bytes: findings.peak_rss_bytes,
            peak_rss_over_heap: over(peak, stats.limit_bytes as f64),
            peak_rss_over_live: over(peak, most_live),
            peak_heap_pages_over_live: over(heap_pages, most_live),
            total_s: outcome.seconds,
            verified: findings.verified_objects.is_some(),
            verified_objects: findings.verified_objects.unwrap_or(0),
            detail: Detail {
                pauses: bars(&stats.pause_ns),
                faults: bars(&stats.fault_ns),
                pages: findings.pages,
            },
        }
    }
}

impl Baseline {
    pub(crate) fn new(outcome: &Outcome, peak_rss_bytes: u64) -> Self {
        Self {
            checksum: hexadecimal(outcome.checksum),
            total_s: outcome.seconds,
            gap_ms: Gaps::of(&outcome.gaps),
            peak_rss_bytes,
        }
    }
}

impl Times {
    fn of(nanos: &Histogram<u64>) -> Self {
        Self {
            p50: micros(nanos.value_at_quantile(0.5)),
            p99: micros(nanos.value_at_quantile(0.99)),
            max: micros(nanos.max()),
        }
    }
}

impl Gaps {
    fn of(nanos: &Histogram<u64>) -> Self {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        Self { p9999: millis(nanos.value_at_quantile(0.9999)), max: millis(nanos.max()) }
    }
}

const MIB: f64 = 1024.0 * 1024.0;

fn hexadecimal(checksum: u64) -> String {
    format!("{checksum:016x}")
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// A ratio; zero when there is nothing to divide by.
fn over(value: f64, base: f64) -> f64 {
    if base > 0.0 { value / base } else { 0.0 }
}

/// A histogram in steps of a factor of two to the half.
fn bars(nanos: &Histogram<u64>) -> Vec<(f64, u64)> {
    if nanos.is_empty() {
        return Vec::new();
    }
    nanos
        .iter_log(250, std::f64::consts::SQRT_2)
        .map(|step| (micros(step.value_iterated_to()), step.count_since_last_iteration()))
        .skip_while(|bar| bar.1 == 0)
        .collect()
}
