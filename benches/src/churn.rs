//! Mutator threads with long-lived data, which run only while they are asked to.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use gc_runtime::Heap;

use crate::error::BenchError;
use crate::shape::{Keep, Shape, Table};

/// Replacements between two looks at the gate.
const BATCH: usize = 64;

/// The mutators of one heap. While one side of a comparison is measured, those of the other rest
/// in a blocking region, so that they take neither time nor part.
#[derive(Debug)]
pub struct Churn {
    gate: Arc<Gate>,
    threads: Vec<JoinHandle<()>>,
}

/// What the mutators are asked to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Ask {
    #[default]
    Rest,
    Run,
    End,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ask: Ask,
    /// Threads that rest, filled and ready.
    resting: usize,
    /// Threads that have ended, whatever the reason.
    ended: usize,
    /// Why the first of them ended before it was asked to.
    failure: Option<BenchError>,
}

impl Churn {
    /// Starts `threads` mutators, which fill the heap with `live_bytes` together, and waits until
    /// all of them rest.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::OutOfMemory`] | the data do not fit into the heap | build it with a higher limit |
    /// | [`BenchError::Attach`] | a thread could not become a mutator | see the reason |
    /// | [`BenchError::Panicked`] | a thread found its data damaged | the heap is broken |
    pub fn start(heap: &Heap, threads: u32, live_bytes: u64) -> Result<Self, BenchError> {
        let gate = Arc::new(Gate::default());
        let share = live_bytes / u64::from(threads.max(1));
        let spawn = |seed: u32| {
            let heap = heap.clone();
            let gate = Arc::clone(&gate);
            std::thread::spawn(move || {
                let _ended = Ended(&gate);
                if let Err(failure) = live(&heap, share, seed, &gate) {
                    gate.lock().failure.get_or_insert(failure);
                }
            })
        };
        let churn = Self { threads: (0..threads).map(spawn).collect(), gate };
        churn.wait_until(|state, all| state.resting == all)?;
        Ok(churn)
    }

    /// Calls `measured` while the mutators run.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start): a mutator ended early.
    pub fn during<R>(&self, measured: impl FnOnce() -> R) -> Result<R, BenchError> {
        self.ask(Ask::Run);
        self.wait_until(|state, _| state.resting == 0)?;
        let result = measured();
        self.ask(Ask::Rest);
        self.wait_until(|state, all| state.resting == all)?;
        Ok(result)
    }

    /// Lets the mutators check their data and end.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Damaged`] | an item is missing or overwritten | the heap is broken: throw the figures away |
    /// | any other | a mutator had ended early | see the reason |
    pub fn finish(mut self) -> Result<(), BenchError> {
        self.ask(Ask::End);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| BenchError::Panicked)?;
        }
        self.gate.lock().failure.take().map_or(Ok(()), Err)
    }

    fn ask(&self, ask: Ask) {
        self.gate.lock().ask = ask;
        self.gate.changed.notify_all();
    }

    fn wait_until(&self, reached: impl Fn(&State, usize) -> bool) -> Result<(), BenchError> {
        let mut state = self.gate.lock();
        while !reached(&state, self.threads.len()) {
            if state.ended > 0 {
                return Err(state.failure.take().unwrap_or(BenchError::Panicked));
            }
            state = self.gate.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        // After an error: the threads would otherwise rest for ever.
        self.ask(Ask::End);
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rests until asked for something else.
    fn rest(&self) {
        let mut state = self.lock();
        state.resting += 1;
        self.changed.notify_all();
        while state.ask == Ask::Rest {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.resting -= 1;
        self.changed.notify_all();
    }
}

/// Counts a thread as ended, also when it panics: nobody must wait for it then.
struct Ended<'a>(&'a Gate);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.lock().ended += 1;
        self.0.changed.notify_all();
    }
}

/// The life of one mutator: fill, then rest or churn as asked, then check.
fn live(heap: &Heap, live_bytes: u64, seed: u32, gate: &Gate) -> Result<(), BenchError> {
    let mutator = &mut heap.attach()?;
    let mut table = Table::fill(mutator, live_bytes, Shape::mixed(Keep::All), u64::from(seed))?;
    loop {
        let ask = gate.lock().ask;
        match ask {
            Ask::Rest => mutator.blocking(|| gate.rest()),
            Ask::Run => {
                for _ in 0..BATCH {
                    table.churn(mutator)?;
                }
            }
            Ask::End => return table.check(mutator),
        }
    }
}
