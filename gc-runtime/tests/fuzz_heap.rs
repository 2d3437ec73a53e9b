//! Random operation sequences on heaps of every transport, against a model.
#![allow(unsafe_code, reason = "fork is one of the operations")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arbitrary::{Arbitrary, Unstructured};
use gc_runtime::{
    Fork, GlobalRoot, Growth, Heap, Local, Mutator, OomCause, Poison, Record, RootIndex, Verify,
    Zeal,
};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use support::{Finish, all_ways, build};

/// Roots that each thread has.
const ROOTS: usize = 16;

/// Times that a reference goes into the heap and out of it in one step.
const JUGGLES: u32 = 300;

/// Threads of a case.
const THREADS: usize = 3;

/// Pages of a heap, beyond what every thread's live data need.
const LIMIT_MIB: usize = 12;

/// The most data words of an object.
const MAX_WORDS: u32 = 12_000;

/// One step of a thread. Numbers are taken modulo what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    Alloc { root: u8, refs: u8, words: u8 },
    AllocLarge { root: u8, words: u16 },
    Garbage { count: u8, words: u8 },
    Link { from: u8, slot: u8, to: u8 },
    Cut { from: u8, slot: u8 },
    Write { root: u8, word: u16, value: u64 },
    Follow { root: u8, slot: u8, into: u8 },
    Drop { root: u8 },
    Juggle { from: u8, slot: u8, root: u8 },
    ToGlobal { root: u8 },
    FromGlobal { global: u8, root: u8 },
    Reattach,
    Collect,
    Suggest,
    Safepoint,
    Block { micros: u8 },
    Check { root: u8 },
    CheckAll,
    Fork,
    SetLimit { mib: u8 },
}

/// What one run is like.
#[derive(Clone, Debug)]
struct Case {
    way: u8,
    fork: Fork,
    growth: Growth,
    zeal: Zeal,
    collectors: usize,
    restless: bool,
    threads: Vec<Vec<Op>>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let count = u.int_in_range(1..=THREADS)?;
        let mut case = Self {
            way: u.arbitrary()?,
            fork: if u.ratio(1, 4)? { Fork::Inherit } else { Fork::Exclude },
            growth: if u.ratio(1, 4)? { Growth::Adaptive } else { Growth::Whole },
            zeal: Zeal {
                verify: if u.arbitrary()? { Verify::EachCycle } else { Verify::Off },
                poison: if u.arbitrary()? { Poison::FreeMemory } else { Poison::Off },
                every_refills: if u.ratio(1, 3)? { u.int_in_range(1..=9)? } else { 0 },
            },
            collectors: u.int_in_range(1..=2)?,
            restless: u.arbitrary()?,
            threads: vec![Vec::new(); count],
        };
        while !u.is_empty() {
            let thread = u.int_in_range(0..=count - 1)?;
            case.threads[thread].push(u.arbitrary()?);
        }
        Ok(case)
    }
}

/// A node of the model.
#[derive(Clone, Debug)]
struct Node {
    refs: Vec<Option<usize>>,
    words: Vec<u64>,
}

impl Node {
    fn bytes(&self) -> usize {
        (1 + self.refs.len() + self.words.len()) * 8
    }
}

/// A thread with its model. Nothing it holds is shared with other threads.
struct Player<'h> {
    heap: &'h Heap,
    mutator: Option<Mutator>,
    alone: bool,
    limit_moves: bool,
    nodes: Vec<Node>,
    roots: [Option<usize>; ROOTS],
    handles: Vec<RootIndex>,
    scratch: Option<RootIndex>,
    globals: Vec<(GlobalRoot, Option<usize>)>,
    written: u64,
}

impl<'h> Player<'h> {
    fn new(heap: &'h Heap, case: &Case) -> Self {
        let moves = |op: &Op| matches!(op, Op::SetLimit { .. });
        let mut player = Self {
            heap,
            mutator: None,
            alone: case.threads.len() == 1,
            limit_moves: case.threads.iter().flatten().any(moves),
            nodes: Vec::new(),
            roots: [None; ROOTS],
            handles: Vec::new(),
            scratch: None,
            globals: Vec::new(),
            written: 0,
        };
        player.attach();
        player
    }

    fn attach(&mut self) {
        let mutator = self.heap.attach().expect("a mutator");
        self.handles = (0..ROOTS).map(|_| mutator.push_root(None)).collect();
        self.scratch = Some(mutator.push_root(None));
        self.mutator = Some(mutator);
    }

    fn mutator(&mut self) -> &mut Mutator {
        self.mutator.as_mut().expect("attached")
    }

    fn object(&self, root: usize) -> Option<Local<'_>> {
        self.mutator.as_ref().expect("attached").root(self.handles[root])
    }

    /// Data that no other node has.
    fn fresh_words(&mut self, count: u32) -> Vec<u64> {
        let first = self.written;
        self.written += u64::from(count);
        // Odd: no word looks like a reference.
        (first..self.written).map(|number| number << 1 | 1).collect()
    }

    fn alloc(&mut self, root: usize, refs: u32, words: u32) {
        let (handle, shape) = (self.handles[root], Record { refs, data_words: words });
        match self.mutator().alloc_into(handle, shape) {
            Ok(()) => {
                let words = self.fresh_words(words);
                let object = self.object(root).expect("just stored");
                let mutator = self.mutator.as_ref().expect("attached");
                for (word, &value) in mutator.words(object).iter().zip(&words) {
                    assert_eq!(word.load(Ordering::Relaxed), 0, "new memory is not zero");
                    word.store(value, Ordering::Relaxed);
                }
                self.roots[root] = Some(self.nodes.len());
                self.nodes.push(Node { refs: vec![None; refs as usize], words });
            }
            Err(error) => {
                assert!(
                    matches!(
                        error.cause,
                        OomCause::Full | OomCause::TooLarge | OomCause::Container
                    ),
                    "{error}"
                );
                if self.alone && !self.limit_moves {
                    let needed = self.live_bytes()
                        + 2 * usize::try_from(shape.words()).unwrap() * 8
                        + (2 << 20);
                    assert!(needed > LIMIT_MIB << 20, "{error}, and {needed} bytes are needed");
                }
            }
        }
    }

    fn live_bytes(&self) -> usize {
        let mut seen = HashSet::new();
        let globals = self.globals.iter().filter_map(|(_, node)| *node);
        let mut grey: Vec<usize> = self.roots.iter().flatten().copied().chain(globals).collect();
        let mut bytes = 0;
        while let Some(node) = grey.pop() {
            if seen.insert(node) {
                bytes += self.nodes[node].bytes();
                grey.extend(self.nodes[node].refs.iter().flatten());
            }
        }
        bytes
    }

    /// Walks the graph and the model side by side: same shape, same data, same identity.
    fn check(&self, start: Option<Local<'_>>, model: Option<usize>) {
        let mutator = self.mutator.as_ref().expect("attached");
        let mut places: HashMap<usize, u64> = HashMap::new();
        let mut taken = HashSet::new();
        let mut grey = vec![(start, model)];
        while let Some((object, model)) = grey.pop() {
            let (object, model) = match (object, model) {
                (None, None) => continue,
                (Some(object), Some(model)) => (object, model),
                (object, model) => panic!("{object:?} in the heap, {model:?} in the model"),
            };
            let address = object.object().address();
            if let Some(&known) = places.get(&model) {
                assert_eq!(address, known, "one node in two places");
                continue;
            }
            assert!(taken.insert(address), "two nodes in one place");
            places.insert(model, address);
            let node = &self.nodes[model];
            assert_eq!(mutator.refs(object) as usize, node.refs.len());
            let words = mutator.words(object);
            assert_eq!(words.len(), node.words.len());
            for (word, &value) in words.iter().zip(&node.words) {
                assert_eq!(word.load(Ordering::Relaxed), value, "a word of node {model}");
            }
            for (slot, &target) in (0..).zip(&node.refs) {
                grey.push((mutator.load(object, slot), target));
            }
        }
    }

    fn check_all(&self) {
        for (root, &model) in self.roots.iter().enumerate() {
            self.check(self.object(root), model);
        }
        for (global, model) in &self.globals {
            self.check(self.mutator.as_ref().expect("attached").global(global), *model);
        }
    }

    /// All roots wait in global ones while the thread is away.
    fn reattach(&mut self) {
        let mutator = self.mutator.take().expect("attached");
        let kept: Vec<GlobalRoot> = self
            .handles
            .iter()
            .map(|&handle| {
                let global = self.heap.global_root();
                mutator.set_global(&global, mutator.root(handle));
                global
            })
            .collect();
        drop(mutator);
        self.attach();
        let mutator = self.mutator.as_ref().expect("attached");
        for (&handle, global) in self.handles.iter().zip(&kept) {
            mutator.set_root(handle, mutator.global(global));
        }
    }

    fn step(&mut self, op: Op) {
        let root = |number: u8| usize::from(number) % ROOTS;
        match op {
            Op::Alloc { root: at, refs, words } => {
                self.alloc(root(at), u32::from(refs % 12), u32::from(words) % 60 + 1);
            }
            Op::AllocLarge { root: at, words } => {
                self.alloc(root(at), 3, u32::from(words) % MAX_WORDS + 1);
            }
            Op::Garbage { count, words } => {
                let scratch = self.scratch.expect("attached");
                for _ in 0..u32::from(count) * 4 {
                    let shape = Record { refs: 1, data_words: u32::from(words) + 1 };
                    if self.mutator().alloc_into(scratch, shape).is_err() {
                        break;
                    }
                }
                self.mutator().set_root(scratch, None);
            }
            Op::Link { from, slot, to } => self.store(root(from), slot, Some(root(to))),
            Op::Cut { from, slot } => self.store(root(from), slot, None),
            Op::Write { root: at, word, value } => {
                let at = root(at);
                let Some(node) = self.roots[at] else { return };
                let word = usize::from(word) % self.nodes[node].words.len();
                self.nodes[node].words[word] = value | 1;
                let object = self.object(at).expect("as in the model");
                let mutator = self.mutator.as_ref().expect("attached");
                mutator.words(object)[word].store(value | 1, Ordering::Relaxed);
            }
            Op::Follow { root: at, slot, into } => {
                let (at, into) = (root(at), root(into));
                let Some(node) = self.roots[at] else { return };
                let Some(slot) = self.slot(node, slot) else { return };
                let object = self.object(at).expect("as in the model");
                let mutator = self.mutator.as_ref().expect("attached");
                mutator.set_root(self.handles[into], mutator.load(object, slot));
                self.roots[into] = self.nodes[node].refs[slot as usize];
            }
            Op::Drop { root: at } => {
                self.roots[root(at)] = None;
                let handle = self.handles[root(at)];
                self.mutator().set_root(handle, None);
            }
            Op::Juggle { from, slot, root: at } => {
                // The only reference goes into the heap before a root scan and out of it after, again
                // and again: what only the write barrier can tell marking of.
                for _ in 0..JUGGLES {
                    self.step(Op::Link { from, slot, to: at });
                    self.step(Op::Drop { root: at });
                    self.step(Op::Safepoint);
                    self.step(Op::Follow { root: from, slot, into: at });
                    self.step(Op::Cut { from, slot });
                    self.step(Op::Safepoint);
                }
            }
            Op::ToGlobal { root: at } => {
                let global = self.heap.global_root();
                let mutator = self.mutator.as_ref().expect("attached");
                mutator.set_global(&global, self.object(root(at)));
                self.globals.push((global, self.roots[root(at)]));
                if self.globals.len() > ROOTS {
                    self.globals.remove(0);
                }
            }
            Op::FromGlobal { global, root: at } => {
                if self.globals.is_empty() {
                    return;
                }
                let (global, model) = &self.globals[usize::from(global) % self.globals.len()];
                let mutator = self.mutator.as_ref().expect("attached");
                mutator.set_root(self.handles[root(at)], mutator.global(global));
                self.roots[root(at)] = *model;
            }
            Op::Reattach => self.reattach(),
            Op::Collect => self.mutator().collect(),
            Op::Suggest => {
                // Asks, and goes on without waiting for the end: faults come now.
                let heap = self.heap.clone();
                self.mutator().blocking(|| {
                    let before = heap.flips();
                    let asked = std::thread::spawn({
                        let heap = heap.clone();
                        move || heap.collect()
                    });
                    while heap.flips() == before && !asked.is_finished() {
                        std::thread::yield_now();
                    }
                });
            }
            Op::Safepoint => self.mutator().safepoint(),
            Op::Block { micros } => {
                let time = std::time::Duration::from_micros(u64::from(micros));
                self.mutator().blocking(|| std::thread::sleep(time));
            }
            Op::Check { root: at } => self.check(self.object(root(at)), self.roots[root(at)]),
            Op::CheckAll => self.check_all(),
            Op::Fork => fork_and_end(),
            Op::SetLimit { mib } => {
                let mib = usize::from(mib) % LIMIT_MIB + 1;
                self.heap.set_limit_bytes(mib << 20).expect("in range");
            }
        }
    }

    fn slot(&self, node: usize, slot: u8) -> Option<u32> {
        let slots = u32::try_from(self.nodes[node].refs.len()).expect("few");
        (slots > 0).then(|| u32::from(slot) % slots)
    }

    fn store(&mut self, from: usize, slot: u8, to: Option<usize>) {
        let Some(node) = self.roots[from] else { return };
        let Some(slot) = self.slot(node, slot) else { return };
        self.nodes[node].refs[slot as usize] = to.and_then(|to| self.roots[to]);
        let object = self.object(from).expect("as in the model");
        let target = to.and_then(|to| self.object(to));
        self.mutator.as_ref().expect("attached").store(object, slot, target);
    }
}

/// A child that ends at once: its parent's pages are shared for a moment.
fn fork_and_end() {
    // SAFETY: the child only ends.
    match unsafe { fork() } {
        // SAFETY: ends the child without running the parent's exit handlers.
        Ok(ForkResult::Child) => unsafe { libc::_exit(0) },
        Ok(ForkResult::Parent { child }) => {
            waitpid(child, None).expect("the child's end");
        }
        // No more processes are to be had.
        Err(_) => {}
    }
}

fn play(case: &Case) {
    let ways = all_ways();
    let (transport, delivery) = ways[usize::from(case.way) % ways.len()];
    let builder = Heap::builder()
        .limit_bytes(LIMIT_MIB << 20)
        .collector_threads(case.collectors)
        .growth(case.growth)
        .fork(case.fork)
        .zeal(case.zeal);
    let Some(heap) = build(builder, transport, delivery) else { return };
    let (done, playing) = (AtomicBool::new(false), AtomicUsize::new(case.threads.len()));
    std::thread::scope(|scope| {
        let (heap, done, playing) = (&heap, &done, &playing);
        if case.restless {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    heap.collect();
                }
            });
        }
        for ops in &case.threads {
            scope.spawn(move || {
                // The last one to end lets the collector rest, also if it panics.
                struct Last<'a>(&'a AtomicUsize, &'a AtomicBool);
                impl Drop for Last<'_> {
                    fn drop(&mut self) {
                        if self.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                            drop(Finish(self.1));
                        }
                    }
                }
                let _last = Last(playing, done);
                let mut player = Player::new(heap, case);
                for &op in ops {
                    player.step(op);
                }
                player.check_all();
                player.mutator().collect();
                player.check_all();
            });
        }
    });
    heap.verify().expect("a sound heap");
}

#[test]
fn operation_sequences_do_what_the_model_says() {
    fuzz::run("heap", 40, play);
}
