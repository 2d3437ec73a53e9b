//! The results as one table of text, in three parts: a line is at most a hundred columns wide.

use std::fmt::Write as _;

use crate::json::{Results, Row};

/// Heads and cells of one part of the table.
pub(crate) struct Part {
    pub(crate) title: &'static str,
    pub(crate) heads: &'static [&'static str],
    /// A cell for each head, or a name and a remark.
    pub(crate) rows: Vec<Vec<String>>,
}

/// The whole table.
pub(crate) fn text(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "workload {}, seed {}, kernel {}, heap limit {}",
        results.workload,
        results.seed,
        results.kernel,
        mib(results.heap_limit_bytes)
    );
    for part in parts(results) {
        let _ = writeln!(out, "\n{}", part.title);
        write_part(&mut out, &part);
    }
    out
}

/// The parts of the table: what the work was, what the program felt of it, what came out.
pub(crate) fn parts(results: &Results) -> [Part; 3] {
    let part = |title, heads: &'static [&'static str], cells: fn(&Row) -> Vec<String>| {
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in &results.transports {
            let name = std::iter::once(row.name.clone());
            rows.push(name.chain(cells(row)).collect());
        }
        for missing in &results.missing {
            rows.push(vec![missing.name.clone(), missing.reason.clone()]);
        }
        if results.malloc.is_some() {
            rows.push(padded("malloc", heads.len()));
        }
        Part { title, heads, rows }
    };
    let mut felt = part("what the program felt", FELT, felt);
    let mut outcome = part("what came out", OUTCOME, outcome);
    if let (Some(malloc), Some(felt), Some(outcome)) =
        (&results.malloc, felt.rows.last_mut(), outcome.rows.last_mut())
    {
        felt[10] = number(malloc.gap_ms.p9999);
        felt[11] = number(malloc.gap_ms.max);
        outcome[3] = number(malloc.total_s);
        outcome[4].clone_from(&malloc.checksum);
    }
    [part("what the collector did", WORK, work), felt, outcome]
}

const WORK: &[&str] = &[
    "transport",
    "cycles",
    "us/live MiB",
    "CPU us",
    "to copy",
    "deposit us",
    "copied",
    "slid",
    "recycled",
    "allocated",
    "released",
    "ioctls",
];
const FELT: &[&str] = &[
    "transport",
    "faults",
    "fault us p50",
    "p99",
    "p99.9",
    "pause us p50",
    "p99",
    "max",
    "safept p99",
    "max",
    "gap ms p99.99",
    "max",
];
const OUTCOME: &[&str] = &["transport", "live", "peak RSS/live", "total s", "checksum", "verified"];

fn work(row: &Row) -> Vec<String> {
    vec![
        row.cycles.to_string(),
        number(row.compaction_ns_per_live_mib / 1e3),
        number(row.compaction_cpu_ns_per_live_mib / 1e3),
        row.ratio_to_copy.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
        number(row.deposit_ns_per_live_mib / 1e3),
        mib(row.bytes_copied),
        mib(row.bytes_slid),
        row.pages_recycled.to_string(),
        row.pages_allocated.to_string(),
        row.pages_released.to_string(),
        row.ioctls.to_string(),
    ]
}

fn felt(row: &Row) -> Vec<String> {
    vec![
        row.faults_by_mutators.to_string(),
        number(row.fault_us.p50),
        number(row.fault_us.p99),
        number(row.fault_us.p999),
        number(row.pause_us.p50),
        number(row.pause_us.p99),
        number(row.pause_us.max),
        number(row.safepoint_us.p99),
        number(row.safepoint_us.max),
        number(row.gap_ms.p9999),
        number(row.gap_ms.max),
    ]
}

fn outcome(row: &Row) -> Vec<String> {
    vec![
        mib(row.live_bytes),
        format!("{:.2}", row.peak_rss_over_live),
        number(row.total_s),
        row.checksum.clone(),
        if row.verified { format!("{} objects", row.verified_objects) } else { "FAILED".into() },
    ]
}

fn padded(name: &str, len: usize) -> Vec<String> {
    let mut cells = vec!["-".to_owned(); len];
    cells[0] = name.into();
    cells
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", number(bytes as f64 / (1u64 << 20) as f64))
}

/// Heads take two lines, so that narrow figures stay narrow columns.
fn write_part(out: &mut String, part: &Part) {
    let two: Vec<(&str, &str)> = part.heads.iter().map(|head| split_head(head)).collect();
    let width = |column: usize| {
        let cells = part.rows.iter().filter(|row| row.len() == part.heads.len() || column == 0);
        let cells = cells.map(|row| row[column].len());
        cells.chain([two[column].0.len(), two[column].1.len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..part.heads.len()).map(width).collect();
    let mut line = |cells: &[&str]| {
        let mut text = String::new();
        for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
            // Names to the left, figures to the right.
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(out, "{}", text.trim_end());
    };
    line(&two.iter().map(|head| head.0).collect::<Vec<_>>());
    line(&two.iter().map(|head| head.1).collect::<Vec<_>>());
    for row in &part.rows {
        line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// The last word of a head goes into the second line.
fn split_head(head: &str) -> (&str, &str) {
    head.rsplit_once(' ').unwrap_or(("", head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(number(0.1234), "0.12");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1234.5), "1234");
    }
}
