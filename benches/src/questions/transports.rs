//! What does compacting a MiB of live data cost with each transport?

use gc_runtime::{Heap, HeapStats, Transport, TransportChoice};

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::claim::Claim;
use crate::error::{BenchError, chain};
use crate::report::Answer;
use crate::samples::{Series, counter, short};
use crate::shape::{Keep, Table};

/// The question.
pub const QUESTION: Question = Question {
    name: "transports",
    asks: "what does compacting a MiB of live data cost with each transport?",
    run,
};

/// The most that MOVE may take of COPY's time, and of CONTINUE's. The copying of objects is the
/// same for all, so these leave the transport itself a far smaller share.
const LIMITS: [(Transport, f64); 2] = [(Transport::Copy, 0.65), (Transport::Continue, 0.55)];

/// Turns for each transport, and measured cycles in each turn.
const ROUNDS: usize = 5;
const CYCLES: usize = 2;

/// Bytes in use when a measured cycle starts; about half of them are live.
const fn used_bytes(scale: Scale) -> u64 {
    match scale {
        Scale::Full => 256 << 20,
        Scale::Smoke => 4 << 20,
    }
}

/// One measured cycle, or the sum over several where the heap started one by itself.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    live_bytes: f64,
    wall_ns: f64,
    cpu_ns: f64,
    ioctls: f64,
    copied: f64,
    slid: f64,
    pages_allocated: f64,
    madvise_calls: f64,
}

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let used = used_bytes(settings.scale);
    let mut answer = Answer::default();
    answer.summary.push(format!(
        "{} MiB in use, about half of it live, one collector thread, no mutator running",
        used >> 20
    ));
    let mut here = Vec::new();
    for transport in Transport::ALL {
        match build(transport, used) {
            Ok(_) => here.push(transport),
            Err(error) => answer.summary.push(format!("{transport}: not here: {}", chain(&error))),
        }
    }
    let sides = here.iter().map(|transport| {
        let transport = *transport;
        Side::new(transport.to_string(), move || turn(transport, used))
    });
    let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides.collect())?;
    for (transport, turns) in here.iter().zip(yields) {
        let cycles: Vec<Cycle> = turns.into_iter().flatten().collect();
        answer.samples.extend(series(*transport, &cycles));
    }
    summarise(&mut answer, &here);
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
    } else {
        answer.claims = LIMITS.map(|(other, limit)| judge(&answer.samples, other, limit)).into();
    }
    Ok(answer)
}

/// A new heap, a warm-up cycle, then the measured ones. A new heap for each turn gives no
/// transport the memory that another one left behind.
fn turn(transport: Transport, used: u64) -> Result<Vec<Cycle>, BenchError> {
    let heap = build(transport, used)?;
    let mut mutator = heap.attach()?;
    let mut cycles = Vec::with_capacity(CYCLES);
    for pass in 0..=CYCLES {
        let seed = u64::try_from(pass).expect("a small number");
        let table = Table::fill(&mut mutator, used, Keep::Half, seed)?;
        let before = heap.stats();
        mutator.collect();
        let after = heap.stats();
        table.check(&mut mutator)?;
        table.clear(&mutator);
        // Empties the heap, so that every pass finds it alike.
        mutator.collect();
        if after.cycles == before.cycles {
            return Err(BenchError::NoCycle);
        }
        let is_warm_up = pass == 0;
        if !is_warm_up {
            cycles.push(Cycle::between(&before, &after));
        }
    }
    Ok(cycles)
}

/// Twice the bytes in use: the heap has no reason to start a cycle by itself while it is filled.
fn build(transport: Transport, used: u64) -> Result<Heap, BenchError> {
    let limit = usize::try_from(2 * used).expect("the sizes here fit into an address space");
    Ok(Heap::builder()
        .limit_bytes(limit)
        .collector_threads(1)
        .transport(TransportChoice::Only(transport))
        .build()?)
}

impl Cycle {
    fn between(before: &HeapStats, after: &HeapStats) -> Self {
        let grown = |of: fn(&HeapStats) -> u64| counter(of(after).saturating_sub(of(before)));
        Self {
            live_bytes: grown(|stats| stats.live_bytes_total),
            wall_ns: grown(|stats| stats.compaction_ns),
            cpu_ns: grown(|stats| stats.compaction_cpu_ns),
            ioctls: grown(|stats| stats.ioctls),
            copied: grown(|stats| stats.bytes_copied),
            slid: grown(|stats| stats.bytes_slid),
            pages_allocated: grown(|stats| stats.pages_allocated),
            madvise_calls: grown(|stats| stats.madvise_calls),
        }
    }

    fn live_mib(&self) -> f64 {
        self.live_bytes / (1024.0 * 1024.0)
    }
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
const COLUMNS: [Column; 7] = [
    Column {
        what: WALL,
        unit: "us",
        heading: "wall us/MiB",
        of: |cycle| cycle.wall_ns / 1000.0 / cycle.live_mib(),
    },
    Column {
        what: "compaction, CPU time per live MiB",
        unit: "us",
        heading: "CPU us/MiB",
        of: |cycle| cycle.cpu_ns / 1000.0 / cycle.live_mib(),
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

fn series(transport: Transport, cycles: &[Cycle]) -> Vec<Series> {
    let one = |column: &Column| {
        let values = cycles.iter().map(column.of).collect();
        Series::new(format!("{transport}: {}", column.what), column.unit, values)
    };
    COLUMNS.iter().map(one).collect()
}

fn find<'a>(samples: &'a [Series], transport: Transport, what: &str) -> Option<&'a Series> {
    let name = format!("{transport}: {what}");
    samples.iter().find(|series| series.name == name)
}

/// The times with their spread, then a table of all medians.
fn summarise(answer: &mut Answer, here: &[Transport]) {
    let times = here.iter().filter_map(|transport| find(&answer.samples, *transport, WALL));
    let mut lines: Vec<String> = times.map(Series::line).collect();
    let mut head = format!("{:<10}", "medians");
    for column in &COLUMNS {
        head.push_str(&format!(" {:>11}", column.heading));
    }
    lines.push(head);
    for transport in here {
        let mut line = format!("{:<10}", transport.to_string());
        for column in &COLUMNS {
            let median = find(&answer.samples, *transport, column.what).and_then(Series::median);
            line.push_str(&format!(" {:>11}", median.map_or("-".to_owned(), short)));
        }
        lines.push(line);
    }
    answer.summary.extend(lines);
}

fn judge(samples: &[Series], other: Transport, limit: f64) -> Claim {
    let name = format!("transports: {} over {other}, {WALL}", Transport::Move);
    match (find(samples, Transport::Move, WALL), find(samples, other, WALL)) {
        (Some(side), Some(over)) => Claim::at_most(&name, side, over, limit),
        _ => Claim::unmeasured(&name, limit, "this machine lacks one of the two transports"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(wall_ns: f64) -> Cycle {
        Cycle {
            live_bytes: 2.0 * 1024.0 * 1024.0,
            wall_ns,
            cpu_ns: 0.0,
            ioctls: 4.0,
            copied: 0.0,
            slid: 0.0,
            pages_allocated: 0.0,
            madvise_calls: 0.0,
        }
    }

    #[test]
    fn figures_are_per_live_mib() {
        let series = series(Transport::Move, &[cycle(6_000.0)]);
        assert_eq!((series[0].values[0], series[2].values[0]), (3.0, 2.0));
    }

    #[test]
    fn a_missing_transport_leaves_the_claim_unproven() {
        let samples = series(Transport::Move, &[cycle(1.0)]);
        assert!(!judge(&samples, Transport::Copy, 0.65).holds);
    }

    #[test]
    fn claims_compare_wall_time() {
        let mut samples = series(Transport::Move, &[cycle(1_000.0)]);
        samples.extend(series(Transport::Copy, &[cycle(2_000.0)]));
        assert_eq!(judge(&samples, Transport::Copy, 0.65).value, Some(0.5));
    }
}
