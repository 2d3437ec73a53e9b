//! A heap for language runtimes that compacts while its program runs, without read barriers.
//!
//! The collector marks beside the mutators, sets the heap's pages aside in one short pause, and
//! rebuilds each page when somebody touches it or when its turn comes. With Linux's `UFFDIO_MOVE`
//! the rebuilt page itself takes its place: nothing is allocated, copied a second time, or freed.
//! Four other ways to put pages in place are here too, to compare with and to fall back on.
//!
//! The modules in reading order: what the language says of its objects (`model`, `record`), the
//! threads that use the heap (`mutator`, `safepoint`, `roots`), its memory (`space`), and a cycle's
//! three steps: what is live (`mark`), where it will be (`forward`), and moving it (`compact`, over
//! a `transport`). `cycle` drives them; `raw` is the only unsafe code.
#![doc = include_str!("../README.md")]
#![cfg_attr(
    loom,
    allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "only the page states and the free chunks are modelled"
    )
)]

mod sync;
mod gate;
mod addr;
mod halves;

// The language's side.
#[cfg(not(loom))]
mod model;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod last_layout;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
mod local;
#[cfg(not(loom))]
mod mutator;
#[cfg(not(loom))]
mod refill;
#[cfg(not(loom))]
mod root_access;
#[cfg(not(loom))]
mod object_access;
#[cfg(not(loom))]
mod record_access;
#[cfg(not(loom))]
mod reference_access;
#[cfg(not(loom))]
mod placement;
#[cfg(not(loom))]
mod jit_layout;
#[cfg(not(loom))]
mod safepoint;
#[cfg(not(loom))]
mod embedder_roots;
#[cfg(not(loom))]
mod roots;
#[cfg(not(loom))]
mod references;
#[cfg(not(loom))]
mod fixed;

#[cfg(not(loom))]
pub mod typed;

// What memory is.
#[cfg(not(loom))]
mod heap;
#[cfg(not(loom))]
mod builder;
#[cfg(not(loom))]
mod core;
#[cfg(not(loom))]
mod space;

// A: what is live. B: where it will be. C: move it, beside running mutators.
#[cfg(not(loom))]
mod mark;
#[cfg(not(loom))]
mod forward;
#[cfg(not(loom))]
mod compact;
#[cfg(not(loom))]
mod transport;

// Around it.
#[cfg(not(loom))]
mod cycle;
#[cfg(not(loom))]
mod release;
#[cfg(not(loom))]
mod trigger;
#[cfg(not(loom))]
mod verify;
#[cfg(not(loom))]
mod snapshot;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod counters;
#[cfg(not(loom))]
mod processor;
#[cfg(not(loom))]
mod event;
#[cfg(not(loom))]
mod observe;
#[cfg(not(loom))]
mod container;
#[cfg(not(loom))]
mod environment;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod raw;

/// Under loom only the page states, the free chunks and the portions of marking exist.
#[cfg(loom)]
mod compact {
    pub(crate) mod page_state;
}
#[cfg(loom)]
mod release {
    pub(crate) mod chunks;
}
#[cfg(loom)]
mod mark {
    pub(crate) mod batches;
    pub(crate) mod worklist;
}

/// The tutorial: its pieces are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
mod tutorial {}

#[cfg(not(loom))]
pub use gc_runtime_derive::Trace;

#[cfg(not(loom))]
pub use crate::{
    addr::{ObjectRef, WORD_BYTES},
    builder::HeapBuilder,
    embedder_roots::{RootVisitor, Roots},
    error::{AttachError, BuildError, LimitError, OomCause, OutOfMemory, VerifyError},
    event::{CycleReason, Event, Listener, PauseKind, Phase, ReleaseReason},
    fixed::pins::{LentBytes, Pin},
    heap::{Heap, PageUse},
    jit_layout::JitLayout,
    layout::{MIN_OBJECT_WORDS, ObjectLayout},
    local::{Local, RootIndex},
    model::{Header, ObjectModel},
    mutator::Mutator,
    observe::{TraceEvents, UnknownLog},
    options::{
        Container, Decay, Environment, FaultDelivery, Fork, Growth, Islands, PageTables, Poison,
        Pressure, Release, ReleaseBy, Transport, TransportChoice, UnknownTransport, UnknownZeal,
        Verify, Zeal,
    },
    record::{Record, Records},
    reference_access::Finalisable,
    references::weak_roots::WeakRoot,
    roots::{AddedRoots, GlobalRoot},
    snapshot::{Retainer, Snapshot, TypeSummary, WalkedObject},
    stats::{CycleStats, HeapStats},
    verify::{GraphDigest, VerifyReport},
};
