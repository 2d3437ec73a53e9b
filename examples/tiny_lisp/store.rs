//! Objects made, read and written: the language's primitives in terms of the heap.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use gc_runtime::{AttachError, GlobalRoot, Heap, Local, Mutator, OutOfMemory, RootIndex};

use crate::object::{Kind, Objects, Value};

/// A heap, the thread that uses it, and its symbols.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) mutator: Mutator<Objects>,
    symbols: HashMap<String, GlobalRoot>,
}

impl Store {
    pub(crate) fn new(heap: &Heap<Objects>) -> Result<Self, AttachError> {
        Ok(Self { mutator: heap.attach()?, symbols: HashMap::new() })
    }

    /// A place on the shadow stack. Whatever is needed after the next allocation lives in one.
    pub(crate) fn root(&self, value: Value) -> RootIndex {
        self.mutator.push_value(value.0)
    }

    pub(crate) fn get(&self, root: RootIndex) -> Value {
        Value(self.mutator.root_value(root))
    }

    pub(crate) fn set(&self, root: RootIndex, value: Value) {
        self.mutator.set_root_value(root, value.0);
    }

    /// Allocates: a safepoint. Every value that is not in a root is stale after this.
    pub(crate) fn make(&mut self, kind: Kind, len: u32) -> Result<Value, OutOfMemory> {
        let object = self.mutator.allocate(kind.header(kind.words(len)))?;
        Ok(Value(object.address()))
    }

    pub(crate) fn object(&self, value: Value) -> Option<Local<'_>> {
        self.mutator.reference(value.0)
    }

    pub(crate) fn kind(&self, value: Value) -> Option<Kind> {
        Kind::of(self.mutator.header(self.object(value)?))
    }

    /// Slot `slot` of an object, which the caller knows to have one.
    pub(crate) fn slot(&self, object: Value, slot: u32) -> Value {
        let object = self.object(object).expect("the caller has looked at its kind");
        Value(self.mutator.read(object, 1 + slot))
    }

    pub(crate) fn set_slot(&self, object: Value, slot: u32, value: Value) {
        let object = self.object(object).expect("the caller has looked at its kind");
        self.mutator.write(object, 1 + slot, value.0);
    }

    /// How many words an object has after its header.
    pub(crate) fn len(&self, object: Value) -> u32 {
        let object = self.object(object).expect("the caller has looked at its kind");
        self.mutator.layout(object).words() - 1
    }

    /// A pair of what two roots hold.
    pub(crate) fn cons(&mut self, car: RootIndex, cdr: RootIndex) -> Result<Value, OutOfMemory> {
        let pair = self.make(Kind::Pair, 2)?;
        self.set_slot(pair, 0, self.get(car));
        self.set_slot(pair, 1, self.get(cdr));
        Ok(pair)
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<Value, OutOfMemory> {
        let bytes = text.as_bytes();
        let words = u32::try_from(bytes.len().div_ceil(8)).unwrap_or(u32::MAX - 2);
        let object = self.make(Kind::Text, 1 + words)?;
        let local = self.object(object).expect("just made");
        self.mutator.raw_word(local, 1).store(bytes.len() as u64, Ordering::Relaxed);
        for (word, chunk) in self.mutator.raw_words(local)[2..].iter().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
        Ok(object)
    }

    pub(crate) fn text_of(&self, object: Value) -> String {
        let local = self.object(object).expect("the caller has looked at its kind");
        let words = self.mutator.raw_words(local);
        let len = usize::try_from(words[1].load(Ordering::Relaxed)).expect("a length");
        let bytes = words[2..].iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        String::from_utf8_lossy(&bytes.take(len).collect::<Vec<u8>>()).into_owned()
    }

    /// The one symbol of this name. Symbols are held by global roots for ever.
    pub(crate) fn symbol(&mut self, name: &str) -> Result<Value, OutOfMemory> {
        if let Some(symbol) = self.symbols.get(name) {
            let local = self.mutator.global(symbol).expect("a symbol never goes");
            return Ok(Value(local.object().address()));
        }
        let text = self.text(name)?;
        let text = self.root(text);
        let symbol = self.make(Kind::Symbol, 2)?;
        self.set_slot(symbol, 0, self.get(text));
        self.set_slot(symbol, 1, Value::UNBOUND);
        self.mutator.truncate_roots(self.mutator.root_count() - 1);
        let global = self.mutator.heap().global_root();
        self.mutator.set_global(&global, self.object(symbol));
        self.symbols.insert(name.to_owned(), global);
        Ok(symbol)
    }
}
