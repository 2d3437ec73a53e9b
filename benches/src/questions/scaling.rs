//! Does the longest gap grow with the live heap?

use super::peers::{shrink, tenths};
use super::{Question, Scale, Settings};
use crate::claim::Claim;
use crate::error::BenchError;
use crate::peers::compare::{HEADINGS, Runs, compare, of};
use crate::peers::tools::Tools;
use crate::peers::{Peer, Program};
use crate::report::Answer;
use crate::samples::short;

/// The question.
pub const QUESTION: Question =
    Question { name: "scaling", asks: "does the longest gap grow with the live heap?", run };

const ROUNDS: usize = 3;

const DEPTHS: [u32; 4] = [18, 20, 22, 23];
const BUDGET: u64 = 25;

/// The most that the gap may grow from the smallest tree to the largest.
const GROWTH: f64 = 2.0;

/// The most that our total time may be of Boehm's.
const TOTAL: f64 = 1.2;

/// Peers that take longer than so many times our total time are not compared with: small steps are
/// easy for who takes all day.
const SLOWER: f64 = 3.0;

/// From this depth on our gap must be the smallest.
const SMALLEST_FROM: u32 = 20;

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let tools = Tools::prepare(settings.scale)?;
    let mut answer = Answer::default();
    answer.summary.extend(tools.missing().iter().cloned());
    let wanted: Vec<Peer> =
        Peer::ALL.into_iter().filter(|peer| !matches!(peer, Peer::Malloc | Peer::Rc)).collect();
    let peers = tools.available(&wanted);
    let mut gaps = Vec::new();
    for depth in DEPTHS {
        let program = shrink(Program { name: "gcbench", depth }, settings.scale);
        let mib = program.budget_mib(BUDGET);
        let rounds = settings.rounds_or(ROUNDS);
        let all = compare(QUESTION.name, &tools, &peers, program, mib, rounds)?;
        let live = program.live_bytes() >> 20;
        let label = format!("gcbench {} at {}x", program.depth, short(tenths(BUDGET)));
        answer.summary.push(format!("\n{label}: {live} MiB live, budget {mib} MiB, times in ms"));
        answer.summary.push(HEADINGS.to_owned());
        answer.summary.extend(all.iter().map(Runs::row));
        answer.samples.extend(all.iter().flat_map(|runs| runs.all_series(&label)));
        gaps.push(of(&all, Peer::Ours).map(|runs| runs.gap(&label)));
        if settings.scale == Scale::Full {
            judge(&mut answer, depth, &all, &label);
        }
        if settings.scale == Scale::Smoke {
            return Ok(answer);
        }
    }
    let name = "scaling: longest gap at depth 23 over that at 18";
    answer.claims.push(match (gaps.first(), gaps.last()) {
        (Some(Some(small)), Some(Some(large))) => Claim::at_most(name, large, small, GROWTH),
        _ => Claim::unmeasured(name, GROWTH, "our heap did not finish"),
    });
    Ok(answer)
}

fn judge(answer: &mut Answer, depth: u32, all: &[Runs], label: &str) {
    let name = format!("scaling: {label}: total time over that of boehm");
    let ours = of(all, Peer::Ours);
    answer.claims.push(match (ours, of(all, Peer::Boehm)) {
        (Some(ours), Some(boehm)) => {
            Claim::at_most(&name, &ours.wall(label), &boehm.wall(label), TOTAL)
        }
        _ => Claim::unmeasured(&name, TOTAL, "one of the two did not run"),
    });
    if depth < SMALLEST_FROM {
        return;
    }
    let name = format!("scaling: {label}: longest gap over the smallest of peers in 3x our time");
    let own = ours.and_then(|runs| Some((runs.gap(label).median()?, runs.wall(label).median()?)));
    let Some((own, time)) = own else {
        answer.claims.push(Claim::unmeasured(&name, 1.0, "our heap did not finish"));
        return;
    };
    let rival = |runs: &Runs| {
        let (gap, wall) = (runs.gap(label).median()?, runs.wall(label).median()?);
        (runs.peer != Peer::Ours && wall <= SLOWER * time).then_some((runs.peer, gap))
    };
    let least = all.iter().filter_map(rival).min_by(|a, b| a.1.total_cmp(&b.1));
    answer.claims.push(match least {
        Some((peer, least)) => {
            let because = format!("{} ms over {} ms of {}", short(own), short(least), peer.name());
            Claim::ratio(&name, own / least, 1.0, because)
        }
        None => Claim::unmeasured(&name, 1.0, "no peer was quick enough"),
    });
}
