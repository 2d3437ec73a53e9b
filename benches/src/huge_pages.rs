//! What the kernel takes to move a huge page, beside the same memory in small pages one by one.

use std::time::Instant;

use uffd_move::page_size;

use crate::error::BenchError;
use crate::raw::{HUGE_BYTES, Spaces, touch};
use crate::samples::{Series, counter};

/// Huge pages that are moved for a sample.
const HUGE_PAGES: usize = 16;

/// Samples of each side.
const TURNS: usize = 9;

/// Nanoseconds a MiB: huge pages in one request each, the same memory page by page. `None` if the
/// system gives no huge pages.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::Short`] | a request moved less than was asked for | |
/// | any other | this kernel cannot move pages | leave it out |
pub fn moves() -> Result<Option<[Series; 2]>, BenchError> {
    let (mut huge, mut small) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let Some(ns) = huge_turn()? else { return Ok(None) };
        huge.push(ns);
        small.push(small_turn()?);
    }
    Ok(Some([
        Series::new("move of 2 MiB, a huge page", "ns/MiB", huge),
        Series::new("move of 2 MiB, page by page", "ns/MiB", small),
    ]))
}

fn per_mib(began: Instant) -> f64 {
    let mib = HUGE_PAGES * (HUGE_BYTES >> 20);
    counter(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))
        / crate::samples::count(mib)
}

fn huge_turn() -> Result<Option<f64>, BenchError> {
    let huge = HUGE_BYTES / page_size();
    // One more than are moved, for neither space need begin with one.
    let spaces = Spaces::huge((HUGE_PAGES + 1) * huge)?;
    let (to, from) = spaces.first_huge();
    let before = huge_kib()?;
    let words = HUGE_BYTES / size_of::<u64>();
    let first = from * page_size() / size_of::<u64>();
    touch(&spaces.from()[first..first + HUGE_PAGES * words], 1);
    if huge_kib()? < before + HUGE_PAGES * (HUGE_BYTES >> 10) {
        return Ok(None);
    }
    spaces.register()?;
    let began = Instant::now();
    for page in 0..HUGE_PAGES {
        move_all(&spaces, to + page * huge, from + page * huge, huge)?;
    }
    Ok(Some(per_mib(began)))
}

fn small_turn() -> Result<f64, BenchError> {
    let pages = HUGE_PAGES * (HUGE_BYTES / page_size());
    let spaces = Spaces::new(pages, crate::raw::Delivery::Nobody)?;
    touch(spaces.from(), 1);
    spaces.register()?;
    let began = Instant::now();
    for page in 0..pages {
        move_all(&spaces, page, page, 1)?;
    }
    Ok(per_mib(began))
}

fn move_all(spaces: &Spaces, to: usize, from: usize, count: usize) -> Result<(), BenchError> {
    let outcome = spaces.move_pages(to, from, count)?;
    match outcome.is_complete() {
        true => Ok(()),
        false => Err(BenchError::Short { done: outcome.done.get(), asked: count }),
    }
}

/// Memory of this process in huge pages, in KiB.
fn huge_kib() -> Result<usize, BenchError> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    Ok(line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0))
}
