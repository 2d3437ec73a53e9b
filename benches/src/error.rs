//! Why a benchmark could not be run.

use std::error::Error;

/// Why a benchmark could not be run. A claim that falls short is a result, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The heap could not be built.
    #[error("the heap could not be built")]
    Build(#[from] gc_runtime::BuildError),
    /// A thread could not become a mutator.
    #[error("the thread could not attach to the heap")]
    Attach(#[from] gc_runtime::AttachError),
    /// The heap was too small for the shape that the question asks for.
    #[error("the heap is too small for its data")]
    OutOfMemory(#[from] gc_runtime::OutOfMemory),
    /// The machine has too little memory for the question.
    #[error("needs {needed_mib} MiB of free memory, and {available_mib} MiB are available")]
    Memory {
        /// What the question needs, in MiB.
        needed_mib: u64,
        /// What the kernel says is available, in MiB.
        available_mib: u64,
    },
    /// The data were not what had been written: the heap is broken, and its speed is no matter.
    #[error("the heap lost or changed data: item {item} of {items}")]
    Damaged {
        /// The first item that is wrong.
        item: usize,
        /// How many items there are.
        items: usize,
    },
    /// No userfaultfd, or one without a feature that the question needs.
    #[error("userfaultfd")]
    Uffd(#[from] uffd_move::OpenError),
    /// The kernel refused a request on pages.
    #[error("a request on pages was refused")]
    Op(#[from] uffd_move::OpError),
    /// Faults could not be routed.
    #[error("faults cannot be routed")]
    Route(#[from] uffd_move::RouteError),
    /// The system refused something else.
    #[error("the system refused")]
    System(#[from] std::io::Error),
    /// The question is about pages of 4 KiB.
    #[error("pages are not of 4 KiB here")]
    PageSize,
    /// A request did not do all that was asked for, without a reason that the question expects.
    #[error("{done} of {asked} pages were put in place")]
    Short {
        /// Pages that were.
        done: usize,
        /// Pages that were to be.
        asked: usize,
    },
    /// Instructions could not be counted.
    #[error("instructions could not be counted: {0}")]
    SingleStep(String),
    /// A cycle ran where none should have.
    #[error("a cycle ran while something else was measured")]
    Cycle,
    /// Two peers computed different results from the same program.
    #[error("{peer} computed {got} where ours computed {expected}")]
    Result {
        /// Who.
        peer: &'static str,
        /// What.
        got: u64,
        /// What it should have been.
        expected: u64,
    },
    /// A program of this workspace that was started failed.
    #[error("{name}: {why}")]
    Program {
        /// The command.
        name: String,
        /// What went wrong.
        why: String,
    },
    /// A plot could not be drawn.
    #[error("a plot could not be drawn: {0}")]
    Plot(String),
    /// A kept run could not be read.
    #[error("cannot read the run {path}: {why}")]
    Run {
        /// The file, as it was given.
        path: String,
        /// Why not.
        why: String,
    },
    /// No cycle was finished where one was asked for.
    #[error("the heap reports no finished cycle after one was asked for")]
    NoCycle,
    /// A mutator thread ended early.
    #[error("a mutator thread panicked")]
    Panicked,
    /// A report could not be written.
    #[error("cannot write {path}: {source}")]
    Report {
        /// The file, as it was given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// An error and what it came from, in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
