//! An embedder's own object model, with every kind of layout there is.

use std::ops::Range;

use gc_runtime::{
    Header, Heap, HeapBuilder, Local, Mutator, ObjectLayout, ObjectModel, RootIndex, Zeal,
};

use super::in_all_ways;

/// Sizes that only the model knows, by number.
const SIZES: [u32; 4] = [2, 37, 511, 1600];

/// What an object looks like; its header says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `words` words without references.
    Leaf { words: u32 },
    /// Slots from word 1 on, then data.
    Plain { slots: u32, data: u32 },
    /// Weak slots from word 1 on, then data.
    Weak { slots: u32, data: u32 },
    /// Pairs of key and value from word 1 on.
    Ephemerons { pairs: u32 },
    /// Every second word from word 1 on is a slot, `slots` in all.
    EverySecond { slots: u32 },
    /// Word 1 a strong slot, word 2 a weak one, word 3 data.
    Mixed,
    /// Word 1 is for the identity hash, word 2 a slot.
    WithIdentity,
    /// No slots, and as many words as the model's table says.
    Sized { number: u32 },
}

impl Shape {
    pub fn header(self) -> Header {
        let (kind, a, b) = match self {
            Self::Leaf { words } => (0, 0, words),
            Self::Plain { slots, data } => (1, slots, data),
            Self::Weak { slots, data } => (2, slots, data),
            Self::Ephemerons { pairs } => (3, pairs, 0),
            Self::EverySecond { slots } => (4, slots, 0),
            Self::Mixed => (5, 0, 0),
            Self::WithIdentity => (6, 0, 0),
            Self::Sized { number } => (7, 0, number),
        };
        Header::one(1 << 63 | kind << 60 | u64::from(a) << 32 | u64::from(b))
    }

    pub fn of(header: Header) -> Self {
        let word = header.first();
        let a = u32::try_from(word >> 32 & 0x0fff_ffff).expect("28 bits");
        let b = u32::try_from(word & 0xffff_ffff).expect("32 bits");
        match word >> 60 & 7 {
            0 => Self::Leaf { words: b },
            1 => Self::Plain { slots: a, data: b },
            2 => Self::Weak { slots: a, data: b },
            3 => Self::Ephemerons { pairs: a },
            4 => Self::EverySecond { slots: a },
            5 => Self::Mixed,
            6 => Self::WithIdentity,
            _ => Self::Sized { number: b },
        }
    }
}

/// The model of objects with a [`Shape`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Shapes;

impl ObjectModel for Shapes {
    fn layout(&self, header: Header) -> ObjectLayout {
        match Shape::of(header) {
            Shape::Leaf { words } => ObjectLayout::leaf(words),
            Shape::Plain { slots, data } => {
                ObjectLayout::range((1 + slots + data).max(2), 1, slots)
            }
            Shape::Weak { slots, data } => ObjectLayout::weak((1 + slots + data).max(2), 1, slots),
            Shape::Ephemerons { pairs } => {
                ObjectLayout::ephemerons((1 + 2 * pairs).max(2), 1, pairs)
            }
            Shape::EverySecond { slots } => {
                ObjectLayout::described((1 + 2 * slots).max(2), u64::from(slots))
            }
            Shape::Mixed => ObjectLayout::mixed(4, 1, 0b01, 0b10),
            Shape::WithIdentity => ObjectLayout::range(3, 2, 1),
            Shape::Sized { number } => ObjectLayout::leaf(SIZES[number as usize]),
        }
    }

    fn visit_slots(&self, slots: u64, window: Range<u32>, visit: &mut dyn FnMut(u32)) {
        let end = 1 + 2 * u32::try_from(slots).expect("a small number");
        // Not before the window: the slots of a huge object are visited page by page.
        let first = window.start.max(1);
        let first = first + (first + 1) % 2;
        (first..end.min(window.end)).step_by(2).for_each(visit);
    }

    fn identity_word(&self, header: Header) -> Option<u32> {
        (Shape::of(header) == Shape::WithIdentity).then_some(1)
    }

    fn type_name(&self, header: Header) -> std::borrow::Cow<'static, str> {
        match Shape::of(header) {
            Shape::Leaf { .. } => "leaf".into(),
            Shape::Plain { .. } => "plain".into(),
            Shape::Weak { .. } => "weak".into(),
            shape => format!("{shape:?}").into(),
        }
    }
}

/// Runs `test` under full zeal on every transport and delivery, for a model.
pub fn on_every_transport_of<M: ObjectModel>(
    limit_bytes: usize,
    model: impl Fn() -> M,
    test: impl Fn(Heap<M>),
) {
    let builder = || HeapBuilder::new(model()).limit_bytes(limit_bytes).zeal(Zeal::full());
    in_all_ways(builder, test);
}

/// Allocates an object and pushes a root that holds it.
pub fn make(mutator: &mut Mutator<Shapes>, shape: Shape) -> RootIndex {
    let object = mutator.allocate(shape.header()).expect("room for an object");
    mutator.push_root(mutator.local(object))
}

/// The object in a root.
pub fn get(mutator: &Mutator<Shapes>, root: RootIndex) -> Local<'_> {
    mutator.root(root).expect("the root is not null")
}

/// A reference as a slot's value.
pub fn value(object: Local<'_>) -> u64 {
    object.object().address()
}

/// Garbage between objects, so that a collection has something to move.
pub fn litter(mutator: &mut Mutator<Shapes>, objects: u32) {
    for number in 0..objects {
        mutator.allocate(Shape::Leaf { words: 2 + number % 90 }.header()).expect("room");
    }
}
