//! The structures and numbers of `<linux/userfaultfd.h>`, under their names there.
//!
//! Nothing else belongs here. Each request is preceded by what gates it.
#![allow(non_camel_case_types, reason = "names as in the header")]
#![allow(missing_docs, reason = "the header and its man pages are the documentation")]

use std::mem::{offset_of, size_of};

/// The handshake's version number.
pub const UFFD_API: u64 = 0xAA;
/// Flag of `userfaultfd(2)`: no kernel-mode faults, hence no privilege needed (since 5.11).
pub const UFFD_USER_MODE_ONLY: i32 = 1;

const GROUP: u8 = 0xAA;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffdio_api {
    pub api: u64,
    pub features: u64,
    pub ioctls: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffdio_range {
    pub start: u64,
    pub len: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffdio_register {
    pub range: uffdio_range,
    pub mode: u64,
    pub ioctls: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffdio_copy {
    pub dst: u64,
    pub src: u64,
    pub len: u64,
    pub mode: u64,
    pub copy: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffdio_zeropage {
    pub range: uffdio_range,
    pub mode: u64,
    pub zeropage: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffdio_move {
    pub dst: u64,
    pub src: u64,
    pub len: u64,
    pub mode: u64,
    pub r#move: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffdio_writeprotect {
    pub range: uffdio_range,
    pub mode: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffdio_continue {
    pub range: uffdio_range,
    pub mode: u64,
    pub mapped: i64,
}

/// One event. `arg` is a union of five shapes; the three words are decoded in `fault.rs`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uffd_msg {
    pub event: u8,
    pub reserved1: u8,
    pub reserved2: u16,
    pub reserved3: u32,
    pub arg: [u64; 3],
}

/// Do not wake the waiting threads: the same bit in copy, zeropage, move and continue.
pub const MODE_DONTWAKE: u64 = 1 << 0;
pub const UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES: u64 = 1 << 1;
pub const UFFDIO_COPY_MODE_WP: u64 = 1 << 1;
pub const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1 << 0;
pub const UFFDIO_WRITEPROTECT_MODE_DONTWAKE: u64 = 1 << 1;

pub const UFFD_EVENT_PAGEFAULT: u8 = 0x12;
pub const UFFD_EVENT_FORK: u8 = 0x13;
pub const UFFD_EVENT_REMAP: u8 = 0x14;
pub const UFFD_EVENT_REMOVE: u8 = 0x15;
pub const UFFD_EVENT_UNMAP: u8 = 0x16;

pub const UFFD_PAGEFAULT_FLAG_WRITE: u64 = 1 << 0;
pub const UFFD_PAGEFAULT_FLAG_WP: u64 = 1 << 1;
pub const UFFD_PAGEFAULT_FLAG_MINOR: u64 = 1 << 2;

// Any userfaultfd, once.
pub const UFFDIO_API: libc::c_ulong =
    nix::request_code_readwrite!(GROUP, 0x3F, size_of::<uffdio_api>());
// After the handshake.
pub const UFFDIO_REGISTER: libc::c_ulong =
    nix::request_code_readwrite!(GROUP, 0x00, size_of::<uffdio_register>());
pub const UFFDIO_UNREGISTER: libc::c_ulong =
    nix::request_code_read!(GROUP, 0x01, size_of::<uffdio_range>());
// Registered ranges, as the register answer says.
pub const UFFDIO_WAKE: libc::c_ulong =
    nix::request_code_read!(GROUP, 0x02, size_of::<uffdio_range>());
pub const UFFDIO_COPY: libc::c_ulong =
    nix::request_code_readwrite!(GROUP, 0x03, size_of::<uffdio_copy>());
pub const UFFDIO_ZEROPAGE: libc::c_ulong =
    nix::request_code_readwrite!(GROUP, 0x04, size_of::<uffdio_zeropage>());
// UFFD_FEATURE_MOVE (6.8, or a patched kernel).
pub const UFFDIO_MOVE: libc::c_ulong =
    nix::request_code_readwrite!(GROUP, 0x05, size_of::<uffdio_move>());
// UFFD_FEATURE_PAGEFAULT_FLAG_WP.
pub const UFFDIO_WRITEPROTECT: libc::c_ulong =
    nix::request_code_readwrite!(GROUP, 0x06, size_of::<uffdio_writeprotect>());
// UFFD_FEATURE_MINOR_SHMEM or UFFD_FEATURE_MINOR_HUGETLBFS.
pub const UFFDIO_CONTINUE: libc::c_ulong =
    nix::request_code_readwrite!(GROUP, 0x07, size_of::<uffdio_continue>());
// An open /dev/userfaultfd; the argument is the flags.
pub const USERFAULTFD_IOC_NEW: libc::c_ulong = nix::request_code_none!(GROUP, 0x00);

const _: () = {
    assert!(size_of::<uffdio_api>() == 24);
    assert!(size_of::<uffdio_range>() == 16);
    assert!(size_of::<uffdio_register>() == 32);
    assert!(offset_of!(uffdio_register, ioctls) == 24);
    assert!(size_of::<uffdio_copy>() == 40);
    assert!(offset_of!(uffdio_copy, copy) == 32);
    assert!(size_of::<uffdio_zeropage>() == 32);
    assert!(offset_of!(uffdio_zeropage, zeropage) == 24);
    assert!(size_of::<uffdio_move>() == 40);
    assert!(offset_of!(uffdio_move, dst) == 0);
    assert!(offset_of!(uffdio_move, src) == 8);
    assert!(offset_of!(uffdio_move, len) == 16);
    assert!(offset_of!(uffdio_move, mode) == 24);
    assert!(offset_of!(uffdio_move, r#move) == 32);
    assert!(size_of::<uffdio_writeprotect>() == 24);
    assert!(size_of::<uffdio_continue>() == 32);
    assert!(offset_of!(uffdio_continue, mapped) == 24);
    assert!(size_of::<uffd_msg>() == 32);
    assert!(offset_of!(uffd_msg, arg) == 8);

    assert!(UFFDIO_API == 0xC018_AA3F);
    assert!(UFFDIO_REGISTER == 0xC020_AA00);
    assert!(UFFDIO_UNREGISTER == 0x8010_AA01);
    assert!(UFFDIO_WAKE == 0x8010_AA02);
    assert!(UFFDIO_COPY == 0xC028_AA03);
    assert!(UFFDIO_ZEROPAGE == 0xC020_AA04);
    assert!(UFFDIO_MOVE == 0xC028_AA05);
    assert!(UFFDIO_WRITEPROTECT == 0xC018_AA06);
    assert!(UFFDIO_CONTINUE == 0xC020_AA07);
    assert!(USERFAULTFD_IOC_NEW == 0xAA00);
};
