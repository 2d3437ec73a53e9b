//! Benchmarks of the heap: one question per file, every side measured in the same run.
//!
//! A benchmark here is an argument, so it has to be hard to fool oneself with it:
//!
//! * sides alternate ([`alternate`]), so that drift of the machine meets all of them alike;
//! * results are medians with their spread ([`samples`]), never a mean alone;
//! * a ratio stands beside the absolute numbers it was made from ([`claim`]);
//! * raw samples go into the report with machine, kernel and commit ([`report`], [`machine`]).
//!
//! The questions are in [`questions`]; the heaps that they are asked about come from [`shape`] and
//! [`churn`].

pub mod alternate;
pub mod beside;
pub mod bind;
pub mod churn;
pub mod claim;
pub mod contender;
pub mod demo;
pub mod effort;
pub mod emulated;
pub mod error;
pub mod figures;
pub mod heap_mapping;
pub mod huge_pages;
pub(crate) mod huge_sides;
pub mod huge_turn;
pub mod machine;
pub mod operation;
pub mod pass;
pub mod peers;
pub(crate) mod places;
pub mod plots;
pub mod questions;
pub mod raw;
pub mod report;
pub mod samples;
pub mod shape;
pub mod single_step;
pub mod small_pages_only;
pub mod splits;
pub mod stolen;
pub mod swap_device;
pub mod trees;
