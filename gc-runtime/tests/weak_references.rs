//! Weak slots, weak roots and ephemerons, under zeal, on every transport.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use gc_runtime::{Mutator, RootIndex, WeakRoot};
use support::shapes::{Shape, Shapes, get, litter, make, on_every_transport_of, value};
use support::{Finish, Random};

const LIMIT: usize = 32 << 20;

/// An object whose first data word is its number.
fn numbered(mutator: &mut Mutator<Shapes>, number: u64) -> RootIndex {
    let root = make(mutator, Shape::Plain { slots: 1, data: 2 });
    mutator.raw_word(get(mutator, root), 2).store(number, Ordering::Relaxed);
    root
}

fn number(mutator: &Mutator<Shapes>, object: gc_runtime::Local<'_>) -> u64 {
    mutator.raw_word(object, 2).load(Ordering::Relaxed)
}

#[test]
fn weak_slots_become_null_when_their_objects_die_and_follow_those_that_live() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            litter(&mut mutator, 1000);
            let weak = make(&mut mutator, Shape::Weak { slots: 600, data: 1 });
            let mixed = make(&mut mutator, Shape::Mixed);
            let targets: Vec<_> = (0..600).map(|n| numbered(&mut mutator, n)).collect();
            for (&target, slot) in targets.iter().zip(1..) {
                mutator.write_weak(get(&mutator, weak), slot, mutator.root(target));
            }
            // The same object through a strong slot and a weak one, and one through a weak one alone.
            let (strong, lost) = (numbered(&mut mutator, 1000), numbered(&mut mutator, 1001));
            mutator.write(get(&mutator, mixed), 1, value(get(&mutator, strong)));
            mutator.write_weak(get(&mutator, mixed), 2, mutator.root(lost));
            mutator.set_root(strong, None);
            mutator.set_root(lost, None);
            for round in 0..4 {
                for (number, &target) in targets.iter().enumerate() {
                    if number % 4 == round {
                        mutator.set_root(target, None);
                    }
                }
                mutator.collect();
                let weak = get(&mutator, weak);
                for (at, &target) in targets.iter().enumerate() {
                    let slot = 1 + u32::try_from(at).unwrap();
                    let read = mutator.read_weak(weak, slot);
                    assert_eq!(read, mutator.root(target), "slot {slot}, round {round}");
                    assert_eq!(
                        read.map(|object| number(&mutator, object)),
                        read.map(|_| at as u64)
                    );
                }
                let mixed = get(&mutator, mixed);
                let strong =
                    mutator.read_reference(mixed, 1).expect("a strong slot keeps its object");
                assert_eq!(number(&mutator, strong), 1000);
                assert_eq!(mutator.read_weak(mixed, 2), None);
            }
            assert!(heap.flips() > 0, "nothing moved");
        },
    );
}

#[test]
fn weak_roots_follow_their_objects_and_keep_none_alive() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let mut random = Random::new(5);
            litter(&mut mutator, 1000);
            let mut kept: Vec<(u64, RootIndex, WeakRoot)> = Vec::new();
            let mut dead: Vec<WeakRoot> = Vec::new();
            for n in 0..3000 {
                let root = numbered(&mut mutator, n);
                let weak = mutator.weak_root(get(&mutator, root));
                kept.push((n, root, weak));
            }
            for _ in 0..5 {
                for _ in 0..300 {
                    let (_, root, weak) =
                        kept.swap_remove(random.words_below(kept.len() as u64) as usize);
                    mutator.set_root(root, None);
                    dead.push(weak);
                }
                mutator.collect();
                // Half of them are read only after the next flip.
                for (n, root, weak) in kept.iter().step_by(2) {
                    let object = mutator.weak(weak).expect("a root holds it");
                    assert_eq!(number(&mutator, object), *n);
                    assert_eq!(Some(object), mutator.root(*root));
                }
                assert!(dead.iter().all(|weak| mutator.weak(weak).is_none()));
            }
            assert!(heap.flips() >= 4, "nothing moved");
            for (n, _, weak) in &kept {
                assert_eq!(number(&mutator, mutator.weak(weak).unwrap()), *n);
            }
        },
    );
}

#[test]
fn what_a_weak_reference_gives_while_a_cycle_runs_is_whole() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                let (heap, done) = (&heap, &done);
                scope.spawn(move || {
                    let mut mutator = heap.attach().unwrap();
                    let weak = make(&mut mutator, Shape::Weak { slots: 200, data: 0 });
                    let held = mutator.push_root(None);
                    let (mut revived, mut made) = (0u64, 0u64);
                    while !done.load(Ordering::Relaxed) || revived == 0 {
                        made += 1;
                        let base = mutator.root_count();
                        let slot = 1 + u32::try_from(made % 200).unwrap();
                        // An object with another behind it, reachable weakly alone after this round.
                        let (outer, inner) =
                            (numbered(&mut mutator, made), numbered(&mut mutator, made + 1));
                        mutator.write(get(&mutator, outer), 1, value(get(&mutator, inner)));
                        mutator.write_weak(get(&mutator, weak), slot, mutator.root(outer));
                        mutator.truncate_roots(base);
                        litter(&mut mutator, 5);
                        // Take one of them back at a moment that nobody chose.
                        let slot = 1 + u32::try_from((made * 7) % 200).unwrap();
                        if let Some(object) = mutator.read_weak(get(&mutator, weak), slot) {
                            mutator.set_root(held, Some(object));
                            litter(&mut mutator, 5);
                            mutator.safepoint();
                            let outer = get(&mutator, held);
                            let inner = mutator.read_reference(outer, 1).expect("it refers to one");
                            assert_eq!(number(&mutator, inner), number(&mutator, outer) + 1);
                            mutator.set_root(held, None);
                            revived += 1;
                        }
                    }
                    eprintln!("{revived} of {made} taken back");
                });
                for _ in 0..25 {
                    heap.collect();
                }
                drop(finish);
            });
            heap.verify().unwrap();
        },
    );
}

#[test]
fn a_key_that_lives_through_its_own_value_alone_is_dead() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            litter(&mut mutator, 1000);
            let table = make(&mut mutator, Shape::Ephemerons { pairs: 4 });
            let (own, held, other) = (
                numbered(&mut mutator, 1),
                numbered(&mut mutator, 2),
                make(&mut mutator, Shape::Ephemerons { pairs: 1 }),
            );
            // Pair 0: the value leads to its own key. Pair 1: the key is held. Pair 2: the value is a
            // number. Pair 3: two tables with each other's keys behind their values.
            for (pair, key) in [(0, own), (1, held), (2, held), (3, own)] {
                let holder = numbered(&mut mutator, 10 + u64::from(pair));
                mutator.write(get(&mutator, holder), 1, value(get(&mutator, key)));
                let content = if pair == 2 { 77 } else { value(get(&mutator, holder)) };
                let table = get(&mutator, table);
                mutator.set_ephemeron(table, 1 + 2 * pair, mutator.root(key), content);
                mutator.set_root(holder, None);
            }
            let content = value(get(&mutator, own));
            mutator.set_ephemeron(get(&mutator, other), 1, mutator.root(own), content);
            mutator.set_root(own, None);
            for _ in 0..3 {
                mutator.collect();
                litter(&mut mutator, 500);
                let table = get(&mutator, table);
                assert_eq!(mutator.ephemeron(table, 1), None);
                assert_eq!(mutator.ephemeron(table, 7), None);
                assert_eq!(mutator.ephemeron(get(&mutator, other), 1), None);
                assert_eq!(mutator.read(table, 2), 0, "the value is gone with its key");
                let (key, content) = mutator.ephemeron(table, 3).expect("its key is held");
                assert_eq!(number(&mutator, key), 2);
                let holder = mutator.reference(content).expect("a value is kept by its key");
                assert_eq!(number(&mutator, holder), 11);
                assert_eq!(mutator.read_reference(holder, 1), Some(key));
                assert_eq!(mutator.ephemeron(table, 5), Some((key, 77)));
            }
            // No ephemeron keeps its key.
            mutator.set_root(held, None);
            mutator.collect();
            assert_eq!(mutator.ephemeron(get(&mutator, table), 3), None);
            assert_eq!(mutator.ephemeron(get(&mutator, table), 5), None);
            assert!(heap.flips() > 0, "nothing moved");
        },
    );
}

/// Links `len` ephemerons, each of whose values is the next one's key; the first key.
fn chain(mutator: &mut Mutator<Shapes>, table: RootIndex, len: u32) -> RootIndex {
    let first = numbered(mutator, 0);
    let key = mutator.push_root(mutator.root(first));
    for pair in 0..len {
        let next = numbered(mutator, u64::from(pair) + 1);
        // From the last pair to the first, so that a scan in order finds no key alive.
        let word = 1 + 2 * (len - 1 - pair);
        let next_key = value(get(mutator, next));
        mutator.set_ephemeron(get(mutator, table), word, mutator.root(key), next_key);
        mutator.set_root(key, mutator.root(next));
        mutator.truncate_roots(mutator.root_count() - 1);
    }
    mutator.set_root(key, None);
    first
}

#[test]
fn long_chains_of_ephemerons_live_and_die_whole() {
    on_every_transport_of(
        96 << 20,
        || Shapes,
        |heap| {
            const PAIRS: u32 = 100_000;
            let mut mutator = heap.attach().unwrap();
            let table = make(&mut mutator, Shape::Ephemerons { pairs: PAIRS });
            litter(&mut mutator, 1000);
            let first = chain(&mut mutator, table, PAIRS);
            mutator.collect();
            let table_object = get(&mutator, table);
            let (mut key, mut seen) = (get(&mutator, first), 0);
            for pair in 0..PAIRS {
                let word = 1 + 2 * (PAIRS - 1 - pair);
                let (found, next) = mutator.ephemeron(table_object, word).expect("all are alive");
                assert_eq!(found, key);
                key = mutator.reference(next).unwrap();
                seen += 1;
                assert_eq!(number(&mutator, key), seen);
            }
            mutator.set_root(first, None);
            mutator.collect();
            let table = get(&mutator, table);
            assert!((0..PAIRS).all(|pair| mutator.ephemeron(table, 1 + 2 * pair).is_none()));
            assert!(
                mutator.raw_words(table)[1..].iter().all(|word| word.load(Ordering::Relaxed) == 0)
            );
        },
    );
}

#[test]
fn ephemerons_may_be_read_and_written_while_cycles_run() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                let (heap, done) = (&heap, &done);
                scope.spawn(move || {
                    let mut mutator = heap.attach().unwrap();
                    let table = make(&mut mutator, Shape::Ephemerons { pairs: 64 });
                    let mut random = Random::new(9);
                    let keys: Vec<_> = (0..64).map(|_| mutator.push_root(None)).collect();
                    let mut made = 0;
                    while !done.load(Ordering::Relaxed) {
                        let pair = random.words_below(64);
                        let word = 1 + 2 * pair;
                        if random.below(3) == 0 {
                            made += 1;
                            let base = mutator.root_count();
                            let (key, content) =
                                (numbered(&mut mutator, made), numbered(&mut mutator, made + 1));
                            let to = value(get(&mutator, content));
                            mutator.set_ephemeron(
                                get(&mutator, table),
                                word,
                                mutator.root(key),
                                to,
                            );
                            let hold = random.below(2) == 0;
                            mutator
                                .set_root(keys[pair as usize], mutator.root(key).filter(|_| hold));
                            mutator.truncate_roots(base);
                        }
                        litter(&mut mutator, 2);
                        let pair = random.words_below(64);
                        let found = mutator.ephemeron(get(&mutator, table), 1 + 2 * pair);
                        let key = mutator.root(keys[pair as usize]);
                        if let Some((key, content)) = found {
                            let content = mutator.reference(content).expect("a value");
                            assert_eq!(number(&mutator, content), number(&mutator, key) + 1);
                        }
                        if key.is_some() {
                            assert_eq!(found.map(|(key, _)| key), key, "a held key keeps its pair");
                        }
                    }
                });
                for _ in 0..25 {
                    heap.collect();
                }
                drop(finish);
            });
            heap.verify().unwrap();
        },
    );
}
