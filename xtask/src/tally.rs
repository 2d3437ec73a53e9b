//! Counting what the test harness prints.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed, were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Reads the output of `cargo test -- --show-output` line by line.
///
/// What a passing test prints is kept back but for its `skipped:` lines: the harness counts such a
/// test as passed, which is not what happened.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    tally: Tally,
    /// Skips announced since the last result line.
    skips: u64,
    place: Place,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between the harness's own lines.
    #[default]
    Harness,
    /// Under `successes:`, between or inside the outputs of tests that passed.
    Passing { test: String, skipped: bool },
}

impl Reader {
    /// Takes one line; answers with what of it is worth printing.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        if let Place::Passing { test, skipped } = &mut self.place {
            if let Some(name) =
                line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----"))
            {
                name.clone_into(test);
                *skipped = false;
                return None;
            }
            if let Some(reason) = line.trim_start().strip_prefix("skipped: ") {
                // A test may try several kernel features; it is still one test.
                if !*skipped {
                    *skipped = true;
                    self.skips += 1;
                }
                return Some(format!("skipped: {test}: {reason}"));
            }
            if line != "failures:" && !line.starts_with("test result: ") {
                return None;
            }
            self.place = Place::Harness;
        }
        if line == "successes:" {
            self.place = Place::Passing { test: String::new(), skipped: false };
            return None;
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            self.result(result);
        }
        Some(line.to_owned())
    }

    /// `ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn result(&mut self, text: &str) {
        let counts = text.split_once(". ").map_or("", |(_, counts)| counts);
        let mut passed = 0;
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => passed = number,
                "failed" => self.tally.failed += number,
                "ignored" => self.tally.skipped += number,
                _ => {}
            }
        }
        let skips = std::mem::take(&mut self.skips).min(passed);
        self.tally.passed += passed - skips;
        self.tally.skipped += skips;
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Tally, Vec<String>) {
        let mut reader = Reader::default();
        let printed = text.lines().filter_map(|line| reader.line(line)).collect();
        (reader.tally(), printed)
    }

    #[test]
    fn result_lines_add_up() {
        let (tally, _) = read(
            "running 6 tests\n\
             test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1s\n",
        );
        assert_eq!(tally, Tally { passed: 7, failed: 3, skipped: 1 });
    }

    #[test]
    fn a_test_that_says_skipped_did_not_pass() {
        let (tally, printed) = read(
            "running 2 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\n\
             skipped: no userfaultfd\nskipped: nor anything else\nnoise\n\n\nsuccesses:\n    a\n    b\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(tally, Tally { passed: 1, failed: 0, skipped: 1 });
        assert!(printed.contains(&"skipped: a: no userfaultfd".to_owned()));
        assert!(!printed.iter().any(|line| line.contains("noise")));
    }

    #[test]
    fn what_a_failing_test_printed_is_shown() {
        let (tally, printed) = read(
            "successes:\n\n---- a stdout ----\nnoise\n\nsuccesses:\n    a\n\nfailures:\n\n\
             ---- b stdout ----\nassertion failed\n\nfailures:\n    b\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s\n",
        );
        assert_eq!(tally, Tally { passed: 1, failed: 1, skipped: 0 });
        assert!(printed.contains(&"assertion failed".to_owned()));
        assert!(!printed.contains(&"noise".to_owned()));
    }

    #[test]
    fn the_closing_form_is_plain() {
        let tally = Tally { passed: 12, failed: 0, skipped: 3 };
        assert_eq!(tally.to_string(), "12 passed, 0 failed, 3 skipped");
    }
}
