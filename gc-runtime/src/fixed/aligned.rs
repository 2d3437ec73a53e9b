//! Objects that were allocated with an alignment: they move by whole pages.

use std::sync::{Mutex, MutexGuard};

use crate::forward::{Forward, Forwarding};

#[derive(Debug, Default)]
struct State {
    addresses: Vec<u64>,
    /// Allocated before the last flip, with the addresses of then.
    set_aside: Vec<u64>,
}

/// The addresses of such objects. Keeps none alive.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    state: Mutex<State>,
}

impl Aligned {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the aligned objects are held")
    }

    pub(crate) fn add(&self, address: u64) {
        self.lock().addresses.push(address);
    }

    /// Forgets the dead; the living. Between remark and flip. The lock is not held while all are
    /// looked at.
    pub(crate) fn keep_live(&self, is_live: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut all = std::mem::take(&mut self.lock().addresses);
        all.retain(|&address| is_live(address));
        let mut state = self.lock();
        all.append(&mut state.addresses);
        state.addresses.clone_from(&all);
        all
    }

    /// In the flip pause: everything here has old addresses.
    pub(crate) fn set_aside(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        debug_assert!(state.set_aside.is_empty(), "the last flip's are forwarded by now");
        std::mem::swap(&mut state.addresses, &mut state.set_aside);
    }

    /// Gives everything that was set aside its new address.
    pub(crate) fn forward(&self, forwarding: &Forwarding<'_>) {
        let mut all = std::mem::take(&mut self.lock().set_aside);
        for address in &mut all {
            *address = forwarding.forward_value(*address);
        }
        self.lock().addresses.append(&mut all);
    }
}
