//! What the router must not do in the handler, and how many routes there can be.
#![allow(unsafe_code, reason = "an allocator that counts")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Mapped, move_pages, on_fault, register, require_move_with};
use uffd_move::{
    FaultSignal, Features, PageAddr, PageRange, RouteError, Verdict, page_size, route,
};

/// The system's allocator, counting the calls of each thread.
struct Counting;

thread_local! {
    // Constant and without destructor: it may be used anywhere, at any time.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests of this file take all routes there are, one after the other.
static ALL_ROUTES: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn all_routes() -> std::sync::MutexGuard<'static, ()> {
    ALL_ROUTES.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn serving_a_fault_allocates_nothing() {
    let _alone = all_routes();
    let Some(opened) = require_move_with(Features::SIGBUS).map(Arc::new) else { return };
    const COUNT: usize = 100;
    let (to, from) = (Mapped::new(COUNT), Mapped::filled(COUNT, 1));
    register(&opened.uffd, to.range);
    let handler = on_fault({
        let (opened, to, from) = (Arc::clone(&opened), to.range, from.range);
        move |fault| {
            let page = PageAddr::containing(fault.addr);
            let Some(offset) = page.checked_offset_from(to.start()) else {
                return Verdict::NotMine;
            };
            let (Ok(dst), Some(src)) = (PageRange::one(page), from.start().checked_add(offset))
            else {
                return Verdict::NotMine;
            };
            match move_pages(&opened.uffd, dst, src) {
                Ok(outcome) if outcome.is_complete() => Verdict::Handled,
                _ => Verdict::NotMine,
            }
        }
    });
    let _route = route(FaultSignal::Bus, to.range, handler).unwrap();
    let before = CALLS.with(Cell::get);
    let mut sum = 0_usize;
    for i in 0..COUNT {
        sum += usize::from(to.byte(i));
    }
    let after = CALLS.with(Cell::get);
    assert_eq!(after - before, 0);
    assert_eq!(sum, (0..COUNT).map(|i| i + 1).sum());
}

#[test]
fn faults_are_served_while_other_routes_come_and_go() {
    let _alone = all_routes();
    let Some(opened) = require_move_with(Features::SIGBUS).map(Arc::new) else { return };
    const COUNT: usize = 2000;
    let (to, from) = (Mapped::new(COUNT), Mapped::filled(COUNT, 0));
    register(&opened.uffd, to.range);
    let handler = on_fault({
        let (opened, to, from) = (Arc::clone(&opened), to.range, from.range);
        move |fault| {
            let page = PageAddr::containing(fault.addr);
            let offset = page.checked_offset_from(to.start()).expect("inside");
            let src = from.start().checked_add(offset).expect("inside");
            match move_pages(&opened.uffd, PageRange::one(page).expect("a page"), src) {
                Ok(outcome) if outcome.is_complete() => Verdict::Handled,
                _ => Verdict::NotMine,
            }
        }
    });
    let _route = route(FaultSignal::Bus, to.range, handler).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Below and above, so that lines of the table change on both sides of ours.
            let others = Mapped::new(32);
            while !done.load(Ordering::Relaxed) {
                let routes: Vec<_> = others
                    .range
                    .pages()
                    .map(|page| {
                        let page = PageRange::one(page).unwrap();
                        route(FaultSignal::Bus, page, on_fault(|_| Verdict::NotMine)).unwrap()
                    })
                    .collect();
                drop(routes);
            }
        });
        for i in 0..COUNT {
            assert_eq!(to.byte(i), u8::try_from(i % 251).unwrap());
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_sixty_fifth_route_is_refused_and_a_dropped_one_makes_room() {
    let _alone = all_routes();
    let nobody = || on_fault(|_| Verdict::NotMine);
    let at = |i: usize| PageRange::from_bytes((i + 1) * page_size(), page_size()).unwrap();
    let mut routes: Vec<_> =
        (0..64).map(|i| route(FaultSignal::Segv, at(i), nobody()).unwrap()).collect();
    match route(FaultSignal::Segv, at(64), nobody()) {
        Err(RouteError::Full { limit }) => assert_eq!(limit, 64),
        other => panic!("{other:?}"),
    }
    drop(routes.remove(30));
    routes.push(route(FaultSignal::Segv, at(64), nobody()).unwrap());
    assert_eq!(routes.len(), 64);
}
