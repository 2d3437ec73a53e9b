//! A heap in a control group with less memory than its limit ends with a value, not with a signal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use gc_runtime::{Container, FaultDelivery, Heap, HeapBuilder, OomCause, Record, Transport};
use support::group::Group;
use support::{build, check_counted_list, in_a_process_of_its_own};

const MIB: usize = 1 << 20;

/// What the group may use at first.
const LITTLE: usize = 96 * MIB;

fn large_heap() -> HeapBuilder {
    Heap::builder().limit_bytes(1024 * MIB)
}

/// Lists of 256-byte nodes until there is no room: bytes, and why it ended.
fn fill_up(heap: &Heap) -> (usize, OomCause) {
    let mut mutator = heap.attach().unwrap();
    let (list, node) = (mutator.push_root(None), mutator.push_root(None));
    let mut made = 0u64;
    let error = loop {
        if let Err(error) = mutator.alloc_into(node, Record { refs: 1, data_words: 30 }) {
            break error;
        }
        made += 1;
        let new = mutator.root(node).expect("just stored");
        mutator.store(new, 0, mutator.root(list));
        for word in mutator.words(new) {
            word.store(made - 1, std::sync::atomic::Ordering::Relaxed);
        }
        mutator.set_root(list, Some(new));
    };
    mutator.set_root(node, None);
    check_counted_list(&mutator, mutator.root(list), made);
    (usize::try_from(made).unwrap() * 256, error.cause)
}

fn small_group() {
    let group = match Group::new(LITTLE) {
        Ok(group) => group,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    group.join().expect("root may move its own process");
    for transport in Transport::ALL {
        group.set(LITTLE).unwrap();
        let Some(heap) = build(large_heap(), transport, FaultDelivery::Signal) else { continue };
        assert!(heap.limit_bytes() < LITTLE, "{} bytes", heap.limit_bytes());
        let (bytes, cause) = fill_up(&heap);
        eprintln!("{transport}: {} MiB of {} MiB", bytes / MIB, LITTLE / MIB);
        assert_eq!(cause, OomCause::Container);
        assert!(bytes > LITTLE / 5, "{transport}: only {bytes} bytes were to be had");
        assert_eq!(heap.stats().limit_bytes, heap.limit_bytes());

        // The group is given more: the heap notices with the next cycle.
        let before = heap.limit_bytes();
        group.set(2 * LITTLE).unwrap();
        heap.collect();
        assert!(heap.limit_bytes() > before, "{transport}: still {before} bytes");
        heap.verify().unwrap();
    }
}

fn ignored_group() {
    let group = match Group::new(LITTLE) {
        Ok(group) => group,
        Err(reason) => return println!("skipped: {reason}"),
    };
    group.join().expect("root may move its own process");
    let heap = large_heap().container(Container::Ignore).build().unwrap();
    assert_eq!(heap.limit_bytes(), 1024 * MIB);
}

in_a_process_of_its_own! {
    a_heap_in_a_small_container_is_full_before_the_kernel_kills_it, child_in_a_small_group: small_group();
    a_heap_that_ignores_its_container_has_the_limit_that_was_asked_for, child_that_ignores_its_group: ignored_group();
}
