//! The threads of a run: one writer, several readers, and the gate between two batches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gc_runtime::GlobalRoot;
use hdrhistogram::Histogram;

use super::gc_layout::GcIndex;
use super::malloc_index::MallocIndex;
use super::query::{Query, Tally};
use super::script::{Change, Script};
use super::{Index, Library, Part, Plan, Reader, Writer};
use crate::error::Failure;
use crate::gate::{BreakOnFailure, Gate};
use crate::memory::{Hand as _, Memory, Outcome};
use crate::progress::Progress;
use crate::random::mix;

/// Runs the workload on a memory.
pub(crate) fn run(
    plan: &Plan,
    library: &Library,
    memory: &Memory,
    progress: &Progress,
) -> Result<Outcome, Failure> {
    match memory {
        Memory::Heap(heap) => {
            let index = GcIndex::new(heap);
            let kept = index.kept();
            run_on(plan, library, &index, progress, kept)
        }
        Memory::Malloc => run_on(plan, library, &MallocIndex::default(), progress, Vec::new()),
    }
}

/// The queries of one batch; readers draw them one by one.
#[derive(Debug, Default)]
struct QuerySet {
    queries: Vec<Query>,
    next: AtomicUsize,
}

/// What all threads of a run share.
struct Shared<'a, I> {
    plan: &'a Plan,
    library: &'a Library,
    index: &'a I,
    gate: Gate,
    /// Batch `k` uses place `k % 2`, so that the writer can fill the next while readers use one.
    sets: [Mutex<Arc<QuerySet>>; 2],
}

fn run_on<I: Index>(
    plan: &Plan,
    library: &Library,
    index: &I,
    progress: &Progress,
    kept: Vec<GlobalRoot>,
) -> Result<Outcome, Failure> {
    let gate = Gate::new(plan.readers + 1);
    let shared = Shared { plan, library, index, gate, sets: Default::default() };
    let start = Instant::now();
    let (written, read) = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..plan.readers).map(|_| scope.spawn(|| shared.read())).collect();
        let written = scope.spawn(|| shared.write(progress));
        let join = "a thread of the workload has panicked";
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join().expect(join)).collect();
        (written.join().expect(join), read)
    });
    let seconds = start.elapsed().as_secs_f64();

    let (mut gaps, live) = match written {
        Ok(written) => written,
        Err(failure) => {
            let causes = read.into_iter().filter_map(Result::err);
            return Err(causes.fold(failure, Failure::or_cause));
        }
    };
    let mut checksum = 0u64;
    for result in read {
        let (sum, their_gaps) = result?;
        checksum = checksum.wrapping_add(sum);
        gaps.add(their_gaps).expect("all gap histograms have the same bounds");
    }
    checksum = mix(checksum, shared.audit(&live)?);
    Ok(Outcome { checksum, gaps, seconds, kept })
}

impl<I: Index> Shared<'_, I> {
    /// The writer's thread: gives back its gaps and the documents that are left.
    fn write(&self, progress: &Progress) -> Result<(Histogram<u64>, Vec<u32>), Failure> {
        let guard = BreakOnFailure::new(&self.gate);
        let mut writer = self.index.writer()?;
        let mut script = Script::new(self.library, self.plan);
        for batch in 1..=self.plan.batches() {
            writer.clock().resume();
            writer.begin()?;
            for change in script.next_batch() {
                match change {
                    Change::Add { number, passage } => {
                        writer.add(number, &self.library.draft(passage))?;
                    }
                    Change::Remove { number } => writer.remove(number)?,
                }
            }
            writer.publish()?;
            let set = QuerySet { queries: script.queries(batch), next: AtomicUsize::new(0) };
            *self.place(batch).lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
            writer.blocking(|| self.gate.pass())?;
            progress.advance();
        }
        guard.all_went_well();
        Ok((writer.into_clock().into_gaps(), script.live_numbers()))
    }

    /// A reader's thread: gives back the sum of its answers and its gaps.
    fn read(&self) -> Result<(u64, Histogram<u64>), Failure> {
        let guard = BreakOnFailure::new(&self.gate);
        let mut reader = self.index.reader()?;
        let mut tally = Tally::default();
        let mut sum = 0u64;
        for batch in 1..=self.plan.batches() {
            reader.blocking(|| self.gate.pass())?;
            reader.clock().resume();
            reader.open(batch)?;
            let set = Arc::clone(&self.place(batch).lock().unwrap_or_else(PoisonError::into_inner));
            loop {
                let number = set.next.fetch_add(1, Ordering::Relaxed);
                let Some(query) = set.queries.get(number) else { break };
                let answer = query.answer(self.library, &mut reader, &mut tally);
                // A sum does not depend on who answered what, and when.
                sum = sum.wrapping_add(mix(mix(batch, number as u64), answer));
                reader.clock().step();
            }
        }
        guard.all_went_well();
        Ok((sum, reader.into_clock().into_gaps()))
    }

    /// Reads every document that must be left, after the last batch.
    fn audit(&self, live: &[u32]) -> Result<u64, Failure> {
        let mut reader = self.index.reader()?;
        reader.open(self.plan.batches())?;
        live.iter().try_fold(0, |sum, &number| match reader.excerpt(number, Part::All) {
            Some(hash) => Ok(mix(sum, mix(u64::from(number), hash))),
            None => Err(Failure::Wrong(format!("document {number} is lost"))),
        })
    }

    fn place(&self, batch: u64) -> &Mutex<Arc<QuerySet>> {
        &self.sets[usize::from(batch % 2 == 1)]
    }
}
