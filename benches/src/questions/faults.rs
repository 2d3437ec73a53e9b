//! What does a fault cost the program beside the least that it can cost?
//!
//! The least is one page, moved by a signal handler that does nothing else. The heap's faults find
//! out what belongs on the page, build it and its neighbours, and move those.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gc_runtime::{Heap, Mutator, Record, RootIndex};
use uffd_move::{AltStack, Stop, page_size};

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::beside::beside;
use crate::claim::Claim;
use crate::error::BenchError;
use crate::raw::{Delivery, ServeFault, Spaces};
use crate::report::Answer;
use crate::samples::{
    Series, counter, nanoseconds, percentiles_us, quantile, quantile_sketch, since,
};
use crate::shape::Random;

/// The question.
pub const QUESTION: Question = Question {
    name: "faults",
    asks: "what does a fault cost the program, beside the least that it can cost?",
    run,
};

/// The most that a fault of the heap may take of the bare one beside a running thread.
const LIMIT: f64 = 2.0;

const ROUNDS: usize = 7;

/// Cycles of the heap in each turn.
const CYCLES: usize = 4;

const STACK_BYTES: usize = 64 << 10;

/// Which fault, and beside what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    BareAlone,
    BareBeside,
    Heap,
}

impl Kind {
    const ALL: [(Self, &'static str); 3] = [
        (Self::BareAlone, "bare, nothing else running"),
        (Self::BareBeside, "bare, one thread running beside"),
        (Self::Heap, "heap, one mutator and the collector running beside"),
    ];
}

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let (pages, live) = match settings.scale {
        Scale::Full => (4096, 64 << 20),
        Scale::Smoke => (256, 2 << 20),
    };
    let heap = Heap::builder().limit_bytes(2 * live).collector_threads(1).build()?;
    let before = heap.stats();
    let sides = Kind::ALL.map(|(kind, name)| {
        let heap = &heap;
        Side::new(name, move || match kind {
            Kind::BareAlone => bare(pages),
            Kind::BareBeside => beside(1, || bare(pages)),
            Kind::Heap => of_heap(heap, live),
        })
    });
    let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides.into())?;
    let after = heap.stats();

    let mut answer = Answer::default();
    answer.summary.push(format!(
        "the time that one touch of a missing page takes, as the program sees it; transport {}",
        heap.transport()
    ));
    let bare = &yields[0];
    let least = bare.iter().flatten().copied().min().unwrap_or(0);
    let mut medians = Vec::new();
    for ((kind, name), turns) in Kind::ALL.into_iter().zip(&yields) {
        // A read of the heap that takes less than any bare fault is none.
        let shortest = if kind == Kind::Heap { least } else { 0 };
        let of_turn = |turn: &Vec<u64>| turn.iter().copied().filter(|ns| *ns >= shortest).collect();
        let faults: Vec<Vec<u64>> = turns.iter().map(of_turn).collect();
        for (label, q) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let values = faults.iter().filter_map(|turn| quantile_us(turn, q)).collect();
            let series = Series::new(format!("{name}: {label} of a turn"), "us", values);
            answer.summary.push(series.line());
            if label == "p50" {
                medians.push(series.clone());
            }
            answer.samples.push(series);
        }
        let all: Vec<u64> = faults.into_iter().flatten().collect();
        answer.summary.push(format!("{name}: {} faults", all.len()));
        answer.samples.push(quantile_sketch(format!("{name}: quantiles"), &all));
    }
    let served = after.faults_by_mutators - before.faults_by_mutators;
    answer.summary.push(format!(
        "{served} faults by the heap's own count; {}",
        percentiles_us("handler alone", &since(&before.fault_ns, &after.fault_ns))
    ));
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: no claim is judged".to_owned());
    } else {
        let name = "faults: p50 of the heap over the bare one beside a running thread";
        answer.claims.push(Claim::at_most(name, &medians[2], &medians[1], LIMIT));
    }
    Ok(answer)
}

fn quantile_us(ns: &[u64], q: f64) -> Option<f64> {
    quantile(&ns.iter().map(|ns| counter(*ns) / 1000.0).collect::<Vec<_>>(), q)
}

/// Moves the page that was touched, and nothing else.
struct OnePage(Spaces);

impl ServeFault for OnePage {
    fn serve(&self, addr: usize) {
        let page = self.0.page_of(addr);
        while self.0.move_pages(page, page, 1).is_ok_and(|answer| answer.stop == Stop::Again) {}
    }
}

/// Touches `pages` missing pages in a random order; the time of each touch in nanoseconds.
fn bare(pages: usize) -> Result<Vec<u64>, BenchError> {
    let spaces = Spaces::new(pages, Delivery::Signal)?;
    crate::raw::touch(spaces.heap(), 7);
    spaces.set_aside()?;
    let _stack = AltStack::ensure(STACK_BYTES)?;
    let owner = Arc::new(OnePage(spaces));
    let _route = owner.0.route(Arc::clone(&owner) as Arc<dyn ServeFault>)?;
    let words = page_size() / size_of::<u64>();
    let mut order: Vec<usize> = (0..pages).collect();
    Random::new(3).shuffle(&mut order);
    let touch = |page: usize| {
        let began = Instant::now();
        let value = owner.0.heap()[page * words].load(Ordering::Relaxed);
        let took = nanoseconds(began.elapsed());
        if value == 7 { Ok(took) } else { Err(BenchError::Damaged { item: page, items: pages }) }
    };
    order.into_iter().map(touch).collect()
}

/// Two mutators with half of `live` each, which replace and read objects at random while cycles
/// run; the time of each read in nanoseconds, without the shortest.
fn of_heap(heap: &Heap, live: usize) -> Result<Vec<u64>, BenchError> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = |seed| {
            let done = &done;
            scope.spawn(move || read_at_random(heap, live / 2, seed, done))
        };
        let readers = [reader(1), reader(2)];
        let mut cycles = heap.stats().cycles;
        let last = cycles + counted(CYCLES);
        while cycles < last && !readers.iter().all(|reader| reader.is_finished()) {
            heap.collect();
            cycles = heap.stats().cycles;
        }
        done.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for reader in readers {
            all.extend(reader.join().map_err(|_| BenchError::Panicked)??);
        }
        Ok(all)
    })
}

/// Words of an object with its header.
const OBJECT_WORDS: usize = 8;

/// Reads that take less are no faults on any machine; they are not kept.
const SHORTEST_NS: u64 = 500;

fn read_at_random(
    heap: &Heap,
    live: usize,
    seed: u64,
    done: &AtomicBool,
) -> Result<Vec<u64>, BenchError> {
    let mutator = &mut heap.attach()?;
    let count = live / (8 * OBJECT_WORDS);
    let table = mutator.alloc(Record { refs: slots(count), data_words: 0 })?;
    let item = mutator.push_root(None);
    for index in 0..count {
        replace(mutator, table, item, index)?;
    }
    let mut random = Random::new(seed);
    let mut times = Vec::with_capacity(1 << 16);
    while !done.load(Ordering::Relaxed) {
        for _ in 0..8 {
            replace(mutator, table, item, random.index(count))?;
        }
        for _ in 0..32 {
            let index = random.index(count);
            let table = mutator.root(table).expect("it lives as long as the thread");
            let object = mutator.load(table, slots(index)).expect("each slot is filled");
            let began = Instant::now();
            let value = mutator.word(object, 0);
            let took = nanoseconds(began.elapsed());
            if value != counted(index) + 1 {
                return Err(BenchError::Damaged { item: index, items: count });
            }
            if took >= SHORTEST_NS {
                times.push(took);
            }
        }
    }
    Ok(times)
}

fn replace(
    mutator: &mut Mutator,
    table: RootIndex,
    item: RootIndex,
    index: usize,
) -> Result<(), BenchError> {
    let data_words = slots(OBJECT_WORDS - 1);
    mutator.alloc_into(item, Record { refs: 0, data_words })?;
    let object = mutator.root(item).expect("it was allocated just now");
    mutator.set_word(object, 0, counted(index) + 1);
    let table = mutator.root(table).expect("it lives as long as the thread");
    mutator.store(table, slots(index), Some(object));
    Ok(())
}

fn slots(n: usize) -> u32 {
    u32::try_from(n).expect("a small heap has few objects")
}

fn counted(n: usize) -> u64 {
    u64::try_from(n).expect("a count fits into 64 bits")
}
