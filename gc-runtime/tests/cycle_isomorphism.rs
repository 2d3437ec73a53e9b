//! The object graph after a cycle is the graph before it.

mod support;

use gc_runtime::{Heap, Zeal};
use proptest::prelude::*;
use support::{Random, on_every_transport, random_graph};

fn digest(heap: &Heap, mutator: &mut gc_runtime::Mutator) -> gc_runtime::GraphDigest {
    mutator.blocking(|| heap.graph_digest()).expect("a sound heap")
}

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
                let before = digest(&heap, &mut mutator);
                mutator.collect();
                let after = digest(&heap, &mut mutator);
                assert_eq!(before, after, "round {round}");
                mutator.collect();
                assert_eq!(digest(&heap, &mut mutator), before);
            }
        },
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, .. ProptestConfig::default() })]
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
                    let before = digest(&heap, &mut mutator);
                    mutator.collect();
                    assert_eq!(digest(&heap, &mut mutator), before);
                    mutator.blocking(|| heap.verify()).unwrap();
                    mutator.truncate_roots(count);
                }
            },
        );
    }
}
