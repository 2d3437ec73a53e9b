//! Opening and asking: what the two doors and the three levels say.

mod support;

use std::os::fd::{AsFd, AsRawFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use support::{skip, support};
use uffd_move::{
    Answer, AnyFd, Blocking, FaultScope, Features, OnExec, OpenError, OpenOptions, PageCount,
    RangeIoctls, RegisterMode, Registration, open,
};

fn opened(options: OpenOptions) -> Option<uffd_move::Opened> {
    match options.open() {
        Ok(opened) => Some(opened),
        Err(error) => {
            skip(&error.to_string());
            None
        }
    }
}

#[test]
fn what_is_wished_for_is_on_if_it_is_offered() {
    let everything = Features::SIGBUS | Features::EXACT_ADDRESS | Features::MOVE;
    let Some(opened) = opened(OpenOptions::new().wish(everything)) else { return };
    assert_eq!(opened.features, everything & opened.offered);
    assert!(opened.features.difference(opened.offered).is_empty());
}

#[test]
fn a_feature_that_no_kernel_has_is_missed_by_name() {
    let never = Features::from_bits_retain(1 << 63);
    if opened(OpenOptions::new()).is_none() {
        return;
    }
    match OpenOptions::new().require(never).open() {
        Err(OpenError::MissingFeatures { missing, offered }) => {
            assert_eq!(missing, never);
            assert!(!offered.is_empty());
        }
        other => panic!("{other:?}"),
    }
    // Wished for only, it is left out.
    let wished = open(&OpenOptions::new().wish(never)).unwrap();
    assert!(wished.features.is_empty());
}

#[test]
fn descriptors_are_closed_on_exec_and_do_not_block_unless_asked_to() {
    let Some(plain) = opened(OpenOptions::new()) else { return };
    let flags = |fd: &dyn AsFd| {
        let descriptor = FdFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFD).unwrap());
        let file = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL).unwrap());
        (descriptor.contains(FdFlag::FD_CLOEXEC), file.contains(OFlag::O_NONBLOCK))
    };
    assert_eq!(flags(&plain.uffd), (true, true));
    let other = OpenOptions::new().on_exec(OnExec::Keep).blocking(Blocking::Block).open().unwrap();
    assert_eq!(flags(&other.uffd), (false, false));
}

#[test]
fn no_wider_scope_is_taken_than_wanted() {
    let options = OpenOptions::new().widest_scope(FaultScope::UserOnly);
    let Some(opened) = opened(options) else { return };
    assert_eq!(opened.scope, FaultScope::UserOnly);
}

#[test]
fn every_kind_of_owner_takes_requests() {
    let Some(opened) = opened(OpenOptions::new()) else { return };
    let area = || uffd_move::Area::anonymous(PageCount::ONE).unwrap();
    let mode = RegisterMode::MISSING;
    let borrowed = opened.uffd.as_fd();
    let answers = [
        Registration::new(&opened.uffd, area(), mode).unwrap().ioctls(),
        Registration::new(borrowed, area(), mode).unwrap().ioctls(),
        Registration::new(borrowed.try_clone_to_owned().unwrap(), area(), mode).unwrap().ioctls(),
        Registration::new(AnyFd(borrowed), area(), mode).unwrap().ioctls(),
        Registration::new(std::sync::Arc::new(AnyFd(borrowed)), area(), mode).unwrap().ioctls(),
        Registration::new(Box::new(AnyFd(borrowed)), area(), mode).unwrap().ioctls(),
    ];
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(answers[0].contains(RangeIoctls::COPY));
}

#[test]
fn an_area_comes_back_if_it_cannot_be_registered() {
    // Not a userfaultfd.
    let file = std::fs::File::open("/dev/null").unwrap();
    let area = uffd_move::Area::anonymous(PageCount::ONE).unwrap();
    area.write(0, &[3]);
    let error = Registration::new(AnyFd(file), area, RegisterMode::MISSING).unwrap_err();
    assert_eq!(error.error.errno, nix::errno::Errno::ENOTTY);
    assert_eq!(error.area.byte(0).unwrap().load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[test]
fn each_level_of_support_has_an_answer_and_each_no_a_reason() {
    let support = support();
    let levels =
        [&support.move_pages, &support.copy_pages, &support.continue_pages, &support.zero_pages];
    for answer in levels.iter().flat_map(|it| [&it.feature, &it.range, &it.trial]) {
        if let Answer::No { reason } = answer {
            assert!(!reason.is_empty());
        }
    }
    // A trial that succeeded would be strange where the levels before say no.
    for level in levels {
        if level.trial.is_yes() {
            assert!(level.range.is_yes(), "{level:?}");
        }
    }
    let text = support.to_string();
    for needed in ["userfaultfd:", "level 1", "level 2", "level 3", "SIGBUS", "mremap"] {
        assert!(text.contains(needed), "{text}");
    }
    println!("{text}");
}

#[test]
fn probing_leaves_no_descriptor_behind() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let highest_free = || std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    // Other tests of this process open descriptors too, so look at several tries.
    let kept = (0..20)
        .map(|_| {
            let before = (count(), highest_free());
            let _ = uffd_move::Support::probe();
            (before, (count(), highest_free()))
        })
        .all(|(before, after)| after.0 > before.0);
    assert!(!kept, "each probe keeps a descriptor");
}

#[cfg(feature = "serde")]
#[test]
fn support_survives_json() {
    let support = support();
    let text = serde_json::to_string(support).unwrap();
    let back: uffd_move::Support = serde_json::from_str(&text).unwrap();
    assert_eq!(&back, support);
}
