//! What a mutator does most: allocating and storing, and what to compare it with.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use gc_runtime::{Heap, Mutator, Record, RootIndex};

use crate::error::BenchError;
use crate::raw::{Block, allocate};

/// One thing to do many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Nothing: the loop around the others.
    Loop,
    /// A store of a reference into a slot, without a barrier.
    PlainStore,
    /// The same through `Mutator::write_slot`, write barrier idle.
    BarrierStore,
    /// The same as compiled code does it.
    PublishedStore,
    /// A store of a data word into a record: checks its shape, has no barrier.
    RecordWord,
    /// A store of a reference into a record: the same checks, and the barrier.
    RecordStore,
    /// Four words from a block, header written: what allocation cannot beat.
    Bump,
    /// Four words as compiled code allocates them, header written.
    PublishedAllocate,
    /// A record of four words, header written, without a root.
    Allocate,
    /// A record of four words, and a root that holds it.
    AllocateRooted,
    /// Four words from malloc, in exchange for four that are freed.
    Malloc,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Loop,
        Self::PlainStore,
        Self::BarrierStore,
        Self::PublishedStore,
        Self::RecordWord,
        Self::RecordStore,
        Self::Bump,
        Self::PublishedAllocate,
        Self::Allocate,
        Self::AllocateRooted,
        Self::Malloc,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loop => "the loop alone",
            Self::PlainStore => "store into a slot",
            Self::BarrierStore => "store with idle barrier",
            Self::PublishedStore => "store with idle barrier, as published",
            Self::RecordWord => "checked store of a word",
            Self::RecordStore => "checked store with idle barrier",
            Self::Bump => "bump allocation",
            Self::PublishedAllocate => "heap allocation, as published",
            Self::Allocate => "heap allocation",
            Self::AllocateRooted => "heap allocation into a root",
            Self::Malloc => "malloc and free",
        }
    }
}

/// Slots that checked stores go to in turn, and blocks that malloc holds at a time.
const SLOTS: u32 = 256;

/// Four words with the header, as everywhere in this comparison.
const RECORD: Record = Record { refs: 1, data_words: 2 };
const RECORD_BYTES: usize = 32;

/// Objects of the block that bump allocation goes round in.
const BLOCK: usize = 4096;

/// What the operations work on.
#[derive(Debug)]
pub struct Bench {
    heap: Heap,
    mutator: Mutator,
    array: RootIndex,
    object: RootIndex,
    /// The header of all [`RECORD`]s.
    header: u64,
    memory: Vec<[u64; 4]>,
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
        let array = mutator.alloc(Record { refs: SLOTS, data_words: SLOTS })?;
        let object = mutator.alloc(RECORD)?;
        let header = mutator.root(object).map_or(0, |object| mutator.header(object).first());
        let boxes = (0..SLOTS).map(|_| Box::new([0; 4])).collect();
        Ok(Self {
            heap,
            mutator,
            array,
            object,
            header,
            memory: vec![[0; 4]; BLOCK],
            next: 0,
            boxes,
        })
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
            Operation::Loop => {
                for _ in 0..times {
                    black_box(());
                }
            }
            Operation::PlainStore => self.with_slot(|_, slot, value| {
                for _ in 0..times {
                    slot.store(value, Ordering::Release);
                    black_box(());
                }
            }),
            Operation::BarrierStore => self.with_slot(|mutator, slot, value| {
                for _ in 0..times {
                    mutator.write_slot(slot, value);
                    black_box(());
                }
            }),
            Operation::PublishedStore => self.with_slot(|mutator, slot, value| {
                let block = Block::of(mutator);
                for _ in 0..times {
                    block.store(slot, value, || mutator.write_slot(slot, value));
                    black_box(());
                }
            }),
            Operation::RecordWord => {
                let array = self.mutator.root(self.array).expect("it lives as long as the bench");
                for n in 0..times {
                    self.mutator.set_word(array, n % SLOTS, u64::from(n));
                    black_box(());
                }
            }
            Operation::RecordStore => {
                let array = self.mutator.root(self.array).expect("it lives as long as the bench");
                let value = black_box(self.mutator.root(self.object));
                for n in 0..times {
                    self.mutator.store(array, n % SLOTS, value);
                    black_box(());
                }
            }
            Operation::Bump => {
                for _ in 0..times {
                    self.next = if self.next == BLOCK { 0 } else { self.next };
                    let object = black_box(&mut self.memory[self.next]);
                    *object = [black_box(1), 0, 0, 0];
                    self.next += 1;
                }
            }
            Operation::PublishedAllocate => {
                let header = self.header;
                let mut left = times;
                while left > 0 {
                    left = allocate::<RECORD_BYTES>(&mut self.mutator, header, left);
                    if left > 0 {
                        self.mutator.alloc_unrooted(RECORD)?;
                        left -= 1;
                    }
                }
            }
            Operation::Allocate => {
                for _ in 0..times {
                    self.mutator.alloc_unrooted(RECORD)?;
                    black_box(());
                }
            }
            Operation::AllocateRooted => {
                for _ in 0..times {
                    self.mutator.alloc_into(self.object, RECORD)?;
                    black_box(());
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

    /// A slot of the array, and a reference to store there.
    fn with_slot(&self, store: impl FnOnce(&Mutator, &AtomicU64, u64)) {
        let mutator = &self.mutator;
        let array = mutator.root(self.array).expect("it lives as long as the bench");
        let value = black_box(mutator.root_value(self.object));
        store(mutator, mutator.raw_word(array, 1), value);
    }
}
