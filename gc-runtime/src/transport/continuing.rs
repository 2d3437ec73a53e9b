//! `continue`: pages are built through a second mapping and mapped by `UFFDIO_CONTINUE`.

use std::io;

use uffd_move::{RegisterMode, Stop};

use crate::counters::Counters;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::fatal::fatal;
use crate::raw::map::Access;
use crate::raw::uffd::{HeapUffd, done, is_transient};
use crate::transport::file_backed::Veil;
use crate::transport::file_spaces::FileSpaces;

/// Pages that are not mapped.
#[derive(Debug)]
pub(crate) struct Continuing {
    uffd: HeapUffd,
}

impl Continuing {
    pub(crate) fn new(uffd: HeapUffd) -> Self {
        Self { uffd }
    }
}

impl Veil for Continuing {
    const KIND: Transport = Transport::Continue;

    fn hide(&self, spaces: &FileSpaces, plan: Plan) -> io::Result<()> {
        spaces.flip(plan, Access::ReadWrite)?;
        self.uffd.register(&spaces.heap, RegisterMode::MISSING | RegisterMode::MINOR)
    }

    fn show(&self, spaces: &FileSpaces, page: u32, count: u32, counters: &Counters) {
        let (heap, uffd) = (&spaces.heap, &self.uffd);
        let mut at = 0;
        while at < count {
            counters.ioctls.add(1);
            match uffd.continue_pages(heap, page + at, count - at) {
                Ok(outcome) => {
                    at += done(outcome);
                    match outcome.stop {
                        Stop::Complete => {}
                        Stop::Present => {
                            uffd.wake(heap, page + at, 1);
                            at += 1;
                        }
                        _ => std::thread::yield_now(),
                    }
                }
                Err(error) if is_transient(&error) => {
                    at += u32::try_from(error.done.get()).unwrap_or(0);
                    std::thread::yield_now();
                }
                Err(error) => {
                    fatal("a page of the heap cannot be mapped into place", error.errno as i32)
                }
            }
        }
    }

    fn lift(&self, spaces: &FileSpaces) -> io::Result<()> {
        self.uffd.unregister(&spaces.heap)
    }
}
