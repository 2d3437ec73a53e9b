//! The table that the script prints: kernel, suite, passed, failed, skipped, seconds, verdict.

use crate::tally::Tally;

/// The tests of one row; none for a line that is no row.
pub(crate) fn row(line: &str) -> Tally {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, _, passed, failed, skipped, ..] = words[..] else { return Tally::default() };
    match (passed.parse(), failed.parse(), skipped.parse()) {
        (Ok(passed), Ok(failed), Ok(skipped)) => Tally { passed, failed, skipped },
        _ => Tally::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_and_other_lines_do_not() {
        let counted = row("patched    answers          38      1       2      41  FAILED");
        assert_eq!(counted, Tally { passed: 38, failed: 1, skipped: 2 });
        for other in [
            "",
            "kernel     suite        passed failed skipped seconds  verdict",
            "           failure: /tests/answers: status 1",
            "           3 x skipped: UFFDIO_MOVE: not on this kernel",
        ] {
            assert_eq!(row(other), Tally::default(), "{other}");
        }
    }
}
