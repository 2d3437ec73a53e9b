//! Objects that somebody wants to hear of when nothing refers to them any more.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use crate::forward::{Forward, Forwarding};

/// An object, and what was said about it when it was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    pub(crate) tag: u64,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of registration.
    registered: Vec<Entry>,
    /// Registered before the last flip, with the addresses of then.
    set_aside: Vec<Entry>,
    /// Unreachable but for this queue.
    ready: VecDeque<Entry>,
    /// How many of the queue, from its front, have the addresses of before the last flip.
    stale: usize,
}

/// Registered objects, and those whose time has come.
#[derive(Debug, Default)]
pub(crate) struct Finalisers {
    state: Mutex<State>,
}

impl Finalisers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the finalisers are held")
    }

    pub(crate) fn register(&self, entry: Entry) {
        self.lock().registered.push(entry);
    }

    /// How many objects wait in the queue.
    pub(crate) fn ready(&self) -> usize {
        self.lock().ready.len()
    }

    /// The queue's objects, which it keeps alive.
    pub(crate) fn roots(&self) -> Vec<u64> {
        self.lock().ready.iter().map(|entry| entry.address).collect()
    }

    /// Takes out the registered objects that are not live, the last registered first. The lock is
    /// not held while all are looked at.
    pub(crate) fn take_dead(&self, is_live: impl Fn(u64) -> bool) -> Vec<Entry> {
        let all = std::mem::take(&mut self.lock().registered);
        let (mut live, mut dead): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|entry| is_live(entry.address));
        let mut state = self.lock();
        live.append(&mut state.registered);
        state.registered = live;
        dead.reverse();
        dead
    }

    /// Puts objects into the queue. They and all they refer to are live by now: from here on
    /// mutators get at them.
    pub(crate) fn enqueue(&self, entries: Vec<Entry>) {
        self.lock().ready.extend(entries);
    }

    /// Takes the first of the queue. `forwarding` is the last flip's.
    pub(crate) fn take(&self, forwarding: impl FnOnce(u64) -> u64) -> Option<Entry> {
        let mut state = self.lock();
        let mut entry = state.ready.pop_front()?;
        if state.stale > 0 {
            state.stale -= 1;
            entry.address = forwarding(entry.address);
        }
        Some(entry)
    }

    /// In the flip pause: everything here has old addresses.
    pub(crate) fn set_aside(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        debug_assert!(state.set_aside.is_empty(), "the last flip's are forwarded by now");
        std::mem::swap(&mut state.registered, &mut state.set_aside);
        state.stale = state.ready.len();
    }

    /// Gives everything that was set aside its new address.
    pub(crate) fn forward(&self, forwarding: &Forwarding<'_>) {
        let mut entries = std::mem::take(&mut self.lock().set_aside);
        for entry in &mut entries {
            entry.address = forwarding.forward_value(entry.address);
        }
        let mut state = self.lock();
        let state = &mut *state;
        entries.append(&mut state.registered);
        state.registered = entries;
        for entry in state.ready.iter_mut().take(std::mem::take(&mut state.stale)) {
            entry.address = forwarding.forward_value(entry.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_registered_comes_first_and_nobody_comes_twice() {
        let finalisers = Finalisers::default();
        for tag in 1..=6 {
            finalisers.register(Entry { address: tag * 8, tag });
        }
        finalisers.enqueue(finalisers.take_dead(|address| address > 24));
        assert!(finalisers.take_dead(|address| address > 24).is_empty());
        finalisers.set_aside();
        finalisers.register(Entry { address: 800, tag: 7 });
        let order: Vec<_> = std::iter::from_fn(|| finalisers.take(|address| address + 1)).collect();
        let tags: Vec<_> = order.iter().map(|entry| (entry.tag, entry.address)).collect();
        assert_eq!(tags, [(3, 25), (2, 17), (1, 9)]);
    }
}
