//! Who marks, and where the marks go.

use crate::mark::live_bitmap::{LiveBitmap, Writers};
use crate::mark::marks_apart::MarksApart;

/// Who marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The collector's only thread.
    Alone,
    /// The same, while a mutator may help.
    BesideHelper,
    /// That mutator, whose marks stand apart.
    Helper,
    /// One of several: marks are set by locked instructions.
    Many,
}

/// Where one side marks: a type for each, so that the loop over grey objects need not ask. In the live
/// bitmap by itself, unless it says otherwise.
pub(crate) trait Marks: Copy {
    /// How many threads set bits where this one does.
    const WRITERS: Writers = Writers::One;

    /// The bitmap that outlasts the marking.
    fn live(&self) -> &LiveBitmap;

    /// Marks an object; true if nobody has before. Two sides that do so in the same moment both scan
    /// it, which does no harm.
    #[inline(always)]
    fn claim(self, word: u32) -> bool {
        self.live().claim(word, Self::WRITERS)
    }

    /// The `words` words of a marked object are live.
    #[inline(always)]
    fn fill(self, first: u32, words: u32) {
        self.live().fill(first, words, Self::WRITERS);
    }

    /// Whether this side has to stop.
    #[inline(always)]
    fn is_full(self) -> bool {
        false
    }
}

/// [`Side::Alone`].
#[derive(Clone, Copy)]
pub(crate) struct Alone<'a>(pub(crate) &'a LiveBitmap);

impl Marks for Alone<'_> {
    #[inline(always)]
    fn live(&self) -> &LiveBitmap {
        self.0
    }
}

/// [`Side::BesideHelper`].
#[derive(Clone, Copy)]
pub(crate) struct BesideHelper<'a>(pub(crate) &'a LiveBitmap, pub(crate) &'a MarksApart);

impl Marks for BesideHelper<'_> {
    #[inline(always)]
    fn live(&self) -> &LiveBitmap {
        self.0
    }

    #[inline(always)]
    fn claim(self, word: u32) -> bool {
        !self.1.marks().is_live(word) && self.0.claim(word, Self::WRITERS)
    }
}

/// [`Side::Helper`].
#[derive(Clone, Copy)]
pub(crate) struct Helper<'a>(pub(crate) &'a LiveBitmap, pub(crate) &'a MarksApart);

impl Marks for Helper<'_> {
    #[inline(always)]
    fn live(&self) -> &LiveBitmap {
        self.0
    }

    #[inline(always)]
    fn claim(self, word: u32) -> bool {
        !self.0.is_live(word) && self.1.claim(word)
    }

    #[inline(always)]
    fn fill(self, first: u32, words: u32) {
        self.1.fill(first, words);
    }

    #[inline(always)]
    fn is_full(self) -> bool {
        self.1.is_full()
    }
}

/// [`Side::Many`].
#[derive(Clone, Copy)]
pub(crate) struct Many<'a>(pub(crate) &'a LiveBitmap);

impl Marks for Many<'_> {
    const WRITERS: Writers = Writers::Many;

    #[inline(always)]
    fn live(&self) -> &LiveBitmap {
        self.0
    }
}
