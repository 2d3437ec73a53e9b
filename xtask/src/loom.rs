//! The tests that loom explores: every interleaving of the real code, without the kernel.

use std::path::PathBuf;

use crate::command::Call;
use crate::rust_source;
use crate::steps::{Outcome, Step};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// Tests of one package that are built with `--cfg loom`.
struct LoomTests {
    package: &'static str,
    target: Target,
}

/// Where loom tests stand.
#[cfg_attr(not(test), expect(dead_code, reason = "the table decides which kinds there are"))]
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// The file `tests/NAME.rs`.
    Integration(&'static str),
    /// The unit tests whose path has this in it. The others must not run: loom's atomics work in
    /// its models only.
    Unit(&'static str),
}

/// Every loom test. A file with a loom model that is missing here fails the step.
const TABLE: &[LoomTests] =
    &[LoomTests { package: "gc-runtime", target: Target::Unit("loom_tests") }];

pub(crate) const STEP: Step = Step { name: "loom", run };

fn run(workspace: &Workspace, tally: &mut Tally) -> Outcome {
    let forgotten = forgotten(workspace, TABLE);
    if !forgotten.is_empty() {
        return Outcome::Failed(format!("not in xtask/src/loom.rs: {}", forgotten.join(", ")));
    }
    if TABLE.is_empty() {
        return Outcome::Skipped("the table of loom tests is empty".to_owned());
    }
    let mut outcome = Outcome::Passed;
    for LoomTests { package, target } in TABLE {
        let (which, filter) = match target {
            Target::Integration(name) => (vec!["--test", name], None),
            Target::Unit(filter) => (vec!["--lib"], Some(*filter)),
        };
        let first = ["test", "--release", "--package", package];
        let last = ["--", "--show-output"];
        let args = [&first[..], &which[..], filter.as_slice(), &last[..]].concat();
        let before = tally.passed;
        let mut one = Call::cargo(workspace, &args)
            .add_flags("RUSTFLAGS", "--cfg loom")
            // Other flags, another folder: otherwise each run would rebuild the other's crates.
            .env("CARGO_TARGET_DIR", target_folder(workspace))
            .env("LOOM_MAX_PREEMPTIONS", preemptions())
            .check_counting(tally);
        if one == Outcome::Passed && tally.passed == before {
            one = Outcome::Failed(format!("{package}: no test ran for {target:?}"));
        }
        if one != Outcome::Passed {
            outcome = one;
        }
    }
    outcome
}

/// Three switches at unforced places find nearly every race, in minutes instead of days.
fn preemptions() -> String {
    std::env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| "3".to_owned())
}

fn target_folder(workspace: &Workspace) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace.root().join(target).join("loom")
}

/// Files with a loom model that no entry of the table runs.
fn forgotten(workspace: &Workspace, table: &[LoomTests]) -> Vec<String> {
    let files = workspace.rust_files().into_iter();
    files
        .filter(|file| has_model(&workspace.read(file).unwrap_or_default()))
        .filter(|file| !table.iter().any(|entry| entry.covers(file)))
        .collect()
}

fn has_model(text: &str) -> bool {
    let tokens = rust_source::tokens(text);
    (0..tokens.len())
        .any(|at| rust_source::starts_with(&tokens[at..], &["loom", ":", ":", "model"]))
}

impl LoomTests {
    fn covers(&self, file: &str) -> bool {
        match self.target {
            Target::Integration(name) => file == format!("{}/tests/{name}.rs", self.package),
            Target::Unit(_) => file.starts_with(&format!("{}/src/", self.package)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_cover_their_own_files_only() {
        let unit = LoomTests { package: "a", target: Target::Unit("loom") };
        let integration = LoomTests { package: "a", target: Target::Integration("b") };
        assert!(unit.covers("a/src/x/tests.rs") && !unit.covers("a/tests/b.rs"));
        assert!(integration.covers("a/tests/b.rs") && !integration.covers("a/src/b.rs"));
    }

    #[test]
    fn models_are_found_in_code_only() {
        assert!(has_model("fn f() { loom::model(|| {}); }"));
        assert!(!has_model("// loom::model\nconst X: &str = \"loom::model\";"));
    }
}
