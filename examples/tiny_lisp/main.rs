//! A small Lisp on the heap: the language that `docs/embedding.md` builds.
//!
//! ```text
//! cargo run --bin tiny-lisp -- examples/tiny_lisp/programs/queens.lisp
//! ```
#![forbid(unsafe_code)]

mod error;
mod object;
mod store;
mod reader;
mod eval;
mod primitive;
mod print;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gc_runtime::{HeapBuilder, Transport, TransportChoice, Zeal};

use crate::error::LispError;
use crate::eval::Lisp;
use crate::object::{Objects, Value};
use crate::reader::Reader;
use crate::store::Store;

/// Runs programs of a small Lisp.
#[derive(Debug, Parser)]
struct Arguments {
    /// How pages are put in place; the best there is if not given.
    #[arg(long)]
    transport: Option<Transport>,
    /// The most memory for objects, in MiB.
    #[arg(long, default_value_t = 32)]
    limit_mib: usize,
    /// Slow checks: verify, poison, every=N, full.
    #[arg(long, default_value = "", value_parser = Zeal::parse)]
    zeal: Zeal,
    /// The program.
    program: PathBuf,
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tiny-lisp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(&arguments.program)?;
    let heap = HeapBuilder::new(Objects)
        .limit_bytes(arguments.limit_mib << 20)
        .transport(arguments.transport.map_or(TransportChoice::Auto, TransportChoice::Only))
        .zeal(arguments.zeal)
        .build()?;
    let mut lisp = Lisp::new(Store::new(&heap)?)?;
    let answer = run(&mut lisp, &text);
    print!("{}", lisp.output);
    eprintln!("{}: {} cycles, {} flips", heap.transport(), heap.stats().cycles, heap.flips());
    Ok(answer?)
}

fn run(lisp: &mut Lisp, text: &str) -> Result<(), LispError> {
    let mut reader = Reader::new(text);
    while let Some(expression) = reader.next(&mut lisp.store)? {
        lisp.eval(expression, Value::NIL)?;
    }
    Ok(())
}
