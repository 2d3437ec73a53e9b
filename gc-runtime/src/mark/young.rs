//! What was born while marking ran, and how it is found: from roots, and from older objects that it
//! has been stored into.

use crate::mark::barrier::LoggedReferences;
use crate::mark::batches::Batches;

/// References to objects too young for the trace that met them in the log.
#[derive(Debug, Default)]
pub(crate) struct Young(Batches<u64>);

impl Young {
    /// Adds what one thread has met.
    pub(crate) fn add(&self, references: Vec<u64>) {
        self.0.push(references);
    }

    /// They are not too young any more.
    pub(crate) fn hand_to(&self, logged: &LoggedReferences) {
        while let Some(batch) = self.0.take() {
            logged.push(batch);
        }
    }

    /// Nobody will mark them: this cycle takes them for live.
    pub(crate) fn forget(&self) {
        while self.0.take().is_some() {}
    }
}
