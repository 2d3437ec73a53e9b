//! A kernel that is a table: scripted answers, and the rules of the real one without its pages.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use crate::error::Op;
use crate::page::{PageAddr, PageCount, PageRange, page_size};

use super::uapi;
use super::{Request, UffdIoctl};

mod rules;
use rules::Work;

/// What the fake kernel holds of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FakePage {
    /// Nothing is mapped there: touching it would fault.
    Missing,
    /// It is there.
    Present,
    /// It is there and cannot change its address: shared with a child, or pinned.
    Busy,
    /// It is in the page cache, and not mapped there.
    Cached,
}

/// A scripted answer to one request. Without a script the rules answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FakeAnswer {
    /// By the rules.
    Rules,
    /// By the rules for so many pages, then `EAGAIN` with the bytes in the output field; with no
    /// page at all the field is `-EAGAIN`.
    Partial(PageCount),
    /// This errno, and this in the output field. No page is touched.
    Fail {
        /// The errno.
        errno: Errno,
        /// What is written to the output field; `None` leaves it untouched.
        field: Option<i64>,
    },
}

/// A request that was made, as the kernel saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakeCall {
    /// Which request.
    pub op: Op,
    /// Its range: the destination, where there is a source too. `None` for a handshake, or if the
    /// numbers are no range.
    pub range: Option<PageRange>,
    /// Where it takes pages or bytes from.
    pub src: Option<u64>,
    /// Its mode bits; for a handshake, the features.
    pub mode: u64,
}

/// A userfaultfd without a kernel, for tests: it takes the same requests, works on ordinary memory,
/// and answers by a script or by the kernel's own rules. Runs under Miri.
///
/// A page that is [`FakePage::Missing`] can be read all the same (as zeros): there are no faults
/// here, only their consequences.
///
/// # Examples
///
/// ```
/// use uffd_move::{FakeAnswer, FakeKernel, FakePage, Holes, PageCount, Stop, Wake, raw};
///
/// let kernel = FakeKernel::new();
/// let to = kernel.map(PageCount::new(4), FakePage::Missing);
/// let from = kernel.map(PageCount::new(4), FakePage::Present);
/// kernel.register(to);
/// kernel.fill(from, 7);
///
/// kernel.script([FakeAnswer::Partial(PageCount::new(3))]);
/// // SAFETY: nobody else uses this memory.
/// let outcome = unsafe { raw::move_pages(&kernel, to, from.start(), Holes::Reject, Wake::Now) }?;
/// assert_eq!((outcome.done.get(), outcome.stop), (3, Stop::Again));
/// assert_eq!(kernel.byte(to.start().get()), 7);
/// assert_eq!(kernel.page(from.start()), Some(FakePage::Missing));
/// # Ok::<(), uffd_move::OpError>(())
/// ```
#[derive(Default)]
pub struct FakeKernel {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    arenas: Vec<Arena>,
    pages: BTreeMap<PageAddr, FakePage>,
    registered: Vec<PageRange>,
    script: VecDeque<FakeAnswer>,
    calls: Vec<FakeCall>,
}

/// Memory of the fake's own.
///
/// # Invariants
///
/// `base` came from the global allocator with `layout`, and its provenance is exposed.
struct Arena {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an arena is only an owned allocation; nothing in it belongs to a thread.
unsafe impl Send for Arena {}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: invariant of `Arena`.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

impl FakeKernel {
    /// A kernel with no memory and no script.
    pub fn new() -> Self {
        Self::default()
    }

    /// New zeroed memory of `count` pages, all in the state `page`. Freed with the kernel.
    ///
    /// # Panics
    ///
    /// If `count` is zero or there is no such memory.
    pub fn map(&self, count: PageCount, page: FakePage) -> PageRange {
        let layout = Layout::from_size_align(count.bytes(), page_size())
            .expect("fewer pages than the address space has");
        assert!(!count.is_zero(), "a mapping has at least one page");
        // SAFETY: the size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        let range = PageRange::from_bytes(base.as_ptr().expose_provenance(), count.bytes())
            .expect("an allocation is aligned as asked and does not wrap");
        let mut state = self.lock();
        state.arenas.push(Arena { base, layout });
        state.pages.extend(range.pages().map(|at| (at, page)));
        range
    }

    /// Takes memory of the caller's under the rules, all pages in the state `page`.
    ///
    /// # Safety
    ///
    /// * The memory is valid for reads and writes until the kernel is dropped, its provenance is
    ///   exposed, and no reference is alive into pages that requests name.
    pub unsafe fn adopt(&self, range: PageRange, page: FakePage) {
        self.lock().pages.extend(range.pages().map(|at| (at, page)));
    }

    /// Registers `range`, so that requests may name it as destination.
    pub fn register(&self, range: PageRange) {
        self.lock().registered.push(range);
    }

    /// Queues answers for the requests to come, register and wake excepted.
    pub fn script(&self, answers: impl IntoIterator<Item = FakeAnswer>) {
        self.lock().script.extend(answers);
    }

    /// The requests so far.
    pub fn calls(&self) -> Vec<FakeCall> {
        self.lock().calls.clone()
    }

    /// The state of a page, or `None` if it is not mapped here.
    pub fn page(&self, at: PageAddr) -> Option<FakePage> {
        self.lock().pages.get(&at).copied()
    }

    /// Puts the pages of `range` that are mapped here into the state `page`.
    pub fn set_pages(&self, range: PageRange, page: FakePage) {
        let mut state = self.lock();
        for at in range.pages() {
            if let Some(held) = state.pages.get_mut(&at) {
                *held = page;
            }
        }
    }

    /// Fills the pages of `range` that are mapped here with `byte`, whatever their state.
    pub fn fill(&self, range: PageRange, byte: u8) {
        let state = self.lock();
        for at in range.pages().filter(|at| state.pages.contains_key(at)) {
            // SAFETY: a page of ours, or adopted as writable; we hold the lock.
            unsafe { at.as_mut_ptr().write_bytes(byte, page_size()) };
        }
    }

    /// The byte at `addr`.
    ///
    /// # Panics
    ///
    /// If `addr` is not mapped here.
    pub fn byte(&self, addr: usize) -> u8 {
        let state = self.lock();
        assert!(state.pages.contains_key(&PageAddr::containing(addr)), "{addr:#x} is not mapped");
        // SAFETY: in a page of ours, or adopted as readable; we hold the lock.
        unsafe { ptr::with_exposed_provenance::<u8>(addr).read() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("FakeKernel")
            .field("pages", &state.pages.len())
            .field("registered", &state.registered)
            .field("script", &state.script)
            .field("calls", &state.calls.len())
            .finish_non_exhaustive()
    }
}

impl UffdIoctl for FakeKernel {
    unsafe fn ioctl(&self, request: Request<'_>) -> Result<(), Errno> {
        let mut state = self.lock();
        match request {
            Request::Api(arg) => {
                state.record(Op::Handshake, None, None, arg.features);
                arg.features = u64::MAX;
                arg.ioctls = u64::MAX;
                Ok(())
            }
            Request::Register(arg) => {
                let range = range_of(arg.range);
                state.record(Op::Register, range, None, arg.mode);
                state.registered.push(range.ok_or(Errno::EINVAL)?);
                arg.ioctls = u64::MAX;
                Ok(())
            }
            Request::Unregister(arg) => {
                let range = range_of(*arg);
                state.record(Op::Unregister, range, None, 0);
                let range = range.ok_or(Errno::EINVAL)?;
                state.registered.retain(|held| *held != range);
                Ok(())
            }
            Request::Wake(arg) => {
                let range = range_of(*arg);
                state.record(Op::Wake, range, None, 0);
                range.map(drop).ok_or(Errno::EINVAL)
            }
            Request::WriteProtect(arg) => {
                let range = range_of(arg.range);
                state.record(Op::WriteProtect, range, None, arg.mode);
                range.map(drop).ok_or(Errno::EINVAL)
            }
            Request::Move(arg) => {
                let range = range_of(uapi::uffdio_range { start: arg.dst, len: arg.len });
                state.record(Op::Move, range, Some(arg.src), arg.mode);
                let (src, mode) = (arg.src, arg.mode);
                state.answer(range, &mut arg.r#move, |state, range| {
                    let src = PageAddr::new(to_usize(src)?).map_err(|_| Errno::EINVAL)?;
                    let src = PageRange::new(src, range.count()).map_err(|_| Errno::EINVAL)?;
                    state.mapped(src.start())?;
                    let holes = mode & uapi::UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES != 0;
                    Ok(Work::Move { src: src.start(), holes })
                })
            }
            Request::Copy(arg) => {
                let range = range_of(uapi::uffdio_range { start: arg.dst, len: arg.len });
                state.record(Op::Copy, range, Some(arg.src), arg.mode);
                let src = arg.src;
                state.answer(range, &mut arg.copy, |_, _| Ok(Work::Copy { src: to_usize(src)? }))
            }
            Request::Zeropage(arg) => {
                let range = range_of(arg.range);
                state.record(Op::Zero, range, None, arg.mode);
                state.answer(range, &mut arg.zeropage, |_, _| Ok(Work::Zero))
            }
            Request::Continue(arg) => {
                let range = range_of(arg.range);
                state.record(Op::Continue, range, None, arg.mode);
                state.answer(range, &mut arg.mapped, |_, _| Ok(Work::Continue))
            }
        }
    }
}

fn range_of(range: uapi::uffdio_range) -> Option<PageRange> {
    PageRange::from_bytes(to_usize(range.start).ok()?, to_usize(range.len).ok()?).ok()
}

fn to_usize(word: u64) -> Result<usize, Errno> {
    usize::try_from(word).map_err(|_| Errno::EINVAL)
}
