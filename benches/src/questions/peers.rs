//! How do whole programs run on other collectors, with the same memory?

use super::{Question, Scale, Settings};
use crate::claim::Claim;
use crate::error::BenchError;
use crate::peers::compare::{HEADINGS, Runs, compare, least_gap, of};
use crate::peers::tools::Tools;
use crate::peers::{Peer, Program};
use crate::report::Answer;
use crate::samples::short;

/// The question.
pub const QUESTION: Question = Question {
    name: "peers",
    asks: "how do whole programs run on other collectors, with the same memory?",
    run,
};

const ROUNDS: usize = 3;

/// Budgets in tenths of the live size; the claims are about the second.
const BUDGETS: [u64; 3] = [20, 15, 30];
const CLAIMED: u64 = 20;

/// Those whose gaps the claims compare with.
const RIVALS: [Peer; 4] = [Peer::Boehm, Peer::Zgc, Peer::Shenandoah, Peer::G1];

/// Programs, the most that our total time may be of a peer's, and our longest gap of the smallest.
struct Row {
    program: Program,
    totals: &'static [(Peer, f64)],
    gap: Option<f64>,
}

const ROWS: [Row; 3] = [
    Row {
        program: Program { name: "gcbench", depth: 20 },
        totals: &[(Peer::Zgc, 0.5), (Peer::Shenandoah, 0.5), (Peer::Boehm, 1.2)],
        gap: Some(0.2),
    },
    Row {
        program: Program { name: "binary", depth: 20 },
        totals: &[(Peer::Boehm, 0.9), (Peer::Shenandoah, 0.9)],
        gap: Some(0.5),
    },
    Row { program: Program { name: "threads", depth: 20 }, totals: &[], gap: None },
];

/// What the table does not show; printed below it.
const CAVEATS: [&str; 7] = [
    "gcbench is nearly pure allocation: the worst case of ZGC and Shenandoah in JDK 17, neither of which is generational;",
    "collectors with generations (java-serial, java-g1) do not mark the old tree in most cycles, and win on total time;",
    "gc-arena, malloc and rc have no budget; go aims at its budget (GOMEMLIMIT) and may exceed it;",
    "ZGC maps its heap several times: its RSS is overstated;",
    "the gap of malloc and rc is the freeing of whole trees; total time of Java includes its start;",
    "objects are 32 bytes here, in Boehm's heap and in Serial, G1 and Shenandoah; 24 in Go, 40 in ZGC;",
    "one mutator on two processors (threads: two): a concurrent collector has a processor to itself.",
];

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let tools = Tools::prepare(settings.scale)?;
    let mut answer = Answer::default();
    answer.summary.extend(tools.missing().iter().cloned());
    for budget in BUDGETS {
        for row in &ROWS {
            let program = shrink(row.program, settings.scale);
            let mib = program.budget_mib(budget);
            let wanted: Vec<Peer> = Peer::ALL
                .into_iter()
                .filter(|peer| peer.has_budget() || budget == CLAIMED)
                .collect();
            let peers = tools.available(&wanted);
            let rounds = settings.rounds_or(ROUNDS);
            let all = compare(QUESTION.name, &tools, &peers, program, mib, rounds)?;
            let label = format!("{} {} at {}x", program.name, program.depth, short(tenths(budget)));
            let live = program.live_bytes() >> 20;
            answer
                .summary
                .push(format!("\n{label}: {live} MiB live, budget {mib} MiB, times in ms"));
            answer.summary.push(HEADINGS.to_owned());
            answer.summary.extend(all.iter().map(Runs::row));
            answer.samples.extend(all.iter().flat_map(|runs| runs.all_series(&label)));
            if settings.scale == Scale::Smoke {
                return Ok(answer);
            }
            if budget == CLAIMED {
                judge(&mut answer, row, &all, &label);
            }
        }
    }
    answer.summary.push(String::new());
    answer.summary.extend(CAVEATS.map(str::to_owned));
    Ok(answer)
}

/// Small trees for seeing that it runs.
pub(super) fn shrink(program: Program, scale: Scale) -> Program {
    match scale {
        Scale::Full => program,
        Scale::Smoke => Program { name: "threads", depth: 15 },
    }
}

/// A budget as people write it.
pub(super) fn tenths(budget: u64) -> f64 {
    crate::samples::counter(budget) / 10.0
}

fn judge(answer: &mut Answer, row: &Row, all: &[Runs], label: &str) {
    let ours = of(all, Peer::Ours);
    for (peer, limit) in row.totals {
        let name = format!("peers: {label}: total time over that of {}", peer.name());
        answer.claims.push(match (ours, of(all, *peer)) {
            (Some(ours), Some(other)) => {
                Claim::at_most(&name, &ours.wall(label), &other.wall(label), *limit)
            }
            _ => Claim::unmeasured(&name, *limit, "one of the two did not run"),
        });
    }
    let Some(limit) = row.gap else { return };
    let name =
        format!("peers: {label}: longest gap over the smallest of Boehm, ZGC, Shenandoah, G1");
    let own = ours.and_then(|runs| runs.gap(label).median());
    answer.claims.push(match (own, least_gap(all, &RIVALS)) {
        (Some(own), Some((peer, least))) => {
            let because = format!("{} ms over {} ms of {}", short(own), short(least), peer.name());
            Claim::ratio(&name, own / least, limit, because)
        }
        _ => Claim::unmeasured(&name, limit, "ours or all of them did not run"),
    });
}
