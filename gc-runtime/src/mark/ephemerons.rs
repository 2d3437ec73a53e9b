//! Ephemerons whose keys were not alive when marking met them: values to be traced if the key
//! turns out to be.
//!
//! Linear in their number also for chains, where each value leads to the next key: a bitmap of
//! keys tells a marking thread, at the moment at which it makes an object grey, whether values
//! wait for it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{Ordering, fence};

use crate::mark::live_bitmap::{LiveBitmap, Writers};

/// What waits for keys. Words are numbers of the heap's words.
#[derive(Debug)]
pub(crate) struct Ephemerons {
    keys: LiveBitmap,
    waiting: Mutex<HashMap<u32, Vec<u32>>>,
}

impl Ephemerons {
    pub(crate) fn new(words: u32) -> std::io::Result<Self> {
        Ok(Self { keys: LiveBitmap::new(words)?, waiting: Mutex::new(HashMap::new()) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Vec<u32>>> {
        self.waiting.lock().expect("no panic while the ephemerons are held")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Notes that the slot `value` is to be traced when `key` becomes live. Gives the slots that
    /// are to be traced at once, because the key has become live meanwhile.
    pub(crate) fn wait_for(&self, key: u32, value: u32, live: &LiveBitmap) -> Vec<u32> {
        let mut waiting = self.lock();
        self.keys.claim(key, Writers::Many);
        waiting.entry(key).or_default().push(value);
        // Either whoever makes the key live sees the key's bit, or we see the key live.
        fence(Ordering::SeqCst);
        match live.is_live(key) {
            true => waiting.remove(&key).unwrap_or_default(),
            false => Vec::new(),
        }
    }

    /// By whoever has just made `word` live: the slots that waited for it.
    #[inline(always)]
    pub(crate) fn woken_by(&self, word: u32, writers: Writers) -> Vec<u32> {
        if writers == Writers::Many {
            fence(Ordering::SeqCst);
        }
        if self.keys.is_live(word) { self.take(word) } else { Vec::new() }
    }

    #[cold]
    fn take(&self, key: u32) -> Vec<u32> {
        self.lock().remove(&key).unwrap_or_default()
    }

    /// The slots whose keys have become live while nobody looked.
    pub(crate) fn settle(&self, live: &LiveBitmap) -> Vec<u32> {
        let mut waiting = self.lock();
        waiting.extract_if(|&key, _| live.is_live(key)).flat_map(|(_, values)| values).collect()
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        for key in waiting.into_keys() {
            self.keys.clear_word(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_traced_once_whoever_comes_first() {
        let live = LiveBitmap::new(1000).unwrap();
        let ephemerons = Ephemerons::new(1000).unwrap();
        assert!(ephemerons.wait_for(7, 70, &live).is_empty());
        assert!(ephemerons.wait_for(7, 71, &live).is_empty());
        assert!(ephemerons.wait_for(8, 80, &live).is_empty());
        live.claim(7, Writers::One);
        assert_eq!(ephemerons.woken_by(7, Writers::One), [70, 71]);
        assert!(ephemerons.woken_by(7, Writers::One).is_empty());
        assert_eq!(ephemerons.wait_for(7, 72, &live), [72]);
        assert!(!ephemerons.is_empty());
        live.claim(8, Writers::One);
        assert_eq!(ephemerons.settle(&live), [80]);
        assert!(ephemerons.is_empty());
    }
}
