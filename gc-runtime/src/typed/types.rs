//! Kinds of objects: numbers in headers, layouts in a table that signal handlers can read.

use std::borrow::Cow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::layout::ObjectLayout;
use crate::model::{Header, ObjectModel};

/// Kinds that one process can have, the built-in ones included.
const MAX_KINDS: usize = 4096;

/// The first number of a kind that is not built in.
const FIRST_KIND: u32 = 8;

/// Built-in kinds.
pub(crate) const ARRAY: u32 = 1;
pub(crate) const WEAK_ARRAY: u32 = 2;
pub(crate) const BYTES: u32 = 3;
pub(crate) const TABLE: u32 = 4;

const KIND_SHIFT: u32 = 48;
const ELEMENT_SHIFT: u32 = 36;
const REST_SHIFT: u32 = 32;

/// What the words of each kind are: size in the low half of the first entry, its shape in the
/// others. Written once, before the kind's number is known to anybody.
static LAYOUTS: [[AtomicU64; 2]; MAX_KINDS] =
    [const { [const { AtomicU64::new(0) }; 2] }; MAX_KINDS];

/// The kinds' names, by number less [`FIRST_KIND`].
static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// What `#[derive(Trace)]` finds out about a struct.
#[derive(Debug)]
pub struct TypeInfo {
    name: &'static str,
    fields: u32,
    strong: u64,
    weak: u64,
    number: AtomicU32,
}

impl TypeInfo {
    /// A kind of `fields` fields; a set bit `i` says that field `i` is a slot.
    ///
    /// # Panics
    ///
    /// If there are weak slots and slots beyond field 32; that is when it is compiled.
    #[must_use]
    pub const fn new(name: &'static str, fields: u32, strong: u64, weak: u64) -> Self {
        assert!(
            weak == 0 || (strong | weak) >> 32 == 0,
            "a struct with a weak field has its references among its first 32 fields"
        );
        Self { name, fields, strong, weak, number: AtomicU32::new(0) }
    }

    fn layout(&self) -> ObjectLayout {
        let words = (1 + self.fields).max(2);
        let half = |bits: u64| u32::try_from(bits).expect("checked when it was made");
        match self.weak {
            0 => ObjectLayout::bitmap(words, 1, self.strong),
            weak => ObjectLayout::mixed(words, 1, half(self.strong), half(weak)),
        }
    }

    /// The kind's number in this process; given out when it is first asked for.
    #[inline]
    pub(crate) fn number(&self) -> u32 {
        match self.number.load(Ordering::Acquire) {
            0 => self.enter(),
            number => number,
        }
    }

    #[cold]
    fn enter(&self) -> u32 {
        let mut names = NAMES.lock().expect("no panic while the names are held");
        let number = self.number.load(Ordering::Acquire);
        if number != 0 {
            return number;
        }
        let index = FIRST_KIND as usize + names.len();
        assert!(index < MAX_KINDS, "more than {MAX_KINDS} kinds of objects");
        names.push(self.name);
        let [low, map] = self.layout().pack();
        LAYOUTS[index][0].store(low, Ordering::Relaxed);
        LAYOUTS[index][1].store(map, Ordering::Relaxed);
        let number = u32::try_from(index).expect("below MAX_KINDS");
        self.number.store(number, Ordering::Release);
        number
    }
}

/// The header of an object: its kind, and for those of no fixed size the number of elements.
pub(crate) fn header(kind: u32, element: u32, rest: u32, len: u32) -> Header {
    Header::one(
        1 << 63
            | u64::from(kind) << KIND_SHIFT
            | u64::from(element) << ELEMENT_SHIFT
            | u64::from(rest) << REST_SHIFT
            | u64::from(len),
    )
}

pub(crate) fn kind_of(header: Header) -> u32 {
    (header.first() >> KIND_SHIFT) as u32 & 0xfff
}

pub(crate) fn element_of(header: Header) -> u32 {
    (header.first() >> ELEMENT_SHIFT) as u32 & 0xfff
}

/// How many bytes of the last word are not the object's.
pub(crate) fn rest_of(header: Header) -> u32 {
    (header.first() >> REST_SHIFT) as u32 & 0xf
}

#[expect(clippy::cast_possible_truncation, reason = "fields of the header word")]
pub(crate) fn len_of(header: Header) -> u32 {
    header.first() as u32
}

/// The object model of heaps of typed objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Typed;

impl ObjectModel for Typed {
    #[inline]
    fn layout(&self, header: Header) -> ObjectLayout {
        let len = len_of(header);
        let words = len.saturating_add(1).max(2);
        match kind_of(header) {
            ARRAY => ObjectLayout::range(words, 1, len),
            WEAK_ARRAY => ObjectLayout::weak(words, 1, len),
            BYTES => ObjectLayout::leaf(words),
            TABLE => ObjectLayout::ephemerons((2 * len).saturating_add(1).max(2), 1, len),
            kind => {
                let [low, map] = &LAYOUTS[kind as usize];
                ObjectLayout::unpack([low.load(Ordering::Relaxed), map.load(Ordering::Relaxed)])
            }
        }
    }

    fn type_name(&self, header: Header) -> Cow<'static, str> {
        let of = |kind: u32| {
            let index = kind.checked_sub(FIRST_KIND).map(|index| index as usize);
            let names = NAMES.lock().expect("no panic while the names are held");
            index.and_then(|index| names.get(index).copied())
        };
        match kind_of(header) {
            ARRAY => format!("Array<{}>", of(element_of(header)).unwrap_or("Any")).into(),
            WEAK_ARRAY => format!("WeakArray<{}>", of(element_of(header)).unwrap_or("Any")).into(),
            BYTES => "Bytes".into(),
            TABLE => "EphemeronTable".into(),
            kind => of(kind).unwrap_or("?").into(),
        }
    }
}
