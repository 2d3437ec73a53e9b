//! Moving, beside running mutators.
//!
//! ```text
//! mutator touches a page that is not there
//!   -> [1 fault] which page?  -> [2 page state] who owns it?  -> [3 source page] what is in it?  -> [4 install] put it there
//!   -> mutator goes on
//! ```
//!
//! The collector takes the same steps without a fault, page by page in order ([`background`]).

pub(crate) mod fault;
pub(crate) mod near_faults;
pub(crate) mod page_state;
pub(crate) mod source_page;
pub(crate) mod install;
pub(crate) mod background;
pub(crate) mod recycle;
pub(crate) mod emptied_pages;
mod deposit;
pub(crate) mod free_pages;
