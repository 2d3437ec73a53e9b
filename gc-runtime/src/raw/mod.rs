//! The only unsafe code of this crate: mappings, bulk word copies, futexes and signal entry.
//!
//! What this layer promises to everything above it:
//! * heap memory and side tables are handed out as slices of atomics that stay mapped for as long
//!   as their owner lives, so that reading and writing them is defined whoever else does the same;
//! * bulk copies are bounds-checked and never make a value that is not valid;
//! * kernel calls that take address ranges only ever get ranges owned by this heap.
#![allow(unsafe_code, reason = "the fence: see docs/safety.md for the inventory")]

pub(crate) mod map;
pub(crate) mod give_back;
pub(crate) mod page_tables;
pub(crate) mod words;
pub(crate) mod quads;
pub(crate) mod held_words;
pub(crate) mod block;
pub(crate) mod futex;
pub(crate) mod cpu;
pub(crate) mod fatal;
pub(crate) mod fault_entry;
pub(crate) mod uffd;
