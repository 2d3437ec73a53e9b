//! The rules of the fake kernel: what a request does page by page, and in what order it is refused.

use std::ptr;

use nix::errno::Errno;

use crate::error::Op;
use crate::page::{PageAddr, PageCount, PageRange, page_size};

use super::{FakeAnswer, FakeCall, FakePage, State};

/// What a request does to each of its pages.
#[derive(Clone, Copy)]
pub(super) enum Work {
    Move { src: PageAddr, holes: bool },
    Copy { src: usize },
    Zero,
    Continue,
}

impl State {
    pub(super) fn record(&mut self, op: Op, range: Option<PageRange>, src: Option<u64>, mode: u64) {
        self.calls.push(FakeCall { op, range, src, mode });
    }

    pub(super) fn mapped(&self, at: PageAddr) -> Result<FakePage, Errno> {
        self.pages.get(&at).copied().ok_or(Errno::ENOENT)
    }

    /// Answers a request on `range` by the script or by the rules, field included.
    pub(super) fn answer(
        &mut self,
        range: Option<PageRange>,
        field: &mut i64,
        check: impl FnOnce(&Self, PageRange) -> Result<Work, Errno>,
    ) -> Result<(), Errno> {
        let limit = match self.script.pop_front() {
            None | Some(FakeAnswer::Rules) => None,
            Some(FakeAnswer::Partial(pages)) => Some(pages.get()),
            Some(FakeAnswer::Fail { errno, field: answer }) => {
                if let Some(answer) = answer {
                    *field = answer;
                }
                return Err(errno);
            }
        };
        // These checks come before the core runs: the field stays untouched.
        let range = range.ok_or(Errno::EINVAL)?;
        let work = check(self, range);
        let (done, stop) = work.map_or_else(
            |errno| (0, Some(errno)),
            |work| self.run(range, work, limit.unwrap_or(usize::MAX)),
        );
        let Some(errno) = stop else {
            *field = bytes(done);
            return Ok(());
        };
        if done > 0 {
            *field = bytes(done);
            return Err(Errno::EAGAIN);
        }
        *field = -i64::from(errno as i32);
        Err(errno)
    }

    /// Works page by page until something stops it: pages done, and what stopped it.
    fn run(&mut self, range: PageRange, work: Work, limit: usize) -> (usize, Option<Errno>) {
        if let Err(errno) = self.mapped(range.start()) {
            return (0, Some(errno));
        }
        if !self.registered.iter().any(|held| held.contains_range(range)) {
            return (
                0,
                Some(if matches!(work, Work::Move { .. }) { Errno::EINVAL } else { Errno::ENOENT }),
            );
        }
        for (i, dst) in range.pages().enumerate() {
            if i == limit {
                return (i, Some(Errno::EAGAIN));
            }
            if let Err(errno) = self.one(dst, i, work) {
                return (i, Some(errno));
            }
        }
        (range.count().get(), None)
    }

    /// Does the page number `i` of a request, whose destination is `dst`.
    fn one(&mut self, dst: PageAddr, i: usize, work: Work) -> Result<(), Errno> {
        let held = self.mapped(dst)?;
        if matches!(held, FakePage::Present | FakePage::Busy) {
            return Err(Errno::EEXIST);
        }
        match work {
            Work::Move { src, holes } => {
                let src = src.checked_add(PageCount::new(i)).ok_or(Errno::EINVAL)?;
                match self.mapped(src)? {
                    FakePage::Missing | FakePage::Cached if holes => return Ok(()),
                    FakePage::Missing | FakePage::Cached => return Err(Errno::ENOENT),
                    FakePage::Busy => return Err(Errno::EBUSY),
                    FakePage::Present => {}
                }
                // SAFETY: two different pages of ours or adopted ones (one is present, the other
                // is not), which the caller of the request owns.
                unsafe { src.as_mut_ptr().copy_to_nonoverlapping(dst.as_mut_ptr(), page_size()) };
                // SAFETY: as above.
                unsafe { src.as_mut_ptr().write_bytes(0, page_size()) };
                self.pages.insert(src, FakePage::Missing);
            }
            Work::Copy { src } => {
                let src = ptr::with_exposed_provenance::<u8>(src + i * page_size());
                // SAFETY: the caller of the request says that the source may be read, and owns the
                // destination. `copy`, for nothing forbids that they overlap.
                unsafe { src.copy_to(dst.as_mut_ptr(), page_size()) };
            }
            Work::Zero => {
                // SAFETY: the caller of the request owns the destination.
                unsafe { dst.as_mut_ptr().write_bytes(0, page_size()) };
            }
            Work::Continue if held == FakePage::Cached => {}
            Work::Continue => return Err(Errno::EFAULT),
        }
        self.pages.insert(dst, FakePage::Present);
        Ok(())
    }
}

fn bytes(pages: usize) -> i64 {
    i64::try_from(PageCount::new(pages).bytes()).unwrap_or(i64::MAX)
}
