//! Errors: what a correct program does not meet, with all that the kernel said.

use std::fmt;

use nix::errno::Errno;

use crate::page::{PageCount, PageError, PageRange};

/// Which request the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `UFFDIO_API`: the handshake.
    Handshake,
    /// `UFFDIO_REGISTER`.
    Register,
    /// `UFFDIO_UNREGISTER`.
    Unregister,
    /// `UFFDIO_WAKE`.
    Wake,
    /// `UFFDIO_MOVE`.
    Move,
    /// `UFFDIO_COPY`.
    Copy,
    /// `UFFDIO_CONTINUE`.
    Continue,
    /// `UFFDIO_ZEROPAGE`.
    Zero,
    /// `UFFDIO_WRITEPROTECT`.
    WriteProtect,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "handshake",
            Self::Register => "register",
            Self::Unregister => "unregister",
            Self::Wake => "wake",
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Continue => "continue",
            Self::Zero => "zero",
            Self::WriteProtect => "write-protect",
        })
    }
}

/// A request that the kernel refused for a reason other than those in [`crate::Stop`].
///
/// `docs/errno.md` has a row for each errno. Making one, or dropping it, allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op} of {range} failed after {done} pages: {errno}")]
#[non_exhaustive]
pub struct OpError {
    /// What was asked.
    pub op: Op,
    /// Of which pages (the destination, where there is a source too).
    pub range: PageRange,
    /// What the kernel answered.
    #[source]
    pub errno: Errno,
    /// Pages done before that, from the start of the range.
    pub done: PageCount,
}

impl OpError {
    /// An error of `op` on `range`, with `done` pages done before it.
    pub fn new(op: Op, range: PageRange, errno: Errno, done: PageCount) -> Self {
        Self { op, range, errno, done }
    }
}

/// Why a safe operation did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The destination is not inside the registered range.
    #[error("destination {asked} is not inside the registered range {allowed}")]
    DestinationOutside {
        /// The pages asked for.
        asked: PageRange,
        /// The pages of the registration.
        allowed: PageRange,
    },
    /// The source is not inside the area it is said to be of.
    #[error("source {asked} is not inside the area {allowed}")]
    SourceOutside {
        /// The pages asked for.
        asked: PageRange,
        /// The pages of the area.
        allowed: PageRange,
    },
    /// The two ranges differ in length.
    #[error("destination has {destination} pages, source has {from}")]
    LengthMismatch {
        /// Pages at the destination.
        destination: PageCount,
        /// Pages at the source.
        from: PageCount,
    },
    /// The two ranges have pages in common.
    #[error("destination {destination} and source {from} overlap")]
    Overlap {
        /// The destination.
        destination: PageRange,
        /// The source.
        from: PageRange,
    },
    /// The range is none.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The kernel refused.
    #[error(transparent)]
    Op(#[from] OpError),
}
