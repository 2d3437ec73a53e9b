//! Opening as an ordinary user: the device is not for us, and the system call gives what it gives.

mod support;

use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use support::{Mapped, drop_privileges, fork, is_root, move_pages, register, skip_machine};
use uffd_move::{Answer, FaultScope, OpenOptions, OpenedVia};

const USER_ONLY: u8 = 10;
const USER_AND_KERNEL: u8 = 11;
const REFUSED: u8 = 12;
const BROKEN: u8 = 13;

fn open_and_move(has_move: &Answer) -> u8 {
    let Ok(opened) = OpenOptions::new().open() else { return REFUSED };
    let (to, from) = (Mapped::new(1), Mapped::filled(1, 5));
    register(&opened.uffd, to.range);
    match move_pages(&opened.uffd, to.range, from.range.start()) {
        Ok(outcome) if outcome.is_complete() && to.byte(0) == 5 => {}
        // A kernel without the request: opening is what is tested.
        Err(error) if error.errno == Errno::EINVAL && !has_move.is_yes() => {}
        _ => return BROKEN,
    }
    match opened.scope {
        FaultScope::UserOnly if opened.via == OpenedVia::SystemCall => USER_ONLY,
        FaultScope::UserAndKernel => USER_AND_KERNEL,
        FaultScope::UserOnly => BROKEN,
    }
}

#[test]
fn an_ordinary_user_gets_a_descriptor_for_user_mode_faults() {
    if !is_root() {
        return skip_machine("only root can become somebody else");
    }
    let permitted = std::fs::read_to_string("/proc/sys/vm/unprivileged_userfaultfd")
        .is_ok_and(|value| value.trim() == "1");
    let everybodys_device = std::fs::metadata("/dev/userfaultfd").is_ok_and(|device| {
        use std::os::unix::fs::PermissionsExt;
        device.permissions().mode() & 0o006 == 0o006
    });
    let has_move = support::support().move_pages.verdict();
    let child = fork(|| {
        drop_privileges();
        open_and_move(has_move)
    });
    let expected = if permitted || everybodys_device { USER_AND_KERNEL } else { USER_ONLY };
    match child.status() {
        WaitStatus::Exited(_, status) => assert_eq!(status, i32::from(expected)),
        other => panic!("{other:?}"),
    }
}
