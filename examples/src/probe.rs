//! `gc-demo probe`: what this kernel can do.

use gc_runtime::{FaultDelivery, Heap, Transport, TransportChoice};

use crate::error::with_sources;

/// Prints the kernel's answers, then which transports follow from them.
pub(crate) fn print() {
    println!("{}", uffd_move::Support::probe());
    println!();
    for transport in Transport::ALL {
        match missing(transport, FaultDelivery::Signal) {
            None => println!("transport {transport:<9} yes"),
            Some(reason) => println!("transport {transport:<9} no: {reason}"),
        }
    }
    match Heap::builder().limit_bytes(PROBE_BYTES).build() {
        Ok(heap) => println!("auto takes {}: {}", heap.transport(), heap.transport_reason()),
        Err(error) => println!("auto takes nothing: {}", with_sources(&error)),
    }
}

/// Why `transport` is not to be had here with this delivery of faults, or `None` when it can.
///
/// It asks by building a small heap: no list of features says as much as the thing itself.
pub(crate) fn missing(transport: Transport, delivery: FaultDelivery) -> Option<String> {
    Heap::builder()
        .limit_bytes(PROBE_BYTES)
        .transport(TransportChoice::Only(transport))
        .fault_delivery(delivery)
        .build()
        .err()
        .map(|error| with_sources(&error))
}

const PROBE_BYTES: usize = 4 << 20;
