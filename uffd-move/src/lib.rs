#![doc = include_str!("../README.md")]

mod page;
mod features;
mod outcome;
mod error;
mod sys;
pub mod raw;
mod open;
mod support;
mod registration;
mod move_pages;
mod fault;
mod handler_thread;
mod signal;
mod alt_stack;
mod pretouch;

pub use alt_stack::AltStack;
pub use error::{MoveError, Op, OpError};
pub use fault::{Event, EventBuffer, Fault, FaultKind};
pub use features::{Features, RangeIoctls, RegisterMode};
pub use handler_thread::{EventHandler, HandlerThread};
pub use move_pages::{Continuer, Filler, Mover};
pub use open::{Blocking, FaultScope, OnExec, OpenError, OpenOptions, Opened, OpenedVia, open};
pub use outcome::{Holes, Outcome, Stop, Wake};
pub use page::{PageAddr, PageCount, PageError, PageRange, page_size};
pub use raw::{Area, MoveBatch};
pub use registration::{RegisterError, Registration};
pub use signal::{FaultHandler, FaultSignal, RouteError, SignalFault, SignalRoute, Verdict, route};
pub use support::{Answer, Levels, Support};
pub use sys::uapi;
pub use sys::{AnyFd, FakeAnswer, FakeCall, FakeKernel, FakePage, Request, UffdIoctl};
