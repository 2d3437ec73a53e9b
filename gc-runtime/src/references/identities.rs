//! Identity hashes and side words of objects whose model has no room for them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::forward::{Forward, Forwarding};

/// What is known of an object beside what it holds itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Identity {
    /// Zero until somebody asks.
    pub(crate) hash: u64,
    /// The embedder's.
    pub(crate) side_word: u64,
}

/// A table by address. After a flip whoever comes first gives all entries their new addresses, so
/// one access a cycle takes time in proportion to the table; no pause does.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    state: Mutex<State>,
    /// How many hashes were given out.
    hashes: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    flips: u64,
    by_address: HashMap<u64, Identity>,
}

impl Identities {
    /// The table with addresses that are right after `flips` flips.
    pub(crate) fn lock(&self, forwarding: &Forwarding<'_>, flips: u64) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("no panic while the identities are held");
        if state.flips != flips {
            state.flips = flips;
            let old = std::mem::take(&mut state.by_address);
            state.by_address = old
                .into_iter()
                .map(|(address, identity)| (forwarding.forward_value(address), identity))
                .collect();
        }
        state
    }

    /// A hash that was not given out before.
    pub(crate) fn new_hash(&self) -> u64 {
        // The finisher of SplitMix64: one to one, so that the first 2^64 - 1 differ.
        let mut hash = self.hashes.fetch_add(1, Ordering::Relaxed) + 1;
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ hash >> 31
    }

    /// How many objects have an entry.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().expect("no panic while the identities are held").by_address.len()
    }

    /// Forgets the entries of dead objects. Between remark and flip.
    pub(crate) fn forget_dead(&self, is_live: impl Fn(u64) -> bool) {
        let mut state = self.state.lock().expect("no panic while the identities are held");
        state.by_address.retain(|&address, _| is_live(address));
    }
}

impl State {
    pub(crate) fn get(&self, address: u64) -> Identity {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    pub(crate) fn entry(&mut self, address: u64) -> &mut Identity {
        self.by_address.entry(address).or_default()
    }
}
