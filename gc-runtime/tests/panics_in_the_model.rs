//! A panic in the object model: the heap is broken and says so, or the process ends with a message.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gc_runtime::{
    AttachError, Header, HeapBuilder, ObjectLayout, ObjectModel, OomCause, RootVisitor, Roots,
    VerifyError, Zeal,
};
use support::{Finish, all_ways, build, in_child, is_child};

/// Panics at the layout that is asked for when the fuse, counted down by each, is at zero.
struct Fused {
    fuse: Arc<AtomicU32>,
}

const SAFE: u32 = u32::MAX;

impl ObjectModel for Fused {
    fn layout(&self, header: Header) -> ObjectLayout {
        if self.fuse.load(Ordering::Relaxed) != SAFE
            && self.fuse.fetch_sub(1, Ordering::Relaxed) == 0
        {
            self.fuse.store(SAFE, Ordering::Relaxed);
            panic!("the object model panics, as the test wants");
        }
        let words = u32::try_from(header.first() & 0xffff).expect("16 bits");
        ObjectLayout::range(words, 1, words - 1)
    }
}

fn header(words: u64) -> Header {
    Header::one(1 << 63 | words)
}

#[test]
fn a_panic_while_marking_breaks_the_heap_and_nothing_else() {
    for (transport, delivery) in all_ways() {
        let fuse = Arc::new(AtomicU32::new(SAFE));
        let model = Fused { fuse: Arc::clone(&fuse) };
        let builder = HeapBuilder::new(model).limit_bytes(16 << 20).zeal(Zeal::default());
        let Some(heap) = build(builder, transport, delivery) else { continue };
        let mut mutator = heap.attach().unwrap();
        for _ in 0..1000 {
            let object = mutator.allocate(header(9)).unwrap();
            mutator.push_root(mutator.local(object));
        }
        // Within the thousand objects that marking asks for.
        fuse.store(500, Ordering::Relaxed);
        mutator.collect();
        assert_eq!(fuse.load(Ordering::Relaxed), SAFE, "nobody asked");
        assert_eq!(heap.attach().map(|_| ()).unwrap_err(), AttachError::Broken);
        let error = loop {
            // What is left of the buffer is still to be had.
            if let Err(error) = mutator.allocate(header(1000)) {
                break error;
            }
        };
        assert_eq!(error.cause, OomCause::Broken);
        assert_eq!(mutator.blocking(|| heap.verify()), Err(VerifyError::Unusable));
        // Nobody hangs: neither the thread nor the heap when they go.
        mutator.collect();
        drop(mutator);
        drop(heap);
    }
}

thread_local! {
    static FUSE: Cell<u32> = const { Cell::new(0) };
}

/// Panics on a thread whose fuse burns down, one for each layout.
struct Armed;

impl ObjectModel for Armed {
    fn layout(&self, header: Header) -> ObjectLayout {
        let fuse = FUSE.get();
        FUSE.set(fuse.saturating_sub(1));
        assert!(fuse != 1, "the object model panics, as the test wants");
        ObjectLayout::leaf(u32::try_from(header.first() & 0xffff).expect("16 bits"))
    }
}

#[test]
fn a_panic_at_a_mutators_safepoint_breaks_the_heap_and_reaches_the_mutator() {
    for (transport, delivery) in all_ways() {
        let builder = HeapBuilder::new(Armed).limit_bytes(16 << 20);
        let Some(heap) = build(builder, transport, delivery) else { continue };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let finish = Finish(&done);
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    heap.collect();
                }
            });
            let mut mutator = heap.attach().unwrap();
            // Objects born while marking runs are looked at by their mutator when a buffer ends.
            loop {
                // The first layout is the allocation's own.
                FUSE.set(2);
                let made = catch_unwind(AssertUnwindSafe(|| mutator.allocate(header(20)).is_ok()));
                FUSE.set(0);
                match made {
                    Ok(made) => assert!(made, "garbage only"),
                    Err(_) => break,
                }
            }
            assert_eq!(heap.attach().map(|_| ()).unwrap_err(), AttachError::Broken);
            drop(mutator);
            drop(finish);
        });
        assert_eq!(heap.verify(), Err(VerifyError::Unusable));
    }
}

/// A root table whose visit panics from some time on.
#[derive(Debug, Default)]
struct BadRoots {
    bad: AtomicBool,
}

impl Roots for BadRoots {
    fn visit(&self, _: &mut RootVisitor<'_>) {
        assert!(!self.bad.load(Ordering::Relaxed), "the roots panic, as the test wants");
    }
}

#[test]
fn a_panic_in_the_roots_of_a_blocked_thread_breaks_the_heap_and_lets_the_thread_go() {
    for (transport, delivery) in all_ways() {
        let builder = HeapBuilder::new(Armed).limit_bytes(16 << 20);
        let Some(heap) = build(builder, transport, delivery) else { continue };
        let roots = Arc::new(BadRoots::default());
        let mut mutator = heap.attach_with(Arc::clone(&roots) as Arc<dyn Roots>).unwrap();
        roots.bad.store(true, Ordering::Relaxed);
        mutator.blocking(|| heap.collect());
        assert_eq!(heap.attach().map(|_| ()).unwrap_err(), AttachError::Broken);
    }
}

#[test]
fn a_panic_while_pages_are_missing_ends_the_process_with_a_message() {
    if !is_child() {
        let end = catch_unwind(|| {
            in_child("a_panic_while_pages_are_missing_ends_the_process_with_a_message");
        });
        let message = *end.expect_err("the child ends").downcast::<String>().unwrap();
        assert!(message.contains("a panic while pages were missing"), "{message}");
        assert!(message.contains("signal: 6"), "not by abort: {message}");
        return;
    }
    let fuse = Arc::new(AtomicU32::new(SAFE));
    let builder = HeapBuilder::new(Fused { fuse: Arc::clone(&fuse) }).limit_bytes(64 << 20);
    let heap = builder.build().unwrap();
    let mut mutator = heap.attach().unwrap();
    let objects = 20_000;
    for number in 0..2 * objects {
        // Of neighbours with the same header only one is asked for.
        let words = if number % 4 == 0 { 9 } else { 11 };
        let object = mutator.allocate(header(words)).unwrap();
        if number % 2 == 0 {
            let object = mutator.local(object).unwrap();
            // Pages without references are rebuilt without asking.
            mutator.write(object, 1, object.object().address());
            mutator.push_root(Some(object));
        }
    }
    // Marking asks once for each; whoever asks after that rebuilds a page.
    fuse.store(objects + objects / 2, Ordering::Relaxed);
    mutator.collect();
    println!("{} is still running", heap.transport());
}
