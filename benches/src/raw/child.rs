//! Waiting for a child and learning what it took.

use std::io;
use std::process::Child;
use std::time::{Duration, Instant};

/// What the kernel says of a child that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Whether it ended by itself with status 0.
    pub success: bool,
    /// Processor time, its own and the kernel's for it.
    pub cpu: Duration,
    /// Most memory that it had at a time, in KiB.
    pub peak_rss_kib: u64,
}

/// Waits for `child`; after `limit` it is killed.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | `ECHILD` | somebody has waited for it already | do not |
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Ended> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let began = Instant::now();
    let mut killed = false;
    loop {
        let mut status = 0;
        // SAFETY: all zeros is a valid value of this structure of numbers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both out-parameters are borrowed for the call, and the child is ours.
        let answer = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if answer == pid {
            let success = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
            let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
            let peak_rss_kib = u64::try_from(usage.ru_maxrss).unwrap_or(0);
            return Ok(Ended { success: success && !killed, cpu, peak_rss_kib });
        }
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        if began.elapsed() > limit && !killed {
            killed = true;
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn duration(time: libc::timeval) -> Duration {
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_micros(part(time.tv_usec))
}
