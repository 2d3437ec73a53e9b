//! Fault delivery to a thread of our own: poll, read in batches, hand out.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::fault::{Event, EventBuffer};

/// Events read with one system call.
const BATCH: usize = 64;

/// Who serves the events of a [`HandlerThread`].
///
/// An ordinary thread calls it, so it may allocate and lock; but never something that a waiting
/// thread may hold, for that one waits for this one.
pub trait EventHandler: Send + Sync {
    /// Serves `event`. A fault is served when the page is there, and the waiting thread is woken.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> EventHandler for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// A thread that reads a userfaultfd's events and hands them to an [`EventHandler`].
///
/// Dropping it stops the thread and waits for its end. Events that are not read by then stay in the
/// descriptor; a thread that waits for a page goes on waiting until somebody reads them, or the
/// range is unregistered.
#[must_use = "dropping the handler thread stops it"]
pub struct HandlerThread {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl HandlerThread {
    /// Starts the thread.
    ///
    /// The descriptor is made non-blocking: `poll` only ever says "error" on one that blocks.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | any | no eventfd, or no thread | the process is at its limits |
    pub fn spawn<U>(uffd: Arc<U>, handler: Arc<dyn EventHandler>) -> io::Result<Self>
    where
        U: AsFd + Send + Sync + 'static,
    {
        let flags = OFlag::from_bits_retain(fcntl(uffd.as_fd(), FcntlArg::F_GETFL)?);
        fcntl(uffd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let thread = Builder::new().name("uffd-handler".into()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                let result = serve(&*uffd, &stop, &*handler);
                if let Err(error) = &result {
                    tracing::error!(%error, "the userfaultfd handler thread ends");
                }
                result
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Stops the thread, waits for its end, and says how it ended.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | any | reading events failed some time ago | waiting threads were not served since |
    ///
    /// # Panics
    ///
    /// If the handler panicked.
    pub fn stop(mut self) -> io::Result<()> {
        match self.end() {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }

    fn end(&mut self) -> Option<std::thread::Result<io::Result<()>>> {
        let thread = self.thread.take()?;
        // Fails only if the counter is full, and then the thread is told already.
        let _ = self.stop.write(1);
        Some(thread.join())
    }
}

impl Drop for HandlerThread {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl fmt::Debug for HandlerThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerThread")
            .field("running", &self.thread.as_ref().is_some_and(|thread| !thread.is_finished()))
            .finish_non_exhaustive()
    }
}

fn serve(uffd: &impl AsFd, stop: &EventFd, handler: &dyn EventHandler) -> io::Result<()> {
    let mut buffer = EventBuffer::new(BATCH);
    loop {
        let mut fds = [
            PollFd::new(uffd.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        if fds[1].any().unwrap_or(true) {
            return Ok(());
        }
        let answered = fds[0].revents().unwrap_or(PollFlags::POLLERR);
        if answered.contains(PollFlags::POLLIN) {
            for event in buffer.read(uffd)? {
                handler.event(event);
            }
        } else if !answered.is_empty() {
            return Err(io::Error::other(format!("poll on the userfaultfd says {answered:?}")));
        }
    }
}
