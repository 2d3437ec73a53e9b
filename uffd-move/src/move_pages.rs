//! What may be done with the pages of a registration, as types: [`Mover`], [`Filler`], [`Continuer`].

use crate::error::MoveError;
use crate::outcome::{Holes, Outcome, Wake};
use crate::page::{PageCount, PageRange};
use crate::raw::owned::{self, Inside, Pair};
use crate::raw::{Area, Progress, Resume};
use crate::registration::Registration;
use crate::sys::UffdIoctl;

/// The right to move pages into a registered range.
///
/// Made by [`Registration::mover`], and only where the kernel said that it can.
///
/// Source and destination may not overlap. The kernel would allow sliding pages downwards onto
/// themselves, but since 6.18 it flushes stale translations once for many pages, so that meanwhile
/// another thread could reach a page under its old address after it was put to new use.
///
/// Nobody else can make one:
///
/// ```compile_fail
/// use uffd_move::{FakeKernel, Mover, Registration};
///
/// fn forge(registration: &Registration<FakeKernel>) -> Mover<'_, FakeKernel> {
///     Mover { registration }
/// }
/// ```
///
/// And it does not outlive the registration:
///
/// ```compile_fail
/// use uffd_move::{FakeKernel, Mover, Registration};
///
/// fn outlive(registration: Registration<FakeKernel>) -> Mover<'static, FakeKernel> {
///     registration.mover().unwrap()
/// }
/// ```
#[derive(Debug)]
pub struct Mover<'a, K: UffdIoctl> {
    pub(crate) registration: &'a Registration<K>,
}

impl<K: UffdIoctl> Clone for Mover<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: UffdIoctl> Copy for Mover<'_, K> {}

impl<K: UffdIoctl> Mover<'_, K> {
    /// Moves the pages `src` of `source` to `dst`, in one system call.
    ///
    /// # Examples
    ///
    /// ```
    /// use uffd_move::{Area, FakeKernel, Holes, PageCount, RegisterMode, Registration, Wake};
    /// # fn memory(kernel: &FakeKernel, page: uffd_move::FakePage) -> Area {
    /// #     let range = kernel.map(PageCount::new(2), page);
    /// #     // SAFETY: the kernel outlives it, and nobody has a reference.
    /// #     unsafe { Area::from_raw(range) }
    /// # }
    /// # let kernel = FakeKernel::new();
    /// # let source = memory(&kernel, uffd_move::FakePage::Present);
    /// # let to = memory(&kernel, uffd_move::FakePage::Missing);
    ///
    /// source.write(0, b"the page itself");
    /// let registration = Registration::new(&kernel, to, RegisterMode::MISSING)?;
    /// let mover = registration.mover().ok_or("this kernel cannot move pages")?;
    /// let outcome =
    ///     mover.move_pages(registration.range(), &source, source.range(), Holes::Reject, Wake::Now)?;
    /// assert!(outcome.is_complete());
    /// # let mut bytes = [0; 15];
    /// # registration.area().read(0, &mut bytes);
    /// # assert_eq!(&bytes, b"the page itself");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`Outcome`] | how far the kernel came, and why it stopped | see [`Stop`](crate::Stop) |
    /// | [`MoveError::Op`] | the kernel refused | see [`raw::move_pages`](crate::raw::move_pages) |
    /// | other | the ranges are not what was said | correct the caller |
    ///
    /// # References
    ///
    /// `UFFDIO_MOVE(2const)`
    #[doc(alias = "UFFDIO_MOVE")]
    pub fn move_pages(
        &self,
        dst: PageRange,
        source: &Area,
        src: PageRange,
        holes: Holes,
        wake: Wake,
    ) -> Result<Outcome, MoveError> {
        let pair = self.pair(dst, source, src)?;
        Ok(owned::move_pair(&self.registration.uffd(), pair, holes, wake)?)
    }

    /// Moves the pages `src` of `source` to `dst`, going on after every partial success.
    ///
    /// # Errors
    ///
    /// As for [`move_pages`](Self::move_pages).
    pub fn move_all(
        &self,
        dst: PageRange,
        source: &Area,
        src: PageRange,
        holes: Holes,
        wake: Wake,
        resume: Resume,
    ) -> Result<Progress, MoveError> {
        let pair = self.pair(dst, source, src)?;
        Ok(owned::move_whole_pair(&self.registration.uffd(), pair, holes, wake, resume)?)
    }

    fn pair<'b>(
        &'b self,
        dst: PageRange,
        source: &'b Area,
        src: PageRange,
    ) -> Result<Pair<'b>, MoveError> {
        let to = self.registration.inside(dst)?;
        let from = Inside::check(source, src)
            .ok_or(MoveError::SourceOutside { asked: src, allowed: source.range() })?;
        if to.range().overlaps(from.range()) {
            return Err(MoveError::Overlap { destination: dst, from: src });
        }
        Pair::check(to, from)
            .ok_or(MoveError::LengthMismatch { destination: dst.count(), from: src.count() })
    }
}

/// The right to fill missing pages of a registered range with copies or zeros.
///
/// Made by [`Registration::filler`].
#[derive(Debug)]
pub struct Filler<'a, K: UffdIoctl> {
    pub(crate) registration: &'a Registration<K>,
}

impl<K: UffdIoctl> Filler<'_, K> {
    /// Fills `dst` with `bytes`, which are as many.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`Outcome`] | how far the kernel came, and why it stopped | see [`Stop`](crate::Stop) |
    /// | [`MoveError::Op`] | the kernel refused | see [`raw::copy_pages`](crate::raw::copy_pages) |
    /// | other | the ranges are not what was said | correct the caller |
    #[doc(alias = "UFFDIO_COPY")]
    pub fn copy_pages(
        &self,
        dst: PageRange,
        bytes: &[u8],
        wake: Wake,
    ) -> Result<Outcome, MoveError> {
        let to = self.registration.inside(dst)?;
        match owned::copy_bytes(&self.registration.uffd(), to, bytes, wake) {
            Some(answer) => Ok(answer?),
            None => Err(MoveError::LengthMismatch {
                destination: dst.count(),
                from: PageCount::covering(bytes.len()),
            }),
        }
    }

    /// Fills `dst` with zeros.
    ///
    /// # Errors
    ///
    /// As for [`copy_pages`](Self::copy_pages).
    #[doc(alias = "UFFDIO_ZEROPAGE")]
    pub fn zero_pages(&self, dst: PageRange, wake: Wake) -> Result<Outcome, MoveError> {
        let to = self.registration.inside(dst)?;
        Ok(owned::zero(&self.registration.uffd(), to, wake)?)
    }
}

/// The right to map what the page cache has into a registered range.
///
/// Made by [`Registration::continuer`].
#[derive(Debug)]
pub struct Continuer<'a, K: UffdIoctl> {
    pub(crate) registration: &'a Registration<K>,
}

impl<K: UffdIoctl> Continuer<'_, K> {
    /// Maps the pages that the page cache has for `dst`.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`Outcome`] | how far the kernel came, and why it stopped | see [`Stop`](crate::Stop) |
    /// | [`MoveError::Op`] | the kernel refused | see [`raw::continue_pages`](crate::raw::continue_pages) |
    /// | other | the range is not what was said | correct the caller |
    #[doc(alias = "UFFDIO_CONTINUE")]
    pub fn continue_pages(&self, dst: PageRange, wake: Wake) -> Result<Outcome, MoveError> {
        let to = self.registration.inside(dst)?;
        Ok(owned::map_cached(&self.registration.uffd(), to, wake)?)
    }
}
