//! Computed forwarding: where an object goes follows from what is live before it.
//!
//! After Kermany and Petrank, "The Compressor: concurrent, incremental, and parallel compaction"
//! (PLDI 2006): the new address of a word is the number of live words before its block (the
//! [offset table](offset_table)) plus the live words before it inside the block (a population
//! count in the live bitmap). Nothing is stored in objects.
//!
//! Departures: runs of dense pages, *islands*, move by whole pages, dead words and all, so that
//! nothing in them is copied; objects born while the cycle runs slide as whole pages too, so that
//! their new address is a subtraction; and what is needed to
//! rebuild a page that starts inside an object is recorded [while marking](straddle), because the
//! page that holds the object's header may be gone by then.

pub(crate) mod offset_table;
pub(crate) mod straddle;
pub(crate) mod fixed_pages;
pub(crate) mod islands;
mod forwarding;
pub(crate) mod plan;
#[cfg(test)]
mod twin_tests;

pub(crate) use forwarding::{Forward, Forwarding, Neighbourhoods};
pub(crate) use plan::{PageKind, Plan, PlanCell};
