//! The checks that need no test run.

use crate::command::Call;
use crate::steps::{Outcome, Step};
use crate::{docs, layers, sizes, unsafety};

/// Fast ones first, so that a slip shows early.
pub(crate) fn steps() -> Vec<Step> {
    vec![FORMAT, CLIPPY, layers::STEP, sizes::STEP, unsafety::STEP, docs::STEP, LICENCES]
}

const FORMAT: Step = Step {
    name: "fmt",
    run: |workspace, _| Call::cargo(workspace, &["fmt", "--all", "--check"]).check(),
};

const CLIPPY: Step = Step {
    name: "clippy",
    run: |workspace, _| {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        Call::cargo(workspace, &args).check()
    },
};

/// What may come in with a dependency, by the rules in `deny.toml`.
const LICENCES: Step = Step {
    name: "licences",
    run: |workspace, _| {
        if !Call::cargo(workspace, &["deny", "--version"]).answers() {
            return Outcome::Skipped("cargo-deny is not installed".to_owned());
        }
        Call::cargo(workspace, &["deny", "check", "licenses", "bans", "sources"]).check()
    },
};

/// The API documentation, where a broken link is an error.
pub(crate) const API_DOCUMENTATION: Step = Step {
    name: "doc",
    run: |workspace, _| {
        Call::cargo(workspace, &["doc", "--workspace", "--no-deps"])
            .add_flags("RUSTDOCFLAGS", "-D warnings")
            .check()
    },
};
