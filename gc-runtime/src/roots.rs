//! Where references live outside the heap: each mutator's shadow stack, and roots for all.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::{fmt, io};

use crate::embedder_roots::{RootVisitor, Roots};
use crate::forward::{Forward, Forwarding};
use crate::raw::map::SideTable;

/// Roots that one mutator, or all global roots together, can hold.
const MAX_ROOTS: usize = 1 << 20;

/// One mutator's stack of roots.
///
/// Belongs to the mutator while it runs, and to the collector while that holds the mutator.
#[derive(Debug)]
pub(crate) struct ShadowStack {
    slots: SideTable<AtomicU64>,
    len: AtomicU32,
}

impl ShadowStack {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { slots: SideTable::sparse(MAX_ROOTS, c"gc roots")?, len: AtomicU32::new(0) })
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// Pushes a root; its number.
    #[inline]
    pub(crate) fn push(&self, value: u64) -> u32 {
        let at = self.len();
        // There are as many slots as there may be roots.
        let Some(slot) = self.slots.get(at as usize) else { too_many_roots() };
        slot.store(value, Ordering::Relaxed);
        self.len.store(at + 1, Ordering::Relaxed);
        at
    }

    /// The root with this number.
    #[inline]
    pub(crate) fn slot(&self, at: u32) -> &AtomicU64 {
        let len = self.len();
        match self.slots.get(at as usize) {
            Some(slot) if at < len => slot,
            _ => no_such_root(at, len),
        }
    }

    #[inline]
    pub(crate) fn truncate(&self, len: u32) {
        self.len.store(self.len().min(len), Ordering::Relaxed);
    }

    fn live_slots(&self) -> &[AtomicU64] {
        &self.slots[..self.len() as usize]
    }

    /// All references, for marking.
    pub(crate) fn collect(&self) -> Vec<u64> {
        values(self.live_slots())
    }

    /// Gives every root its new address.
    pub(crate) fn forward(&self, forwarding: &Forwarding<'_>) {
        forwarding.forward_run(self.live_slots());
    }
}

#[cold]
#[inline(never)]
fn too_many_roots() -> ! {
    panic!("more than {MAX_ROOTS} roots in one mutator");
}

#[cold]
#[inline(never)]
fn no_such_root(at: u32, len: u32) -> ! {
    panic!("root {at} of {len}");
}

fn values(slots: &[AtomicU64]) -> Vec<u64> {
    slots.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|&value| value != 0).collect()
}

/// Roots that belong to no mutator.
pub(crate) struct GlobalRoots {
    slots: SideTable<AtomicU64>,
    used: AtomicU32,
    lists: Mutex<SlotLists>,
    tables: Mutex<Vec<Table>>,
    /// How many tables there ever were: their numbers.
    tables_added: AtomicU64,
}

impl fmt::Debug for GlobalRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalRoots").field("used", &self.used).finish_non_exhaustive()
    }
}

/// Roots in the embedder's memory.
struct Table {
    number: u64,
    roots: Arc<dyn Roots>,
    /// Forgetting it while marking runs could hide an object.
    dropped: bool,
}

/// Slots without an owner.
#[derive(Debug, Default)]
struct SlotLists {
    /// Null, for the next owner.
    free: Vec<u32>,
    /// Still holding a reference: clearing it while marking runs could hide an object.
    dropped: Vec<u32>,
}

impl GlobalRoots {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            slots: SideTable::sparse(MAX_ROOTS, c"gc global roots")?,
            used: AtomicU32::new(0),
            lists: Mutex::new(SlotLists::default()),
            tables: Mutex::new(Vec::new()),
            tables_added: AtomicU64::new(0),
        })
    }

    fn live_slots(&self) -> &[AtomicU64] {
        &self.slots[..self.used.load(Ordering::Acquire) as usize]
    }

    pub(crate) fn collect(&self) -> Vec<u64> {
        let mut values = values(self.live_slots());
        for table in self.tables().iter() {
            table.roots.visit(&mut RootVisitor::collect(&mut values));
        }
        values
    }

    pub(crate) fn forward(&self, forwarding: &Forwarding<'_>) {
        forwarding.forward_run(self.live_slots());
        for table in self.tables().iter() {
            table.roots.visit(&mut RootVisitor::forward(forwarding));
        }
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Table>> {
        self.tables.lock().expect("no panic while the tables are held")
    }

    /// Adds a table of the embedder's.
    pub(crate) fn add_table(self: &Arc<Self>, roots: Arc<dyn Roots>) -> AddedRoots {
        let number = self.tables_added.fetch_add(1, Ordering::Relaxed);
        self.tables().push(Table { number, roots, dropped: false });
        AddedRoots { roots: Arc::clone(self), number }
    }

    /// Clears the slots and forgets the tables whose owners are gone. Only between cycles.
    pub(crate) fn clear_dropped(&self) {
        self.tables().retain(|table| !table.dropped);
        let mut lists = self.lists.lock().expect("no panic while the lists are held");
        let dropped = std::mem::take(&mut lists.dropped);
        for &at in &dropped {
            self.slot(at).store(0, Ordering::Relaxed);
        }
        lists.free.extend(dropped);
    }

    fn slot(&self, at: u32) -> &AtomicU64 {
        &self.slots[at as usize]
    }
}

/// Roots of the embedder's that belong to the heap for as long as this lives.
///
/// The collector may visit them until the next cycle begins.
#[derive(Debug)]
#[must_use = "the roots are the heap's only as long as this lives"]
pub struct AddedRoots {
    roots: Arc<GlobalRoots>,
    number: u64,
}

impl Drop for AddedRoots {
    fn drop(&mut self) {
        if let Ok(mut tables) = self.roots.tables.lock() {
            for table in tables.iter_mut().filter(|table| table.number == self.number) {
                table.dropped = true;
            }
        }
    }
}

/// A root that all mutators of a heap share; null at first. Freed with its last clone.
#[derive(Clone, Debug)]
pub struct GlobalRoot {
    owned: Arc<OwnedSlot>,
}

#[derive(Debug)]
struct OwnedSlot {
    roots: Arc<GlobalRoots>,
    at: u32,
}

impl GlobalRoot {
    pub(crate) fn new(roots: &Arc<GlobalRoots>) -> Self {
        let mut lists = roots.lists.lock().expect("no panic while the lists are held");
        let at = lists.free.pop().unwrap_or_else(|| {
            let at = roots.used.load(Ordering::Relaxed);
            assert!((at as usize) < MAX_ROOTS, "more than {MAX_ROOTS} global roots");
            roots.used.store(at + 1, Ordering::Release);
            at
        });
        drop(lists);
        Self { owned: Arc::new(OwnedSlot { roots: Arc::clone(roots), at }) }
    }

    pub(crate) fn belongs_to(&self, roots: &Arc<GlobalRoots>) -> bool {
        Arc::ptr_eq(&self.owned.roots, roots)
    }

    pub(crate) fn slot(&self) -> &AtomicU64 {
        self.owned.roots.slot(self.owned.at)
    }
}

impl Drop for OwnedSlot {
    fn drop(&mut self) {
        if let Ok(mut lists) = self.roots.lists.lock() {
            lists.dropped.push(self.at);
        }
    }
}
