//! A heap that breathes: it grows, shrinks and is collected, again and again, and must have given
//! back in the end what it does not need: memory, page tables, and every hint.

use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gc_runtime::{
    AttachError, BuildError, Decay, Heap, HeapStats, Mutator, OutOfMemory, Record, Release,
    ReleaseBy, RootIndex, TransportChoice, VerifyError,
};
use nix::sys::resource::{UsageWho, getrusage};

/// Objects of 512 bytes, with their header.
const OBJECT: Record = Record { refs: 0, data_words: 62 };
const OBJECT_BYTES: usize = 512;

/// Of the table's objects one in so many survives a shrinking.
const KEPT: u32 = 8;

/// What a breath may take besides its share of the time: full, it is collected this often.
const FULL_CYCLES: u32 = 6;

/// How long memory is kept: short, so that each breath gives back what it does not use.
const DECAY: Decay =
    Decay { cycles: 3, at_least: Duration::from_millis(300), at_most: Duration::from_millis(1000) };

/// Nothing goes any more when nothing has gone in so many naps, or at the latest after so many.
const QUIET_NAPS: u32 = 4;
const MOST_NAPS: u32 = 40;

/// From this breath on page tables must not grow any more.
const SETTLED: usize = 3;

/// What heaps are aligned to.
const HEAP_ALIGN: u64 = 1 << 30;

/// What the process itself may take beside the live data, after a trim.
const SLACK_BYTES: u64 = 8 << 20;

/// What to run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Breathing {
    /// How pages are put in place.
    pub transport: TransportChoice,
    /// How memory goes back.
    pub release_by: ReleaseBy,
    /// Live bytes when it is full.
    pub full_bytes: usize,
    /// How long.
    pub time: Duration,
    /// How long one breath is, at least.
    pub breath: Duration,
}

impl Default for Breathing {
    fn default() -> Self {
        Self {
            transport: TransportChoice::Auto,
            release_by: ReleaseBy::Dropping,
            full_bytes: 160 << 20,
            time: Duration::from_secs(45),
            breath: Duration::from_secs(4),
        }
    }
}

/// What the process has at some moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Footprint {
    /// Resident private memory (`RssAnon`).
    pub resident: u64,
    /// Page tables (`VmPTE`).
    pub tables: u64,
    /// Page faults so far that needed no I/O.
    pub faults: u64,
}

/// One breath.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Breath {
    /// When the heap was full.
    pub full: Footprint,
    /// When it was small, and what it did not need had gone.
    pub small: Footprint,
    /// Cycles while it was full, and page faults in all but the first of them.
    pub full_cycles: u64,
    /// See `full_cycles`.
    pub full_faults: u64,
}

/// What a run saw.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BreathReport {
    /// Each breath.
    pub breaths: Vec<Breath>,
    /// Before the heap was built.
    pub before: Footprint,
    /// At the end, after [`Heap::trim`].
    pub after: Footprint,
    /// Live bytes then.
    pub live_bytes: u64,
    /// Resident bytes of the heap then.
    pub heap_resident: u64,
    /// Bytes in use then.
    pub used_bytes: u64,
    /// Hints that were left then.
    pub hints: usize,
    /// The heap's counts.
    pub stats: HeapStats,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BreathError {
    /// The heap could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The heap took no mutator.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The heap is too small.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The heap is not sound.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The process cannot look at itself.
    #[error("reading /proc/self: {0}")]
    Proc(#[from] io::Error),
    /// An object does not hold what was written.
    #[error("breath {breath}: object {object} is not what it was")]
    Content {
        /// In which breath.
        breath: usize,
        /// Which object.
        object: u32,
    },
    /// Something was not given back.
    #[error("{0}")]
    Kept(String),
}

impl Footprint {
    fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        Ok(Self {
            resident: kib_after(&status, "RssAnon:")? << 10,
            tables: kib_after(&status, "VmPTE:")? << 10,
            faults: u64::try_from(usage.minor_page_faults()).unwrap_or(0),
        })
    }
}

fn kib_after(text: &str, name: &str) -> io::Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {name} there")))
}

/// Resident bytes of the heap that has an object at `address`: its mappings have names only where
/// the kernel gives them some.
fn resident_at(address: u64) -> io::Result<u64> {
    let heap = address / HEAP_ALIGN * HEAP_ALIGN;
    let (mut sum, mut inside) = (0, false);
    for line in fs::read_to_string("/proc/self/smaps")?.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((start, end)) = range {
            let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
            inside = number(start) < heap + HEAP_ALIGN && heap < number(end);
        } else if inside && line.starts_with("Rss:") {
            sum += kib_after(line, "Rss:")? << 10;
        }
    }
    Ok(sum)
}

/// A heap with a table of objects that comes and goes.
struct Lungs {
    heap: Heap,
    mutator: Mutator,
    table: RootIndex,
    object: RootIndex,
    objects: u32,
}

impl Lungs {
    fn put(&mut self, at: u32) -> Result<(), BreathError> {
        self.mutator.alloc_into(self.object, OBJECT)?;
        let object = self.mutator.root(self.object).expect("just stored");
        for word in self.mutator.words(object) {
            word.store(u64::from(at), Ordering::Relaxed);
        }
        let table = self.mutator.root(self.table).expect("the table");
        self.mutator.store(table, at, Some(object));
        Ok(())
    }

    fn fill(&mut self) -> Result<(), BreathError> {
        (0..self.objects).try_for_each(|at| self.put(at))
    }

    /// Drops all but each eighth object, and every object of the upper half.
    fn shrink(&mut self) {
        let table = self.mutator.root(self.table).expect("the table");
        for at in 0..self.objects {
            if at % KEPT != 0 || at >= self.objects / 2 {
                self.mutator.store(table, at, None);
            }
        }
        self.mutator.set_root(self.object, None);
    }

    fn check(&self, breath: usize) -> Result<(), BreathError> {
        let table = self.mutator.root(self.table).expect("the table");
        for at in (0..self.objects / 2).step_by(KEPT as usize) {
            let object = self.mutator.load(table, at);
            let whole = object.is_some_and(|object| {
                let words = self.mutator.words(object);
                words.iter().all(|word| word.load(Ordering::Relaxed) == u64::from(at))
            });
            if !whole {
                return Err(BreathError::Content { breath, object: at });
            }
        }
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        self.mutator.blocking(|| std::thread::sleep(time));
    }

    /// What was used while it was full is kept for a while, and then goes by itself: waits until no
    /// more goes. By naps and not by the clock, for the process may be stopped meanwhile.
    fn exhale(&mut self) -> Result<Footprint, BreathError> {
        self.wait(DECAY.at_most);
        let mut last = Footprint::now()?;
        let mut quiet = 0;
        for _ in 0..MOST_NAPS {
            self.wait(DECAY.at_least);
            let now = Footprint::now()?;
            let goes = now.resident < last.resident || now.tables < last.tables;
            quiet = if goes { 0 } else { quiet + 1 };
            last = now;
            if quiet == QUIET_NAPS {
                break;
            }
        }
        Ok(last)
    }

    fn breathe(&mut self, number: usize, breath: Duration) -> Result<Breath, BreathError> {
        let began = Instant::now();
        self.fill()?;
        let (mut cycles, mut faults) = (0, Footprint::now()?.faults);
        for round in 0..FULL_CYCLES {
            // A tenth is replaced in each cycle.
            for at in (round..self.objects).step_by(10) {
                self.put(at)?;
            }
            self.mutator.collect();
            let now = Footprint::now()?.faults;
            if round == 0 {
                (cycles, faults) = (self.heap.stats().cycles, now);
            } else if round + 1 == FULL_CYCLES {
                (cycles, faults) = (self.heap.stats().cycles - cycles, now - faults);
            }
        }
        let full = Footprint::now()?;
        self.shrink();
        for _ in 0..DECAY.cycles + 1 {
            self.mutator.collect();
        }
        self.check(number)?;
        let small = self.exhale()?;
        self.wait(breath.saturating_sub(began.elapsed()));
        self.check(number)?;
        Ok(Breath { full, small, full_cycles: cycles, full_faults: faults })
    }
}

/// Breathes for a while, trims, and looks whether everything has been given back.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BreathError::Build`] | the kernel lacks the transport | another |
/// | [`BreathError::Kept`] | something was not given back | the message says what and how much |
/// | any other | the heap lost something | report it |
///
/// # Panics
///
/// If a record that was just stored is not there.
pub fn breathe(settings: &Breathing) -> Result<BreathReport, BreathError> {
    let before = Footprint::now()?;
    let heap = Heap::builder()
        .limit_bytes(settings.full_bytes * 2 + (64 << 20))
        .transport(settings.transport)
        .release(Release::After(DECAY))
        .release_by(settings.release_by)
        .build()?;
    let mut mutator = heap.attach()?;
    let objects = u32::try_from(settings.full_bytes / OBJECT_BYTES).unwrap_or(u32::MAX);
    let table = mutator.alloc(Record { refs: objects, data_words: 0 })?;
    let object = mutator.push_root(None);
    let mut lungs = Lungs { heap: heap.clone(), mutator, table, object, objects };
    let began = Instant::now();
    let mut breaths = Vec::new();
    while breaths.len() <= SETTLED || began.elapsed() < settings.time {
        breaths.push(lungs.breathe(breaths.len() + 1, settings.breath)?);
    }
    lungs.mutator.collect();
    lungs.mutator.blocking(|| heap.trim());
    let after = Footprint::now()?;
    let table = lungs.mutator.root(lungs.table).expect("the table");
    let heap_resident = resident_at(table.object().address())?;
    let stats = heap.stats();
    let report = BreathReport {
        breaths,
        before,
        after,
        live_bytes: stats.live_bytes,
        heap_resident,
        used_bytes: heap.used_bytes() as u64,
        hints: heap.free_chunks(),
        stats,
    };
    lungs.check(report.breaths.len())?;
    lungs.mutator.blocking(|| heap.verify())?;
    judge(&report)?;
    Ok(report)
}

/// Whether everything went back that had to.
fn judge(report: &BreathReport) -> Result<(), BreathError> {
    let kept = |text: String| Err(BreathError::Kept(text));
    let resident = report.after.resident.saturating_sub(report.before.resident);
    let allowed = report.live_bytes + report.live_bytes / 20 + SLACK_BYTES;
    if resident > allowed {
        return kept(format!(
            "{resident} bytes are resident after trim with {} live: more than {allowed}",
            report.live_bytes
        ));
    }
    if report.hints > 0 {
        return kept(format!("{} hints are left after trim", report.hints));
    }
    // The last object's chunk may be there whole.
    if report.heap_resident > report.used_bytes + (2 << 20) {
        return kept(format!(
            "{} bytes of the heap are resident with {} in use",
            report.heap_resident, report.used_bytes
        ));
    }
    let tables = |breath: &Breath| breath.small.tables;
    let settled = tables(&report.breaths[SETTLED - 1]);
    let most = report.breaths[SETTLED..].iter().map(tables).max().unwrap_or(0);
    if most > settled + settled / 20 + (64 << 10) {
        return kept(format!("page tables grew from {settled} to {most} bytes"));
    }
    Ok(())
}
