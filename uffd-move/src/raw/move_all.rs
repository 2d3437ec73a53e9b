//! The driver that goes on where the kernel stopped short.

use std::ops::ControlFlow;

use crate::error::OpError;
use crate::outcome::{Holes, Outcome, Stop, Wake};
use crate::page::{PageAddr, PageCount, PageRange};
use crate::sys::UffdIoctl;

use super::request::move_pages;

/// What [`move_all`] does at a destination page that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnPresent {
    /// Stop there.
    Stop,
    /// Somebody else did it, and woke who waited: leave the source page alone and go on behind it.
    Skip,
}

/// What [`move_all`] does at a source page that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnHole {
    /// Stop there.
    Stop,
    /// Somebody else took it: go on behind it. The destination page stays missing.
    Skip,
}

/// How far [`move_all`] may go by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resume {
    /// At a destination page that is there already.
    pub present: OnPresent,
    /// At a source page that is not there.
    pub hole: OnHole,
    /// How many answers in a row may bring no progress before it gives up with [`Stop::Again`].
    pub retries: u32,
}

impl Default for Resume {
    /// Stops at everything but partial progress; 100 fruitless answers in a row.
    fn default() -> Self {
        Self { present: OnPresent::Stop, hole: OnHole::Stop, retries: 100 }
    }
}

impl Resume {
    /// Several threads work on the same pages: what is done already is done.
    pub const SHARED: Self = Self { present: OnPresent::Skip, hole: OnHole::Skip, retries: 100 };
}

/// How far [`move_all`] came.
///
/// # Invariants
///
/// * `walked` = `moved` + `present` + `holes`.
/// * `stop` is [`Stop::Complete`] exactly if `walked` is the number of pages asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the driver may have stopped short"]
#[non_exhaustive]
pub struct Progress {
    /// Pages dealt with, from the start. The page behind them is the one that stopped it.
    pub walked: PageCount,
    /// Pages that the kernel moved (with [`Holes::Skip`] it counts holes as moved).
    pub moved: PageCount,
    /// Pages left out because the destination was there.
    pub present: PageCount,
    /// Pages left out because the source was not there.
    pub holes: PageCount,
    /// System calls made.
    pub calls: u64,
    /// Why it stopped.
    pub stop: Stop,
}

impl Progress {
    const START: Self = Self {
        walked: PageCount::ZERO,
        moved: PageCount::ZERO,
        present: PageCount::ZERO,
        holes: PageCount::ZERO,
        calls: 0,
        stop: Stop::Complete,
    };

    /// Whether every page is dealt with.
    pub fn is_complete(self) -> bool {
        self.stop == Stop::Complete
    }

    /// Which page, counted from the start, cannot be moved because it is shared or pinned.
    pub fn busy_page(self) -> Option<PageCount> {
        (self.stop == Stop::Busy).then_some(self.walked)
    }
}

/// Moves the pages at `src` to `dst`, going on after every partial success.
///
/// Which stops it may pass by is said by `resume`. It ends: each call either makes progress or
/// counts against `resume.retries`.
///
/// With [`OnPresent::Skip`] nobody is woken for the page that was there: whoever put it there did.
///
/// # Errors
///
/// As for [`move_pages`]. The error's `range` is the part that was asked for in the last call; its
/// start tells how far the work had come.
///
/// # Safety
///
/// As for [`move_pages`].
pub unsafe fn move_all<K: UffdIoctl + ?Sized>(
    uffd: &K,
    dst: PageRange,
    src: PageAddr,
    holes: Holes,
    wake: Wake,
    resume: Resume,
) -> Result<Progress, OpError> {
    let mut progress = Progress::START;
    let mut fruitless = 0;
    loop {
        let (Some(rest), Some(from)) =
            (dst.rest(progress.walked), src.checked_add(progress.walked))
        else {
            progress.stop = Stop::Complete;
            return Ok(progress);
        };
        // SAFETY: a part of what the caller owns, the same distance into both ranges.
        let outcome = unsafe { move_pages(uffd, rest, from, holes, wake) }?;
        progress.calls += 1;
        fruitless = if outcome.done.is_zero() { fruitless + 1 } else { 0 };
        if let ControlFlow::Break(stop) = progress.pass(outcome, resume, fruitless) {
            progress.stop = stop;
            return Ok(progress);
        }
    }
}

impl Progress {
    /// Counts `outcome` in, and steps behind the page that stopped the kernel if `resume` says so.
    fn pass(&mut self, outcome: Outcome, resume: Resume, fruitless: u32) -> ControlFlow<Stop> {
        self.moved = self.moved.saturating_add(outcome.done);
        self.walked = self.walked.saturating_add(outcome.done);
        match outcome.stop {
            Stop::Complete => return ControlFlow::Break(Stop::Complete),
            Stop::Again if fruitless <= resume.retries => {}
            Stop::Present if resume.present == OnPresent::Skip => {
                self.present = self.present.saturating_add(PageCount::ONE);
                self.walked = self.walked.saturating_add(PageCount::ONE);
            }
            Stop::Hole if resume.hole == OnHole::Skip => {
                self.holes = self.holes.saturating_add(PageCount::ONE);
                self.walked = self.walked.saturating_add(PageCount::ONE);
            }
            stop => return ControlFlow::Break(stop),
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
#[path = "move_all/tests.rs"]
mod tests;
