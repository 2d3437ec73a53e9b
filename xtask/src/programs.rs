//! The programs of the workspace: built with optimisation, then run with the caller's arguments.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::command::Call;
use crate::steps::Outcome;
use crate::workspace::Workspace;

/// Arguments that the program itself understands, `--help` among them.
#[derive(Debug, Args)]
pub(crate) struct PassOn {
    /// Arguments of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub(crate) fn demo(workspace: &Workspace, args: &PassOn) -> ExitCode {
    run(workspace, "examples", "gc-demo", &["compare"], &args.args)
}

pub(crate) fn probe(workspace: &Workspace, args: &PassOn) -> ExitCode {
    run(workspace, "examples", "gc-demo", &["probe"], &args.args)
}

pub(crate) fn stress(workspace: &Workspace, args: &PassOn) -> ExitCode {
    run(workspace, "examples", "gc-stress", &[], &args.args)
}

pub(crate) fn bench(workspace: &Workspace, args: &PassOn) -> ExitCode {
    // Requests by themselves are criterion's; everything else is asked by the program.
    let micro = OsStr::new("micro");
    // Islands are also looked at in whole programs.
    let islands = OsStr::new("islands");
    if args.args.is_empty() || args.args.iter().any(|name| name == islands) {
        let build = ["build", "--release", "--package", "examples", "--bin", "gc-demo"];
        if let Outcome::Failed(why) = Call::cargo(workspace, &build).check() {
            eprintln!("x: the build of gc-demo failed, so no whole programs: {why}");
        }
    }
    match args.args.split_first() {
        Some((first, rest)) if first == micro => requests(workspace, rest),
        Some(_) => run(workspace, "benches", "bench", &[], &args.args),
        None => {
            let asked = run(workspace, "benches", "bench", &[], &[]);
            if requests(workspace, &[]) == ExitCode::SUCCESS { asked } else { ExitCode::FAILURE }
        }
    }
}

/// The benchmarks of single requests, by criterion.
fn requests(ws: &Workspace, rest: &[OsString]) -> ExitCode {
    let call = Call::cargo(ws, &["bench", "--package", "benches", "--bench", "pages", "--"]);
    match call.args(rest.iter().cloned()).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("x: cannot run cargo bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(ws: &Workspace, package: &str, bin: &str, first: &[&str], rest: &[OsString]) -> ExitCode {
    let which = ["--release", "--package", package, "--bin", bin];
    // Apart from running, so that the build's progress shows and its failure has a status of its own.
    let build = Call::cargo(ws, &[&["build"], &which[..]].concat());
    if let Outcome::Failed(why) = build.check() {
        eprintln!("x: the build of {bin} failed: {why}");
        return ExitCode::FAILURE;
    }
    let manifest = ws.root().join("Cargo.toml");
    let run = Call::cargo(ws, &[&["run", "--quiet"], &which[..], &["--manifest-path"]].concat())
        .args([manifest.into_os_string(), "--".into()])
        .args(first.iter().map(OsString::from))
        .args(rest.iter().cloned())
        .folder(caller_folder(ws));
    match run.status() {
        // Cargo hands on the program's own status: 2 stays "not understood".
        Ok(status) => status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => {
            eprintln!("x: cannot run {bin}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where `./x` was called, so that relative paths among the arguments mean what the user meant.
fn caller_folder(workspace: &Workspace) -> PathBuf {
    match std::env::var_os("X_CALLER_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => workspace.root().to_path_buf(),
    }
}
