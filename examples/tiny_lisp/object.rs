//! What values and objects of the language look like: its half of the bargain with the heap.

use std::borrow::Cow;

use gc_runtime::{Header, ObjectLayout, ObjectModel};

/// A value as slots hold it: a small number if it is odd, a constant if it is below 16, else the
/// address of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) u64);

impl Value {
    pub(crate) const NIL: Self = Self(0);
    pub(crate) const TRUE: Self = Self(2);
    pub(crate) const FALSE: Self = Self(4);
    pub(crate) const UNBOUND: Self = Self(6);

    /// A number of 63 bits; larger ones wrap around.
    pub(crate) fn number(number: i64) -> Self {
        Self(number.cast_unsigned() << 1 | 1)
    }

    pub(crate) fn as_number(self) -> Option<i64> {
        (self.0 & 1 == 1).then_some(self.0.cast_signed() >> 1)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        if is { Self::TRUE } else { Self::FALSE }
    }
}

/// The kinds of objects. All their slots come first, from word 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// car, cdr
    Pair = 1,
    /// name, value
    Symbol,
    /// parameters, body, environment
    Closure,
    /// A number of a primitive, as data.
    Primitive,
    /// Bytes; how many there are comes first, as data.
    Text,
    /// Elements.
    Vector,
    /// One slot that keeps nothing alive.
    WeakBox,
    /// Pairs of keys and values.
    Table,
}

const KINDS: [Kind; 8] = [
    Kind::Pair,
    Kind::Symbol,
    Kind::Closure,
    Kind::Primitive,
    Kind::Text,
    Kind::Vector,
    Kind::WeakBox,
    Kind::Table,
];

const KIND_SHIFT: u32 = 32;

impl Kind {
    /// The header of an object of `words` words with its header.
    pub(crate) fn header(self, words: u32) -> Header {
        Header::one((self as u64) << KIND_SHIFT | u64::from(words))
    }

    pub(crate) fn of(header: Header) -> Option<Self> {
        let number = usize::try_from(header.first() >> KIND_SHIFT).ok()?;
        KINDS.get(number.checked_sub(1)?).copied()
    }

    /// How many words an object has that holds `len` values.
    pub(crate) fn words(self, len: u32) -> u32 {
        match self {
            Self::Table => 1 + 2 * len.max(1),
            _ => 1 + len.max(1),
        }
    }
}

/// The object model: everything the collector ever asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objects;

impl ObjectModel for Objects {
    fn layout(&self, header: Header) -> ObjectLayout {
        let words = u32::try_from(header.first() & 0xffff_ffff).unwrap_or(2);
        match Kind::of(header) {
            Some(Kind::Primitive | Kind::Text) | None => ObjectLayout::leaf(words),
            Some(Kind::WeakBox) => ObjectLayout::weak(words, 1, 1),
            Some(Kind::Table) => ObjectLayout::ephemerons(words, 1, (words - 1) / 2),
            Some(_) => ObjectLayout::range(words, 1, words - 1),
        }
    }

    fn type_name(&self, header: Header) -> Cow<'static, str> {
        Kind::of(header).map_or("?".into(), |kind| format!("{kind:?}").into())
    }
}
