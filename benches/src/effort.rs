//! What something took: time, the kernel's part of it, page faults.

use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::error::BenchError;
use crate::samples::{counter, nanoseconds};

/// What something took, with what the whole process did meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effort {
    /// Wall time.
    pub wall_ns: f64,
    /// Time in the kernel, of all threads together.
    pub system_ns: f64,
    /// Page faults that needed no reading.
    pub faults: f64,
}

impl Effort {
    /// Does it, and says what it took.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::System`] | the kernel does not say | |
    pub fn of<R>(work: impl FnOnce() -> R) -> Result<(R, Self), BenchError> {
        let before = usage()?;
        let began = Instant::now();
        let result = work();
        let wall = began.elapsed();
        let after = usage()?;
        let system = system(&after).saturating_sub(system(&before));
        let faults = after.minor_page_faults() - before.minor_page_faults();
        let effort = Self {
            wall_ns: counter(nanoseconds(wall)),
            system_ns: counter(nanoseconds(system)),
            faults: counter(u64::try_from(faults).unwrap_or(0)),
        };
        Ok((result, effort))
    }
}

fn usage() -> Result<Usage, BenchError> {
    Ok(getrusage(UsageWho::RUSAGE_SELF).map_err(std::io::Error::from)?)
}

fn system(usage: &Usage) -> Duration {
    let microseconds = usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_new_memory_takes_faults() {
        let (len, effort) = Effort::of(|| std::hint::black_box(vec![1_u8; 8 << 20]).len()).unwrap();
        assert_eq!(len, 8 << 20);
        assert!(effort.wall_ns > 0.0 && effort.faults >= 1.0, "{effort:?}");
    }
}
