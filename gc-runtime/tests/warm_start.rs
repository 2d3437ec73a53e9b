//! A heap whose pages are moved has its warm pool before the program begins.

mod support;

use std::sync::atomic::Ordering;

use gc_runtime::{FaultDelivery, Heap, Record, Transport};
use nix::sys::resource::{UsageWho, getrusage};
use support::build;

/// The warm pool of a heap of this size is four times what is written to.
const LIMIT: usize = 64 << 20;
const WORDS: u32 = (1 << 20) / 8;

/// Page faults of this thread that the kernel has answered without a disk.
fn faults() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).expect("a thread may ask").minor_page_faults()
}

#[test]
fn the_first_objects_need_not_fault_for_their_pages_where_pages_are_moved() {
    let builder = Heap::builder().limit_bytes(LIMIT);
    let Some(heap) = build(builder, Transport::Move, FaultDelivery::Signal) else { return };
    let mut mutator = heap.attach().expect("a sound heap");
    let root = mutator.alloc(Record { refs: 0, data_words: WORDS }).expect("room");
    let before = faults();
    let object = mutator.root(root).expect("just stored");
    mutator.words(object).iter().for_each(|word| word.store(1, Ordering::Relaxed));
    let taken = faults() - before;
    assert!(taken < i64::from(WORDS) * 8 / 4096 / 4, "{taken} faults for a mebibyte");
}
