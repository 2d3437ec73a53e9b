//! What is live: concurrent marking over a snapshot of the heap.
//!
//! The snapshot is the heap at the moment when the mutators' roots were scanned. A mutator that
//! overwrites a reference while marking runs logs the old value first ([`barrier`]), so that
//! everything reachable in the snapshot is found; objects born since count as live without being
//! traced. When that is done, a second snapshot is taken, and those born before it are traced too
//! ([`young`]). Between the first and the last mutator's scan a mutator that has not been scanned also
//! logs what it stores, because its unscanned roots may be the only other place that has it.

pub(crate) mod live_bitmap;
pub(crate) mod page_reach;
pub(crate) mod marks_apart;
pub(crate) mod barrier;
pub(crate) mod worklist;
pub(crate) mod batches;
pub(crate) mod ephemerons;
pub(crate) mod discovered;
pub(crate) mod young;
pub(crate) mod large_leaves;
pub(crate) mod side;
mod trace;

pub(crate) use trace::{help, trace};
