//! A heap under stress: mutators that check everything they read, churn, cycles back to back,
//! forks, signals and pinned pages.
//!
//! Objects describe themselves. A *node* holds its number, a version, the numbers of the nodes its
//! slots refer to, and words that follow from its number; a reference that goes astray, a word
//! that is lost or a page that comes back old shows at the next look.

pub mod breathe;
pub mod churn;
pub mod disturb;
pub mod node;
pub mod raw;
pub mod run;

pub use breathe::{Breathing, breathe};
pub use run::{Report, Settings, run};
