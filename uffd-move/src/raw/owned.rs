//! Requests on memory that is an [`Area`]: the one place where the safe layer meets the raw one.
//!
//! Each function states what its caller has checked; none of them is public.

use crate::error::OpError;
use crate::features::{RangeIoctls, RegisterMode};
use crate::outcome::{Holes, Outcome, Wake};
use crate::page::PageRange;
use crate::sys::UffdIoctl;

use super::area::Area;
use super::move_all::{Progress, Resume, move_all};
use super::request;

/// Pages of an [`Area`], checked to be inside it.
#[derive(Clone, Copy)]
pub(crate) struct Inside<'a> {
    range: PageRange,
    area: &'a Area,
}

impl<'a> Inside<'a> {
    /// `range`, if all of it is inside `area`.
    pub(crate) fn check(area: &'a Area, range: PageRange) -> Option<Self> {
        area.range().contains_range(range).then_some(Self { range, area })
    }

    pub(crate) fn range(self) -> PageRange {
        self.range
    }
}

/// Two spans of equal length, both inside areas.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    dst: Inside<'a>,
    src: Inside<'a>,
}

impl<'a> Pair<'a> {
    /// The pair, if the lengths agree.
    pub(crate) fn check(dst: Inside<'a>, src: Inside<'a>) -> Option<Self> {
        (dst.range.count() == src.range.count()).then_some(Self { dst, src })
    }
}

pub(crate) fn register<K: UffdIoctl + ?Sized>(
    uffd: &K,
    area: &Area,
    mode: RegisterMode,
) -> Result<RangeIoctls, OpError> {
    // SAFETY: an area hands out no references; who touches it may have to wait, and knows.
    unsafe { request::register(uffd, area.range(), mode) }
}

pub(crate) fn unregister<K: UffdIoctl + ?Sized>(uffd: &K, area: &Area) -> Result<(), OpError> {
    // SAFETY: as for `register`; missing pages of an area may read as zero.
    unsafe { request::unregister(uffd, area.range()) }
}

pub(crate) fn wake<K: UffdIoctl + ?Sized>(uffd: &K, pages: Inside<'_>) -> Result<(), OpError> {
    // SAFETY: who waits for a page of an area looks again when woken.
    unsafe { request::wake_pages(uffd, pages.range) }
}

pub(crate) fn move_pair<K: UffdIoctl + ?Sized>(
    uffd: &K,
    pair: Pair<'_>,
    holes: Holes,
    wake: Wake,
) -> Result<Outcome, OpError> {
    let _alive = (pair.dst.area, pair.src.area);
    // SAFETY: both ranges are inside areas (mapped, no references) of equal length.
    unsafe { request::move_pages(uffd, pair.dst.range, pair.src.range.start(), holes, wake) }
}

pub(crate) fn move_whole_pair<K: UffdIoctl + ?Sized>(
    uffd: &K,
    pair: Pair<'_>,
    holes: Holes,
    wake: Wake,
    resume: Resume,
) -> Result<Progress, OpError> {
    // SAFETY: both ranges are inside areas (mapped, no references) of equal length.
    unsafe { move_all(uffd, pair.dst.range, pair.src.range.start(), holes, wake, resume) }
}

/// `bytes` has as many bytes as the pages, or the copy is refused with `None`.
pub(crate) fn copy_bytes<K: UffdIoctl + ?Sized>(
    uffd: &K,
    dst: Inside<'_>,
    bytes: &[u8],
    wake: Wake,
) -> Option<Result<Outcome, OpError>> {
    if bytes.len() != dst.range.len_bytes() {
        return None;
    }
    // SAFETY: the destination is inside an area; the source is as long, and borrowed.
    Some(unsafe { request::copy_pages(uffd, dst.range, bytes.as_ptr(), wake) })
}

pub(crate) fn zero<K: UffdIoctl + ?Sized>(
    uffd: &K,
    dst: Inside<'_>,
    wake: Wake,
) -> Result<Outcome, OpError> {
    // SAFETY: inside an area: mapped, no references.
    unsafe { request::zero_pages(uffd, dst.range, wake) }
}

pub(crate) fn map_cached<K: UffdIoctl + ?Sized>(
    uffd: &K,
    dst: Inside<'_>,
    wake: Wake,
) -> Result<Outcome, OpError> {
    // SAFETY: inside an area: mapped, no references.
    unsafe { request::continue_pages(uffd, dst.range, wake) }
}
