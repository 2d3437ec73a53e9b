//! When the kernel says no: shared pages are copied, and a process without rights still has a heap.
#![allow(unsafe_code, reason = "a system call filter is installed in a child")]

mod support;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use gc_runtime::{Fork, Heap, HeapBuilder, Transport, TransportChoice, Zeal};
use nix::unistd::{Uid, getuid, setgid, setuid};
use support::{
    Finish, Random, all_ways, build, check_counted_list, counted_list, digest,
    in_a_process_of_its_own, on_every_transport, random_graph, verify,
};
use uffd_move::Support;

/// A user without rights.
const NOBODY: u32 = 65534;

/// Forks: a user id to set makes the standard library do so instead of spawning.
fn fork_and_run_nothing() {
    let status = Command::new("true").uid(getuid().as_raw()).status();
    assert!(status.expect("`true` can be run").success());
}

fn inheriting() -> HeapBuilder {
    Heap::builder().limit_bytes(64 << 20).fork(Fork::Inherit)
}

#[test]
fn pages_shared_with_a_child_are_copied_and_the_graph_is_the_same() {
    on_every_transport(inheriting, |heap| {
        let mut mutator = heap.attach().unwrap();
        let mut random = Random::new(11);
        let roots = random_graph(&mut mutator, &mut random, 1500, 20_000);
        for &root in roots.iter().step_by(3) {
            mutator.set_root(root, None);
        }
        for _ in 0..3 {
            let before = digest(&mut mutator);
            fork_and_run_nothing();
            mutator.collect();
            assert_eq!(digest(&mut mutator), before);
            verify(&mut mutator);
        }
        let stats = heap.stats();
        if heap.transport() == Transport::Move {
            assert!(stats.busy_fallbacks > 0, "no page was shared");
        } else {
            assert_eq!(stats.busy_fallbacks, 0);
        }
    });
}

#[test]
fn an_excluded_heap_shares_no_page_with_children() {
    on_every_transport(
        || Heap::builder().limit_bytes(32 << 20).fork(Fork::Exclude),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            let garbage = counted_list(&mut mutator, 2000, 20);
            let list = counted_list(&mut mutator, 10_000, 20);
            mutator.set_root(garbage, None);
            fork_and_run_nothing();
            mutator.collect();
            fork_and_run_nothing();
            mutator.collect();
            check_counted_list(&mutator, mutator.root(list), 10_000);
            assert_eq!(heap.stats().busy_fallbacks, 0);
        },
    );
}

#[test]
fn forks_at_any_moment_of_a_cycle_do_no_harm() {
    on_every_transport(
        || inheriting().zeal(Zeal::full()),
        |heap| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let finish = Finish(&done);
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        fork_and_run_nothing();
                    }
                });
                let mut mutator = heap.attach().unwrap();
                let list = counted_list(&mut mutator, 8000, 20);
                for _ in 0..6 {
                    let garbage = counted_list(&mut mutator, 2000, 20);
                    mutator.collect();
                    mutator.set_root(garbage, None);
                    check_counted_list(&mutator, mutator.root(list), 8000);
                }
                drop(finish);
            });
        },
    );
}

#[test]
fn the_automatic_choice_is_move_where_the_kernel_has_it() {
    let support = Support::probe();
    let heap = Heap::builder().transport(TransportChoice::Auto).build().unwrap();
    let has_move = support.userfaultfd.is_yes()
        && support.move_pages.verdict().is_yes()
        && support.signal_delivery.is_yes()
        && support.mremap_dontunmap.is_yes();
    if !has_move {
        eprintln!("skipped: no move here: {}", support.move_pages.verdict());
        assert!(std::env::var("UFFD_MOVE_REQUIRED").as_deref() != Ok("1"));
    }
    assert_eq!(heap.transport() == Transport::Move, has_move, "{}", heap.transport_reason());
    assert!(!heap.transport_reason().is_empty());
}

/// Uses a heap of whatever transport there is.
fn use_a_heap(builder: HeapBuilder) -> Heap {
    let heap = builder.build().expect("a heap for everybody");
    eprintln!("{}: {}", heap.transport(), heap.transport_reason());
    let mut mutator = heap.attach().expect("a mutator");
    let mut random = Random::new(5);
    let roots = random_graph(&mut mutator, &mut random, 1000, 2000);
    for &root in roots.iter().step_by(2) {
        mutator.set_root(root, None);
    }
    let before = digest(&mut mutator);
    for _ in 0..3 {
        mutator.collect();
        assert_eq!(digest(&mut mutator), before);
    }
    verify(&mut mutator);
    drop(mutator);
    heap
}

fn become_nobody() {
    if getuid().is_root() {
        setgid(NOBODY.into()).expect("root may change its group");
        setuid(Uid::from_raw(NOBODY)).expect("root may change its user");
    }
}

fn no_rights() {
    become_nobody();
    use_a_heap(Heap::builder().limit_bytes(32 << 20));
    for (transport, delivery) in all_ways() {
        let builder = Heap::builder()
            .limit_bytes(32 << 20)
            .fault_delivery(delivery)
            .transport(TransportChoice::Only(transport));
        match builder.build() {
            Ok(_) => drop(use_a_heap(builder)),
            Err(error) => {
                eprintln!("{transport} by {delivery:?}: {error}");
                assert!(matches!(error, gc_runtime::BuildError::NoTransport { .. }), "{error}");
                assert!(transport != Transport::Stw && transport != Transport::Mprotect);
            }
        }
    }
}

/// Makes userfaultfd(2) fail with EPERM in this process from now on, as containers do.
fn forbid_userfaultfd() {
    let statement = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).expect("a BPF instruction"),
        jt,
        jf,
        k,
    };
    let number = u32::try_from(libc::SYS_userfaultfd).expect("a system call number");
    let errno = u32::try_from(libc::EPERM).expect("an error number");
    let mut filter = [
        // The system call's number is the first word of what the filter looks at.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: changes a flag of this process only.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program is valid and the kernel copies it during the call.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn no_userfaultfd() {
    // The device could be opened by root.
    become_nobody();
    forbid_userfaultfd();
    let heap = use_a_heap(Heap::builder().limit_bytes(32 << 20));
    assert_eq!(heap.transport(), Transport::Stw);
    let reason = heap.transport_reason();
    assert!(reason.contains("move") && reason.contains("copy"), "{reason}");
    for transport in [Transport::Move, Transport::Copy, Transport::Continue] {
        let builder = Heap::builder().transport(TransportChoice::Only(transport));
        let error = builder.build().expect_err("no userfaultfd");
        assert!(error.to_string().contains(transport.name()), "{error}");
    }
    let mprotect = TransportChoice::Only(Transport::Mprotect);
    use_a_heap(Heap::builder().limit_bytes(32 << 20).transport(mprotect));
}

#[test]
fn a_heap_of_each_way_is_what_was_asked_for() {
    for (transport, delivery) in all_ways() {
        if let Some(heap) = build(Heap::builder(), transport, delivery) {
            assert_eq!(heap.transport(), transport);
        }
    }
}

in_a_process_of_its_own! {
    a_process_without_rights_has_a_heap_too, child_without_rights: no_rights();
    where_userfaultfd_is_forbidden_the_world_stops_and_the_reason_is_told, child_without_userfaultfd: no_userfaultfd();
}
