//! Events, decoded: which page is missing, and what happened to a registered range.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::vec::Drain;

use nix::errno::Errno;
use userfaultfd::Uffd;

use crate::page::{PageAddr, PageRange};
use crate::raw::Access;
use crate::sys::{self, uapi};

/// What kind of fault a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The page is not there.
    Missing,
    /// The page is there, and write-protected.
    WriteProtect,
    /// The page is in the page cache, and not mapped here.
    Minor,
}

/// A thread touched a page and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The address in bytes: of the page, or with
    /// [`Features::EXACT_ADDRESS`](crate::Features::EXACT_ADDRESS) of the byte.
    pub addr: usize,
    /// What kind.
    pub kind: FaultKind,
    /// Whether it reads or writes.
    pub access: Access,
    /// Which thread, with [`Features::THREAD_ID`](crate::Features::THREAD_ID).
    pub thread: Option<u32>,
}

impl Fault {
    /// The page.
    pub fn page(&self) -> PageAddr {
        PageAddr::containing(self.addr)
    }
}

/// Something happened to a registered range. `docs/events.md` says in what order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A thread waits for a page.
    Fault(Fault),
    /// The process forked, and here is the child's descriptor
    /// ([`Features::EVENT_FORK`](crate::Features::EVENT_FORK)).
    Fork {
        /// For the faults of the child, in the child's address space.
        uffd: Uffd,
    },
    /// `mremap` moved a range ([`Features::EVENT_REMAP`](crate::Features::EVENT_REMAP)).
    Remap {
        /// Where it was.
        from: usize,
        /// Where it is.
        to: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// `madvise` drops the pages of a range now
    /// ([`Features::EVENT_REMOVE`](crate::Features::EVENT_REMOVE)).
    Remove(PageRange),
    /// `munmap` takes a range away now
    /// ([`Features::EVENT_UNMAP`](crate::Features::EVENT_UNMAP)).
    Unmap(PageRange),
    /// A kernel newer than this crate said something else.
    Unknown {
        /// Its number.
        code: u8,
    },
}

impl Event {
    /// Decodes a message that the kernel has just delivered: a descriptor in it is ours.
    fn from_kernel(message: &[u8; MESSAGE_BYTES]) -> Self {
        let word = |i: usize| -> u64 {
            let at = 8 + 8 * i;
            let bytes = message[at..at + 8].try_into().expect("eight bytes of thirty-two");
            u64::from_ne_bytes(bytes)
        };
        let address = |i: usize| usize::try_from(word(i)).expect("an address of this process");
        let range =
            |start: usize, end: usize| PageRange::from_bytes(start, end.saturating_sub(start));
        match message[0] {
            uapi::UFFD_EVENT_PAGEFAULT => Self::Fault(fault(word(0), address(1), word(2))),
            uapi::UFFD_EVENT_FORK => Self::Fork { uffd: sys::delivered(low_half(word(0))) },
            uapi::UFFD_EVENT_REMAP => {
                Self::Remap { from: address(0), to: address(1), len: address(2) }
            }
            code @ uapi::UFFD_EVENT_REMOVE => {
                range(address(0), address(1)).map_or(Self::Unknown { code }, Self::Remove)
            }
            code @ uapi::UFFD_EVENT_UNMAP => {
                range(address(0), address(1)).map_or(Self::Unknown { code }, Self::Unmap)
            }
            code => Self::Unknown { code },
        }
    }
}

fn fault(flags: u64, addr: usize, thread: u64) -> Fault {
    let kind = if flags & uapi::UFFD_PAGEFAULT_FLAG_WP != 0 {
        FaultKind::WriteProtect
    } else if flags & uapi::UFFD_PAGEFAULT_FLAG_MINOR != 0 {
        FaultKind::Minor
    } else {
        FaultKind::Missing
    };
    let access =
        if flags & uapi::UFFD_PAGEFAULT_FLAG_WRITE == 0 { Access::Read } else { Access::Write };
    // The kernel leaves zero there without the feature; no thread has that number.
    let thread = Some(low_half(thread)).filter(|thread| *thread != 0);
    Fault { addr, kind, access, thread }
}

/// The `u32` that the header has at the beginning of a word of the union.
fn low_half(word: u64) -> u32 {
    let bytes = word.to_ne_bytes();
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

const MESSAGE_BYTES: usize = size_of::<uapi::uffd_msg>();

/// Room for reading many events with one system call.
///
/// [`Uffd::read_event`](userfaultfd::Uffd::read_event) serves for one event at a time; it gives no
/// thread number unless built with a feature, and an event that it does not know is an error.
pub struct EventBuffer {
    bytes: Vec<u8>,
    events: Vec<Event>,
}

impl EventBuffer {
    /// Room for `capacity` events.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { bytes: vec![0; capacity * MESSAGE_BYTES], events: Vec::with_capacity(capacity) }
    }

    /// Reads what events there are, in the order in which the kernel delivers them.
    ///
    /// On a descriptor that does not block there may be none. (A `Fork` event that is dropped
    /// closes its descriptor.)
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | `EINVAL` | no handshake was done on the descriptor | do it |
    /// | `UnexpectedEof` | the kernel will send no more | stop reading |
    ///
    /// # References
    ///
    /// `userfaultfd(2)`, under "Reading from the userfaultfd structure"
    pub fn read(&mut self, uffd: impl AsFd) -> io::Result<Drain<'_, Event>> {
        self.events.clear();
        match nix::unistd::read(uffd, &mut self.bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                let (messages, _) = self.bytes[..count].as_chunks();
                self.events.extend(messages.iter().map(Event::from_kernel));
            }
            // EAGAIN: none now. (EINTR: as much.)
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(self.events.drain(..))
    }
}

impl fmt::Debug for EventBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBuffer")
            .field("capacity", &(self.bytes.len() / MESSAGE_BYTES))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "fault/tests.rs"]
mod tests;
