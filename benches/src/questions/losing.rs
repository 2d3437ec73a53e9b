//! Where does MOVE lose?

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gc_runtime::{Islands, Transport};
use nix::time::{ClockId, clock_gettime};
use uffd_move::{Stop, page_size};

use super::{Question, Scale, Settings};
use crate::alternate::{Side, alternate};
use crate::beside::beside;
use crate::contender::Contender;
use crate::error::BenchError;
use crate::raw::{Delivery, Spaces, touch};
use crate::report::Answer;
use crate::samples::{Series, count, short};
use crate::shape::{Keep, Shape};

/// The question.
pub const QUESTION: Question = Question {
    name: "losing",
    asks: "where does MOVE lose? Fresh pages, single pages beside running threads, tiny heaps",
    run,
};

const ROUNDS: usize = 9;

/// Threads that run beside single-page requests.
const THREADS: [usize; 4] = [0, 1, 2, 4];

/// Bytes in use of the tiny heaps, half of them live.
const TINY: [u64; 3] = [256 << 10, 1 << 20, 4 << 20];

fn run(settings: &Settings) -> Result<Answer, BenchError> {
    let pages = match settings.scale {
        Scale::Full => 8192,
        Scale::Smoke => 256,
    };
    let rounds = settings.rounds_or(ROUNDS);
    let mut answer = Answer::default();
    fresh_pages(&mut answer, rounds, pages)?;
    single_pages(&mut answer, rounds, pages)?;
    tiny_heaps(&mut answer, rounds)?;
    Ok(answer)
}

/// Asks all sides in turn and adds their series; the medians.
fn ask(
    answer: &mut Answer,
    rounds: usize,
    unit: &'static str,
    sides: Vec<Side<'_, f64>>,
) -> Result<Vec<f64>, BenchError> {
    let names: Vec<String> = sides.iter().map(|side| side.name.clone()).collect();
    let yields = alternate(QUESTION.name, rounds, sides)?;
    let mut medians = Vec::new();
    for (name, values) in names.into_iter().zip(yields) {
        let series = Series::new(name, unit, values);
        answer.summary.push(series.line());
        medians.extend(series.median());
        answer.samples.push(series);
    }
    Ok(medians)
}

/// Nothing to recycle: each page is built in memory that the kernel has to provide.
fn fresh_pages(answer: &mut Answer, rounds: usize, pages: usize) -> Result<(), BenchError> {
    const MOVE_RUN: usize = 512;
    const COPY_RUN: usize = 64;
    let sides = vec![
        Side::new("fresh destinations: copy, from one buffer", move || {
            let spaces = Spaces::new(pages, Delivery::Nobody)?;
            spaces.register()?;
            let words = page_size() / size_of::<u64>() * COPY_RUN;
            let buffer: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
            per_page(pages, COPY_RUN, |page, run| {
                fill(&buffer, page);
                whole(spaces.copy_pages(page, &buffer)?.done.get(), run)
            })
        }),
        Side::new("fresh destinations: move, each page built in fresh memory", move || {
            let spaces = Spaces::new(pages, Delivery::Nobody)?;
            spaces.register()?;
            move_all(&spaces, MOVE_RUN.min(pages))
        }),
        Side::new("for comparison: move, each page built in memory that is there", move || {
            let spaces = Spaces::new(pages, Delivery::Nobody)?;
            touch(spaces.from(), 1);
            spaces.register()?;
            move_all(&spaces, MOVE_RUN.min(pages))
        }),
    ];
    let medians = ask(answer, rounds, "ns/page", sides)?;
    answer.summary.push(format!(
        "fresh destinations: MOVE takes {:.2} of COPY's time, where it can recycle {:.2}",
        medians[1] / medians[0],
        medians[2] / medians[0]
    ));
    Ok(())
}

fn move_all(spaces: &Spaces, run: usize) -> Result<f64, BenchError> {
    let words = page_size() / size_of::<u64>();
    per_page(spaces.pages(), run, |page, run| {
        fill(&spaces.from()[page * words..(page + run) * words], page);
        whole(spaces.move_pages(page, page, run)?.done.get(), run)
    })
}

/// Writes every word, as building a page does.
fn fill(words: &[AtomicU64], page: usize) {
    let value = u64::try_from(page).unwrap_or(0) + 1;
    words.iter().for_each(|word| word.store(value, Ordering::Relaxed));
}

/// Nanoseconds a page for putting `pages` in place, `run` at a time.
fn per_page(
    pages: usize,
    run: usize,
    mut install: impl FnMut(usize, usize) -> Result<(), BenchError>,
) -> Result<f64, BenchError> {
    let began = Instant::now();
    for page in (0..pages).step_by(run) {
        install(page, run.min(pages - page))?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / count(pages))
}

/// The same for single pages, in processor time: with more threads than processors the wall clock
/// would tell of the scheduler. Waiting for another processor to forget a translation is counted.
fn cpu_per_page(
    pages: usize,
    mut install: impl FnMut(usize) -> Result<(), BenchError>,
) -> Result<f64, BenchError> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_err(std::io::Error::from);
    let began = Duration::from(now()?);
    for page in 0..pages {
        install(page)?;
    }
    let took = Duration::from(now()?).saturating_sub(began);
    Ok(took.as_secs_f64() * 1e9 / count(pages))
}

/// A request that stopped short would make a wrong figure; nothing here gives it a reason to.
fn whole(done: usize, asked: usize) -> Result<(), BenchError> {
    if done == asked { Ok(()) } else { Err(BenchError::Short { done, asked }) }
}

/// Every move makes the other processors forget a translation, and waits for them.
fn single_pages(answer: &mut Answer, rounds: usize, pages: usize) -> Result<(), BenchError> {
    let mut sides = Vec::new();
    for threads in THREADS {
        sides.push(Side::new(format!("single pages: move, {threads} threads beside"), move || {
            let spaces = Spaces::new(pages, Delivery::Nobody)?;
            touch(spaces.from(), 1);
            spaces.register()?;
            beside(threads, || {
                cpu_per_page(pages, |page| {
                    loop {
                        let answer = spaces.move_pages(page, page, 1)?;
                        if answer.stop != Stop::Again {
                            return whole(answer.done.get(), 1);
                        }
                    }
                })
            })
        }));
        sides.push(Side::new(format!("single pages: copy, {threads} threads beside"), move || {
            let spaces = Spaces::new(pages, Delivery::Nobody)?;
            spaces.register()?;
            let words = page_size() / size_of::<u64>();
            let buffer: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(1)).collect();
            beside(threads, || {
                cpu_per_page(pages, |page| {
                    loop {
                        let answer = spaces.copy_pages(page, &buffer)?;
                        if answer.stop != Stop::Again {
                            return whole(answer.done.get(), 1);
                        }
                    }
                })
            })
        }));
    }
    let medians = ask(answer, rounds, "ns/page", sides)?;
    answer.summary.push("single pages: processor time of the thread that asks".to_owned());
    for (threads, pair) in THREADS.into_iter().zip(medians.chunks(2)) {
        answer.summary.push(format!(
            "single pages, {threads} threads beside: MOVE takes {:.2} of COPY's time",
            pair[0] / pair[1]
        ));
    }
    Ok(())
}

/// Where the calls that every cycle makes are all there is.
fn tiny_heaps(answer: &mut Answer, rounds: usize) -> Result<(), BenchError> {
    const CYCLES: usize = 5;
    let (here, _) = Contender::here();
    let wanted = [Transport::Move, Transport::Copy, Transport::Stw].map(Contender::Of);
    let here: Vec<Contender> = wanted.into_iter().filter(|side| here.contains(side)).collect();
    for used in TINY {
        let turn = |contender: Contender| {
            let cycles =
                contender.turn(used, Shape::mixed(Keep::Percent(50)), Islands::On, CYCLES)?;
            let times = cycles.iter().map(|cycle| cycle.wall_ns / 1000.0).collect();
            Ok(Series::new("", "us", times).median().unwrap_or(f64::NAN))
        };
        let side = |contender: &Contender| {
            let contender = *contender;
            let name = format!("{} KiB in use: {contender}: compaction", used >> 10);
            Side::new(name, move || turn(contender))
        };
        let medians = ask(answer, rounds, "us", here.iter().map(side).collect())?;
        let line: Vec<String> = here
            .iter()
            .zip(&medians)
            .map(|(contender, median)| format!("{contender} {} us", short(*median)))
            .collect();
        answer.summary.push(format!("{} KiB in use: {}", used >> 10, line.join(", ")));
    }
    Ok(())
}
