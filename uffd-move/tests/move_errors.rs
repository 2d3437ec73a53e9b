//! Each errno of a move, row by row as in `docs/errno.md`: provoked on the real kernel where that
//! can be done, scripted on the fake one where it cannot (their names end in `_fake`).

mod support;

use nix::errno::Errno;
use support::{
    Mapped, alone, bare_move, continue_pages, copy_pages, fork, fork_and_stay, move_pages,
    move_pages_with, move_with_unreadable_argument, page_bytes, pages, poison, register,
    register_as, require_move, require_move_with, skip, write_protect, zero_pages,
};
use uffd_move::{
    EventBuffer, FakeAnswer, FakeKernel, FakePage, Features, Holes, Op, OpError, OpenOptions,
    Opened, Outcome, PageRange, RegisterMode, Stop, Wake, page_size, uapi,
};

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const SHARED: i32 = libc::MAP_SHARED | libc::MAP_ANONYMOUS;

/// A registered page to move to and a filled page to move from.
fn pair(opened: &Opened) -> (Mapped, Mapped) {
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 1));
    register(&opened.uffd, to.range);
    (to, from)
}

fn refused(answer: Result<Outcome, OpError>, errno: Errno) {
    match answer {
        Err(error) => {
            assert_eq!((error.op, error.errno, error.done), (Op::Move, errno, pages(0)));
        }
        Ok(outcome) => panic!("{outcome:?} instead of {errno}"),
    }
}

fn stopped(answer: Result<Outcome, OpError>, stop: Stop) {
    assert_eq!(answer, Ok(Outcome { done: pages(0), stop }));
}

fn request(to: PageRange, from: PageRange) -> uapi::uffdio_move {
    uapi::uffdio_move {
        dst: to.start().get() as u64,
        src: from.start().get() as u64,
        len: to.len_bytes() as u64,
        mode: 0,
        r#move: 0,
    }
}

/// Asks with numbers that the page types would not let pass, and wants `EINVAL`.
fn refused_bare(change: impl FnOnce(&mut uapi::uffdio_move)) {
    let Some(opened) = require_move() else { return };
    let (to, from) = pair(&opened);
    let mut arg = request(to.range, from.range);
    change(&mut arg);
    // The field stays as it was preset: the core did not run.
    assert_eq!(bare_move(&opened.uffd, arg), (Err(Errno::EINVAL), 0));
}

// --- EINVAL: the numbers

#[test]
fn einval_for_an_unaligned_destination() {
    refused_bare(|arg| arg.dst += 1);
}

#[test]
fn einval_for_an_unaligned_source() {
    refused_bare(|arg| arg.src += 8);
}

#[test]
fn einval_for_a_length_that_is_not_whole_pages() {
    refused_bare(|arg| arg.len += 1);
}

#[test]
fn einval_for_no_length() {
    refused_bare(|arg| arg.len = 0);
}

#[test]
fn einval_for_a_range_that_wraps() {
    refused_bare(|arg| arg.len = u64::MAX - page_size() as u64 + 1);
}

#[test]
fn einval_for_a_mode_that_is_not_known() {
    refused_bare(|arg| arg.mode = 1 << 40);
}

#[test]
fn einval_from_another_process() {
    alone("einval_from_another_process", || {
        let Some(opened) = require_move() else { return };
        let (to, from) = pair(&opened);
        let child = fork(|| match move_pages(&opened.uffd, to.range, from.range.start()) {
            Err(error) if error.errno == Errno::EINVAL => 0,
            _ => 1,
        });
        assert!(matches!(child.status(), nix::sys::wait::WaitStatus::Exited(_, 0)));
    });
}

// --- EINVAL: the mappings

/// Moves one page from memory of one kind to memory of another, and wants `EINVAL`.
fn refused_between(to: &Mapped, from: &Mapped) {
    let Some(opened) = require_move() else { return };
    register(&opened.uffd, to.range);
    refused(move_pages(&opened.uffd, to.range, from.range.start()), Errno::EINVAL);
}

#[test]
fn einval_for_a_shared_source() {
    let from = Mapped::with(1, RW, SHARED);
    from.fill(1);
    refused_between(&Mapped::new(1), &from);
}

#[test]
fn einval_for_a_shared_destination() {
    refused_between(&Mapped::with(1, RW, SHARED), &Mapped::filled(1, 1));
}

#[test]
fn einval_for_a_source_that_is_not_anonymous() {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let from = Mapped::at_file(1, RW, libc::MAP_PRIVATE, file.as_raw_fd());
    from.set_byte(0, 1);
    refused_between(&Mapped::new(1), &from);
}

#[test]
fn einval_for_a_source_of_two_mappings() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(4), Mapped::filled(4, 1));
    from.protect(from.part(2, 2), libc::PROT_READ);
    register(&opened.uffd, to.range);
    refused(move_pages(&opened.uffd, to.range, from.range.start()), Errno::EINVAL);
}

#[test]
fn einval_for_a_destination_of_two_mappings() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(4), Mapped::filled(4, 1));
    register(&opened.uffd, to.part(0, 2));
    refused(move_pages(&opened.uffd, to.range, from.range.start()), Errno::EINVAL);
}

#[test]
fn einval_for_different_protections() {
    let from = Mapped::with(1, RW | libc::PROT_EXEC, PRIVATE);
    from.fill(1);
    refused_between(&Mapped::new(1), &from);
}

#[test]
fn einval_for_a_source_that_may_not_be_written() {
    let Some(opened) = require_move() else { return };
    let (to, from) = pair(&opened);
    // Equal protections, so that only the missing right to write is left as a reason.
    from.protect(from.range, libc::PROT_READ);
    to.protect(to.range, libc::PROT_READ);
    refused(move_pages(&opened.uffd, to.range, from.range.start()), Errno::EINVAL);
}

#[test]
fn einval_if_only_one_is_locked_in_memory() {
    let Some(opened) = require_move() else { return };
    let (to, from) = pair(&opened);
    if let Err(errno) = from.lock() {
        return skip(&format!("mlock: {errno}"));
    }
    refused(move_pages(&opened.uffd, to.range, from.range.start()), Errno::EINVAL);
}

#[test]
fn einval_for_a_destination_that_is_not_registered() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 1));
    refused(move_pages(&opened.uffd, to.range, from.range.start()), Errno::EINVAL);
}

#[test]
fn einval_for_a_destination_of_another_descriptor() {
    let Some(opened) = require_move() else { return };
    let other = OpenOptions::new().open().unwrap();
    let (to, from) = pair(&other);
    refused(move_pages(&opened.uffd, to.range, from.range.start()), Errno::EINVAL);
    // The source may be registered wherever it likes.
    register(&opened.uffd, from.range);
    assert!(move_pages(&other.uffd, to.range, from.range.start()).unwrap().is_complete());
}

// --- ENOENT

#[test]
fn enoent_for_a_hole_is_a_stop() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(1), Mapped::new(1));
    register(&opened.uffd, to.range);
    stopped(move_pages(&opened.uffd, to.range, from.range.start()), Stop::Hole);
    let start = from.range.start();
    let skipped = move_pages_with(&opened.uffd, to.range, start, Holes::Skip, Wake::Now).unwrap();
    assert!(skipped.is_complete());
}

#[test]
fn enoent_for_a_source_that_is_not_mapped_is_a_stop_too() {
    alone("enoent_for_a_source_that_is_not_mapped_is_a_stop_too", || {
        let Some(opened) = require_move() else { return };
        let (to, from) = (Mapped::new(1), Mapped::filled(3, 1));
        register(&opened.uffd, to.range);
        let middle = from.part(1, 1);
        from.unmap(middle);
        stopped(move_pages(&opened.uffd, to.range, middle.start()), Stop::Hole);
    });
}

#[test]
fn enoent_for_a_destination_that_is_not_mapped_is_a_stop_too() {
    alone("enoent_for_a_destination_that_is_not_mapped_is_a_stop_too", || {
        let Some(opened) = require_move() else { return };
        let (to, from) = (Mapped::new(3), Mapped::filled(1, 1));
        register(&opened.uffd, to.range);
        let middle = to.part(1, 1);
        to.unmap(middle);
        stopped(move_pages(&opened.uffd, middle, from.range.start()), Stop::Hole);
        assert_eq!(from.byte(0), 1);
    });
}

// --- EEXIST

#[test]
fn eexist_for_a_page_that_is_there() {
    let Some(opened) = require_move() else { return };
    let (to, from) = pair(&opened);
    let early = Mapped::filled(1, 77);
    assert!(move_pages(&opened.uffd, to.range, early.range.start()).unwrap().is_complete());
    stopped(move_pages(&opened.uffd, to.range, from.range.start()), Stop::Present);
    assert_eq!((to.byte(0), from.byte(0)), (77, 1));
}

#[test]
fn eexist_for_a_zero_page_that_is_there() {
    let Some(opened) = require_move() else { return };
    let (to, from) = pair(&opened);
    assert!(zero_pages(&opened.uffd, to.range).unwrap().is_complete());
    stopped(move_pages(&opened.uffd, to.range, from.range.start()), Stop::Present);
}

#[test]
fn eexist_for_a_marker_of_write_protection() {
    let wanted = Features::PAGEFAULT_FLAG_WP | Features::WP_UNPOPULATED;
    let Some(opened) = require_move_with(wanted) else { return };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 1));
    let mode = RegisterMode::MISSING | RegisterMode::WRITE_PROTECT;
    register_as(&opened.uffd, to.range, mode).unwrap();
    write_protect(&opened.uffd, to.range).unwrap();
    stopped(move_pages(&opened.uffd, to.range, from.range.start()), Stop::Present);
}

// --- EBUSY (and see fork_and_pin.rs)

#[test]
fn ebusy_for_a_page_shared_with_a_child() {
    alone("ebusy_for_a_page_shared_with_a_child", || {
        let Some(opened) = require_move() else { return };
        let (to, from) = pair(&opened);
        let child = fork_and_stay();
        stopped(move_pages(&opened.uffd, to.range, from.range.start()), Stop::Busy);
        // A copy does it.
        assert!(copy_pages(&opened.uffd, to.range, from.range.start()).unwrap().is_complete());
        assert_eq!(to.byte(0), 1);
        drop(child);
    });
}

// --- EAGAIN, in its three encodings

#[test]
fn eagain_after_some_pages_has_them_in_the_field() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(3), Mapped::new(3));
    from.set_byte(0, 1);
    from.set_byte(1, 2);
    register(&opened.uffd, to.range);
    let two = i64::try_from(page_bytes(2)).unwrap();
    assert_eq!(bare_move(&opened.uffd, request(to.range, from.range)), (Err(Errno::EAGAIN), two));
    assert_eq!((to.byte(0), to.byte(1)), (1, 2));
}

#[test]
fn eagain_while_the_address_space_changes() {
    // An event of madvise that nobody has read yet keeps the address space "changing".
    let Some(opened) = require_move_with(Features::EVENT_REMOVE) else { return };
    let (to, from) = pair(&opened);
    let other = Mapped::filled(1, 9);
    register(&opened.uffd, other.range);
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| other.advise(other.range, libc::MADV_DONTNEED));
        let answer = loop {
            match move_pages(&opened.uffd, to.range, from.range.start()).unwrap() {
                // The other thread is not there yet: undo.
                Outcome { stop: Stop::Complete, .. } => {
                    register(&opened.uffd, from.range);
                    let back = move_pages(&opened.uffd, from.range, to.range.start());
                    if back.unwrap().stop == Stop::Again {
                        break Outcome { done: pages(0), stop: Stop::Again };
                    }
                }
                stopped => break stopped,
            }
            std::thread::yield_now();
        };
        assert_eq!(answer, Outcome { done: pages(0), stop: Stop::Again });
        let (status, field) = bare_move(&opened.uffd, request(to.range, from.range));
        assert_eq!(status, Err(Errno::EAGAIN));
        // Kernels before 2025 leave the field alone. Either way nothing was moved.
        assert!(field == 0 || field == -i64::from(libc::EAGAIN), "{field}");
        let mut buffer = EventBuffer::new(1);
        while buffer.read(&opened.uffd).unwrap().next().is_none() {}
        remover.join().unwrap().unwrap();
    });
}

fn fake_pair() -> (FakeKernel, PageRange, PageRange) {
    let kernel = FakeKernel::new();
    let to = kernel.map(pages(2), FakePage::Missing);
    let from = kernel.map(pages(2), FakePage::Present);
    kernel.register(to);
    (kernel, to, from)
}

#[test]
fn eagain_with_the_field_untouched_moves_nothing_fake() {
    let (kernel, to, from) = fake_pair();
    kernel.script([FakeAnswer::Fail { errno: Errno::EAGAIN, field: None }]);
    stopped(move_pages(&kernel, to, from.start()), Stop::Again);
    assert!(move_pages(&kernel, to, from.start()).unwrap().is_complete());
}

// --- EFAULT

#[test]
fn efault_for_a_request_that_cannot_be_read() {
    let Some(opened) = require_move() else { return };
    assert_eq!(move_with_unreadable_argument(&opened), Err(Errno::EFAULT));
}

#[test]
fn efault_for_a_poisoned_source() {
    let Some(opened) = require_move_with(Features::POISON) else { return };
    let (to, from) = (Mapped::new(1), Mapped::new(1));
    register(&opened.uffd, to.range);
    register(&opened.uffd, from.range);
    poison(&opened, from.range).unwrap();
    refused(move_pages(&opened.uffd, to.range, from.range.start()), Errno::EFAULT);
}

// --- what only the fake kernel can be made to say

fn refused_by_script(errno: Errno) {
    let (kernel, to, from) = fake_pair();
    kernel.script([FakeAnswer::Fail { errno, field: Some(-i64::from(errno as i32)) }]);
    refused(move_pages(&kernel, to, from.start()), errno);
    kernel.script([FakeAnswer::Fail { errno, field: None }]);
    refused(move_pages(&kernel, to, from.start()), errno);
}

#[test]
fn enomem_is_an_error_fake() {
    refused_by_script(Errno::ENOMEM);
}

#[test]
fn eintr_of_a_dying_process_is_an_error_fake() {
    refused_by_script(Errno::EINTR);
}

#[test]
fn esrch_of_a_dead_process_is_an_error_fake() {
    refused_by_script(Errno::ESRCH);
}

#[test]
fn eperm_is_an_error_fake() {
    refused_by_script(Errno::EPERM);
}

#[test]
fn an_errno_that_no_kernel_has_said_yet_is_an_error_fake() {
    refused_by_script(Errno::EPROTO);
}

// --- the neighbours: copy, continue, zero

#[test]
fn a_copy_to_memory_that_is_not_registered_is_an_error() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 1));
    let error = copy_pages(&opened.uffd, to.range, from.range.start()).unwrap_err();
    assert_eq!((error.op, error.errno), (Op::Copy, Errno::ENOENT));
}

#[test]
fn a_copy_from_memory_that_cannot_be_read_is_an_error() {
    let Some(opened) = require_move() else { return };
    let to = Mapped::new(1);
    register(&opened.uffd, to.range);
    let from = Mapped::with(1, libc::PROT_NONE, PRIVATE);
    let error = copy_pages(&opened.uffd, to.range, from.range.start()).unwrap_err();
    assert_eq!(error.errno, Errno::EFAULT);
}

#[test]
fn a_copy_that_meets_a_page_keeps_its_count() {
    let Some(opened) = require_move() else { return };
    let (to, from) = (Mapped::new(4), Mapped::filled(4, 1));
    register(&opened.uffd, to.range);
    assert!(zero_pages(&opened.uffd, to.part(2, 1)).unwrap().is_complete());
    let first = copy_pages(&opened.uffd, to.range, from.range.start());
    assert_eq!(first, Ok(Outcome { done: pages(2), stop: Stop::Again }));
    stopped(copy_pages(&opened.uffd, to.part(2, 2), from.part(2, 2).start()), Stop::Present);
}

#[test]
fn zeroing_a_page_that_is_there_is_a_stop() {
    let Some(opened) = require_move() else { return };
    let to = Mapped::new(1);
    register(&opened.uffd, to.range);
    assert!(zero_pages(&opened.uffd, to.range).unwrap().is_complete());
    stopped(zero_pages(&opened.uffd, to.range), Stop::Present);
}

#[test]
fn a_continue_maps_what_the_page_cache_has_and_stops_at_what_it_has_not() {
    use std::os::fd::AsRawFd;
    let support = support::support();
    if let Some(reason) = support.continue_pages.verdict().reason() {
        return skip(&format!("UFFDIO_CONTINUE: {reason}"));
    }
    let opened = OpenOptions::new().require(Features::MINOR_SHMEM).open().unwrap();
    let memory = memfd(2);
    let to = Mapped::at_file(2, RW, libc::MAP_SHARED, memory.as_raw_fd());
    let from = Mapped::at_file(2, RW, libc::MAP_SHARED, memory.as_raw_fd());
    from.set_byte(0, 6);
    register_as(&opened.uffd, to.range, RegisterMode::MINOR).unwrap();
    let first = continue_pages(&opened.uffd, to.range);
    assert_eq!(first, Ok(Outcome { done: pages(1), stop: Stop::Again }));
    assert_eq!(to.byte(0), 6);
    stopped(continue_pages(&opened.uffd, to.part(1, 1)), Stop::Hole);
    stopped(continue_pages(&opened.uffd, to.part(0, 1)), Stop::Present);
}

fn memfd(count: usize) -> std::os::fd::OwnedFd {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let memory = memfd_create("test", MFdFlags::MFD_CLOEXEC).expect("must succeed here");
    let len = i64::try_from(page_bytes(count)).expect("must succeed here");
    nix::unistd::ftruncate(&memory, len).expect("must succeed here");
    memory
}
