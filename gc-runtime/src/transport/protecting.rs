//! `mprotect`: the heap is closed, and opened page by page as pages are built behind it.
//!
//! Works without userfaultfd. Each opened run between closed ones is a mapping of its own, up to
//! `vm.max_map_count`; beyond that a page waits until the collector, which opens in address order,
//! has joined some of them.

use std::io;
use std::time::Duration;

use crate::counters::Counters;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::fatal::fatal;
use crate::raw::futex;
use crate::raw::map::Access;
use crate::transport::file_backed::Veil;
use crate::transport::file_spaces::FileSpaces;

/// How long to wait for the collector to join mappings.
const JOIN_WAIT: Duration = Duration::from_micros(200);

/// Pages that may not be touched.
#[derive(Debug)]
pub(crate) struct Protecting {
    page_bytes: usize,
}

impl Protecting {
    pub(crate) fn new(page_bytes: usize) -> Self {
        Self { page_bytes }
    }
}

impl Veil for Protecting {
    const KIND: Transport = Transport::Mprotect;

    fn hide(&self, spaces: &FileSpaces, plan: Plan) -> io::Result<()> {
        spaces.flip(plan, Access::None)
    }

    fn show(&self, spaces: &FileSpaces, page: u32, count: u32, counters: &Counters) {
        let (offset, len) = (page as usize * self.page_bytes, count as usize * self.page_bytes);
        loop {
            counters.ioctls.add(1);
            match spaces.heap.protect(offset, len, Access::ReadWrite) {
                Ok(()) => return,
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                    futex::nap(JOIN_WAIT);
                }
                Err(error) => {
                    fatal("a page of the heap cannot be opened", error.raw_os_error().unwrap_or(0))
                }
            }
        }
    }

    fn lift(&self, spaces: &FileSpaces) -> io::Result<()> {
        spaces.heap.protect(0, spaces.heap.len(), Access::ReadWrite)
    }
}
