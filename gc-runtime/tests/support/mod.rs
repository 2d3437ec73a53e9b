//! What the integration tests share: heaps on every transport, and random graphs.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]
#![allow(clippy::cast_possible_truncation, reason = "random numbers below small bounds")]

pub mod group;
pub mod memory;
pub mod shapes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gc_runtime::{
    BuildError, FaultDelivery, GraphDigest, Heap, HeapBuilder, Local, Mutator, ObjectModel, Record,
    RootIndex, Transport, TransportChoice,
};

/// Longer than what is waited for takes; only a test that fails waits so long.
pub const FOR_EVER: Duration = Duration::from_secs(120);

/// A small, fast, seeded source of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(n)) >> 64).expect("below n")
    }

    /// A number of words or slots below `n`.
    pub fn words_below(&mut self, n: u64) -> u32 {
        u32::try_from(self.below(n)).expect("below a number of words")
    }
}

/// Each transport with each way to deliver faults that it has.
pub fn all_ways() -> Vec<(Transport, FaultDelivery)> {
    let mut ways = Vec::new();
    for transport in Transport::ALL {
        ways.push((transport, FaultDelivery::Signal));
        if !matches!(transport, Transport::Mprotect | Transport::Stw) {
            ways.push((transport, FaultDelivery::HandlerThread));
        }
    }
    ways
}

/// Builds a heap, or says aloud why this kernel cannot.
pub fn build<M: ObjectModel>(
    builder: HeapBuilder<M>,
    transport: Transport,
    delivery: FaultDelivery,
) -> Option<Heap<M>> {
    let choice = TransportChoice::Only(transport);
    match builder.transport(choice).fault_delivery(delivery).build() {
        Ok(heap) => Some(heap),
        Err(BuildError::NoTransport { transport, reason }) => {
            eprintln!("skipped: {transport} by {delivery:?}: {reason}");
            assert!(
                std::env::var_os("UFFD_MOVE_REQUIRED").is_none_or(|value| value != "1"),
                "UFFD_MOVE_REQUIRED=1, and {transport} is missing: {reason}"
            );
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Runs `test` on every transport and delivery.
pub fn in_all_ways<M: ObjectModel>(builder: impl Fn() -> HeapBuilder<M>, test: impl Fn(Heap<M>)) {
    for (transport, delivery) in all_ways() {
        if let Some(heap) = build(builder(), transport, delivery) {
            eprintln!("-- {transport} by {delivery:?}");
            test(heap);
        }
    }
}

/// Runs `test` on every transport and delivery, and on the floor that they are measured against.
pub fn on_every_transport(builder: impl Fn() -> HeapBuilder, test: impl Fn(Heap)) {
    in_all_ways(&builder, &test);
    eprintln!("-- floor");
    test(builder().transport(TransportChoice::Floor).build().expect("the floor needs nothing"));
}

/// A shape from 16 bytes to `max_words`, small ones more often.
pub fn random_shape(random: &mut Random, max_words: u64) -> Record {
    let words = match random.below(100) {
        0 => 2 + random.words_below(max_words),
        1..=5 => 2 + random.words_below(2000.min(max_words)),
        6..=20 => 2 + random.words_below(100),
        _ => 1 + random.words_below(10),
    };
    let refs = match random.below(3) {
        0 => 0,
        1 => words.min(random.words_below(8)),
        _ => random.words_below(u64::from(words) + 1).min(4000),
    };
    Record { refs, data_words: words - refs }
}

/// Fills an object's data with numbers that depend on `seed`.
pub fn fill(mutator: &Mutator, object: Local<'_>, seed: u64) {
    let mut random = Random::new(seed);
    for word in mutator.words(object) {
        word.store(random.next(), Ordering::Relaxed);
    }
}

/// Builds a random graph whose nodes hang on `nodes` roots, and returns the roots.
///
/// References go anywhere: cycles and self references included.
pub fn random_graph(
    mutator: &mut Mutator,
    random: &mut Random,
    nodes: usize,
    max_words: u64,
) -> Vec<RootIndex> {
    let roots: Vec<RootIndex> = (0..nodes)
        .map(|number| {
            let shape = random_shape(random, max_words);
            let root = mutator.alloc(shape).expect("room for the graph");
            fill(mutator, mutator.root(root).expect("just stored"), number as u64);
            root
        })
        .collect();
    for &root in &roots {
        let object = mutator.root(root).expect("a node");
        for slot in 0..mutator.refs(object) {
            if random.below(4) != 0 {
                let target = roots[random.words_below(nodes as u64) as usize];
                mutator.store(object, slot, mutator.root(target));
            }
        }
    }
    roots
}

/// Tells the other threads of a test to end, also when the test fails.
#[derive(Debug)]
pub struct Finish<'a>(pub &'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The digest of a heap that the calling thread is a mutator of.
pub fn digest(mutator: &mut Mutator) -> GraphDigest {
    let heap = mutator.heap().clone();
    mutator.blocking(|| heap.graph_digest()).expect("a sound heap")
}

/// Verifies a heap that the calling thread is a mutator of.
pub fn verify(mutator: &mut Mutator) {
    let heap = mutator.heap().clone();
    mutator.blocking(|| heap.verify()).expect("a sound heap");
}

/// A list in the heap whose nodes count down from the head's number: easy to check whole.
pub fn counted_list(mutator: &mut Mutator, len: u64, data_words: u32) -> RootIndex {
    let list = mutator.push_root(None);
    let node = mutator.push_root(None);
    for number in 0..len {
        let shape = Record { refs: 1, data_words };
        mutator.alloc_into(node, shape).expect("room for a list");
        let new = mutator.root(node).expect("just stored");
        mutator.store(new, 0, mutator.root(list));
        for word in mutator.words(new) {
            word.store(number, Ordering::Relaxed);
        }
        mutator.set_root(list, Some(new));
    }
    mutator.set_root(node, None);
    list
}

/// Checks a [`counted_list`].
pub fn check_counted_list(mutator: &Mutator, list: Option<Local<'_>>, len: u64) {
    let (mut node, mut number) = (list, len);
    while let Some(current) = node {
        number = number.checked_sub(1).expect("no more nodes than were made");
        for word in mutator.words(current) {
            assert_eq!(word.load(Ordering::Relaxed), number);
        }
        node = mutator.load(current, 0);
    }
    assert_eq!(number, 0, "nodes are missing");
}

/// Set in processes that a test has started from its own binary.
const CHILD: &str = "GC_RUNTIME_TEST_CHILD";

/// Whether this process was started by [`in_child`].
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one test of this binary in a process of its own, and passes on what it has to say: its
/// standard error, and what it has skipped.
///
/// The test is expected to do nothing unless [`is_child`].
pub fn in_child(test: &str) {
    let binary = std::env::current_exe().expect("the test's own binary");
    let child = std::process::Command::new(binary)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(CHILD, "1")
        .output()
        .expect("the test's binary can be started");
    let stdout = String::from_utf8_lossy(&child.stdout);
    let stderr = String::from_utf8_lossy(&child.stderr);
    eprintln!("{stderr}");
    // Whoever counts tests looks for these; the harness may have begun the line.
    for reason in stdout.lines().filter_map(|line| line.split_once("skipped: ")) {
        println!("skipped: {}", reason.1);
    }
    assert!(child.status.success(), "{test}: {}\n{stdout}\n{stderr}", child.status);
    assert!(stdout.contains("1 passed"), "{test} did not run:\n{stdout}");
}

/// Tests that run in a process of their own each: its name, that of the test that the child runs, and
/// what it does there.
macro_rules! in_a_process_of_its_own {
    ($($name:ident, $child:ident: $body:expr;)*) => {$(
        #[test]
        fn $child() {
            if $crate::support::is_child() {
                $body
            }
        }

        #[test]
        fn $name() {
            $crate::support::in_child(stringify!($child));
        }
    )*};
}
pub(crate) use in_a_process_of_its_own;
