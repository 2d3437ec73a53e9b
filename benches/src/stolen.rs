//! Processor time that the hypervisor gave to other machines: what is measured meanwhile is theirs too.

use std::num::NonZero;
use std::time::{Duration, Instant};

/// The unit of /proc/stat is a hundredth of a second on Linux, whatever the kernel's tick
/// (`USER_HZ` of `proc_stat(5)`).
const UNIT: Duration = Duration::from_millis(10);

/// Since when, and what had been stolen by then.
#[derive(Debug, Clone, Copy)]
pub struct Stolen {
    began: Instant,
    units: u64,
}

impl Stolen {
    /// From now on.
    #[must_use]
    pub fn from_now() -> Self {
        Self { began: Instant::now(), units: units_so_far() }
    }

    /// The share of all processors that was stolen since, from 0 to 1. It is 0 where nothing is told of it,
    /// and for times too short to tell.
    #[must_use]
    pub fn share(self) -> f64 {
        let elapsed = self.began.elapsed();
        if elapsed < UNIT {
            return 0.0;
        }
        let stolen =
            UNIT.as_secs_f64() * crate::samples::counter(units_so_far().saturating_sub(self.units));
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let all = elapsed * u32::try_from(cores).unwrap_or(u32::MAX);
        (stolen / all.as_secs_f64()).min(1.0)
    }
}

fn units_so_far() -> u64 {
    std::fs::read_to_string("/proc/stat").map_or(0, |text| units_in(&text))
}

/// The eighth number of all processors together.
fn units_in(stat: &str) -> u64 {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    all.and_then(|line| line.split_whitespace().nth(7)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stolen_is_read_from_the_line_of_all_processors() {
        let text = "cpu  4331 352 1053 3976 177 0 17 44 1 2\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(units_in(text), 44);
        assert_eq!(units_in("cpu  1 2 3\n"), 0, "an old kernel");
        assert_eq!(units_in(""), 0);
    }

    #[test]
    fn a_share_is_between_nothing_and_all() {
        let stolen = Stolen::from_now();
        std::thread::sleep(2 * UNIT);
        assert!((0.0..=1.0).contains(&stolen.share()));
    }
}
