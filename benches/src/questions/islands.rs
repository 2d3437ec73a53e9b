//! What is it worth to slide pages that are live enough, instead of copying their objects?

use gc_runtime::{Islands, Transport};

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::claim::Claim;
use crate::contender::{Contender, Cycle};
use crate::demo::{self, DemoRun};
use crate::error::BenchError;
use crate::report::Answer;
use crate::samples::{Series, quantile, short};
use crate::shape::{Items, Keep, Shape};

/// The question.
pub const QUESTION: Question = Question {
    name: "islands",
    asks: "what is it worth to slide pages that are live enough, instead of copying their objects?",
    run,
};

const MOVE: Contender = Contender::Of(Transport::Move);

/// Turns for each side, and measured cycles in each turn.
const ROUNDS: usize = 3;
const CYCLES: usize = 3;

/// Shares that are live, in percent.
const PERCENT: [u64; 6] = [10, 30, 50, 70, 90, 99];

/// From this share on, islands must pay where deaths come in clumps.
const DENSE_PERCENT: u64 = 70;

/// The most that may be copied, in bytes per live byte: where deaths come in clumps and seven tenths
/// are live, and of large objects without references.
const COPIED_IN_CLUMPS: f64 = 0.20;
const COPIED_OF_LARGE: f64 = 0.05;

/// The most time that islands may cost anywhere, and where they must pay, over time without them.
const SLOWER: f64 = 1.05;
const FASTER: f64 = 0.50;

/// The most that moving a huge page may take, of what its pages take one by one.
const HUGE: f64 = 0.05;

/// Whole programs, and turns for each side.
const WORKLOADS: [&str; 2] = ["index", "lru"];
const PROGRAM_ROUNDS: usize = 3;

/// A cycle that moves less than this, in MiB, has not compacted: the heap was dense already.
const NOTHING_MIB: f64 = 1.0;

/// One line of the table.
struct Row {
    shape: Shape,
    off: Vec<Cycle>,
    on: Vec<Cycle>,
}

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let used: u64 = match settings.scale {
        Scale::Full => 128 << 20,
        Scale::Smoke => 4 << 20,
    };
    let mut answer = Answer::default();
    let (here, missing) = Contender::here();
    if !here.contains(&MOVE) {
        answer.summary.extend(missing);
        answer.claims.push(Claim::unmeasured("islands", FASTER, "this kernel cannot move pages"));
        return Ok(answer);
    }
    answer.summary.push(format!(
        "{} MiB in use, {MOVE}, one collector thread, no mutator running; medians; time is summary, flip, compaction and finish",
        used >> 20
    ));
    answer.summary.push(format!(
        "{:<38} {:>9} {:>9} {:>7} {:>10} {:>10} {:>10} {:>9}",
        "live", "off ms", "on ms", "on/off", "off copied", "on copied", "on slid", "islands"
    ));
    let mut rows = Vec::new();
    for shape in shapes() {
        let sides = [Islands::Off, Islands::On].map(|islands| {
            Side::new(name(shape, islands), move || MOVE.turn(used, shape, islands, CYCLES))
        });
        let mut yields =
            alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides.into_iter().collect())?
                .into_iter()
                .map(|turns| turns.into_iter().flatten().collect::<Vec<_>>());
        let (off, on) = (yields.next().unwrap_or_default(), yields.next().unwrap_or_default());
        let row = Row { shape, off, on };
        answer.summary.push(row.line());
        answer.samples.extend(row.samples());
        rows.push(row);
    }
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
    } else {
        answer.claims = claims(&rows);
        let claim = huge_pages(&mut answer.samples, &mut answer.summary)?;
        answer.claims.push(claim);
        for workload in WORKLOADS {
            programs(workload, settings, &mut answer)?;
        }
    }
    Ok(answer)
}

/// What a huge page would be worth to an island. Heaps refuse them: their pages are built one by one.
fn huge_pages(samples: &mut Vec<Series>, summary: &mut Vec<String>) -> Result<Claim, BenchError> {
    let name = "islands: a move of 2 MiB, one huge page over page by page";
    let Some(sides) = crate::huge_pages::moves()? else {
        return Ok(Claim::unmeasured(name, HUGE, "the system gives no huge pages"));
    };
    summary.extend(sides.iter().map(Series::line));
    let claim = Claim::at_most(name, &sides[0], &sides[1], HUGE);
    samples.extend(sides);
    Ok(claim)
}

/// A whole program with islands and without.
fn programs(workload: &str, settings: &Settings, answer: &mut Answer) -> Result<(), BenchError> {
    let sides = ["off", "on"].map(|islands| {
        let args = ["--workload", workload, "--transport", "move", "--islands", islands];
        Side::new(format!("{workload}, islands {islands}"), move || demo::run(&args))
    });
    let rounds = settings.rounds_or(PROGRAM_ROUNDS);
    let mut yields = alternate(QUESTION.name, rounds, sides.into_iter().collect())?
        .into_iter()
        .map(|runs| runs.into_iter().flatten().collect::<Vec<DemoRun>>());
    let (off, on) = (yields.next().unwrap_or_default(), yields.next().unwrap_or_default());
    let name = format!("islands: time over time without, workload {workload}");
    if off.is_empty() || on.is_empty() {
        let why = "gc-demo is not built beside this program (./x bench builds it)";
        answer.claims.push(Claim::unmeasured(&name, SLOWER, why));
        return Ok(());
    }
    let series = |side: &str, what: &str, unit: &str, runs: &[DemoRun], of: fn(&DemoRun) -> f64| {
        let values = runs.iter().map(of).collect();
        Series::new(format!("workload {workload}, islands {side}: {what}"), unit, values)
    };
    let us = |run: &DemoRun| run.compaction_ns_per_live_mib / 1000.0;
    let [off_us, on_us] = [("off", &off), ("on", &on)]
        .map(|(side, runs)| series(side, "compaction per live MiB", "us", runs, us));
    let copied = [("off", &off), ("on", &on)].map(|(side, runs)| {
        let of = |run: &DemoRun| run.bytes_copied_per_live_byte;
        series(side, "copied per live byte", "bytes", runs, of)
    });
    answer.claims.push(Claim::at_most(&name, &on_us, &off_us, SLOWER));
    answer.samples.extend([off_us, on_us]);
    answer.samples.extend(copied);
    answer.summary.extend(answer.samples.iter().rev().take(4).rev().map(Series::line));
    Ok(())
}

/// All lines of the table. Large objects die one by one: each is a clump of its own.
fn shapes() -> Vec<Shape> {
    let clumps = |items| PERCENT.map(|percent| Shape { items, keep: Keep::Clumps(percent) });
    let random = |items| PERCENT.map(|percent| Shape { items, keep: Keep::Percent(percent) });
    [
        clumps(Items::Pointers),
        clumps(Items::Leaves),
        random(Items::LargeLeaves),
        random(Items::Pointers),
        random(Items::Leaves),
    ]
    .concat()
}

fn label(shape: Shape) -> String {
    let items = match shape.items {
        Items::Mixed => "mixed items",
        Items::Pointers => "records of references",
        Items::Leaves => "leaves",
        Items::LargeLeaves => "large leaves",
    };
    match shape.keep {
        Keep::All => format!("{items}, all"),
        Keep::Percent(percent) => format!("{items}, {percent} % at random"),
        Keep::Clumps(percent) => format!("{items}, {percent} % in clumps"),
    }
}

fn name(shape: Shape, islands: Islands) -> String {
    let islands = match islands {
        Islands::On => "islands on",
        Islands::Off => "islands off",
    };
    format!("{}, {islands}", label(shape))
}

fn ms(cycle: &Cycle) -> f64 {
    (cycle.wall_ns + cycle.summary_ns) / 1e6
}

fn copied(cycle: &Cycle) -> f64 {
    cycle.copied / cycle.live_bytes.max(1.0)
}

fn median(cycles: &[Cycle], of: impl Fn(&Cycle) -> f64) -> f64 {
    quantile(&cycles.iter().map(of).collect::<Vec<_>>(), 0.5).unwrap_or(f64::NAN)
}

impl Row {
    /// Time with islands over time without; nothing if there was nothing to compact.
    ///
    /// It is the median of the rounds' own ratios: a machine that is slower for a while makes both
    /// sides of a round slower.
    fn ratio(&self) -> Option<f64> {
        let moved = |cycle: &Cycle| (cycle.copied + cycle.slid) / 1_048_576.0;
        let least = median(&self.off, moved).min(median(&self.on, moved));
        let ratios: Vec<f64> =
            self.off.iter().zip(&self.on).map(|(off, on)| ms(on) / ms(off)).collect();
        (least > NOTHING_MIB).then(|| quantile(&ratios, 0.5)).flatten()
    }

    fn line(&self) -> String {
        let slid = median(&self.on, |cycle| cycle.slid / cycle.live_bytes.max(1.0));
        format!(
            "{:<38} {:>9} {:>9} {:>7} {:>10} {:>10} {:>10} {:>9}",
            label(self.shape),
            short(median(&self.off, ms)),
            short(median(&self.on, ms)),
            self.ratio().map_or("dense".to_owned(), |ratio| format!("{ratio:.2}")),
            format!("{:.3}", median(&self.off, copied)),
            format!("{:.3}", median(&self.on, copied)),
            format!("{slid:.3}"),
            short(median(&self.on, |cycle| cycle.islands)),
        )
    }

    fn samples(&self) -> Vec<Series> {
        let both = [(Islands::Off, &self.off), (Islands::On, &self.on)];
        let series = |(islands, cycles): (Islands, &Vec<Cycle>)| {
            let name = name(self.shape, islands);
            [
                Series::new(format!("{name}: compaction"), "ms", cycles.iter().map(ms).collect()),
                Series::new(
                    format!("{name}: copied per live byte"),
                    "bytes",
                    cycles.iter().map(copied).collect(),
                ),
            ]
        };
        both.into_iter().flat_map(series).collect()
    }
}

/// The worst of the rows that `counts` picks, and which that is.
fn worst(
    rows: &[Row],
    counts: impl Fn(&Row) -> bool,
    value: impl Fn(&Row) -> Option<f64>,
) -> Option<(f64, String)> {
    rows.iter()
        .filter(|row| counts(row))
        .filter_map(|row| Some((value(row)?, label(row.shape))))
        .max_by(|one, other| one.0.total_cmp(&other.0))
}

fn claims(rows: &[Row]) -> Vec<Claim> {
    let claim = |name: &str, limit: f64, worst: Option<(f64, String)>| match worst {
        Some((value, row)) => Claim::ratio(&format!("islands: {name}"), value, limit, row),
        None => Claim::unmeasured(&format!("islands: {name}"), limit, "nothing was compacted"),
    };
    let pays = |row: &Row| match row.shape {
        Shape { items: Items::LargeLeaves, keep: Keep::Percent(percent) }
        | Shape { keep: Keep::Clumps(percent), .. } => percent >= DENSE_PERCENT,
        _ => false,
    };
    let seven_tenths = |row: &Row| row.shape.keep == Keep::Clumps(DENSE_PERCENT);
    let large = |row: &Row| row.shape.items == Items::LargeLeaves;
    let copied = |row: &Row| Some(median(&row.on, copied));
    vec![
        claim(
            "bytes copied per live byte, deaths in clumps, 70 % live",
            COPIED_IN_CLUMPS,
            worst(rows, seven_tenths, copied),
        ),
        claim(
            "bytes copied per live byte, large leaves",
            COPIED_OF_LARGE,
            worst(rows, large, copied),
        ),
        claim("time over time without, anywhere", SLOWER, worst(rows, |_| true, Row::ratio)),
        claim(
            "time over time without, deaths in clumps, 70 % live and more",
            FASTER,
            worst(rows, pays, Row::ratio),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(keep: Keep, off: f64, on: f64, copied: f64) -> Row {
        let cycle = |wall: f64, copied: f64| Cycle {
            live_bytes: 1e8,
            wall_ns: wall * 1e6,
            copied: copied * 1e8,
            slid: (1.0 - copied) * 1e8,
            ..Cycle::default()
        };
        let shape = Shape { items: Items::Leaves, keep };
        Row { shape, off: vec![cycle(off, 1.0)], on: vec![cycle(on, copied)] }
    }

    #[test]
    fn the_worst_row_decides() {
        let rows = [
            row(Keep::Clumps(70), 10.0, 4.0, 0.1),
            row(Keep::Clumps(90), 10.0, 6.0, 0.3),
            row(Keep::Percent(50), 10.0, 11.0, 1.0),
        ];
        let claims = claims(&rows);
        let values: Vec<_> = claims.iter().map(|claim| claim.value).collect();
        assert_eq!(values, [Some(0.1), None, Some(1.1), Some(0.6)]);
        assert_eq!(claims.iter().filter(|claim| claim.holds).count(), 1);
    }

    #[test]
    fn a_heap_that_was_dense_has_no_ratio() {
        let mut dense = row(Keep::Clumps(99), 0.1, 0.2, 0.0);
        dense.on[0].slid = 0.0;
        assert_eq!(dense.ratio(), None);
    }
}
