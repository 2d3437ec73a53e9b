//! Objects that can be checked by looking at them.

use gc_runtime::{Local, Mutator, OutOfMemory, Record, RootIndex};

/// Data words before the numbers of the targets: the node's number and its version.
const FIRST_TARGET: u32 = 2;

/// A seeded source of numbers (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        (((self.number() >> 32) * u64::from(n)) >> 32) as u32
    }
}

/// What a look at a node found wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {number:#x}: {what}")]
pub struct Astray {
    /// The node's number as it stands in the heap.
    pub number: u64,
    /// What is wrong.
    pub what: String,
}

fn filler(number: u64, index: u32) -> u64 {
    (number ^ u64::from(index) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

/// A random shape: mostly small, now and then up to 3 MiB.
pub fn shape(random: &mut Random, huge_words: u32) -> Record {
    let refs = match random.below(40) {
        0 => random.below(600),
        1..=10 => 0,
        _ => random.below(6),
    };
    let extra = match random.below(3000) {
        0 => random.below(huge_words),
        1..=20 => random.below(3000),
        21..=300 => random.below(200),
        _ => random.below(8),
    };
    Record { refs, data_words: FIRST_TARGET + refs + extra }
}

/// Allocates a node into `root`.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`OutOfMemory`] | no room | drop something |
///
/// # Panics
///
/// If `shape` has fewer data words than [`shape`](fn@shape) gives: no room for the number, the
/// version and one word a slot.
pub fn create(
    mutator: &mut Mutator,
    root: RootIndex,
    shape: Record,
    number: u64,
) -> Result<(), OutOfMemory> {
    mutator.alloc_into(root, shape)?;
    let node = mutator.root(root).expect("just stored");
    mutator.set_word(node, 0, number);
    for index in FIRST_TARGET + shape.refs..shape.data_words {
        mutator.set_word(node, index, filler(number, index));
    }
    Ok(())
}

/// A node's number.
#[must_use]
pub fn number(mutator: &Mutator, node: Local<'_>) -> u64 {
    mutator.word(node, 0)
}

/// A node's version: how often it was changed.
#[must_use]
pub fn version(mutator: &Mutator, node: Local<'_>) -> u64 {
    mutator.word(node, 1)
}

/// Makes slot `slot` refer to `target`, and says so in the node's data.
pub fn link(mutator: &Mutator, node: Local<'_>, slot: u32, target: Option<Local<'_>>) {
    let target_number = target.map_or(0, |target| number(mutator, target));
    mutator.store(node, slot, target);
    mutator.set_word(node, FIRST_TARGET + slot, target_number);
    mutator.set_word(node, 1, version(mutator, node) + 1);
}

/// Looks at all of a node and at the numbers of its targets.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`Astray`] | the heap is not what the program made it | |
pub fn check(mutator: &Mutator, node: Local<'_>) -> Result<(), Astray> {
    let own = number(mutator, node);
    let astray = |what: String| Astray { number: own, what };
    let (refs, words) = (mutator.refs(node), mutator.data_words(node));
    if words < FIRST_TARGET + refs {
        return Err(astray(format!("{refs} slots and only {words} words")));
    }
    for slot in 0..refs {
        let expected = mutator.word(node, FIRST_TARGET + slot);
        let found = mutator.load(node, slot).map_or(0, |target| number(mutator, target));
        if found != expected {
            return Err(astray(format!("slot {slot} refers to {found:#x}, not {expected:#x}")));
        }
    }
    for index in FIRST_TARGET + refs..words {
        let (found, expected) = (mutator.word(node, index), filler(own, index));
        if found != expected {
            return Err(astray(format!(
                "word {index} of {words} is {found:#x}, not {expected:#x}"
            )));
        }
    }
    Ok(())
}

/// Checks a node and a random walk from it.
///
/// # Errors
///
/// As [`check`].
pub fn check_walk(
    mutator: &Mutator,
    start: Local<'_>,
    random: &mut Random,
    steps: u32,
) -> Result<(), Astray> {
    let mut node = start;
    for _ in 0..steps {
        check(mutator, node)?;
        let refs = mutator.refs(node);
        if refs == 0 {
            break;
        }
        match mutator.load(node, random.below(refs)) {
            Some(next) => node = next,
            None => break,
        }
    }
    Ok(())
}
