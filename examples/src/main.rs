//! `gc-demo`: real programs on the concurrent heap, over every transport the kernel has.
//!
//! The modules stand in the order in which a run passes through them.
#![forbid(unsafe_code)]

mod cli;
mod error;
mod probe;
mod corpus;
mod target;
mod random;
mod gate;
mod measure;
mod progress;
mod memory;
mod gc_memory;
mod malloc_memory;
mod workload;
mod run;
mod pages;
mod json;
mod compare;
mod table;
mod report;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // Spans and events of `tracing`. The heap itself reads GC_LOG and GC_ZEAL.
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")),
        )
        .with_writer(std::io::stderr)
        .init();
    let result = match &cli.command {
        cli::Command::Probe => {
            probe::print();
            Ok(())
        }
        cli::Command::Run(args) => run::run(args),
        cli::Command::Compare(args) => compare::compare(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.told_already() {
                eprintln!("gc-demo: {error}");
            }
            error.exit_code()
        }
    }
}
