//! What can go wrong, and the exit status that goes with it.

use std::path::PathBuf;
use std::process::ExitCode;

use gc_runtime::OutOfMemory;

/// Why the program ends without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The input or the command line is at fault: exit status 2.
    #[error("{0}")]
    Input(String),
    /// The run is at fault: wrong checksum, failed verification: exit status 1.
    #[error("{0}")]
    Check(String),
    /// A child process ended badly and has said why: its exit status is passed on.
    #[error("the run on {name} ended with exit status {status}")]
    Child { name: String, status: u8 },
    #[error("cannot write {}: {source}; name a file in a directory that exists and may be written to", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

impl DemoError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Check(_) => ExitCode::from(1),
            Self::Input(_) | Self::Write { .. } => ExitCode::from(2),
            Self::Child { status, .. } => ExitCode::from(*status),
        }
    }

    /// Whether a child process has printed the cause already.
    pub(crate) fn told_already(&self) -> bool {
        matches!(self, Self::Child { status: 2, .. })
    }
}

/// Why a workload's thread stops early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    OutOfMemory(#[from] OutOfMemory),
    #[error("a thread could not join the heap: {0}")]
    Attach(String),
    /// The program read something that it did not write.
    #[error("{0}")]
    Wrong(String),
    /// Another thread failed; it knows why.
    #[error("another thread stopped")]
    Stopped,
}

impl Failure {
    /// Of two failures the one that says more: `Stopped` only follows from another.
    pub(crate) fn or_cause(self, other: Self) -> Self {
        if matches!(self, Self::Stopped) { other } else { self }
    }
}

/// An error and what it follows from, in one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    let mut text = error.to_string();
    for source in sources {
        text.push_str(": ");
        text.push_str(&source.to_string());
    }
    text
}
