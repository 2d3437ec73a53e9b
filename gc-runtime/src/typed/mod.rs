//! Typed objects, for programs that would rather not know about words and roots.
//!
//! A struct describes a kind of object, one word a field; it is never made itself. Objects are
//! allocated in a [`Scope`], which gives [`Handle`]s: they survive safepoints. Reading gives
//! [`Gc`]s, plain references that the compiler lets nobody keep across one.
//!
//! ```
//! use gc_runtime::typed::{Ref, heap};
//! use gc_runtime::Trace;
//!
//! #[derive(Trace)]
//! struct Node {
//!     left: Ref<Node>,
//!     right: Ref<Node>,
//!     size: u64,
//! }
//!
//! let heap = heap().limit_bytes(16 << 20).build()?;
//! let mut mutator = heap.attach()?;
//! let size = mutator.scope(|scope| {
//!     let root = scope.alloc::<Node>()?;
//!     let leaf = scope.alloc::<Node>()?;
//!     let (node, child) = (scope.get(root).unwrap(), scope.get(leaf).unwrap());
//!     scope.write(node, Node::LEFT, Some(child));
//!     scope.write(child, Node::SIZE, 7);
//!     scope.collect(); // everything moves; `node` and `child` may not be used any more
//!     let child = scope.read(scope.get(root).unwrap(), Node::LEFT).unwrap();
//!     Ok::<_, gc_runtime::OutOfMemory>(scope.read(child, Node::SIZE))
//! })?;
//! assert_eq!(size, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the compiler refuses:
//!
//! A reference across a safepoint.
//!
//! ```compile_fail,E0502
//! # use gc_runtime::typed::{Any, Handle, Scope};
//! fn across(scope: &mut Scope<'_>, handle: Handle<'_, Any>) {
//!     let object = scope.get(handle).unwrap();
//!     scope.safepoint();
//!     scope.identity_hash(object);
//! }
//! ```
//!
//! A reference across an allocation, which may be one.
//!
//! ```compile_fail,E0502
//! # use gc_runtime::typed::{Any, Handle, Scope};
//! fn across(scope: &mut Scope<'_>, handle: Handle<'_, Any>) {
//!     let object = scope.get(handle).unwrap();
//!     let _ = scope.alloc_bytes(10);
//!     scope.identity_hash(object);
//! }
//! ```
//!
//! A reference in a blocking region.
//!
//! ```compile_fail,E0502
//! # use gc_runtime::typed::{Any, Handle, Scope};
//! fn inside(scope: &mut Scope<'_>, handle: Handle<'_, Any>) {
//!     let object = scope.get(handle).unwrap();
//!     scope.blocking(|| drop(object));
//!     scope.identity_hash(object);
//! }
//! ```
//!
//! A reference that outlives its scope.
//!
//! ```compile_fail
//! # use gc_runtime::Mutator;
//! # use gc_runtime::typed::{Bytes, Gc, Typed};
//! fn escape(mutator: &mut Mutator<Typed>) {
//!     let object = mutator.scope(|scope| {
//!         let bytes = scope.alloc_bytes(10).unwrap();
//!         scope.get(bytes).unwrap()
//!     });
//! }
//! ```
//!
//! A handle that outlives its scope, to the outside or into the scope around it.
//!
//! ```compile_fail
//! # use gc_runtime::Mutator;
//! # use gc_runtime::typed::Typed;
//! fn escape(mutator: &mut Mutator<Typed>) {
//!     let bytes = mutator.scope(|scope| scope.alloc_bytes(10).unwrap());
//! }
//! ```
//!
//! ```compile_fail
//! # use gc_runtime::typed::Scope;
//! fn escape(scope: &mut Scope<'_>) {
//!     let mut kept = None;
//!     scope.scope(|inner| kept = inner.alloc_bytes(10).ok());
//! }
//! ```
//!
//! A reference of the wrong kind in a field.
//!
//! ```compile_fail,E0308
//! # use gc_runtime::Trace;
//! # use gc_runtime::typed::{Bytes, Gc, Ref, Scope};
//! #[derive(Trace)]
//! struct Node {
//!     next: Ref<Node>,
//! }
//!
//! fn wrong(scope: &Scope<'_>, node: Gc<'_, Node>, bytes: Gc<'_, Bytes>) {
//!     scope.write(node, Node::NEXT, Some(bytes));
//! }
//! ```
//!
//! And what it accepts, so that the above fail for no other reason.
//!
//! ```
//! # use gc_runtime::Mutator;
//! # use gc_runtime::typed::{Any, Handle, Scope, Typed};
//! fn across(scope: &mut Scope<'_>, handle: Handle<'_, Any>) {
//!     let object = scope.get(handle).unwrap();
//!     scope.identity_hash(object);
//!     scope.safepoint();
//!     let object = scope.get(handle).unwrap();
//!     scope.identity_hash(object);
//! }
//!
//! fn stay(mutator: &mut Mutator<Typed>) -> usize {
//!     mutator.scope(|scope| {
//!         let kept = scope.handle();
//!         scope.scope(|inner| {
//!             let bytes = inner.alloc_bytes(10).unwrap();
//!             inner.set(kept, inner.get(bytes));
//!         });
//!         scope.bytes(scope.get(kept).unwrap()).len()
//!     })
//! }
//! # let heap = gc_runtime::typed::heap().limit_bytes(16 << 20).build().unwrap();
//! # assert_eq!(stay(&mut heap.attach().unwrap()), 10);
//! ```

mod field;
mod gc;
mod scope;
mod types;

pub use field::{Field, FieldType};
pub use gc::{Any, Array, Bytes, EphemeronTable, Gc, Handle, Kind, Ref, Trace, Weak, WeakArray};
pub use scope::{Global, Scope};
pub use types::{TypeInfo, Typed};

use crate::builder::HeapBuilder;

/// Starts building a heap of typed objects.
#[must_use]
pub fn heap() -> HeapBuilder<Typed> {
    HeapBuilder::new(Typed)
}
