//! The program that peers are compared with, in Rust: on this project's heap, on `Rc`, on gc-arena.
//!
//! `benches/programs` has the same in C, Java and Go, and says what it does.

mod arena;
mod counted;
mod gaps;
mod moving;
mod program;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use gc_runtime::Heap;

use crate::bind::bind;
use crate::error::{BenchError, chain};
use gaps::Gaps;
use program::Program;

/// The first argument that makes this program the peers' program.
pub const FLAG: &str = "--trees";

/// Threads of the program with several.
const THREADS: usize = 2;

/// Stack for building a tree from the root down, however deep.
const STACK_BYTES: usize = 64 << 20;

/// On what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Moving,
    Counted,
    Arena,
}

/// What one thread did.
struct Done {
    result: u64,
    gaps: Gaps,
}

/// The whole program: `--trees moving|rc|arena PROGRAM DEPTH LIMIT_MIB`.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let Some((memory, program, depth, limit)) = parse(arguments) else {
        eprintln!("usage: {FLAG} moving|rc|arena gcbench|binary|threads|bound DEPTH LIMIT_MIB");
        return ExitCode::from(2);
    };
    let run = move || {
        let output = run(memory, program, depth, limit);
        output.map_err(|error| eprintln!("trees: {}", chain(&error))).is_ok()
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn parse(arguments: &[String]) -> Option<(Memory, Program, u32, usize)> {
    let [memory, program, depth, limit] = arguments else { return None };
    let memory = match memory.as_str() {
        "moving" => Memory::Moving,
        "rc" => Memory::Counted,
        "arena" => Memory::Arena,
        _ => return None,
    };
    Some((memory, Program::named(program)?, depth.parse().ok()?, limit.parse().ok()?))
}

fn run(memory: Memory, program: Program, depth: u32, limit: usize) -> Result<(), BenchError> {
    let heap = match memory {
        Memory::Moving => Some(Heap::builder().limit_bytes(limit << 20).build()?),
        Memory::Counted | Memory::Arena => None,
    };
    let one = |program: Program, depth: u32| match (memory, &heap) {
        (Memory::Moving, Some(heap)) => moving::Forest::new(heap)?.run(program, depth),
        (Memory::Counted, _) => counted::Forest::default().run(program, depth),
        _ => arena::Forest::new().run(program, depth),
    };
    let mut all = Vec::new();
    if matches!(program, Program::Threads | Program::Bound) {
        std::thread::scope(|scope| -> Result<(), BenchError> {
            let one = &one;
            let spawn = |number| {
                scope.spawn(move || {
                    if program == Program::Bound {
                        bind(number)?;
                    }
                    one(Program::Binary, depth - 1)
                })
            };
            let threads: Vec<_> = (0..THREADS).map(spawn).collect();
            for thread in threads {
                all.push(thread.join().map_err(|_| BenchError::Panicked)??);
            }
            Ok(())
        })?;
    } else {
        all.push(one(program, depth)?);
    }
    print(&all, heap.as_ref())?;
    Ok(())
}

fn print(all: &[Done], heap: Option<&Heap>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result: u64 = all.iter().map(|done| done.result).sum();
    writeln!(out, "result {result}\nthreads {}", all.len())?;
    for (thread, done) in all.iter().enumerate() {
        done.gaps.print(&mut out, thread)?;
    }
    if let Some(heap) = heap {
        for step in heap.stats().pause_ns.iter_recorded() {
            for _ in 0..step.count_at_value() {
                writeln!(out, "pause {}", step.value_iterated_to())?;
            }
        }
    }
    out.flush()
}
