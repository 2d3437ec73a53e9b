//! Two page spaces without a heap: what `uffd-move` can do by itself, for the questions about it.
#![allow(
    unsafe_code,
    reason = "mremap, madvise, a signal handler and assembly; docs/safety.md lists them"
)]

mod advice;
mod child;
mod fault_entry;
mod paging;
mod published;
mod spaces;
mod words;

pub use advice::{Advice, advise};
pub use child::{Ended, wait};
pub use fault_entry::{FaultEntry, ServeFault};
pub use paging::page_out;
pub use published::{Block, allocate};
pub(crate) use spaces::touch;
pub use spaces::{Delivery, HUGE_BYTES, Spaces};
pub use words::{copy, fetch};
