//! A thread that runs the program: the fast path of allocation, safepoints, the write barrier.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uffd_move::AltStack;

use crate::addr::ObjectRef;
use crate::core::HeapCore;
use crate::embedder_roots::{RootVisitor, Roots};
use crate::error::{AttachError, OomCause, OutOfMemory};
use crate::heap::Heap;
use crate::layout::Content;
use crate::local::Local;
use crate::mark::barrier::BarrierMode;
use crate::model::{Header, ObjectModel};
use crate::raw::held_words::HeldWords;
use crate::record::Records;
use crate::refill::Room;
use crate::safepoint::MutatorCore;
use crate::space::moving_space::MovingSpace;

/// Stack that building a page in a signal handler may need, with room to spare.
const SIGNAL_STACK_BYTES: usize = 64 << 10;

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
        if self.shared().unusable().is_none() {
            self.shared().collect(&self.core);
        }
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

    /// The write barrier: to be called before `slot` is overwritten with `new`.
    #[inline(always)]
    pub(crate) fn before_store(&self, slot: &std::sync::atomic::AtomicU64, new: u64) {
        if self.core.block.marking.load(Ordering::Relaxed) != BarrierMode::Idle as u32 {
            self.note_store(slot, new);
        }
    }

    /// Tells a marking that is under way of an object that it might not find by itself.
    pub(crate) fn log_if_marking(&self, value: u64) {
        if self.core.is_logging() {
            self.core.log.log(value, &self.shared().logged);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_store(&self, slot: &std::sync::atomic::AtomicU64, new: u64) {
        let HeapCore { space, logged, .. } = self.shared();
        let marking = self.core.block.marking.load(Ordering::Relaxed);
        let address = std::ptr::from_ref(slot).addr() as u64;
        if BarrierMode::logs(marking) {
            let both = marking == BarrierMode::LogBoth as u32;
            let old = slot.load(Ordering::Relaxed);
            if both || !space.is_born(old) {
                self.core.log.log(old, logged);
            }
            if both || space.is_born(new) && !space.is_born(address) {
                self.core.log.log(new, logged);
            }
        }
        space.reach.note_store(space.geometry, address, new);
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
