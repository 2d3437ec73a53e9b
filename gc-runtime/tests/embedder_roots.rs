//! Roots in the embedder's memory, interior pointers, and code that allocates by itself.
#![allow(unsafe_code, reason = "stands in for machine code, which uses addresses")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use gc_runtime::{JitLayout, Mutator, ObjectRef, RootVisitor, Roots};
use support::Finish;
use support::shapes::{Shape, Shapes, get, litter, make, on_every_transport_of, value};

const LIMIT: usize = 32 << 20;

/// A thread's registers, spilled: slots, and for each an interior pointer.
#[derive(Debug)]
struct Frame {
    slots: Vec<AtomicU64>,
    interior: Vec<AtomicU64>,
}

impl Frame {
    fn new(len: usize) -> Arc<Self> {
        let zeros = || (0..len).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { slots: zeros(), interior: zeros() })
    }
}

impl Roots for Frame {
    fn visit(&self, visitor: &mut RootVisitor<'_>) {
        self.slots.iter().for_each(|slot| visitor.slot(slot));
        self.interior.iter().for_each(|slot| visitor.interior(slot));
    }
}

#[test]
fn a_threads_own_roots_and_interior_pointers_move_with_their_objects() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let frame = Frame::new(300);
            let mut mutator = heap.attach_with(frame.clone()).unwrap();
            litter(&mut mutator, 1000);
            for at in 0..300u32 {
                let words = 3 + at * 5;
                let object = mutator.allocate(Shape::Leaf { words }.header()).unwrap();
                let last = mutator.raw_word(mutator.local(object).unwrap(), words - 1);
                last.store(u64::from(at), Ordering::Relaxed);
                frame.slots[at as usize].store(object.address(), Ordering::Relaxed);
                // Any byte of the object's last word.
                let inside = object.address() + u64::from(words - 1) * 8 + u64::from(at % 8);
                frame.interior[at as usize].store(inside, Ordering::Relaxed);
            }
            for round in 0..4 {
                let hole = make(&mut mutator, Shape::Leaf { words: 700 });
                if round % 2 == 0 {
                    mutator.collect();
                } else {
                    // The collector acts for a thread that is blocking.
                    mutator.blocking(|| heap.collect());
                }
                mutator.set_root(hole, None);
                litter(&mut mutator, 300);
                for at in 0..300u32 {
                    let words = 3 + at * 5;
                    let object = frame.slots[at as usize].load(Ordering::Relaxed);
                    let inside = frame.interior[at as usize].load(Ordering::Relaxed);
                    assert_eq!(inside, object + u64::from(words - 1) * 8 + u64::from(at % 8));
                    let object = mutator.reference(object).expect("a reference");
                    assert_eq!(Shape::of(mutator.header(object)), Shape::Leaf { words });
                    assert_eq!(mutator.read(object, words - 1), u64::from(at));
                }
            }
            assert!(heap.flips() > 0, "nothing moved");
        },
    );
}

#[test]
fn roots_of_the_whole_heap_are_written_by_all_threads_while_cycles_run() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let table = Frame::new(500);
            let added = heap.attach().unwrap().add_roots(table.clone());
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                for number in 0..2u32 {
                    let (heap, table, done) = (&heap, &table, &done);
                    scope.spawn(move || {
                        let mut mutator = heap.attach().unwrap();
                        let mut made = number;
                        // Each slot at least twice, however soon the cycles are over.
                        while !done.load(Ordering::Relaxed) || made < 2000 {
                            made += 2;
                            let shape = Shape::Plain { slots: 1, data: 2 };
                            let object = mutator.allocate(shape.header()).unwrap();
                            let object = mutator.local(object).unwrap();
                            mutator.raw_word(object, 2).store(u64::from(made), Ordering::Relaxed);
                            mutator.raw_word(object, 3).store(u64::from(made), Ordering::Relaxed);
                            let slot = &table.slots[made as usize % 500];
                            // Hand over what was there before, out of its slot and into the new object.
                            if let Some(old) = mutator.reference(slot.load(Ordering::Acquire)) {
                                mutator.write(object, 1, value(old));
                                mutator.write(old, 1, 0);
                                assert_eq!(mutator.read(old, 2), mutator.read(old, 3));
                            }
                            mutator.write_slot(slot, value(object));
                            mutator.safepoint();
                        }
                    });
                }
                for _ in 0..8 {
                    heap.collect();
                }
                drop(finish);
            });
            heap.verify().unwrap();
            assert!(heap.graph_digest().unwrap().objects >= 500);
            drop(added);
            heap.collect();
            heap.collect();
            assert_eq!(heap.graph_digest().unwrap().objects, 0, "dropped roots hold objects");
        },
    );
}

/// What a compiler would emit: the published words and nothing else.
struct Compiled {
    block: usize,
}

impl Compiled {
    fn word<T>(&self, offset: usize) -> &T {
        let address = std::ptr::with_exposed_provenance::<T>(self.block + offset);
        // SAFETY: the block lives as long as the mutator that the test keeps, the offsets are the
        // published ones, and all of these words are atomics.
        unsafe { &*address }
    }

    /// Bumps, or gives up.
    fn allocate(&self, bytes: usize) -> Option<u64> {
        let bump = self.word::<AtomicUsize>(JitLayout::BUMP);
        let limit = self.word::<AtomicUsize>(JitLayout::LIMIT).load(Ordering::Relaxed);
        let object = bump.load(Ordering::Relaxed);
        let end = object + bytes;
        (end <= limit).then(|| {
            bump.store(end, Ordering::Relaxed);
            object as u64
        })
    }

    fn store(&self, mutator: &Mutator<Shapes>, slot: &AtomicU64, value: u64) {
        if self.word::<AtomicU32>(JitLayout::MARKING).load(Ordering::Relaxed) == 0 {
            slot.store(value, Ordering::Release);
        } else {
            mutator.write_slot(slot, value);
        }
    }

    fn wants_safepoint(&self) -> bool {
        self.word::<AtomicU32>(JitLayout::SAFEPOINT).load(Ordering::Relaxed) != 0
    }
}

#[test]
fn code_that_uses_the_published_words_alone_allocates_stores_and_polls() {
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
                    let compiled = Compiled { block: mutator.block_address() };
                    let shape = Shape::Plain { slots: 1, data: 1 };
                    let list = mutator.push_root(None);
                    let (mut fast, mut slow, mut len) = (0u64, 0u64, 0u64);
                    // On until both ways have been gone, however soon the cycles are over.
                    let enough = |fast, slow| slow > 0 && fast > 10 * slow;
                    while !done.load(Ordering::Relaxed)
                        || (!enough(fast, slow) && fast + slow < 1_000_000)
                    {
                        let object = match compiled.allocate(24) {
                            Some(object) => {
                                compiler_fence(Ordering::SeqCst);
                                fast += 1;
                                let object = ObjectRef::from_address(object).unwrap();
                                let object = mutator.local(object).unwrap();
                                let header = mutator.raw_word(object, 0);
                                header.store(shape.header().first(), Ordering::Relaxed);
                                object
                            }
                            None => {
                                slow += 1;
                                let object = mutator.allocate(shape.header()).unwrap();
                                mutator.local(object).unwrap()
                            }
                        };
                        if len == 2000 {
                            mutator.set_root(list, None);
                            len = 0;
                        }
                        if let Some(head) = mutator.root(list) {
                            assert_eq!(mutator.read(head, 2), len);
                            // Every other link by way of an older object's slot.
                            mutator.raw_word(object, 1).store(value(head), Ordering::Relaxed);
                            if len % 2 == 0 {
                                let next = mutator.read(head, 1);
                                compiled.store(&mutator, mutator.raw_word(head, 1), 0);
                                compiled.store(&mutator, mutator.raw_word(head, 1), next);
                            }
                        }
                        len += 1;
                        mutator.raw_word(object, 2).store(len, Ordering::Relaxed);
                        mutator.set_root(list, Some(object));
                        if compiled.wants_safepoint() {
                            mutator.safepoint();
                        }
                    }
                    let (mut next, mut expected) = (mutator.root(list), len);
                    while let Some(object) = next {
                        assert_eq!(mutator.read(object, 2), expected);
                        expected -= 1;
                        next = mutator.read_reference(object, 1);
                    }
                    assert_eq!(expected, 0);
                    eprintln!("{fast} objects by compiled code, {slow} by the heap");
                    assert!(enough(fast, slow));
                });
                for _ in 0..8 {
                    heap.collect();
                }
                drop(finish);
            });
            heap.verify().unwrap();
        },
    );
}

#[test]
fn an_interior_pointer_keeps_nothing_alive() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let frame = Frame::new(1);
            let mut mutator = heap.attach_with(frame.clone()).unwrap();
            let root = make(&mut mutator, Shape::Leaf { words: 10 });
            let weak = mutator.weak_root(get(&mutator, root));
            frame.interior[0].store(value(get(&mutator, root)) + 16, Ordering::Relaxed);
            mutator.set_root(root, None);
            mutator.collect();
            assert_eq!(mutator.weak(&weak), None);
        },
    );
}
