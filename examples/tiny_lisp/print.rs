//! From values to text.

use std::fmt::Write;

use crate::object::{Kind, Value};
use crate::store::Store;

/// Appends a value as the language writes it. Nothing here allocates in the heap.
pub(crate) fn print(store: &Store, value: Value, out: &mut String) {
    if let Some(number) = value.as_number() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{number}");
        return;
    }
    match (value, store.kind(value)) {
        (Value::NIL, _) => out.push_str("()"),
        (Value::TRUE, _) => out.push_str("#t"),
        (Value::FALSE, _) => out.push_str("#f"),
        (_, Some(Kind::Pair)) => list(store, value, out),
        (_, Some(Kind::Symbol)) => out.push_str(&store.text_of(store.slot(value, 0))),
        (_, Some(Kind::Text)) => out.push_str(&store.text_of(value)),
        (_, Some(kind)) => {
            let _ = write!(out, "#<{kind:?}>");
        }
        (_, None) => out.push_str("#<unbound>"),
    }
}

fn list(store: &Store, mut value: Value, out: &mut String) {
    out.push('(');
    print(store, store.slot(value, 0), out);
    value = store.slot(value, 1);
    while store.kind(value) == Some(Kind::Pair) {
        out.push(' ');
        print(store, store.slot(value, 0), out);
        value = store.slot(value, 1);
    }
    if value != Value::NIL {
        out.push_str(" . ");
        print(store, value, out);
    }
    out.push(')');
}
