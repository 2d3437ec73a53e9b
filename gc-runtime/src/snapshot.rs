//! What is in the heap, by type, and what holds it: for people who look for a leak.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::addr::{ObjectRef, WORD_BYTES};
use crate::core::HeapCore;
use crate::layout::{WeakSlots, for_each_bit};
use crate::model::ObjectModel;
use crate::safepoint::Mutators;
use crate::space::moving_space::MovingSpace;

/// The longest path to an example that is written out, in objects.
const PATH_OBJECTS: usize = 32;

/// Counts of everything strongly reachable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Objects.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// By type, the most bytes first.
    pub types: Vec<TypeSummary>,
}

/// The objects that [`ObjectModel::type_name`] gives the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypeSummary {
    /// The name.
    pub name: String,
    /// How many.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// What refers to them, the most references first.
    pub retainers: Vec<Retainer>,
    /// How one of them is reached: a root, types, and the slots between them.
    pub example: String,
}

/// A type of object, or kind of root, that refers to objects of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Retainer {
    /// Its name.
    pub name: String,
    /// How many references there are.
    pub references: u64,
}

impl Snapshot {
    /// The snapshot as JSON text.
    ///
    /// # Panics
    ///
    /// Never: it is made of numbers and text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and text can be written")
    }
}

/// An object that [`Heap::walk`](crate::Heap::walk) met.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkedObject {
    /// Where it was.
    pub object: ObjectRef,
    /// Its type's name.
    pub type_name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it refers to strongly, with the number of the slot's word.
    pub references: Vec<(u32, ObjectRef)>,
}

/// Who leads to an object.
#[derive(Clone, Copy, Debug)]
enum Holder {
    Root(usize),
    Slot { object: u32, slot: u32 },
}

/// A walk over everything strongly reachable, in the order in which it is met.
struct Walk<'a, M> {
    space: &'a MovingSpace<M>,
    met: HashMap<u32, Holder>,
    queue: Vec<u32>,
    /// Ephemerons whose keys have not been met: table, value's slot.
    waiting: HashMap<u32, Vec<(u32, u32)>>,
}

impl<M: ObjectModel> Walk<'_, M> {
    /// Notes a reference; its word, if it is one.
    fn meet(&mut self, value: u64, holder: Holder) -> Option<u32> {
        let word = self.space.geometry.word_of(value)?;
        if let std::collections::hash_map::Entry::Vacant(entry) = self.met.entry(word) {
            entry.insert(holder);
            self.queue.push(word);
        }
        Some(word)
    }

    fn words(&self, object: u32) -> &[AtomicU64] {
        &self.space.words()[object as usize..]
    }

    fn value(&self, object: u32, slot: u32) -> u64 {
        self.words(object)[slot as usize].load(Ordering::Relaxed)
    }

    /// The strong slots of an object, and those of ephemerons whose keys are known to live; also
    /// those that waited for this object.
    fn strong_slots(&mut self, object: u32) -> Vec<(u32, u32)> {
        let layout = self.space.layout(self.words(object));
        let mut slots = self.waiting.remove(&object).unwrap_or_default();
        let own = |slot| (object, slot);
        if !layout.has_weak_slots() {
            let all = 0..layout.words();
            layout.slots_in(&self.space.model, all, |slot| slots.push(own(slot)));
            return slots;
        }
        match layout.weak_slots() {
            WeakSlots::Range(_) => {}
            WeakSlots::Mixed { first, strong, .. } => {
                let all = 0..layout.words();
                for_each_bit(first, u64::from(strong), &all, |slot| slots.push(own(slot)));
            }
            WeakSlots::Ephemerons { first, pairs } => {
                for key in (0..pairs).map(|pair| first + 2 * pair) {
                    match self.space.geometry.word_of(self.value(object, key)) {
                        Some(word) if !self.met.contains_key(&word) => {
                            self.waiting.entry(word).or_default().push(own(key + 1));
                        }
                        _ => slots.push(own(key + 1)),
                    }
                }
            }
        }
        slots
    }

    fn type_name(&self, object: u32) -> String {
        self.space.model.type_name(MovingSpace::<M>::header(self.words(object))).into_owned()
    }

    /// How an object was reached, from the root on.
    fn path(&self, object: u32, roots: &[(String, u64)]) -> String {
        let mut steps = vec![self.type_name(object)];
        let mut at = object;
        while let Some(holder) = self.met.get(&at) {
            match *holder {
                Holder::Root(root) => {
                    steps.push(roots[root].0.clone());
                    break;
                }
                Holder::Slot { object, slot } => {
                    steps.push(format!("{}[{slot}]", self.type_name(object)));
                    at = object;
                }
            }
            if steps.len() == PATH_OBJECTS {
                steps.push("...".to_owned());
                break;
            }
        }
        steps.reverse();
        steps.join(" -> ")
    }
}

impl<M: ObjectModel> HeapCore<M> {
    /// Calls `visit` for each strongly reachable object with its strong references. The world is
    /// stopped and no cycle is running.
    fn walk_stopped<'a>(
        &'a self,
        roots: &[(String, u64)],
        mut visit: impl FnMut(&Walk<'a, M>, u32, &[(u32, u32, u32)]),
    ) -> Walk<'a, M> {
        let mut walk = Walk {
            space: &self.space,
            met: HashMap::new(),
            queue: Vec::new(),
            waiting: HashMap::new(),
        };
        for (number, (_, value)) in roots.iter().enumerate() {
            walk.meet(*value, Holder::Root(number));
        }
        let mut at = 0;
        while let Some(&object) = walk.queue.get(at) {
            at += 1;
            let mut references = Vec::new();
            for (holder, slot) in walk.strong_slots(object) {
                let value = walk.value(holder, slot);
                if let Some(target) = walk.meet(value, Holder::Slot { object: holder, slot }) {
                    references.push((holder, slot, target));
                }
            }
            visit(&walk, object, &references);
        }
        walk
    }

    /// Every strongly reachable object.
    pub(crate) fn walk_objects(&self, mutators: &Mutators<'_>) -> Vec<WalkedObject> {
        let geometry = self.space.geometry;
        let reference = |word| {
            ObjectRef::from_address(geometry.address(word)).expect("the heap is not at null")
        };
        let mut objects: Vec<WalkedObject> = Vec::new();
        let mut numbers: HashMap<u32, usize> = HashMap::new();
        self.walk_stopped(&self.all_roots(mutators), |walk, object, references| {
            numbers.insert(object, objects.len());
            let words = self.space.layout(walk.words(object)).words();
            objects.push(WalkedObject {
                object: reference(object),
                type_name: walk.type_name(object),
                bytes: u64::from(words) * WORD_BYTES as u64,
                references: Vec::new(),
            });
            for &(holder, slot, target) in references {
                // An ephemeron's value is its table's reference.
                let holder = numbers[&holder];
                objects[holder].references.push((slot, reference(target)));
            }
        });
        objects
    }

    /// Counts of every strongly reachable object.
    pub(crate) fn take_snapshot(&self, mutators: &Mutators<'_>) -> Snapshot {
        struct Counts {
            objects: u64,
            bytes: u64,
            example: u32,
            retainers: BTreeMap<String, u64>,
        }
        let roots = self.all_roots(mutators);
        let mut by_type: BTreeMap<String, Counts> = BTreeMap::new();
        let count = |example| Counts { objects: 0, bytes: 0, example, retainers: BTreeMap::new() };
        let mut snapshot = Snapshot::default();
        let walk = self.walk_stopped(&roots, |walk, object, references| {
            let bytes =
                u64::from(self.space.layout(walk.words(object)).words()) * WORD_BYTES as u64;
            let counts = by_type.entry(walk.type_name(object)).or_insert_with(|| count(object));
            counts.objects += 1;
            counts.bytes += bytes;
            snapshot.objects += 1;
            snapshot.bytes += bytes;
            for &(holder, _, target) in references {
                let of = by_type.entry(walk.type_name(target)).or_insert_with(|| count(target));
                *of.retainers.entry(walk.type_name(holder)).or_default() += 1;
            }
        });
        for (name, value) in &roots {
            if let Some(word) = self.space.geometry.word_of(*value)
                && let Some(of) = by_type.get_mut(&walk.type_name(word))
            {
                *of.retainers.entry(name.clone()).or_default() += 1;
            }
        }
        snapshot.types = by_type
            .into_iter()
            .map(|(name, counts)| {
                let mut retainers: Vec<_> = counts
                    .retainers
                    .into_iter()
                    .map(|(name, references)| Retainer { name, references })
                    .collect();
                retainers.sort_by_key(|retainer| std::cmp::Reverse(retainer.references));
                TypeSummary {
                    name,
                    objects: counts.objects,
                    bytes: counts.bytes,
                    retainers,
                    example: walk.path(counts.example, &roots),
                }
            })
            .collect();
        snapshot.types.sort_by_key(|of| std::cmp::Reverse(of.bytes));
        snapshot
    }
}

impl std::fmt::Display for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lines = format!("{} objects, {} bytes\n", self.objects, self.bytes);
        for of in &self.types {
            let _ = writeln!(lines, "{:>10} {:>12} {}", of.objects, of.bytes, of.name);
        }
        f.write_str(&lines)
    }
}
