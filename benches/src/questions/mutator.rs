//! What do allocation and the idle write barrier cost, in time and in instructions?

use std::time::Instant;

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::claim::Claim;
use crate::error::{BenchError, chain};
use crate::operation::{Bench, Operation};
use crate::report::Answer;
use crate::samples::Series;
use crate::single_step::instructions;

/// The question.
pub const QUESTION: Question = Question {
    name: "mutator",
    asks: "what do allocation and the idle write barrier cost, in time and in instructions?",
    run,
};

const ROUNDS: usize = 15;

/// The most instructions of an allocation.
const ALLOCATION: f64 = 8.0;

/// What is counted for it: machine code as published, and the public interface.
const ALLOCATIONS: [Operation; 2] = [Operation::PublishedAllocate, Operation::Allocate];

/// The most instructions of an idle barrier above those it cannot do without.
const BARRIER: f64 = 2.0;
const LOAD_TEST_BRANCH: f64 = 3.0;

/// Stores with and without the barrier, otherwise the same.
const BARRIERS: [[Operation; 2]; 3] = [
    [Operation::PublishedStore, Operation::PlainStore],
    [Operation::BarrierStore, Operation::PlainStore],
    [Operation::RecordStore, Operation::RecordWord],
];

const NOTES: [&str; 3] = [
    "as published: the sequences of JitLayout, assembled into this program; the block is in a register;",
    "a record is allocated without a root, as compiled code does; the root costs what the row below it has more;",
    "checked: the record's own header says how many slots it has, and the heap where it ends.",
];

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let times = match settings.scale {
        Scale::Full => 1_000_000,
        Scale::Smoke => 10_000,
    };
    let mut answer = Answer::default();
    answer.summary.push(
        "four words an allocation; the heap's buffers are refilled and cleared in its time, and no cycle runs"
            .to_owned(),
    );
    let bench = std::cell::RefCell::new(Bench::new()?);
    bench.borrow_mut().run(Operation::Allocate, times)?;
    let sides = Operation::ALL.map(|operation| {
        let bench = &bench;
        Side::new(operation.name(), move || turn(&mut bench.borrow_mut(), operation, times))
    });
    let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides.into())?;
    let mut counted = Counted::default();
    for (operation, ns) in Operation::ALL.into_iter().zip(yields) {
        let time = Series::new(format!("{}: time", operation.name()), "ns", ns);
        answer.summary.push(time.line());
        answer.samples.push(time);
        match instructions(operation) {
            Ok(number) => {
                let name = format!("{}: instructions", operation.name());
                counted.push((operation, number));
                let own = number - of(&counted, Operation::Loop).unwrap_or_default();
                answer.summary.push(format!(
                    "{name}: {number:.1}, by single-stepping; {own:.1} without the loop"
                ));
                answer.samples.push(Series::new(name, "instructions", vec![number]));
            }
            Err(error) => answer.summary.push(chain(&error)),
        }
    }
    answer.summary.extend(NOTES.map(str::to_owned));
    if settings.scale == Scale::Full {
        answer.claims.extend(ALLOCATIONS.map(|side| allocation(&counted, side)));
        answer.claims.extend(BARRIERS.map(|sides| barrier(&counted, sides)));
    }
    Ok(answer)
}

/// Instructions of an operation with its loop.
type Counted = Vec<(Operation, f64)>;

fn of(counted: &Counted, operation: Operation) -> Option<f64> {
    counted.iter().find(|(other, _)| *other == operation).map(|(_, number)| *number)
}

/// An allocation, header included, without the loop around it.
fn allocation(counted: &Counted, side: Operation) -> Claim {
    let name = format!("mutator: {}: instructions", side.name());
    match (of(counted, side), of(counted, Operation::Loop)) {
        (Some(all), Some(around)) => {
            let because = format!("{all:.1} with a loop of {around:.1}, header written");
            Claim::ratio(&name, all - around, ALLOCATION, because)
        }
        _ => Claim::unmeasured(&name, ALLOCATION, "nothing was counted"),
    }
}

/// What a barrier adds to the same store without one, above its load, test and branch.
fn barrier(counted: &Counted, [with, without]: [Operation; 2]) -> Claim {
    let name = format!("mutator: {}: instructions above load, test and branch", with.name());
    match (of(counted, with), of(counted, without)) {
        (Some(with), Some(without)) => {
            let because = format!("{with:.1} with, {without:.1} without");
            Claim::ratio(&name, with - without - LOAD_TEST_BRANCH, BARRIER, because)
        }
        _ => Claim::unmeasured(&name, BARRIER, "nothing was counted"),
    }
}

/// Nanoseconds an operation.
fn turn(bench: &mut Bench, operation: Operation, times: u32) -> Result<f64, BenchError> {
    bench.collect();
    let cycles = bench.cycles();
    let began = Instant::now();
    bench.run(operation, times)?;
    let took = began.elapsed();
    if bench.cycles() != cycles {
        return Err(BenchError::Cycle);
    }
    Ok(took.as_secs_f64() * 1e9 / f64::from(times))
}
