//! Objects whose place matters: pinned ones, aligned ones, and pages lent to system calls.

pub(crate) mod aligned;
pub(crate) mod pins;

use std::ops::Range;
use std::sync::Arc;

use crate::addr::PageIndex;
use crate::fixed::aligned::Aligned;
use crate::fixed::pins::Pins;
use crate::forward::Forwarding;
use crate::forward::fixed_pages::{Fix, FixedPages};
use crate::model::ObjectModel;
use crate::space::moving_space::MovingSpace;

/// All such objects of one heap.
#[derive(Debug, Default)]
pub(crate) struct FixedObjects {
    pub(crate) pins: Arc<Pins>,
    pub(crate) aligned: Aligned,
}

impl FixedObjects {
    /// For the summary: which pages must keep their content. `None` if something that must not move
    /// lies among the objects born in this cycle, which only move together: then nothing moves.
    pub(crate) fn plan<M: ObjectModel>(&self, space: &MovingSpace<M>) -> Option<FixedPages> {
        let black = space.black();
        let mut runs = Vec::new();
        for address in self.pins.plan() {
            let pages = pages_of(space, address);
            if pages.end > black {
                return None;
            }
            runs.push((pages, Fix::Pinned));
        }
        for address in self.aligned.keep_live(|address| space.is_live(address)) {
            let pages = pages_of(space, address);
            if pages.start < black {
                runs.push((pages, Fix::Whole));
            }
        }
        Some(FixedPages::new(runs))
    }

    /// In the flip pause, in constant time.
    pub(crate) fn set_aside(&self) {
        self.aligned.set_aside();
    }

    /// After the flip, beside the mutators. Pins have stayed where they are.
    pub(crate) fn forward(&self, forwarding: &Forwarding<'_>) {
        self.aligned.forward(forwarding);
    }
}

/// The pages that an object has words on. Not while pages may be missing.
fn pages_of<M: ObjectModel>(space: &MovingSpace<M>, address: u64) -> Range<u32> {
    let geometry = space.geometry;
    let start = geometry.word_of(address).expect("an object of this heap");
    let words = space.layout(&space.words()[start as usize..]).words();
    let PageIndex(last) = geometry.page_of(start + (words - 1));
    geometry.page_of(start).0..last + 1
}
