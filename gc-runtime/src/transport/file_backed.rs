//! What `continue` and `mprotect` have in common: pages are built in the file behind the heap,
//! through its second mapping, and then shown. How they are hidden and shown is their [`Veil`].

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

use crate::addr::PageIndex;
use crate::compact::page_state::SourceIndex;
use crate::counters::Counters;
use crate::forward::Plan;
use crate::options::Transport;
use crate::raw::give_back::Giving;
use crate::raw::map::Reservation;
use crate::raw::words;
use crate::transport::file_spaces::FileSpaces;
use crate::transport::{PageTransport, SourceRun, Taker};

/// How pages of the heap are hidden from mutators, and shown again.
pub(crate) trait Veil: Debug + Send + Sync {
    /// The transport that this makes.
    const KIND: Transport;

    /// Sets the heap aside; from now on touching one of the new heap's pages faults.
    fn hide(&self, spaces: &FileSpaces, plan: Plan) -> io::Result<()>;

    /// Shows `count` pages, whose content is complete; when it returns, mutators can see them.
    fn show(&self, spaces: &FileSpaces, page: u32, count: u32, counters: &Counters);

    /// Shows everything that is left.
    fn lift(&self, spaces: &FileSpaces) -> io::Result<()>;
}

/// The transport.
#[derive(Debug)]
pub(crate) struct FileBacked<V> {
    spaces: FileSpaces,
    veil: V,
}

impl<V: Veil> FileBacked<V> {
    pub(crate) fn new(spaces: FileSpaces, veil: V) -> Self {
        Self { spaces, veil }
    }
}

impl<V: Veil> PageTransport for FileBacked<V> {
    fn kind(&self) -> Transport {
        V::KIND
    }

    fn heap(&self) -> &Reservation {
        &self.spaces.heap
    }

    fn from_words(&self) -> &[AtomicU64] {
        self.spaces.from.words()
    }

    fn flip(&self, plan: Plan, _resident: u32) -> io::Result<()> {
        self.veil.hide(&self.spaces, plan)
    }

    fn source_words(&self, source: SourceIndex) -> &[AtomicU64] {
        self.spaces.source_words(source)
    }

    fn slide_source(&self, _from: PageIndex) -> Option<SourceIndex> {
        None
    }

    fn stage(
        &self,
        _taker: Taker,
        _run: &mut SourceRun,
        page: PageIndex,
        _want: u32,
        _counters: &Counters,
    ) -> Option<SourceIndex> {
        Some(SourceIndex(page.0))
    }

    fn install(&self, page: PageIndex, _source: SourceIndex, count: u32, counters: &Counters) {
        counters.pages_allocated.add(count);
        self.veil.show(&self.spaces, page.0, count, counters);
    }

    fn install_zeros(&self, page: PageIndex, count: u32, counters: &Counters) {
        words::fill(self.spaces.words_of(page.0, count), 0);
        counters.pages_allocated.add(count);
        self.veil.show(&self.spaces, page.0, count, counters);
    }

    fn emptied(
        &self,
        pages: Range<u32>,
        _whole: &dyn Fn(u32) -> bool,
        _run: &mut SourceRun,
        counters: &Counters,
    ) {
        self.spaces.emptied(pages.end, counters);
    }

    fn give_up(&self, parts: &[Range<u32>], _giving: Giving) -> io::Result<u32> {
        let mut calls = 0;
        for part in parts {
            calls += self.spaces.give_up(part.clone())?;
        }
        Ok(calls)
    }

    fn close(&self) -> io::Result<()> {
        self.veil.lift(&self.spaces)
    }

    fn release(&self, counters: &Counters) {
        self.spaces.release(counters);
    }
}
