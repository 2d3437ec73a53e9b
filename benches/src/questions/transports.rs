//! What does compacting a MiB of live data cost with each transport, and above the floor?

use gc_runtime::{Islands, Transport};

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::claim::Claim;
use crate::contender::{Contender, Cycle};
use crate::error::BenchError;
use crate::report::Answer;
use crate::samples::{Series, short};
use crate::shape::{Keep, Shape};

/// The question.
pub const QUESTION: Question = Question {
    name: "transports",
    asks: "what does compacting a MiB of live data cost with each transport, and above the floor?",
    run,
};

const MOVE: Contender = Contender::Of(Transport::Move);
const COPY: Contender = Contender::Of(Transport::Copy);
const CONTINUE: Contender = Contender::Of(Transport::Continue);

/// The most that MOVE may take in total, of the floor and of two other transports.
const TOTALS: [(Contender, f64); 3] = [(Contender::Floor, 1.35), (COPY, 0.50), (CONTINUE, 0.40)];

/// The most that MOVE's share above the floor may be of another's: what a transport costs, without
/// the copying of objects that is the same for all.
const SHARES: [(Contender, f64); 2] = [(COPY, 0.25), (CONTINUE, 0.15)];

/// Turns for each side, and measured cycles in each turn.
const ROUNDS: usize = 4;
const CYCLES: usize = 2;

/// Bytes in use when a measured cycle starts; about half of them are live.
const fn used_bytes(scale: Scale) -> u64 {
    match scale {
        Scale::Full => 1 << 30,
        Scale::Smoke => 4 << 20,
    }
}

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let used = used_bytes(settings.scale);
    settings.need_memory_mib((used >> 20) * 5 / 2)?;
    let mut answer = Answer::default();
    answer.summary.push(format!(
        "{} MiB in use, about half of it live, one collector thread, no mutator running",
        used >> 20
    ));
    let (here, missing) = Contender::here();
    answer.summary.extend(missing);
    let sides = here.iter().map(|contender| {
        let contender = *contender;
        Side::new(contender.to_string(), move || {
            contender.turn(used, Shape::mixed(Keep::Percent(50)), Islands::On, CYCLES)
        })
    });
    let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides.collect())?;
    for (contender, turns) in here.iter().zip(yields) {
        let cycles: Vec<Cycle> = turns.into_iter().flatten().collect();
        answer.samples.extend(series(*contender, &cycles));
    }
    summarise(&mut answer, &here);
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
    } else {
        answer.claims.extend(TOTALS.map(|(other, limit)| total(&answer.samples, other, limit)));
        answer.claims.extend(SHARES.map(|(other, limit)| share(&answer.samples, other, limit)));
    }
    Ok(answer)
}

/// What is measured, its unit, its heading in the table, and how it follows from a cycle.
struct Column {
    what: &'static str,
    unit: &'static str,
    heading: &'static str,
    of: fn(&Cycle) -> f64,
}

const WALL: &str = "compaction, wall time per live MiB";

/// What the claims are about comes first.
const COLUMNS: [Column; 8] = [
    Column { what: WALL, unit: "us", heading: "wall us/MiB", of: Cycle::wall_us_per_mib },
    Column {
        what: "compaction, CPU time per live MiB",
        unit: "us",
        heading: "CPU us/MiB",
        of: |cycle| cycle.cpu_ns / 1000.0 / cycle.live_mib(),
    },
    Column {
        what: "deposit, wall time per live MiB",
        unit: "us",
        heading: "deposit",
        of: |cycle| cycle.deposit_ns / 1000.0 / cycle.live_mib(),
    },
    Column {
        what: "ioctls per live MiB",
        unit: "calls",
        heading: "ioctls/MiB",
        of: |cycle| cycle.ioctls / cycle.live_mib(),
    },
    Column {
        what: "bytes copied per live byte",
        unit: "bytes",
        heading: "copied B/B",
        of: |cycle| cycle.copied / cycle.live_bytes,
    },
    Column {
        what: "bytes slid per live byte",
        unit: "bytes",
        heading: "slid B/B",
        of: |cycle| cycle.slid / cycle.live_bytes,
    },
    Column {
        what: "pages allocated per cycle",
        unit: "pages",
        heading: "new pages",
        of: |cycle| cycle.pages_allocated,
    },
    Column {
        what: "madvise calls per cycle",
        unit: "calls",
        heading: "madvises",
        of: |cycle| cycle.madvise_calls,
    },
];

fn series(contender: Contender, cycles: &[Cycle]) -> Vec<Series> {
    let one = |column: &Column| {
        let values = cycles.iter().map(column.of).collect();
        Series::new(format!("{contender}: {}", column.what), column.unit, values)
    };
    COLUMNS.iter().map(one).collect()
}

fn find<'a>(samples: &'a [Series], contender: Contender, what: &str) -> Option<&'a Series> {
    let name = format!("{contender}: {what}");
    samples.iter().find(|series| series.name == name)
}

fn wall(samples: &[Series], contender: Contender) -> Option<f64> {
    find(samples, contender, WALL).and_then(Series::median)
}

/// The times with their spread, then a table of all medians, with the wall time as a multiple of
/// the floor's.
fn summarise(answer: &mut Answer, here: &[Contender]) {
    let times = here.iter().filter_map(|contender| find(&answer.samples, *contender, WALL));
    let mut lines: Vec<String> = times.map(Series::line).collect();
    let mut head = format!("{:<9} {:>7} {:>7}", "medians", "x floor", "above");
    for column in &COLUMNS {
        head.push_str(&format!(" {:>11}", column.heading));
    }
    lines.push(head);
    let floor = wall(&answer.samples, Contender::Floor);
    for contender in here {
        let own = wall(&answer.samples, *contender);
        let (times, above) = match (own, floor) {
            (Some(own), Some(floor)) => (format!("{:.2}", own / floor), short(own - floor)),
            _ => ("-".to_owned(), "-".to_owned()),
        };
        let mut line = format!("{contender:<9} {times:>7} {above:>7}");
        for column in &COLUMNS {
            let median = find(&answer.samples, *contender, column.what).and_then(Series::median);
            line.push_str(&format!(" {:>11}", median.map_or("-".to_owned(), short)));
        }
        lines.push(line);
    }
    answer.summary.extend(lines);
}

fn total(samples: &[Series], other: Contender, limit: f64) -> Claim {
    let name = format!("transports: {MOVE} over {other}, {WALL}");
    match (find(samples, MOVE, WALL), find(samples, other, WALL)) {
        (Some(side), Some(over)) => Claim::at_most(&name, side, over, limit),
        _ => Claim::unmeasured(&name, limit, "this machine lacks one of the two"),
    }
}

fn share(samples: &[Series], other: Contender, limit: f64) -> Claim {
    let name = format!("transports: {MOVE} above the floor over {other} above the floor");
    let sides = (wall(samples, MOVE), wall(samples, other), wall(samples, Contender::Floor));
    let (Some(own), Some(over), Some(floor)) = sides else {
        return Claim::unmeasured(&name, limit, "this machine lacks one of the two");
    };
    let (own, over) = (own - floor, over - floor);
    let because = format!("{} over {} us/MiB", short(own), short(over));
    if over <= 0.0 {
        return Claim::unmeasured(&name, limit, &because);
    }
    Claim::ratio(&name, own / over, limit, because)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(wall_ns: f64) -> Cycle {
        Cycle { live_bytes: 2.0 * 1024.0 * 1024.0, wall_ns, ioctls: 4.0, ..Cycle::default() }
    }

    fn samples(walls: [(Contender, f64); 3]) -> Vec<Series> {
        walls.into_iter().flat_map(|(contender, ns)| series(contender, &[cycle(ns)])).collect()
    }

    #[test]
    fn figures_are_per_live_mib() {
        let series = series(MOVE, &[cycle(6_000.0)]);
        assert_eq!((series[0].values[0], series[3].values[0]), (3.0, 2.0));
    }

    #[test]
    fn a_missing_transport_leaves_the_claims_unproven() {
        let samples = series(MOVE, &[cycle(1.0)]);
        assert!(!total(&samples, COPY, 0.65).holds);
        assert!(!share(&samples, COPY, 0.65).holds);
    }

    #[test]
    fn claims_compare_wall_time_in_total_and_above_the_floor() {
        let samples = samples([(MOVE, 3_000.0), (COPY, 4_000.0), (Contender::Floor, 2_000.0)]);
        assert_eq!(total(&samples, COPY, 0.65).value, Some(0.75));
        assert_eq!(share(&samples, COPY, 0.65).value, Some(0.5));
    }
}
