//! Functions that the language has from the start, weak things and finalisers among them.

use std::sync::atomic::Ordering;

use gc_runtime::{OutOfMemory, RootIndex};

use crate::error::LispError;
use crate::eval::Lisp;
use crate::object::{Kind, Value};
use crate::print::print;
use crate::store::Store;

type Answer = Result<Value, LispError>;

/// Names, by number, with how many arguments they take.
const PRIMITIVES: [(&str, usize); 27] = [
    ("+", 2),
    ("-", 2),
    ("*", 2),
    ("quotient", 2),
    ("<", 2),
    ("=", 2),
    ("eq?", 2),
    ("cons", 2),
    ("car", 1),
    ("cdr", 1),
    ("set-car!", 2),
    ("set-cdr!", 2),
    ("pair?", 1),
    ("null?", 1),
    ("make-vector", 2),
    ("vector-ref", 2),
    ("vector-set!", 3),
    ("vector-length", 1),
    ("display", 1),
    ("newline", 0),
    ("gc", 0),
    ("weak-box", 1),
    ("weak-value", 1),
    ("make-table", 1),
    ("table-set!", 3),
    ("table-ref", 2),
    ("finalise", 2),
];
const NEXT_DEAD: (&str, usize) = ("next-dead", 0);
const IDENTITY: (&str, usize) = ("identity-hash", 1);

/// Gives each primitive's symbol its value.
pub(crate) fn define_all(store: &mut Store) -> Result<(), OutOfMemory> {
    let names = PRIMITIVES.iter().chain([&NEXT_DEAD, &IDENTITY]);
    for (number, (name, _)) in (0u64..).zip(names) {
        let symbol = store.symbol(name)?;
        let symbol = store.root(symbol);
        let primitive = store.make(Kind::Primitive, 1)?;
        let local = store.object(primitive).expect("just made");
        store.mutator.raw_word(local, 1).store(number, Ordering::Relaxed);
        store.set_slot(store.get(symbol), 1, primitive);
        store.mutator.truncate_roots(0);
    }
    Ok(())
}

/// Calls primitive `number`.
pub(crate) fn apply(lisp: &mut Lisp, number: u64, arguments: &[RootIndex]) -> Answer {
    let index = usize::try_from(number).expect("a primitive's number");
    let names = [PRIMITIVES.as_slice(), &[NEXT_DEAD, IDENTITY]].concat();
    let (name, count) = names[index];
    if arguments.len() != count {
        return Err(LispError::Arguments(name));
    }
    let call = Call { name, arguments };
    call.run(lisp)
}

struct Call<'a> {
    name: &'static str,
    arguments: &'a [RootIndex],
}

impl Call<'_> {
    fn wrong(&self) -> LispError {
        LispError::Arguments(self.name)
    }

    fn number(&self, store: &Store, index: usize) -> Result<i64, LispError> {
        store.get(self.arguments[index]).as_number().ok_or(self.wrong())
    }

    fn object(&self, store: &Store, index: usize, kind: Kind) -> Answer {
        let value = store.get(self.arguments[index]);
        if store.kind(value) == Some(kind) { Ok(value) } else { Err(self.wrong()) }
    }

    fn element(&self, store: &Store, vector: Value) -> Result<u32, LispError> {
        let index = u32::try_from(self.number(store, 1)?).map_err(|_| self.wrong())?;
        if index < store.len(vector) { Ok(index) } else { Err(self.wrong()) }
    }

    fn run(&self, lisp: &mut Lisp) -> Answer {
        let store = &mut lisp.store;
        let argument = |store: &Store, index: usize| store.get(self.arguments[index]);
        match self.name {
            "+" | "-" | "*" | "quotient" | "<" | "=" => {
                self.arithmetic(self.number(store, 0)?, self.number(store, 1)?)
            }
            "eq?" => Ok(Value::from(argument(store, 0) == argument(store, 1))),
            "cons" => Ok(store.cons(self.arguments[0], self.arguments[1])?),
            "car" => Ok(store.slot(self.object(store, 0, Kind::Pair)?, 0)),
            "cdr" => Ok(store.slot(self.object(store, 0, Kind::Pair)?, 1)),
            "set-car!" | "set-cdr!" => {
                let slot = u32::from(self.name == "set-cdr!");
                store.set_slot(self.object(store, 0, Kind::Pair)?, slot, argument(store, 1));
                Ok(Value::NIL)
            }
            "pair?" => Ok(Value::from(store.kind(argument(store, 0)) == Some(Kind::Pair))),
            "null?" => Ok(Value::from(argument(store, 0) == Value::NIL)),
            "make-vector" => {
                let len = u32::try_from(self.number(store, 0)?).map_err(|_| self.wrong())?;
                let vector = store.make(Kind::Vector, len)?;
                for slot in 0..len {
                    store.set_slot(vector, slot, argument(store, 1));
                }
                Ok(vector)
            }
            "vector-ref" => {
                let vector = self.object(store, 0, Kind::Vector)?;
                Ok(store.slot(vector, self.element(store, vector)?))
            }
            "vector-set!" => {
                let vector = self.object(store, 0, Kind::Vector)?;
                store.set_slot(vector, self.element(store, vector)?, argument(store, 2));
                Ok(Value::NIL)
            }
            "vector-length" => {
                let vector = self.object(store, 0, Kind::Vector)?;
                Ok(Value::number(i64::from(store.len(vector))))
            }
            "display" => {
                print(&lisp.store, lisp.store.get(self.arguments[0]), &mut lisp.output);
                Ok(Value::NIL)
            }
            "newline" => {
                lisp.output.push('\n');
                Ok(Value::NIL)
            }
            "gc" => {
                store.mutator.collect();
                Ok(Value::NIL)
            }
            _ => self.weak_things(store),
        }
    }

    fn arithmetic(&self, a: i64, b: i64) -> Answer {
        Ok(match self.name {
            "+" => Value::number(a.wrapping_add(b)),
            "-" => Value::number(a.wrapping_sub(b)),
            "*" => Value::number(a.wrapping_mul(b)),
            "quotient" if b != 0 => Value::number(a.wrapping_div(b)),
            "<" => Value::from(a < b),
            "=" => Value::from(a == b),
            _ => return Err(self.wrong()),
        })
    }

    fn weak_things(&self, store: &mut Store) -> Answer {
        let argument = |store: &Store, index: usize| store.get(self.arguments[index]);
        match self.name {
            "weak-box" => {
                let weak = store.make(Kind::WeakBox, 1)?;
                let (weak_box, value) = (store.object(weak), store.object(argument(store, 0)));
                store.mutator.write_weak(weak_box.expect("just made"), 1, value);
                Ok(weak)
            }
            "weak-value" => {
                let weak = self.object(store, 0, Kind::WeakBox)?;
                let weak = store.object(weak).expect("a box");
                let value = store.mutator.read_weak(weak, 1);
                Ok(value.map_or(Value::FALSE, |value| Value(value.object().address())))
            }
            "make-table" => {
                let len = u32::try_from(self.number(store, 0)?).map_err(|_| self.wrong())?;
                Ok(store.make(Kind::Table, len)?)
            }
            "table-set!" | "table-ref" => {
                let table = self.object(store, 0, Kind::Table)?;
                let key = store.object(argument(store, 1)).ok_or(self.wrong())?;
                self.table(store, store.object(table).expect("a table"), key)
            }
            "finalise" => {
                let object = store.object(argument(store, 0)).ok_or(self.wrong())?;
                let tag = self.number(store, 1)?;
                store.mutator.register_finaliser(object, tag.cast_unsigned());
                Ok(Value::NIL)
            }
            "next-dead" => {
                let Some(next) = store.mutator.next_finalisable() else { return Ok(Value::FALSE) };
                let tag = Value::number(next.tag.cast_signed());
                let object = store.root(Value(next.object.object().address()));
                let tag = store.root(tag);
                Ok(store.cons(tag, object)?)
            }
            "identity-hash" => {
                let object = store.object(argument(store, 0)).ok_or(self.wrong())?;
                Ok(Value::number((store.mutator.identity_hash(object) >> 2).cast_signed()))
            }
            _ => Err(self.wrong()),
        }
    }

    /// Looks a key up, from its hash on, and stores beside it or at the first free place.
    fn table(
        &self,
        store: &Store,
        table: gc_runtime::Local<'_>,
        key: gc_runtime::Local<'_>,
    ) -> Answer {
        let pairs = (store.mutator.layout(table).words() - 1) / 2;
        let hash = store.mutator.identity_hash(key) % u64::from(pairs);
        let first = u32::try_from(hash).expect("below the number of pairs");
        let mut free = None;
        for pair in (first..pairs).chain(0..first) {
            let word = 1 + 2 * pair;
            match store.mutator.ephemeron(table, word) {
                Some((found, value)) if found == key => {
                    if self.name == "table-ref" {
                        return Ok(Value(value));
                    }
                    free = Some(word);
                    break;
                }
                Some(_) => {}
                // Free, or its key has died: later pairs of this hash may still be there.
                None => free = free.or(Some(word)),
            }
        }
        if self.name == "table-ref" {
            return Ok(Value::FALSE);
        }
        let value = store.get(self.arguments[2]);
        store.mutator.set_ephemeron(table, free.ok_or(self.wrong())?, Some(key), value.0);
        Ok(Value::NIL)
    }
}
