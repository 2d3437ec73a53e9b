//! Which transport a heap gets: asked of the kernel once, with the reason.

use std::io;
use std::sync::Arc;

use uffd_move::{Features, Levels, OpenOptions, Support, Wake};

use crate::error::BuildError;
use crate::options::{FaultDelivery, Options, Transport, TransportChoice};
use crate::raw::map::Reservation;
use crate::raw::uffd::HeapUffd;
use crate::transport::PageTransport;
use crate::transport::anon_spaces::AnonSpaces;
use crate::transport::continuing::Continuing;
use crate::transport::copying::Copying;
use crate::transport::file_backed::FileBacked;
use crate::transport::file_spaces::FileSpaces;
use crate::transport::in_pause::{InPause, Placing};
use crate::transport::moving::Moving;
use crate::transport::protecting::Protecting;

/// One page table of the second level covers this much on x86-64 and arm64 with 4 KiB pages: ranges
/// aligned to it change places by moving a single entry.
const SPACE_ALIGN: usize = 1 << 30;

/// Addresses beyond the limit, for staging pages when nothing can be recycled yet.
const SLACK_BYTES: usize = 64 << 20;

/// A transport, why it was chosen, and the userfaultfd if a thread must read its events.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) transport: Box<dyn PageTransport>,
    pub(crate) reason: String,
    pub(crate) events: Option<HeapUffd>,
}

/// Chooses and builds the transport of a heap.
pub(crate) fn choose(options: &Options, page_bytes: usize) -> Result<Chosen, BuildError> {
    let support = Support::probe();
    let (kind, reason) = match options.transport {
        TransportChoice::Only(kind) => {
            if let Some(reason) = missing(kind, &support, options) {
                return Err(BuildError::NoTransport { transport: kind, reason });
            }
            (kind, "asked for".to_owned())
        }
        TransportChoice::Auto => automatic(&support, options),
        TransportChoice::Floor => (Transport::Stw, "asked for".to_owned()),
    };
    if kind == Transport::Mprotect && options.delivery == FaultDelivery::HandlerThread {
        return Err(BuildError::NoDelivery { transport: kind, delivery: options.delivery });
    }
    build(kind, reason, options, page_bytes)
}

fn automatic(support: &Support, options: &Options) -> (Transport, String) {
    let mut reasons = String::new();
    for kind in [Transport::Move, Transport::Copy] {
        match missing(kind, support, options) {
            None => {
                let reason =
                    if reasons.is_empty() { "the kernel has it".to_owned() } else { reasons };
                tracing::info!(transport = %kind, %reason, "transport chosen");
                return (kind, reason);
            }
            Some(reason) => {
                let separator = if reasons.is_empty() { "" } else { "; " };
                reasons = format!("{reasons}{separator}no {kind}: {reason}");
            }
        }
    }
    tracing::warn!(transport = "stw", reason = %reasons, "transport chosen: pauses grow with the heap");
    (Transport::Stw, reasons)
}

/// Why this kernel lacks `kind`, if it does.
fn missing(kind: Transport, support: &Support, options: &Options) -> Option<String> {
    if kind == Transport::Stw {
        return None;
    }
    let no = |answer: &uffd_move::Answer| answer.reason().map(str::to_owned);
    if kind != Transport::Mprotect {
        let levels: &Levels = match kind {
            Transport::Move => &support.move_pages,
            Transport::Copy => &support.copy_pages,
            _ => &support.continue_pages,
        };
        if let Some(reason) = no(&support.userfaultfd).or_else(|| no(levels.verdict())) {
            return Some(reason);
        }
        if options.delivery == FaultDelivery::Signal
            && let Some(reason) = no(&support.signal_delivery)
        {
            return Some(reason);
        }
    }
    no(&support.mremap_dontunmap)
}

fn build(
    kind: Transport,
    reason: String,
    options: &Options,
    page_bytes: usize,
) -> Result<Chosen, BuildError> {
    let system = |what| move |source: io::Error| BuildError::System { what, source };
    let len = (options.reserved_bytes() + SLACK_BYTES).next_multiple_of(SPACE_ALIGN);
    let reserve =
        |name| Reservation::new(len, SPACE_ALIGN, name).map_err(system("reserving addresses"));
    let heap = reserve(c"gc heap")?;
    let map = system("mapping the heap");
    let mut events = None;
    let transport: Box<dyn PageTransport> = match kind {
        Transport::Stw => {
            let placing = match options.transport {
                TransportChoice::Floor => Placing::LeftOut,
                _ => Placing::Counted,
            };
            Box::new(InPause::new(heap, placing, page_bytes).map_err(map)?)
        }
        Transport::Mprotect => {
            let spaces = FileSpaces::new(heap, reserve(c"gc from-space")?, page_bytes);
            Box::new(FileBacked::new(spaces.map_err(map)?, Protecting::new(page_bytes)))
        }
        Transport::Move | Transport::Copy | Transport::Continue => {
            let from = reserve(c"gc from-space")?;
            let uffd = open(kind, options.delivery)?;
            if options.delivery == FaultDelivery::HandlerThread {
                events = Some(uffd.clone());
            }
            match kind {
                Transport::Move => {
                    let spaces = AnonSpaces::new(heap, from, uffd, options.fork).map_err(map)?;
                    Box::new(
                        Moving::new(spaces, page_bytes).map_err(system("mapping side tables"))?,
                    )
                }
                Transport::Copy => {
                    let spaces = AnonSpaces::new(heap, from, uffd, options.fork).map_err(map)?;
                    Box::new(
                        Copying::new(spaces, page_bytes)
                            .map_err(system("mapping staging pages"))?,
                    )
                }
                _ => {
                    let spaces = FileSpaces::new(heap, from, page_bytes).map_err(map)?;
                    Box::new(FileBacked::new(spaces, Continuing::new(uffd)))
                }
            }
        }
    };
    Ok(Chosen { transport, reason, events })
}

/// Opens the userfaultfd a transport needs.
fn open(kind: Transport, delivery: FaultDelivery) -> Result<HeapUffd, BuildError> {
    let mut features = match kind {
        Transport::Move => Features::MOVE,
        Transport::Continue => Features::MINOR_SHMEM | Features::MISSING_SHMEM,
        _ => Features::empty(),
    };
    let wake = match delivery {
        FaultDelivery::Signal => {
            features |= Features::SIGBUS;
            Wake::Later
        }
        FaultDelivery::HandlerThread => Wake::Now,
    };
    let opened = OpenOptions::new()
        .require(features)
        .open()
        .map_err(|error| BuildError::NoTransport { transport: kind, reason: error.to_string() })?;
    tracing::debug!(scope = %opened.scope, via = %opened.via, "userfaultfd opened for a heap");
    Ok(HeapUffd::new(Arc::new(opened.uffd), wake))
}
