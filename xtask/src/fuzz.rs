//! The fuzz targets: tests that play random operation sequences for as long as they are told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::command::Call;
use crate::steps::{Outcome, Step};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// A test that is a fuzz target.
struct Target {
    name: &'static str,
    package: &'static str,
    /// Which test binary, as cargo's arguments.
    binary: &'static [&'static str],
    test: &'static str,
}

const TARGETS: &[Target] = &[
    Target {
        name: "heap",
        package: "gc-runtime",
        binary: &["--test", "fuzz_heap"],
        test: "operation_sequences_do_what_the_model_says",
    },
    Target {
        name: "planner",
        package: "gc-runtime",
        binary: &["--lib"],
        test: "forward::twin_tests::every_word_goes_where_a_naive_planner_puts_it",
    },
    Target {
        name: "moves-fake",
        package: "uffd-move",
        binary: &["--test", "fuzz_moves"],
        test: "requests_to_the_scripted_kernel_do_what_the_list_says",
    },
    Target {
        name: "moves-kernel",
        package: "uffd-move",
        binary: &["--test", "fuzz_moves"],
        test: "requests_to_the_kernel_do_what_the_list_says",
    },
];

/// What `./x test` spends on all targets together.
const TEST_SECONDS: u64 = 60;

/// What to fuzz.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Targets: heap, planner, moves-fake, moves-kernel [default: all]
    #[arg(value_parser = TARGETS.iter().map(|target| target.name).collect::<Vec<_>>())]
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Play the one case with this seed, as a failure has printed it
    #[arg(long, requires = "targets")]
    seed: Option<String>,
}

/// Runs the targets one after the other, also after a failure.
pub(crate) fn run(workspace: &Workspace, args: &Arguments) -> ExitCode {
    let wanted = |target: &&Target| {
        args.targets.is_empty() || args.targets.iter().any(|name| name == target.name)
    };
    let mut failed = 0;
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    for target in &targets {
        let mut tally = Tally::default();
        let played = play(workspace, target, args.seconds, args.seed.as_deref(), &mut tally);
        if let Outcome::Failed(why) = played {
            failed += 1;
            println!("fuzz: {}: {why}", target.name);
        }
    }
    println!("fuzz: {} targets, {failed} failed", targets.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A minute of it.
pub(crate) const STEP: Step = Step {
    name: "fuzz",
    run: |workspace, tally| {
        let mut outcome = Outcome::Passed;
        for target in TARGETS {
            let seconds = TEST_SECONDS / TARGETS.len() as u64;
            let one = play(workspace, target, seconds, None, tally);
            if one != Outcome::Passed {
                outcome = one;
            }
        }
        outcome
    },
};

fn play(
    workspace: &Workspace,
    target: &Target,
    seconds: u64,
    seed: Option<&str>,
    tally: &mut Tally,
) -> Outcome {
    let note = note(target);
    let call = Call::cargo(workspace, &["test", "--package", target.package])
        .args(target.binary.iter().map(OsString::from))
        .args(["--", "--exact", target.test, "--nocapture"].iter().map(OsString::from))
        .env("GC_FUZZ_SECONDS", seconds.to_string())
        .env("GC_FUZZ_SEED", seed.unwrap_or_default())
        .env("GC_FUZZ_NOTE", &note);
    let outcome = call.check_counting(tally);
    let last = std::fs::read_to_string(&note).unwrap_or_default();
    // It is in nobody's way if it cannot be removed.
    let _ = std::fs::remove_file(&note);
    match outcome {
        Outcome::Failed(why) if !last.trim().is_empty() => Outcome::Failed(format!(
            "{why}; the last case: ./x fuzz {} --seed {}",
            target.name,
            last.trim()
        )),
        other => other,
    }
}

/// Where the target notes what it is playing.
fn note(target: &Target) -> PathBuf {
    std::env::temp_dir().join(format!("x-fuzz-{}-{}", target.name, std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_test_of_the_workspace() {
        let workspace = Workspace::of_this_program();
        let texts: String = workspace
            .rust_files()
            .iter()
            .map(|file| workspace.read(file).unwrap_or_default())
            .collect();
        for target in TARGETS {
            let function = target.test.rsplit("::").next().unwrap_or_default();
            assert!(texts.contains(&format!("fn {function}()")), "{function}");
            assert!(texts.contains(&format!("fuzz::run(\"{}\"", target.name)), "{}", target.name);
        }
    }
}
