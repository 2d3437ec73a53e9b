//! The heap: building it, joining it, looking at it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread::JoinHandle;

use uffd_move::{Event, FaultHandler, FaultSignal, HandlerThread, PageRange, SignalRoute, route};

use crate::addr::{Geometry, MAX_WORDS, WORD_BYTES};
use crate::core::{Control, HeapCore};
use crate::cycle::Collector;
use crate::error::{AttachError, BuildError, VerifyError};
use crate::forward::PageKind;
use crate::mark::barrier::LoggedReferences;
use crate::model::ObjectModel;
use crate::mutator::Mutator;
use crate::options::{FaultDelivery, Fork, Options, Transport, TransportChoice, Zeal};
use crate::raw::fault_entry::{FaultEntry, ServeFault};
use crate::record::Records;
use crate::roots::{GlobalRoot, GlobalRoots};
use crate::safepoint::Safepoints;
use crate::space::moving_space::MovingSpace;
use crate::stats::{HeapStats, metadata_bytes_per_mib};
use crate::transport::choose::{Chosen, choose};
use crate::trigger::first_trigger;
use crate::verify::{Check, CheckResult, GraphDigest, VerifyReport};

/// The most collector threads a heap can have.
const MAX_COLLECTOR_THREADS: usize = 64;

/// The smallest heap, in pages.
const MIN_PAGES: usize = 64;

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
    owner: Arc<Owner<M>>,
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
struct Owner<M: ObjectModel> {
    collector: Mutex<Option<JoinHandle<()>>>,
    // Dropping the deliveries waits for handlers that are at work; the space must outlive them.
    _handler: Option<HandlerThread>,
    _route: Option<SignalRoute>,
    core: Arc<HeapCore<M>>,
    reason: String,
}

impl<M: ObjectModel> Drop for Owner<M> {
    fn drop(&mut self) {
        if std::process::id() != self.core.owner {
            // The collector thread is the parent's.
            return;
        }
        self.core.control.update(|state| state.shutdown = true);
        let thread = self.collector.lock().ok().and_then(|mut collector| collector.take());
        if let Some(thread) = thread {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Builds a [`Heap`]; see there.
#[derive(Clone, Copy, Debug)]
pub struct HeapBuilder<M = Records> {
    options: Options,
    model: M,
}

impl Heap<Records> {
    /// Starts building a heap of [`Record`](crate::Record)s.
    #[must_use]
    pub fn builder() -> HeapBuilder {
        HeapBuilder::new(Records)
    }
}

impl<M: ObjectModel> HeapBuilder<M> {
    /// A heap of objects that `model` describes, of 256 MiB with one collector thread.
    pub fn new(model: M) -> Self {
        Self { options: Options::default(), model }
    }

    /// The most memory that objects may take, in bytes; rounded up to whole pages.
    #[must_use]
    pub fn limit_bytes(mut self, bytes: usize) -> Self {
        self.options.limit_bytes = bytes;
        self
    }

    /// Threads that mark and compact, beside the one that coordinates and mostly waits.
    #[must_use]
    pub fn collector_threads(mut self, threads: usize) -> Self {
        self.options.collector_threads = threads;
        self
    }

    /// How pages are put in place.
    #[must_use]
    pub fn transport(mut self, choice: TransportChoice) -> Self {
        self.options.transport = choice;
        self
    }

    /// On which thread faults are served.
    #[must_use]
    pub fn fault_delivery(mut self, delivery: FaultDelivery) -> Self {
        self.options.delivery = delivery;
        self
    }

    /// What a forked child gets.
    #[must_use]
    pub fn fork(mut self, fork: Fork) -> Self {
        self.options.fork = fork;
        self
    }

    /// Slow checks.
    #[must_use]
    pub fn zeal(mut self, zeal: Zeal) -> Self {
        self.options.zeal = zeal;
        self
    }

    /// Builds the heap and starts its collector.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BuildError::Limit`], [`BuildError::CollectorThreads`] | the argument is out of range | the message names the range |
    /// | [`BuildError::NoTransport`] | this kernel lacks the transport, with the reason | another, or [`TransportChoice::Auto`] |
    /// | [`BuildError::NoDelivery`] | `mprotect` only has signals | [`FaultDelivery::Signal`] |
    /// | [`BuildError::System`] | no addresses, no memory or no threads | the process is at its limits |
    pub fn build(self) -> Result<Heap<M>, BuildError> {
        let Self { options, model } = self;
        let page_bytes = uffd_move::page_size();
        let (min, max) = (MIN_PAGES * page_bytes, MAX_WORDS / page_bytes * page_bytes * WORD_BYTES);
        if !(min..=max).contains(&options.limit_bytes) {
            return Err(BuildError::Limit { limit_bytes: options.limit_bytes, min, max });
        }
        if !(1..=MAX_COLLECTOR_THREADS).contains(&options.collector_threads) {
            let threads = options.collector_threads;
            return Err(BuildError::CollectorThreads { threads, max: MAX_COLLECTOR_THREADS });
        }
        let system = |what| move |source| BuildError::System { what, source };
        let pages = u32::try_from(options.limit_bytes.div_ceil(page_bytes)).expect("limited above");
        let Chosen { transport, reason, events } = choose(&options, page_bytes)?;
        let range = transport.heap();
        let (base, len) = (range.base(), range.len());
        let range = PageRange::from_bytes(base, len).expect("reservations are page-aligned");
        let kind = transport.kind();
        let geometry = Geometry::new(base, pages, page_bytes);
        let space = MovingSpace::new(geometry, model, transport, first_trigger(pages));
        let space = Arc::new(space.map_err(system("mapping side tables"))?);

        let signal = match (kind, options.delivery) {
            (Transport::Stw, _) | (_, FaultDelivery::HandlerThread) => None,
            (Transport::Mprotect, _) => Some(FaultSignal::Segv),
            _ => Some(FaultSignal::Bus),
        };
        let entry = || {
            let serve: Arc<dyn ServeFault> = space.clone();
            Arc::new(FaultEntry::new(serve)) as Arc<dyn FaultHandler>
        };
        let route = signal.map(|signal| route(signal, range, entry())).transpose();
        let route = route.map_err(|error| BuildError::System {
            what: "routing faults",
            source: std::io::Error::other(error),
        })?;
        let handler = match events {
            None => None,
            Some(uffd) => {
                let serve: Arc<dyn ServeFault> = space.clone();
                let fd = Arc::new(uffd.events().map_err(system("reading events"))?);
                let serve = Arc::new(move |event| {
                    if let Event::Fault(fault) = event {
                        serve.serve(fault.addr);
                    }
                });
                Some(HandlerThread::spawn(fd, serve).map_err(system("starting the handler thread"))?)
            }
        };

        let mut stats = HeapStats::new(kind, page_bytes, pages as usize * page_bytes);
        stats.metadata_bytes_per_mib = metadata_bytes_per_mib(page_bytes);
        let core = Arc::new(HeapCore {
            space,
            safepoints: Safepoints::default(),
            globals: Arc::new(GlobalRoots::new().map_err(system("mapping global roots"))?),
            logged: LoggedReferences::default(),
            barrier_mode: AtomicU32::new(0),
            flips: AtomicU64::new(0),
            control: Control::default(),
            stats: Mutex::new(stats),
            stall_ns: AtomicU64::new(0),
            zeal: options.zeal,
            broken: AtomicBool::new(false),
            owner: std::process::id(),
        });
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(if kind == Transport::Stw { 1 } else { options.collector_threads })
            .thread_name(|number| format!("gc-worker-{number}"))
            .build()
            .map_err(|error| BuildError::System {
                what: "starting collector threads",
                source: std::io::Error::other(error),
            })?;
        let collector = Collector::new(Arc::clone(&core), pool);
        let thread = std::thread::Builder::new()
            .name("gc-collector".to_owned())
            .spawn(move || collector.run())
            .map_err(system("starting the collector"))?;
        Ok(Heap {
            owner: Arc::new(Owner {
                collector: Mutex::new(Some(thread)),
                _handler: handler,
                _route: route,
                core,
                reason,
            }),
        })
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

    /// The limit, in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        let geometry = self.core().space.geometry;
        geometry.pages as usize * geometry.page_bytes()
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
        Mutator::attach(self)
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
            let ticket = core.control.request_cycle();
            drop(core.control.wait_until(|state| state.finished >= ticket));
        }
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
    ///
    /// # Panics
    ///
    /// If a collector thread panicked while it held the statistics.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        self.core().stats.lock().expect("no panic while the statistics are held").clone()
    }

    /// What each page up to the end of memory is used for.
    #[must_use]
    pub fn page_map(&self) -> Vec<PageUse> {
        let space = &self.core().space;
        let cursor = space.allocation.lock();
        let (top, end) = (cursor.top, cursor.resident.max(cursor.top).min(space.geometry.pages));
        drop(cursor);
        let plan = space.plan.get();
        let kind = |page| match plan.kind(crate::addr::PageIndex(page)) {
            _ if page >= top => PageUse::Free,
            PageKind::Compacted => PageUse::Compacted,
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
