//! The kernel, or something that answers like it.
//!
//! Contract of this layer:
//!
//! * `uapi` mirrors the header and nothing else; sizes, offsets and numbers are asserted when it
//!   is compiled.
//! * [`UffdIoctl`] is the one way in: a request goes to a real descriptor or to the scripted
//!   [`FakeKernel`]. Nothing above this layer knows which.
//! * Nothing here allocates, locks or unwinds on the way to the kernel, so all of it may run in a
//!   signal handler (the fake excepted).
#![allow(unsafe_code, reason = "system calls; docs/safety.md lists what each owes")]

pub mod uapi;
mod ioctl;
mod linux;
mod fake;
pub(crate) mod alt_stack;
pub(crate) mod route_table;
mod signal;

pub use fake::{FakeAnswer, FakeCall, FakeKernel, FakePage};
pub use ioctl::{AnyFd, Request, UffdIoctl};
pub(crate) use linux::{
    DeviceError, delivered, from_device, from_syscall, handshake, into_uffd, try_dontunmap,
};
