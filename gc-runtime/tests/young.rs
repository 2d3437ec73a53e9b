//! What is born while marking runs is marked too: the dead of it are gone at the flip, the living
//! are kept, whoever refers to them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gc_runtime::{CycleStats, Header, Local, Mutator, ObjectLayout, ObjectModel, RootIndex};
use support::shapes::on_every_transport_of;
use support::{FOR_EVER, Finish};

const MIB: usize = 1 << 20;

/// So much that nobody is held back while marking halts.
const LIMIT: usize = 256 * MIB;

const OBJECT: u64 = 1 << 63;

/// In the header of the object at which marking halts.
const HALT: u64 = 1 << 62;

/// Words of an object: a page holds 51 and a part of another, so that some lie on two.
const WORDS: u32 = 10;

/// How far a halted marking has come.
#[derive(Debug, Default)]
struct Halt {
    armed: AtomicBool,
    reached: AtomicBool,
    over: AtomicBool,
}

thread_local! {
    static IS_MUTATOR: Cell<bool> = const { Cell::new(false) };
}

/// Objects of slots, with a number in the last word. A collector thread that asks for the layout of the
/// one at which marking halts waits until that is over.
struct Halting(Arc<Halt>);

impl ObjectModel for Halting {
    fn layout(&self, header: Header) -> ObjectLayout {
        let halt = &self.0;
        if header.first() & HALT != 0
            && !IS_MUTATOR.get()
            && halt.armed.swap(false, Ordering::SeqCst)
        {
            halt.reached.store(true, Ordering::SeqCst);
            let end = Instant::now() + FOR_EVER;
            while !halt.over.load(Ordering::SeqCst) && Instant::now() < end {
                thread::sleep(Duration::from_micros(100));
            }
        }
        let words = u32::try_from(header.first() & 0xffff).expect("16 bits");
        ObjectLayout::range(words, 1, words - 2)
    }
}

fn make(mutator: &mut Mutator<Halting>, header: u64, number: u64) -> RootIndex {
    let object = mutator.allocate(Header::one(OBJECT | header | u64::from(WORDS))).unwrap();
    let object = mutator.local(object).unwrap();
    mutator.raw_word(object, WORDS - 1).store(number, Ordering::Relaxed);
    mutator.push_root(Some(object))
}

fn number(mutator: &Mutator<Halting>, object: Local<'_>) -> u64 {
    mutator.read(object, WORDS - 1)
}

/// A list of new objects, the first of which is number `len`.
fn list(mutator: &mut Mutator<Halting>, len: u64) -> RootIndex {
    let root = mutator.push_root(None);
    let before = mutator.root_count();
    for at in 1..=len {
        let node = make(mutator, 0, at);
        let node = mutator.root(node).unwrap();
        let rest = mutator.root(root).map_or(0, |rest| rest.object().address());
        mutator.write(node, 1, rest);
        mutator.set_root(root, Some(node));
        mutator.truncate_roots(before);
    }
    root
}

fn check_list(mutator: &Mutator<Halting>, first: Option<Local<'_>>, len: u64) {
    let mut node = first;
    for at in (1..=len).rev() {
        let this = node.expect("the list is as long as it was");
        assert_eq!(number(mutator, this), at);
        node = mutator.read_reference(this, 1);
    }
    assert_eq!(node, None);
}

/// Runs `meanwhile` while the trace of a cycle has come to a halt, and `afterwards` when the cycle is over;
/// both on a mutator that has an old object with slots in a root. What the first leaves in a root is
/// handed to the second, and the cycle.
fn while_marking_halts(
    meanwhile: impl Fn(&mut Mutator<Halting>, RootIndex) -> RootIndex + Sync,
    afterwards: impl Fn(&mut Mutator<Halting>, RootIndex, &CycleStats) + Sync,
) {
    let halt = Arc::new(Halt::default());
    let model = || {
        for flag in [&halt.armed, &halt.reached, &halt.over] {
            flag.store(false, Ordering::SeqCst);
        }
        Halting(Arc::clone(&halt))
    };
    on_every_transport_of(LIMIT, model, |heap| {
        let (prepared, done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let finish = Finish(&done);
            let mutator = scope.spawn(|| {
                IS_MUTATOR.set(true);
                let mutator = &mut heap.attach().unwrap();
                let old = make(mutator, 0, 77);
                make(mutator, HALT, 78);
                halt.armed.store(true, Ordering::SeqCst);
                prepared.store(true, Ordering::SeqCst);
                wait(mutator, &halt.reached);
                let left = meanwhile(mutator, old);
                halt.over.store(true, Ordering::SeqCst);
                wait(mutator, &done);
                let stats = heap.stats();
                let halted = |cycle: &&CycleStats| cycle.born_bytes > MIB as u64;
                let cycle = stats.cycle_log.iter().find(halted).expect("a mebibyte was born");
                assert!(cycle.black_bytes < cycle.born_bytes / 4, "most was not marked: {cycle:?}");
                afterwards(mutator, left, cycle);
            });
            while !prepared.load(Ordering::SeqCst) && !mutator.is_finished() {
                thread::sleep(Duration::from_micros(100));
            }
            heap.collect();
            drop(finish);
            mutator.join().unwrap();
        });
        heap.verify().unwrap();
    });
}

fn wait(mutator: &mut Mutator<Halting>, flag: &AtomicBool) {
    let end = Instant::now() + FOR_EVER;
    while !flag.load(Ordering::SeqCst) {
        assert!(Instant::now() < end, "marking does not come so far");
        mutator.safepoint();
    }
}

/// More than a mebibyte of it.
fn garbage(mutator: &mut Mutator<Halting>) {
    let before = mutator.root_count();
    list(mutator, 20_000);
    mutator.truncate_roots(before);
}

#[test]
fn what_is_born_and_dies_while_marking_runs_is_gone_when_the_cycle_ends() {
    while_marking_halts(
        |mutator, old| {
            garbage(mutator);
            old
        },
        |_, _, cycle| assert!(cycle.used_bytes_after < cycle.born_bytes / 2, "{cycle:?}"),
    );
}

#[test]
fn what_is_born_and_only_in_a_root_is_kept_with_all_it_refers_to() {
    while_marking_halts(
        |mutator, _| {
            garbage(mutator);
            let list = list(mutator, 3000);
            garbage(mutator);
            list
        },
        |mutator, list, _| check_list(mutator, mutator.root(list), 3000),
    );
}

#[test]
fn what_is_born_and_only_in_an_older_object_is_kept_with_all_it_refers_to() {
    while_marking_halts(
        |mutator, old| {
            garbage(mutator);
            let before = mutator.root_count();
            let list = list(mutator, 3000);
            let young = mutator.root(list).unwrap().object().address();
            let other = make(mutator, 0, 79);
            let other = mutator.root(other).unwrap().object().address();
            let old_object = mutator.root(old).unwrap();
            mutator.write(old_object, 2, young);
            // The log is handed over more than once, and what was in it first is not in it again.
            for _ in 0..5000 {
                mutator.write(old_object, 3, other);
                mutator.write(old_object, 3, 0);
            }
            mutator.truncate_roots(before);
            garbage(mutator);
            old
        },
        |mutator, old, _| {
            let old = mutator.root(old).unwrap();
            check_list(mutator, mutator.read_reference(old, 2), 3000);
        },
    );
}
