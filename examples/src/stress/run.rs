//! One run: a heap, its mutators, the disturbances, and the last look.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gc_runtime::{
    BuildError, FaultDelivery, Fork, Heap, HeapStats, Record, TransportChoice, VerifyError,
    VerifyReport, Zeal,
};

use crate::churn::{Common, Failure, SHARED, churn};
use crate::disturb::{Disturbances, disturb};

/// What to run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How pages are put in place.
    pub transport: TransportChoice,
    /// On which thread faults are served.
    pub delivery: FaultDelivery,
    /// What forked children get.
    pub fork: Fork,
    /// Slow checks.
    pub zeal: Zeal,
    /// The heap's limit in bytes.
    pub limit_bytes: usize,
    /// Mutator threads.
    pub mutators: u32,
    /// Collector threads.
    pub collectors: usize,
    /// How long.
    pub time: Duration,
    /// Where the random numbers start.
    pub seed: u64,
    /// The largest object in words.
    pub huge_words: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transport: TransportChoice::Auto,
            delivery: FaultDelivery::Signal,
            fork: Fork::Inherit,
            zeal: Zeal::default(),
            limit_bytes: 128 << 20,
            mutators: 3,
            collectors: 1,
            time: Duration::from_secs(10),
            seed: 1,
            huge_words: (3 << 20) / 8,
        }
    }
}

/// What a run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The heap's counts and times.
    pub stats: HeapStats,
    /// The verification at the end.
    pub verified: VerifyReport,
    /// Operations of all mutators.
    pub steps: u64,
    /// Children forked.
    pub forks: u64,
    /// Signals sent.
    pub signals: u64,
    /// Pins taken.
    pub pins: u64,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The heap could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A mutator saw something wrong.
    #[error(transparent)]
    Mutator(#[from] Failure),
    /// The verification at the end failed.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A mutator panicked.
    #[error("a mutator panicked")]
    Panic,
}

/// Puts a heap under stress for a while.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`RunError::Build`] | the kernel lacks the transport | another |
/// | any other | the stress found something | report it with the seed |
///
/// # Panics
///
/// If the heap takes no mutator at all.
pub fn run(settings: &Settings) -> Result<Report, RunError> {
    let heap = Heap::builder()
        .limit_bytes(settings.limit_bytes)
        .collector_threads(settings.collectors)
        .transport(settings.transport)
        .fault_delivery(settings.delivery)
        .fork(settings.fork)
        .zeal(settings.zeal)
        .build()?;
    let common = Common {
        shared: heap.global_root(),
        heap,
        stop: AtomicBool::new(false),
        steps: AtomicU64::new(0),
        pins: AtomicU64::new(0),
        huge_words: settings.huge_words,
        collects: 30,
    };
    {
        let mut mutator = common.heap.attach().map_err(Failure::from)?;
        let shared =
            mutator.alloc(Record { refs: SHARED, data_words: 0 }).map_err(Failure::from)?;
        mutator.set_global(&common.shared, mutator.root(shared));
    }
    let disturbances = Disturbances::default();
    let results: Vec<_> = std::thread::scope(|scope| {
        let common = &common;
        scope.spawn(|| disturb(&disturbances, &common.stop));
        let mutators: Vec<_> = (0..settings.mutators)
            .map(|number| {
                scope.spawn(move || {
                    let result = churn(common, number, settings.seed);
                    if result.is_err() {
                        common.stop.store(true, Ordering::Relaxed);
                    }
                    result
                })
            })
            .collect();
        let end = Instant::now() + settings.time;
        while Instant::now() < end && !common.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            if mutators.iter().any(|mutator| mutator.is_finished()) {
                break;
            }
        }
        common.stop.store(true, Ordering::Relaxed);
        mutators.into_iter().map(|mutator| mutator.join()).collect()
    });
    for result in results {
        result.map_err(|_| RunError::Panic)??;
    }
    let verified = common.heap.verify()?;
    Ok(Report {
        stats: common.heap.stats(),
        verified,
        steps: common.steps.into_inner(),
        forks: disturbances.forks.into_inner(),
        signals: disturbances.signals.into_inner(),
        pins: common.pins.into_inner(),
    })
}
