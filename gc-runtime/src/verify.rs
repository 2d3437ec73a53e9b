//! Walking the whole heap in a pause: is it sound, and what graph is it?

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;

use crate::addr::PageIndex;
use crate::core::HeapCore;
use crate::error::VerifyError;
use crate::mark::live_bitmap::{LiveBitmap, Writers};
use crate::model::ObjectModel;
use crate::safepoint::{MutatorCore, Mutators};
use crate::snapshot::{Snapshot, WalkedObject};

/// What a verification walked over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Objects reachable from the roots.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// References that are not null, roots included.
    pub references: u64,
}

/// The reachable graph in a form that moving objects does not change.
///
/// Two digests are equal if roots, shapes, references and data are; addresses play no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphDigest {
    /// Objects reachable from the roots.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// A hash over all of them, in the order in which a walk from the roots meets them.
    pub hash: u64,
}

/// What a pause is asked to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Verify,
    Digest,
    Snapshot,
    Walk,
}

/// What it found.
#[derive(Clone, Debug)]
pub(crate) enum CheckResult {
    Verified(Result<VerifyReport, VerifyError>),
    Digested(GraphDigest),
    Snapshot(Snapshot),
    Walked(Vec<WalkedObject>),
}

impl<M: ObjectModel> HeapCore<M> {
    /// Runs a check. The world is stopped and no cycle is running.
    pub(crate) fn check(&self, mutators: &Mutators<'_>, check: Check) -> CheckResult {
        match check {
            Check::Verify => CheckResult::Verified(self.verify_stopped(mutators)),
            Check::Digest => CheckResult::Digested(self.digest_stopped(mutators)),
            Check::Snapshot => CheckResult::Snapshot(self.take_snapshot(mutators)),
            Check::Walk => CheckResult::Walked(self.walk_objects(mutators)),
        }
    }

    pub(crate) fn all_roots(&self, mutators: &Mutators<'_>) -> Vec<(String, u64)> {
        let global = self.globals.collect();
        let global = global.into_iter().map(|value| ("a global root".to_owned(), value));
        let own = mutators.iter().enumerate().flat_map(
            |(number, mutator): (_, &std::sync::Arc<MutatorCore>)| {
                let roots = mutator.collect_roots();
                roots.into_iter().map(move |value| (format!("a root of mutator {number}"), value))
            },
        );
        let ready = self.references.finalisers.roots().into_iter();
        let ready = ready.map(|value| ("the queue of finalisers".to_owned(), value));
        let pinned = self.fixed.pins.roots().into_iter();
        let pinned = pinned.map(|value| ("a pin".to_owned(), value));
        global.chain(own).chain(ready).chain(pinned).collect()
    }

    fn verify_stopped(&self, mutators: &Mutators<'_>) -> Result<VerifyReport, VerifyError> {
        let space = &self.space;
        let geometry = space.geometry;
        let words = space.words();
        let used = geometry.page_start(PageIndex(space.allocation.lock().top.min(geometry.pages)));
        let bitmap = || LiveBitmap::new(geometry.words).map_err(|_| VerifyError::Unusable);
        let (starts, extents) = (bitmap()?, bitmap()?);
        let mut report = VerifyReport::default();
        let mut grey: Vec<u32> = Vec::new();
        let mut visit = |holder: &dyn Fn() -> String, value: u64, grey: &mut Vec<u32>| {
            let Some(word) = geometry.word_of(value) else { return Ok(()) };
            report.references += 1;
            if word >= used {
                let used_bytes = u64::from(used) * crate::addr::WORD_BYTES as u64;
                return Err(VerifyError::OutOfBounds {
                    holder: holder(),
                    target: value,
                    used_bytes,
                });
            }
            if !starts.claim(word, Writers::One) {
                return Ok(());
            }
            let header = words[word as usize].load(Ordering::Relaxed);
            let bad = || VerifyError::BadObject { object: value, holder: holder(), header };
            if header == 0 {
                return Err(bad());
            }
            let size = space.layout(&words[word as usize..]).words();
            if u64::from(word) + u64::from(size) > u64::from(used) {
                return Err(bad());
            }
            if let Some(other) = extents.next_live(word, word + size) {
                return Err(VerifyError::Overlap { object: value, other: geometry.address(other) });
            }
            extents.fill(word, size, Writers::One);
            report.objects += 1;
            report.bytes += u64::from(size) * crate::addr::WORD_BYTES as u64;
            grey.push(word);
            Ok(())
        };
        for (holder, value) in self.all_roots(mutators) {
            visit(&|| holder.clone(), value, &mut grey)?;
        }
        while let Some(word) = grey.pop() {
            let layout = space.layout(&words[word as usize..]);
            let mut result = Ok(());
            layout.slots_in(&space.model, 0..layout.words(), |slot| {
                let value = words[(word + slot) as usize].load(Ordering::Relaxed);
                let holder =
                    || format!("slot {slot} of the object at {:#x}", geometry.address(word));
                if result.is_ok() {
                    result = visit(&holder, value, &mut grey);
                }
            });
            result?;
        }
        Ok(report)
    }

    fn digest_stopped(&self, mutators: &Mutators<'_>) -> GraphDigest {
        let space = &self.space;
        let geometry = space.geometry;
        let words = space.words();
        let mut numbers: HashMap<u32, u64> = HashMap::new();
        let mut queue: Vec<u32> = Vec::new();
        let mut hasher = DefaultHasher::new();
        let mut number_of = |value: u64, queue: &mut Vec<u32>| match geometry.word_of(value) {
            // Not a reference: the value itself is the content.
            None => (0u8, value),
            Some(word) => {
                let next = numbers.len() as u64;
                let number = *numbers.entry(word).or_insert_with(|| {
                    queue.push(word);
                    next
                });
                (1, number)
            }
        };
        for (_, value) in self.all_roots(mutators) {
            number_of(value, &mut queue).hash(&mut hasher);
        }
        let (mut at, mut bytes) = (0, 0u64);
        while at < queue.len() {
            let word = queue[at];
            at += 1;
            let layout = space.layout(&words[word as usize..]);
            bytes += u64::from(layout.words()) * crate::addr::WORD_BYTES as u64;
            let mut content: Vec<u64> = words[word as usize..(word + layout.words()) as usize]
                .iter()
                .map(|word| word.load(Ordering::Relaxed))
                .collect();
            layout.slots_in(&space.model, 0..layout.words(), |slot| {
                let (kind, number) = number_of(content[slot as usize], &mut queue);
                content[slot as usize] = number << 1 | u64::from(kind);
            });
            content.hash(&mut hasher);
        }
        GraphDigest { objects: queue.len() as u64, bytes, hash: hasher.finish() }
    }
}
