//! The three programs: each one's logic is written once, over a small trait with two back ends.

mod crew;
pub(crate) mod index;
pub(crate) mod lru;
pub(crate) mod trees;

use crate::cli::{JobArgs, WorkloadArg};
use crate::corpus::{self, Corpus};
use crate::error::{DemoError, Failure};
use crate::memory::{Memory, Outcome};
use crate::progress::Progress;

/// A workload with its input read and its sizes chosen: the same for every memory.
#[derive(Debug)]
pub(crate) enum Workload {
    Index(index::Plan, index::Library),
    Trees(trees::Plan),
    Lru(lru::Plan),
}

impl Workload {
    /// Reads the input and chooses the sizes.
    pub(crate) fn prepare(job: &JobArgs, warnings: Warnings) -> Result<Self, DemoError> {
        Ok(match job.workload {
            WorkloadArg::Index => {
                let corpus = read_input(job)?;
                if warnings == Warnings::Told {
                    tell(&corpus);
                }
                let library = index::Library::new(corpus, job.seed);
                Self::Index(index::Plan::new(job), library)
            }
            WorkloadArg::Trees => Self::Trees(trees::Plan::new(job)),
            WorkloadArg::Lru => Self::Lru(lru::Plan::new(job)),
        })
    }

    /// About twice the live data, in MiB.
    pub(crate) fn default_heap_mib(&self) -> u32 {
        match self {
            Self::Index(plan, _) => plan.default_heap_mib(),
            Self::Trees(plan) => plan.default_heap_mib(),
            Self::Lru(plan) => plan.default_heap_mib(),
        }
    }

    /// How often the progress bar will advance.
    pub(crate) fn rounds(&self) -> u64 {
        match self {
            Self::Index(plan, _) => plan.batches(),
            Self::Trees(plan) => plan.rounds(),
            Self::Lru(plan) => plan.rounds(),
        }
    }

    /// Runs to the end.
    pub(crate) fn run(&self, memory: &Memory, progress: &Progress) -> Result<Outcome, Failure> {
        match self {
            Self::Index(plan, library) => index::run(plan, library, memory, progress),
            Self::Trees(plan) => trees::run(plan, memory, progress),
            Self::Lru(plan) => lru::run(plan, memory, progress),
        }
    }
}

/// Whether what was left out of the input is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warnings {
    Told,
    Kept,
}

fn read_input(job: &JobArgs) -> Result<Corpus, DemoError> {
    let limit_bytes = u64::from(job.max_input_mib) << 20;
    match &job.input {
        Some(directory) => corpus::read_directory(directory, limit_bytes),
        None => corpus::read_own_sources(limit_bytes),
    }
}

/// Says what was read and what was left out.
fn tell(corpus: &Corpus) {
    for path in corpus.unreadable.iter().take(5) {
        eprintln!("gc-demo: skipped {path}");
    }
    let left_out = match (corpus.unreadable.len(), corpus.binary) {
        (0, 0) => String::new(),
        (unreadable, binary) => {
            format!(" ({unreadable} unreadable and {binary} binary files skipped)")
        }
    };
    eprintln!(
        "input: {} files, {:.1} MiB, from {}{left_out}",
        corpus.files.len(),
        corpus.bytes as f64 / (1u64 << 20) as f64,
        corpus.origin
    );
}
