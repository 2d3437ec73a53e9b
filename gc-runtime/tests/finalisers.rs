//! Finalisers and identities, under zeal, on every transport.

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use support::shapes::{Shape, Shapes, get, litter, make, on_every_transport_of, value};
use support::{Finish, Random};

const LIMIT: usize = 32 << 20;

#[test]
fn unreachable_objects_come_once_last_registered_first_with_all_they_refer_to() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let keep = mutator.root_count();
            litter(&mut mutator, 1000);
            let mut part = mutator.push_root(None);
            for tag in 0..100u64 {
                // Each refers to the one before, so that the queue's order is outer before inner.
                let outer = make(&mut mutator, Shape::Plain { slots: 1, data: 1 });
                let object = get(&mutator, outer);
                if let Some(inner) = mutator.root(part) {
                    mutator.write(object, 1, value(inner));
                }
                mutator.raw_word(object, 2).store(tag, Ordering::Relaxed);
                mutator.register_finaliser(object, tag);
                part = outer;
            }
            mutator.collect();
            assert_eq!(heap.finalisable(), 0, "all are reachable");
            mutator.truncate_roots(keep);
            mutator.collect();
            assert_eq!(heap.finalisable(), 100);
            // They survive in the queue, and move.
            litter(&mut mutator, 1000);
            mutator.collect();
            for tag in (0..100).rev() {
                let next = mutator.next_finalisable().expect("a hundred were registered");
                assert_eq!(next.tag, tag);
                let mut object = next.object;
                for inner in (0..=tag).rev() {
                    assert_eq!(mutator.raw_word(object, 2).load(Ordering::Relaxed), inner);
                    match mutator.read_reference(object, 1) {
                        Some(next) => object = next,
                        None => assert_eq!(inner, 0),
                    }
                }
            }
            assert_eq!(mutator.next_finalisable(), None);
            mutator.collect();
            assert_eq!(heap.finalisable(), 0, "nobody comes twice");
        },
    );
}

#[test]
fn a_finaliser_may_bring_its_object_back_and_allocate() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let base = mutator.root_count();
            let object = make(&mut mutator, Shape::Plain { slots: 1, data: 1 });
            let weak = mutator.weak_root(get(&mutator, object));
            let hash = mutator.identity_hash(get(&mutator, object));
            mutator.raw_word(get(&mutator, object), 2).store(42, Ordering::Relaxed);
            mutator.register_finaliser(get(&mutator, object), 7);
            mutator.truncate_roots(base);
            for round in 0..4 {
                mutator.collect();
                assert_eq!(mutator.weak(&weak), None, "weak references go before the finaliser");
                let next = mutator.next_finalisable().expect("nothing else refers to it");
                assert_eq!((next.tag, round < 4), (7, true));
                let root = mutator.push_root(Some(next.object));
                // The finaliser itself allocates, until cycles have run.
                litter(&mut mutator, 20_000);
                mutator.collect();
                let object = get(&mutator, root);
                assert_eq!(mutator.raw_word(object, 2).load(Ordering::Relaxed), 42);
                assert_eq!(mutator.identity_hash(object), hash, "it is the same object");
                assert_eq!(heap.finalisable(), 0, "it is reachable, and was not registered again");
                mutator.register_finaliser(object, 7);
                mutator.truncate_roots(base);
            }
        },
    );
}

#[test]
fn weak_slots_inside_what_comes_back_see_what_comes_back() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let base = mutator.root_count();
            let weak = make(&mut mutator, Shape::Weak { slots: 2, data: 0 });
            let table = make(&mut mutator, Shape::Ephemerons { pairs: 2 });
            let outer = make(&mut mutator, Shape::Plain { slots: 3, data: 0 });
            let (back, gone) = (
                make(&mut mutator, Shape::Leaf { words: 9 }),
                make(&mut mutator, Shape::Leaf { words: 9 }),
            );
            for (slot, root) in [(1, weak), (2, table), (3, back)] {
                mutator.write(get(&mutator, outer), slot, value(get(&mutator, root)));
            }
            for (slot, root) in [(1, back), (2, gone)] {
                mutator.write_weak(get(&mutator, weak), slot, mutator.root(root));
                let word = 2 * slot - 1;
                mutator.set_ephemeron(get(&mutator, table), word, mutator.root(root), 5);
            }
            mutator.register_finaliser(get(&mutator, outer), 0);
            mutator.truncate_roots(base);
            litter(&mut mutator, 100);
            mutator.collect();
            litter(&mut mutator, 100);
            mutator.collect();
            let outer = mutator.next_finalisable().expect("it is unreachable").object;
            let weak = mutator.read_reference(outer, 1).unwrap();
            let table = mutator.read_reference(outer, 2).unwrap();
            let back = mutator.read_reference(outer, 3);
            assert!(back.is_some());
            assert_eq!(mutator.read_weak(weak, 1), back);
            assert_eq!(mutator.read_weak(weak, 2), None);
            assert_eq!(mutator.ephemeron(table, 1), back.map(|back| (back, 5)));
            assert_eq!(mutator.ephemeron(table, 3), None);
        },
    );
}

#[test]
fn finalisers_registered_and_taken_by_many_threads_while_cycles_run_come_once_each() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            const EACH: u64 = 3000;
            let taken: std::sync::Mutex<HashSet<u64>> = HashSet::new().into();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                let workers: Vec<_> = (0..2u64)
                    .map(|number| {
                        let (heap, taken) = (&heap, &taken);
                        scope.spawn(move || {
                            let mut mutator = heap.attach().unwrap();
                            let mut random = Random::new(number);
                            let take = |mutator: &mut gc_runtime::Mutator<Shapes>| {
                                if let Some(next) = mutator.next_finalisable() {
                                    let word = mutator.raw_word(next.object, 1);
                                    assert_eq!(word.load(Ordering::Relaxed), next.tag);
                                    assert!(taken.lock().unwrap().insert(next.tag), "twice");
                                }
                            };
                            for n in 0..EACH {
                                let tag = number * EACH + n;
                                let words = 2 + random.words_below(30);
                                let object =
                                    mutator.allocate(Shape::Leaf { words }.header()).unwrap();
                                let object = mutator.local(object).unwrap();
                                mutator.raw_word(object, 1).store(tag, Ordering::Relaxed);
                                mutator.register_finaliser(object, tag);
                                take(&mut mutator);
                                litter(&mut mutator, 3);
                            }
                        })
                    })
                    .collect();
                let collector = scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        heap.collect();
                    }
                });
                for worker in workers {
                    worker.join().unwrap();
                }
                drop(finish);
                collector.join().unwrap();
            });
            heap.collect();
            let mutator = heap.attach().unwrap();
            while let Some(next) = mutator.next_finalisable() {
                assert!(taken.lock().unwrap().insert(next.tag), "twice");
            }
            assert_eq!(taken.into_inner().unwrap().len() as u64, 2 * EACH);
        },
    );
}

#[test]
fn identity_hashes_and_side_words_stay_with_their_objects() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let mut random = Random::new(4);
            let mut known = Vec::new();
            let mut all = HashSet::new();
            litter(&mut mutator, 1000);
            for number in 0..1000u64 {
                let shape = match number % 2 {
                    0 => Shape::WithIdentity,
                    _ => Shape::Leaf { words: 2 + random.words_below(40) },
                };
                let root = make(&mut mutator, shape);
                let object = get(&mutator, root);
                let hash = mutator.identity_hash(object);
                assert!(hash != 0 && all.insert(hash), "hashes of few objects differ");
                if number % 3 == 0 {
                    mutator.set_side_word(object, number);
                }
                known.push((number, root, hash));
            }
            for _ in 0..4 {
                for &(number, root, _) in &known {
                    if number % 7 == random.below(7) {
                        mutator.set_root(root, None);
                    }
                }
                litter(&mut mutator, 500);
                mutator.collect();
                for &(number, root, hash) in &known {
                    let Some(object) = mutator.root(root) else { continue };
                    assert_eq!(mutator.identity_hash(object), hash, "object {number}");
                    let side_word = if number % 3 == 0 { number } else { 0 };
                    assert_eq!(mutator.side_word(object), side_word);
                }
            }
            assert!(heap.flips() > 0, "nothing moved");
            mutator.truncate_roots(0);
            mutator.collect();
            assert_eq!(heap.identities(), 0, "entries of dead objects are left");
        },
    );
}
