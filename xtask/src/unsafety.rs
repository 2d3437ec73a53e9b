//! The files that may hold unsafe code against the inventory in `docs/safety.md`.

use std::collections::BTreeSet;

use crate::markdown;
use crate::rust_source;
use crate::steps::{Findings, Step};
use crate::workspace::{self, Workspace};

/// The inventory: a table whose first column is the file in backticks.
const INVENTORY: &str = "docs/safety.md";

pub(crate) const STEP: Step =
    Step { name: "unsafety", run: |workspace, _| check(workspace).report() };

/// Reports files that allow unsafe code without a row, and rows without such a file.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let mut findings = Findings::default();
    let allowed: BTreeSet<String> = workspace
        .rust_files()
        .into_iter()
        // The inventory is about what programs run.
        .filter(|file| !workspace::is_test_file(file))
        .filter(|file| allows_unsafe(&workspace.read(file).unwrap_or_default()))
        .collect();
    let inventory = workspace.read(INVENTORY);
    if inventory.is_none() && !allowed.is_empty() {
        findings.error(format!("{INVENTORY} is missing"));
    }
    let listed = listed(&inventory.unwrap_or_default());
    for file in allowed.difference(&listed) {
        findings.error(format!("{file} allows unsafe code, but {INVENTORY} has no row for it"));
    }
    for file in listed.difference(&allowed) {
        findings.error(format!("{INVENTORY} lists {file}, which allows no unsafe code"));
    }
    findings
}

fn allows_unsafe(text: &str) -> bool {
    let tokens = rust_source::tokens(text);
    (0..tokens.len()).any(|at| {
        rust_source::starts_with(&tokens[at..], &["allow", "(", "unsafe_code"])
            || rust_source::starts_with(&tokens[at..], &["expect", "(", "unsafe_code"])
    })
}

/// The Rust files in the first column of the document's tables.
fn listed(document: &str) -> BTreeSet<String> {
    markdown::prose(document)
        .lines()
        .filter_map(|line| line.trim().strip_prefix('|'))
        .filter_map(|row| row.split('|').next())
        .flat_map(|cell| {
            markdown::code_spans(cell).into_iter().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|path| path.ends_with(".rs"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_counts_as_an_allowance() {
        assert!(allows_unsafe("#![allow(unsafe_code, reason = \"the system call layer\")]"));
        assert!(allows_unsafe("#[expect(\n    unsafe_code,\n    reason = \"x\")]"));
        assert!(!allows_unsafe(
            "// #![allow(unsafe_code)]\nconst X: &str = \"allow(unsafe_code)\";"
        ));
    }

    #[test]
    fn the_first_column_lists_the_files() {
        let table = "| file | who pays |\n|---|---|\n| `a/b.rs` | `c/d.rs` |\n| none | x |\n";
        assert_eq!(listed(table).into_iter().collect::<Vec<_>>(), ["a/b.rs"]);
    }
}
