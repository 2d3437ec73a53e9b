//! A thread touches a page that is not there, and goes on with the right bytes: by signal on the
//! thread itself, and by a handler thread.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use support::{
    Mapped, copy_pages, exit_now, fault_address, info_handler, install, is_blocked, move_pages,
    on_fault, plain_handler, raise, read_at, register, require_move, require_move_with, scene,
    scene_here, wake,
};
use uffd_move::{
    AltStack, Event, FaultKind, FaultSignal, Features, HandlerThread, Opened, PageRange,
    RouteError, SignalRoute, Stop, Verdict, page_size, route,
};

fn require_sigbus() -> Option<Arc<Opened>> {
    require_move_with(Features::SIGBUS).map(Arc::new)
}

/// Serves a missing page of `to` by moving the page at the same place in `from`.
fn move_on_fault(opened: &Arc<Opened>, to: &Mapped, from: &Mapped) -> SignalRoute {
    register(&opened.uffd, to.range);
    let (opened, to, from) = (Arc::clone(opened), to.range, from.range);
    let handler = on_fault(move |fault| {
        let i = (fault.addr - to.start().get()) / page_size();
        let at = |range: PageRange| range.start().get() + i * page_size();
        let dst = PageRange::from_bytes(at(to), page_size()).expect("a page");
        let src = uffd_move::PageAddr::containing(at(from));
        match move_pages(&opened.uffd, dst, src).map(|outcome| outcome.stop) {
            // Another thread was quicker. It may even have been in between the kernel's look at
            // the destination (not there yet) and its look at the source (not there any more).
            Ok(Stop::Complete | Stop::Present | Stop::Hole | Stop::Again) => Verdict::Handled,
            _ => Verdict::NotMine,
        }
    });
    route(FaultSignal::Bus, to, handler).expect("must succeed here")
}

// --- by signal, on the faulting thread

#[test]
fn a_reader_sees_the_moved_bytes() {
    let Some(opened) = require_sigbus() else { return };
    let (to, from) = (Mapped::new(64), Mapped::filled(64, 100));
    let route = move_on_fault(&opened, &to, &from);
    assert_eq!((route.range(), route.signal()), (to.range, FaultSignal::Bus));
    for i in 0..64 {
        assert_eq!(to.byte(i), 100 + u8::try_from(i).unwrap());
    }
}

#[test]
fn many_threads_fault_on_the_same_pages_and_each_page_is_moved_once() {
    let Some(opened) = require_sigbus() else { return };
    const COUNT: usize = 256;
    let (to, from) = (Mapped::new(COUNT), Mapped::filled(COUNT, 0));
    let _route = move_on_fault(&opened, &to, &from);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let to = &to;
            scope.spawn(move || {
                for k in 0..COUNT {
                    let i = if thread % 2 == 0 { k } else { COUNT - 1 - k };
                    assert_eq!(to.byte(i), u8::try_from(i % 251).unwrap());
                }
            });
        }
    });
}

#[test]
fn a_fault_inside_the_handler_is_served_by_its_own_route() {
    let Some(opened) = require_sigbus() else { return };
    let (inner, inner_from) = (Mapped::new(1), Mapped::filled(1, 66));
    let _inner = move_on_fault(&opened, &inner, &inner_from);

    let outer = Mapped::new(1);
    register(&opened.uffd, outer.range);
    let (opened, outer_range, inner_range) = (Arc::clone(&opened), outer.range, inner.range);
    let _outer = route(
        FaultSignal::Bus,
        outer.range,
        on_fault(move |_| {
            // Missing, too: this faults in the handler. Then the page is copied, contents and all.
            let first = read_at(inner_range.start().get());
            assert_eq!(first, 66);
            match copy_pages(&opened.uffd, outer_range, inner_range.start()) {
                Ok(outcome) if outcome.is_complete() => Verdict::Handled,
                _ => Verdict::NotMine,
            }
        }),
    )
    .unwrap();
    assert_eq!(outer.byte(0), 66);
    assert_eq!(inner.byte(0), 66);
}

#[test]
fn the_handler_runs_on_the_alternate_stack() {
    let Some(opened) = require_sigbus() else { return };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 3));
    register(&opened.uffd, to.range);
    let place = Arc::new(AtomicUsize::new(0));
    let handler = on_fault({
        let (opened, place, to, from) =
            (Arc::clone(&opened), Arc::clone(&place), to.range, from.range.start());
        move |_| {
            let local = 0_u8;
            place.store((&raw const local).addr(), Ordering::Relaxed);
            match move_pages(&opened.uffd, to, from) {
                Ok(outcome) if outcome.is_complete() => Verdict::Handled,
                _ => Verdict::NotMine,
            }
        }
    });
    let _route = route(FaultSignal::Bus, to.range, handler).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let stack = AltStack::ensure(256 << 10).unwrap();
            assert!(stack.is_new() && stack.size_bytes() >= 256 << 10);
            assert_eq!(to.byte(0), 3);
            assert!(stack.contains(place.load(Ordering::Relaxed)));
        });
    });
}

#[test]
fn alternate_stacks_nest_and_go_in_any_order() {
    std::thread::spawn(|| {
        let outer = AltStack::ensure(64 << 10).unwrap();
        let same = AltStack::ensure(1 << 10).unwrap();
        assert!(!same.is_new(), "the outer one is large enough");
        let inner = AltStack::ensure(128 << 10).unwrap();
        assert!(inner.is_new());
        drop(outer);
        // The inner one is still in use.
        let still = AltStack::ensure(128 << 10).unwrap();
        assert!(!still.is_new());
        drop(inner);
        drop(still);
    })
    .join()
    .unwrap();
}

#[test]
fn each_of_several_ranges_has_its_own_handler() {
    let Some(opened) = require_sigbus() else { return };
    let stages: Vec<_> = (0..5_u8)
        .map(|n| {
            let (to, from) = (Mapped::new(8), Mapped::filled(8, n * 20));
            let route = move_on_fault(&opened, &to, &from);
            (to, from, route)
        })
        .collect();
    for i in 0..8 {
        for (n, (to, ..)) in stages.iter().enumerate() {
            assert_eq!(usize::from(to.byte(i)), n * 20 + i);
        }
    }
}

#[test]
fn a_range_cannot_be_routed_twice_for_one_signal() {
    let mapped = Mapped::new(4);
    let nobody = || on_fault(|_| Verdict::NotMine);
    let first = route(FaultSignal::Bus, mapped.part(0, 2), nobody()).unwrap();
    let overlapping = mapped.part(1, 2);
    match route(FaultSignal::Bus, overlapping, nobody()) {
        Err(RouteError::Overlaps { range }) => assert_eq!(range, overlapping),
        other => panic!("{other:?}"),
    }
    let _neighbour = route(FaultSignal::Bus, mapped.part(2, 2), nobody()).unwrap();
    let _other_signal = route(FaultSignal::Segv, overlapping, nobody()).unwrap();
    drop(first);
    let _again = route(FaultSignal::Bus, mapped.part(0, 2), nobody()).unwrap();
}

#[test]
fn dropping_a_route_waits_for_who_is_inside_and_frees_the_handler() {
    let Some(opened) = require_sigbus() else { return };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 4));
    register(&opened.uffd, to.range);
    let (inside, leave) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let handler = on_fault({
        let (opened, inside, leave) =
            (Arc::clone(&opened), Arc::clone(&inside), Arc::clone(&leave));
        let (to, from) = (to.range, from.range.start());
        move |_| {
            inside.store(true, Ordering::SeqCst);
            while !leave.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            match move_pages(&opened.uffd, to, from) {
                Ok(outcome) if outcome.is_complete() => Verdict::Handled,
                _ => Verdict::NotMine,
            }
        }
    });
    let weak = Arc::downgrade(&handler);
    let route = route(FaultSignal::Bus, to.range, handler).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| to.byte(0));
        while !inside.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let dropper = scope.spawn(move || drop(route));
        for _ in 0..1000 {
            assert!(!dropper.is_finished(), "the handler still runs");
            std::thread::yield_now();
        }
        assert!(weak.upgrade().is_some());
        leave.store(true, Ordering::SeqCst);
        dropper.join().unwrap();
        assert!(weak.upgrade().is_none());
        assert_eq!(reader.join().unwrap(), 4);
    });
}

#[test]
fn errno_is_as_it_was_before_the_fault() {
    let Some(opened) = require_sigbus() else { return };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 4));
    let _route = move_on_fault(&opened, &to, &from);
    // The handler's request succeeds or not; either way the thread must not see.
    Errno::set_raw(4711);
    let byte = to.byte(0);
    assert_eq!((byte, Errno::last_raw()), (4, 4711));
}

#[test]
fn a_protected_page_is_a_segv_that_can_be_routed() {
    let page = Mapped::filled(1, 5);
    page.protect(page.range, libc::PROT_NONE);
    let range = page.range;
    let seen = Arc::new(Mutex::new(None));
    let handler = on_fault({
        let seen = Arc::clone(&seen);
        move |fault| {
            // No lock in a real handler; here nobody else ever holds it.
            *seen.try_lock().expect("free") = Some(fault);
            support::set_protection(range, libc::PROT_READ);
            Verdict::Handled
        }
    });
    let _route = route(FaultSignal::Segv, range, handler).unwrap();
    assert_eq!(page.byte(0), 5);
    let fault = seen.lock().unwrap().unwrap();
    assert_eq!((fault.signal, fault.code), (FaultSignal::Segv, 2));
    assert!(range.contains(fault.addr));
}

#[test]
fn a_system_call_on_a_missing_page_fails_and_succeeds_after_a_touch() {
    use std::io::Write;
    let Some(opened) = require_sigbus() else { return };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, b'x'));
    let _route = move_on_fault(&opened, &to, &from);
    let (_reader, writer) = nix::unistd::pipe().unwrap();
    let mut writer = std::fs::File::from(writer);
    let mut write = || writer.write(support::bytes_of(&to));
    assert_eq!(write().unwrap_err().raw_os_error(), Some(libc::EFAULT), "no signal, no page");
    assert_eq!(support::while_touched(&to, write).unwrap(), page_size());
}

// --- faults of others go on to whoever was there before; each scene is a process of its own

const NAMES: [&str; 11] = [
    "removed",
    "default",
    "sent-default",
    "ignored",
    "sent-ignored",
    "info",
    "plain",
    "one-shot",
    "overflow",
    "not-mine",
    "unmapped",
];

extern "C" fn exits_with_43(_: i32) {
    exit_now(43);
}

extern "C" fn checks_and_exits(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let right = signal == libc::SIGSEGV
        && fault_address(info) == page_size()
        && is_blocked(libc::SIGSEGV)
        && is_blocked(libc::SIGUSR1)
        && !is_blocked(libc::SIGUSR2);
    exit_now(if right { 42 } else { 1 });
}

extern "C" fn counts(_: i32) {
    COUNTED.fetch_add(1, Ordering::SeqCst);
}

static COUNTED: AtomicUsize = AtomicUsize::new(0);

/// A route that never takes anything, so that our handler is installed.
fn bystander(signal: FaultSignal) -> (Mapped, SignalRoute) {
    let mapped = Mapped::new(1);
    let route =
        route(signal, mapped.range, on_fault(|_| Verdict::NotMine)).expect("must succeed here");
    (mapped, route)
}

fn play(name: &str) {
    match name {
        "removed" => {
            let Some(opened) = require_sigbus() else { return };
            let (to, from) = (Mapped::new(2), Mapped::filled(2, 1));
            install(libc::SIGBUS, libc::SIG_DFL, 0, &[]);
            let route = move_on_fault(&opened, &to, &from);
            assert_eq!(to.byte(0), 1);
            drop(route);
            to.byte(1);
        }
        "default" => {
            install(libc::SIGSEGV, libc::SIG_DFL, 0, &[]);
            let _bystander = bystander(FaultSignal::Segv);
            read_at(page_size());
        }
        "sent-default" => {
            install(libc::SIGBUS, libc::SIG_DFL, 0, &[]);
            let _bystander = bystander(FaultSignal::Bus);
            raise(libc::SIGBUS);
        }
        "ignored" => {
            install(libc::SIGSEGV, libc::SIG_IGN, 0, &[]);
            let _bystander = bystander(FaultSignal::Segv);
            read_at(page_size());
        }
        "sent-ignored" => {
            install(libc::SIGBUS, libc::SIG_IGN, 0, &[]);
            let _bystander = bystander(FaultSignal::Bus);
            raise(libc::SIGBUS);
            exit_now(41);
        }
        "info" | "unmapped" => {
            let flags = libc::SA_SIGINFO;
            install(libc::SIGSEGV, info_handler(checks_and_exits), flags, &[libc::SIGUSR1]);
            let _bystander = bystander(FaultSignal::Segv);
            if name == "unmapped" {
                // A route for the very address: an unmapped page is not ours all the same.
                let low =
                    PageRange::from_bytes(page_size(), page_size()).expect("must succeed here");
                let all = on_fault(|_| Verdict::Handled);
                std::mem::forget(route(FaultSignal::Segv, low, all).expect("must succeed here"));
            }
            read_at(page_size());
        }
        "plain" => {
            install(libc::SIGSEGV, plain_handler(exits_with_43), 0, &[]);
            let _bystander = bystander(FaultSignal::Segv);
            read_at(page_size());
        }
        "one-shot" => {
            install(libc::SIGBUS, plain_handler(counts), libc::SA_RESETHAND, &[]);
            let _bystander = bystander(FaultSignal::Bus);
            raise(libc::SIGBUS);
            assert_eq!(COUNTED.load(Ordering::SeqCst), 1);
            raise(libc::SIGBUS);
        }
        "overflow" => {
            let _bystander = bystander(FaultSignal::Segv);
            let _other = bystander(FaultSignal::Bus);
            std::hint::black_box(overflow(1));
        }
        "not-mine" => {
            let page = Mapped::new(1);
            page.protect(page.range, libc::PROT_NONE);
            install(libc::SIGSEGV, plain_handler(exits_with_43), 0, &[]);
            let nobody = on_fault(|_| Verdict::NotMine);
            let _route = route(FaultSignal::Segv, page.range, nobody).expect("must succeed here");
            page.byte(0);
        }
        other => panic!("no such scene: {other}"),
    }
}

#[expect(unconditional_recursion, reason = "to overflow the stack")]
fn overflow(depth: u64) -> u64 {
    let frame = [depth; 64];
    overflow(std::hint::black_box(&frame)[0] + 1) + std::hint::black_box(&frame)[1]
}

/// Plays a scene in a child process: the signal that killed it, or its exit status; and what it said.
fn played(test: &str, name: &str) -> Option<(Option<i32>, Option<i32>, String)> {
    assert!(NAMES.contains(&name));
    match scene_here() {
        Some(here) if here == name => {
            play(name);
            exit_now(99)
        }
        Some(_) => None,
        None => {
            let output = scene(test, name);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Some((output.status.signal(), output.status.code(), said))
        }
    }
}

#[test]
fn a_fault_after_the_route_is_gone_kills() {
    if require_sigbus().is_none() {
        return;
    }
    let played = played("a_fault_after_the_route_is_gone_kills", "removed").unwrap();
    assert_eq!(played.0, Some(libc::SIGBUS), "{played:?}");
}

#[test]
fn a_fault_of_others_meets_the_default_and_kills() {
    let played = played("a_fault_of_others_meets_the_default_and_kills", "default").unwrap();
    assert_eq!(played.0, Some(libc::SIGSEGV), "{played:?}");
}

#[test]
fn a_signal_that_was_sent_meets_the_default_and_kills() {
    let name = "a_signal_that_was_sent_meets_the_default_and_kills";
    let played = played(name, "sent-default").unwrap();
    assert_eq!(played.0, Some(libc::SIGBUS), "{played:?}");
}

#[test]
fn a_fault_cannot_be_ignored() {
    let played = played("a_fault_cannot_be_ignored", "ignored").unwrap();
    assert_eq!(played.0, Some(libc::SIGSEGV), "{played:?}");
}

#[test]
fn a_signal_that_was_sent_can_be_ignored() {
    let played = played("a_signal_that_was_sent_can_be_ignored", "sent-ignored").unwrap();
    assert_eq!(played.1, Some(41), "{played:?}");
}

#[test]
fn the_handler_before_ours_gets_address_and_mask_as_from_the_kernel() {
    let name = "the_handler_before_ours_gets_address_and_mask_as_from_the_kernel";
    let played = played(name, "info").unwrap();
    assert_eq!(played.1, Some(42), "{played:?}");
}

#[test]
fn a_plain_handler_before_ours_is_called_too() {
    let played = played("a_plain_handler_before_ours_is_called_too", "plain").unwrap();
    assert_eq!(played.1, Some(43), "{played:?}");
}

#[test]
fn a_handler_for_one_time_is_called_one_time() {
    let played = played("a_handler_for_one_time_is_called_one_time", "one-shot").unwrap();
    assert_eq!(played.0, Some(libc::SIGBUS), "{played:?}");
}

#[test]
fn a_stack_overflow_is_still_reported_by_rust_itself() {
    let name = "a_stack_overflow_is_still_reported_by_rust_itself";
    let played = played(name, "overflow").unwrap();
    assert_eq!(played.0, Some(libc::SIGABRT), "{played:?}");
    assert!(played.2.contains("has overflowed its stack"), "{played:?}");
}

#[test]
fn a_fault_that_its_owner_disowns_goes_on() {
    let played = played("a_fault_that_its_owner_disowns_goes_on", "not-mine").unwrap();
    assert_eq!(played.1, Some(43), "{played:?}");
}

#[test]
fn a_fault_on_unmapped_memory_is_never_ours() {
    let played = played("a_fault_on_unmapped_memory_is_never_ours", "unmapped").unwrap();
    assert_eq!(played.1, Some(42), "{played:?}");
}

// --- by a handler thread

#[test]
fn a_handler_thread_serves_many_waiting_threads() {
    let wanted = Features::THREAD_ID | Features::EXACT_ADDRESS;
    let Some(opened) = require_move_with(wanted).map(Arc::new) else { return };
    const COUNT: usize = 128;
    let (to, from) = (Mapped::new(COUNT), Mapped::filled(COUNT, 0));
    register(&opened.uffd, to.range);
    let served = Arc::new(Mutex::new(Vec::new()));
    let thread = {
        let (opened, served) = (Arc::clone(&opened), Arc::clone(&served));
        let (to, from) = (to.range, from.range);
        let uffd = Arc::new(uffd_move::AnyFd(
            std::os::fd::AsFd::as_fd(&opened.uffd).try_clone_to_owned().unwrap(),
        ));
        let handler = move |event: Event| {
            let Event::Fault(fault) = event else { panic!("{event:?}") };
            assert_eq!(fault.kind, FaultKind::Missing);
            let page = PageRange::one(fault.page()).unwrap();
            let offset = page.start().checked_offset_from(to.start()).unwrap();
            let src = from.start().checked_add(offset).unwrap();
            let outcome = move_pages(&opened.uffd, page, src).unwrap();
            // Two threads may wait for one page: the second event finds it there.
            match outcome.stop {
                Stop::Complete => served.lock().unwrap().push(fault),
                Stop::Present => wake(&opened.uffd, page),
                other => panic!("{other:?}"),
            }
        };
        HandlerThread::spawn(uffd, Arc::new(handler)).unwrap()
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..COUNT {
                    assert_eq!(to.byte(i), u8::try_from(i % 251).unwrap());
                }
            });
        }
    });
    thread.stop().unwrap();
    let served = served.lock().unwrap();
    assert_eq!(served.len(), COUNT, "each page is moved once");
    assert!(served.iter().all(|fault| fault.thread.is_some()));
}

#[test]
fn a_handler_thread_that_is_dropped_has_ended() {
    let Some(opened) = require_move() else { return };
    let handler = Arc::new(|_: Event| {});
    let weak = Arc::downgrade(&handler);
    let thread = HandlerThread::spawn(Arc::new(opened.uffd), handler).unwrap();
    assert!(format!("{thread:?}").contains("running: true"));
    drop(thread);
    assert!(weak.upgrade().is_none());
}
