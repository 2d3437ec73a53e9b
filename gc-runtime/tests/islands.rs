//! Runs of pages that slide instead of being copied, under zeal, on every transport.

mod support;

use gc_runtime::{
    CycleStats, Heap, HeapBuilder, Islands, Mutator, Record, RootIndex, Transport, Verify, Zeal,
};
use support::{Random, all_ways, build, digest, fill, on_every_transport, verify};

const LIMIT: usize = 48 << 20;

/// Records in a list, 200 bytes each, and as many leaves: about 120 KiB.
const NODES: u64 = 300;
const LINKED: Record = Record { refs: 4, data_words: 20 };
const LEAF: Record = Record { refs: 0, data_words: 24 };

fn verifying() -> HeapBuilder {
    Heap::builder().limit_bytes(LIMIT).zeal(Zeal { verify: Verify::EachCycle, ..Zeal::default() })
}

/// Lists of records with a leaf each, made one list after the other; their heads.
fn clumps(mutator: &mut Mutator, count: u64) -> Vec<RootIndex> {
    let mut heads = Vec::new();
    for clump in 0..count {
        let head = mutator.push_root(None);
        let node = mutator.push_root(None);
        let leaf = mutator.push_root(None);
        for at in 0..NODES {
            mutator.alloc_into(leaf, LEAF).expect("room for clumps");
            mutator.alloc_into(node, LINKED).expect("room for clumps");
            let new = mutator.root(node).expect("just stored");
            let its = mutator.root(leaf).expect("just stored");
            fill(mutator, new, clump << 32 | at);
            fill(mutator, its, clump << 32 | at);
            mutator.store(new, 0, mutator.root(head));
            mutator.store(new, 1, Some(its));
            mutator.set_root(head, Some(new));
        }
        mutator.truncate_roots(mutator.root_count() - 2);
        heads.push(head);
    }
    heads
}

/// Fills a heap with clumps, lets some of them die, and compacts; what the last cycle did.
fn compact(heap: &Heap, seed: u64) -> CycleStats {
    let mut mutator = heap.attach().expect("a sound heap");
    let mut random = Random::new(seed);
    let heads = clumps(&mut mutator, 60);
    mutator.collect();
    let mut slid = CycleStats::default();
    for _ in 0..4 {
        for &head in &heads {
            if random.below(4) == 0 {
                mutator.set_root(head, None);
            }
        }
        let before = digest(&mut mutator);
        let flips = heap.flips();
        mutator.collect();
        assert_eq!(digest(&mut mutator), before);
        verify(&mut mutator);
        let last = *heap.stats().cycle_log.last().expect("a cycle was asked for");
        if heap.flips() > flips && last.islands > slid.islands {
            slid = last;
        }
    }
    slid
}

#[test]
fn the_graph_is_the_same_after_islands_have_slid() {
    on_every_transport(verifying, |heap| {
        for seed in 1..=2 {
            let cycle = compact(&heap, seed);
            assert!(cycle.islands > 0, "clumps leave islands: {cycle:?}");
            assert_eq!(cycle.island_threshold_percent, 90);
        }
    });
}

#[test]
fn what_lies_on_an_island_is_not_copied() {
    let heap = build(verifying(), Transport::Move, all_ways()[0].1);
    let Some(heap) = heap else { return };
    let cycle = compact(&heap, 3);
    assert!(cycle.bytes_slid > 0, "{cycle:?}");
    assert!(cycle.bytes_copied * 2 < cycle.live_bytes, "{cycle:?}");
    assert!(cycle.island_padding_bytes * 10 <= cycle.bytes_slid + (1 << 20), "{cycle:?}");
}

#[test]
fn without_islands_everything_is_packed() {
    on_every_transport(
        || verifying().islands(Islands::Off),
        |heap| {
            let cycle = compact(&heap, 4);
            assert_eq!((cycle.islands, cycle.island_padding_bytes), (0, 0));
        },
    );
}
