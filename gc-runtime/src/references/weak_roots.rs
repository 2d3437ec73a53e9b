//! Weak references outside the heap.
//!
//! The lowest bit of a slot says for which flip its address is: even or odd. So a flip need not
//! touch them; who reads one afterwards forwards it, and the collector does so for the rest before
//! the cycle ends.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::forward::{Forward, Forwarding};
use crate::raw::map::SideTable;

/// Weak roots that one heap can have.
const MAX_WEAK_ROOTS: usize = 1 << 22;

/// The slots, and which of them have no owner.
#[derive(Debug)]
pub(crate) struct WeakRoots {
    slots: SideTable<AtomicU64>,
    used: AtomicU32,
    free: Mutex<Vec<u32>>,
}

fn parity(flips: u64) -> u64 {
    flips & 1
}

impl WeakRoots {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            slots: SideTable::sparse(MAX_WEAK_ROOTS, c"gc weak roots")?,
            used: AtomicU32::new(0),
            free: Mutex::new(Vec::new()),
        })
    }

    fn live_slots(&self) -> &[AtomicU64] {
        &self.slots[..self.used.load(Ordering::Acquire) as usize]
    }

    /// Clears the slots whose objects are dead. Between remark and flip.
    pub(crate) fn clear_dead(&self, is_live: impl Fn(u64) -> bool) {
        for slot in self.live_slots() {
            let value = slot.load(Ordering::Relaxed);
            if value != 0 && !is_live(value & !1) {
                let _ = slot.compare_exchange(value, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    /// Gives every slot the address that is right after `flips` flips.
    pub(crate) fn forward(&self, forwarding: &Forwarding<'_>, flips: u64) {
        for slot in self.live_slots() {
            read(slot, forwarding, flips);
        }
    }
}

/// The address in a slot, brought up to date.
fn read(slot: &AtomicU64, forwarding: &Forwarding<'_>, flips: u64) -> u64 {
    loop {
        let value = slot.load(Ordering::Acquire);
        if value == 0 || value & 1 == parity(flips) {
            return value & !1;
        }
        let new = forwarding.forward_value(value & !1) | parity(flips);
        if slot.compare_exchange(value, new, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return new & !1;
        }
    }
}

/// A reference from outside the heap that does not keep its object alive; null when the object is
/// dead. All mutators of the heap share it. Freed with its last clone.
///
/// Read and written through a mutator: [`Mutator::weak`](crate::Mutator::weak).
#[derive(Clone, Debug)]
pub struct WeakRoot {
    owned: Arc<OwnedSlot>,
}

#[derive(Debug)]
struct OwnedSlot {
    roots: Arc<WeakRoots>,
    at: u32,
}

impl WeakRoot {
    pub(crate) fn new(roots: &Arc<WeakRoots>) -> Self {
        let mut free = roots.free.lock().expect("no panic while the list is held");
        let at = free.pop().unwrap_or_else(|| {
            let at = roots.used.load(Ordering::Relaxed);
            assert!((at as usize) < MAX_WEAK_ROOTS, "more than {MAX_WEAK_ROOTS} weak roots");
            roots.used.store(at + 1, Ordering::Release);
            at
        });
        drop(free);
        Self { owned: Arc::new(OwnedSlot { roots: Arc::clone(roots), at }) }
    }

    pub(crate) fn belongs_to(&self, roots: &Arc<WeakRoots>) -> bool {
        Arc::ptr_eq(&self.owned.roots, roots)
    }

    pub(crate) fn read(&self, forwarding: &Forwarding<'_>, flips: u64) -> u64 {
        read(self.owned.slot(), forwarding, flips)
    }

    pub(crate) fn write(&self, address: u64, flips: u64) {
        let value = if address == 0 { 0 } else { address | parity(flips) };
        self.owned.slot().store(value, Ordering::Release);
    }
}

impl OwnedSlot {
    fn slot(&self) -> &AtomicU64 {
        &self.roots.slots[self.at as usize]
    }
}

impl Drop for OwnedSlot {
    fn drop(&mut self) {
        self.slot().store(0, Ordering::Release);
        if let Ok(mut free) = self.roots.free.lock() {
            free.push(self.at);
        }
    }
}
