//! The heap: joining it, looking at it.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::builder::{Delivery, HeapBuilder, min_bytes};
use crate::core::HeapCore;
use crate::embedder_roots::Roots;
use crate::error::{AttachError, LimitError, VerifyError};
use crate::event::{CycleReason, Listener};
use crate::forward::PageKind;
use crate::model::ObjectModel;
use crate::mutator::Mutator;
use crate::options::Transport;
use crate::record::Records;
use crate::release::Ending;
use crate::roots::GlobalRoot;
use crate::snapshot::{Snapshot, WalkedObject};
use crate::stats::HeapStats;
use crate::verify::{Check, CheckResult, GraphDigest, VerifyReport};

/// A heap that compacts beside its program. Clones are the same heap; it ends with the last one.
///
/// ```
/// use gc_runtime::{Heap, Record};
///
/// let heap = Heap::builder().limit_bytes(16 << 20).build()?;
/// let mut mutator = heap.attach()?;
/// let pair = mutator.alloc(Record { refs: 1, data_words: 1 })?;
/// let tail = mutator.alloc(Record { refs: 0, data_words: 1 })?;
/// mutator.store(mutator.root(pair).unwrap(), 0, mutator.root(tail));
/// mutator.set_word(mutator.root(tail).unwrap(), 0, 42);
/// mutator.collect(); // everything moves
/// let pair = mutator.root(pair).unwrap();
/// let tail = mutator.load(pair, 0).unwrap();
/// assert_eq!(mutator.word(tail, 0), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Heap<M: ObjectModel = Records> {
    pub(crate) owner: Arc<Owner<M>>,
}

impl<M: ObjectModel> Clone for Heap<M> {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner) }
    }
}

impl<M: ObjectModel> fmt::Debug for Heap<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap")
            .field("transport", &self.transport())
            .field("limit_bytes", &self.limit_bytes())
            .finish_non_exhaustive()
    }
}

/// What ends with the heap, in this order.
pub(crate) struct Owner<M: ObjectModel> {
    /// Says nothing, and ends with the collector.
    pub(crate) collector: Mutex<Option<Receiver<Infallible>>>,
    /// The thread that gives memory back.
    pub(crate) drainer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) ending: Arc<Ending>,
    // Dropping the delivery waits for handlers that are at work; the space must outlive them.
    pub(crate) delivery: Option<Delivery>,
    pub(crate) core: Arc<HeapCore<M>>,
    pub(crate) reason: String,
}

impl<M: ObjectModel> Drop for Owner<M> {
    fn drop(&mut self) {
        if std::process::id() != self.core.owner {
            // All threads are the parent's, and stopping its handler would stop it there.
            std::mem::forget(self.delivery.take());
            // Nor may the addresses be unmapped: where they were kept out of the child, something
            // else may lie there by now.
            std::mem::forget(Arc::clone(&self.core));
            return;
        }
        self.core.control.update(|state| state.shutdown = true);
        self.core.release.end(&self.ending);
        if let Some(ended) = taken(&self.collector) {
            let Err(RecvError) = ended.recv();
        }
        if let Some(thread) = taken(&self.drainer) {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn taken<T>(cell: &Mutex<Option<T>>) -> Option<T> {
    cell.lock().ok()?.take()
}

impl Heap<Records> {
    /// Starts building a heap of [`Record`](crate::Record)s.
    #[must_use]
    pub fn builder() -> HeapBuilder {
        HeapBuilder::new(Records)
    }
}

/// What a page of the heap is used for, as of the last finished cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PageUse {
    /// Objects that were packed together.
    Compacted,
    /// Objects whose page kept its content.
    Slid,
    /// Objects allocated since.
    Fresh,
    /// Nothing.
    Free,
}

impl<M: ObjectModel> Heap<M> {
    pub(crate) fn core(&self) -> &HeapCore<M> {
        &self.owner.core
    }

    /// How this heap puts pages in place.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.core().space.transport.kind()
    }

    /// Why this transport.
    #[must_use]
    pub fn transport_reason(&self) -> &str {
        &self.owner.reason
    }

    /// The limit, in bytes: what the program asked for, or what the container leaves, if that is
    /// less.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        usize::try_from(self.core().limit_bytes()).unwrap_or(usize::MAX)
    }

    /// Changes the limit while the program runs, in bytes; rounded up to whole pages.
    ///
    /// A limit below what lives takes nothing away: everything stays readable and writable, and
    /// allocation answers [`OutOfMemory`](crate::OutOfMemory) until enough has died or the limit has
    /// been raised. Lowering it below what is in use starts a cycle, at the end of which memory that
    /// was given up goes back to the system.
    ///
    /// ```
    /// let heap = gc_runtime::Heap::builder().limit_bytes(8 << 20).max_limit_bytes(64 << 20).build()?;
    /// heap.set_limit_bytes(64 << 20)?;
    /// assert_eq!(heap.limit_bytes(), 64 << 20);
    /// assert!(heap.set_limit_bytes(65 << 20).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`LimitError::OutOfRange`] | less than any heap has, or more than [`HeapBuilder::max_limit_bytes`] | the message names the range |
    /// | [`LimitError::Unusable`] | broken, or another process's heap | |
    pub fn set_limit_bytes(&self, bytes: usize) -> Result<(), LimitError> {
        let core = self.core();
        if core.unusable().is_some() {
            return Err(LimitError::Unusable);
        }
        let geometry = core.space.geometry;
        let page_bytes = geometry.page_bytes();
        let (min, max) = (min_bytes(page_bytes), geometry.pages as usize * page_bytes);
        if !(min..=max).contains(&bytes) {
            return Err(LimitError::OutOfRange { limit_bytes: bytes, min, max });
        }
        let pages = u32::try_from(bytes.div_ceil(page_bytes)).unwrap_or(geometry.pages);
        let mut cursor = core.space.allocation.lock();
        cursor.set_limit(pages);
        let (limit, target, wants_cycle) = (cursor.limit, cursor.target, cursor.wants_cycle());
        drop(cursor);
        core.tell_limit(limit, target);
        if wants_cycle {
            core.control.suggest_cycle(CycleReason::Limit);
        }
        Ok(())
    }

    /// Tells `listener` what happens in this heap, from now on until the heap ends.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use gc_runtime::{Event, Heap};
    ///
    /// let heap = Heap::builder().limit_bytes(16 << 20).build()?;
    /// let cycles = Arc::new(AtomicU64::new(0));
    /// let count = cycles.clone();
    /// heap.listen(Arc::new(move |event: &Event| {
    ///     if let Event::CycleEnded { stats } = event {
    ///         count.store(stats.number, Ordering::Relaxed);
    ///     }
    /// }));
    /// heap.collect();
    /// assert_eq!(cycles.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        self.core().observers.add(listener);
    }

    /// Makes the calling thread a mutator.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`AttachError::Forked`] | this process is a child of the heap's | build a heap of its own |
    /// | [`AttachError::Broken`] | a collector thread panicked | drop the heap |
    /// | [`AttachError::NoMemory`] | no memory for the mutator's tables | |
    pub fn attach(&self) -> Result<Mutator<M>, AttachError> {
        Mutator::attach(self, None)
    }

    /// Makes the calling thread a mutator whose roots are in the embedder's memory, in addition to
    /// those it [pushes](Mutator::push_root).
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach).
    ///
    /// # Panics
    ///
    /// If the roots hold references already: nobody keeps them from going stale before.
    pub fn attach_with(&self, roots: Arc<dyn Roots>) -> Result<Mutator<M>, AttachError> {
        Mutator::attach(self, Some(roots))
    }

    /// How many objects wait for [`Mutator::next_finalisable`].
    #[must_use]
    pub fn finalisable(&self) -> usize {
        self.core().references.finalisers.ready()
    }

    /// How many objects have an entry in the side table of identities.
    #[must_use]
    pub fn identities(&self) -> usize {
        self.core().references.identities.len()
    }

    /// A new global root; null.
    ///
    /// # Panics
    ///
    /// If there are 2^20 global roots already.
    #[must_use]
    pub fn global_root(&self) -> GlobalRoot {
        GlobalRoot::new(&self.core().globals)
    }

    /// Runs a full cycle that begins now, and returns when it is finished.
    ///
    /// Not from a thread that is attached and not blocking: the collector would wait for it. Use
    /// [`Mutator::collect`] there.
    pub fn collect(&self) {
        let core = self.core();
        if core.unusable().is_none() {
            let ticket = core.control.request_cycle(CycleReason::Requested);
            drop(core.control.wait_until(|state| state.finished >= ticket));
        }
    }

    /// Gives back to the system all memory that is free at the moment, as far as it fills whole
    /// chunks of 2 MiB, and side tables that are not in use; the number of bytes of heap.
    ///
    /// It does not collect: what has died since the last cycle is not free yet. The first faults of
    /// the next cycle, and allocation, will have to get their memory again; and until then
    /// [`page_map`](Self::page_map) does not know how pages in use came about. As
    /// [`collect`](Self::collect), not from a thread that is attached and not
    /// [blocking](Mutator::blocking); waits for a cycle that is running. Zero if the heap is broken
    /// or another process's.
    ///
    /// ```
    /// let heap = gc_runtime::Heap::builder().limit_bytes(64 << 20).build()?;
    /// // ... after a phase of the program that needed much memory:
    /// heap.collect();
    /// let bytes = heap.trim();
    /// assert_eq!(heap.free_chunks(), 0);
    /// # let _ = bytes;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trim(&self) -> usize {
        let core = self.core();
        if core.unusable().is_some() {
            return 0;
        }
        let ticket = core.control.update(|state| {
            state.trims_asked += 1;
            state.trims_asked
        });
        let state = core.control.wait_until(|state| state.trimmed >= ticket);
        usize::try_from(state.trimmed_pages).unwrap_or(usize::MAX)
            * core.space.geometry.page_bytes()
    }

    /// Chunks of 2 MiB that may be free and still have memory behind them: what goes back to the
    /// system when it has not been used for a while, or by [`trim`](Self::trim).
    #[must_use]
    pub fn free_chunks(&self) -> usize {
        self.core().release.hints() as usize
    }

    /// Walks the whole heap in a pause and checks that it is sound.
    ///
    /// Not from a thread that is attached and not [blocking](Mutator::blocking).
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`VerifyError::Unusable`] | broken, or another process's heap | |
    /// | any other | the heap is corrupt, here or in the object model | report it with the message |
    pub fn verify(&self) -> Result<VerifyReport, VerifyError> {
        match self.check(Check::Verify) {
            Some(CheckResult::Verified(result)) => result,
            _ => Err(VerifyError::Unusable),
        }
    }

    /// A digest of the reachable graph that moving objects does not change.
    ///
    /// Two digests with no change by the program in between are equal: the oracle of this crate's
    /// tests. Not from a thread that is attached and not [blocking](Mutator::blocking). `None` if
    /// the heap is broken or another process's.
    #[must_use]
    pub fn graph_digest(&self) -> Option<GraphDigest> {
        match self.check(Check::Digest) {
            Some(CheckResult::Digested(digest)) => Some(digest),
            _ => None,
        }
    }

    /// What is in the heap, by type, and what holds it. Stops all mutators for as long as it takes to
    /// walk the whole heap.
    ///
    /// Not from a thread that is attached and not [blocking](Mutator::blocking). `None` if the heap
    /// is broken or another process's.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        match self.check(Check::Snapshot) {
            Some(CheckResult::Snapshot(snapshot)) => Some(snapshot),
            _ => None,
        }
    }

    /// Every strongly reachable object, as of one moment: a list as long as the heap has objects.
    ///
    /// As [`snapshot`](Self::snapshot) otherwise.
    #[must_use]
    pub fn walk(&self) -> Option<Vec<WalkedObject>> {
        match self.check(Check::Walk) {
            Some(CheckResult::Walked(objects)) => Some(objects),
            _ => None,
        }
    }

    fn check(&self, check: Check) -> Option<CheckResult> {
        let core = self.core();
        if core.unusable().is_some() {
            return None;
        }
        let number = core.control.update(|state| {
            state.checks_requested.push(check);
            state.checks_asked += 1;
            state.checks_asked
        });
        let find = |results: &[(u64, CheckResult)]| results.iter().position(|(n, _)| *n == number);
        let mut state = core.control.wait_until(|state| find(&state.check_results).is_some());
        let at = find(&state.check_results)?;
        Some(state.check_results.swap_remove(at).1)
    }

    /// Counts and times so far.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        self.core().observers.stats().clone()
    }

    /// What each page up to the end of memory is used for.
    #[must_use]
    pub fn page_map(&self) -> Vec<PageUse> {
        let space = &self.core().space;
        let cursor = space.allocation.lock();
        let (top, end) = (cursor.top, cursor.resident.max(cursor.top).min(space.geometry.pages));
        drop(cursor);
        let plan = space.plan.get();
        let kind = |page| match space.kind(plan, crate::addr::PageIndex(page)) {
            _ if page >= top => PageUse::Free,
            PageKind::Compacted(_) => PageUse::Compacted,
            PageKind::Slid { .. } => PageUse::Slid,
            PageKind::Fresh => PageUse::Fresh,
        };
        (0..end).map(kind).collect()
    }

    /// Bytes allocated from so far in the current layout: from the heap's start to its top.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        let space = &self.core().space;
        space.allocation.lock().top as usize * space.geometry.page_bytes()
    }

    /// How many times the heap was set aside.
    #[must_use]
    pub fn flips(&self) -> u64 {
        self.core().flips.load(Ordering::Acquire)
    }
}
