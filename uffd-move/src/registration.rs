//! A registered range: its faults come to us until it is dropped.

use std::fmt;

use crate::error::{MoveError, OpError};
use crate::features::{RangeIoctls, RegisterMode};
use crate::move_pages::{Continuer, Filler, Mover};
use crate::page::PageRange;
use crate::raw::Area;
use crate::raw::owned::{self, Inside};
use crate::sys::UffdIoctl;

/// An [`Area`] whose faults come to a userfaultfd. Dropping it unregisters.
///
/// What may be done to its pages is decided by what the kernel answered at registration, and is a
/// type: [`mover`](Self::mover) is `None` where the kernel cannot move, and only a [`Mover`] moves.
///
/// A thread that touches a missing page waits until somebody puts one there. That can be for ever,
/// but it is not unsafe.
pub struct Registration<K: UffdIoctl> {
    uffd: K,
    // None only after `into_area`.
    area: Option<Area>,
    ioctls: RangeIoctls,
}

/// Why an area was not registered. The area comes back.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RegisterError {
    /// What the kernel answered.
    #[source]
    pub error: OpError,
    /// The area, as it was.
    pub area: Area,
}

impl<K: UffdIoctl> Registration<K> {
    /// Has the faults of `mode` in `area` come to `uffd`.
    ///
    /// # Errors
    ///
    /// See [`raw::register`](crate::raw::register); the area comes back with the error.
    ///
    /// # References
    ///
    /// `UFFDIO_REGISTER(2const)`
    pub fn new(uffd: K, area: Area, mode: RegisterMode) -> Result<Self, RegisterError> {
        match owned::register(&uffd, &area, mode) {
            Ok(ioctls) => Ok(Self { uffd, area: Some(area), ioctls }),
            Err(error) => Err(RegisterError { error, area }),
        }
    }

    /// The memory.
    pub fn area(&self) -> &Area {
        let Some(area) = &self.area else { unreachable!("only `into_area` takes it") };
        area
    }

    /// Where it is.
    pub fn range(&self) -> PageRange {
        self.area().range()
    }

    /// The requests that the kernel said it takes here.
    pub fn ioctls(&self) -> RangeIoctls {
        self.ioctls
    }

    /// The descriptor.
    pub fn uffd(&self) -> &K {
        &self.uffd
    }

    /// The right to move pages here, if the kernel can.
    pub fn mover(&self) -> Option<Mover<'_, K>> {
        self.ioctls.contains(RangeIoctls::MOVE).then_some(Mover { registration: self })
    }

    /// The right to fill missing pages here with copies, if the kernel can.
    pub fn filler(&self) -> Option<Filler<'_, K>> {
        self.ioctls.contains(RangeIoctls::COPY).then_some(Filler { registration: self })
    }

    /// The right to map pages of the page cache here, if the kernel can.
    pub fn continuer(&self) -> Option<Continuer<'_, K>> {
        self.ioctls.contains(RangeIoctls::CONTINUE).then_some(Continuer { registration: self })
    }

    /// Lets the threads run that wait for a page of `range`.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`MoveError::DestinationOutside`] | `range` is not all in this registration | |
    /// | [`MoveError::Op`] | see [`raw::wake_pages`](crate::raw::wake_pages) | |
    pub fn wake(&self, range: PageRange) -> Result<(), MoveError> {
        Ok(owned::wake(&self.uffd, self.inside(range)?)?)
    }

    /// Unregisters, and gives the area back.
    ///
    /// # Errors
    ///
    /// See [`raw::unregister`](crate::raw::unregister). The area is dropped then.
    pub fn into_area(mut self) -> Result<Area, OpError> {
        let Some(area) = self.area.take() else { unreachable!("only this takes it") };
        owned::unregister(&self.uffd, &area)?;
        Ok(area)
    }

    pub(crate) fn inside(&self, asked: PageRange) -> Result<Inside<'_>, MoveError> {
        Inside::check(self.area(), asked)
            .ok_or(MoveError::DestinationOutside { asked, allowed: self.range() })
    }
}

impl<K: UffdIoctl> Drop for Registration<K> {
    fn drop(&mut self) {
        if let Some(area) = &self.area
            && let Err(error) = owned::unregister(&self.uffd, area)
        {
            // The memory is gone already, or the descriptor is not ours: nothing is left to undo.
            tracing::debug!(%error, "unregistering on drop");
        }
    }
}

impl<K: UffdIoctl> fmt::Debug for Registration<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("area", &self.area)
            .field("ioctls", &self.ioctls)
            .finish_non_exhaustive()
    }
}
