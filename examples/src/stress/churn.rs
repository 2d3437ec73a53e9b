//! One mutator's work: replace, link, unlink, look, share, wait, leave and come back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gc_runtime::{AttachError, GlobalRoot, Heap, Mutator, OutOfMemory, Record, RootIndex};

use crate::node::{Astray, Random, check, check_walk, create, link, number, shape, version};
use crate::raw::Pin;

/// Nodes in each mutator's own table.
const TABLE: u32 = 1500;
/// Nodes that all mutators share.
pub const SHARED: u32 = 256;
/// Pins one mutator holds at most.
const PINS: usize = 3;

/// Why a mutator stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The heap is not what the program made it.
    #[error("mutator {mutator}, step {step}: {source}")]
    Astray {
        /// Which mutator.
        mutator: u32,
        /// At which step.
        step: u64,
        /// What it saw.
        #[source]
        source: Astray,
    },
    /// The heap is too small for the tables.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The heap took no mutator.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// What all mutators of a run have in common.
#[derive(Debug)]
pub struct Common {
    /// The heap.
    pub heap: Heap,
    /// A record of [`SHARED`] slots.
    pub shared: GlobalRoot,
    /// Set when it is time to stop.
    pub stop: AtomicBool,
    /// Steps done by all.
    pub steps: AtomicU64,
    /// Pages were pinned this often.
    pub pins: AtomicU64,
    /// The largest object, in words.
    pub huge_words: u32,
    /// How many operations in a hundred thousand start a cycle.
    pub collects: u32,
}

/// One mutator: its table in the heap, and what it remembers outside.
struct Churn<'a> {
    common: &'a Common,
    number: u32,
    random: Random,
    table_root: GlobalRoot,
    /// Number and version that each table slot must have.
    expected: Vec<Option<(u64, u64)>>,
    next_node: u64,
    step: u64,
    pins: VecDeque<Pin>,
}

/// Works until told to stop, then looks at everything once more.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`Failure`] | the stress found something | report it with the seed |
pub fn churn(common: &Common, number: u32, seed: u64) -> Result<(), Failure> {
    let mut churn = Churn {
        common,
        number,
        random: Random::new(seed ^ u64::from(number) << 32),
        table_root: common.heap.global_root(),
        expected: vec![None; TABLE as usize],
        next_node: u64::from(number + 1) << 40,
        step: 0,
        pins: VecDeque::new(),
    };
    let mut mutator = common.heap.attach()?;
    let table = mutator.alloc(Record { refs: TABLE, data_words: 0 })?;
    mutator.set_global(&churn.table_root, mutator.root(table));
    let mut roots = Roots { table, scratch: mutator.push_root(None) };
    while !common.stop.load(Ordering::Relaxed) {
        churn.step += 1;
        if churn.step.is_multiple_of(64) {
            common.steps.fetch_add(64, Ordering::Relaxed);
        }
        if churn.random.below(20_000) == 0 {
            drop(mutator);
            std::thread::sleep(Duration::from_micros(u64::from(churn.random.below(300))));
            mutator = common.heap.attach()?;
            roots.table = mutator.push_root(mutator.global(&churn.table_root));
            roots.scratch = mutator.push_root(None);
        }
        let step = churn.one(&mut mutator, roots);
        churn.explain(step)?;
    }
    churn.pins.clear();
    for slot in 0..TABLE {
        let seen = churn.look(&mutator, roots, slot);
        churn.explain(seen)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Roots {
    table: RootIndex,
    scratch: RootIndex,
}

/// What one step may run into.
enum Trouble {
    Astray(Astray),
    Memory(OutOfMemory),
}

impl From<Astray> for Trouble {
    fn from(astray: Astray) -> Self {
        Self::Astray(astray)
    }
}

impl From<OutOfMemory> for Trouble {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error)
    }
}

impl Churn<'_> {
    fn explain(&self, step: Result<(), Trouble>) -> Result<(), Failure> {
        step.map_err(|trouble| match trouble {
            Trouble::Memory(error) => Failure::OutOfMemory(error),
            Trouble::Astray(source) => {
                Failure::Astray { mutator: self.number, step: self.step, source }
            }
        })
    }

    fn one(&mut self, mutator: &mut Mutator, roots: Roots) -> Result<(), Trouble> {
        let slot = self.random.below(TABLE);
        match self.random.below(1000) {
            0..=299 => self.replace(mutator, roots, slot)?,
            300..=649 => self.link(mutator, roots, slot),
            650..=749 => {
                let table = mutator.root(roots.table).expect("the table");
                mutator.store(table, slot, None);
                self.expected[slot as usize] = None;
            }
            750..=929 => self.look(mutator, roots, slot)?,
            930..=959 => self.share(mutator, roots)?,
            960..=994 => self.look_at_shared(mutator)?,
            995..=996 => {
                let time = Duration::from_micros(u64::from(self.random.below(200)));
                mutator.blocking(|| std::thread::sleep(time));
            }
            997 => self.pin(mutator, roots, slot),
            _ => {
                if self.random.below(200) < self.common.collects {
                    mutator.collect();
                }
            }
        }
        mutator.safepoint();
        Ok(())
    }

    fn replace(
        &mut self,
        mutator: &mut Mutator,
        roots: Roots,
        slot: u32,
    ) -> Result<(), OutOfMemory> {
        self.next_node += 1;
        let shape = shape(&mut self.random, self.common.huge_words);
        create(mutator, roots.scratch, shape, self.next_node)?;
        let node = mutator.root(roots.scratch);
        let table = mutator.root(roots.table).expect("the table");
        mutator.store(table, slot, node);
        self.expected[slot as usize] = Some((self.next_node, 0));
        mutator.set_root(roots.scratch, None);
        Ok(())
    }

    fn link(&mut self, mutator: &Mutator, roots: Roots, slot: u32) {
        let table = mutator.root(roots.table).expect("the table");
        let Some(node) = mutator.load(table, slot) else { return };
        let refs = mutator.refs(node);
        if refs == 0 {
            return;
        }
        let target = match self.random.below(8) {
            0 => None,
            1 => Some(node),
            _ => mutator.load(table, self.random.below(TABLE)),
        };
        link(mutator, node, self.random.below(refs), target);
        if let Some((_, version)) = &mut self.expected[slot as usize] {
            *version += 1;
        }
    }

    fn look(&mut self, mutator: &Mutator, roots: Roots, slot: u32) -> Result<(), Trouble> {
        let table = mutator.root(roots.table).expect("the table");
        let node = mutator.load(table, slot);
        let found = node.map(|node| (number(mutator, node), version(mutator, node)));
        let expected = self.expected[slot as usize];
        if found != expected {
            let what = format!("table slot {slot} has {found:x?}, not {expected:x?}");
            return Err(Astray { number: 0, what }.into());
        }
        if let Some(node) = node {
            check_walk(mutator, node, &mut self.random, 6)?;
        }
        Ok(())
    }

    /// Publishes a node that nobody changes any more.
    fn share(&mut self, mutator: &mut Mutator, roots: Roots) -> Result<(), Trouble> {
        self.next_node += 1;
        let shape = shape(&mut self.random, 3000);
        create(mutator, roots.scratch, shape, self.next_node)?;
        let node = mutator.root(roots.scratch).expect("just stored");
        let shared = mutator.global(&self.common.shared).expect("the shared table");
        if shape.refs > 0 {
            let target = mutator.load(shared, self.random.below(SHARED));
            link(mutator, node, self.random.below(shape.refs), target);
        }
        let slot = self.random.below(SHARED);
        if self.random.below(2) == 0 {
            mutator.store(shared, slot, Some(node));
        } else {
            let old = mutator.load(shared, slot);
            // Losing the race is fine: somebody else's node is there then.
            let _ = mutator.compare_exchange(shared, slot, old, Some(node));
        }
        mutator.set_root(roots.scratch, None);
        Ok(())
    }

    fn look_at_shared(&mut self, mutator: &Mutator) -> Result<(), Trouble> {
        let shared = mutator.global(&self.common.shared).expect("the shared table");
        if let Some(node) = mutator.load(shared, self.random.below(SHARED)) {
            check_walk(mutator, node, &mut self.random, 4)?;
        }
        Ok(())
    }

    /// Keeps a node's pages where they are for a while, as a system call would.
    fn pin(&mut self, mutator: &Mutator, roots: Roots, slot: u32) {
        let table = mutator.root(roots.table).expect("the table");
        let Some(node) = mutator.load(table, slot) else { return };
        if check(mutator, node).is_err() {
            return;
        }
        if self.pins.len() == PINS {
            self.pins.pop_front();
        }
        if let Some(pin) = Pin::new(mutator.bytes(node)) {
            self.common.pins.fetch_add(1, Ordering::Relaxed);
            self.pins.push_back(pin);
        }
    }
}
