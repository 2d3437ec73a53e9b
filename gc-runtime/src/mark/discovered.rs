//! What marking met that it could not finish: objects with slots to be cleared.

use std::sync::Mutex;

use crate::mark::ephemerons::Ephemerons;
use crate::mark::large_leaves::LargeLeaves;
use crate::mark::young::Young;

/// Live objects with weak slots, of one cycle, and ephemerons that wait.
#[derive(Debug)]
pub(crate) struct Discovered {
    pub(crate) ephemerons: Ephemerons,
    pub(crate) large_leaves: LargeLeaves,
    pub(crate) young: Young,
    objects: Mutex<Vec<u32>>,
}

impl Discovered {
    pub(crate) fn new(words: u32) -> std::io::Result<Self> {
        Ok(Self {
            ephemerons: Ephemerons::new(words)?,
            large_leaves: LargeLeaves::default(),
            young: Young::default(),
            objects: Mutex::new(Vec::new()),
        })
    }

    /// Adds what one thread has met.
    pub(crate) fn add(&self, objects: &mut Vec<u32>) {
        if !objects.is_empty() {
            self.objects.lock().expect("no panic while the list is held").append(objects);
        }
    }

    /// Takes everything met so far, by the number of the object's first word.
    pub(crate) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.objects.lock().expect("no panic while the list is held"))
    }
}
