//! Trees on gc-arena: collected between two trees, when the arena says that it is in debt.
#![allow(single_use_lifetimes, reason = "the derive of `Collect` needs their names")]

use gc_arena::lock::RefLock;
use gc_arena::{Arena, Collect, Gc, Mutation, Rootable};

use super::Done;
use super::gaps::Gaps;
use super::program::{Program, Trees};
use crate::error::BenchError;

type Link<'gc> = Option<Gc<'gc, RefLock<Node<'gc>>>>;

/// A node.
#[derive(Debug, Collect)]
#[collect(no_drop)]
struct Node<'gc> {
    left: Link<'gc>,
    right: Link<'gc>,
    number: u32,
    other: u32,
}

/// The trees that are alive, the last one on top.
#[derive(Debug, Collect)]
#[collect(no_drop)]
struct Stack<'gc>(Vec<Link<'gc>>);

/// The trees of one thread.
pub(super) struct Forest {
    arena: Arena<Rootable![Stack<'_>]>,
    array: Vec<f64>,
    gaps: Gaps,
}

/// The place of a tree in the stack.
#[derive(Debug)]
pub(super) struct Place(usize);

impl Forest {
    pub(super) fn new() -> Self {
        Self { arena: Arena::new(|_| Stack(Vec::new())), array: Vec::new(), gaps: Gaps::new() }
    }

    pub(super) fn run(self, program: Program, depth: u32) -> Result<Done, BenchError> {
        Trees::run(self, program, depth)
    }

    fn add(
        &mut self,
        depth: u32,
        make: for<'gc> fn(&Mutation<'gc>, u32, &mut Gaps) -> Gc<'gc, RefLock<Node<'gc>>>,
    ) -> Place {
        let gaps = &mut self.gaps;
        let place = self.arena.mutate_root(|mc, stack| {
            stack.0.push(Some(make(mc, depth, gaps)));
            stack.0.len() - 1
        });
        self.arena.collect_debt();
        Place(place)
    }
}

fn node<'gc>(
    mc: &Mutation<'gc>,
    left: Link<'gc>,
    right: Link<'gc>,
    gaps: &mut Gaps,
) -> Gc<'gc, RefLock<Node<'gc>>> {
    let node = Gc::new(mc, RefLock::new(Node { left, right, number: 1, other: 0 }));
    gaps.tick();
    node
}

fn build<'gc>(mc: &Mutation<'gc>, depth: u32, gaps: &mut Gaps) -> Gc<'gc, RefLock<Node<'gc>>> {
    if depth == 0 {
        return node(mc, None, None, gaps);
    }
    let left = build(mc, depth - 1, gaps);
    let right = build(mc, depth - 1, gaps);
    node(mc, Some(left), Some(right), gaps)
}

fn planted<'gc>(mc: &Mutation<'gc>, depth: u32, gaps: &mut Gaps) -> Gc<'gc, RefLock<Node<'gc>>> {
    let root = node(mc, None, None, gaps);
    grow(mc, depth, root, gaps);
    root
}

fn grow<'gc>(mc: &Mutation<'gc>, depth: u32, parent: Gc<'gc, RefLock<Node<'gc>>>, gaps: &mut Gaps) {
    if depth == 0 {
        return;
    }
    let left = node(mc, None, None, gaps);
    let right = node(mc, None, None, gaps);
    let mut fields = parent.borrow_mut(mc);
    (fields.left, fields.right) = (Some(left), Some(right));
    drop(fields);
    grow(mc, depth - 1, left, gaps);
    grow(mc, depth - 1, right, gaps);
}

fn sum_of(node: Link<'_>, gaps: &mut Gaps) -> u64 {
    node.map_or(0, |node| {
        gaps.tick();
        let node = node.borrow();
        let own = u64::from(node.number) + u64::from(node.other);
        own + sum_of(node.left, gaps) + sum_of(node.right, gaps)
    })
}

impl Trees for Forest {
    type Tree = Place;

    fn top_down(&mut self, depth: u32) -> Result<Place, BenchError> {
        Ok(self.add(depth, planted))
    }

    fn bottom_up(&mut self, depth: u32) -> Result<Place, BenchError> {
        Ok(self.add(depth, build))
    }

    fn sum(&mut self, tree: &Place) -> u64 {
        let gaps = &mut self.gaps;
        self.arena.mutate(|_, stack| sum_of(stack.0[tree.0], gaps))
    }

    fn top(&self, tree: &Place) -> u64 {
        let number = |node: Link<'_>| node.map_or(0, |node| u64::from(node.borrow().number));
        self.arena.mutate(|_, stack| number(stack.0[tree.0]))
    }

    fn let_go(&mut self, tree: Place) {
        self.arena.mutate_root(|_, stack| stack.0.truncate(tree.0));
    }

    fn keep_array(&mut self, len: u32) -> Result<(), BenchError> {
        self.array = (0..len).map(|index| 1.0 / f64::from(index + 1)).collect();
        Ok(())
    }

    fn array_item(&self, index: u32) -> f64 {
        self.array[index as usize]
    }

    fn gaps(&mut self) -> &mut Gaps {
        &mut self.gaps
    }
}
