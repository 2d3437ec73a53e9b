//! What the kernel takes to move a huge page, beside the same memory in small pages one by one, and
//! to move one small page out of a huge one.

use std::fs;
use std::time::Instant;

use uffd_move::page_size;

use crate::error::BenchError;
use crate::machine::number_after;
use crate::raw::{Delivery, HUGE_BYTES, Spaces, touch};
use crate::samples::{Series, count, counter, nanoseconds};
use crate::splits::Splits;

/// Huge pages that are moved for a sample.
pub const HUGE_PAGES: usize = 16;

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
        let Some(laid) = Laid::huge()? else { return Ok(None) };
        huge.push(per_mib(laid.whole()?));
        let laid = Laid::small()?;
        small.push(per_mib(laid.page_by_page()?));
    }
    Ok(Some([
        Series::new("move of 2 MiB, a huge page", "ns/MiB", huge),
        Series::new("move of 2 MiB, page by page", "ns/MiB", small),
    ]))
}

/// What is moved by one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// A huge page, whole.
    Huge,
    /// One small page out of a huge one.
    OutOfHuge,
    /// One small page out of 2 MiB of small ones.
    OutOfSmall,
}

impl Moved {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Huge, Self::OutOfHuge, Self::OutOfSmall];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Huge => "a whole huge page",
            Self::OutOfHuge => "one page out of a huge page",
            Self::OutOfSmall => "one page out of 2 MiB of small pages",
        }
    }

    /// One request for each of [`HUGE_PAGES`] times 2 MiB, and where single pages are moved, one
    /// more each. `None` if the system gives no huge pages.
    ///
    /// # Errors
    ///
    /// As [`moves`].
    pub fn turn(self) -> Result<Option<Requests>, BenchError> {
        let laid = match self {
            Self::OutOfSmall => Some(Laid::small()?),
            Self::Huge | Self::OutOfHuge => Laid::huge()?,
        };
        let Some(laid) = laid else { return Ok(None) };
        let before = Splits::now();
        let (first, next) = match self {
            Self::Huge => (laid.whole()?, None),
            Self::OutOfHuge | Self::OutOfSmall => {
                (laid.page_of_each(0)?, Some(laid.page_of_each(1)?))
            }
        };
        let split = Splits::now().zip(before).map(|(after, before)| counter(after.since(before)));
        let us = |ns: f64| ns / 1e3 / count(HUGE_PAGES);
        Ok(Some(Requests { first_us: us(first), next_us: next.map(us), split }))
    }
}

/// What requests took, one for each 2 MiB.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// The first request into each 2 MiB.
    pub first_us: f64,
    /// The second, for the next page.
    pub next_us: Option<f64>,
    /// Large folios that were split meanwhile, where the kernel counts them.
    pub split: Option<f64>,
}

/// Memory in from-space, to be moved to the heap.
struct Laid {
    spaces: Spaces,
    /// The first pages that a huge page can begin with.
    to: usize,
    from: usize,
}

impl Laid {
    /// In huge pages, or nothing if the system gives none.
    fn huge() -> Result<Option<Self>, BenchError> {
        // One more than are moved, for neither space need begin with one.
        let spaces = Spaces::huge((HUGE_PAGES + 1) * per_huge())?;
        let (to, from) = spaces.first_huge();
        let before = huge_kib()?;
        let words = HUGE_BYTES / size_of::<u64>();
        let first = from * page_size() / size_of::<u64>();
        touch(&spaces.from()[first..first + HUGE_PAGES * words], 1);
        let added = huge_kib()?.saturating_sub(before);
        if counter(added) < count(HUGE_PAGES * (HUGE_BYTES >> 10)) {
            return Ok(None);
        }
        spaces.register()?;
        Ok(Some(Self { spaces, to, from }))
    }

    /// In small pages.
    fn small() -> Result<Self, BenchError> {
        let spaces = Spaces::new(HUGE_PAGES * per_huge(), Delivery::Nobody)?;
        touch(spaces.from(), 1);
        spaces.register()?;
        Ok(Self { spaces, to: 0, from: 0 })
    }

    /// Moves each 2 MiB by one request; nanoseconds for all of them.
    fn whole(&self) -> Result<f64, BenchError> {
        self.requests((0..HUGE_PAGES).map(|huge| huge * per_huge()), per_huge())
    }

    /// Moves every page by a request of its own.
    fn page_by_page(&self) -> Result<f64, BenchError> {
        self.requests(0..HUGE_PAGES * per_huge(), 1)
    }

    /// Moves one page of each 2 MiB, that with this number.
    fn page_of_each(&self, page: usize) -> Result<f64, BenchError> {
        self.requests((0..HUGE_PAGES).map(|huge| huge * per_huge() + page), 1)
    }

    fn requests(
        &self,
        pages: impl Iterator<Item = usize>,
        count: usize,
    ) -> Result<f64, BenchError> {
        let began = Instant::now();
        for page in pages {
            let outcome = self.spaces.move_pages(self.to + page, self.from + page, count)?;
            if !outcome.is_complete() {
                return Err(BenchError::Short { done: outcome.done.get(), asked: count });
            }
        }
        Ok(counter(nanoseconds(began.elapsed())))
    }
}

/// Small pages in a huge one.
fn per_huge() -> usize {
    HUGE_BYTES / page_size()
}

fn per_mib(ns: f64) -> f64 {
    ns / count(HUGE_PAGES * (HUGE_BYTES >> 20))
}

/// Memory of this process in huge pages, in KiB.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::System`] | /proc cannot be read | leave it out |
pub fn huge_kib() -> Result<u64, BenchError> {
    let text = fs::read_to_string("/proc/self/smaps_rollup")?;
    Ok(number_after(&text, "AnonHugePages:").unwrap_or(0))
}
