//! The Trace Event Format: JSON that Perfetto and Chrome's tracing page read.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::{Event, Listener};

/// Rows of the picture that are no thread of their own.
const CYCLES: u32 = 1;
const PHASES: u32 = 2;
const PAUSES: u32 = 3;
const RELEASES: u32 = 4;

/// Writes events as a Chrome trace: cycles, phases, pauses, faults and stalls on rows, heap sizes
/// as counters. Times are microseconds since it was made.
///
/// ```
/// use std::sync::Arc;
/// use gc_runtime::{Heap, TraceEvents};
///
/// let heap = Heap::builder().limit_bytes(16 << 20).build()?;
/// let trace = Arc::new(TraceEvents::new(Vec::new()));
/// heap.listen(trace.clone());
/// heap.collect();
/// let json = trace.finish(|text| text.clone())?;
/// assert!(json.starts_with(b"{\"traceEvents\":["));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TraceEvents<W> {
    born: Instant,
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    entries: u64,
    cycle_began: Option<(Instant, u64, &'static str)>,
    /// The first thing that went wrong; told by `finish`.
    failed: Option<io::Error>,
}

impl<W> fmt::Debug for TraceEvents<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceEvents").finish_non_exhaustive()
    }
}

impl<W: Write + Send> TraceEvents<W> {
    /// Begins a trace in `out`. Give it a buffer: it is written to in small pieces.
    pub fn new(out: W) -> Self {
        let state = State { out, entries: 0, cycle_began: None, failed: None };
        let trace = Self { born: Instant::now(), state: Mutex::new(state) };
        let rows =
            [(CYCLES, "cycles"), (PHASES, "phases"), (PAUSES, "pauses"), (RELEASES, "releases")];
        for (row, name) in rows {
            trace.put(format_args!(
                r#""name":"thread_name","ph":"M","pid":1,"tid":{row},"args":{{"name":"{name}"}}"#
            ));
        }
        trace
    }

    /// Ends the trace and shows it to `take`, whole. Events that come later begin no second one.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | any | the first write that failed; the trace is not whole | |
    pub fn finish<R>(&self, take: impl FnOnce(&mut W) -> R) -> io::Result<R> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        state.failed = Some(io::Error::other("the trace is finished"));
        state.out.write_all(b"\n]}\n")?;
        state.out.flush()?;
        Ok(take(&mut state.out))
    }

    fn put(&self, fields: fmt::Arguments<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_some() {
            return;
        }
        let before = if state.entries == 0 { "{\"traceEvents\":[\n" } else { ",\n" };
        state.entries += 1;
        if let Err(error) = write!(state.out, "{before}{{{fields}}}") {
            state.failed = Some(error);
        }
    }

    /// Microseconds from the trace's beginning; what was before it is at zero.
    fn at(&self, when: Instant) -> f64 {
        when.saturating_duration_since(self.born).as_secs_f64() * 1e6
    }

    fn span(&self, name: &str, row: u32, began: Instant, took: Duration, args: fmt::Arguments<'_>) {
        let (at, length) = (self.at(began), took.as_secs_f64() * 1e6);
        self.put(format_args!(
            r#""name":"{name}","ph":"X","pid":1,"tid":{row},"ts":{at:.3},"dur":{length:.3},"args":{{{args}}}"#
        ));
    }

    fn mark(&self, name: &str, args: fmt::Arguments<'_>) {
        let at = self.at(Instant::now());
        self.put(format_args!(
            r#""name":"{name}","ph":"i","s":"p","pid":1,"tid":{CYCLES},"ts":{at:.3},"args":{{{args}}}"#
        ));
    }
}

/// Names come from this crate and numbers need no escaping, so that the text is JSON as it is.
impl<W: Write + Send> Listener for TraceEvents<W> {
    fn event(&self, event: &Event) {
        match *event {
            Event::CycleBegan { cycle, reason } => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.cycle_began = Some((Instant::now(), cycle, reason.name()));
            }
            Event::PhaseEnded { cycle, phase, began, took } => {
                let args = format_args!(r#""cycle":{cycle}"#);
                self.span(phase.name(), PHASES, began, took, args);
            }
            Event::Paused { kind, began, safepoint, took, mutators } => {
                let safepoint = safepoint.as_nanos();
                let args = format_args!(r#""safepoint_ns":{safepoint},"mutators":{mutators}"#);
                self.span(kind.name(), PAUSES, began, took, args);
            }
            Event::FaultServed { began, took, thread } => {
                self.span("fault", thread, began, took, format_args!(""));
            }
            Event::Stalled { began, took, thread } => {
                self.span("stall", thread, began, took, format_args!(""));
            }
            Event::LimitChanged { limit_bytes, target_bytes } => self.mark(
                "limit",
                format_args!(r#""limit_bytes":{limit_bytes},"target_bytes":{target_bytes}"#),
            ),
            Event::Released { reason, began, took, pages, .. } => {
                let args = format_args!(r#""reason":"{reason}","pages":{pages}"#);
                self.span("release", RELEASES, began, took, args);
            }
            Event::OutOfMemory { error } => self.mark(
                "out of memory",
                format_args!(r#""requested_bytes":{}"#, error.requested_bytes),
            ),
            Event::CycleEnded { stats } => {
                let began = self
                    .state
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .cycle_began
                    .take_if(|(_, cycle, _)| *cycle == stats.number);
                if let Some((began, cycle, reason)) = began {
                    let args = format_args!(
                        r#""cycle":{cycle},"reason":"{reason}","live_bytes":{},"pages_moved":{},"bytes_copied":{},"bytes_slid":{},"faults":{}"#,
                        stats.live_bytes,
                        stats.pages_moved,
                        stats.bytes_copied,
                        stats.bytes_slid,
                        stats.faults
                    );
                    self.span("cycle", CYCLES, began, began.elapsed(), args);
                }
                let at = self.at(Instant::now());
                self.put(format_args!(
                    r#""name":"heap","ph":"C","pid":1,"ts":{at:.3},"args":{{"live_bytes":{},"used_bytes":{}}}"#,
                    stats.live_bytes, stats.used_bytes_after
                ));
            }
            Event::PhaseBegan { .. } => {}
        }
    }
}
