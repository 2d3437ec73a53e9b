//! A heap that is full collects, then says so, and stays as good as it was.

mod support;

use gc_runtime::{Heap, Mutator, OomCause, OutOfMemory, Record, RootIndex};
use support::{digest, fill, on_every_transport, verify};

const LIMIT: usize = 16 << 20;

fn small_heap() -> gc_runtime::HeapBuilder {
    Heap::builder().limit_bytes(LIMIT)
}

/// Allocates objects of this shape until the heap has no room, each on a root of its own.
fn fill_up(mutator: &mut Mutator, shape: Record) -> (Vec<RootIndex>, OutOfMemory) {
    let mut roots = Vec::new();
    loop {
        match mutator.alloc(shape) {
            Ok(root) => {
                fill(mutator, mutator.root(root).expect("just stored"), roots.len() as u64);
                roots.push(root);
            }
            Err(error) => return (roots, error),
        }
        assert!(roots.len() * 16 < 2 * LIMIT, "a heap without end");
    }
}

/// Shapes of 64 bytes, 2 KiB, 80 KiB and 3 MiB.
const SHAPES: [Record; 4] = [
    Record { refs: 2, data_words: 5 },
    Record { refs: 5, data_words: 250 },
    Record { refs: 0, data_words: 10_000 },
    Record { refs: 100, data_words: 390_000 },
];

#[test]
fn a_full_heap_collects_then_fails_with_a_value_and_stays_intact() {
    on_every_transport(small_heap, |heap| {
        for shape in SHAPES {
            let mut mutator = heap.attach().unwrap();
            let cycles = heap.stats().cycles;
            let (roots, error) = fill_up(&mut mutator, shape);
            assert_eq!(error.cause, OomCause::Full);
            assert_eq!(error.requested_bytes, shape.words() * 8);
            assert_eq!(error.limit_bytes, LIMIT as u64);
            assert!(error.live_bytes <= error.limit_bytes);
            assert!(heap.stats().cycles > cycles, "it gave up without a collection");
            verify(&mut mutator);
            let full = digest(&mut mutator);
            assert_eq!(full.objects, roots.len() as u64);
            assert!(full.bytes + (3 << 20) + (256 << 10) > LIMIT as u64, "{} bytes", full.bytes);
            assert_eq!(mutator.alloc(shape).unwrap_err().cause, OomCause::Full);
            assert_eq!(digest(&mut mutator), full);
        }
    });
}

#[test]
fn dropping_roots_makes_room_again() {
    on_every_transport(small_heap, |heap| {
        let mut mutator = heap.attach().unwrap();
        for shape in SHAPES {
            let (roots, _) = fill_up(&mut mutator, shape);
            for pair in roots.chunks(2) {
                mutator.set_root(pair[0], None);
            }
            let kept = digest(&mut mutator);
            let room = roots.len() / 2;
            for _ in 0..room.saturating_sub(room / 10 + 1) {
                mutator.alloc(shape).expect("half of the heap was dropped");
            }
            verify(&mut mutator);
            mutator.truncate_roots(roots.len());
            assert_eq!(digest(&mut mutator), kept);
            mutator.truncate_roots(0);
        }
    });
}

#[test]
fn live_data_of_twice_the_limit_does_not_fit_and_does_not_break_anything() {
    on_every_transport(small_heap, |heap| {
        let mut mutator = heap.attach().unwrap();
        let shape = Record { refs: 1, data_words: 30 };
        let (list, node) = (mutator.push_root(None), mutator.push_root(None));
        let wanted = 2 * LIMIT as u64 / (shape.words() * 8);
        let mut made = 0;
        let error = loop {
            if let Err(error) = mutator.alloc_into(node, shape) {
                break error;
            }
            let new = mutator.root(node).unwrap();
            fill(&mutator, new, made);
            mutator.store(new, 0, mutator.root(list));
            mutator.set_root(list, Some(new));
            made += 1;
            assert!(made < wanted, "{made} objects in half the room they need");
        };
        assert_eq!(error.cause, OomCause::Full);
        assert!(made > wanted / 2 * 9 / 10, "only {made} of {} objects fit", wanted / 2);
        mutator.set_root(node, None);
        assert_eq!(digest(&mut mutator).objects, made);
        verify(&mut mutator);
    });
}

#[test]
fn an_object_larger_than_the_heap_is_refused_without_a_collection() {
    on_every_transport(small_heap, |heap| {
        let mut mutator = heap.attach().unwrap();
        support::counted_list(&mut mutator, 100, 7);
        let before = digest(&mut mutator);
        for data_words in [u32::try_from(LIMIT / 8).unwrap(), u32::MAX] {
            let error = mutator.alloc(Record { refs: 0, data_words }).unwrap_err();
            assert_eq!(error.cause, OomCause::TooLarge);
            assert_eq!(error.requested_bytes, (1 + u64::from(data_words)) * 8);
        }
        assert_eq!(heap.stats().cycles, 0);
        assert_eq!(digest(&mut mutator), before);
    });
}

#[test]
fn garbage_of_many_times_the_limit_never_fails() {
    on_every_transport(small_heap, |heap| {
        let mut mutator = heap.attach().unwrap();
        let list = support::counted_list(&mut mutator, 5000, 20);
        let garbage = mutator.push_root(None);
        for shape in SHAPES {
            let objects = 3 * LIMIT as u64 / (shape.words() * 8);
            for _ in 0..objects {
                mutator.alloc_into(garbage, shape).expect("all of it is garbage");
            }
        }
        support::check_counted_list(&mutator, mutator.root(list), 5000);
        verify(&mut mutator);
    });
}

#[test]
fn several_mutators_that_run_out_at_once_all_hear_of_it() {
    on_every_transport(small_heap, |heap| {
        std::thread::scope(|scope| {
            for shape in SHAPES.into_iter().take(3) {
                let heap = &heap;
                scope.spawn(move || {
                    let mut mutator = heap.attach().unwrap();
                    let (roots, error) = fill_up(&mut mutator, shape);
                    assert_eq!(error.cause, OomCause::Full);
                    for (seed, &root) in roots.iter().enumerate().step_by(7) {
                        let mut random = support::Random::new(seed as u64);
                        for word in mutator.words(mutator.root(root).unwrap()) {
                            assert_eq!(
                                word.load(std::sync::atomic::Ordering::Relaxed),
                                random.next()
                            );
                        }
                    }
                });
            }
        });
        heap.verify().unwrap();
    });
}
