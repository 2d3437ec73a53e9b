//! All interleavings of the collector's last portions with mutators that come to help: a round must
//! not end while somebody still has a grey object.

use loom::sync::Arc;
use loom::thread;

use super::*;

/// What the round has to scan: an entry above zero leads to one that is less by one.
const GREY: [u32; 2] = [1, 1];
const OBJECTS: usize = 4;

#[derive(Default)]
struct World {
    sharing: Sharing,
    scanned: AtomicUsize,
    /// The round is over.
    over: AtomicBool,
}

impl World {
    fn scan(&self, list: &mut Worklist<'_>) -> bool {
        let Some(entry) = list.pop() else { return false };
        assert!(!self.over.load(Ordering::SeqCst), "scanned after the round");
        self.scanned.fetch_add(1, Ordering::Relaxed);
        if entry > 0 {
            list.push(entry - 1);
        }
        true
    }

    /// A thread of the collector.
    fn trace(&self, grey: &[u32]) {
        let mut list = Worklist::new(&self.sharing);
        grey.iter().for_each(|&entry| list.push(entry));
        self.sharing.let_helpers_in();
        loop {
            list.share();
            while self.scan(&mut list) {}
            if !list.take() && !list.wait_for_work(|| false) {
                break;
            }
        }
        self.over.store(true, Ordering::SeqCst);
        assert_eq!(self.scanned.load(Ordering::Relaxed), OBJECTS);
        assert!(self.sharing.portions.take().is_none());
    }

    /// A mutator, which scans one object and leaves the rest.
    fn help(&self) {
        let Some(_pass) = self.sharing.enter() else { return };
        let mut list = Worklist::new(&self.sharing);
        if list.take() {
            // It takes its time: whatever others do meanwhile costs the model no preemption.
            thread::yield_now();
            self.scan(&mut list);
            list.leave();
        }
    }
}

/// A round of so many threads and helpers.
fn round(threads: usize, helpers: usize) {
    let mut model = loom::model::Builder::new();
    // Threads that wait for each other look again and again.
    model.max_branches = 100_000;
    model.check(move || {
        let world = Arc::new(World::default());
        world.sharing.begin(threads);
        // All by themselves: which of them begins is no preemption.
        let spawn = |work: fn(&World)| {
            let world = Arc::clone(&world);
            thread::spawn(move || work(&world))
        };
        let first = spawn(|world| world.trace(&GREY));
        let others = (1..threads).map(|_| spawn(|world| world.trace(&[])));
        let helpers = (0..helpers).map(|_| spawn(World::help));
        let all: Vec<_> = [first].into_iter().chain(others).chain(helpers).collect();
        all.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_round_of_one_thread_ends_after_what_helpers_leave() {
    round(1, 1);
}

#[test]
fn a_round_of_one_thread_has_one_helper_at_a_time() {
    round(1, 2);
}

#[test]
fn a_round_of_two_threads_ends_for_both() {
    round(2, 0);
}
