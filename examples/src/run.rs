//! `gc-demo run`: one run in this process.

use std::sync::Arc;

use gc_runtime::{BuildError, Heap, TraceEvents, Transport, TransportChoice, Zeal};

use crate::cli::{JobArgs, MemoryArg, RunArgs};
use crate::error::{DemoError, Failure, with_sources};
use crate::json::{Baseline, Findings, Results, Row};
use crate::measure::Resident;
use crate::memory::{Memory, Outcome};
use crate::progress::{Bars, Progress};
use crate::target::Target;
use crate::workload::{Warnings, Workload};
use crate::{pages, report, table};

/// Runs one workload on one memory and says what came out.
pub(crate) fn run(args: &RunArgs) -> Result<(), DemoError> {
    let json = args.output.json.as_deref().map(Target::reserve).transpose()?;
    let page = args.output.report.as_deref().map(Target::reserve).transpose()?;
    let trace = args.trace.as_deref().map(Target::reserve).transpose()?;
    if trace.is_some() && args.transport == MemoryArg::Malloc {
        return Err(DemoError::Input(
            "--trace: there is no heap to trace with --transport malloc".into(),
        ));
    }
    let events = trace.as_ref().map(|_| Arc::new(TraceEvents::new(Vec::new())));
    let told = if args.output.quiet || args.child { Warnings::Kept } else { Warnings::Told };
    let bars = if args.output.quiet { Bars::Hidden } else { Bars::Drawn };
    let workload = Workload::prepare(&args.job, told)?;

    let baseline_rss_bytes = Resident::read().now;
    Resident::reset_peak();
    let mut results = Results {
        kernel: kernel(),
        workload: args.job.workload.name().into(),
        seed: args.job.seed,
        heap_limit_bytes: 0,
        transports: Vec::new(),
        missing: Vec::new(),
        malloc: None,
    };
    if args.transport == MemoryArg::Malloc {
        let progress = Progress::new(bars, "malloc", workload.rounds());
        let outcome = workload
            .run(&Memory::Malloc, &progress)
            .map_err(|failure| explain(&failure, &args.job, 0))?;
        results.malloc = Some(Baseline::new(&outcome, Resident::read().peak));
    } else {
        let heap_mib = args.job.heap_mib.unwrap_or_else(|| workload.default_heap_mib());
        let heap = build_heap(&args.job, args.transport.transport(), heap_mib)?;
        if told == Warnings::Told {
            eprintln!("transport: {} ({})", heap.transport(), heap.transport_reason());
        }
        if let Some(events) = &events {
            heap.listen(events.clone());
        }
        results.heap_limit_bytes = heap.limit_bytes() as u64;
        let name = heap.transport().to_string();
        let progress = Progress::new(bars, &name, workload.rounds());
        // The watcher takes a little time of its own: only when its picture is asked for.
        let watched = if json.is_some() || page.is_some() { Watched::Yes } else { Watched::No };
        let row = run_on_heap(&heap, &workload, &progress, watched, baseline_rss_bytes);
        results.transports.push(row.map_err(|failure| explain(&failure, &args.job, heap_mib))?);
    }

    results.compare_to_copy();
    if let (Some(trace), Some(events)) = (trace, events) {
        let text = events.finish(std::mem::take).expect("memory takes every byte");
        trace.commit(&String::from_utf8(text).expect("a trace is ASCII"))?;
    }
    if let Some(page) = page {
        page.commit(&report::html(&results))?;
    }
    if let Some(json) = json {
        json.commit(&results.to_json())?;
    }
    if !args.child {
        print!("{}", table::text(&results));
    }
    results.check()
}

/// Whether the heap's pages are recorded from cycle to cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Yes,
    No,
}

/// Runs, collects once more, verifies.
fn run_on_heap(
    heap: &Heap,
    workload: &Workload,
    progress: &Progress,
    watched: Watched,
    baseline_rss_bytes: u64,
) -> Result<Row, Failure> {
    let memory = Memory::Heap(heap.clone());
    let work = || -> Result<Outcome, Failure> {
        let outcome = workload.run(&memory, progress)?;
        // After this cycle the heap holds the live data and nothing else.
        progress.say("last cycle");
        heap.collect();
        Ok(outcome)
    };
    let (outcome, pages) = match watched {
        Watched::Yes => pages::watch(heap, work),
        Watched::No => (work(), Vec::new()),
    };
    let outcome = outcome?;
    let peak_rss_bytes = Resident::read().peak;
    progress.say("verifying");
    let verified_objects = match heap.verify() {
        Ok(report) => Some(report.objects),
        Err(error) => {
            eprintln!("gc-demo: the heap on {} is damaged: {error}", heap.transport());
            None
        }
    };
    let findings = Findings { baseline_rss_bytes, peak_rss_bytes, verified_objects, pages };
    let row = Row::new(&outcome, &heap.stats(), findings);
    // Up to here these roots have held what was verified.
    drop(outcome.kept);
    Ok(row)
}

fn build_heap(
    job: &JobArgs,
    transport: Option<Transport>,
    heap_mib: u32,
) -> Result<Heap, DemoError> {
    let limit_bytes = usize::try_from(u64::from(heap_mib) << 20).map_err(|_| {
        DemoError::Input(format!("a heap of {heap_mib} MiB has no room in this address space"))
    })?;
    let mut builder = Heap::builder()
        .limit_bytes(limit_bytes)
        .collector_threads(job.collector_threads as usize)
        .islands(job.islands.into())
        .fault_delivery(job.fault_delivery.into())
        .transport(transport.map_or(TransportChoice::Auto, TransportChoice::Only));
    if let Some(zeal) = &job.zeal {
        builder =
            builder.zeal(Zeal::parse(zeal).map_err(|error| DemoError::Input(error.to_string()))?);
    }
    builder.build().map_err(|error| {
        let advice = match (&error, transport) {
            (BuildError::Environment { .. }, _) => "correct the variable or unset it",
            (BuildError::Limit { .. }, _) => "choose another --heap-mib",
            (BuildError::CollectorThreads { .. }, _) => "choose other --collector-threads",
            (BuildError::NoDelivery { .. }, _) => "leave out --fault-delivery or choose another --transport",
            (_, Some(_)) => {
                "`gc-demo probe` says what this kernel has, and --transport auto takes the best of it"
            }
            (_, None) => "`gc-demo probe` says what this kernel has",
        };
        DemoError::Input(format!("no heap: {}; {advice}", with_sources(&error)))
    })
}

/// Puts a failure into words that say what to do.
fn explain(failure: &Failure, job: &JobArgs, heap_mib: u32) -> DemoError {
    match failure {
        Failure::OutOfMemory(error) => DemoError::Input(format!(
            "the heap of {heap_mib} MiB is too small for the live data of this workload: {error}; give it more \
             with --heap-mib {}, or make the data smaller with --scale {}",
            u64::from(heap_mib) * 2,
            job.scale / 2.0
        )),
        Failure::Attach(_) => DemoError::Input(failure.to_string()),
        Failure::Wrong(_) | Failure::Stopped => {
            DemoError::Check(format!("the run failed its check: {failure}"))
        }
    }
}

/// The name and release of the running kernel.
pub(crate) fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |release| release.trim().to_owned())
}
