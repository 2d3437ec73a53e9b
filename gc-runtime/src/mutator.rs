//! A thread that runs the program: allocation, safepoints, the write barrier.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use uffd_move::AltStack;

use crate::addr::{MAX_WORDS, ObjectRef, WORD_BYTES};
use crate::core::HeapCore;
use crate::embedder_roots::{RootVisitor, Roots};
use crate::error::{AttachError, OomCause, OutOfMemory};
use crate::event::{CycleReason, Event};
use crate::heap::Heap;
use crate::layout::{Content, MIN_OBJECT_WORDS};
use crate::local::Local;
use crate::mark::barrier::BarrierMode;
use crate::model::{Header, ObjectModel};
use crate::raw::futex;
use crate::raw::held_words::HeldWords;
use crate::raw::words;
use crate::record::Records;
use crate::safepoint::MutatorCore;
use crate::space::allocation::{BUFFER_PAGES, Grant};
use crate::space::moving_space::MovingSpace;

/// Objects above this share of an allocation buffer get pages of their own.
const LARGE_SHARE: usize = 4;

/// Stack that building a page in a signal handler may need, with room to spare.
const SIGNAL_STACK_BYTES: usize = 64 << 10;

/// Full cycles without success after which an allocation gives up: one of any kind, and two that
/// pack everything, of which the second finds what died while the first ran.
const FRUITLESS_CYCLES: u32 = 3;

/// How long a mutator that is ahead of the collector waits before it looks again.
const PACE_WAIT: Duration = Duration::from_micros(50);

/// Where a new object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// In a buffer with others, unless it is large.
    Shared(Content),
    /// At the start of pages that no other object gets.
    OwnPages,
}

/// A thread of the program, as the heap knows it. Stays on the thread that attached.
///
/// Everything that can be a safepoint takes `&mut self`, everything else `&self`: that is how the
/// compiler knows when a [`Local`] goes stale. A mutator must come to a safepoint often
/// (allocation is one), or be in a [`blocking`](Self::blocking) region; others wait for it.
#[derive(Debug)]
pub struct Mutator<M: ObjectModel = Records> {
    pub(crate) core: Arc<MutatorCore>,
    /// The heap's words.
    pub(crate) words: HeldWords,
    pub(crate) heap: Heap<M>,
    _stack: AltStack,
    /// The signal stack, and the right to run, belong to one thread.
    not_send: PhantomData<*mut ()>,
}

impl<M: ObjectModel> Mutator<M> {
    pub(crate) fn attach(
        heap: &Heap<M>,
        roots: Option<Arc<dyn Roots>>,
    ) -> Result<Self, AttachError> {
        let core = heap.core();
        match core.unusable() {
            Some(OomCause::Forked) => return Err(AttachError::Forked { owner: core.owner }),
            Some(_) => return Err(AttachError::Broken),
            None => {}
        }
        let no_memory = |error: std::io::Error| AttachError::NoMemory { reason: error.to_string() };
        if let Some(roots) = &roots {
            let mut values = Vec::new();
            roots.visit(&mut RootVisitor::collect(&mut values));
            let geometry = core.space.geometry;
            let holds = values.into_iter().any(|value| geometry.word_of(value).is_some());
            assert!(!holds, "a thread's roots hold references before it is attached");
        }
        let stack = AltStack::ensure(SIGNAL_STACK_BYTES).map_err(no_memory)?;
        let words = || HeldWords::of(Arc::clone(&core.space), MovingSpace::words);
        let mut mutators = core.safepoints.mutators();
        let mode = core.barrier_mode.load(Ordering::Acquire);
        let flips = core.flips.load(Ordering::Acquire);
        let mutator = MutatorCore::new(words(), mode, flips, roots).map_err(no_memory)?;
        let mutator = Arc::new(mutator);
        mutators.push(Arc::clone(&mutator));
        drop(mutators);
        Ok(Self {
            core: mutator,
            words: words(),
            heap: heap.clone(),
            _stack: stack,
            not_send: PhantomData,
        })
    }

    pub(crate) fn shared(&self) -> &HeapCore<M> {
        self.heap.core()
    }

    /// The heap this thread works on.
    #[must_use]
    pub fn heap(&self) -> &Heap<M> {
        &self.heap
    }

    /// Address of the block whose words [`JitLayout`](crate::JitLayout) describes; the same for the
    /// mutator's life.
    #[must_use]
    pub fn block_address(&self) -> usize {
        Arc::as_ptr(&self.core).expose_provenance()
    }

    /// Comes to a safepoint if one is asked for.
    #[inline]
    pub fn safepoint(&mut self) {
        if self.core.block.requests.load(Ordering::Acquire) != 0 {
            self.shared().poll(&self.core);
        }
    }

    /// Runs `work`, during which the collector does not wait for this thread.
    ///
    /// For everything that may take long or sleep: locks, channels, system calls. `work` must not
    /// touch the heap, which the borrow checker sees to.
    pub fn blocking<R>(&mut self, work: impl FnOnce() -> R) -> R {
        struct Leave<'a, M: ObjectModel>(&'a HeapCore<M>, &'a MutatorCore);
        impl<M: ObjectModel> Drop for Leave<'_, M> {
            fn drop(&mut self) {
                self.0.leave_safe(self.1);
                self.0.poll(self.1);
            }
        }
        self.core.enter_safe(&self.shared().safepoints);
        let _leave = Leave(self.shared(), &self.core);
        work()
    }

    /// Runs a full cycle that begins now, and returns when it is finished.
    ///
    /// Everything that is unreachable at the call is gone afterwards.
    pub fn collect(&mut self) {
        if self.shared().unusable().is_some() {
            return;
        }
        let ticket = self.shared().control.request_cycle(CycleReason::Requested);
        self.shared().wait_safely(&self.core, |state| state.finished >= ticket);
    }

    /// Allocates `words` words: the header, and zeros.
    ///
    /// Inlined, this is the sequence that [`JitLayout`](crate::JitLayout) publishes, and the store
    /// of the header.
    #[inline(always)]
    pub(crate) fn allocate_words(
        &mut self,
        words: u32,
        content: Content,
        header: Header,
    ) -> Result<ObjectRef, OutOfMemory> {
        match self.core.block.take(content, words) {
            Some(new) => {
                new.header[0].store(header.first(), Ordering::Relaxed);
                if M::HEADER_WORDS > 1 {
                    new.header[1].store(header.second(), Ordering::Relaxed);
                }
                Ok(ObjectRef::new(new.address))
            }
            None => self.allocate_slow(u64::from(words), content, header),
        }
    }

    /// Allocates `words` words, however many, wherever there is room.
    #[cold]
    #[inline(never)]
    pub(crate) fn allocate_slow(
        &mut self,
        words: u64,
        content: Content,
        header: Header,
    ) -> Result<ObjectRef, OutOfMemory> {
        self.find_room(words, header, Room::Shared(content))
    }

    /// Allocates `words` words on pages of their own: the header, and zeros.
    pub(crate) fn allocate_pages(
        &mut self,
        words: u64,
        header: Header,
    ) -> Result<ObjectRef, OutOfMemory> {
        self.find_room(words, header, Room::OwnPages)
    }

    fn find_room(
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
                drop(cursor);
                let _ = ahead.get_or_insert_with(Instant::now);
                self.keep_pace();
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

    /// Waits until memory may have become free; 1 if a whole cycle passed meanwhile. After
    /// `fruitless` cycles that did not help it is an emergency.
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
        core.wait_safely(&self.core, |state| {
            state.finished >= ticket || core.flips.load(Ordering::Acquire) != flips
        });
        core.tell_stall(began);
        u32::from(core.control.lock().finished >= ticket)
    }

    /// Waits a little for the collector, which this thread has got ahead of.
    fn keep_pace(&self) {
        let core = self.shared();
        self.core.enter_safe(&core.safepoints);
        futex::nap(PACE_WAIT);
        core.leave_safe(&self.core);
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

    /// The write barrier: to be called before `slot` is overwritten with `new`.
    #[inline(always)]
    pub(crate) fn before_store(&self, slot: &std::sync::atomic::AtomicU64, new: u64) {
        if self.core.block.marking.load(Ordering::Relaxed) != BarrierMode::Idle as u32 {
            self.log_store(slot, new);
        }
    }

    /// Tells a marking that is under way of an object that it might not find by itself.
    pub(crate) fn log_if_marking(&self, value: u64) {
        if self.core.block.marking.load(Ordering::Relaxed) != BarrierMode::Idle as u32 {
            self.core.log.log(value, &self.shared().logged);
        }
    }

    #[cold]
    #[inline(never)]
    fn log_store(&self, slot: &std::sync::atomic::AtomicU64, new: u64) {
        let logged = &self.shared().logged;
        self.core.log.log(slot.load(Ordering::Relaxed), logged);
        if self.core.block.marking.load(Ordering::Relaxed) == BarrierMode::LogBoth as u32 {
            self.core.log.log(new, logged);
        }
    }
}

/// A reference as a slot holds it.
#[inline(always)]
pub(crate) fn address_of(value: Option<Local<'_>>) -> u64 {
    value.map_or(0, |local| local.object().address())
}

impl<M: ObjectModel> Drop for Mutator<M> {
    fn drop(&mut self) {
        let core = self.shared();
        if core.unusable() == Some(OomCause::Forked) {
            return;
        }
        // Safe first: the collector may be holding the list and waiting for this thread.
        self.core.enter_safe(&core.safepoints);
        let mut mutators = core.safepoints.mutators();
        // Nobody acts for this mutator without the list, so that its state is ours again.
        core.retire_buffers(&self.core);
        self.core.log.flush(&core.logged);
        mutators.retain(|other| !Arc::ptr_eq(other, &self.core));
    }
}
