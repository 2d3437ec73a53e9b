//! Instructions of an operation, counted by single-stepping: exact, and there on machines whose
//! processors lend no counters.
//!
//! The program starts itself again. The child prepares, then raises SIGUSR1 before and after so
//! many operations; the parent, which traces it, counts the steps in between.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::BenchError;
use crate::operation::{Bench, Operation};

/// Names the operation for the child.
const VARIABLE: &str = "BENCH_SINGLE_STEP";

/// Operations between the marks: so many, and twice as many. The difference has no overhead.
const BATCH: u32 = 100;

/// The least of so many counts is taken: now and then an allocation buffer ends.
const REPEATS: u32 = 5;

/// Whether this process is the child.
#[must_use]
pub fn is_stepped() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The child's whole life.
#[must_use]
pub fn stepped() -> ExitCode {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let Some(operation) = Operation::ALL.into_iter().find(|operation| operation.name() == name)
    else {
        return ExitCode::FAILURE;
    };
    let run = || -> Result<(), BenchError> {
        let mut bench = Bench::new()?;
        bench.run(operation, BATCH)?;
        println!("ready");
        std::io::stdin().read_exact(&mut [0])?;
        for _ in 0..REPEATS {
            for count in [BATCH, 2 * BATCH] {
                raise(Signal::SIGUSR1).map_err(std::io::Error::from)?;
                bench.run(operation, count)?;
                raise(Signal::SIGUSR1).map_err(std::io::Error::from)?;
            }
        }
        Ok(())
    };
    if run().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Counts the instructions of one operation.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::SingleStep`] | the child could not be started or traced | do without the figure |
pub fn instructions(operation: Operation) -> Result<f64, BenchError> {
    let failed = |what: &str| BenchError::SingleStep(what.to_owned());
    let program = std::env::current_exe()?;
    let mut child = Command::new(program)
        .env(VARIABLE, operation.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let counted = count(&mut child);
    // Whatever happened: nothing is left behind.
    let _ = child.kill();
    let _ = child.wait();
    let counts = counted.map_err(|why| failed(&why))?;
    let least = |at: usize| counts.iter().skip(at).step_by(2).min().copied();
    match (least(0), least(1)) {
        (Some(once), Some(twice)) => Ok(f64::from(twice.saturating_sub(once)) / f64::from(BATCH)),
        _ => Err(failed("no marks")),
    }
}

/// The steps between each pair of marks.
fn count(child: &mut Child) -> Result<Vec<u32>, String> {
    let text = |error: nix::Error| error.to_string();
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|error| error.to_string())?);
    let (mut stdin, mut stdout) = match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => (stdin, stdout),
        _ => return Err("no pipes".to_owned()),
    };
    stdout.read_exact(&mut [0; 6]).map_err(|error| error.to_string())?;
    ptrace::attach(pid).map_err(text)?;
    waitpid(pid, None).map_err(text)?;
    stdin.write_all(&[1]).map_err(|error| error.to_string())?;
    let mut counts = Vec::new();
    for _ in 0..2 * REPEATS {
        until_mark(pid, &mut || ptrace::cont(pid, None))?;
        let mut steps = 0;
        until_mark(pid, &mut || {
            steps += 1;
            ptrace::step(pid, None)
        })?;
        counts.push(steps);
    }
    Ok(counts)
}

/// Lets the child go on by `advance` until it raises the mark, which it does not get to see.
fn until_mark(pid: Pid, advance: &mut dyn FnMut() -> nix::Result<()>) -> Result<(), String> {
    loop {
        advance().map_err(|error| error.to_string())?;
        match waitpid(pid, None).map_err(|error| error.to_string())? {
            WaitStatus::Stopped(_, Signal::SIGUSR1) => return Ok(()),
            WaitStatus::Stopped(..) => {}
            other => return Err(format!("the child ended: {other:?}")),
        }
    }
}
