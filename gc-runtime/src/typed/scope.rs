//! Scopes: handles live in them and go with them.

use std::fmt;
use std::sync::atomic::AtomicU8;

use crate::error::OutOfMemory;
use crate::heap::Heap;
use crate::local::{Local, RootIndex};
use crate::model::Header;
use crate::mutator::Mutator;
use crate::raw::words;
use crate::roots::GlobalRoot;
use crate::typed::field::{Field, FieldType};
use crate::typed::gc::{Any, Array, Bytes, EphemeronTable, Gc, Handle, Kind, Trace, WeakArray};
use crate::typed::types::{self, Typed, header, len_of, rest_of};

/// A stretch of a thread's program in which handles are made; they go when it ends.
///
/// Reading needs the scope shared and gives references that borrow it; whatever may be a safepoint
/// needs it exclusively. So the compiler refuses to keep an unrooted reference across one.
pub struct Scope<'s> {
    mutator: &'s mut Mutator<Typed>,
    first: usize,
    number: u64,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("first", &self.first).finish_non_exhaustive()
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        self.mutator.truncate_roots(self.first);
    }
}

/// A reference to an object of a kind that all threads of a heap share; null at first.
pub struct Global<T> {
    root: GlobalRoot,
    kind: std::marker::PhantomData<fn() -> T>,
}

impl<T> Clone for Global<T> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), kind: std::marker::PhantomData }
    }
}

impl<T> fmt::Debug for Global<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Global")
    }
}

impl Heap<Typed> {
    /// A new global reference; null.
    ///
    /// # Panics
    ///
    /// If there are 2^20 global roots already.
    #[must_use]
    pub fn global<T: Kind>(&self) -> Global<T> {
        Global { root: self.global_root(), kind: std::marker::PhantomData }
    }
}

impl Mutator<Typed> {
    /// Runs `work` in a scope of its own.
    pub fn scope<R>(&mut self, work: impl for<'s> FnOnce(&mut Scope<'s>) -> R) -> R {
        let (first, number) = (self.root_count(), self.block_address() as u64);
        work(&mut Scope { mutator: self, first, number })
    }
}

impl<'s> Scope<'s> {
    /// Runs `work` in a scope inside this one. Handles of this one may be used there.
    pub fn scope<R>(&mut self, work: impl for<'i> FnOnce(&mut Scope<'i>) -> R) -> R {
        self.mutator.scope(work)
    }

    fn handle_of<T: Kind>(&self, local: Option<Local<'_>>) -> Handle<'s, T> {
        Handle::new(self.mutator.push_root(local), self.number)
    }

    /// A handle that holds nothing yet.
    ///
    /// # Panics
    ///
    /// If there are 2^20 handles already.
    pub fn handle<T: Kind>(&mut self) -> Handle<'s, T> {
        self.handle_of(None)
    }

    fn root<T>(&self, handle: Handle<'_, T>) -> RootIndex {
        assert_eq!(handle.mutator, self.number, "a handle of another thread or heap");
        handle.root
    }

    /// What a handle holds.
    #[must_use]
    #[inline]
    pub fn get<T: Kind>(&self, handle: Handle<'_, T>) -> Option<Gc<'_, T>> {
        self.mutator.root(self.root(handle)).map(Gc::new)
    }

    /// Makes a handle hold another object, or none.
    #[inline]
    pub fn set<T: Kind>(&self, handle: Handle<'_, T>, value: Option<Gc<'_, T>>) {
        self.mutator.set_root(self.root(handle), value.map(|value| value.local));
    }

    /// A new handle that holds what another holds. References are rooted by way of
    /// [`handle`](Self::handle) and [`set`](Self::set).
    pub fn copy<T: Kind>(&mut self, handle: Handle<'_, T>) -> Handle<'s, T> {
        let copy = self.handle();
        self.set(copy, self.get(handle));
        copy
    }

    /// What a global reference holds.
    #[must_use]
    pub fn get_global<T: Kind>(&self, global: &Global<T>) -> Option<Gc<'_, T>> {
        self.mutator.global(&global.root).map(Gc::new)
    }

    /// Makes a global reference hold another object, or none.
    pub fn set_global<T: Kind>(&self, global: &Global<T>, value: Option<Gc<'_, T>>) {
        self.mutator.set_global(&global.root, value.map(|value| value.local));
    }

    fn make<T: Kind>(&mut self, header: Header) -> Result<Handle<'s, T>, OutOfMemory> {
        let object = self.mutator.allocate(header)?;
        Ok(self.handle_of(Some(Local::new(object))))
    }

    /// Allocates an object whose fields are null and zero.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`OutOfMemory`] | a full cycle did not free enough, or the object is too large | drop references, or give up; the heap is intact |
    ///
    /// # Panics
    ///
    /// If there are 2^20 handles already.
    pub fn alloc<T: Trace>(&mut self) -> Result<Handle<'s, T>, OutOfMemory> {
        self.make(header(T::info().number(), 0, 0, 0))
    }

    /// Allocates an object as [`alloc`](Self::alloc) does, and makes `handle` hold it.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc); the handle holds what it held then.
    pub fn alloc_into<T: Trace>(&mut self, handle: Handle<'_, T>) -> Result<(), OutOfMemory> {
        let root = self.root(handle);
        let object = self.mutator.allocate(header(T::info().number(), 0, 0, 0))?;
        self.mutator.set_root(root, Some(Local::new(object)));
        Ok(())
    }

    /// Allocates an array of null references.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    pub fn alloc_array<T: Kind>(&mut self, len: u32) -> Result<Handle<'s, Array<T>>, OutOfMemory> {
        self.make(header(types::ARRAY, T::number(), 0, len))
    }

    /// Allocates an array of null weak references.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    pub fn alloc_weak_array<T: Kind>(
        &mut self,
        len: u32,
    ) -> Result<Handle<'s, WeakArray<T>>, OutOfMemory> {
        self.make(header(types::WEAK_ARRAY, T::number(), 0, len))
    }

    /// Allocates bytes, all zero.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    pub fn alloc_bytes(&mut self, len: u32) -> Result<Handle<'s, Bytes>, OutOfMemory> {
        let words = len.div_ceil(8);
        self.make(header(types::BYTES, 0, words * 8 - len, words))
    }

    /// Allocates a table of `pairs` empty ephemerons.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    pub fn alloc_ephemerons(
        &mut self,
        pairs: u32,
    ) -> Result<Handle<'s, EphemeronTable>, OutOfMemory> {
        self.make(header(types::TABLE, 0, 0, pairs))
    }

    /// Reads a field.
    #[must_use]
    #[inline]
    pub fn read<'m, T: Trace, F: FieldType>(
        &'m self,
        object: Gc<'m, T>,
        field: Field<T, F>,
    ) -> F::Value<'m> {
        F::read(self.mutator, object.local, field.word)
    }

    /// Writes a field. Includes the write barrier.
    #[inline]
    pub fn write<T: Trace, F: FieldType>(
        &self,
        object: Gc<'_, T>,
        field: Field<T, F>,
        value: F::Value<'_>,
    ) {
        F::write(self.mutator, object.local, field.word, value);
    }

    /// How many elements an array has, or pairs a table.
    #[must_use]
    pub fn len<T: Kind>(&self, object: Gc<'_, T>) -> u32 {
        len_of(self.mutator.header(object.local))
    }

    fn element<T: Kind>(&self, array: Gc<'_, T>, index: u32) -> u32 {
        let len = self.len(array);
        assert!(index < len, "element {index} of {len}");
        1 + index
    }

    /// Element `index` of an array.
    ///
    /// # Panics
    ///
    /// If the array has no such element.
    #[must_use]
    #[inline]
    pub fn at<'m, T: Kind>(&'m self, array: Gc<'m, Array<T>>, index: u32) -> Option<Gc<'m, T>> {
        let word = self.element(array, index);
        self.mutator.read_reference(array.local, word).map(Gc::new)
    }

    /// Makes element `index` of an array refer to another object, or to none.
    ///
    /// # Panics
    ///
    /// If the array has no such element.
    #[inline]
    pub fn set_at<T: Kind>(&self, array: Gc<'_, Array<T>>, index: u32, value: Option<Gc<'_, T>>) {
        let value = value.map_or(0, |value| value.local.object().address());
        self.mutator.write(array.local, self.element(array, index), value);
    }

    /// Element `index` of an array of weak references; `None` also if the object is dead.
    ///
    /// # Panics
    ///
    /// If the array has no such element.
    #[must_use]
    pub fn weak_at<'m, T: Kind>(
        &'m self,
        array: Gc<'m, WeakArray<T>>,
        index: u32,
    ) -> Option<Gc<'m, T>> {
        self.mutator.read_weak(array.local, self.element(array, index)).map(Gc::new)
    }

    /// Makes element `index` of an array of weak references refer to another object, or to none.
    ///
    /// # Panics
    ///
    /// If the array has no such element.
    pub fn set_weak_at<T: Kind>(
        &self,
        array: Gc<'_, WeakArray<T>>,
        index: u32,
        value: Option<Gc<'_, T>>,
    ) {
        let word = self.element(array, index);
        self.mutator.write_weak(array.local, word, value.map(|value| value.local));
    }

    /// An object's bytes.
    #[must_use]
    pub fn bytes<'m>(&'m self, object: Gc<'m, Bytes>) -> &'m [AtomicU8] {
        let header = self.mutator.header(object.local);
        let words = &self.mutator.words_from(object.local)[1..];
        let bytes = words::as_bytes(&words[..len_of(header) as usize]);
        &bytes[..bytes.len() - rest_of(header) as usize]
    }

    /// Pair `index` of a table; `None` if it is empty or its key is dead.
    ///
    /// # Panics
    ///
    /// If the table has no such pair.
    #[must_use]
    pub fn ephemeron<'m>(
        &'m self,
        table: Gc<'m, EphemeronTable>,
        index: u32,
    ) -> Option<(Gc<'m, Any>, Option<Gc<'m, Any>>)> {
        let pair = self.element(table, index) - 1;
        let (key, value) = self.mutator.ephemeron(table.local, 1 + 2 * pair)?;
        Some((Gc::new(key), self.mutator.reference(value).map(Gc::new)))
    }

    /// Sets pair `index` of a table; no key makes it empty.
    ///
    /// # Panics
    ///
    /// If the table has no such pair.
    pub fn set_ephemeron(
        &self,
        table: Gc<'_, EphemeronTable>,
        index: u32,
        key: Option<Gc<'_, Any>>,
        value: Option<Gc<'_, Any>>,
    ) {
        let pair = self.element(table, index) - 1;
        let value = value.map_or(0, |value| value.local.object().address());
        self.mutator.set_ephemeron(table.local, 1 + 2 * pair, key.map(|key| key.local), value);
    }

    /// The same object as one of kind `T`, if it is one.
    #[must_use]
    #[inline]
    pub fn downcast<'m, T: Kind>(&'m self, object: Gc<'m, Any>) -> Option<Gc<'m, T>> {
        T::is_kind_of(self.mutator.header(object.local)).then(|| Gc::new(object.local))
    }

    /// See [`Mutator::identity_hash`].
    #[must_use]
    pub fn identity_hash<T: Kind>(&self, object: Gc<'_, T>) -> u64 {
        self.mutator.identity_hash(object.local)
    }

    /// See [`Mutator::register_finaliser`].
    pub fn register_finaliser<T: Kind>(&self, object: Gc<'_, T>, tag: u64) {
        self.mutator.register_finaliser(object.local, tag);
    }

    /// See [`Mutator::next_finalisable`].
    #[must_use]
    pub fn next_finalisable(&self) -> Option<(Gc<'_, Any>, u64)> {
        self.mutator.next_finalisable().map(|next| (Gc::new(next.object), next.tag))
    }

    /// See [`Mutator::safepoint`].
    #[inline]
    pub fn safepoint(&mut self) {
        self.mutator.safepoint();
    }

    /// See [`Mutator::collect`].
    pub fn collect(&mut self) {
        self.mutator.collect();
    }

    /// See [`Mutator::blocking`].
    pub fn blocking<R>(&mut self, work: impl FnOnce() -> R) -> R {
        self.mutator.blocking(work)
    }

    /// The heap that this scope works on.
    #[must_use]
    pub fn heap(&self) -> &Heap<Typed> {
        self.mutator.heap()
    }
}
