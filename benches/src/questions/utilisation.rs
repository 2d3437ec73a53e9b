//! How much of the processors do mutators keep beside the collector?

use super::peers::shrink;
use super::{Question, Scale, Settings};
use crate::claim::Claim;
use crate::error::BenchError;
use crate::peers::compare::{Runs, compare};
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

/// The same, each thread kept on a processor of its own: on two processors the scheduler leaves threads
/// together for tens of milliseconds, whatever the collector does.
const BOUND: &str = "bound";

/// Budgets in tenths of the live data. With the first, which the claims of `scaling` have too, memory is short;
/// with the second it is time and faults that count, and the claim is about that.
pub const BUDGETS: [u64; 2] = [25, 40];
const CLAIMED: u64 = BUDGETS[1];

/// The window that the claim is about, and the least share in it.
const WINDOW_MS: u64 = 20;
const LEAST: f64 = 0.45;

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let tools = Tools::prepare(settings.scale)?;
    let mut answer = Answer::default();
    answer.summary.extend(tools.missing().iter().cloned());
    let peers = tools.available(&[Peer::Ours, Peer::Zgc, Peer::Shenandoah]);
    let program = shrink(PROGRAM, settings.scale);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    answer.summary.push(format!(
        "two threads of binary trees, {} MiB live, one collector thread, {cores} processors;",
        program.live_bytes() >> 20
    ));
    answer.summary.push(
        "lost is what an interval of 256 nodes takes above the median, if it is over 50 us"
            .to_owned(),
    );
    for tenths in BUDGETS {
        let mib = program.budget_mib(tenths);
        let rounds = settings.rounds_or(ROUNDS);
        let budget = format!("{} the live data", times(tenths));
        answer.summary.push(format!("{budget}, {mib} MiB"));
        for runs in compare(QUESTION.name, &tools, &peers, program, mib, rounds)? {
            show(&mut answer, &runs, tenths, "");
            answer.samples.extend(runs.all_series(&format!("threads, {}", times(tenths))));
        }
        answer.summary.push(format!("{budget}, each mutator kept on a processor of its own"));
        let bound = Program { name: BOUND, ..program };
        for runs in compare(QUESTION.name, &tools, &[Peer::Ours], bound, mib, rounds)? {
            show(&mut answer, &runs, tenths, ", bound");
            answer.samples.extend(runs.all_series(&format!("bound, {}", times(tenths))));
            if settings.scale != Scale::Smoke && tenths == CLAIMED {
                answer.claims.push(claim(&runs, &budget));
            }
        }
    }
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
    }
    Ok(answer)
}

/// What mutators keep in each window; `how` they run beside it.
fn show(answer: &mut Answer, runs: &Runs, tenths: u64, how: &str) {
    if runs.finished.is_empty() {
        answer.summary.push(runs.row());
    }
    for window in WINDOWS_MS {
        let together = format!("{}{how}", together(tenths, window));
        let together = series(runs, &together, window, |both| both.1);
        let worse = format!("the worse mutator, {}{how}", label(tenths, window));
        let each = series(runs, &worse, window, |both| both.0);
        answer.summary.extend([together.line(), each.line()]);
        answer.samples.extend([together, each]);
    }
}

fn claim(runs: &Runs, budget: &str) -> Claim {
    let name = format!(
        "utilisation: both mutators in the worst window of {WINDOW_MS} ms, {budget}, bound"
    );
    match series(runs, "", WINDOW_MS, |both| both.1).median() {
        Some(share) => Claim::at_least(&name, share, LEAST, "median of runs".to_owned()),
        None => Claim::unmeasured(&name, LEAST, "our heap did not finish, or lost intervals"),
    }
}

/// A budget, in words.
pub fn times(tenths: u64) -> String {
    format!("{}.{} times", tenths / 10, tenths % 10)
}

/// The name of the share that both mutators keep at one budget, without whose it is.
pub fn together(tenths: u64, window: u64) -> String {
    format!("both mutators, {}", label(tenths, window))
}

/// What a figure is of; the first budget goes without saying, as when there was no other.
fn label(tenths: u64, window: u64) -> String {
    let window = format!("worst window of {window} ms");
    if tenths == BUDGETS[0] { window } else { format!("{window}, {}", times(tenths)) }
}

fn series(runs: &Runs, label: &str, window: u64, of: fn((f64, f64)) -> f64) -> Series {
    runs.series(label, "share", |run| run.utilisation(window).map(of))
}
