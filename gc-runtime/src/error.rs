//! What can fail: building a heap, joining it, allocating in it, checking it.

use std::io;

use crate::options::{FaultDelivery, Transport};

/// Why a heap was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The limit is outside what a heap can have.
    #[error("limit_bytes is {limit_bytes}; a heap has {min} to {max} bytes")]
    Limit {
        /// What was asked for.
        limit_bytes: usize,
        /// The least.
        min: usize,
        /// The most: word numbers have 32 bits.
        max: usize,
    },
    /// The limit could not grow to what was asked for, or begins above it.
    #[error(
        "max_limit_bytes is {max_limit_bytes}; it must lie between limit_bytes, {limit_bytes}, and {max}"
    )]
    MaxLimit {
        /// What was asked for.
        max_limit_bytes: usize,
        /// The limit at the beginning.
        limit_bytes: usize,
        /// The most that a heap can have.
        max: usize,
    },
    /// The soft limit is too small to be of use.
    #[error("soft_limit_bytes is {soft_limit_bytes}; it must be {min} or more")]
    SoftLimit {
        /// What was asked for.
        soft_limit_bytes: usize,
        /// The least.
        min: usize,
    },
    /// A variable of the environment is not understood.
    #[error("the environment variable {name} is `{value}`: {reason}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The number of collector threads is outside what a heap can have.
    #[error("collector_threads is {threads}; a heap has 1 to {max}")]
    CollectorThreads {
        /// What was asked for.
        threads: usize,
        /// The most.
        max: usize,
    },
    /// The kernel does not have the transport that was asked for.
    #[error("transport `{transport}` is not to be had here: {reason}")]
    NoTransport {
        /// The transport.
        transport: Transport,
        /// What the kernel said.
        reason: String,
    },
    /// The transport cannot deliver faults in the way that was asked for.
    #[error("transport `{transport}` cannot deliver faults by {delivery:?}: it only has signals")]
    NoDelivery {
        /// The transport.
        transport: Transport,
        /// The delivery.
        delivery: FaultDelivery,
    },
    /// The operating system refused something that every heap needs.
    #[error("{what} failed")]
    System {
        /// What was tried.
        what: &'static str,
        /// The answer.
        #[source]
        source: io::Error,
    },
}

/// Why a heap's limit was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// The limit is outside what this heap can have.
    #[error("the limit would be {limit_bytes}; this heap can have {min} to {max} bytes")]
    OutOfRange {
        /// What was asked for.
        limit_bytes: usize,
        /// The least.
        min: usize,
        /// The most: what the builder's `max_limit_bytes` said.
        max: usize,
    },
    /// The heap is broken or another process's.
    #[error("the heap is broken or belongs to another process")]
    Unusable,
}

/// Why a thread did not become a mutator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The heap was built in a process that this one was forked from.
    #[error("the heap belongs to process {owner}; a forked child cannot use it")]
    Forked {
        /// The process that built the heap.
        owner: u32,
    },
    /// The heap broke: a collector thread panicked (a panic in the object model, usually).
    #[error("the heap is broken: a collector thread panicked")]
    Broken,
    /// There was no memory for the mutator's own tables or its signal stack.
    #[error("no memory for a mutator: {reason}")]
    NoMemory {
        /// What the kernel said.
        reason: String,
    },
}

/// Why an allocation did not happen. The heap is intact, and what lives stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for {requested_bytes} bytes: {cause} ({live_bytes} of {limit_bytes} bytes live)")]
#[non_exhaustive]
pub struct OutOfMemory {
    /// The size of the object that found no room.
    pub requested_bytes: u64,
    /// The heap's limit.
    pub limit_bytes: u64,
    /// Bytes that were live after the last cycle.
    pub live_bytes: u64,
    /// What stood in the way.
    pub cause: OomCause,
}

/// What stood in the way of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OomCause {
    /// A full cycle did not free enough.
    #[error("the heap is full after a collection")]
    Full,
    /// The same, in a container that leaves the heap less than the program asked for.
    #[error("the heap is full after a collection, and the container has no more memory")]
    Container,
    /// The object is larger than the heap, or than objects can be.
    #[error("the object is larger than the heap can hold")]
    TooLarge,
    /// The process is a forked child of the one that built the heap.
    #[error("the heap belongs to the parent process")]
    Forked,
    /// A collector thread panicked.
    #[error("the heap is broken")]
    Broken,
}

/// What a verification found wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A slot or root holds an address of the heap where no object can be.
    #[error("{holder} refers to {target:#x}, outside the {used_bytes} bytes in use")]
    OutOfBounds {
        /// The slot or root.
        holder: String,
        /// What it holds.
        target: u64,
        /// Bytes in use from the start of the heap.
        used_bytes: u64,
    },
    /// An object reaches beyond the memory in use, or has no header.
    #[error(
        "the object at {object:#x}, reached from {holder}, has header {header:#x} and cannot be"
    )]
    BadObject {
        /// The object.
        object: u64,
        /// Where the reference was found.
        holder: String,
        /// Its first word.
        header: u64,
    },
    /// Two objects overlap.
    #[error("the object at {object:#x} lies inside the one at {other:#x}")]
    Overlap {
        /// The inner object.
        object: u64,
        /// The outer one.
        other: u64,
    },
    /// The heap cannot be verified from here.
    #[error("the heap is broken or belongs to another process")]
    Unusable,
}
