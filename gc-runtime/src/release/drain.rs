//! Takes hints, looks whether the chunks are free, and gives their memory back, batch by batch.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::event::{Event, ReleaseReason};
use crate::model::ObjectModel;
use crate::raw::give_back::Giving;
use crate::release::Release;
use crate::space::moving_space::MovingSpace;

/// Chunks of a batch: a millisecond or two, for which a cycle may have to wait before it can begin
/// to compact, and a mutator that needs one of these very pages.
const BATCH_CHUNKS: u32 = 16;

/// What was given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) pages: u64,
    pub(crate) calls: u64,
    /// Pages that the kernel refused to take.
    pub(crate) refused: u64,
}

impl Given {
    /// The event that tells of it; `None` if there was nothing to give.
    pub(crate) fn event(self, reason: ReleaseReason, began: Instant) -> Option<Event> {
        let Self { pages, calls, refused } = self;
        let event = Event::Released { reason, began, took: began.elapsed(), pages, calls, refused };
        (pages + refused > 0).then_some(event)
    }
}

impl Release {
    /// Gives back what is free and not worth keeping; unless `reason` is that it was not used, all
    /// that is free.
    pub(crate) fn drain<M: ObjectModel>(
        &self,
        space: &MovingSpace<M>,
        reason: ReleaseReason,
    ) -> Given {
        if reason == ReleaseReason::Unused {
            self.chunks.answer();
        } else if let Some(mut uses) = self.uses() {
            uses.forget();
        }
        let mut given = Given::default();
        let mut position = self.pages;
        loop {
            let batch = self.batch();
            match self.drain_batch(space, reason, position, &mut given) {
                Some(next) => position = next,
                None => return given,
            }
            drop(batch);
            while self.waiting.load(Ordering::Acquire) > 0 {
                // A cycle begins: it comes first, or it would never get in between.
                std::thread::yield_now();
            }
        }
    }

    /// Gives back the highest free chunks below the page `position`; the next position, `None` at the
    /// end.
    fn drain_batch<M: ObjectModel>(
        &self,
        space: &MovingSpace<M>,
        reason: ReleaseReason,
        position: u32,
        given: &mut Given,
    ) -> Option<u32> {
        let mut cursor = space.allocation.lock();
        // Hints that are out of date: in use again, or without memory.
        let end = cursor.resident.div_ceil(self.chunk_pages);
        self.chunks.take(0..cursor.top.div_ceil(self.chunk_pages), u32::MAX);
        self.chunks.take(end..self.pages.div_ceil(self.chunk_pages), u32::MAX);
        let below = position.min(cursor.resident);
        let parts = match reason {
            ReleaseReason::Unused => self.unused(cursor.kept(self.lately()), below),
            _ => self.everything(space, cursor.top, below),
        };
        let lowest = parts.last()?.start;
        let pages: u64 = parts.iter().map(|part| u64::from(part.end - part.start)).sum();
        let giving = self.giving(reason);

        let fence = space.allocation.fence(&mut cursor, lowest);
        drop(cursor);
        let answer = space.transport.give_up(&parts, giving);
        let mut cursor = fence.cursor();
        match answer {
            Ok(calls) => {
                given.pages += pages;
                given.calls += u64::from(calls);
                for part in parts {
                    if giving != Giving::Lazily && part.end == cursor.resident {
                        cursor.resident = part.start;
                    }
                }
            }
            Err(error) => {
                // Some of it may be gone: as memory with old content it is cleared before use.
                tracing::debug!(%error, pages, "free memory was refused and stays");
                given.refused += pages;
            }
        }
        drop(cursor);
        drop(fence);
        Some(lowest)
    }

    /// Takes hints between the pages `kept` and `below`, a batch of them from the top down.
    fn unused(&self, kept: u32, below: u32) -> Vec<Range<u32>> {
        let page_of = |chunk: u32| chunk.saturating_mul(self.chunk_pages);
        let first = kept.div_ceil(self.chunk_pages);
        let end = below.div_ceil(self.chunk_pages).max(first);
        let runs = self.chunks.take(first..end, BATCH_CHUNKS);
        runs.into_iter().map(|run| page_of(run.start)..page_of(run.end).min(below)).collect()
    }

    /// What is free below the page `below`, a batch of it, hinted or not: it may have been freed
    /// lazily, or refused. Where pages are small, to the page.
    fn everything<M: ObjectModel>(
        &self,
        space: &MovingSpace<M>,
        top: u32,
        below: u32,
    ) -> Vec<Range<u32>> {
        let low = match space.transport.heap().refuses_huge_pages() {
            true => top,
            false => self.up_to_chunk(top),
        };
        let batch = (BATCH_CHUNKS * self.chunk_pages).min(below);
        let start = ((below - batch) / self.chunk_pages * self.chunk_pages).max(low);
        self.chunks.take(start / self.chunk_pages..below.div_ceil(self.chunk_pages), u32::MAX);
        let rest = start..below;
        if rest.is_empty() { Vec::new() } else { vec![rest] }
    }
}
