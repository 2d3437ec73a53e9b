//! Pinned, aligned and lent objects, under zeal, on every transport.

mod support;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use gc_runtime::{Mutator, OomCause, RootIndex};
use support::shapes::{Shape, Shapes, get, litter, make, on_every_transport_of, value};
use support::{Finish, Random};

const LIMIT: usize = 48 << 20;

/// An object whose data words are numbers that follow from `seed`.
fn filled(mutator: &mut Mutator<Shapes>, words: u32, seed: u64) -> RootIndex {
    let root = make(mutator, Shape::Leaf { words });
    let mut random = Random::new(seed);
    for word in &mutator.raw_words(get(mutator, root))[1..] {
        word.store(random.next(), Ordering::Relaxed);
    }
    root
}

fn check(mutator: &Mutator<Shapes>, object: gc_runtime::Local<'_>, seed: u64) {
    let mut random = Random::new(seed);
    for word in &mutator.raw_words(object)[1..] {
        assert_eq!(word.load(Ordering::Relaxed), random.next(), "object {seed}");
    }
}

#[test]
fn pinned_objects_stay_while_all_around_them_moves() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let mut random = Random::new(1);
            let mut pins = Vec::new();
            let mut others = Vec::new();
            for seed in 0..4000 {
                let words = match random.below(60) {
                    0 => 2 + random.words_below(3000),
                    _ => 2 + random.words_below(40),
                };
                let root = filled(&mut mutator, words, seed);
                if random.below(150) == 0 {
                    pins.push((seed, mutator.pin(get(&mutator, root)), root));
                } else {
                    others.push((seed, root));
                }
            }
            let flips = heap.flips();
            for round in 0..6 {
                for &(seed, root) in &others {
                    // Stretches that stay dense, and stretches that nearly empty.
                    let dies = if seed / 500 % 2 == 0 { 1 } else { 6 };
                    if random.below(12) < dies {
                        mutator.set_root(root, None);
                    }
                }
                mutator.collect();
                for (seed, pin, root) in &pins {
                    assert_eq!(Some(pin.object()), mutator.root(*root).map(|it| it.object()));
                    check(&mutator, mutator.local(pin.object()).unwrap(), *seed);
                }
                for &(seed, root) in &others {
                    if let Some(object) = mutator.root(root) {
                        check(&mutator, object, seed);
                    }
                }
                if round == 3 {
                    // Half of them may go: the roots keep them, at other places.
                    pins.truncate(pins.len() / 2);
                }
            }
            assert!(heap.flips() >= flips + 4, "nothing moved");
            // Without pins the gaps close.
            let before = heap.used_bytes();
            drop(pins);
            mutator.collect();
            assert!(heap.used_bytes() < before, "gaps stay");
        },
    );
}

#[test]
fn a_pin_keeps_its_object_alive_and_lets_it_go() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let root = filled(&mut mutator, 100, 8);
            let weak = mutator.weak_root(get(&mutator, root));
            let pin = mutator.pin(get(&mutator, root));
            mutator.set_root(root, None);
            for _ in 0..3 {
                litter(&mut mutator, 1000);
                mutator.collect();
                let object = mutator.weak(&weak).expect("pinned");
                assert_eq!(object.object(), pin.object());
                check(&mutator, object, 8);
            }
            drop(pin);
            mutator.collect();
            assert_eq!(mutator.weak(&weak), None);
        },
    );
}

#[test]
fn pins_come_and_go_while_cycles_run() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                for number in 0..2u64 {
                    let (heap, done) = (&heap, &done);
                    scope.spawn(move || {
                        let mut mutator = heap.attach().unwrap();
                        let mut random = Random::new(number);
                        let mut pinned = Vec::new();
                        let mut seed = 0;
                        while !done.load(Ordering::Relaxed) {
                            seed += 1;
                            let words = 2 + random.words_below(900);
                            let root = filled(&mut mutator, words, seed);
                            let object = get(&mutator, root);
                            pinned.push((seed, mutator.pin(object)));
                            mutator.truncate_roots(0);
                            if pinned.len() > 20 {
                                let at = random.words_below(20) as usize;
                                let (seed, pin) = pinned.swap_remove(at);
                                check(&mutator, mutator.local(pin.object()).unwrap(), seed);
                            }
                            litter(&mut mutator, 20);
                            if seed % 64 == 0 {
                                // Something must be able to move now and then.
                                for (seed, pin) in pinned.drain(..) {
                                    check(&mutator, mutator.local(pin.object()).unwrap(), seed);
                                }
                                mutator.collect();
                            }
                        }
                    });
                }
                // The threads may not have begun when the first cycles are over.
                for cycle in 0..5000 {
                    if cycle >= 12 && heap.flips() > 0 {
                        break;
                    }
                    heap.collect();
                }
                drop(finish);
            });
            heap.verify().unwrap();
            assert!(heap.flips() > 0, "nothing moved");
        },
    );
}

#[test]
fn aligned_objects_stay_aligned_wherever_they_move() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            let page = uffd_move::page_size();
            let mut mutator = heap.attach().unwrap();
            litter(&mut mutator, 3000);
            let mut aligned = Vec::new();
            for number in 0..40u32 {
                let align = 8usize << (number % 10);
                let shape = Shape::Leaf { words: 2 + number * 37 };
                let object = mutator.allocate_aligned(shape.header(), align.min(page)).unwrap();
                let object = mutator.local(object).unwrap();
                mutator.raw_word(object, 1).store(u64::from(number), Ordering::Relaxed);
                let born = value(object);
                aligned.push((align as u64, mutator.push_root(Some(object)), born));
                litter(&mut mutator, 60);
            }
            for _ in 0..4 {
                let hole = make(&mut mutator, Shape::Leaf { words: 900 });
                mutator.collect();
                mutator.set_root(hole, None);
                litter(&mut mutator, 300);
                for (number, &(align, root, _)) in (0..).zip(&aligned) {
                    let object = get(&mutator, root);
                    assert_eq!(value(object) % align, 0, "object {number}");
                    assert_eq!(mutator.read(object, 1), number);
                }
            }
            let moved = aligned.iter().any(|&(_, root, born)| value(get(&mutator, root)) != born);
            assert!(moved, "nothing moved");
        },
    );
}

#[test]
#[should_panic(expected = "powers of two")]
fn an_alignment_of_more_than_a_page_is_refused() {
    let heap = gc_runtime::HeapBuilder::new(Shapes).limit_bytes(16 << 20).build().unwrap();
    let mut mutator = heap.attach().unwrap();
    let align = 2 * uffd_move::page_size();
    let _ = mutator.allocate_aligned(Shape::Leaf { words: 2 }.header(), align);
}

/// read(2) and write(2) on memory that is only known by its address.
#[allow(unsafe_code, reason = "a system call on the heap's memory is what is tested")]
fn transfer(file: &File, address: usize, bytes: usize, direction: Direction) -> usize {
    let pointer = std::ptr::with_exposed_provenance_mut::<libc::c_void>(address);
    let done = match direction {
        // SAFETY: the range lies inside an object that is lent to the kernel, which all threads
        // only access as atomics.
        Direction::Out => unsafe { libc::write(file.as_raw_fd(), pointer, bytes) },
        // SAFETY: as above.
        Direction::In => unsafe { libc::read(file.as_raw_fd(), pointer, bytes) },
    };
    let error = std::io::Error::last_os_error();
    usize::try_from(done).unwrap_or_else(|_| panic!("{direction:?}: {error}"))
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Out,
    In,
}

#[test]
fn system_calls_on_lent_bytes_succeed_in_any_phase_of_a_cycle() {
    on_every_transport_of(
        LIMIT,
        || Shapes,
        |heap| {
            const WORDS: u32 = 20_000;
            let mut file = tempfile::tempfile().unwrap();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let (heap, done) = (&heap, &done);
                scope.spawn(move || {
                    let _finish = Finish(done);
                    let mut mutator = heap.attach().unwrap();
                    for seed in 0..5000 {
                        if seed > 8 && heap.flips() > 5 {
                            break;
                        }
                        litter(&mut mutator, 400);
                        let root = filled(&mut mutator, WORDS, seed);
                        litter(&mut mutator, 2000);
                        let lent = mutator.lend(get(&mutator, root));
                        let (address, bytes) = (lent.address() + 8, lent.bytes() - 8);
                        assert_eq!(bytes, (WORDS as usize - 1) * 8);
                        file.seek(SeekFrom::Start(0)).unwrap();
                        let shared = &file;
                        let done = mutator.blocking(|| {
                            std::thread::yield_now();
                            transfer(shared, address, bytes, Direction::Out)
                        });
                        assert_eq!(done, bytes);
                        drop(lent);
                        // Back into another object.
                        let copy = make(&mut mutator, Shape::Leaf { words: WORDS });
                        litter(&mut mutator, 500);
                        file.seek(SeekFrom::Start(0)).unwrap();
                        let lent = mutator.lend(get(&mutator, copy));
                        let address = lent.address() + 8;
                        let shared = &file;
                        let done =
                            mutator.blocking(|| transfer(shared, address, bytes, Direction::In));
                        assert_eq!(done, bytes);
                        drop(lent);
                        check(&mutator, get(&mutator, copy), seed);
                        mutator.truncate_roots(0);
                    }
                });
                while !done.load(Ordering::Relaxed) {
                    heap.collect();
                }
            });
            assert!(heap.flips() > 0, "nothing moved");
        },
    );
}

#[test]
fn nothing_moves_while_bytes_are_lent_and_running_out_is_a_value() {
    on_every_transport_of(
        8 << 20,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            litter(&mut mutator, 1000);
            let root = filled(&mut mutator, 50, 1);
            let lent = mutator.lend(get(&mutator, root));
            let flips = heap.flips();
            let error = loop {
                match mutator.allocate(Shape::Leaf { words: 500 }.header()) {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.cause, OomCause::Full);
            assert_eq!(heap.flips(), flips);
            drop(lent);
            litter(&mut mutator, 20_000);
            check(&mutator, get(&mutator, root), 1);
        },
    );
}
