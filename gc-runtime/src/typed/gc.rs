//! References with types: unrooted ones, and handles that survive safepoints.

use std::fmt;
use std::marker::PhantomData;

use crate::local::{Local, RootIndex};
use crate::model::Header;
use crate::typed::types::{self, TypeInfo, element_of, kind_of};

/// A struct that describes a kind of object. Implemented by `#[derive(Trace)]`.
pub trait Trace: 'static {
    /// What the derive macro found out.
    fn info() -> &'static TypeInfo;
}

/// What a typed reference may refer to.
///
/// Structs with `#[derive(Trace)]`, [`Array`], [`WeakArray`], [`Bytes`], [`EphemeronTable`] and
/// [`Any`].
pub trait Kind: 'static {
    /// Whether an object with this header is of the kind.
    fn is_kind_of(header: Header) -> bool;

    /// The number by which arrays know their elements' kind; zero for any.
    fn number() -> u32;
}

impl<T: Trace> Kind for T {
    #[inline]
    fn is_kind_of(header: Header) -> bool {
        kind_of(header) == T::info().number()
    }

    fn number() -> u32 {
        T::info().number()
    }
}

macro_rules! built_in {
    ($(#[$doc:meta])* $name:ident<$($parameter:ident),*>, $kind:expr, |$header:ident| $is:expr) => {
        $(#[$doc])*
        pub struct $name<$($parameter),*> {
            described: PhantomData<($($parameter,)*)>,
        }

        impl<$($parameter: Kind),*> fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl<$($parameter: Kind),*> Kind for $name<$($parameter),*> {
            fn is_kind_of($header: Header) -> bool {
                $is
            }

            fn number() -> u32 {
                $kind
            }
        }
    };
}

built_in! {
    /// An array of references to objects of one kind.
    Array<T>, types::ARRAY,
    |header| kind_of(header) == types::ARRAY && element_of(header) == T::number()
}
built_in! {
    /// An array of weak references to objects of one kind.
    WeakArray<T>, types::WEAK_ARRAY,
    |header| kind_of(header) == types::WEAK_ARRAY && element_of(header) == T::number()
}
built_in! {
    /// Bytes.
    Bytes<>, types::BYTES,
    |header| kind_of(header) == types::BYTES
}
built_in! {
    /// Pairs of keys and values of any kind. A value lives as long as its key does, and a key is
    /// not kept by the table.
    EphemeronTable<>, types::TABLE,
    |header| kind_of(header) == types::TABLE
}
built_in! {
    /// An object of any kind.
    Any<>, 0,
    |_header| true
}

/// A field that refers to an object, or is null.
pub struct Ref<T> {
    described: PhantomData<fn() -> T>,
}

/// A field that refers to an object without keeping it alive, or is null.
pub struct Weak<T> {
    described: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ref")
    }
}

impl<T> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Weak")
    }
}

/// A reference to an object of a kind, good until the next safepoint.
///
/// It borrows the scope it was read from; whatever may move objects needs that scope exclusively.
pub struct Gc<'m, T> {
    pub(crate) local: Local<'m>,
    kind: PhantomData<fn() -> T>,
}

impl<'m, T: Kind> Gc<'m, T> {
    /// The caller knows the kind: it comes from a slot or a root of that type.
    pub(crate) fn new(local: Local<'m>) -> Self {
        Self { local, kind: PhantomData }
    }

    /// The same object, with a type that says less.
    #[must_use]
    pub fn any(self) -> Gc<'m, Any> {
        Gc::new(self.local)
    }

    /// The reference without a type.
    #[must_use]
    pub fn local(self) -> Local<'m> {
        self.local
    }
}

impl<T> Clone for Gc<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Gc<'_, T> {}

impl<T> PartialEq for Gc<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.local == other.local
    }
}

impl<T> Eq for Gc<'_, T> {}

impl<T> fmt::Debug for Gc<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gc({:#x})", self.local.object().address())
    }
}

/// A root of a [`Scope`](crate::typed::Scope): a place for a reference that survives safepoints.
pub struct Handle<'s, T> {
    pub(crate) root: RootIndex,
    /// The mutator's number: a handle is of no use with another.
    pub(crate) mutator: u64,
    /// Neither longer nor shorter than the scope, and not for other threads.
    scope: PhantomData<(std::cell::Cell<&'s ()>, *mut T)>,
}

impl<T> Handle<'_, T> {
    pub(crate) fn new(root: RootIndex, mutator: u64) -> Self {
        Self { root, mutator, scope: PhantomData }
    }
}

impl<T> Clone for Handle<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<'_, T> {}

impl<T> fmt::Debug for Handle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.root.0)
    }
}
