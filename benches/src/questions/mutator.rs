//! What do allocation and the idle write barrier cost, in time and in instructions?

use std::time::Instant;

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
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
    for (operation, ns) in Operation::ALL.into_iter().zip(yields) {
        let time = Series::new(format!("{}: time", operation.name()), "ns", ns);
        answer.summary.push(time.line());
        answer.samples.push(time);
        match instructions(operation) {
            Ok(number) => {
                let name = format!("{}: instructions", operation.name());
                answer.summary.push(format!("{name}: {number:.1}, by single-stepping"));
                answer.samples.push(Series::new(name, "instructions", vec![number]));
            }
            Err(error) => answer.summary.push(chain(&error)),
        }
    }
    Ok(answer)
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
