//! Roots that the embedder keeps in memory of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::forward::{Forward, Forwarding};

/// Where a runtime keeps references outside the heap: a shadow stack, registers that were spilled
/// at a safepoint, a table of globals.
///
/// A slot belongs to one thread or to the heap, once: who shows it twice has it moved twice.
///
/// Precise: every slot that holds a reference into the heap is visited, and nothing that merely
/// looks like one. Values that are no addresses of the heap (null, tagged integers) are left alone.
///
/// A thread's own roots ([`Heap::attach_with`](crate::Heap::attach_with)) are visited at its
/// safepoints, by itself or, while it is [blocking](crate::Mutator::blocking), by the collector; in
/// between they are the thread's to change without a barrier. Roots of the whole heap
/// ([`Mutator::add_roots`](crate::Mutator::add_roots)) are read beside running mutators, so that they are
/// written with [`Mutator::write_slot`](crate::Mutator::write_slot); they are rewritten in the flip
/// pause, which is as long as there are such roots.
///
/// ```
/// use std::sync::atomic::AtomicU64;
///
/// use gc_runtime::{RootVisitor, Roots};
///
/// struct Frame {
///     registers: [AtomicU64; 16],
/// }
///
/// impl Roots for Frame {
///     fn visit(&self, visitor: &mut RootVisitor<'_>) {
///         self.registers.iter().for_each(|register| visitor.slot(register));
///     }
/// }
/// ```
pub trait Roots: Send + Sync + 'static {
    /// Shows every root to `visitor`. Must not use the heap.
    fn visit(&self, visitor: &mut RootVisitor<'_>);
}

/// What the collector does with each root.
#[derive(Debug)]
pub struct RootVisitor<'a> {
    work: Work<'a>,
}

#[derive(Debug)]
enum Work<'a> {
    Collect(&'a mut Vec<u64>),
    Forward(&'a Forwarding<'a>),
}

impl<'a> RootVisitor<'a> {
    pub(crate) fn collect(into: &'a mut Vec<u64>) -> Self {
        Self { work: Work::Collect(into) }
    }

    pub(crate) fn forward(forwarding: &'a Forwarding<'a>) -> Self {
        Self { work: Work::Forward(forwarding) }
    }

    /// A slot that may hold a reference: an object's first byte.
    #[inline]
    pub fn slot(&mut self, slot: &AtomicU64) {
        let value = slot.load(Ordering::Relaxed);
        match &mut self.work {
            Work::Collect(into) if value != 0 => into.push(value),
            Work::Collect(_) => {}
            Work::Forward(forwarding) => {
                slot.store(forwarding.forward_value(value), Ordering::Relaxed);
            }
        }
    }

    /// A slot that may hold an interior pointer: an address inside an object that another root
    /// refers to. It moves with the object, and does not keep it alive.
    #[inline]
    pub fn interior(&mut self, slot: &AtomicU64) {
        if let Work::Forward(forwarding) = &self.work {
            let value = slot.load(Ordering::Relaxed);
            slot.store(forwarding.forward_interior(value), Ordering::Relaxed);
        }
    }
}
