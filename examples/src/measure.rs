//! What the program itself feels: the gap between two of its steps, and its memory.

use std::fs;
use std::time::Instant;

use hdrhistogram::Histogram;

/// Records the time between successive steps of one thread, in nanoseconds.
///
/// A step is a query's next few hundred postings, or 64 allocations: a few microseconds of work. So
/// a long gap is time that something took away: a pause, a fault, an allocation stall, the scheduler.
#[derive(Debug)]
pub(crate) struct StepClock {
    last: Instant,
    gaps: Histogram<u64>,
}

impl StepClock {
    pub(crate) fn start() -> Self {
        Self { last: Instant::now(), gaps: new_histogram() }
    }

    /// A step is done.
    pub(crate) fn step(&mut self) {
        let now = Instant::now();
        let gap = u64::try_from((now - self.last).as_nanos()).unwrap_or(u64::MAX);
        self.gaps.saturating_record(gap);
        self.last = now;
    }

    /// The thread has waited for its fellows: that time belongs to no step.
    pub(crate) fn resume(&mut self) {
        self.last = Instant::now();
    }

    pub(crate) fn into_gaps(self) -> Histogram<u64> {
        self.gaps
    }
}

/// An empty histogram of nanoseconds up to ten minutes, two digits.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 2).expect("the bounds are in order")
}

/// The process's resident memory, as the kernel counts it, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

impl Resident {
    /// Reads `/proc/self/status` (proc(5)); zeros where there is none.
    pub(crate) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { now: status_bytes(&status, "VmRSS:"), peak: status_bytes(&status, "VmHWM:") }
    }

    /// Lets the peak start again from the present amount (`/proc/self/clear_refs`, value 5).
    pub(crate) fn reset_peak() {
        // Without it the peak also counts what was read before: too high, never too low.
        let _ = fs::write("/proc/self/clear_refs", "5");
    }
}

fn status_bytes(status: &str, name: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_steps_is_counted_and_rests_are_not() {
        let mut clock = StepClock::start();
        clock.step();
        std::thread::sleep(std::time::Duration::from_millis(5));
        clock.resume();
        clock.step();
        std::thread::sleep(std::time::Duration::from_millis(5));
        clock.step();
        let gaps = clock.into_gaps();
        assert_eq!(gaps.len(), 3);
        assert!(gaps.max() >= 5_000_000);
        assert_eq!(
            gaps.iter_recorded().filter(|it| it.value_iterated_to() >= 5_000_000).count(),
            1
        );
    }

    #[test]
    fn status_lines_are_kibibytes() {
        assert_eq!(status_bytes("Name:\tx\nVmHWM:\t     12 kB\n", "VmHWM:"), 12 * 1024);
        assert_eq!(status_bytes("", "VmHWM:"), 0);
    }
}
