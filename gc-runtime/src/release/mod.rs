//! Giving memory back: what the heap has no use for, a while after it was used last.
//!
//! ```text
//! collector frees pages --> [chunks] hints --> [thread] wakes --> [drain] looks, gives back
//!                                                 ^                  ^
//!                       time, [pressure], trim ---+    [decay] says what is worth keeping
//! ```
//!
//! Free memory of a heap is what lies behind the last object, up to where memory ends. It is given
//! back from its end downwards, in whole chunks of 2 MiB, so that no large folio is cut, empty page
//! tables go too, and a balloon can hand chunks to its host.

pub(crate) mod chunks;
mod decay;
mod drain;
mod pressure;
mod thread;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::event::ReleaseReason;
use crate::options::{Options, PageTables, Release as When, ReleaseBy};
use crate::raw::give_back::Giving;
use crate::raw::map::SideTable;
use crate::raw::page_tables::{giving_with_tables, is_memory_locked};
use chunks::{CHUNK_BYTES, FreeChunks, Ring};
use decay::Uses;

pub(crate) use pressure::Watch;
pub(crate) use thread::{Drainer, Ending};

/// What one heap gives back, and when.
#[derive(Debug)]
pub(crate) struct Release {
    chunks: FreeChunks<SideTable<AtomicU64>>,
    /// Pages of the heap's addresses.
    pages: u32,
    chunk_pages: u32,
    /// `None`: only on request.
    uses: Option<Mutex<Uses>>,
    by: ReleaseBy,
    page_tables: PageTables,
    /// Held by who gives memory back, for a batch, and by the collector while it compacts.
    batch: Mutex<()>,
    /// How many wait for `batch`.
    waiting: AtomicU32,
    /// Wakes the thread that gives back.
    bell: EventFd,
}

impl Release {
    /// For a heap of `pages` pages of addresses.
    pub(crate) fn new(options: &Options, pages: u32, page_bytes: usize) -> io::Result<Self> {
        let chunk_pages = u32::try_from(CHUNK_BYTES / page_bytes).unwrap_or(1).max(1);
        let words = pages.div_ceil(chunk_pages).div_ceil(u64::BITS) as usize;
        Ok(Self {
            chunks: FreeChunks::new(SideTable::new(words, c"gc free chunks")?),
            pages,
            chunk_pages,
            uses: match options.release {
                When::After(decay) => Some(Mutex::new(Uses::new(decay))),
                When::OnRequest => None,
            },
            by: options.release_by,
            page_tables: options.page_tables,
            batch: Mutex::new(()),
            waiting: AtomicU32::new(0),
            bell: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
        })
    }

    /// Keeps memory from being given back until the guard is dropped.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let guard = self.batch();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        guard
    }

    fn batch(&self) -> MutexGuard<'_, ()> {
        // It guards no data.
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that whole chunks of `pages` may be free; the last one may go beyond the end.
    pub(crate) fn note_free(&self, pages: Range<u32>) {
        let chunks = pages.start.div_ceil(self.chunk_pages)..pages.end.div_ceil(self.chunk_pages);
        if chunks.start < chunks.end && self.chunks.note(chunks) == Ring::Wake {
            self.wake();
        }
    }

    /// Notes that a cycle has found the first `pages` pages in use.
    pub(crate) fn note_use(&self, cycle: u64, pages: u32) {
        if let Some(mut uses) = self.uses() {
            uses.note(cycle, pages, Instant::now());
        }
    }

    /// The end of the pages that are worth keeping because they were used lately.
    pub(crate) fn lately(&self) -> u32 {
        self.uses().map_or(u32::MAX, |mut uses| uses.kept(Instant::now()))
    }

    /// How many chunks may be free and still have memory.
    pub(crate) fn hints(&self) -> u32 {
        self.chunks.count()
    }

    /// The next number of pages that is a whole number of chunks.
    pub(crate) fn up_to_chunk(&self, pages: u32) -> u32 {
        pages.next_multiple_of(self.chunk_pages)
    }

    /// How to give memory back for `reason`.
    pub(crate) fn giving(&self, reason: ReleaseReason) -> Giving {
        let giving = match (self.by, reason, self.page_tables) {
            (ReleaseBy::Freeing, ReleaseReason::Unused, _) => Giving::Lazily,
            (_, _, PageTables::Ask) => giving_with_tables(),
            (_, _, PageTables::Remap) => Giving::Remap,
        };
        match giving {
            Giving::Remap if is_memory_locked() => Giving::Drop,
            giving => giving,
        }
    }

    fn uses(&self) -> Option<MutexGuard<'_, Uses>> {
        let uses = self.uses.as_ref()?;
        // A list of numbers: whole at every moment.
        Some(uses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When something may have to be given back although nobody rings.
    fn next(&self) -> Option<Instant> {
        match self.hints() {
            0 => None,
            _ => self.uses()?.next(),
        }
    }

    fn wake(&self) {
        // Full is as good as rung: the reader has not looked yet.
        let _ = self.bell.write(1);
    }
}
