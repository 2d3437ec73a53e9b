//! What a mutator does most: allocating and storing, and what to compare it with.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use gc_runtime::{Heap, Mutator, Record, RootIndex};

use crate::error::BenchError;

/// One thing to do many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A plain store of a word into an array.
    PlainStore,
    /// A store of a reference into a slot of a record, write barrier idle.
    BarrierStore,
    /// Four words from a block, header written: what allocation cannot beat.
    Bump,
    /// A record of four words, and a root that holds it.
    Allocate,
    /// Four words from malloc, in exchange for four that are freed.
    Malloc,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::PlainStore, Self::BarrierStore, Self::Bump, Self::Allocate, Self::Malloc];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlainStore => "plain store",
            Self::BarrierStore => "store with idle barrier",
            Self::Bump => "bump allocation",
            Self::Allocate => "heap allocation",
            Self::Malloc => "malloc and free",
        }
    }
}

/// Slots that stores go to in turn, and blocks that malloc holds at a time.
const SLOTS: u32 = 256;

/// Four words with the header, as everywhere in this comparison.
const RECORD: Record = Record { refs: 1, data_words: 2 };

/// Objects of the block that bump allocation goes round in.
const BLOCK: usize = 4096;

/// What the operations work on.
#[derive(Debug)]
pub struct Bench {
    heap: Heap,
    mutator: Mutator,
    array: RootIndex,
    object: RootIndex,
    plain: Vec<AtomicU64>,
    block: Vec<[u64; 4]>,
    next: usize,
    #[expect(
        clippy::vec_box,
        reason = "each is a block of its own from malloc: that is the point"
    )]
    boxes: Vec<Box<[u64; 4]>>,
}

impl Bench {
    /// A heap large enough that no cycle runs while a turn is measured, and the other things.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | any | the heap could not be built | see the reason |
    pub fn new() -> Result<Self, BenchError> {
        let heap = Heap::builder().limit_bytes(256 << 20).build()?;
        let mut mutator = heap.attach()?;
        let array = mutator.alloc(Record { refs: SLOTS, data_words: 0 })?;
        let object = mutator.alloc(RECORD)?;
        let plain = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        let boxes = (0..SLOTS).map(|_| Box::new([0; 4])).collect();
        Ok(Self { heap, mutator, array, object, plain, block: vec![[0; 4]; BLOCK], next: 0, boxes })
    }

    /// Empties the heap, so that the next turn finds memory that is there.
    pub fn collect(&mut self) {
        self.mutator.collect();
    }

    /// Cycles so far.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.heap.stats().cycles
    }

    /// Does `operation` so many times.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::OutOfMemory`] | the heap is full of what should be garbage | the heap is broken |
    ///
    /// # Panics
    ///
    /// If a root has lost its object.
    pub fn run(&mut self, operation: Operation, times: u32) -> Result<(), BenchError> {
        match operation {
            Operation::PlainStore => {
                let value = black_box(8);
                for n in 0..times {
                    self.plain[(n % SLOTS) as usize].store(value, Ordering::Release);
                }
            }
            Operation::BarrierStore => {
                let mutator = &self.mutator;
                let array = mutator.root(self.array).expect("it lives as long as the bench");
                let value = black_box(mutator.root(self.object));
                for n in 0..times {
                    mutator.store(array, n % SLOTS, value);
                }
            }
            Operation::Bump => {
                for _ in 0..times {
                    self.next = if self.next == BLOCK { 0 } else { self.next };
                    let object = black_box(&mut self.block[self.next]);
                    *object = [black_box(1), 0, 0, 0];
                    self.next += 1;
                }
            }
            Operation::Allocate => {
                for _ in 0..times {
                    self.mutator.alloc_into(self.object, RECORD)?;
                }
            }
            Operation::Malloc => {
                for n in 0..times {
                    self.boxes[(n % SLOTS) as usize] = black_box(Box::new([u64::from(n), 0, 0, 0]));
                }
            }
        }
        Ok(())
    }
}
