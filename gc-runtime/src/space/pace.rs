//! How far mutators may go while a cycle runs: as far ahead of the collector as the memory lasts.
//!
//! A mutator that allocates faster than the collector works has to wait, sooner or later. Better
//! sooner: the pages that are left are handed out in proportion to the work that is done, so that it
//! waits often for less than a millisecond, and not once for half a cycle.

use std::time::{Duration, Instant};

/// The share of a phase's pages that is there from its beginning: short bursts wait for nobody.
pub(crate) const AT_ONCE: f64 = 1.0 / 16.0;

/// The share that is kept for a phase that takes longer than expected. How many pages are to be put
/// in place is known.
const RESERVE: f64 = 1.0 / 8.0;

/// So much of a phase's work tells nothing about the rest.
const BEGINNING: f64 = 1.0 / 64.0;

/// What the collector has to do in a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// So many live words are expected to be found.
    Words(u32),
    /// It is expected to take so long, from then on.
    Time(Instant, Duration),
    /// So many pages are to be put in place.
    Pages(u32),
    /// All of them are; what is left, and the next cycle until its flip, is expected to take so
    /// long, from then on.
    Leftovers(Instant, Duration),
}

/// A phase and the pages that may be taken while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    work: Work,
    begin: u32,
    pages: u32,
}

impl Pace {
    /// `pages` pages may be taken from page `begin` on until `work` is done.
    pub(crate) fn new(work: Work, begin: u32, pages: u32) -> Self {
        Self { work, begin, pages }
    }

    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// How many times as far the collector is, with `done` of the work, as allocation, which stands at
    /// `top`. Only in compaction: how much there is to mark nobody knows before it is marked, and pages that
    /// a mutator needs it puts in place itself. Elsewhere, and at the very beginning, they are level.
    pub(crate) fn lead(&self, top: u32, done: u32) -> f64 {
        let Work::Pages(all) = self.work else { return 1.0 };
        let done = (f64::from(done) / f64::from(all.max(1))).min(1.0);
        if done > BEGINNING { done / self.taken(top).max(f64::EPSILON) } else { 1.0 }
    }

    /// The share of the pages that has been taken when allocation stands at `top`.
    pub(crate) fn taken(&self, top: u32) -> f64 {
        f64::from(top.saturating_sub(self.begin)) / f64::from(self.pages.max(1))
    }

    /// Where allocation may stand when `done` of the work is done: words, pages, or nothing where it
    /// is time that counts.
    pub(crate) fn end(&self, done: u32) -> u32 {
        let done = match self.work {
            Work::Words(all) | Work::Pages(all) => f64::from(done) / f64::from(all.max(1)),
            Work::Time(began, all) | Work::Leftovers(began, all) => {
                began.elapsed().as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE)
            }
        };
        let reserve = if matches!(self.work, Work::Pages(_)) { 0.0 } else { RESERVE };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of u32"
        )]
        let pages = (f64::from(self.pages) * share(done, reserve)) as u32;
        self.begin.saturating_add(pages)
    }
}

/// The share of the pages that may be taken when so much of the expected work is done: the reserve is
/// all taken only when far more than that has been done.
fn share(done: f64, reserve: f64) -> f64 {
    if done <= 1.0 { AT_ONCE + (1.0 - AT_ONCE - reserve) * done } else { 1.0 - reserve / done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_handed_out_as_work_is_done() {
        let pace = Pace::new(Work::Pages(1000), 500, 1600);
        assert_eq!(pace.end(0), 500 + 100);
        assert_eq!(pace.end(500), 500 + 100 + 750);
        assert_eq!(pace.end(1000), 500 + 1600);
        let pace = Pace::new(Work::Words(1000), 500, 1600);
        assert_eq!(pace.end(0), 500 + 100);
        assert_eq!(pace.end(500), 500 + 100 + 650);
        assert_eq!(pace.end(1000), 500 + 1400);
    }

    #[test]
    fn a_phase_that_takes_longer_than_expected_still_moves_and_never_gives_all() {
        let pace = Pace::new(Work::Words(1000), 0, 1600);
        let ends: Vec<u32> = [1000, 1500, 2000, 8000, u32::MAX].map(|done| pace.end(done)).into();
        assert!(ends.is_sorted_by(|a, b| a < b), "{ends:?}");
        assert!(ends[4] <= 1600);
    }

    #[test]
    fn the_lead_is_the_share_done_over_the_share_taken() {
        let pace = Pace::new(Work::Pages(1000), 500, 1600);
        let leads = |top, done, lead: f64| (pace.lead(top, done) - lead).abs() < 1e-9;
        assert!(
            leads(500 + 800, 500, 1.0) && leads(500 + 400, 500, 2.0) && leads(500 + 100, 250, 4.0)
        );
        assert!(leads(500 + 400, 5000, 4.0), "more work than was expected earns no more");
        assert!(pace.lead(500, 500) > 1e3);
        assert!(leads(500, 1, 1.0), "nothing is known yet");
        let hour = Duration::from_secs(3600);
        let time = Pace::new(Work::Time(Instant::now(), hour), 500, 1600);
        assert!((time.lead(500, 0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn no_work_and_no_time_are_done_at_once() {
        assert!(Pace::new(Work::Words(0), 0, 1600).end(1) >= 1400);
        let now = Instant::now();
        std::thread::sleep(Duration::from_micros(1));
        assert!(Pace::new(Work::Time(now, Duration::ZERO), 0, 1600).end(0) >= 1400);
    }

    #[test]
    fn what_is_left_after_compaction_is_not_handed_out_at_once() {
        let hour = Duration::from_secs(3600);
        let end = Pace::new(Work::Leftovers(Instant::now(), hour), 500, 1600).end(0);
        assert!((600..=610).contains(&end), "{end}");
    }
}
