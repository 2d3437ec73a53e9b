//! Do pauses grow with the heap?

use gc_runtime::{Heap, HeapStats};

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::churn::Churn;
use crate::claim::Claim;
use crate::error::BenchError;
use crate::report::Answer;
use crate::samples::{Series, counter, percentiles_us, since};

/// The question.
pub const QUESTION: Question =
    Question { name: "pauses", asks: "do pauses grow with the heap?", run };

/// Cycles on each side.
const ROUNDS: usize = 10;

/// The most that the flip pause may grow from the small heap to the large one.
const LIMIT: f64 = 2.0;

/// Live data of the two heaps, in MiB.
const fn live_mib(scale: Scale) -> [u64; 2] {
    match scale {
        Scale::Full => [64, 2048],
        Scale::Smoke => [2, 8],
    }
}

/// Half as much again as the live data: room for what mutators allocate during a cycle.
const fn limit_mib(live_mib: u64) -> u64 {
    live_mib + live_mib / 2 + 4
}

/// What one turn shows: the flip and remark pauses of its cycles, in nanoseconds.
struct Turn {
    flip_ns: Vec<u64>,
    remark_ns: Vec<u64>,
}

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let sizes = live_mib(settings.scale);
    let needed_mib = sizes.into_iter().map(limit_mib).sum::<u64>() * 9 / 8;
    settings.need_memory_mib(needed_mib)?;
    let mutators = mutators();
    let mut heaps = Vec::new();
    for live in sizes {
        eprintln!("{}: filling a heap with {live} MiB", QUESTION.name);
        let limit = usize::try_from(limit_mib(live) << 20).expect("it fits into memory");
        let heap = Heap::builder().limit_bytes(limit).collector_threads(1).build()?;
        let churn = Churn::start(&heap, mutators, live << 20)?;
        // The first cycle compacts what filling left behind; it is not what the others are.
        churn.during(|| heap.collect())?;
        let before = heap.stats();
        heaps.push((live, heap, churn, before));
    }
    let sides = heaps
        .iter()
        .map(|(live, heap, churn, _)| Side::new(format!("{live} MiB"), move || turn(heap, churn)));
    let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides.collect())?;

    let mut answer = Answer::default();
    let transport = heaps[0].1.transport();
    answer.summary.push(format!(
        "transport {transport}, {mutators} mutator threads replacing long-lived objects, one collector thread"
    ));
    let mut flips = Vec::new();
    for ((live, heap, churn, before), turns) in heaps.into_iter().zip(yields) {
        let after = heap.stats();
        churn.finish()?;
        let flip = series(format!("{live} MiB: flip pause"), &turns, |turn| &turn.flip_ns);
        let remark = series(format!("{live} MiB: remark pause"), &turns, |turn| &turn.remark_ns);
        answer.summary.extend([flip.line(), remark.line()]);
        answer.summary.extend(distributions(live, &before, &after));
        answer.samples.extend([flip.clone(), remark]);
        flips.push((live, flip));
    }
    let [(small_mib, small), (large_mib, large)] = &flips[..] else {
        unreachable!("there are two sizes");
    };
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
    } else {
        let name = format!("pauses: flip pause at {large_mib} MiB over {small_mib} MiB");
        answer.claims.push(Claim::at_most(&name, large, small, LIMIT));
    }
    Ok(answer)
}

/// Two mutators where they and the collector have a processor each, otherwise one: a pause that
/// waits for a processor says something about the scheduler and nothing about the heap.
fn mutators() -> u32 {
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 2) { 2 } else { 1 }
}

/// One cycle while this heap's mutators run; those of the other heap rest.
fn turn(heap: &Heap, churn: &Churn) -> Result<Turn, BenchError> {
    let before = heap.stats().cycles;
    churn.during(|| heap.collect())?;
    let after = heap.stats();
    // The heap may have started one by itself too.
    let finished = usize::try_from(after.cycles - before).expect("a few");
    let new = || after.cycle_log.iter().rev().take(finished);
    let flip_ns: Vec<u64> = new().map(|cycle| cycle.flip_pause_ns).collect();
    if flip_ns.is_empty() {
        return Err(BenchError::NoCycle);
    }
    Ok(Turn { flip_ns, remark_ns: new().map(|cycle| cycle.remark_pause_ns).collect() })
}

fn series(name: String, turns: &[Turn], of: fn(&Turn) -> &Vec<u64>) -> Series {
    let values = turns.iter().flat_map(of).map(|ns| counter(*ns) / 1000.0).collect();
    Series::new(name, "us", values)
}

fn distributions(live_mib: u64, before: &HeapStats, after: &HeapStats) -> [String; 3] {
    [
        ("flip pauses", &before.flip_pause_ns, &after.flip_pause_ns),
        ("all pauses", &before.pause_ns, &after.pause_ns),
        ("time to safepoint", &before.safepoint_ns, &after.safepoint_ns),
    ]
    .map(|(what, before, after)| {
        percentiles_us(&format!("{live_mib} MiB: {what}"), &since(before, after))
    })
}
