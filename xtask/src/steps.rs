//! Steps, how they went, and the table at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::tally::Tally;
use crate::workspace::Workspace;

/// One check with a name.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// Runs the check. Tests that it runs are added to the tally.
    pub(crate) run: fn(&Workspace, &mut Tally) -> Outcome,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Never in silence: the reason is printed.
    Skipped(String),
}

/// What a source check found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    pub(crate) fn error(&mut self, text: String) {
        self.errors.push(text);
    }

    pub(crate) fn warning(&mut self, text: String) {
        self.warnings.push(text);
    }

    #[cfg(test)]
    pub(crate) fn errors(&self) -> &[String] {
        &self.errors
    }

    /// Prints what was found and says whether it matters.
    pub(crate) fn report(self) -> Outcome {
        for warning in &self.warnings {
            println!("warning: {warning}");
        }
        for error in &self.errors {
            println!("error: {error}");
        }
        match self.errors.len() {
            0 => Outcome::Passed,
            1 => Outcome::Failed("1 finding".to_owned()),
            n => Outcome::Failed(format!("{n} findings")),
        }
    }
}

/// A line of the closing table.
struct Row {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
    tests: Tally,
}

/// Runs every step, also after a failure: one run should show all there is to repair.
pub(crate) fn run(workspace: &Workspace, task: &str, steps: &[Step]) -> ExitCode {
    let mut rows = Vec::new();
    for step in steps {
        println!("== {}", step.name);
        let started = Instant::now();
        let mut tests = Tally::default();
        let outcome = (step.run)(workspace, &mut tests);
        let row = Row { name: step.name, outcome, took: started.elapsed(), tests };
        println!("== {}", row.line());
        rows.push(row);
    }
    if rows.len() > 1 {
        println!("\n{}", table(&rows));
    }
    println!("{task}: {}", total(&rows));
    if rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_))) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

impl Row {
    fn line(&self) -> String {
        let seconds = self.took.as_secs_f64();
        match &self.outcome {
            Outcome::Passed => format!("{}: passed in {seconds:.1} s", self.name),
            Outcome::Failed(why) => format!("{}: failed in {seconds:.1} s: {why}", self.name),
            Outcome::Skipped(why) => format!("{}: skipped: {why}", self.name),
        }
    }
}

fn table(rows: &[Row]) -> String {
    let mut out =
        format!("{:<10} {:>9}  {:<8} {}\n", "step", "seconds", "result", "tests or reason");
    for row in rows {
        let (result, remark) = match &row.outcome {
            Outcome::Passed => ("passed", String::new()),
            Outcome::Failed(why) => ("failed", why.clone()),
            Outcome::Skipped(why) => ("skipped", why.clone()),
        };
        let tests =
            if row.tests == Tally::default() { String::new() } else { row.tests.to_string() };
        let both = if tests.is_empty() || remark.is_empty() { "" } else { "; " };
        let line = format!(
            "{:<10} {:>9.1}  {result:<8} {tests}{both}{remark}",
            row.name,
            row.took.as_secs_f64()
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The tests of all steps. A step without tests of its own counts as one, so that the closing
/// line never says "0 failed" beside a failed step, nor hides a skipped one.
fn total(rows: &[Row]) -> Tally {
    let mut sum = Tally::default();
    for row in rows {
        sum += row.tests;
        match row.outcome {
            Outcome::Failed(_) if row.tests.failed == 0 => sum.failed += 1,
            Outcome::Skipped(_) => sum.skipped += 1,
            Outcome::Passed if row.tests == Tally::default() => sum.passed += 1,
            Outcome::Passed | Outcome::Failed(_) => {}
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(outcome: Outcome, tests: Tally) -> Row {
        Row { name: "x", outcome, took: Duration::ZERO, tests }
    }

    #[test]
    fn a_failed_step_is_never_counted_as_no_failure() {
        let crashed =
            row(Outcome::Failed("status 101".into()), Tally { passed: 3, ..Tally::default() });
        assert_eq!(total(&[crashed]).to_string(), "3 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn failed_tests_are_not_counted_twice() {
        let tests = Tally { passed: 3, failed: 2, skipped: 1 };
        let rows =
            [row(Outcome::Failed("2".into()), tests), row(Outcome::Passed, Tally::default())];
        assert_eq!(total(&rows).to_string(), "4 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn a_skipped_step_shows_in_the_total_and_in_the_table() {
        let rows = [row(Outcome::Skipped("not installed".into()), Tally::default())];
        assert_eq!(total(&rows).skipped, 1);
        assert!(table(&rows).contains("not installed"));
    }
}
