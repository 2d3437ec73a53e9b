//! References that do not keep objects alive by themselves, and what happens when they are all
//! that is left.
//!
//! After the remark pause it is settled what is strongly reachable. Beside the mutators, and before
//! anything is moved, weak slots, weak roots and ephemerons of dead objects are cleared; then
//! objects with finalisers are brought back together with all they refer to, and queued. While
//! clearing is under way a mutator that reads a weak reference looks at the live bitmap itself
//! ([`References::is_clearing`]), so that nobody takes hold of an object that is going to be
//! cleared: no pause needs to be in proportion to the number of weak references.

pub(crate) mod finalisers;
pub(crate) mod identities;
pub(crate) mod weak_roots;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::forward::Forwarding;
use crate::layout::{WeakSlots, for_each_bit};
use crate::mark::discovered::Discovered;
use crate::model::ObjectModel;
use crate::references::finalisers::Finalisers;
use crate::references::identities::Identities;
use crate::references::weak_roots::WeakRoots;
use crate::space::moving_space::MovingSpace;

/// All such references of one heap.
#[derive(Debug)]
pub(crate) struct References {
    pub(crate) discovered: Discovered,
    pub(crate) weak_roots: Arc<WeakRoots>,
    pub(crate) finalisers: Finalisers,
    pub(crate) identities: Identities,
    clearing: AtomicBool,
    /// Held while a pair of key and value is cleared, or changed at the same time.
    pairs: Mutex<()>,
}

impl References {
    pub(crate) fn new(words: u32) -> std::io::Result<Self> {
        Ok(Self {
            discovered: Discovered::new(words)?,
            weak_roots: Arc::new(WeakRoots::new()?),
            finalisers: Finalisers::default(),
            identities: Identities::default(),
            clearing: AtomicBool::new(false),
            pairs: Mutex::new(()),
        })
    }

    /// Whether weak references to dead objects may still be around. Changes to true in a pause.
    #[inline]
    pub(crate) fn is_clearing(&self) -> bool {
        self.clearing.load(Ordering::Acquire)
    }

    /// In the remark pause: from here on the live bitmap decides.
    pub(crate) fn begin_clearing(&self) {
        self.clearing.store(true, Ordering::Release);
    }

    pub(crate) fn lock_pairs(&self) -> MutexGuard<'_, ()> {
        self.pairs.lock().expect("no panic while a pair is held")
    }

    /// Clears every weak reference to an object that is not live.
    pub(crate) fn clear<M: ObjectModel>(&self, space: &MovingSpace<M>) {
        self.clear_discovered(space);
        self.weak_roots.clear_dead(|value| space.is_live(value));
        self.discovered.ephemerons.clear();
        self.clearing.store(false, Ordering::Release);
    }

    /// Clears the slots of the objects that marking met since this was last called.
    pub(crate) fn clear_discovered<M: ObjectModel>(&self, space: &MovingSpace<M>) {
        for object in self.discovered.take() {
            let words = &space.words()[object as usize..];
            let layout = space.layout(words);
            let clear = |slot: u32| {
                let slot = &words[slot as usize];
                let value = slot.load(Ordering::Relaxed);
                if !space.is_live(value) {
                    // Who stores at the same time has a live object in hand.
                    let _ = slot.compare_exchange(value, 0, Ordering::AcqRel, Ordering::Relaxed);
                }
            };
            match layout.weak_slots() {
                WeakSlots::Range(slots) => slots.for_each(clear),
                WeakSlots::Mixed { first, weak, .. } => {
                    for_each_bit(first, u64::from(weak), &(0..layout.words()), clear);
                }
                WeakSlots::Ephemerons { first, pairs } => {
                    for key in (0..pairs).map(|pair| (first + 2 * pair) as usize) {
                        let _held = self.lock_pairs();
                        if !space.is_live(words[key].load(Ordering::Relaxed)) {
                            words[key].store(0, Ordering::Release);
                            words[key + 1].store(0, Ordering::Release);
                        }
                    }
                }
            }
        }
    }

    /// In the flip pause, in constant time: what is here now has old addresses.
    pub(crate) fn set_aside(&self) {
        self.finalisers.set_aside();
    }

    /// After the flip, beside the mutators: new addresses.
    pub(crate) fn forward(&self, forwarding: &Forwarding<'_>, flips: u64) {
        self.weak_roots.forward(forwarding, flips);
        self.finalisers.forward(forwarding);
        drop(self.identities.lock(forwarding, flips));
    }
}
