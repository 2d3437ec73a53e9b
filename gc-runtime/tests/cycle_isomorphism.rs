//! The object graph after a cycle is the graph before it.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use gc_runtime::{Heap, PageUse, Record, Zeal};
use proptest::prelude::*;
use support::{
    Finish, Random, check_counted_list, counted_list, digest, on_every_transport, random_graph,
    verify,
};

#[test]
fn a_random_graph_survives_cycles_while_most_of_it_dies() {
    on_every_transport(
        || Heap::builder().limit_bytes(64 << 20).zeal(Zeal::full()),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let mut random = Random::new(7);
            let roots = random_graph(&mut mutator, &mut random, 1500, 3000);
            for round in 0..6 {
                for &root in &roots {
                    if random.below(10) < 3 {
                        mutator.set_root(root, None);
                    }
                }
                let before = digest(&mut mutator);
                mutator.collect();
                let after = digest(&mut mutator);
                assert_eq!(before, after, "round {round}");
                mutator.collect();
                assert_eq!(digest(&mut mutator), before);
            }
        },
    );
}

#[test]
fn data_that_looks_like_references_stays_as_it_is() {
    on_every_transport(
        || Heap::builder().limit_bytes(32 << 20).zeal(Zeal::full()),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let mut random = Random::new(21);
            let (mut nodes, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..2000 {
                let data_words = 1 + random.words_below(100);
                let refs = random.words_below(4);
                nodes.push(mutator.alloc(Record { refs, data_words }).unwrap());
                // Something to move away from.
                let garbage = mutator.alloc(Record { refs: 0, data_words: 20 }).unwrap();
                mutator.set_root(garbage, None);
            }
            for &node in &nodes {
                let object = mutator.root(node).unwrap();
                let mut words = Vec::new();
                for word in mutator.words(object) {
                    let target = nodes[random.words_below(2000) as usize];
                    let address = mutator.root(target).unwrap().object().address();
                    word.store(address, Ordering::Relaxed);
                    words.push(address);
                }
                for slot in 0..mutator.refs(object) {
                    mutator.store(object, slot, Some(object));
                }
                expected.push(words);
            }
            for _ in 0..3 {
                mutator.collect();
                for (&node, expected) in nodes.iter().zip(&expected) {
                    let object = mutator.root(node).unwrap();
                    let words = mutator.words(object).iter();
                    let words: Vec<u64> = words.map(|word| word.load(Ordering::Relaxed)).collect();
                    assert_eq!(&words, expected);
                    for slot in 0..mutator.refs(object) {
                        assert_eq!(mutator.load(object, slot), Some(object), "a self reference");
                    }
                }
            }
        },
    );
}

#[test]
fn references_between_the_dense_prefix_and_the_compacted_part_are_kept() {
    on_every_transport(
        || Heap::builder().limit_bytes(48 << 20).zeal(Zeal::full()),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let mut random = Random::new(33);
            // Fully live, from the heap's first page on; objects of three pages straddle them.
            let old = random_graph(&mut mutator, &mut random, 4000, 1500);
            mutator.collect();
            let sparse = random_graph(&mut mutator, &mut random, 4000, 100);
            for (old, sparse) in old.iter().zip(&sparse) {
                let old = mutator.root(*old).unwrap();
                let sparse = mutator.root(*sparse).unwrap();
                for (from, to) in [(old, sparse), (sparse, old)] {
                    if mutator.refs(from) > 0 {
                        let slot = random.words_below(u64::from(mutator.refs(from)));
                        mutator.store(from, slot, Some(to));
                    }
                }
            }
            for _ in 0..4 {
                // Nothing refers to these but their roots, and every other one dies.
                let lonely: Vec<_> = (0..2000)
                    .map(|_| mutator.alloc(Record { refs: 0, data_words: 40 }).unwrap())
                    .collect();
                for &root in &sparse {
                    if random.below(3) == 0 {
                        mutator.set_root(root, None);
                    }
                }
                // Ends the cycles that began by themselves: the next one finds the garbage.
                mutator.collect();
                for root in lonely.into_iter().step_by(2) {
                    mutator.set_root(root, None);
                }
                let before = digest(&mut mutator);
                mutator.collect();
                assert_eq!(digest(&mut mutator), before);
                let map = heap.page_map();
                for wanted in [PageUse::Slid, PageUse::Compacted] {
                    assert!(map.contains(&wanted), "no page is {wanted:?}");
                }
                assert_eq!(map[0], PageUse::Slid, "the first pages are fully live");
            }
        },
    );
}

#[test]
fn objects_born_while_marking_runs_survive_with_all_they_refer_to() {
    on_every_transport(
        || Heap::builder().limit_bytes(64 << 20).zeal(Zeal::full()),
        |heap| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                for number in 0..2u32 {
                    let (heap, done) = (&heap, &done);
                    scope.spawn(move || {
                        let mut mutator = heap.attach().unwrap();
                        let long = counted_list(&mut mutator, 20_000, 3);
                        let mut rounds = 0;
                        while !done.load(Ordering::Relaxed) || rounds == 0 {
                            rounds += 1;
                            let roots = mutator.root_count();
                            let born = counted_list(&mut mutator, 1000, 1 + number * 600);
                            check_counted_list(&mutator, mutator.root(born), 1000);
                            mutator.truncate_roots(roots);
                        }
                        check_counted_list(&mutator, mutator.root(long), 20_000);
                    });
                }
                for _ in 0..5 {
                    heap.collect();
                }
                drop(finish);
            });
            heap.verify().unwrap();
        },
    );
}

#[test]
fn what_is_taken_out_of_the_graph_while_marking_runs_is_not_lost() {
    on_every_transport(
        || Heap::builder().limit_bytes(64 << 20).zeal(Zeal::full()),
        |heap| {
            const NODES: u64 = 10_000;
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                let (heap, done) = (&heap, &done);
                scope.spawn(move || {
                    let mut mutator = heap.attach().unwrap();
                    let from = counted_list(&mut mutator, NODES, 2);
                    // Held by an object that is marked early, not by a root that is scanned.
                    let holder = mutator.alloc(Record { refs: 2, data_words: 0 }).unwrap();
                    let object = mutator.root(holder).unwrap();
                    mutator.store(object, 0, mutator.root(from));
                    mutator.set_root(from, None);
                    let (mut source, mut turns) = (0, 0u32);
                    while !done.load(Ordering::Relaxed) || turns % 2 == 1 {
                        // Turns the whole list over, node by node, from one slot to the other.
                        for at in 0..NODES {
                            let object = mutator.root(holder).unwrap();
                            let node = mutator.load(object, source).unwrap();
                            let rest = mutator.load(node, 0);
                            mutator.store(object, source, rest);
                            mutator.store(node, 0, mutator.load(object, 1 - source));
                            mutator.store(object, 1 - source, Some(node));
                            if at % 64 == 0 {
                                mutator.safepoint();
                            }
                        }
                        source = 1 - source;
                        turns += 1;
                    }
                    let object = mutator.root(holder).unwrap();
                    check_counted_list(&mutator, mutator.load(object, 0), NODES);
                });
                for _ in 0..6 {
                    heap.collect();
                }
                drop(finish);
            });
        },
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, .. ProptestConfig::default() })]
    #[test]
    fn random_graphs_are_isomorphic_after_each_cycle(seed in any::<u64>(), threads in 1usize..4, large in any::<bool>()) {
        on_every_transport(
            || Heap::builder().limit_bytes(96 << 20).collector_threads(threads),
            |heap| {
                let mut mutator = heap.attach().unwrap();
                let mut random = Random::new(seed);
                let max_words = if large { 400_000 } else { 600 };
                for _ in 0..2 {
                    let count = mutator.root_count();
                    let roots = random_graph(&mut mutator, &mut random, 300, max_words);
                    for &root in &roots {
                        if random.below(2) == 0 {
                            mutator.set_root(root, None);
                        }
                    }
                    let before = digest(&mut mutator);
                    mutator.collect();
                    assert_eq!(digest(&mut mutator), before);
                    verify(&mut mutator);
                    mutator.truncate_roots(count);
                }
            },
        );
    }
}
