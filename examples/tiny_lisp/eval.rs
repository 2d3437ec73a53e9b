//! The evaluator. Values are either in roots or used before the next allocation.

use gc_runtime::RootIndex;

use crate::error::LispError;
use crate::object::{Kind, Value};
use crate::primitive;
use crate::store::Store;

/// Calls inside calls; each takes some of the thread's own stack.
const MAX_DEPTH: u32 = 2000;

type Answer = Result<Value, LispError>;

/// A store and what a running program needs beside it.
#[derive(Debug)]
pub(crate) struct Lisp {
    pub(crate) store: Store,
    depth: u32,
    pub(crate) output: String,
}

/// What an expression comes to: a value, or another expression in tail position, in roots.
enum Step {
    Done(Value),
    Next,
}

impl Lisp {
    pub(crate) fn new(mut store: Store) -> Result<Self, LispError> {
        primitive::define_all(&mut store)?;
        Ok(Self { store, depth: 0, output: String::new() })
    }

    /// Evaluates `expression` in the environment `env`, a list of pairs of symbol and value.
    pub(crate) fn eval(&mut self, expression: Value, env: Value) -> Answer {
        let base = self.store.mutator.root_count();
        let (expression, env) = (self.store.root(expression), self.store.root(env));
        self.depth += 1;
        let answer = if self.depth > MAX_DEPTH {
            Err(LispError::TooDeep(MAX_DEPTH))
        } else {
            self.eval_in(expression, env)
        };
        self.depth -= 1;
        self.store.mutator.truncate_roots(base);
        answer
    }

    fn eval_in(&mut self, expression: RootIndex, env: RootIndex) -> Answer {
        let base = self.store.mutator.root_count();
        loop {
            // A loop of the program that allocates nothing still comes by here.
            self.store.mutator.safepoint();
            let value = self.store.get(expression);
            match self.store.kind(value) {
                Some(Kind::Symbol) => return self.variable(value, env),
                Some(Kind::Pair) => match self.form(expression, env)? {
                    Step::Done(value) => return Ok(value),
                    Step::Next => self.store.mutator.truncate_roots(base),
                },
                _ => return Ok(value),
            }
        }
    }

    /// The pair that binds a symbol in an environment.
    fn binding(&self, symbol: Value, env: RootIndex) -> Option<Value> {
        let mut env = self.store.get(env);
        while env != Value::NIL {
            let pair = self.store.slot(env, 0);
            if self.store.slot(pair, 0) == symbol {
                return Some(pair);
            }
            env = self.store.slot(env, 1);
        }
        None
    }

    fn variable(&self, symbol: Value, env: RootIndex) -> Answer {
        let value = match self.binding(symbol, env) {
            Some(pair) => self.store.slot(pair, 1),
            None => self.store.slot(symbol, 1),
        };
        if value == Value::UNBOUND {
            return Err(LispError::Unbound(self.store.text_of(self.store.slot(symbol, 0))));
        }
        Ok(value)
    }

    fn name(&self, value: Value) -> Option<String> {
        let is_symbol = self.store.kind(value) == Some(Kind::Symbol);
        is_symbol.then(|| self.store.text_of(self.store.slot(value, 0)))
    }

    /// Element `index` of the list in a root.
    fn nth(&self, list: RootIndex, index: u32) -> Answer {
        let mut list = self.store.get(list);
        for _ in 0..index {
            list = self.tail(list)?;
        }
        match self.store.kind(list) {
            Some(Kind::Pair) => Ok(self.store.slot(list, 0)),
            _ => Err(LispError::Syntax("a form has too few parts")),
        }
    }

    fn tail(&self, list: Value) -> Answer {
        match self.store.kind(list) {
            Some(Kind::Pair) => Ok(self.store.slot(list, 1)),
            _ => Err(LispError::Syntax("a form has too few parts")),
        }
    }

    fn form(&mut self, form: RootIndex, env: RootIndex) -> Result<Step, LispError> {
        let head = self.nth(form, 0)?;
        let name = self.name(head);
        match name.as_deref() {
            Some("quote") => Ok(Step::Done(self.nth(form, 1)?)),
            Some("if") => {
                let condition = self.nth(form, 1)?;
                let condition = self.eval(condition, self.store.get(env))?;
                let branch = match condition {
                    Value::FALSE => self.nth(form, 3).unwrap_or(Value::NIL),
                    _ => self.nth(form, 2)?,
                };
                self.store.set(form, branch);
                Ok(Step::Next)
            }
            Some("define" | "set!") => {
                let value = self.nth(form, 2)?;
                let value = self.eval(value, self.store.get(env))?;
                let symbol = self.nth(form, 1)?;
                if self.name(symbol).is_none() {
                    return Err(LispError::Syntax("define and set! want a name"));
                }
                match self.binding(symbol, env) {
                    Some(pair) => self.store.set_slot(pair, 1, value),
                    None => self.store.set_slot(symbol, 1, value),
                }
                Ok(Step::Done(Value::NIL))
            }
            Some("lambda") => {
                let closure = self.store.make(Kind::Closure, 3)?;
                let rest = self.tail(self.tail(self.store.get(form))?)?;
                self.store.set_slot(closure, 0, self.nth(form, 1)?);
                self.store.set_slot(closure, 1, rest);
                self.store.set_slot(closure, 2, self.store.get(env));
                Ok(Step::Done(closure))
            }
            Some("begin") => {
                let body = self.tail(self.store.get(form))?;
                self.body(form, body, env)
            }
            _ => self.call(form, env),
        }
    }

    /// All of a body but its last expression, which is left in `form`.
    fn body(&mut self, form: RootIndex, body: Value, env: RootIndex) -> Result<Step, LispError> {
        let body = self.store.root(body);
        while self.store.get(body) != Value::NIL {
            let expression = self.nth(body, 0)?;
            let rest = self.tail(self.store.get(body))?;
            if rest == Value::NIL {
                self.store.set(form, expression);
                return Ok(Step::Next);
            }
            self.store.set(body, rest);
            self.eval(expression, self.store.get(env))?;
        }
        Ok(Step::Done(Value::NIL))
    }

    /// Function and arguments, all in roots, then the call.
    fn call(&mut self, form: RootIndex, env: RootIndex) -> Result<Step, LispError> {
        let head = self.nth(form, 0)?;
        let function = self.eval(head, self.store.get(env))?;
        let function = self.store.root(function);
        let rest = self.tail(self.store.get(form))?;
        let rest = self.store.root(rest);
        let mut arguments = Vec::new();
        while self.store.get(rest) != Value::NIL {
            let argument = self.nth(rest, 0)?;
            let next = self.tail(self.store.get(rest))?;
            self.store.set(rest, next);
            let argument = self.eval(argument, self.store.get(env))?;
            arguments.push(self.store.root(argument));
        }
        match self.store.kind(self.store.get(function)) {
            Some(Kind::Primitive) => {
                let number = self.store.slot(self.store.get(function), 0).0;
                primitive::apply(self, number, &arguments).map(Step::Done)
            }
            Some(Kind::Closure) => {
                let inner = self.bind(function, &arguments)?;
                self.store.set(env, inner);
                let body = self.store.slot(self.store.get(function), 1);
                self.body(form, body, env)
            }
            _ => Err(LispError::NotAFunction),
        }
    }

    /// A closure's environment with its parameters bound.
    fn bind(&mut self, closure: RootIndex, arguments: &[RootIndex]) -> Answer {
        let env = self.store.root(self.store.slot(self.store.get(closure), 2));
        let parameters = self.store.root(self.store.slot(self.store.get(closure), 0));
        let pair = self.store.root(Value::NIL);
        for &argument in arguments {
            let parameter = self.nth(parameters, 0).map_err(|_| LispError::Arguments("lambda"))?;
            let symbol = self.store.root(parameter);
            let binding = self.store.cons(symbol, argument)?;
            self.store.set(pair, binding);
            let extended = self.store.cons(pair, env)?;
            self.store.set(env, extended);
            let rest = self.tail(self.store.get(parameters))?;
            self.store.set(parameters, rest);
        }
        match self.store.get(parameters) {
            Value::NIL => Ok(self.store.get(env)),
            _ => Err(LispError::Arguments("lambda")),
        }
    }
}
