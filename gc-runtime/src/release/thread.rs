//! The thread that gives memory back: it sleeps until something is freed, has not been used for
//! long enough, or memory is short.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::event::ReleaseReason;
use crate::release::Release;
use crate::release::pressure::{Meaning, Watch};

/// Memory that is short stays so for a while; so often is enough.
const PRESSURE_PAUSE: Duration = Duration::from_secs(2);

/// What the thread does for its heap.
pub(crate) trait Drainer: Send + Sync {
    /// Gives back what there is to give, and tells about it.
    fn drain(&self, reason: ReleaseReason);

    /// The heap's bitmap and bell.
    fn release(&self) -> &Release;
}

/// Ends the thread.
#[derive(Debug, Default)]
pub(crate) struct Ending(AtomicBool);

/// Why the thread woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Rung,
    Short,
}

impl Release {
    /// Serves until [`end`](Self::end).
    pub(crate) fn serve(heap: &dyn Drainer, mut watch: Option<Watch>, ending: &Ending) {
        let release = heap.release();
        let mut quiet_until = None;
        while !ending.0.load(Ordering::Acquire) {
            match release.sleep(&mut watch, quiet_until) {
                Woken::Rung => heap.drain(ReleaseReason::Unused),
                Woken::Short => {
                    heap.drain(ReleaseReason::Pressure);
                    quiet_until = Some(Instant::now() + PRESSURE_PAUSE);
                }
            }
        }
    }

    /// Ends [`serve`](Self::serve) soon.
    pub(crate) fn end(&self, ending: &Ending) {
        ending.0.store(true, Ordering::Release);
        self.wake();
    }

    /// Sleeps until the bell rings, what was used is too long ago, or memory is short; that is not
    /// looked at before `quiet_until`.
    fn sleep(&self, watch: &mut Option<Watch>, quiet_until: Option<Instant>) -> Woken {
        let now = Instant::now();
        let quiet_until = quiet_until.filter(|&until| until > now && watch.is_some());
        let mut ready = vec![PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        if quiet_until.is_none() {
            ready
                .extend(watch.as_ref().map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLPRI)));
        }
        let until = [self.next(), quiet_until].into_iter().flatten().min();
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            // A millisecond late rather than a moment early.
            let left = until.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        if let Err(error) = poll(&mut ready, timeout)
            && error != Errno::EINTR
        {
            tracing::error!(%error, "waiting for memory to give back");
            std::thread::sleep(Duration::from_millis(100));
        }
        let events = |at: usize| {
            let answer: Option<&PollFd<'_>> = ready.get(at);
            answer.and_then(PollFd::revents).unwrap_or(PollFlags::empty())
        };
        let (rung, told) = (events(0), events(1));
        if !rung.is_empty() {
            let _ = self.bell.read();
        }
        match watch.as_mut().map(|watch| watch.meaning(told)) {
            Some(Meaning::Short) => Woken::Short,
            Some(Meaning::Gone) => {
                tracing::debug!("the control group is gone: memory pressure is not noticed");
                *watch = None;
                Woken::Rung
            }
            Some(Meaning::Nothing) | None => Woken::Rung,
        }
    }
}
