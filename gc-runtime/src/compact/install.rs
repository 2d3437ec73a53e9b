//! Step 4: put it there. Staged pages with neighbouring sources go in one system call.

use std::ops::Range;

use crate::addr::PageIndex;
use crate::compact::page_state::{PageState, SourceIndex};
use crate::model::ObjectModel;
use crate::space::moving_space::MovingSpace;

impl<M: ObjectModel> MovingSpace<M> {
    /// Installs what is staged among `pages`, whoever built it.
    pub(crate) fn install_staged(&self, pages: Range<u32>) {
        let mut at = pages.start;
        while at < pages.end {
            let PageState::Staged(source) = self.states.get(PageIndex(at)) else {
                at += 1;
                continue;
            };
            let mut count = 1;
            while at + count < pages.end
                && self.states.get(PageIndex(at + count))
                    == PageState::Staged(SourceIndex(source.0 + count))
            {
                count += 1;
            }
            self.transport.install(PageIndex(at), source, count, &self.counters);
            for page in at..at + count {
                self.states.installed(PageIndex(page));
            }
            at += count;
        }
    }
}
