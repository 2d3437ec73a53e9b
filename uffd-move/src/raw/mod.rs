//! The requests themselves, one function each: unchecked, and fit for a signal handler.
//!
//! Use these if you manage the memory yourself, as a garbage collector does. The safe layer
//! ([`crate::Area`], [`crate::Registration`]) is built on them.
//!
//! None of these functions allocates, takes a lock or changes anything but what it says. They
//! leave `errno` to the C library, so a signal handler must save and restore it (the router of
//! [`crate::route`] does).
#![allow(unsafe_code, reason = "unchecked requests; docs/safety.md lists what each owes")]

mod request;
mod move_all;
mod touch;
mod area;
mod batch;
pub(crate) mod owned;

pub use area::Area;
pub use batch::{BatchFull, MoveBatch, Submitted};
pub use move_all::{OnHole, OnPresent, Progress, Resume, move_all};
pub use request::{
    continue_pages, copy_pages, move_pages, register, unregister, wake_pages, zero_pages,
};
pub(crate) use touch::touched_again;
pub use touch::{Access, touch_range, with_touched};
