//! Objects whose layout is the embedder's: every kind of layout moves and keeps what it refers to.

mod support;

use std::ops::Range;
use std::sync::atomic::Ordering;

use gc_runtime::{
    Header, Local, MIN_OBJECT_WORDS, Mutator, ObjectLayout, ObjectModel, ObjectRef, RootIndex,
};
use support::Random;
use support::shapes::{Shape, Shapes, get, litter, make, on_every_transport_of, value};

/// Walks two words of header: a kind and a size, as arrays of many runtimes have them.
#[derive(Clone, Copy, Debug)]
struct TwoWords;

const LEAF: u64 = 1;
const SLOTS: u64 = 2;
const LAST_IS_SLOT: u64 = 3;

impl ObjectModel for TwoWords {
    const HEADER_WORDS: u32 = 2;

    fn layout(&self, header: Header) -> ObjectLayout {
        let words = u32::try_from(header.second()).expect("a size").max(MIN_OBJECT_WORDS);
        match header.first() {
            LEAF => ObjectLayout::leaf(words),
            SLOTS => ObjectLayout::range(words, 2, words - 2),
            LAST_IS_SLOT => ObjectLayout::described(words, u64::from(words - 1)),
            other => panic!("no such kind: {other}"),
        }
    }

    fn visit_slots(&self, slot: u64, _: Range<u32>, visit: &mut dyn FnMut(u32)) {
        visit(u32::try_from(slot).expect("a word number"));
    }
}

/// Checks that an object's data words are as [`fill`] left them, and its slots refer to objects.
fn fill<M: ObjectModel>(mutator: &Mutator<M>, object: Local<'_>, first: u32, seed: u64) {
    let mut random = Random::new(seed);
    for word in &mutator.raw_words(object)[first as usize..] {
        // Odd, so that it is no reference.
        word.store(random.next() | 1, Ordering::Relaxed);
    }
}

fn check<M: ObjectModel>(mutator: &Mutator<M>, object: Local<'_>, first: u32, seed: u64) {
    let mut random = Random::new(seed);
    for (number, word) in mutator.raw_words(object)[first as usize..].iter().enumerate() {
        let expected = random.next() | 1;
        assert_eq!(word.load(Ordering::Relaxed), expected, "word {number} of object {seed}");
    }
}

#[test]
fn headers_of_two_words_are_found_wherever_a_page_ends() {
    on_every_transport_of(
        48 << 20,
        || TwoWords,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let mut random = Random::new(3);
            let mut objects: Vec<(RootIndex, Header)> = Vec::new();
            for number in 0..6000u64 {
                // Odd sizes: every word of a page is a header's first word sooner or later.
                let words = match random.below(40) {
                    0 => 2 + random.below(3000),
                    _ => 2 + random.below(9),
                };
                let kind = match words {
                    2 => LEAF,
                    _ => 1 + random.below(3),
                };
                let header = Header::two(kind, words);
                let object = mutator.allocate(header).unwrap();
                let object = mutator.local(object).unwrap();
                if kind == LEAF {
                    fill(&mutator, object, 2, number);
                }
                objects.push((mutator.push_root(Some(object)), header));
            }
            // Which object each slot refers to.
            let mut targets = Vec::new();
            for &(root, header) in &objects {
                let object = mutator.root(root).unwrap();
                let words = u32::try_from(header.second()).unwrap();
                let slots = match header.first() {
                    LEAF => continue,
                    SLOTS => 2..words,
                    _ => words - 1..words,
                };
                for slot in slots {
                    let target = objects[random.words_below(6000) as usize].0;
                    mutator.write(object, slot, value(mutator.root(target).unwrap()));
                    targets.push((root, slot, target));
                }
            }
            for round in 0..4 {
                for (number, &(root, _)) in objects.iter().enumerate() {
                    // Holes everywhere, and stretches that stay whole.
                    if number % 700 < 300 && random.below(4) == 0 {
                        mutator.set_root(root, None);
                    }
                }
                mutator.collect();
                for (number, &(root, header)) in objects.iter().enumerate() {
                    let Some(object) = mutator.root(root) else { continue };
                    assert_eq!(mutator.header(object), header, "object {number}, round {round}");
                    if header.first() == LEAF {
                        check(&mutator, object, 2, number as u64);
                    }
                }
                for &(root, slot, target) in &targets {
                    if let (Some(object), Some(target)) = (mutator.root(root), mutator.root(target))
                    {
                        assert_eq!(mutator.read_reference(object, slot), Some(target));
                    }
                }
            }
            assert!(heap.flips() > 0, "nothing moved");
        },
    );
}

#[test]
fn objects_of_every_kind_of_layout_survive_moves() {
    on_every_transport_of(
        48 << 20,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let leaf = make(&mut mutator, Shape::Leaf { words: 40 });
            fill(&mutator, get(&mutator, leaf), 1, 1);
            litter(&mut mutator, 2000);
            // Of several pages each.
            let plain = make(&mut mutator, Shape::Plain { slots: 1500, data: 20 });
            let second = make(&mut mutator, Shape::EverySecond { slots: 1500 });
            litter(&mut mutator, 2000);
            let sized: Vec<_> =
                (0..4).map(|number| make(&mut mutator, Shape::Sized { number })).collect();
            for (&root, seed) in sized.iter().zip(10..) {
                fill(&mutator, get(&mutator, root), 1, seed);
            }
            let leaf_address = value(get(&mutator, leaf));
            for slot in 0..1500 {
                mutator.write(get(&mutator, plain), 1 + slot, leaf_address);
                mutator.write(get(&mutator, second), 1 + 2 * slot, leaf_address);
                // No slot: the collector must leave it alone.
                let data = mutator.raw_word(get(&mutator, second), 2 + 2 * slot);
                data.store(leaf_address, Ordering::Relaxed);
            }
            // A slot may hold what is no reference.
            mutator.write(get(&mutator, plain), 1, 0x1234_5678_9abc_def1);
            for _ in 0..3 {
                let hole = make(&mut mutator, Shape::Leaf { words: 400 });
                mutator.collect();
                mutator.set_root(hole, None);
                litter(&mut mutator, 500);
                let leaf = get(&mutator, leaf);
                check(&mutator, leaf, 1, 1);
                let (plain, second) = (get(&mutator, plain), get(&mutator, second));
                assert_eq!(mutator.read(plain, 1), 0x1234_5678_9abc_def1);
                assert_eq!(mutator.reference(mutator.read(plain, 1)), None);
                for slot in 0..1500 {
                    assert_eq!(mutator.read_reference(second, 1 + 2 * slot), Some(leaf));
                    assert_eq!(mutator.read(second, 2 + 2 * slot), leaf_address);
                    if slot > 0 {
                        assert_eq!(mutator.read_reference(plain, 1 + slot), Some(leaf));
                    }
                }
                for (&root, seed) in sized.iter().zip(10..) {
                    check(&mutator, get(&mutator, root), 1, seed);
                }
            }
            assert!(heap.flips() > 0, "nothing moved");
        },
    );
}

#[test]
fn sizes_that_only_the_model_knows_are_allocated_whole() {
    on_every_transport_of(
        16 << 20,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            for (number, words) in [2u32, 37, 511, 1600].into_iter().enumerate() {
                let number = u32::try_from(number).unwrap();
                let object: ObjectRef = mutator.allocate(Shape::Sized { number }.header()).unwrap();
                let object = mutator.local(object).unwrap();
                assert_eq!(mutator.layout(object).words(), words);
                assert_eq!(mutator.raw_words(object).len(), words as usize);
                let rest = &mutator.raw_words(object)[1..];
                assert!(rest.iter().all(|word| word.load(Ordering::Relaxed) == 0));
            }
        },
    );
}

#[test]
fn arrays_of_references_and_leaf_arrays_larger_than_a_buffer_move() {
    on_every_transport_of(
        96 << 20,
        || Shapes,
        |heap| {
            const SLOTS: u32 = 300_000;
            let mut mutator = heap.attach().unwrap();
            litter(&mut mutator, 3000);
            let hole = make(&mut mutator, Shape::Leaf { words: SLOTS });
            let array = make(&mut mutator, Shape::Plain { slots: SLOTS, data: 0 });
            let bytes = make(&mut mutator, Shape::Leaf { words: SLOTS });
            fill(&mutator, get(&mutator, bytes), 1, 5);
            for slot in 0..SLOTS {
                let target = if slot % 2 == 0 { array } else { bytes };
                mutator.write(get(&mutator, array), 1 + slot, value(get(&mutator, target)));
            }
            // Ends the cycles that began by themselves: the next one finds the hole.
            mutator.collect();
            let before = (value(get(&mutator, array)), value(get(&mutator, bytes)));
            mutator.set_root(hole, None);
            mutator.collect();
            let (array, bytes) = (get(&mutator, array), get(&mutator, bytes));
            assert!(value(array) < before.0 && value(bytes) < before.1, "they stayed");
            check(&mutator, bytes, 1, 5);
            for slot in 0..SLOTS {
                let target = if slot % 2 == 0 { array } else { bytes };
                assert_eq!(mutator.read_reference(array, 1 + slot), Some(target));
            }
        },
    );
}
