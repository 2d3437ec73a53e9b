//! What goes on around a heap: forks and signals.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getuid};

/// How often the process was disturbed.
#[derive(Debug, Default)]
pub struct Disturbances {
    /// Children forked (not spawned: the address space is shared until they run their program).
    pub forks: AtomicU64,
    /// Signals sent to the process.
    pub signals: AtomicU64,
}

/// Forks and sends signals until `stop`.
pub fn disturb(disturbances: &Disturbances, stop: &AtomicBool) {
    let seen = Arc::new(AtomicBool::new(false));
    let handler = signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&seen));
    let mut round = 0u32;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        if handler.is_ok() && kill(Pid::this(), Signal::SIGUSR1).is_ok() {
            disturbances.signals.fetch_add(1, Ordering::Relaxed);
        }
        if round.is_multiple_of(8) {
            // A user id to set makes the standard library fork; otherwise it would spawn without
            // sharing any page.
            let child = Command::new("true")
                .uid(getuid().as_raw())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if child.is_ok() {
                disturbances.forks.fetch_add(1, Ordering::Relaxed);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
