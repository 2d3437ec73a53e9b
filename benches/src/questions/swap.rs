//! Do pages without references slide while they are swapped out?

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gc_runtime::{Heap, Mutator, Pressure, Record, Release, RootIndex, Transport, TransportChoice};
use uffd_move::page_size;

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::claim::Claim;
use crate::error::BenchError;
use crate::machine::number_after;
use crate::raw::page_out;
use crate::report::Answer;
use crate::samples::{Series, counter};
use crate::swap_device::SwapDevice;

/// The question.
pub const QUESTION: Question = Question {
    name: "swap",
    asks: "do large objects without references slide while they are swapped out?",
    run,
};

const ROUNDS: usize = 5;

/// Bytes of an object, its header included: whole pages.
const OBJECT_BYTES: usize = 256 << 10;

/// One object in so many dies, so that all behind it have to slide.
const DEAD: u32 = 8;

const TRANSPORTS: [Transport; 2] = [Transport::Move, Transport::Copy];

/// What is written where in each object: enough to see that it is the same.
const STEP: usize = 509;

/// What one cycle cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Pages read in from swap, by count of the whole system.
    swapped_in: u64,
    /// Pages that were swapped out before.
    swapped_out: u64,
    wall_us: u64,
    /// Most resident memory during the cycle, and resident memory before it.
    peak_kib: u64,
    before_kib: u64,
}

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let live_mib: u64 = match settings.scale {
        Scale::Full => 192,
        Scale::Smoke => 4,
    };
    settings.need_memory_mib(live_mib * 4)?;
    let mut answer = Answer::default();
    let device = match settings.scale {
        Scale::Full => match SwapDevice::new(live_mib * 2) {
            Ok(device) => Some(device),
            Err(reason) => {
                answer.claims.push(Claim::unmeasured(&claim_name(), 0.0, &reason));
                return Ok(answer);
            }
        },
        Scale::Smoke => None,
    };
    let scale = settings.scale;
    let side = |transport: Transport| {
        Side::new(transport.name(), move || turn(transport, live_mib, scale))
    };
    let sides = TRANSPORTS.map(side).into_iter().collect();
    let yields = alternate(QUESTION.name, settings.rounds_or(ROUNDS), sides)?;
    drop(device);
    let mut swapped = Vec::new();
    for (transport, costs) in TRANSPORTS.into_iter().zip(yields) {
        let of = |what: &str, unit: &str, value: fn(&Cost) -> f64| {
            Series::new(format!("{transport}: {what}"), unit, costs.iter().map(value).collect())
        };
        let all = [
            of("pages swapped out before the cycle", "pages", |cost| counter(cost.swapped_out)),
            of("pages swapped in by the cycle", "pages", |cost| counter(cost.swapped_in)),
            of("the cycle", "ms", |cost| counter(cost.wall_us) / 1e3),
            of("resident before", "MiB", |cost| counter(cost.before_kib) / 1024.0),
            of("peak resident in the cycle", "MiB", |cost| counter(cost.peak_kib) / 1024.0),
        ];
        answer.summary.extend(all.iter().map(Series::line));
        swapped.push(all[1].median().unwrap_or(f64::NAN));
        answer.samples.extend(all);
    }
    if settings.scale == Scale::Smoke {
        answer.summary.push("smoke scale: nothing is swapped out, no claim is judged".to_owned());
    } else {
        let because = format!("with copy {} pages", swapped[1]);
        answer.claims.push(Claim::ratio(&claim_name(), swapped[0], 0.0, because));
    }
    Ok(answer)
}

fn claim_name() -> String {
    format!("{}: pages swapped in by a cycle with move", QUESTION.name)
}

/// A heap of large objects of which some have died, written out; and one cycle.
fn turn(transport: Transport, live_mib: u64, scale: Scale) -> Result<Cost, BenchError> {
    let bytes = usize::try_from(live_mib << 20).expect("it fits into memory");
    let heap = Heap::builder()
        .limit_bytes(bytes * 2)
        .transport(TransportChoice::Only(transport))
        .release(Release::OnRequest)
        .pressure(Pressure::Ignore)
        .build()?;
    let objects = u32::try_from(bytes / OBJECT_BYTES).expect("a few thousand");
    let (mut mutator, table) = fill(&heap, objects)?;
    // What is cold has lived through a cycle.
    mutator.collect();
    let list = mutator.root(table).expect("the table");
    for at in (0..objects).filter(|at| !lives(*at)) {
        mutator.store(list, at, None);
    }
    let (before, flips) = (Process::now()?, heap.flips());
    if scale == Scale::Full {
        let list = mutator.root(table).expect("the table");
        for at in (0..objects).filter(|at| lives(*at)) {
            let object = mutator.load(list, at).expect("an object");
            page_out(mutator.words(object))?;
        }
    }
    let paged_out = Process::now()?;
    // The peak is counted from here on.
    fs::write("/proc/self/clear_refs", "5")?;
    let began = Instant::now();
    mutator.collect();
    let wall = began.elapsed();
    let after = Process::now()?;
    check(&mutator, table, objects)?;
    if heap.flips() == flips {
        return Err(BenchError::NoCycle);
    }
    Ok(Cost {
        swapped_in: after.swapped_in - paged_out.swapped_in,
        swapped_out: paged_out.swapped_kib.saturating_sub(before.swapped_kib) * 1024
            / u64::try_from(page_size()).expect("a number"),
        wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
        peak_kib: after.peak_kib,
        before_kib: paged_out.resident_kib,
    })
}

/// What is written to a word of an object.
fn word_at(at: u32, index: usize) -> u64 {
    u64::from(at) << 32 | index as u64
}

fn lives(at: u32) -> bool {
    !at.is_multiple_of(DEAD)
}

/// Objects without references, and a table of those that live.
fn fill(heap: &Heap, objects: u32) -> Result<(Mutator, RootIndex), BenchError> {
    let mut mutator = heap.attach()?;
    let table = mutator.alloc(Record { refs: objects, data_words: 0 })?;
    let object = mutator.push_root(None);
    let data_words = u32::try_from(OBJECT_BYTES / size_of::<u64>() - 1).expect("a few thousand");
    for at in 0..objects {
        mutator.alloc_into(object, Record { refs: 0, data_words })?;
        let local = mutator.root(object).expect("just stored");
        for (index, word) in mutator.words(local).iter().enumerate().step_by(STEP) {
            word.store(word_at(at, index), Ordering::Relaxed);
        }
        mutator.store(mutator.root(table).expect("the table"), at, Some(local));
    }
    mutator.set_root(object, None);
    Ok((mutator, table))
}

fn check(mutator: &Mutator, table: RootIndex, objects: u32) -> Result<(), BenchError> {
    let table = mutator.root(table).expect("the table");
    for at in (0..objects).filter(|at| lives(*at)) {
        let whole = mutator.load(table, at).is_some_and(|object| {
            let words = mutator.words(object).iter().enumerate().step_by(STEP);
            words
                .into_iter()
                .all(|(index, word)| word.load(Ordering::Relaxed) == word_at(at, index))
        });
        if !whole {
            let (item, items) = (at as usize, objects as usize);
            return Err(BenchError::Damaged { item, items });
        }
    }
    Ok(())
}

/// What the kernel says of this process, and of swapping.
#[derive(Debug, Clone, Copy)]
struct Process {
    swapped_kib: u64,
    resident_kib: u64,
    peak_kib: u64,
    /// Pages read in from swap since the system was started.
    swapped_in: u64,
}

impl Process {
    fn now() -> Result<Self, BenchError> {
        let status = fs::read_to_string("/proc/self/status")?;
        let events = fs::read_to_string("/proc/vmstat")?;
        let number = |text, name| number_after(text, name).unwrap_or(0);
        Ok(Self {
            swapped_kib: number(&status, "VmSwap:"),
            resident_kib: number(&status, "VmRSS:"),
            peak_kib: number(&status, "VmHWM:"),
            swapped_in: number(&events, "pswpin "),
        })
    }
}
