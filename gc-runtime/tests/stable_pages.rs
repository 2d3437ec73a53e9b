//! Pages of the dense prefix whose references all stay are put in place unread; what a mutator stores
//! there meanwhile is not missed.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use gc_runtime::{CycleStats, Heap, HeapBuilder, Mutator, Record, RootIndex, Verify, Zeal};
use support::{Random, on_every_transport, verify};

/// Objects that stay, eight words each: 125 pages of 4 KiB.
const OLD: u32 = 8000;
const SMALL: Record = Record { refs: 1, data_words: 6 };
const OLD_BYTES: u64 = OLD as u64 * 64;

/// Pages that are not wholly the old objects': of the table, and at both ends.
const OTHER_PAGES: u64 = 4;

fn builder() -> HeapBuilder {
    let zeal = Zeal { verify: Verify::EachCycle, ..Zeal::default() };
    Heap::builder().limit_bytes(16 << 20).zeal(zeal)
}

/// A table of objects that live from the first cycle on, so that they are the heap's dense prefix.
struct Old {
    table: RootIndex,
    scratch: RootIndex,
}

impl Old {
    fn new(mutator: &mut Mutator) -> Self {
        let table = Record { refs: OLD, data_words: 0 };
        let old = Self {
            table: mutator.alloc(table).expect("room for a table"),
            scratch: mutator.push_root(None),
        };
        for at in 0..OLD {
            old.make(mutator, u64::from(at));
            let table = mutator.root(old.table).expect("it stays");
            mutator.store(table, at, mutator.root(old.scratch));
        }
        mutator.collect();
        old
    }

    /// A new object with `value` in it, in the scratch root.
    fn make(&self, mutator: &mut Mutator, value: u64) {
        mutator.alloc_into(self.scratch, SMALL).expect("room for a small object");
        mutator.set_word(mutator.root(self.scratch).expect("just stored"), 3, value);
    }

    /// Makes an old object refer to what is in the scratch root.
    fn store(&self, mutator: &Mutator, at: u32) {
        let table = mutator.root(self.table).expect("it stays");
        let object = mutator.load(table, at).expect("they stay");
        mutator.store(object, 0, mutator.root(self.scratch));
    }

    /// What is in the object that an old object refers to.
    fn value(&self, mutator: &Mutator, at: u32) -> Option<u64> {
        let table = mutator.root(self.table).expect("it stays");
        let object = mutator.load(table, at).expect("they stay");
        assert_eq!(mutator.word(object, 3), u64::from(at), "an old object is another");
        Some(mutator.word(mutator.load(object, 0)?, 3))
    }
}

/// Makes garbage, so that what is made afterwards has to move.
fn garbage(mutator: &mut Mutator, count: u32) {
    for _ in 0..count {
        mutator.alloc_unrooted(SMALL).expect("garbage has room");
    }
}

fn last_cycle(heap: &Heap) -> CycleStats {
    *heap.stats().cycle_log.last().expect("a cycle was asked for")
}

#[test]
fn old_pages_are_read_only_where_something_on_them_refers_to_what_moves() {
    on_every_transport(builder, |heap| {
        let mutator = &mut heap.attach().expect("a sound heap");
        let old = Old::new(mutator);
        let old_pages = OLD_BYTES / uffd_move::page_size() as u64;
        // Everything moves but the old objects.
        garbage(mutator, 20_000);
        old.make(mutator, 1);
        mutator.collect();
        let quiet = last_cycle(&heap);
        assert!(quiet.flip_pause_ns > 0, "{quiet:?}");
        assert!(quiet.pages_unread + OTHER_PAGES >= old_pages, "{quiet:?}");

        // Then twenty of them, far apart, refer to something that does.
        const REFER: u32 = 20;
        for at in (0..OLD).step_by((OLD / REFER) as usize) {
            garbage(mutator, 1000);
            old.make(mutator, u64::from(at) << 8);
            old.store(mutator, at);
        }
        mutator.collect();
        let read = last_cycle(&heap);
        assert!(read.flip_pause_ns > 0, "{read:?}");
        assert!(read.pages_unread + u64::from(REFER) <= quiet.pages_unread + 1, "{read:?}");
        assert!(read.pages_unread + u64::from(REFER) + OTHER_PAGES >= old_pages, "{read:?}");
        for at in (0..OLD).step_by((OLD / REFER) as usize) {
            assert_eq!(old.value(mutator, at), Some(u64::from(at) << 8));
        }
        // Of an object of many pages, a slot on the last.
        garbage(mutator, 1000);
        old.make(mutator, u64::from(OLD - 1));
        mutator.store(
            mutator.root(old.table).expect("it stays"),
            OLD - 1,
            mutator.root(old.scratch),
        );
        mutator.collect();
        assert_eq!(old.value(mutator, OLD - 1), None);
        let sum: u64 = heap.stats().cycle_log.iter().map(|cycle| cycle.pages_unread).sum();
        assert_eq!(heap.stats().pages_unread, sum);
        verify(mutator);
    });
}

/// Cycles that have to move something while a mutator stores.
const CYCLES: u64 = 40;

#[test]
fn what_is_stored_into_old_objects_while_cycles_run_is_found_where_it_has_moved_to() {
    on_every_transport(builder, |heap| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| store_and_look(&heap, &done));
            let collecting = &mut heap.attach().expect("a sound heap");
            while heap.flips() < CYCLES {
                collecting.collect();
            }
            done.store(true, Ordering::Release);
        });
        assert!(heap.stats().pages_unread > 0, "every page was read in every cycle");
        heap.verify().expect("a sound heap");
    });
}

/// Stores into old objects, a few neighbours at a time, so that most pages have nothing that moves;
/// and looks what others of them refer to, until it is `done`.
fn store_and_look(heap: &Heap, done: &AtomicBool) {
    let mutator = &mut heap.attach().expect("a sound heap");
    let old = Old::new(mutator);
    let random = &mut Random::new(7);
    let mut expected = vec![None; OLD as usize];
    let (mut value, mut first) = (0, 0);
    while !done.load(Ordering::Acquire) {
        first = (first + 1) % OLD;
        for _ in 0..16 {
            let at = (first + random.words_below(64)) % OLD;
            garbage(mutator, random.words_below(8));
            value += 1;
            old.make(mutator, value);
            old.store(mutator, at);
            expected[at as usize] = Some(value);
            let some = random.words_below(OLD.into());
            assert_eq!(old.value(mutator, some), expected[some as usize]);
        }
    }
    for at in 0..OLD {
        assert_eq!(old.value(mutator, at), expected[at as usize]);
    }
}
