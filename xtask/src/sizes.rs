//! The line budget: how many lines of a file are not tests.

use crate::steps::{Findings, Step};
use crate::workspace::{self, Workspace};

/// More lines than this deserve a look: is it still one noun?
const LOOK: usize = 400;

/// More lines than this fail.
const CEILING: usize = 600;

pub(crate) const STEP: Step = Step { name: "sizes", run: |workspace, _| check(workspace).report() };

/// Reports the files over the budget.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let mut findings = Findings::default();
    for file in workspace.rust_files() {
        if workspace::is_test_file(&file) {
            continue;
        }
        let lines = lines_before_tests(&workspace.read(&file).unwrap_or_default());
        if lines > CEILING {
            findings.error(format!("{file}: {lines} lines, more than {CEILING}: split it"));
        } else if lines > LOOK {
            findings.warning(format!("{file}: {lines} lines, more than {LOOK}"));
        }
    }
    findings
}

/// Lines up to the inline test module, which stands last in a file.
fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let tests = lines.windows(2).position(|pair| {
        let [attribute, item] = pair else { return false };
        attribute.starts_with("#[cfg(")
            && attribute.contains("test")
            && item.starts_with("mod tests {")
    });
    tests.unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_stops_at_the_test_module() {
        assert_eq!(lines_before_tests("a\nb\n#[cfg(test)]\nmod tests {\nc\n}\n"), 2);
        assert_eq!(lines_before_tests("a\n#[cfg(all(test, not(loom)))]\nmod tests {\n}\n"), 1);
    }

    #[test]
    fn a_test_module_in_another_file_does_not_stop_the_count() {
        assert_eq!(lines_before_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), 4);
    }
}
