//! `gc-demo compare`: every transport in turn, each in a process of its own, then malloc, then one table.

use std::path::Path;
use std::process::{Command, Stdio};

use gc_runtime::Transport;

use crate::cli::{CompareArgs, FaultDeliveryArg};
use crate::error::DemoError;
use crate::json::{Baseline, Missing, Results, Row};
use crate::run::kernel;
use crate::target::Target;
use crate::workload::{Warnings, Workload};
use crate::{probe, report, table};

/// Runs the comparison.
pub(crate) fn compare(args: &CompareArgs) -> Result<(), DemoError> {
    let json = args.output.json.as_deref().map(Target::reserve).transpose()?;
    let page = args.output.report.as_deref().map(Target::reserve).transpose()?;
    // Reading the input here finds what is wrong with it once, not six times.
    let told = if args.output.quiet { Warnings::Kept } else { Warnings::Told };
    drop(Workload::prepare(&args.job, told)?);

    let mut missing = Vec::new();
    let mut present = Vec::new();
    for transport in Transport::ALL {
        match why_not(transport, args.job.fault_delivery) {
            None => present.push(transport.to_string()),
            Some(reason) => missing.push(Missing { name: transport.to_string(), reason }),
        }
    }

    // A B C A B C and not A A B B C C: what disturbs the machine for a while disturbs all of them.
    let mut rows: Vec<Vec<Row>> = vec![Vec::new(); present.len()];
    let mut baselines = Vec::new();
    for _ in 0..args.repeat {
        for (name, rows) in present.iter().zip(&mut rows) {
            rows.extend(child(args, name)?.transports);
        }
        baselines.extend(child(args, "malloc")?.malloc);
    }

    let every: Vec<Row> = rows.iter().flatten().cloned().collect();
    let rows: Vec<Row> = rows
        .into_iter()
        .filter_map(|rows| median(rows, |row| row.compaction_ns_per_live_mib))
        .collect();
    let mut results = Results {
        kernel: kernel(),
        workload: args.job.workload.name().into(),
        seed: args.job.seed,
        heap_limit_bytes: rows.first().map_or(0, |row| row.heap_limit_bytes),
        transports: rows,
        missing,
        malloc: median(baselines.clone(), |row| row.total_s),
    };
    results.compare_to_copy();
    if let Some(page) = page {
        page.commit(&report::html(&results))?;
    }
    if let Some(json) = json {
        json.commit(&results.to_json())?;
    }
    print!("{}", table::text(&results));
    if args.repeat > 1 {
        println!("each row: the median of {} runs by compaction time", args.repeat);
    }
    check_every(&results, every, &baselines)
}

/// Why a transport takes no part.
fn why_not(transport: Transport, delivery: FaultDeliveryArg) -> Option<String> {
    if let Some(reason) = probe::missing(transport, FaultDeliveryArg::Signal.into()) {
        return Some(format!("not on this kernel: {reason}"));
    }
    let reason = probe::missing(transport, delivery.into())?;
    Some(format!("not with this --fault-delivery: {reason}"))
}

/// Checks every run, not only the medians.
fn check_every(results: &Results, rows: Vec<Row>, baselines: &[Baseline]) -> Result<(), DemoError> {
    let every = Results { transports: rows, ..results.clone() };
    for baseline in baselines {
        Results { malloc: Some(baseline.clone()), ..every.clone() }.check()?;
    }
    every.check()
}

/// The run in the middle, by the given figure.
fn median<T>(mut runs: Vec<T>, figure: impl Fn(&T) -> f64) -> Option<T> {
    runs.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    (!runs.is_empty()).then(|| runs.swap_remove((runs.len() - 1) / 2))
}

/// One run in a process of its own: no transport inherits the memory of another.
fn child(args: &CompareArgs, name: &str) -> Result<Results, DemoError> {
    let failed = |what: String| DemoError::Check(format!("the run on {name}: {what}"));
    let directory = tempfile::tempdir().map_err(|error| {
        DemoError::Input(format!("no temporary directory: {error}; set TMPDIR"))
    })?;
    let path = directory.path().join("run.json");
    let program = std::env::current_exe()
        .map_err(|error| failed(format!("this program does not find itself: {error}")))?;
    let mut command = Command::new(program);
    command.args(["run", "--child", "--transport", name]).args(args.job.to_args());
    command.arg("--json").arg(&path).stdout(Stdio::null());
    if args.output.quiet {
        command.arg("--quiet");
    }
    let status = command.status().map_err(|error| failed(format!("cannot be started: {error}")))?;
    match status.code() {
        // A failed check still leaves its figures: the table shows the row, and the check fails again at the end.
        Some(0) => read(&path).map_err(failed),
        Some(1) => read(&path).map_err(|_| DemoError::Child { name: name.into(), status: 1 }),
        Some(2) => Err(DemoError::Child { name: name.into(), status: 2 }),
        _ => Err(failed(format!("ended with {status}"))),
    }
}

fn read(path: &Path) -> Result<Results, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("left no results: {error}"))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("left results that cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_run_that_was_made() {
        assert_eq!(median(vec![3.0, 1.0, 2.0], |value| *value), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0], |value| *value), Some(1.0));
        assert_eq!(median(Vec::<f64>::new(), |value| *value), None);
    }
}
