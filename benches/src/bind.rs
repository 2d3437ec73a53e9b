//! Threads that stay where they are: what is measured is not how the scheduler spreads them.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::BenchError;

/// To these calls: the thread that makes them.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// Keeps the calling thread on the `n`th of the processors that it may use; with fewer than that it
/// begins again with the first.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::System`] | the kernel, or a sandbox, does not let threads choose | measure without it |
pub fn bind(n: usize) -> Result<(), BenchError> {
    let one = nth(n)?;
    sched_setaffinity(THIS_THREAD, &one).map_err(std::io::Error::from)?;
    Ok(())
}

fn nth(n: usize) -> Result<CpuSet, BenchError> {
    let may = sched_getaffinity(THIS_THREAD).map_err(std::io::Error::from)?;
    let mut numbers: Vec<usize> =
        (0..CpuSet::count()).filter(|&number| may.is_set(number) == Ok(true)).collect();
    let at = n % numbers.len().max(1);
    let mut one = CpuSet::new();
    one.set(numbers.swap_remove(at)).map_err(std::io::Error::from)?;
    Ok(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_thread_may_use_one_processor_and_others_all() {
        let before = sched_getaffinity(THIS_THREAD).unwrap();
        for n in [0, 1, 7] {
            let expected = nth(n).unwrap();
            let after = std::thread::spawn(move || {
                bind(n).unwrap();
                sched_getaffinity(THIS_THREAD).unwrap()
            });
            assert_eq!(after.join().unwrap(), expected);
        }
        assert_eq!(sched_getaffinity(THIS_THREAD), Ok(before));
    }
}
