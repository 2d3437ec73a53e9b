//! Roots through a mutator: its own shadow stack, global roots, and those in the embedder's memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::embedder_roots::{RootVisitor, Roots};
use crate::local::{Local, RootIndex};
use crate::model::ObjectModel;
use crate::mutator::{Mutator, address_of};
use crate::roots::{AddedRoots, GlobalRoot};

impl<M: ObjectModel> Mutator<M> {
    /// How many roots this mutator has.
    #[must_use]
    #[inline]
    pub fn root_count(&self) -> usize {
        self.core.roots.len() as usize
    }

    /// Drops all roots but the first `len`.
    #[inline]
    pub fn truncate_roots(&self, len: usize) {
        self.core.roots.truncate(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Pushes a root.
    ///
    /// # Panics
    ///
    /// If there are 2^20 roots already.
    #[inline]
    pub fn push_root(&self, value: Option<Local<'_>>) -> RootIndex {
        RootIndex(self.core.roots.push(address_of(value)))
    }

    /// The object a root refers to; `None` for null.
    ///
    /// # Panics
    ///
    /// If there is no such root any more.
    #[must_use]
    #[inline]
    pub fn root(&self, root: RootIndex) -> Option<Local<'_>> {
        Local::from_value(self.core.roots.slot(root.0).load(Ordering::Relaxed))
    }

    /// Makes a root refer to another object, or to none.
    ///
    /// # Panics
    ///
    /// If there is no such root any more.
    #[inline]
    pub fn set_root(&self, root: RootIndex, value: Option<Local<'_>>) {
        self.core.roots.slot(root.0).store(address_of(value), Ordering::Relaxed);
    }

    /// Pushes a root that holds a slot's value: a reference, or any value that is none, such as a
    /// tagged integer.
    ///
    /// # Panics
    ///
    /// If there are 2^20 roots already.
    #[inline]
    pub fn push_value(&self, value: u64) -> RootIndex {
        RootIndex(self.core.roots.push(value))
    }

    /// What a root holds, as a slot's value.
    ///
    /// # Panics
    ///
    /// If there is no such root any more.
    #[must_use]
    #[inline]
    pub fn root_value(&self, root: RootIndex) -> u64 {
        self.core.roots.slot(root.0).load(Ordering::Relaxed)
    }

    /// Makes a root hold a slot's value.
    ///
    /// # Panics
    ///
    /// If there is no such root any more.
    #[inline]
    pub fn set_root_value(&self, root: RootIndex, value: u64) {
        self.core.roots.slot(root.0).store(value, Ordering::Relaxed);
    }

    /// The object a global root refers to.
    ///
    /// # Panics
    ///
    /// If the root is another heap's.
    #[must_use]
    pub fn global(&self, root: &GlobalRoot) -> Option<Local<'_>> {
        assert!(root.belongs_to(&self.shared().globals), "a global root of another heap");
        Local::from_value(root.slot().load(Ordering::Acquire))
    }

    /// Makes a global root refer to another object, or to none.
    ///
    /// # Panics
    ///
    /// If the root is another heap's.
    pub fn set_global(&self, root: &GlobalRoot, value: Option<Local<'_>>) {
        assert!(root.belongs_to(&self.shared().globals), "a global root of another heap");
        let value = address_of(value);
        self.before_store(root.slot(), value);
        root.slot().store(value, Ordering::Release);
    }

    /// Makes roots in the embedder's memory belong to the heap, until the answer is dropped.
    ///
    /// References that they hold already are as of this mutator's last safepoint.
    pub fn add_roots(&self, roots: Arc<dyn Roots>) -> AddedRoots {
        let mut values = Vec::new();
        roots.visit(&mut RootVisitor::collect(&mut values));
        let added = self.heap.core().globals.add_table(roots);
        // The collector may have been at the other roots already.
        values.into_iter().for_each(|value| self.log_if_marking(value));
        added
    }
}
