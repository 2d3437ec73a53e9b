//! What the tests on the real kernel share: memory of every kind, children, and loud skips.
//!
//! All unsafe code of the tests is here (and in the counting allocator of `signal_router.rs`).
#![allow(unsafe_code, reason = "mappings, forks and raw requests for tests")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::Read;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use uffd_move::raw;
use uffd_move::{
    FaultHandler, Features, Holes, OpError, OpenOptions, Opened, Outcome, PageAddr, PageCount,
    PageRange, RangeIoctls, RegisterMode, Request, SignalFault, Support, UffdIoctl, Verdict, Wake,
    page_size, uapi,
};

/// What the machine can do, found out once.
pub(crate) fn support() -> &'static Support {
    static SUPPORT: OnceLock<Support> = OnceLock::new();
    SUPPORT.get_or_init(Support::probe)
}

/// Says aloud that a test does nothing here; fails it if the machine was said to be able.
pub(crate) fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    let required = std::env::var("UFFD_MOVE_REQUIRED").is_ok_and(|value| value == "1");
    assert!(!required, "UFFD_MOVE_REQUIRED=1, but: {reason}");
}

/// Says aloud that the machine (not its kernel) lacks what the test needs.
pub(crate) fn skip_machine(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// A userfaultfd for moving pages, or a loud skip.
pub(crate) fn require_move() -> Option<Opened> {
    require_move_with(Features::empty())
}

/// A userfaultfd for moving pages with more features, or a loud skip.
pub(crate) fn require_move_with(features: Features) -> Option<Opened> {
    if let Some(reason) = support().move_pages.verdict().reason() {
        skip(&format!("UFFDIO_MOVE: {reason}"));
        return None;
    }
    match OpenOptions::new().require(features).open() {
        Ok(opened) => Some(opened),
        Err(error) => {
            skip(&error.to_string());
            None
        }
    }
}

/// Bytes in `count` pages.
pub(crate) fn page_bytes(count: usize) -> usize {
    count * page_size()
}

pub(crate) const fn pages(count: usize) -> PageCount {
    PageCount::new(count)
}

/// A mapping of any kind; unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) range: PageRange,
    // Unmapped already: by now somebody else's memory may be there.
    gone: Mutex<Vec<PageRange>>,
}

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Mapped {
    /// Private anonymous memory, not yet touched.
    pub(crate) fn new(count: usize) -> Self {
        Self::with(count, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)
    }

    /// Private anonymous memory, page `i` filled with `mark + i`.
    pub(crate) fn filled(count: usize, mark: u8) -> Self {
        let mapped = Self::new(count);
        mapped.fill(mark);
        mapped
    }

    pub(crate) fn with(count: usize, protection: i32, flags: i32) -> Self {
        Self::at_file(count, protection, flags, -1)
    }

    pub(crate) fn at_file(count: usize, protection: i32, flags: i32, fd: i32) -> Self {
        let len = count * page_size();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap: {}", Errno::last());
        let range = PageRange::from_bytes(at.expose_provenance(), len).expect("whole pages");
        Self::of(range)
    }

    /// Takes over pages that are mapped.
    pub(crate) fn of(range: PageRange) -> Self {
        Self { range, gone: Mutex::default() }
    }

    pub(crate) fn fill(&self, mark: u8) {
        for (i, page) in self.range.pages().enumerate() {
            let byte = mark.wrapping_add(u8::try_from(i % 251).expect("small"));
            // SAFETY: a page of ours.
            unsafe { page.as_mut_ptr().write_bytes(byte, page_size()) };
        }
    }

    /// The first byte of page `i`. Faults if the page is missing.
    pub(crate) fn byte(&self, i: usize) -> u8 {
        let page = self.range.pages().nth(i).expect("a page of it");
        // SAFETY: a page of ours; volatile, for the kernel changes it.
        unsafe { page.as_mut_ptr().read_volatile() }
    }

    pub(crate) fn set_byte(&self, i: usize, byte: u8) {
        let page = self.range.pages().nth(i).expect("a page of it");
        // SAFETY: a page of ours; volatile, for the kernel changes it.
        unsafe { page.as_mut_ptr().write_volatile(byte) };
    }

    pub(crate) fn part(&self, first: usize, count: usize) -> PageRange {
        self.range.subrange(pages(first), pages(count)).expect("inside")
    }

    pub(crate) fn protect(&self, range: PageRange, protection: i32) {
        set_protection(range, protection);
    }

    pub(crate) fn lock(&self) -> Result<(), Errno> {
        // SAFETY: memory of ours.
        let answer =
            unsafe { libc::mlock(self.range.start().as_mut_ptr().cast(), self.range.len_bytes()) };
        Errno::result(answer).map(drop)
    }

    pub(crate) fn advise(&self, range: PageRange, advice: i32) -> Result<(), Errno> {
        madvise(range, advice)
    }

    pub(crate) fn unmap(&self, range: PageRange) {
        self.gone.lock().expect("no panic inside").push(range);
        // SAFETY: memory of ours, and not again on drop.
        unsafe { unmap(range) };
    }

    /// Moves the mapping with `mremap`, and leaves the old addresses unmapped.
    pub(crate) fn remap(&mut self) {
        let len = self.range.len_bytes();
        // SAFETY: memory of ours.
        let at = unsafe {
            libc::mremap(self.range.start().as_mut_ptr().cast(), len, len * 2, libc::MREMAP_MAYMOVE)
        };
        assert_ne!(at, libc::MAP_FAILED, "mremap: {}", Errno::last());
        self.range = PageRange::from_bytes(at.expose_provenance(), len * 2).expect("whole pages");
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let gone = self.gone.get_mut().expect("no panic inside");
        if gone.is_empty() {
            // SAFETY: memory of ours.
            return unsafe { unmap(self.range) };
        }
        for page in self.range.pages().filter(|page| !gone.iter().any(|it| it.contains(page.get())))
        {
            // SAFETY: memory of ours, not unmapped yet.
            unsafe { unmap(PageRange::one(page).expect("a page")) };
        }
    }
}

/// Unmaps pages.
///
/// # Safety
///
/// They are the caller's.
unsafe fn unmap(range: PageRange) {
    // SAFETY: handed on.
    let answer = unsafe { libc::munmap(range.start().as_mut_ptr().cast(), range.len_bytes()) };
    Errno::result(answer).expect("munmap");
}

pub(crate) fn set_protection(range: PageRange, protection: i32) {
    // SAFETY: memory of the calling test.
    let answer =
        unsafe { libc::mprotect(range.start().as_mut_ptr().cast(), range.len_bytes(), protection) };
    Errno::result(answer).expect("mprotect");
}

/// All of it as bytes, for a system call. Pages may be missing.
pub(crate) fn bytes_of(mapped: &Mapped) -> &[u8] {
    let range = mapped.range;
    // SAFETY: mapped and initialised; the test changes no byte while it has the slice.
    unsafe { std::slice::from_raw_parts(range.start().as_mut_ptr(), range.len_bytes()) }
}

/// Runs `call` with all of it touched.
pub(crate) fn while_touched<T>(
    mapped: &Mapped,
    call: impl FnMut() -> std::io::Result<T>,
) -> std::io::Result<T> {
    // SAFETY: memory of ours, borrowed.
    let area = unsafe { uffd_move::Area::from_raw(mapped.range) };
    area.while_touched(0, mapped.range.len_bytes(), raw::Access::Read, call)
}

pub(crate) fn madvise(range: PageRange, advice: i32) -> Result<(), Errno> {
    // SAFETY: memory of the calling test.
    let answer =
        unsafe { libc::madvise(range.start().as_mut_ptr().cast(), range.len_bytes(), advice) };
    Errno::result(answer).map(drop)
}

pub(crate) fn register<K: UffdIoctl>(uffd: &K, range: PageRange) -> RangeIoctls {
    register_as(uffd, range, RegisterMode::MISSING).expect("register")
}

pub(crate) fn register_as<K: UffdIoctl>(
    uffd: &K,
    range: PageRange,
    mode: RegisterMode,
) -> Result<RangeIoctls, OpError> {
    // SAFETY: memory of the calling test, which serves its faults.
    unsafe { raw::register(uffd, range, mode) }
}

pub(crate) fn unregister<K: UffdIoctl>(uffd: &K, range: PageRange) -> Result<(), OpError> {
    // SAFETY: memory of the calling test.
    unsafe { raw::unregister(uffd, range) }
}

pub(crate) fn move_pages<K: UffdIoctl>(
    uffd: &K,
    dst: PageRange,
    src: PageAddr,
) -> Result<Outcome, OpError> {
    move_pages_with(uffd, dst, src, Holes::Reject, Wake::Now)
}

pub(crate) fn move_pages_with<K: UffdIoctl>(
    uffd: &K,
    dst: PageRange,
    src: PageAddr,
    holes: Holes,
    wake: Wake,
) -> Result<Outcome, OpError> {
    // SAFETY: memory of the calling test.
    unsafe { raw::move_pages(uffd, dst, src, holes, wake) }
}

pub(crate) fn move_all<K: UffdIoctl>(
    uffd: &K,
    dst: PageRange,
    src: PageAddr,
    resume: raw::Resume,
) -> Result<raw::Progress, OpError> {
    // SAFETY: memory of the calling test.
    unsafe { raw::move_all(uffd, dst, src, Holes::Reject, Wake::Now, resume) }
}

pub(crate) fn copy_pages<K: UffdIoctl>(
    uffd: &K,
    dst: PageRange,
    src: PageAddr,
) -> Result<Outcome, OpError> {
    // SAFETY: memory of the calling test. The kernel checks the source.
    unsafe { raw::copy_pages(uffd, dst, src.as_mut_ptr(), Wake::Now) }
}

pub(crate) fn zero_pages<K: UffdIoctl>(uffd: &K, dst: PageRange) -> Result<Outcome, OpError> {
    // SAFETY: memory of the calling test.
    unsafe { raw::zero_pages(uffd, dst, Wake::Now) }
}

pub(crate) fn continue_pages<K: UffdIoctl>(uffd: &K, dst: PageRange) -> Result<Outcome, OpError> {
    // SAFETY: memory of the calling test.
    unsafe { raw::continue_pages(uffd, dst, Wake::Now) }
}

pub(crate) fn wake<K: UffdIoctl>(uffd: &K, range: PageRange) {
    // SAFETY: memory of the calling test.
    unsafe { raw::wake_pages(uffd, range) }.expect("wake");
}

/// The request as it stands, with nothing checked: the answer, and the output field.
pub(crate) fn bare_move<K: UffdIoctl>(
    uffd: &K,
    mut arg: uapi::uffdio_move,
) -> (Result<(), Errno>, i64) {
    // SAFETY: memory of the calling test, or numbers that the kernel refuses.
    let answer = unsafe { uffd.ioctl(Request::Move(&mut arg)) };
    (answer, arg.r#move)
}

/// A move whose argument is at an address where nothing is.
pub(crate) fn move_with_unreadable_argument(opened: &Opened) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let nowhere = std::ptr::without_provenance_mut::<libc::c_void>(page_size());
    // SAFETY: the kernel refuses the address; it reads and writes nothing.
    let answer = unsafe { libc::ioctl(opened.uffd.as_raw_fd(), uapi::UFFDIO_MOVE as _, nowhere) };
    Errno::result(answer).map(drop)
}

/// Marks pages as poisoned (`UFFDIO_POISON`, 6.6).
pub(crate) fn poison(opened: &Opened, range: PageRange) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // struct uffdio_poison: range, mode, pages updated.
    let mut arg = [range.start().get() as u64, range.len_bytes() as u64, 0_u64, 0_u64];
    let code = nix::request_code_readwrite!(0xAA, 0x08, 32);
    // SAFETY: the argument is as long as the request says; memory of the calling test.
    let answer = unsafe { libc::ioctl(opened.uffd.as_raw_fd(), code as _, arg.as_mut_ptr()) };
    Errno::result(answer).map(drop)
}

/// Write-protects pages, also those that are not there.
pub(crate) fn write_protect<K: UffdIoctl>(uffd: &K, range: PageRange) -> Result<(), Errno> {
    let mut arg = uapi::uffdio_writeprotect {
        range: uapi::uffdio_range {
            start: range.start().get() as u64,
            len: range.len_bytes() as u64,
        },
        mode: uapi::UFFDIO_WRITEPROTECT_MODE_WP,
    };
    // SAFETY: memory of the calling test.
    unsafe { uffd.ioctl(Request::WriteProtect(&mut arg)) }
}

/// A forked child. Killed and waited for on drop.
#[derive(Debug)]
pub(crate) struct Child(Pid);

/// Forks. The child runs `work` and ends with its answer as exit status.
///
/// `work` must get by without locks that other threads may have held.
pub(crate) fn fork(work: impl FnOnce() -> u8) -> Child {
    // SAFETY: the child runs only `work`, and leaves by `_exit`.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Parent { child } => Child(child),
        ForkResult::Child => {
            let status = work();
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(i32::from(status)) }
        }
    }
}

/// Forks a child that shares all pages, and stays until it is dropped.
pub(crate) fn fork_and_stay() -> Child {
    fork(|| {
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    })
}

impl Child {
    pub(crate) fn status(self) -> WaitStatus {
        let status = waitpid(self.0, None).expect("waitpid");
        std::mem::forget(self);
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Becomes nobody. For a forked child.
pub(crate) fn drop_privileges() {
    const NOBODY: u32 = 65534;
    // SAFETY: only the calling (forked) process changes.
    Errno::result(unsafe { libc::setgroups(0, std::ptr::null()) }).expect("setgroups");
    // SAFETY: as above.
    Errno::result(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }).expect("setresgid");
    // SAFETY: as above.
    Errno::result(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }).expect("setresuid");
}

pub(crate) fn is_root() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Runs the calling test again in a process of its own, with `scene` in its environment.
///
/// For what ends a process, or changes all of it.
pub(crate) fn scene(test: &str, scene: &str) -> Output {
    Command::new(std::env::current_exe().expect("the test binary"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("UFFD_MOVE_SCENE", scene)
        .output()
        .expect("the test binary runs")
}

/// Runs `body` in a process of its own, beside no other test: for those that leave a hole in the
/// address space and rely on it, and for those that fork (and so would make the pages of all tests
/// shared).
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if scene_here().is_some() {
        return body();
    }
    let output = scene(test, "alone");
    let said = String::from_utf8_lossy(&output.stderr);
    eprint!("{said}");
    // A name that is no test's would be a success, too.
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{test}: {}\n{said}", output.status);
}

/// Which scene this process is to play, if it is one of [`scene`].
pub(crate) fn scene_here() -> Option<String> {
    std::env::var("UFFD_MOVE_SCENE").ok()
}

/// A fault handler made of a closure, which keeps to the rules of [`FaultHandler`].
pub(crate) struct OnFault<F>(F);

// SAFETY: the closures of the tests only make requests, use atomics, and return.
unsafe impl<F: Fn(SignalFault) -> Verdict + Send + Sync> FaultHandler for OnFault<F> {
    fn handle(&self, fault: SignalFault) -> Verdict {
        (self.0)(fault)
    }
}

pub(crate) fn on_fault(
    handle: impl Fn(SignalFault) -> Verdict + Send + Sync + 'static,
) -> Arc<dyn FaultHandler> {
    Arc::new(OnFault(handle))
}

pub(crate) type SigInfoHandler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
pub(crate) type PlainHandler = extern "C" fn(i32);

/// Installs a handler as another library would.
pub(crate) fn install(signal: i32, handler: libc::sighandler_t, flags: i32, mask: &[i32]) {
    // SAFETY: zero is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    for signal in mask {
        // SAFETY: a signal set of ours.
        unsafe { libc::sigaddset(&raw mut action.sa_mask, *signal) };
    }
    // SAFETY: the handlers of the tests are functions of the type that the flags say.
    let answer = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    Errno::result(answer).expect("sigaction");
}

pub(crate) fn info_handler(handler: SigInfoHandler) -> libc::sighandler_t {
    handler as libc::sighandler_t
}

pub(crate) fn plain_handler(handler: PlainHandler) -> libc::sighandler_t {
    handler as libc::sighandler_t
}

/// The address in a signal's information.
pub(crate) fn fault_address(info: *mut libc::siginfo_t) -> usize {
    // SAFETY: called with what the kernel gave a handler.
    let info = unsafe { &*info };
    // SAFETY: of SIGBUS or SIGSEGV, hence with an address.
    unsafe { info.si_addr() }.addr()
}

/// Whether the calling thread blocks `signal` now.
pub(crate) fn is_blocked(signal: i32) -> bool {
    // SAFETY: zero is a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: asks only.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set) };
    // SAFETY: the set was filled in.
    unsafe { libc::sigismember(&raw const set, signal) == 1 }
}

/// Ends the process at once, from a signal handler.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: async-signal-safe.
    unsafe { libc::_exit(status) }
}

pub(crate) fn raise(signal: i32) {
    // SAFETY: sends a signal to the calling thread.
    unsafe { libc::raise(signal) };
}

/// Touches the byte at an address where nothing is mapped, or nothing may be read.
pub(crate) fn read_at(addr: usize) -> u8 {
    let byte = std::ptr::with_exposed_provenance::<u8>(addr);
    // SAFETY: none: this is to fault. Volatile, so that it does.
    unsafe { byte.read_volatile() }
}

/// Pins pages as a device would: as a registered buffer of an `io_uring`, until it is dropped.
pub(crate) fn pin(range: PageRange) -> Result<std::os::fd::OwnedFd, Errno> {
    use std::os::fd::{FromRawFd, OwnedFd};
    const REGISTER_BUFFERS: u32 = 0;
    // struct io_uring_params, zeroed.
    let mut params = [0_u32; 30];
    // SAFETY: the argument is as long as the call wants.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    let fd = i32::try_from(Errno::result(fd)?).expect("a descriptor is an int");
    // SAFETY: just made for us.
    let ring = unsafe { OwnedFd::from_raw_fd(fd) };
    let buffer =
        libc::iovec { iov_base: range.start().as_mut_ptr().cast(), iov_len: range.len_bytes() };
    // SAFETY: one buffer of the calling test.
    let answer = unsafe {
        libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_BUFFERS, &raw const buffer, 1)
    };
    Errno::result(answer)?;
    Ok(ring)
}

/// The field `name` of the mapping at `at`, in KiB, from /proc/self/smaps.
pub(crate) fn smaps_kib(at: PageAddr, name: &str) -> usize {
    let mut text = String::new();
    std::fs::File::open("/proc/self/smaps")
        .and_then(|mut file| file.read_to_string(&mut text))
        .expect("/proc/self/smaps");
    let mut inside = false;
    for line in text.lines() {
        if let Some((start, end)) =
            line.split_once(' ').and_then(|(range, _)| range.split_once('-'))
            && let (Ok(start), Ok(end)) =
                (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            inside = (start..end).contains(&at.get());
        } else if inside
            && let Some(rest) = line.strip_prefix(name).and_then(|it| it.strip_prefix(':'))
        {
            let number = rest.trim().trim_end_matches("kB").trim();
            return number.parse().expect("a number");
        }
    }
    panic!("no mapping at {at}, or no {name} in it");
}

/// Whether the page at `at` is there, by asking the kernel without touching it.
pub(crate) fn is_resident(at: PageAddr) -> bool {
    let mut answer = 0_u8;
    // SAFETY: asks about one page; one byte of room for the answer.
    let result = unsafe { libc::mincore(at.as_mut_ptr().cast(), page_size(), &raw mut answer) };
    Errno::result(result).expect("mincore");
    answer & 1 == 1
}
