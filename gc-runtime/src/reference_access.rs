//! Weak references, ephemerons, finalisers and identities through a mutator.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::forward::Forward;
use crate::local::Local;
use crate::model::ObjectModel;
use crate::mutator::{Mutator, address_of};
use crate::references::finalisers::Entry;
use crate::references::identities::Identity;
use crate::references::weak_roots::WeakRoot;

/// An object whose time has come: nothing but the queue refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finalisable<'m> {
    /// The object, alive again, with all it refers to.
    pub object: Local<'m>,
    /// What was given to [`Mutator::register_finaliser`].
    pub tag: u64,
}

impl<M: ObjectModel> Mutator<M> {
    /// Makes a strong reference of a weak one, if its object is not dead.
    fn strengthen(&self, value: u64) -> Option<Local<'_>> {
        let core = self.heap.core();
        if self.core.is_logging() {
            // Nothing else may lead the collector there.
            self.core.log.log(value, &core.logged);
        } else if core.references.is_clearing() && !core.space.is_live(value) {
            return None;
        }
        Local::from_value(value)
    }

    /// A new weak root. It becomes null when the object is dead: when it is not strongly reachable,
    /// be it for its finaliser.
    ///
    /// # Panics
    ///
    /// If there are 2^22 weak roots already.
    #[must_use]
    pub fn weak_root(&self, object: Local<'_>) -> WeakRoot {
        let root = WeakRoot::new(&self.heap.core().references.weak_roots);
        self.set_weak(&root, Some(object));
        root
    }

    /// The object that a weak root refers to, if it is alive.
    ///
    /// # Panics
    ///
    /// If the root is another heap's.
    #[must_use]
    pub fn weak(&self, root: &WeakRoot) -> Option<Local<'_>> {
        let core = self.heap.core();
        assert!(root.belongs_to(&core.references.weak_roots), "a weak root of another heap");
        let flips = self.core.flips_seen.load(Ordering::Relaxed);
        self.strengthen(root.read(&core.space.forwarding(), flips))
    }

    /// Makes a weak root refer to another object, or to none.
    ///
    /// # Panics
    ///
    /// If the root is another heap's.
    pub fn set_weak(&self, root: &WeakRoot, object: Option<Local<'_>>) {
        let core = self.heap.core();
        assert!(root.belongs_to(&core.references.weak_roots), "a weak root of another heap");
        root.write(address_of(object), self.core.flips_seen.load(Ordering::Relaxed));
    }

    /// The object that the weak slot `word` of an object refers to, if it is alive.
    ///
    /// # Panics
    ///
    /// If the word lies beyond the heap.
    #[must_use]
    pub fn read_weak<'m>(&'m self, object: Local<'m>, word: u32) -> Option<Local<'m>> {
        self.strengthen(self.read(object, word))
    }

    /// Makes the weak slot `word` of an object refer to another object, or to none.
    ///
    /// # Panics
    ///
    /// If the word lies beyond the heap.
    pub fn write_weak(&self, object: Local<'_>, word: u32, value: Option<Local<'_>>) {
        self.raw_word(object, word).store(address_of(value), Ordering::Release);
    }

    /// Key and value of the ephemeron whose key is word `word` of an object; `None` if the key is
    /// dead or null.
    ///
    /// The value is what the slot holds: a reference, or any value that is none
    /// ([`reference`](Self::reference)).
    ///
    /// # Panics
    ///
    /// If the word lies beyond the heap.
    #[must_use]
    pub fn ephemeron<'m>(&'m self, object: Local<'m>, word: u32) -> Option<(Local<'m>, u64)> {
        let key = self.read_weak(object, word)?;
        let value = self.read(object, word + 1);
        self.log_if_marking(value);
        Some((key, value))
    }

    /// Sets the ephemeron whose key is word `word` of an object; no key makes it empty.
    ///
    /// # Panics
    ///
    /// If the word lies beyond the heap.
    pub fn set_ephemeron(&self, object: Local<'_>, word: u32, key: Option<Local<'_>>, value: u64) {
        let references = &self.heap.core().references;
        let _held = references.is_clearing().then(|| references.lock_pairs());
        let value = if key.is_some() { value } else { 0 };
        // The value first: a key must not be seen with the value of another.
        self.raw_word(object, word).store(0, Ordering::Release);
        self.write(object, word + 1, value);
        self.raw_word(object, word).store(address_of(key), Ordering::Release);
    }

    /// Asks to hear of an object when nothing strong refers to it any more.
    ///
    /// It then comes out of [`next_finalisable`](Self::next_finalisable), once for each call here.
    /// Objects found in the same cycle come in the reverse order of registration, whether they
    /// refer to each other or not: what is registered after its parts comes before them. Weak
    /// references and ephemerons have lost such objects by then. `tag` is the embedder's, to know
    /// what to do.
    pub fn register_finaliser(&self, object: Local<'_>, tag: u64) {
        let address = object.object().address();
        self.heap.core().references.finalisers.register(Entry { address, tag });
    }

    /// Takes the next object whose time has come off the heap's queue.
    ///
    /// The queue keeps its objects alive, and a mutator that takes one may put it anywhere: it is
    /// an object like others, and may be registered again.
    #[must_use]
    pub fn next_finalisable(&self) -> Option<Finalisable<'_>> {
        let core = self.heap.core();
        let forward = |address| core.space.forwarding().forward_value(address);
        let entry = core.references.finalisers.take(forward)?;
        self.log_if_marking(entry.address);
        let object = Local::from_value(entry.address)?;
        Some(Finalisable { object, tag: entry.tag })
    }

    /// A number that stays with the object for its life, wherever it moves; never zero. Numbers of
    /// different objects are likely to differ.
    ///
    /// Kept in the object if its model has [a word for it](ObjectModel::identity_word), else in a
    /// side table of the heap; the first access to that after a flip takes time in proportion to
    /// the table.
    #[must_use]
    pub fn identity_hash(&self, object: Local<'_>) -> u64 {
        let core = self.heap.core();
        let new = || core.references.identities.new_hash();
        if let Some(word) = core.space.model.identity_word(self.header(object)) {
            return hash_in(self.raw_word(object, word), new);
        }
        self.with_identity(object, |identity| {
            if identity.hash == 0 {
                identity.hash = new();
            }
            identity.hash
        })
    }

    /// The word that [`set_side_word`](Self::set_side_word) put beside an object; zero at first.
    #[must_use]
    pub fn side_word(&self, object: Local<'_>) -> u64 {
        let core = self.heap.core();
        let flips = self.core.flips_seen.load(Ordering::Relaxed);
        let identities = core.references.identities.lock(&core.space.forwarding(), flips);
        identities.get(object.object().address()).side_word
    }

    /// Keeps a word of the embedder's beside an object, for as long as the object lives.
    pub fn set_side_word(&self, object: Local<'_>, value: u64) {
        self.with_identity(object, |identity| identity.side_word = value);
    }

    fn with_identity<R>(&self, object: Local<'_>, work: impl FnOnce(&mut Identity) -> R) -> R {
        let core = self.heap.core();
        let flips = self.core.flips_seen.load(Ordering::Relaxed);
        let mut identities = core.references.identities.lock(&core.space.forwarding(), flips);
        work(identities.entry(object.object().address()))
    }
}

/// The hash in a word of an object; a new one if it is zero.
fn hash_in(word: &AtomicU64, new: impl FnOnce() -> u64) -> u64 {
    match word.load(Ordering::Relaxed) {
        0 => {
            let hash = new();
            match word.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => hash,
                Err(others) => others,
            }
        }
        hash => hash,
    }
}
