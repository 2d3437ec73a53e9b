//! How much of the processors do mutators keep beside the collector?

use super::peers::shrink;
use super::{Question, Scale, Settings};
use crate::claim::Claim;
use crate::error::BenchError;
use crate::peers::compare::{Runs, compare, of};
use crate::peers::tools::Tools;
use crate::peers::{Peer, Program, WINDOWS_MS};
use crate::report::Answer;
use crate::samples::Series;

/// The question.
pub const QUESTION: Question = Question {
    name: "utilisation",
    asks: "how much of the processors do two mutators keep beside the collector, at the worst?",
    run,
};

const ROUNDS: usize = 5;

const PROGRAM: Program = Program { name: "threads", depth: 21 };
const BUDGET: u64 = 25;

/// The window that the claim is about, and the least share in it.
const WINDOW_MS: u64 = 20;
const LEAST: f64 = 0.45;

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let tools = Tools::prepare(settings.scale)?;
    let mut answer = Answer::default();
    answer.summary.extend(tools.missing().iter().cloned());
    let peers = tools.available(&[Peer::Ours, Peer::Zgc, Peer::Shenandoah]);
    let program = shrink(PROGRAM, settings.scale);
    let mib = program.budget_mib(BUDGET);
    let rounds = settings.rounds_or(ROUNDS);
    let all = compare(QUESTION.name, &tools, &peers, program, mib, rounds)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    answer.summary.push(format!(
        "two threads of binary trees, {} MiB live, budget {mib} MiB, one collector thread, {cores} processors;",
        program.live_bytes() >> 20
    ));
    answer.summary.push(
        "lost is what an interval of 256 nodes takes above the median, if it is over 50 us"
            .to_owned(),
    );
    for runs in &all {
        if runs.finished.is_empty() {
            answer.summary.push(runs.row());
        }
        for window in WINDOWS_MS {
            let together = series(runs, window, "both mutators", |both| both.1);
            let each = series(runs, window, "the worse mutator", |both| both.0);
            answer.summary.extend([together.line(), each.line()]);
            answer.samples.extend([together, each]);
        }
        answer.samples.extend(runs.all_series("threads"));
    }
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
        return Ok(answer);
    }
    let name = format!("utilisation: both mutators in the worst window of {WINDOW_MS} ms");
    let own =
        of(&all, Peer::Ours).and_then(|runs| series(runs, WINDOW_MS, "", |both| both.1).median());
    answer.claims.push(match own {
        Some(share) => Claim::at_least(&name, share, LEAST, "median of runs".to_owned()),
        None => Claim::unmeasured(&name, LEAST, "our heap did not finish, or lost intervals"),
    });
    Ok(answer)
}

fn series(runs: &Runs, window: u64, who: &str, of: fn((f64, f64)) -> f64) -> Series {
    let label = format!("{who}, worst window of {window} ms");
    runs.series(&label, "share", |run| run.utilisation(window).map(of))
}
