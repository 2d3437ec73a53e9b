//! Running cargo and what it built: no input, output passed on, the status kept.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use crate::steps::Outcome;
use crate::tally::{Reader, Tally};
use crate::workspace::Workspace;

/// Under CI a step that hangs ends by itself, and counts as failed. Minutes.
const CI_LIMIT_MINUTES: u32 = 20;

/// A command line in the making.
#[derive(Debug)]
pub(crate) struct Call {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    folder: PathBuf,
}

impl Call {
    pub(crate) fn new(workspace: &Workspace, program: &str, args: &[&str]) -> Self {
        Self {
            program: program.into(),
            args: args.iter().map(OsString::from).collect(),
            env: Vec::new(),
            folder: workspace.root().to_path_buf(),
        }
    }

    /// Cargo of the toolchain that runs this program.
    pub(crate) fn cargo(workspace: &Workspace, args: &[&str]) -> Self {
        Self::new(workspace, "cargo", args)
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Adds flags to those that the caller's environment already gives.
    pub(crate) fn add_flags(self, name: &str, flags: &str) -> Self {
        let before = std::env::var(name).unwrap_or_default();
        self.env(name, format!("{before} {flags}").trim())
    }

    pub(crate) fn args(mut self, more: impl IntoIterator<Item = OsString>) -> Self {
        self.args.extend(more);
        self
    }

    pub(crate) fn folder(mut self, folder: PathBuf) -> Self {
        self.folder = folder;
        self
    }

    /// Runs to the end with terminal and input passed through; for programs that a user watches.
    pub(crate) fn status(&self) -> std::io::Result<ExitStatus> {
        self.command(&self.program, &self.args).status()
    }

    /// Runs a check: no input, output passed on.
    pub(crate) fn check(&self) -> Outcome {
        match self.bounded().stdin(Stdio::null()).status() {
            Ok(status) => self.outcome(status),
            Err(error) => self.not_started(&error),
        }
    }

    /// Runs tests of the Rust harness: no input, output passed on and counted.
    pub(crate) fn check_counting(&self, tally: &mut Tally) -> Outcome {
        let mut reader = Reader::default();
        let outcome = self.read_lines(|line| {
            if let Some(line) = reader.line(line) {
                println!("{line}");
            }
        });
        *tally += reader.tally();
        outcome
    }

    /// Runs a check: no input, output passed on and shown to `look` line by line.
    pub(crate) fn check_lines(&self, mut look: impl FnMut(&str)) -> Outcome {
        self.read_lines(|line| {
            println!("{line}");
            look(line);
        })
    }

    /// Runs to the end and returns what was printed; failing is an error.
    pub(crate) fn output(&self) -> std::io::Result<String> {
        let output = self
            .command(&self.program, &self.args)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(std::io::Error::other(output.status.to_string()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn read_lines(&self, mut each: impl FnMut(&str)) -> Outcome {
        let child = self.bounded().stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return self.not_started(&error),
        };
        let stdout = child.stdout.take().expect("it was asked for as a pipe");
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            each(&String::from_utf8_lossy(&line));
        }
        match child.wait() {
            Ok(status) => self.outcome(status),
            Err(error) => self.not_started(&error),
        }
    }

    /// Whether the command exists and answers with success; its output is dropped.
    pub(crate) fn answers(&self) -> bool {
        self.command(&self.program, &self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// With a limit under CI only: coreutils' `timeout` puts the command into a process group of
    /// its own, which kills grandchildren too but keeps the terminal's interrupt key away.
    fn bounded(&self) -> Command {
        if std::env::var_os("CI").is_none() {
            return self.command(&self.program, &self.args);
        }
        let mut args: Vec<OsString> = vec![
            "--kill-after=30".into(),
            format!("{CI_LIMIT_MINUTES}m").into(),
            self.program.clone(),
        ];
        args.extend(self.args.iter().cloned());
        self.command(&"timeout".into(), &args)
    }

    fn command(&self, program: &OsString, args: &[OsString]) -> Command {
        let mut command = Command::new(program);
        command.args(args).envs(self.env.iter().map(|(k, v)| (k, v))).current_dir(&self.folder);
        command
    }

    fn outcome(&self, status: ExitStatus) -> Outcome {
        match status.code() {
            Some(0) => Outcome::Passed,
            Some(124 | 137) if std::env::var_os("CI").is_some() => {
                Outcome::Failed(format!("still running after {CI_LIMIT_MINUTES} minutes"))
            }
            _ => Outcome::Failed(format!("{}: {status}", self.program.to_string_lossy())),
        }
    }

    fn not_started(&self, error: &std::io::Error) -> Outcome {
        Outcome::Failed(format!("cannot run {}: {error}", self.program.to_string_lossy()))
    }
}
