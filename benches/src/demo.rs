//! Whole programs on the heap: `gc-demo`, started as a process of its own.

use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::BenchError;

/// What a run of a workload says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct DemoRun {
    /// Compaction per MiB of live data, in nanoseconds.
    pub compaction_ns_per_live_mib: f64,
    /// Bytes copied for each live byte.
    pub bytes_copied_per_live_byte: f64,
    /// Bytes that slid for each live byte.
    pub bytes_slid_per_live_byte: f64,
    /// Whether the whole graph was found sound at the end.
    pub verified: bool,
}

#[derive(Deserialize)]
struct Results {
    transports: Vec<DemoRun>,
}

/// Runs `gc-demo run` with these arguments. `None` if it is not built beside this program.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::Program`] | it failed, or its heap was not sound | run it by hand |
/// | [`BenchError::System`] | it cannot be started | |
pub fn run(args: &[&str]) -> Result<Option<DemoRun>, BenchError> {
    let program = std::env::current_exe()?.with_file_name("gc-demo");
    if !program.exists() {
        return Ok(None);
    }
    let file = tempfile::NamedTempFile::new()?;
    let failed = |why: String| BenchError::Program { name: format!("gc-demo {args:?}"), why };
    let status = Command::new(program)
        .args(["run", "--quiet", "--json"])
        .arg(file.path())
        .args(args)
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(failed(format!("it ended with {status}")));
    }
    let text = std::fs::read_to_string(file.path())?;
    let results: Results =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    match results.transports.first() {
        Some(run) if run.verified => Ok(Some(*run)),
        Some(_) => Err(failed("its heap was not sound".to_owned())),
        None => Err(failed("it reported no run".to_owned())),
    }
}
