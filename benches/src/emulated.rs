//! The published emulation of a compaction: pages of a heap without objects, set aside, packed two
//! halves to a page, and put in place by one thread while others touch them.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uffd_move::{AltStack, Stop, page_size};

use crate::error::BenchError;
use crate::places::Places;
use crate::raw::{Delivery, ServeFault, Spaces, copy, fetch};
use crate::shape::Random;

/// How a finished page gets to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Built in a buffer, copied by the kernel; the old pages are given back.
    Copy,
    /// Built in an old page that has been emptied, which is then moved.
    Move,
    /// The same, and old pages that are left over are given back, as with [`Copy`](Self::Copy).
    MoveAndRelease,
}

/// The load beside the compaction thread, and how that thread works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Threads that touch pages at random.
    pub accessors: usize,
    /// What each of them does on its own memory between two touches.
    pub think: Duration,
    /// How many pages the compaction thread puts in place at once.
    pub run: Run,
    /// How many pages an accessor that meets a missing one puts in place.
    pub fault: Run,
}

/// How many pages are put in place at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// As many as suit the method best, as in the heap.
    Suiting,
    /// One.
    OnePage,
    /// As many as suit MOVE, by either method.
    Cluster,
}

impl Run {
    /// The number for the compaction thread: 512 to move, 64 to copy, so that the buffer stays in
    /// the cache.
    #[must_use]
    pub fn pages(self, method: Method) -> usize {
        match (self, method) {
            (Self::OnePage, _) => 1,
            (Self::Suiting, Method::Copy) => 64,
            (Self::Suiting | Self::Cluster, _) => 512,
        }
    }

    /// The number for an accessor: 256 to move, 16 to copy, as in the heap for faults near each other.
    #[must_use]
    pub fn fault_pages(self, method: Method) -> usize {
        match (self, method) {
            (Self::OnePage, _) => 1,
            (Self::Suiting, Method::Copy) => COPY_CLUSTER_PAGES,
            (Self::Suiting | Self::Cluster, _) => CLUSTER_PAGES,
        }
    }
}

/// Pages that an accessor puts in place at one fault, at most, and those that suit COPY.
const CLUSTER_PAGES: usize = 256;
const COPY_CLUSTER_PAGES: usize = 16;

/// Old pages are given back so many at a time.
const RELEASE_PAGES: usize = 512;

/// Words of a page of 4 KiB; larger pages are built in as many pieces as they have words.
const PAGE_WORDS: usize = 512;

/// Stack for building a cluster of pages in a signal handler.
const STACK_BYTES: usize = 2 << 20;

const UNPROCESSED: u8 = 0;
const CLAIMED: u8 = 1;
const INSTALLED: u8 = 2;

thread_local! {
    /// The emptied pages that an accessor builds its next pages in: the first, and how many.
    static PLACES: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// One emulated compaction.
#[derive(Debug)]
struct Emulation {
    spaces: Spaces,
    states: Vec<AtomicU8>,
    method: Method,
    /// Pages that an accessor puts in place at a fault.
    cluster: usize,
    /// Old pages; from here on there are spare ones.
    old: usize,
    faults: AtomicU64,
}

impl Emulation {
    /// A heap of `old` pages, half of each live, with what the threads of `shape` need.
    fn new(old: usize, shape: Shape, method: Method) -> Result<Self, BenchError> {
        let spare = shape.run.pages(method) + shape.accessors * shape.fault.fault_pages(method);
        let spaces = Spaces::new(old + spare, Delivery::Signal)?;
        if page_size() != PAGE_WORDS * size_of::<u64>() {
            return Err(BenchError::PageSize);
        }
        for (page, words) in spaces.heap().chunks(PAGE_WORDS).enumerate() {
            words.iter().for_each(|word| word.store(tag(page), Ordering::Relaxed));
        }
        let states = (0..old / 2).map(|_| AtomicU8::new(UNPROCESSED)).collect();
        let cluster = shape.fault.fault_pages(method);
        Ok(Self { spaces, states, method, cluster, old, faults: AtomicU64::new(0) })
    }

    /// Packs the live halves of two old pages into `to`.
    fn pack(&self, page: usize, to: &[AtomicU64]) {
        let (low, high) = to.split_at(PAGE_WORDS / 2);
        for (old, half) in [2 * page, 2 * page + 1].into_iter().zip([low, high]) {
            // The processor's own prefetching ends with the half, in front of the dead one.
            fetch(&self.spaces.from_page((old + 1).min(self.old))[..half.len()]);
            copy(&self.spaces.from_page(old)[..half.len()], half);
        }
    }

    fn claim(&self, page: usize) -> bool {
        let state = &self.states[page];
        state.compare_exchange(UNPROCESSED, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn installed(&self, page: usize) {
        self.states[page].store(INSTALLED, Ordering::Release);
    }

    fn wait_for(&self, page: usize) {
        while self.states[page].load(Ordering::Acquire) != INSTALLED {
            thread::yield_now();
        }
    }

    /// The compaction thread: `run` pages at a time, until all are in place.
    fn compact(&self, run: usize) -> Result<(), BenchError> {
        let buffer: Vec<AtomicU64> = (0..run * PAGE_WORDS).map(|_| AtomicU64::new(0)).collect();
        // Where to build next: first the spare pages, then what has been emptied.
        let mut free = Places::new(self.old..self.old + run);
        let mut released = 0;
        for band in (0..self.states.len()).step_by(run) {
            let band = band..(band + run).min(self.states.len());
            let own: Vec<usize> = band.clone().filter(|page| self.claim(*page)).collect();
            let places = match self.method {
                Method::Copy => vec![],
                _ => {
                    own.chunk_by(|a, b| a + 1 == *b).flat_map(|run| free.take(run.len())).collect()
                }
            };
            for (at, page) in own.iter().enumerate() {
                let to = match self.method {
                    Method::Copy => &buffer[at * PAGE_WORDS..(at + 1) * PAGE_WORDS],
                    _ => self.spaces.from_page(places[at]),
                };
                self.pack(*page, to);
            }
            self.install(&own, &places, &buffer)?;
            match self.method {
                Method::Copy => {
                    // An accessor may still be reading the old pages of what it has claimed.
                    band.clone().for_each(|page| self.wait_for(page));
                    let is_last = band.end == self.states.len();
                    if 2 * band.end - released >= RELEASE_PAGES || is_last {
                        self.spaces.discard_from(released..2 * band.end);
                        released = 2 * band.end;
                    }
                }
                Method::Move | Method::MoveAndRelease => {
                    for pages in own.chunk_by(|a, b| a + 1 == *b) {
                        free.put(2 * pages[0]..2 * (pages[0] + pages.len()));
                    }
                    let spare = free.keep(run);
                    if self.method == Method::MoveAndRelease {
                        self.release(spare);
                    }
                }
            }
        }
        (0..self.states.len()).for_each(|page| self.wait_for(page));
        Ok(())
    }

    /// Puts `pages` in place, neighbours with neighbouring places in one request.
    fn install(
        &self,
        pages: &[usize],
        places: &[usize],
        buffer: &[AtomicU64],
    ) -> Result<(), BenchError> {
        let mut at = 0;
        while at < pages.len() {
            let follows = |n: &usize| {
                pages[*n] == pages[at] + (n - at)
                    && (self.method == Method::Copy || places[*n] == places[at] + (n - at))
            };
            let count = 1 + (at + 1..pages.len()).take_while(follows).count();
            let answer = match self.method {
                Method::Copy => {
                    let bytes = &buffer[at * PAGE_WORDS..(at + count) * PAGE_WORDS];
                    self.spaces.copy_pages(pages[at], bytes)?
                }
                _ => self.spaces.move_pages(pages[at], places[at], count)?,
            };
            let done = match answer.stop {
                Stop::Complete | Stop::Again => answer.done.get(),
                // They are all claimed here: it was this request that put the next one in place.
                Stop::Present => answer.done.get() + 1,
                _ => return Err(BenchError::Short { done: answer.done.get(), asked: count }),
            };
            pages[at..at + done].iter().for_each(|page| self.installed(*page));
            at += done;
        }
        Ok(())
    }

    /// By an accessor, in a signal handler.
    fn copy_cluster(&self, pages: &[usize]) -> Result<(), BenchError> {
        match pages.len() {
            0 | 1 => self.copy_through::<PAGE_WORDS>(pages),
            2..=COPY_CLUSTER_PAGES => {
                self.copy_through::<{ COPY_CLUSTER_PAGES * PAGE_WORDS }>(pages)
            }
            _ => self.copy_through::<{ CLUSTER_PAGES * PAGE_WORDS }>(pages),
        }
    }

    /// The same, through a buffer of `WORDS` words on the stack. It is cleared first, so that it
    /// should not be larger than the pages.
    fn copy_through<const WORDS: usize>(&self, pages: &[usize]) -> Result<(), BenchError> {
        let buffer = [const { AtomicU64::new(0) }; WORDS];
        for (page, to) in pages.iter().zip(buffer.chunks(PAGE_WORDS)) {
            self.pack(*page, to);
        }
        self.install(pages, &[], &buffer)
    }

    /// By an accessor, in a signal handler: pages are built in its places, and if these are too few in
    /// what the pages before them have emptied. Of what is left, the longest run is its next places.
    fn move_cluster(&self, pages: &[usize]) -> Result<(), BenchError> {
        // Nobody else reads the old pages of pages that were claimed here.
        let emptied = |n: usize| 2 * pages[n / 2] + n % 2;
        let mut places = [0; CLUSTER_PAGES];
        let (start, count) = PLACES.get();
        for (n, (page, place)) in pages.iter().zip(&mut places).enumerate() {
            *place = if n < count { start + n } else { emptied(n - count) };
            self.pack(*page, self.spaces.from_page(*place));
        }
        let used = pages.len().min(count);
        let mut longest = (start + used, count - used);
        let mut run = (0, 0);
        for place in (pages.len() - used..2 * pages.len()).map(emptied) {
            run = if run.0 + run.1 == place { (run.0, run.1 + 1) } else { (place, 1) };
            if run.1 > longest.1 {
                longest = run;
            }
        }
        PLACES.set(longest);
        self.install(pages, &places[..pages.len()], &[])
    }

    fn release(&self, spare: Vec<Range<usize>>) {
        spare.into_iter().for_each(|run| self.spaces.discard_from(run));
    }

    /// One accessor: touches pages at random until told to stop.
    fn access(&self, number: usize, shape: Shape, done: &AtomicBool) -> Result<(), BenchError> {
        let _stack = AltStack::ensure(STACK_BYTES)?;
        let places = shape.fault.fault_pages(self.method);
        PLACES.set((self.old + shape.run.pages(self.method) + number * places, places));
        let mut random = Random::new(tag(number));
        while !done.load(Ordering::Relaxed) {
            let page = random.index(self.states.len());
            let words = &self.spaces.heap()[page * PAGE_WORDS..(page + 1) * PAGE_WORDS];
            let seen = [0, PAGE_WORDS - 1].map(|word| words[word].load(Ordering::Relaxed));
            if seen != [tag(2 * page), tag(2 * page + 1)] {
                return Err(BenchError::Damaged { item: page, items: self.states.len() });
            }
            let thinking = Instant::now();
            while thinking.elapsed() < shape.think {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }
}

impl ServeFault for Emulation {
    fn serve(&self, addr: usize) {
        let page = self.spaces.page_of(addr);
        if !self.claim(page) {
            return self.wait_for(page);
        }
        let start = page - page % self.cluster;
        let mut pages = [0; CLUSTER_PAGES];
        let mut count = 0;
        for other in start..self.states.len().min(start + self.cluster) {
            if other == page || self.claim(other) {
                pages[count] = other;
                count += 1;
            }
        }
        let installed = match self.method {
            Method::Copy => self.copy_cluster(&pages[..count]),
            Method::Move | Method::MoveAndRelease => self.move_cluster(&pages[..count]),
        };
        if installed.is_err() {
            // The thread would fault for ever.
            std::process::abort();
        }
        self.faults.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What one emulated compaction took.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// From the first page until the compaction thread has seen all in place.
    pub time: Duration,
    /// Pages that accessors put in place.
    pub faults: u64,
}

/// Compacts a heap of `old` pages under the load of `shape`.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::Damaged`] | a page had the wrong content | throw the figures away |
/// | [`BenchError::PageSize`] | pages are not of 4 KiB here | leave the question out |
/// | any other | the kernel refused | see the reason |
pub fn emulate(method: Method, old: usize, shape: Shape) -> Result<Completion, BenchError> {
    let emulation = Arc::new(Emulation::new(old, shape, method)?);
    emulation.spaces.set_aside()?;
    let _route = emulation.spaces.route(Arc::clone(&emulation) as Arc<dyn ServeFault>)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (emulation, done) = (&emulation, &done);
        let access = |number| scope.spawn(move || emulation.access(number, shape, done));
        let threads: Vec<_> = (0..shape.accessors).map(access).collect();
        let began = Instant::now();
        let compacted = emulation.compact(shape.run.pages(method));
        let time = began.elapsed();
        done.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| BenchError::Panicked)??;
        }
        compacted?;
        Ok(Completion { time, faults: emulation.faults.load(Ordering::Relaxed) })
    })
}

/// What every word of an old page holds. Never zero: a page that went missing reads as zeros.
fn tag(page: usize) -> u64 {
    u64::try_from(page).expect("a page number fits into 64 bits") + 1
}
