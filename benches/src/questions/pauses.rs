//! Do pauses grow with the heap, with threads, with global roots?

use gc_runtime::{GlobalRoot, Heap, Record};

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::churn::Churn;
use crate::claim::Claim;
use crate::error::BenchError;
use crate::report::Answer;
use crate::samples::{Series, counter, percentiles_us, short, since};

/// The question.
pub const QUESTION: Question = Question {
    name: "pauses",
    asks: "do pauses grow with the heap, with threads, with global roots?",
    run,
};

/// Cycles on each side.
const ROUNDS: usize = 24;

/// The most that pauses may grow from the smallest heap to the largest.
const LIMIT: f64 = 2.0;

/// Cycles that a small heap does in its turn, at most: a quantile needs many, and a large heap's take long.
const MOST_CYCLES: u64 = 8;

/// Mutators beside the collector, where their number is not what is asked.
const MUTATORS: u32 = 2;

/// One heap and what works on it.
#[derive(Debug, Clone, Copy)]
struct Setup {
    live_mib: u64,
    mutators: u32,
    global_roots: usize,
}

/// What one turn shows: the flip and remark pauses of its cycles, in nanoseconds.
struct Turn {
    flip_ns: Vec<u64>,
    remark_ns: Vec<u64>,
}

/// What was seen of one heap.
struct Seen {
    setup: Setup,
    flip: Series,
    /// Flip and remark pauses.
    both: Series,
}

impl Setup {
    const fn of_size(live_mib: u64) -> Self {
        Self { live_mib, mutators: MUTATORS, global_roots: 0 }
    }

    /// Half as much again as the live data: room for what mutators allocate during a cycle.
    const fn limit_mib(self) -> u64 {
        self.live_mib + self.live_mib / 2 + 4
    }

    fn name(self) -> String {
        let Self { live_mib, mutators, global_roots } = self;
        let limit = self.limit_mib();
        format!(
            "{limit} MiB heap, {live_mib} live, {mutators} mutators, {global_roots} global roots"
        )
    }
}

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let (sizes, small, most_roots): (&[u64], u64, u32) = match settings.scale {
        Scale::Full => (&[40, 170, 680, 2728], 40, 5),
        Scale::Smoke => (&[2, 8], 2, 2),
    };
    let mut answer = Answer::default();
    let by_size: Vec<Setup> = sizes.iter().map(|live| Setup::of_size(*live)).collect();
    let by_size = measure(&mut answer, settings, &by_size)?;
    let threads = [1, 2, 4, 8].map(|mutators| Setup { mutators, ..Setup::of_size(small) });
    measure(&mut answer, settings, &threads)?;
    let roots: Vec<Setup> = (1..=most_roots)
        .map(|power| Setup { global_roots: 10_usize.pow(power), ..Setup::of_size(small) })
        .collect();
    measure(&mut answer, settings, &roots)?;
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
    } else if let [small, .., large] = &by_size[..] {
        let sizes = [large, small].map(|seen| seen.setup.limit_mib());
        let name = format!("at {} MiB over {} MiB", sizes[0], sizes[1]);
        let flips = format!("pauses: median flip pause {name}");
        answer.claims.push(Claim::at_most(&flips, &large.flip, &small.flip, LIMIT));
        for (label, q) in [("p50", 0.5), ("p99", 0.99)] {
            let [own, over] = [large, small].map(|seen| seen.both.quantile(q).unwrap_or(f64::NAN));
            let because = format!("{} us over {} us", short(own), short(over));
            let name = format!("pauses: {label} of flip and remark pauses {name}");
            answer.claims.push(Claim::ratio(&name, own / over, LIMIT, because));
        }
    }
    Ok(answer)
}

/// Lets the heaps of `setups` take turns.
fn measure(
    answer: &mut Answer,
    settings: &Settings,
    setups: &[Setup],
) -> Result<Vec<Seen>, BenchError> {
    settings.need_memory_mib(setups.iter().map(|setup| setup.limit_mib()).sum::<u64>() * 9 / 8)?;
    let mut heaps = Vec::new();
    for setup in setups {
        eprintln!("{}: filling: {}", QUESTION.name, setup.name());
        let limit = usize::try_from(setup.limit_mib() << 20).expect("it fits into memory");
        let heap = Heap::builder().limit_bytes(limit).collector_threads(1).build()?;
        let roots = global_roots(&heap, setup.global_roots)?;
        let churn = Churn::start(&heap, setup.mutators, setup.live_mib << 20)?;
        // The first cycle compacts what filling left behind; it is not what the others are.
        churn.during(|| heap.collect())?;
        let before = heap.stats();
        heaps.push((*setup, heap, churn, before, roots));
    }
    let largest = setups.iter().map(|setup| setup.live_mib).max().unwrap_or(0);
    let sides = heaps.iter().map(|(setup, heap, churn, ..)| {
        let cycles = (largest / setup.live_mib).min(MOST_CYCLES);
        Side::new(setup.name(), move || turn(heap, churn, cycles))
    });
    let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides.collect())?;
    let transport = heaps[0].1.transport();
    answer.summary.push(format!(
        "\ntransport {transport}, mutators replacing long-lived objects, one collector thread"
    ));
    let mut all = Vec::new();
    for ((setup, heap, churn, before, roots), turns) in heaps.into_iter().zip(yields) {
        let after = heap.stats();
        churn.finish()?;
        drop(roots);
        let name = setup.name();
        let flip = series(format!("{name}: flip pause"), &turns, |turn| &turn.flip_ns);
        let remark = series(format!("{name}: remark pause"), &turns, |turn| &turn.remark_ns);
        let mut both = Series::new(format!("{name}: all pauses"), "us", flip.values.clone());
        both.values.extend(&remark.values);
        answer.summary.extend([flip.line(), remark.line(), both.percentiles()]);
        let safepoint = since(&before.safepoint_ns, &after.safepoint_ns);
        answer.summary.push(percentiles_us(&format!("{name}: time to safepoint"), &safepoint));
        answer.samples.extend([flip.clone(), remark]);
        all.push(Seen { setup, flip, both });
    }
    Ok(all)
}

/// So many global roots, each with an object of its own.
fn global_roots(heap: &Heap, count: usize) -> Result<Vec<GlobalRoot>, BenchError> {
    let mutator = &mut heap.attach()?;
    let item = mutator.push_root(None);
    let mut roots = Vec::with_capacity(count);
    for _ in 0..count {
        mutator.alloc_into(item, Record { refs: 0, data_words: 1 })?;
        let root = heap.global_root();
        mutator.set_global(&root, mutator.root(item));
        roots.push(root);
    }
    Ok(roots)
}

/// So many cycles while this heap's mutators run; those of the other heaps rest.
fn turn(heap: &Heap, churn: &Churn, cycles: u64) -> Result<Turn, BenchError> {
    let before = heap.stats().cycles;
    churn.during(|| (0..cycles).for_each(|_| heap.collect()))?;
    let after = heap.stats();
    // The heap may have started some by itself too.
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
