//! What an allocation does when its buffer is full: a new one, in pace with the collector, or after
//! waiting for memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::addr::{MAX_WORDS, ObjectRef, WORD_BYTES};
use crate::error::{OomCause, OutOfMemory};
use crate::event::{CycleReason, Event};
use crate::layout::{Content, MIN_OBJECT_WORDS};
use crate::model::{Header, ObjectModel};
use crate::mutator::Mutator;
use crate::raw::words;
use crate::space::allocation::{BUFFER_PAGES, Grant};

/// Objects above this share of an allocation buffer get pages of their own.
const LARGE_SHARE: usize = 4;

/// Full cycles without success after which an allocation gives up: one of any kind, and two that
/// pack everything, of which the second finds what died while the first ran.
const FRUITLESS_CYCLES: u32 = 3;

/// Where a new object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// In a buffer with others, unless it is large.
    Shared(Content),
    /// At the start of pages that no other object gets.
    OwnPages,
}

impl<M: ObjectModel> Mutator<M> {
    /// Allocates `words` words in `room`, after waiting for memory if there is none: the header, and
    /// zeros.
    pub(crate) fn find_room(
        &mut self,
        words: u64,
        header: Header,
        room: Room,
    ) -> Result<ObjectRef, OutOfMemory> {
        let object = self.find_words(words, room)?;
        self.write_header(object, header);
        Ok(object)
    }

    fn find_words(&mut self, words: u64, room: Room) -> Result<ObjectRef, OutOfMemory> {
        debug_assert!(words >= u64::from(MIN_OBJECT_WORDS), "the smallest object has two words");
        let heap = self.heap.clone();
        let core = heap.core();
        let mutator = Arc::clone(&self.core);
        let geometry = core.space.geometry;
        let bytes = match usize::try_from(words) {
            Ok(words) if words <= MAX_WORDS.min(geometry.words as usize) => words * WORD_BYTES,
            _ => return Err(self.out_of_memory(words, OomCause::TooLarge)),
        };
        let buffer_bytes = BUFFER_PAGES as usize * geometry.page_bytes();
        let (content, own_pages) = match room {
            Room::Shared(content) => (content, false),
            Room::OwnPages => (Content::Slots, true),
        };
        let large = own_pages || bytes > buffer_bytes / LARGE_SHARE;
        let pages = if large {
            u32::try_from(bytes.div_ceil(geometry.page_bytes())).expect("the heap has 32-bit words")
        } else {
            BUFFER_PAGES
        };
        let take = |content| {
            let new = mutator.block.take(content, u32::try_from(words).ok()?)?;
            Some(ObjectRef::new(new.address))
        };
        let mut fruitless = 0;
        let mut ahead = None;
        loop {
            // First: in a forked child nobody answers a poll.
            if let Some(cause) = core.unusable() {
                return Err(self.out_of_memory(words, cause));
            }
            core.poll(&mutator);
            mutator.last_seen.note();
            if !large {
                // The limit may only have been lowered to get this thread's attention.
                mutator.block.reopen();
                if let Some(object) = take(content) {
                    return Ok(object);
                }
            }
            let mut cursor = core.space.allocation.lock_to_take(pages);
            if mutator.block.requests.load(Ordering::Acquire) != 0 {
                continue;
            }
            if cursor.rest() >= pages && !core.space.keeps_pace(&cursor, pages) {
                let wants_cycle = cursor.wants_cycle();
                drop(cursor);
                if wants_cycle {
                    core.control.suggest_cycle(CycleReason::Allocation);
                }
                let _ = ahead.get_or_insert_with(Instant::now);
                core.help_or_wait(&self.core, |_| false);
                continue;
            }
            if let Some(since) = ahead.take() {
                drop(cursor);
                core.tell_held_back(since);
                continue;
            }
            core.space.deposit_ahead(&mut cursor, pages);
            let grant = cursor.take(pages).or_else(|| {
                // Rather a short buffer than a stall.
                let rest = cursor.rest();
                (!large && rest as usize * geometry.page_bytes() >= bytes)
                    .then(|| cursor.take(rest))?
            });
            let (wants_cycle, fits) = (cursor.wants_cycle(), pages <= cursor.limit);
            drop(cursor);
            let Some(grant) = grant else {
                if !large && let Some(object) = take(content.other()) {
                    return Ok(object);
                }
                if !fits {
                    return Err(self.out_of_memory(words, OomCause::TooLarge));
                }
                if fruitless == FRUITLESS_CYCLES {
                    return Err(self.out_of_memory(words, self.full_because()));
                }
                fruitless += self.wait_for_memory(fruitless);
                continue;
            };
            if wants_cycle {
                core.control.suggest_cycle(CycleReason::Allocation);
            }
            if self.zeal_wants_cycle() {
                core.control.suggest_cycle(CycleReason::Zeal);
            }
            let start = geometry.page_address(grant.first);
            if large {
                core.retire_large(&mutator);
                self.prepare(grant);
                mutator.large_start.store(start, Ordering::Relaxed);
                mutator.large_end.store(start + bytes, Ordering::Relaxed);
            } else {
                core.retire_buffer(&mutator, content);
                self.prepare(grant);
                let end = start + grant.pages as usize * geometry.page_bytes();
                mutator.block.refill(content, start..end);
                if let Some(object) = take(content) {
                    return Ok(object);
                }
                // It was wanted at a safepoint in between.
                continue;
            }
            return Ok(ObjectRef::from_address(start as u64).expect("not at null"));
        }
    }

    /// Makes granted pages read as zeros.
    fn prepare(&self, grant: Grant) {
        let space = &self.shared().space;
        let first = grant.first.0;
        // Fresh pages first: what is there already only needs clearing.
        space.prepare_fresh(first + grant.dirty..first + grant.pages);
        for page in first..first + grant.dirty {
            words::fill(space.page_words(crate::addr::PageIndex(page)), 0);
        }
    }

    fn zeal_wants_cycle(&self) -> bool {
        let every = self.shared().zeal.every_refills;
        every != 0 && self.core.refills.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }

    /// Waits and helps until memory may have become free; 1 if a whole cycle passed. After `fruitless`
    /// cycles that did not help it is an emergency.
    fn wait_for_memory(&self, fruitless: u32) -> u32 {
        let core = self.shared();
        let began = Instant::now();
        let flips = core.flips.load(Ordering::Acquire);
        let has_flipped = core.space.allocation.lock().has_flipped();
        let ticket = match fruitless {
            // What a cycle that has flipped could find, it has found.
            0 if has_flipped => core.control.request_cycle(CycleReason::Allocation),
            0 => core.control.suggest_cycle(CycleReason::Allocation),
            _ => core.control.request_cycle(CycleReason::Emergency),
        };
        core.wait_helping(&self.core, |state| {
            state.finished >= ticket || core.flips.load(Ordering::Acquire) != flips
        });
        core.tell_stall(began);
        u32::from(core.control.lock().finished >= ticket)
    }

    /// Who it is that leaves no more memory.
    fn full_because(&self) -> OomCause {
        match self.shared().space.allocation.lock().is_capped() {
            true => OomCause::Container,
            false => OomCause::Full,
        }
    }

    fn out_of_memory(&self, words: u64, cause: OomCause) -> OutOfMemory {
        let core = self.shared();
        // In a forked child a lock may be held by a thread that is not there.
        let (limit_bytes, live_bytes) = match cause {
            OomCause::Forked => (u64::from(core.space.geometry.words) * WORD_BYTES as u64, 0),
            _ => (core.limit_bytes(), core.observers.stats().live_bytes),
        };
        let requested_bytes = words.saturating_mul(WORD_BYTES as u64);
        let error = OutOfMemory { requested_bytes, limit_bytes, live_bytes, cause };
        if matches!(cause, OomCause::Full | OomCause::Container) {
            core.observers.tell(&Event::OutOfMemory { error });
        }
        error
    }
}
