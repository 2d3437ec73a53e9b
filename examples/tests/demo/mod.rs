//! Starting `gc-demo` and reading what it says.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A finished run.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The run was refused: status 2, and the message has all of these words.
    pub(crate) fn refused_with(&self, words: &[&str]) {
        assert_eq!(self.status, 2, "{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }

    pub(crate) fn succeeded(&self) -> &Self {
        assert_eq!(self.status, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs `gc-demo` with these arguments.
pub(crate) fn demo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    finish(Command::new(env!("CARGO_BIN_EXE_gc-demo")).args(args))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("gc-demo starts");
    Ran {
        status: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// The arguments of a small run, split at spaces, then the given ones.
pub(crate) fn small(line: &str, rest: &[&Path]) -> Vec<PathBuf> {
    let words = line.split_whitespace().map(PathBuf::from);
    words.chain(rest.iter().map(|path| path.to_path_buf())).collect()
}

/// A directory with some text files in it.
pub(crate) fn texts() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for file in 0..30u64 {
        let mut state: u64 = 12345 + file;
        let mut text = String::new();
        for _ in 0..3000 {
            // A plain congruential sequence: few words are common, many are rare.
            state = (state * 1_103_515_245 + 12345) % (1 << 31);
            let rank = 1 + (state >> 8) % (1 << ((state >> 4) % 12));
            text.push_str("word");
            text.push_str(&rank.to_string());
            text.push(if rank.is_multiple_of(7) { '\n' } else { ' ' });
        }
        std::fs::write(directory.path().join(format!("text{file}.txt")), text).expect("writable");
    }
    directory
}

/// The names of the transports that this kernel has.
pub(crate) fn present() -> Vec<String> {
    let probe = demo(["probe"]);
    let lines = probe.succeeded().stdout.lines().filter_map(|line| line.strip_prefix("transport "));
    lines.filter_map(|line| line.strip_suffix(" yes")).map(|name| name.trim().to_owned()).collect()
}
