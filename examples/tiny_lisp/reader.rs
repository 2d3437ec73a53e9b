//! From text to lists.

use gc_runtime::RootIndex;

use crate::error::LispError;
use crate::object::Value;
use crate::store::Store;

/// What is left of a program's text.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    fn skip_blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix(';') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => return,
            }
        }
    }

    /// The next expression; `None` at the end.
    pub(crate) fn next(&mut self, store: &mut Store) -> Result<Option<Value>, LispError> {
        self.skip_blank();
        if self.rest.is_empty() { Ok(None) } else { self.expression(store).map(Some) }
    }

    fn expression(&mut self, store: &mut Store) -> Result<Value, LispError> {
        self.skip_blank();
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            return self.list(store);
        }
        if let Some(rest) = self.rest.strip_prefix('\'') {
            self.rest = rest;
            let base = store.mutator.root_count();
            let quoted = self.expression(store)?;
            let (quoted, nil) = (store.root(quoted), store.root(Value::NIL));
            let tail = store.cons(quoted, nil)?;
            let tail = store.root(tail);
            let quote = store.symbol("quote")?;
            let quote = store.root(quote);
            let list = store.cons(quote, tail);
            store.mutator.truncate_roots(base);
            return Ok(list?);
        }
        if let Some(rest) = self.rest.strip_prefix('"') {
            let (text, rest) =
                rest.split_once('"').ok_or(LispError::Syntax("a text ends with \""))?;
            self.rest = rest;
            return Ok(store.text(text)?);
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || "()'\";".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            "" => Err(LispError::Syntax("an expression was expected")),
            "#t" => Ok(Value::TRUE),
            "#f" => Ok(Value::FALSE),
            _ => match word.parse() {
                Ok(number) => Ok(Value::number(number)),
                Err(_) => Ok(store.symbol(word)?),
            },
        }
    }

    /// The rest of a list. Elements wait on the shadow stack: each allocation may move the others.
    fn list(&mut self, store: &mut Store) -> Result<Value, LispError> {
        let base = store.mutator.root_count();
        let mut elements: Vec<RootIndex> = Vec::new();
        loop {
            self.skip_blank();
            if let Some(rest) = self.rest.strip_prefix(')') {
                self.rest = rest;
                break;
            }
            if self.rest.is_empty() {
                return Err(LispError::Syntax("a list ends with )"));
            }
            let element = self.expression(store)?;
            elements.push(store.root(element));
        }
        let list = store.root(Value::NIL);
        for &element in elements.iter().rev() {
            let pair = store.cons(element, list)?;
            store.set(list, pair);
        }
        let value = store.get(list);
        store.mutator.truncate_roots(base);
        Ok(value)
    }
}
