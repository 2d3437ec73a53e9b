//! How does the cost of compaction follow the share that is live?

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::contender::{Contender, Cycle};
use crate::error::BenchError;
use crate::report::Answer;
use crate::samples::{Series, short};
use crate::shape::{Keep, Shape};
use gc_runtime::Islands;

/// The question.
pub const QUESTION: Question = Question {
    name: "fraction",
    asks: "how does the cost of compaction follow the share that is live?",
    run,
};

const ROUNDS: usize = 3;
const CYCLES: usize = 2;

/// Shares that are live, in percent.
pub const PERCENT: [u64; 5] = [10, 30, 50, 70, 90];

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let used: u64 = match settings.scale {
        Scale::Full => 128 << 20,
        Scale::Smoke => 2 << 20,
    };
    let mut answer = Answer::default();
    let (here, missing) = Contender::here();
    answer.summary.extend(missing);
    answer.summary.push(format!(
        "{} MiB in use, one collector thread, no mutator running; medians in ms a cycle",
        used >> 20
    ));
    let mut head = format!("{:<10}", "live");
    here.iter().for_each(|contender| head.push_str(&format!(" {contender:>9}")));
    answer.summary.push(head);
    for percent in PERCENT {
        let sides = here.iter().map(|contender| {
            let contender = *contender;
            let shape = Shape::mixed(Keep::Percent(percent));
            Side::new(format!("{contender}, {percent} % live"), move || {
                contender.turn(used, shape, Islands::On, CYCLES)
            })
        });
        let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides.collect())?;
        let mut line = format!("{:<10}", format!("{percent} %"));
        for (contender, turns) in here.iter().zip(yields) {
            let ms = |cycle: Cycle| cycle.wall_ns / 1e6;
            let values = turns.into_iter().flatten().map(ms).collect();
            let series = Series::new(name(*contender, percent), "ms", values);
            line.push_str(&format!(" {:>9}", series.median().map_or("-".to_owned(), short)));
            answer.samples.push(series);
        }
        answer.summary.push(line);
    }
    Ok(answer)
}

/// The name of a series, for the report.
#[must_use]
pub fn name(contender: Contender, percent: u64) -> String {
    format!("{contender}: compaction, {percent} % live")
}
