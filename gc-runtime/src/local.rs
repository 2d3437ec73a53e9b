//! References that the compiler keeps from going stale.

use std::marker::PhantomData;

use crate::addr::ObjectRef;

/// A reference to an object that lives until the next safepoint.
///
/// It borrows the [`Mutator`](crate::Mutator) it came from, and everything that can be a safepoint
/// needs that mutator exclusively: the compiler refuses to use a `Local` across one. What must
/// survive goes into a root.
///
/// ```compile_fail,E0502
/// # fn example(mutator: &mut gc_runtime::Mutator, root: gc_runtime::RootIndex) {
/// let object = mutator.root(root).unwrap();
/// mutator.safepoint(); // the object may move here
/// mutator.refs(object);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local<'m> {
    object: ObjectRef,
    mutator: PhantomData<&'m ()>,
}

impl Local<'_> {
    #[inline(always)]
    pub(crate) fn new(object: ObjectRef) -> Self {
        Self { object, mutator: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn from_value(value: u64) -> Option<Self> {
        ObjectRef::from_address(value).map(Self::new)
    }

    /// The reference as a runtime's own code holds it; nothing keeps this form from going stale.
    #[must_use]
    #[inline]
    pub fn object(self) -> ObjectRef {
        self.object
    }
}

/// The number of a root in its mutator's shadow stack. Survives safepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootIndex(pub(crate) u32);
