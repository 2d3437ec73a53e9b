//! A heap's memory, seen from outside.

use std::fs;
use std::io;
use std::ops::Range;

use gc_runtime::{Mutator, Record};

use crate::error::BenchError;
use crate::machine::number_after;
use crate::raw::{Advice, advise};

/// The mapping that a heap's objects are in. It is found by the address of one of them: the kernel
/// does not give mappings names everywhere.
#[derive(Debug, Clone)]
pub struct HeapMapping(Range<usize>);

impl HeapMapping {
    /// The mapping of the mutator's heap, which has run no cycle yet.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::OutOfMemory`] | no room for an object | |
    /// | [`BenchError::System`] | /proc cannot be read | leave the question out |
    ///
    /// # Panics
    ///
    /// If the mutator loses an object, or an address does not fit.
    pub fn of(mutator: &mut Mutator) -> Result<Self, BenchError> {
        let roots = mutator.root_count();
        let root = mutator.alloc(Record { refs: 0, data_words: 1 })?;
        let object = mutator.root(root).expect("just stored").object();
        let address = usize::try_from(object.address()).expect("an address");
        mutator.truncate_roots(roots);
        let maps = fs::read_to_string("/proc/self/maps")?;
        let mapping = maps.lines().filter_map(range).find(|range| range.contains(&address));
        Ok(Self(mapping.ok_or(io::ErrorKind::NotFound).map_err(io::Error::from)?))
    }

    /// Tells the kernel about huge pages there, over what the heap has told it.
    ///
    /// # Errors
    ///
    /// See [`advise`].
    pub fn advise(&self, advice: Advice) -> io::Result<()> {
        advise(&self.0, advice)
    }

    /// What of the heap is in huge pages now, in KiB.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::System`] | /proc cannot be read | leave the question out |
    pub fn huge_kib(&self) -> Result<u64, BenchError> {
        let maps = fs::read_to_string("/proc/self/smaps")?;
        let (mut kib, mut inside) = (0, false);
        for line in maps.lines() {
            match range(line) {
                Some(range) => inside = range.start < self.0.end && self.0.start < range.end,
                None if inside => kib += number_after(line, "AnonHugePages:").unwrap_or(0),
                None => {}
            }
        }
        Ok(kib)
    }
}

/// The addresses at the start of a line about a mapping; nothing for any other line.
fn range(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_runtime::Heap;

    #[test]
    fn mappings_are_told_from_their_fields() {
        let line = "7f00-7fff rw-p 00000000 00:00 0    [anon:gc heap]";
        assert_eq!(range(line), Some(0x7f00..0x7fff));
        assert_eq!(range("AnonHugePages:      2048 kB"), None);
        assert_eq!(range("VmFlags: rd wr mr-mw"), None);
    }

    #[test]
    fn a_heap_is_found_whole() {
        let heap = Heap::builder().limit_bytes(64 << 20).build().unwrap();
        let mapping = HeapMapping::of(&mut heap.attach().unwrap()).unwrap();
        assert!(mapping.0.len() >= 64 << 20, "{mapping:?}");
        mapping.huge_kib().unwrap();
    }
}
