//! What a thread sees: intervals between two clock readings 256 nodes apart, made or visited.

use std::io::{self, Write};
use std::time::Instant;

use crate::samples::nanoseconds;

const NODES: u32 = 256;
const BUCKETS: usize = 1024;

/// Intervals from here on are kept one by one.
const LONG_NS: u64 = 50_000;

/// How many of them; the table is made before the first allocation.
const LONGS: usize = 1 << 16;

/// The intervals of one thread.
#[derive(Debug)]
pub(super) struct Gaps {
    began: Instant,
    last: u64,
    end: u64,
    nodes: u32,
    lost: u32,
    buckets: Vec<u32>,
    longs: Vec<(u64, u64)>,
}

impl Gaps {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            last: 0,
            end: 0,
            nodes: 0,
            lost: 0,
            buckets: vec![0; BUCKETS],
            longs: Vec::with_capacity(LONGS),
        }
    }

    /// The program begins now.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// The program has ended.
    pub(super) fn finish(&mut self) {
        self.end = self.now();
    }

    /// After each node that was made or visited.
    #[inline]
    pub(super) fn tick(&mut self) {
        self.nodes += 1;
        if self.nodes == NODES {
            self.nodes = 0;
            self.read_clock();
        }
    }

    fn now(&self) -> u64 {
        nanoseconds(self.began.elapsed())
    }

    #[cold]
    fn read_clock(&mut self) {
        let now = self.now();
        let gap = now - self.last;
        self.buckets[bucket(gap)] += 1;
        if gap >= LONG_NS {
            if self.longs.len() < LONGS {
                self.longs.push((self.last, gap));
            } else {
                self.lost += 1;
            }
        }
        self.last = now;
    }

    pub(super) fn print(&self, out: &mut impl Write, thread: usize) -> io::Result<()> {
        for (bucket, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            writeln!(out, "gap {bucket} {count}")?;
        }
        for (start, length) in &self.longs {
            writeln!(out, "long {thread} {start} {length}")?;
        }
        writeln!(out, "lost {}\nrun {thread} {}", self.lost, self.end)
    }
}

/// Sixteen buckets for each power of two.
fn bucket(ns: u64) -> usize {
    let log = (ns | 1).ilog2();
    let bits = if log >= 4 { ns >> (log - 4) } else { ns << (4 - log) } & 15;
    usize::try_from(u64::from(log) * 16 + bits).expect("below 1024")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_the_interval_and_are_a_sixteenth_wide() {
        assert_eq!([1, 16, 17, 31, 32, 1024].map(bucket), [0, 64, 65, 79, 80, 160]);
        assert!(bucket(u64::MAX) < BUCKETS);
    }
}
