//! The kernels of `kernel-patch/`: built, booted in an emulated machine and tested by its own
//! script. What is here calls that script, and gives it the programs of the workspace to test.

mod guest_programs;
mod table;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::command::Call;
use crate::steps::{Outcome, Step};
use crate::tally::Tally;
use crate::workspace::Workspace;

const SCRIPT: &str = "kernel-patch/kernel.sh";

/// What to do with the kernels.
#[derive(Debug, Args)]
pub(crate) struct KernelArgs {
    #[arg(value_enum)]
    action: Action,
    /// Which kernel, list or mistake; `kernel-patch/kernel.sh` lists them
    args: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Get the source packages and check their checksums
    Fetch,
    /// Make a source tree with the series and print its path
    Apply,
    /// Build one kernel: stock, patched, debug, reference
    Build,
    /// Boot one kernel with a list of tests and show its console
    Boot,
    /// Build, boot and test all kernels, then print one table
    Test,
    /// Build, boot and test every patch of the series
    Each,
    /// Build kernels with known mistakes and see whether a test notices
    Mutate,
    /// Show what checkpatch has to say
    Checkpatch,
    /// Build Debian packages with Debian's own configuration
    Deb,
}

/// The short check of the patched kernel that is part of every test run.
pub(crate) const SMOKE: Step = Step { name: "kernel", run: smoke };

/// Runs the script, with the workspace's programs where it tests kernels.
pub(crate) fn run(workspace: &Workspace, args: &KernelArgs) -> ExitCode {
    let action = args.action.to_possible_value().expect("no action is hidden");
    let mut call = script(workspace, action.get_name()).args(args.args.iter().cloned());
    if args.action == Action::Test {
        match guest_programs::build(workspace) {
            Ok(folder) => call = call.env(guest_programs::VARIABLE, folder),
            Err(reason) => {
                eprintln!("x: the programs for the guests: {reason}");
                return ExitCode::FAILURE;
            }
        }
    }
    match call.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(u8::from(status.code() == Some(2)) + 1),
        Err(error) => {
            eprintln!("x: cannot run {SCRIPT}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn script(workspace: &Workspace, command: &str) -> Call {
    Call::new(workspace, "bash", &[SCRIPT, command])
}

/// A machine that cannot build kernels says so; everything else is a failure.
fn smoke(workspace: &Workspace, tally: &mut Tally) -> Outcome {
    match script(workspace, "missing").output() {
        Ok(missing) if missing.trim().is_empty() => {}
        Ok(missing) => {
            let names: Vec<&str> = missing.split_whitespace().collect();
            return Outcome::Skipped(format!("not installed: {}", names.join(" ")));
        }
        Err(error) => return Outcome::Failed(format!("{SCRIPT} missing: {error}")),
    }
    let mut counted = Tally::default();
    let outcome = script(workspace, "smoke").check_lines(|line| counted += table::row(line));
    if outcome == Outcome::Passed && counted.passed == 0 {
        return Outcome::Failed("no test ran".to_owned());
    }
    *tally += counted;
    outcome
}
