//! The tasks behind `./x`: one subcommand each, every one of them usable without a terminal.

mod command;
mod docs;
mod fuzz;
mod kernel;
mod layers;
mod lint;
mod loom;
mod markdown;
mod programs;
mod rust_source;
mod sizes;
mod steps;
mod tally;
mod test;
mod unsafety;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The one door to the workspace. Start it as `./x`, which sees to system packages first.
#[derive(Debug, Parser)]
#[command(name = "x", disable_help_subcommand = true)]
struct Door {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the demo: every transport on one workload, then a table.
    #[command(disable_help_flag = true)]
    Demo(programs::PassOn),
    /// Say what this kernel can do, and why not.
    #[command(disable_help_flag = true)]
    Probe(programs::PassOn),
    /// Run every check and every test.
    Test,
    /// Run the stress program.
    #[command(disable_help_flag = true)]
    Stress(programs::PassOn),
    /// Play random operation sequences against models; without a name all targets.
    Fuzz(fuzz::Arguments),
    /// Run benchmarks; without a name all of them.
    #[command(disable_help_flag = true)]
    Bench(programs::PassOn),
    /// The patched kernels: build, boot, test.
    Kernel(kernel::KernelArgs),
    /// Run the checks that need no test.
    Lint,
    /// Build the API documentation; warnings are errors.
    Doc,
    /// Check module edges against the layer table.
    Layers,
    /// Check the line budget of every source file.
    Sizes,
    /// Check the files with unsafe code against docs/safety.md.
    Unsafety,
    /// Check that what the documents name exists.
    Docs,
}

fn main() -> ExitCode {
    let door = Door::parse();
    let workspace = Workspace::of_this_program();
    match door.task {
        Task::Demo(args) => programs::demo(&workspace, &args),
        Task::Probe(args) => programs::probe(&workspace, &args),
        Task::Stress(args) => programs::stress(&workspace, &args),
        Task::Fuzz(args) => fuzz::run(&workspace, &args),
        Task::Bench(args) => programs::bench(&workspace, &args),
        Task::Kernel(args) => kernel::run(&workspace, &args),
        Task::Test => steps::run(&workspace, "test", &test::steps()),
        Task::Lint => steps::run(&workspace, "lint", &lint::steps()),
        Task::Doc => steps::run(&workspace, "doc", &[lint::API_DOCUMENTATION]),
        Task::Layers => steps::run(&workspace, "layers", &[layers::STEP]),
        Task::Sizes => steps::run(&workspace, "sizes", &[sizes::STEP]),
        Task::Unsafety => steps::run(&workspace, "unsafety", &[unsafety::STEP]),
        Task::Docs => steps::run(&workspace, "docs", &[docs::STEP]),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Door::command().debug_assert();
    }

    #[test]
    fn the_shell_script_lists_every_task() {
        let script = std::fs::read_to_string(Workspace::of_this_program().root().join("x"))
            .expect("the script stands at the root");
        let (_, help) = script.split_once("<<'HELP'").expect("the help text is a here-document");
        let (help, _) = help.split_once("\nHELP\n").expect("the here-document ends");
        for task in Door::command().get_subcommands() {
            assert!(
                help.split_whitespace().any(|word| word == task.get_name()),
                "`{}` is missing from the help of ./x",
                task.get_name()
            );
        }
    }
}
