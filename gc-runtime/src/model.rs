//! What the collector must know of an object: how large it is and where its references are.

use std::borrow::Cow;
use std::ops::Range;

use crate::layout::ObjectLayout;

/// The first words of an object, from which its layout follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    first: u64,
    second: u64,
}

impl Header {
    /// A header of one word. It must not be zero: zero is memory without an object.
    #[must_use]
    #[inline]
    pub fn one(word: u64) -> Self {
        Self { first: word, second: 0 }
    }

    /// A header of two words, for models that say so in [`ObjectModel::HEADER_WORDS`].
    #[must_use]
    #[inline]
    pub fn two(first: u64, second: u64) -> Self {
        Self { first, second }
    }

    /// The object's first word.
    #[must_use]
    #[inline]
    pub fn first(self) -> u64 {
        self.first
    }

    /// The object's second word; zero for models with headers of one word.
    #[must_use]
    #[inline]
    pub fn second(self) -> u64 {
        self.second
    }
}

/// The language's side of the heap: how its objects are laid out.
///
/// The collector asks for an object's layout when it marks the object and when it rebuilds the
/// page the object starts on, which may be in a signal handler: these functions do not allocate,
/// take no lock and do not panic. It never visits an object that was not marked, and asks once for
/// several that lie one after the other and have the same header.
///
/// A wrong answer garbles the language's data. It cannot break what Rust promises, since the heap's
/// words are only ever accessed as atomics inside the heap's bounds. A panic breaks the heap
/// ([`AttachError::Broken`](crate::AttachError::Broken)); while pages are missing it ends the
/// process with a message.
///
/// ```
/// use gc_runtime::{Header, ObjectLayout, ObjectModel};
///
/// /// The header is a class number; what a class looks like is known outside the heap.
/// struct Classes(Vec<ObjectLayout>);
///
/// impl ObjectModel for Classes {
///     fn layout(&self, header: Header) -> ObjectLayout {
///         let class = usize::try_from(header.first() >> 1).unwrap_or(0);
///         self.0.get(class).copied().unwrap_or(ObjectLayout::leaf(2))
///     }
/// }
/// ```
pub trait ObjectModel: Send + Sync + 'static {
    /// How many words the layout is read from: 1 or 2.
    const HEADER_WORDS: u32 = 1;

    /// Reads the layout of an object from its header.
    ///
    /// The header must not change after the object is initialised, except in bits that this
    /// function ignores. A size that does not fit in the header is the model's to know: keep a
    /// number there, and a table in the model.
    fn layout(&self, header: Header) -> ObjectLayout;

    /// Calls `visit` with the number of each word in `window` that is a reference slot of an
    /// object of [`ObjectLayout::described`]. Slots outside `window` may be visited too.
    ///
    /// The object itself cannot be asked: its page may be gone. `description` is what the layout
    /// carries.
    fn visit_slots(&self, description: u64, window: Range<u32>, visit: &mut dyn FnMut(u32)) {
        let _ = (description, window, visit);
    }

    /// The word of such an object in which its identity hash is kept, if it has room for one: a
    /// word that is zero at birth, is no slot, and is not written by anybody else.
    ///
    /// Without, the heap keeps the hash in a side table.
    fn identity_word(&self, header: Header) -> Option<u32> {
        let _ = header;
        None
    }

    /// What kind of object this is, for people who read a [snapshot](crate::Snapshot).
    fn type_name(&self, header: Header) -> Cow<'static, str> {
        let _ = header;
        Cow::Borrowed("object")
    }
}
