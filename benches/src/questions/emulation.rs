//! How long does the published emulation of a compaction take, by COPY and by MOVE?

use std::time::Duration;

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::claim::Claim;
use crate::emulated::{Completion, Method, Run, Shape, emulate};
use crate::error::BenchError;
use crate::report::Answer;
use crate::samples::{Series, counter};

/// The question.
pub const QUESTION: Question = Question {
    name: "emulation",
    asks: "how long does the published emulation of a compaction take, by COPY and by MOVE?",
    run,
};

/// The most that MOVE may take of COPY's time.
const LIMIT: f64 = 0.40;

const ROUNDS: usize = 7;

const METHODS: [(Method, &str); 3] = [
    (Method::Copy, "copy"),
    (Method::Move, "move"),
    (Method::MoveAndRelease, "move, left-over pages given back"),
];

/// The loads. Between two touches an accessor is busy with something else, as programs are. Then as
/// many pages at a fault by COPY as by MOVE. The last three are where MOVE is weak: pages that are put
/// in place one by one.
const SHAPES: [Shape; 8] = [
    suiting(0),
    suiting(1),
    suiting(2),
    suiting(4),
    Shape { fault: Run::Cluster, ..suiting(1) },
    Shape { fault: Run::OnePage, ..suiting(1) },
    Shape { think: Duration::ZERO, fault: Run::OnePage, ..suiting(1) },
    Shape { run: Run::OnePage, fault: Run::OnePage, ..suiting(1) },
];

/// As many pages at once as suit the method, beside programs that do something else too.
const fn suiting(accessors: usize) -> Shape {
    Shape { accessors, think: THINK, run: Run::Suiting, fault: Run::Suiting }
}

const THINK: Duration = Duration::from_micros(20);

fn name(method: Method, word: &str, shape: Shape) -> String {
    let Shape { accessors, think, run, fault } = shape;
    let (run, fault) = (run.pages(method), fault.fault_pages(method));
    format!(
        "{word}, {accessors} accessors thinking {} us, {run} pages at once, {fault} at a fault",
        think.as_micros()
    )
}

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let old = match settings.scale {
        Scale::Full => 65_536,
        Scale::Smoke => 512,
    };
    settings.need_memory_mib(1024)?;
    let mut answer = Answer::default();
    answer.summary.push(format!(
        "{} MiB set aside, half of each page live, one compaction thread; time until all is in place",
        old / 256
    ));
    let mut sides = Vec::new();
    let mut keys = Vec::new();
    for shape in SHAPES {
        for (method, word) in METHODS {
            keys.push((shape, method));
            sides.push(Side::new(name(method, word, shape), move || emulate(method, old, shape)));
        }
    }
    let names: Vec<String> = sides.iter().map(|side| side.name.clone()).collect();
    let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides)?;
    let mut times = Vec::new();
    for (name, turns) in names.iter().zip(&yields) {
        let of = |of: fn(&Completion) -> f64| turns.iter().map(of).collect();
        let time = Series::new(
            format!("{name}: completion"),
            "ms",
            of(|turn| turn.time.as_secs_f64() * 1000.0),
        );
        let faults = Series::new(
            format!("{name}: pages by fault"),
            "pages",
            of(|turn| counter(turn.faults)),
        );
        answer.summary.push(format!(
            "{}; {:.0} pages by fault",
            time.line(),
            faults.median().unwrap_or(0.0)
        ));
        times.push(time.clone());
        answer.samples.extend([time, faults]);
    }
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
        return Ok(answer);
    }
    let find = |shape, method| {
        let at = keys.iter().position(|key| *key == (shape, method));
        &times[at.expect("every shape has every method")]
    };
    let claimed = |shape: &Shape| shape.accessors > 0 && *shape == suiting(shape.accessors);
    for shape in SHAPES.into_iter().filter(claimed) {
        let name = format!("emulation: MOVE over COPY, {} accessors", shape.accessors);
        let (side, over) = (find(shape, Method::Move), find(shape, Method::Copy));
        answer.claims.push(Claim::at_most(&name, side, over, LIMIT));
    }
    Ok(answer)
}
