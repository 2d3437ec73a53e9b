//! Building a heap: its options, and what is put together from them.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};
use uffd_move::{Event, FaultHandler, FaultSignal, HandlerThread, PageRange, SignalRoute, route};

use crate::addr::{Geometry, MAX_WORDS, WORD_BYTES};
use crate::container::Group;
use crate::core::{Control, HeapCore};
use crate::cycle::{Collector, Policy};
use crate::environment::Wishes;
use crate::error::BuildError;
use crate::fixed::FixedObjects;
use crate::heap::{Heap, Owner};
use crate::mark::barrier::LoggedReferences;
use crate::model::ObjectModel;
use crate::observe::{LogLines, LogSettings, Observers};
use crate::options::{
    Container, Environment, FaultDelivery, Fork, Growth, Islands, Options, PageTables, Pressure,
    Release as When, ReleaseBy, Transport, TransportChoice, Zeal,
};
use crate::raw::fault_entry::{FaultEntry, ServeFault};
use crate::raw::uffd::HeapUffd;
use crate::record::Records;
use crate::references::References;
use crate::release::{Ending, Release, Watch};
use crate::roots::GlobalRoots;
use crate::safepoint::Safepoints;
use crate::space::allocation::Allocation;
use crate::space::moving_space::MovingSpace;
use crate::stats::{HeapStats, metadata_bytes_per_mib};
use crate::transport::choose::{Chosen, choose};

/// The most collector threads a heap can have.
const MAX_COLLECTOR_THREADS: usize = 64;

/// The smallest heap, in pages.
const MIN_PAGES: usize = 64;

/// Builds a [`Heap`]; see there.
#[derive(Clone, Copy, Debug)]
pub struct HeapBuilder<M = Records> {
    options: Options,
    model: M,
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

    /// The most that [`Heap::set_limit_bytes`] can raise the limit to, in bytes: address space is
    /// reserved for it, and no memory. Without it the limit cannot grow.
    #[must_use]
    pub fn max_limit_bytes(mut self, bytes: usize) -> Self {
        self.options.max_limit_bytes = Some(bytes);
        self
    }

    /// Memory that the heap tries to stay below by collecting, in bytes. It goes beyond rather than
    /// make a mutator wait, and where live data need it; the limit is what it never passes.
    #[must_use]
    pub fn soft_limit_bytes(mut self, bytes: usize) -> Self {
        self.options.soft_limit_bytes = Some(bytes);
        self
    }

    /// How much of its limit the heap uses.
    #[must_use]
    pub fn growth(mut self, growth: Growth) -> Self {
        self.options.growth = growth;
        self
    }

    /// Whether the heap heeds the memory limit of its control group.
    #[must_use]
    pub fn container(mut self, container: Container) -> Self {
        self.options.container = container;
        self
    }

    /// Whether `GC_LOG` and `GC_ZEAL` count.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.options.environment = environment;
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

    /// Whether runs of pages that are live enough keep their content.
    #[must_use]
    pub fn islands(mut self, islands: Islands) -> Self {
        self.options.islands = islands;
        self
    }

    /// When memory that is not used goes back to the system.
    #[must_use]
    pub fn release(mut self, release: When) -> Self {
        self.options.release = release;
        self
    }

    /// How it goes back.
    #[must_use]
    pub fn release_by(mut self, by: ReleaseBy) -> Self {
        self.options.release_by = by;
        self
    }

    /// How the page tables of memory that has gone back are freed.
    #[must_use]
    pub fn page_tables(mut self, page_tables: PageTables) -> Self {
        self.options.page_tables = page_tables;
        self
    }

    /// Whether free memory goes back when the system is short of it.
    #[must_use]
    pub fn pressure(mut self, pressure: Pressure) -> Self {
        self.options.pressure = pressure;
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
    /// | [`BuildError::Limit`], [`BuildError::MaxLimit`], [`BuildError::SoftLimit`], [`BuildError::CollectorThreads`] | the argument is out of range | the message names the range |
    /// | [`BuildError::Environment`] | `GC_LOG` or `GC_ZEAL` is not understood, or the log cannot be opened | correct the variable |
    /// | [`BuildError::NoTransport`] | this kernel lacks the transport, with the reason | another, or [`TransportChoice::Auto`] |
    /// | [`BuildError::NoDelivery`] | `mprotect` only has signals | [`FaultDelivery::Signal`] |
    /// | [`BuildError::System`] | no addresses, no memory or no threads | the process is at its limits |
    pub fn build(self) -> Result<Heap<M>, BuildError> {
        let Self { options, model } = self;
        let wishes = match options.environment {
            Environment::Read => Wishes::read()?,
            Environment::Ignore => Wishes::default(),
        };
        let page_bytes = uffd_move::page_size();
        let Sizes { limit, soft, reserved } = Sizes::new(&options, page_bytes)?;
        let Chosen { transport, reason, events } = choose(&options, page_bytes)?;
        let kind = transport.kind();
        let heap_pages = u32::try_from(transport.heap().len() / page_bytes).unwrap_or(u32::MAX);
        let geometry = Geometry::new(transport.heap().base(), reserved, page_bytes);
        let space = MovingSpace::new(geometry, model, transport, Allocation::new(limit, soft));
        let space = Arc::new(space.map_err(system("mapping side tables"))?);
        let delivery = Delivery::start(&space, options.delivery, events)?;

        let mut stats = HeapStats::new(kind, page_bytes, limit as usize * page_bytes);
        stats.target_bytes = limit.min(soft) as usize * page_bytes;
        stats.metadata_bytes_per_mib = metadata_bytes_per_mib(page_bytes);
        let observers = Observers::new(stats);
        if let Some(settings) = wishes.log {
            observers.add(Arc::new(log_lines(settings, kind)?));
        }
        let core = Arc::new(HeapCore {
            space,
            safepoints: Safepoints::default(),
            globals: Arc::new(GlobalRoots::new().map_err(system("mapping global roots"))?),
            logged: LoggedReferences::default(),
            fixed: FixedObjects::default(),
            release: Release::new(&options, heap_pages, page_bytes)
                .map_err(system("preparing to give memory back"))?,
            references: References::new(geometry.words).map_err(system("mapping weak roots"))?,
            barrier_mode: AtomicU32::new(0),
            flips: AtomicU64::new(0),
            control: Control::default(),
            observers,
            islands: options.islands,
            zeal: wishes.zeal.unwrap_or(options.zeal),
            broken: AtomicBool::new(false),
            owner: std::process::id(),
        });
        let policy = Policy::new(&options, soft);
        let collector = Collector::new(Arc::clone(&core), policy);
        collector.look_at_container();
        collector.warm_up();
        let collector = Mutex::new(Some(start(collector, workers(kind, &options)?)));
        let ending = Arc::<Ending>::default();
        let mut owner = Owner {
            collector,
            drainer: Mutex::new(None),
            ending: Arc::clone(&ending),
            delivery: Some(delivery),
            core: Arc::clone(&core),
            reason,
        };
        let watch = match options.pressure {
            Pressure::Heed => Watch::choose(Group::of_this_process().as_ref()),
            Pressure::Ignore => None,
        };
        let drainer = std::thread::Builder::new()
            .name("gc-release".to_owned())
            .spawn(move || Release::serve(&*core, watch, &ending))
            .map_err(system("starting the thread that gives memory back"))?;
        *owner.drainer.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(drainer);
        Ok(Heap { owner: Arc::new(owner) })
    }
}

/// Says what was tried when the system refused.
fn system(what: &'static str) -> impl Fn(io::Error) -> BuildError {
    move |source| BuildError::System { what, source }
}

/// Opens the log that `GC_LOG` asks for.
fn log_lines(settings: LogSettings, kind: Transport) -> Result<LogLines, BuildError> {
    LogLines::open(settings, Observers::next_heap(), kind).map_err(|error| {
        BuildError::Environment {
            name: "GC_LOG",
            value: std::env::var("GC_LOG").unwrap_or_default(),
            reason: format!("the file cannot be opened: {error}"),
        }
    })
}

/// The heap's sizes in pages.
struct Sizes {
    limit: u32,
    soft: u32,
    reserved: u32,
}

impl Sizes {
    /// Options that are out of range end here.
    fn new(options: &Options, page_bytes: usize) -> Result<Self, BuildError> {
        let (min, max) = (min_bytes(page_bytes), max_bytes(page_bytes));
        let Options { limit_bytes, collector_threads: threads, .. } = *options;
        if !(min..=max).contains(&limit_bytes) {
            return Err(BuildError::Limit { limit_bytes, min, max });
        }
        if !(1..=MAX_COLLECTOR_THREADS).contains(&threads) {
            return Err(BuildError::CollectorThreads { threads, max: MAX_COLLECTOR_THREADS });
        }
        let max_limit_bytes = options.reserved_bytes();
        if !(limit_bytes..=max).contains(&max_limit_bytes) {
            return Err(BuildError::MaxLimit { max_limit_bytes, limit_bytes, max });
        }
        let soft_limit_bytes = options.soft_limit_bytes.unwrap_or(max_limit_bytes);
        if soft_limit_bytes < min {
            return Err(BuildError::SoftLimit { soft_limit_bytes, min });
        }
        let pages = |bytes: usize| {
            u32::try_from(bytes.min(max).div_ceil(page_bytes)).expect("MAX_WORDS limits this")
        };
        Ok(Self {
            limit: pages(limit_bytes),
            soft: pages(soft_limit_bytes),
            reserved: pages(max_limit_bytes),
        })
    }
}

/// The smallest heap, in bytes.
pub(crate) fn min_bytes(page_bytes: usize) -> usize {
    MIN_PAGES * page_bytes
}

/// The largest heap, in bytes.
fn max_bytes(page_bytes: usize) -> usize {
    MAX_WORDS / page_bytes * page_bytes * WORD_BYTES
}

/// The collector threads, a pool of the heap's own.
fn workers(kind: Transport, options: &Options) -> Result<ThreadPool, BuildError> {
    ThreadPoolBuilder::new()
        .num_threads(if kind == Transport::Stw { 1 } else { options.collector_threads })
        .thread_name(|number| format!("gc-collector-{number}"))
        .build()
        .map_err(|error| system("starting collector threads")(io::Error::other(error)))
}

/// Runs the collector on one of `workers`, so that it hands nothing over to do its own part. What
/// is returned ends when the collector has.
fn start<M: ObjectModel>(collector: Collector<M>, workers: ThreadPool) -> Receiver<Infallible> {
    let (running, ended) = channel();
    // A pool that is dropped stays until what was spawned in it has ended.
    workers.spawn(move || {
        collector.run();
        drop(running);
    });
    ended
}

/// How faults reach the heap, for as long as it lives.
pub(crate) struct Delivery {
    _handler: Option<HandlerThread>,
    _route: Option<SignalRoute>,
}

impl Delivery {
    /// Takes signals for the space's addresses, or reads `events` on a thread of its own.
    fn start<M: ObjectModel>(
        space: &Arc<MovingSpace<M>>,
        delivery: FaultDelivery,
        events: Option<HeapUffd>,
    ) -> Result<Self, BuildError> {
        let serve: Arc<dyn ServeFault> = space.clone();
        let signal = match (space.transport.kind(), delivery) {
            (Transport::Stw, _) | (_, FaultDelivery::HandlerThread) => None,
            (Transport::Mprotect, _) => Some(FaultSignal::Segv),
            _ => Some(FaultSignal::Bus),
        };
        let heap = space.transport.heap();
        let range = PageRange::from_bytes(heap.base(), heap.len());
        let range = range.expect("reservations are page-aligned");
        let entry = || Arc::new(FaultEntry::new(Arc::clone(&serve))) as Arc<dyn FaultHandler>;
        let route = signal.map(|signal| route(signal, range, entry())).transpose();
        let route = route.map_err(|error| system("routing faults")(io::Error::other(error)))?;
        let handler = match events {
            None => None,
            Some(uffd) => {
                let fd = Arc::new(uffd.events().map_err(system("reading events"))?);
                let serve = Arc::new(move |event| {
                    if let Event::Fault(fault) = event {
                        serve.serve(fault.addr);
                    }
                });
                let thread = HandlerThread::spawn(fd, serve);
                Some(thread.map_err(system("starting the handler thread"))?)
            }
        };
        Ok(Self { _handler: handler, _route: route })
    }
}
