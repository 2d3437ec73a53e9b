//! Everything that a change must pass, in order.

use std::fs::OpenOptions;

use crate::command::Call;
use crate::steps::{Outcome, Step};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{fuzz, kernel, lint, loom};

/// Tests that do not find the kernel feature they need fail instead of skipping.
const REQUIRED: &str = "UFFD_MOVE_REQUIRED";

/// The length of the stress run that is part of every test run.
const STRESS_SECONDS: &str = "60";

/// The length of the run of a heap that grows and shrinks, shared by four ways.
const BREATHE_SECONDS: &str = "180";

/// Packages whose unit tests run under Miri: what stands above the system call layer.
const MIRI_PACKAGES: &[&str] = &["uffd-move"];

/// What can fail fast comes first.
pub(crate) fn steps() -> Vec<Step> {
    let mut steps = lint::steps();
    steps.extend([
        lint::API_DOCUMENTATION,
        TESTS,
        fuzz::STEP,
        loom::STEP,
        STRESS,
        BREATHE,
        kernel::SMOKE,
        MIRI,
    ]);
    steps
}

const TESTS: Step = Step {
    name: "tests",
    run: |workspace, tally| {
        // `--no-fail-fast`: one failing binary must not hide the next one.
        let args = ["test", "--workspace", "--no-fail-fast", "--", "--show-output"];
        with_requirement(Call::cargo(workspace, &args)).check_counting(tally)
    },
};

const STRESS: Step =
    Step { name: "stress", run: |workspace, _| stress(workspace, &["--seconds", STRESS_SECONDS]) };

const BREATHE: Step = Step {
    name: "breathe",
    run: |workspace, _| stress(workspace, &["--breathe", BREATHE_SECONDS]),
};

fn stress(workspace: &Workspace, arguments: &[&str]) -> Outcome {
    let program = ["run", "--release", "--package", "examples", "--bin", "gc-stress", "--"];
    with_requirement(Call::cargo(workspace, &[&program[..], arguments].concat())).check()
}

const MIRI: Step = Step { name: "miri", run: miri };

fn miri(workspace: &Workspace, tally: &mut Tally) -> Outcome {
    let nightly = ["run", "nightly", "cargo", "miri"];
    if !Call::new(workspace, "rustup", &[&nightly[..], &["--version"]].concat()).answers() {
        return Outcome::Skipped("miri is not installed".to_owned());
    }
    let mut outcome = Outcome::Passed;
    for package in MIRI_PACKAGES {
        let args = [&nightly[..], &["test", "--package", package, "--lib", "--", "--show-output"]];
        let one = Call::new(workspace, "rustup", &args.concat())
            .add_flags("MIRIFLAGS", "-Zmiri-disable-isolation")
            .check_counting(tally);
        if one != Outcome::Passed {
            outcome = one;
        }
    }
    outcome
}

/// Sets the requirement where the caller has not said anything and the kernel must have the ioctl.
fn with_requirement(call: Call) -> Call {
    if std::env::var_os(REQUIRED).is_some() || !kernel_must_have_move() {
        return call;
    }
    println!("this kernel must have UFFDIO_MOVE: {REQUIRED}=1");
    call.env(REQUIRED, "1")
}

/// Asks by version, which the crate itself never does: the point is to notice when the crate's own
/// detection says no where the answer has to be yes. The device that can be opened rules out
/// sandboxes and ordinary users, who may rightly lack it.
fn kernel_must_have_move() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    is_at_least_6_8(&release)
        && OpenOptions::new().read(true).write(true).open("/dev/userfaultfd").is_ok()
}

fn is_at_least_6_8(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 8),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_compare_as_numbers() {
        for new in ["6.8.0-31-generic", "6.18.44\n", "7.0-rc1"] {
            assert!(is_at_least_6_8(new), "{new}");
        }
        for old in ["6.1.0-28-amd64", "5.15.0", "", "custom"] {
            assert!(!is_at_least_6_8(old), "{old}");
        }
    }
}
