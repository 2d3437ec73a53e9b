//! What are huge pages worth where the heap asks for them, what would they be worth where it refuses,
//! and what does a move out of one cost?

use gc_runtime::Transport;

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::claim::Claim;
use crate::contender::Contender;
use crate::error::BenchError;
use crate::huge_pages::{HUGE_PAGES, Moved, Requests};
use crate::huge_sides::{
    COMPACTION, FIRST_COMPACTION, FIRST_FAULTS, HugeSides, MARKING, OBJECTS_HUGE, SPLIT, SUMMARY,
    TABLES_HUGE, compaction_us, first, later, mark_ms, series, summary_ms,
};
use crate::huge_turn::{HugePages, HugeTurn};
use crate::raw::Advice;
use crate::report::Answer;
use crate::samples::{Series, short};

/// The question.
pub const QUESTION: Question = Question {
    name: "huge",
    asks: "what are huge pages worth where the heap asks for them and where it refuses, and what does a move out of one cost?",
    run,
};

const MOVE: Contender = Contender::Of(Transport::Move);
const STW: Contender = Contender::Of(Transport::Stw);

/// Turns for each side: of heaps, and of requests without a heap.
const ROUNDS: usize = 5;
const REQUEST_ROUNDS: usize = 9;

/// Passes of a turn, where more than the first is of interest.
const PASSES: u64 = 3;

/// The most that marking with side tables in huge pages may take of marking with small ones: what
/// the heap asks for must not cost.
const ASKED: f64 = 1.05;

const NAME_ASKED: &str = "huge: marking with side tables in huge pages, over small ones";
const NAME_SPLIT: &str = "huge: large folios split by a cycle with move";

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    // Bytes in use, and where every huge page is split again.
    let (used, split): (u64, u64) = match settings.scale {
        Scale::Full => (512 << 20, 128 << 20),
        Scale::Smoke => (4 << 20, 4 << 20),
    };
    settings.need_memory_mib((3 * used) >> 20)?;
    let mut answer = Answer::default();
    let (here, missing) = Contender::here();
    let moves = here.contains(&MOVE);
    if !moves {
        answer.summary.extend(missing);
    }
    answer.summary.push(format!(
        "half of what is in use live, one collector thread, no mutator running; medians; {} MiB in use, in the last table {}",
        used >> 20,
        split >> 20
    ));
    let mut claims = Vec::new();
    if moves {
        claims.push(asked(settings, used, &mut answer)?);
    }
    refused(settings, used, &mut answer)?;
    if moves {
        requests(settings, &mut answer)?;
        claims.push(avoided(settings, split, &mut answer)?);
    } else {
        let why = "this kernel cannot move pages";
        claims.push(Claim::unmeasured(NAME_ASKED, ASKED, why));
        claims.push(Claim::unmeasured(NAME_SPLIT, 0.0, why));
    }
    match settings.scale {
        Scale::Full => answer.claims = claims,
        Scale::Smoke => answer.summary.push("smoke scale: no claim is judged".to_owned()),
    }
    Ok(answer)
}

/// Where the heap asks: its side tables.
fn asked(settings: &Settings, used: u64, answer: &mut Answer) -> Result<Claim, BenchError> {
    let sides = HugeSides {
        asks: "side tables, which ask for huge pages",
        contender: MOVE,
        used,
        passes: PASSES,
        sides: [("huge tables", HugePages::AsItIs), ("small tables", HugePages::Nowhere)],
        huge: 0,
        measures: &[
            TABLES_HUGE,
            ("first cycle, marking", "ms", |turn| first(turn, mark_ms)),
            ("first cycle, summary", "ms", |turn| first(turn, summary_ms)),
            ("first cycle, compaction per live MiB", "us", |turn| first(turn, compaction_us)),
            FIRST_FAULTS,
            ("first cycle, in the kernel", "ms", |turn| {
                first(turn, |pass| pass.collecting.system_ns / 1e6)
            }),
            MARKING,
            SUMMARY,
            COMPACTION,
        ],
    };
    let [huge, small] = sides.measure(settings.rounds_or(ROUNDS), answer)?;
    let marking = |turns: &[HugeTurn]| series("marking", "ms", MARKING.2, turns);
    let in_huge = |turns: &[HugeTurn]| series("", "", TABLES_HUGE.2, turns).median();
    Ok(match (in_huge(&huge), in_huge(&small)) {
        (Some(0.0), _) => {
            Claim::unmeasured(NAME_ASKED, ASKED, "the system gives side tables no huge pages")
        }
        (_, Some(mib)) if mib > 0.0 => {
            Claim::unmeasured(NAME_ASKED, ASKED, "huge pages could not be switched off")
        }
        _ => Claim::at_most(NAME_ASKED, &marking(&huge), &marking(&small), ASKED),
    })
}

/// Where it refuses: the objects themselves. A transport that does not move pages shows what is lost.
fn refused(settings: &Settings, used: u64, answer: &mut Answer) -> Result<(), BenchError> {
    let sides = HugeSides {
        asks: "objects' memory under stw, for which this benchmark asks for huge pages",
        contender: STW,
        used,
        passes: PASSES,
        sides: [
            ("huge objects", HugePages::FromBirth(Advice::Ask)),
            ("small objects", HugePages::FromBirth(Advice::Refuse)),
        ],
        huge: 0,
        measures: &[
            OBJECTS_HUGE,
            ("first filling", "ms", |turn| first(turn, |pass| pass.filling.wall_ns / 1e6)),
            ("first filling, in the kernel", "ms", |turn| {
                first(turn, |pass| pass.filling.system_ns / 1e6)
            }),
            ("first filling, page faults", "faults", |turn| {
                first(turn, |pass| pass.filling.faults)
            }),
            ("filling again", "ms", |turn| later(turn, |pass| pass.filling.wall_ns / 1e6)),
            ("reading every item", "ms", |turn| later(turn, |pass| pass.checking.wall_ns / 1e6)),
            FIRST_FAULTS,
            MARKING,
            SUMMARY,
            COMPACTION,
        ],
    };
    sides.measure(settings.rounds_or(ROUNDS), answer)?;
    Ok(())
}

/// What the heap avoids: the same cycle where its refusal holds against attempts to make huge pages,
/// and where it was overruled.
fn avoided(settings: &Settings, used: u64, answer: &mut Answer) -> Result<Claim, BenchError> {
    let sides = HugeSides {
        asks: "objects' memory under move: the heap refuses, and is overruled by this benchmark",
        contender: MOVE,
        used,
        passes: 1,
        sides: [
            ("refused", HugePages::BeforeCycles(Advice::Make)),
            ("overruled", HugePages::FromBirth(Advice::Ask)),
        ],
        huge: 1,
        measures: &[OBJECTS_HUGE, SPLIT, FIRST_COMPACTION],
    };
    let turns = sides.measure(settings.rounds_or(ROUNDS), answer)?;
    let split = turns.map(|turns| series("", "", SPLIT.2, &turns).median());
    Ok(match split {
        [Some(refused), Some(overruled)] if overruled > 0.0 => {
            let because =
                format!("{} where the heap was overruled and had huge pages", short(overruled));
            Claim::ratio(NAME_SPLIT, refused, 0.0, because)
        }
        [_, Some(_)] => Claim::unmeasured(
            NAME_SPLIT,
            0.0,
            "nothing is split where huge pages are asked for either: the system gives none",
        ),
        _ => Claim::unmeasured(NAME_SPLIT, 0.0, "the kernel does not count them"),
    })
}

/// What one request takes, without a heap.
fn requests(settings: &Settings, answer: &mut Answer) -> Result<(), BenchError> {
    let sides = Moved::ALL.map(|moved| Side::new(moved.name(), move || moved.turn()));
    let rounds = settings.rounds_or(REQUEST_ROUNDS);
    let yields = alternate(QUESTION.name, rounds, sides.into_iter().collect())?;
    answer.summary.push(format!("single requests, {HUGE_PAGES} a turn, without a heap"));
    for (moved, turns) in Moved::ALL.into_iter().zip(yields) {
        let turns: Vec<Requests> = turns.into_iter().flatten().collect();
        if turns.is_empty() {
            let why = "not measured: the system gives no huge pages";
            answer.summary.push(format!("{}: {why}", moved.name()));
            continue;
        }
        let of = |what: &str, unit: &str, value: fn(&Requests) -> Option<f64>| {
            let values = turns.iter().filter_map(value).collect();
            Series::new(format!("{}{what}", moved.name()), unit, values)
        };
        let all = [
            of("", "us", |requests| Some(requests.first_us)),
            of(", the next page", "us", |requests| requests.next_us),
            of(", large folios split", "folios", |requests| requests.split),
        ];
        for series in all.into_iter().filter(|series| !series.values.is_empty()) {
            answer.summary.push(series.line());
            answer.samples.push(series);
        }
    }
    Ok(())
}
