//! `gc-stress`: puts heaps under stress on every transport the kernel has.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gc_runtime::{BuildError, FaultDelivery, Fork, ReleaseBy, Transport, TransportChoice, Zeal};
use gc_stress::breathe::{BreathError, BreathReport, Footprint};
use gc_stress::run::RunError;
use gc_stress::{Breathing, Report, Settings, breathe, run};

/// Mutators that check everything they read, churn, cycles back to back, forks, signals, pins.
#[derive(Debug, Parser)]
#[command(name = "gc-stress")]
struct Arguments {
    /// Seconds, shared between everything that is run.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Only this transport (move, copy, continue, mprotect, stw).
    #[arg(long)]
    transport: Option<Transport>,
    /// Mutator threads.
    #[arg(long, default_value_t = 3)]
    threads: u32,
    /// Collector threads.
    #[arg(long, default_value_t = 1)]
    collector_threads: usize,
    /// The heap's limit in MiB.
    #[arg(long, default_value_t = 128)]
    heap_mib: usize,
    /// Where the random numbers start.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Instead: a heap that grows and shrinks for this many seconds, on each transport in turn, and
    /// must have given everything back in the end.
    #[arg(long)]
    breathe: Option<u64>,
    /// With --breathe: only this way to give memory back (dropping, freeing).
    #[arg(long, requires = "breathe", value_parser = parse_release_by)]
    release_by: Option<ReleaseBy>,
    /// Slow checks: verify, poison, every=N, full.
    #[arg(long, default_value = "verify,poison", value_parser = Zeal::parse)]
    zeal: Zeal,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    if let Some(seconds) = arguments.breathe {
        return breathe_all(&arguments, Duration::from_secs(seconds));
    }
    let mut ways = Vec::new();
    for transport in Transport::ALL {
        if arguments.transport.is_some_and(|only| only != transport) {
            continue;
        }
        ways.push((transport, FaultDelivery::Signal));
        if !matches!(transport, Transport::Mprotect | Transport::Stw) {
            ways.push((transport, FaultDelivery::HandlerThread));
        }
    }
    let time = Duration::from_secs(arguments.seconds) / u32::try_from(ways.len()).unwrap_or(1);
    let mut tally = Tally::default();
    for (number, (transport, delivery)) in (0u64..).zip(ways) {
        let mut settings = Settings::default();
        settings.transport = TransportChoice::Only(transport);
        settings.delivery = delivery;
        settings.time = time;
        settings.mutators = arguments.threads;
        settings.collectors = arguments.collector_threads;
        settings.limit_bytes = arguments.heap_mib << 20;
        settings.seed = arguments.seed + number;
        settings.zeal = arguments.zeal;
        settings.fork = if number % 2 == 0 { Fork::Inherit } else { Fork::Exclude };
        let name = format!("{transport} by {delivery:?}");
        match run(&settings) {
            Ok(report) => {
                tally.passed += 1;
                print(&name, &report);
            }
            Err(RunError::Build(error)) if may_be_skipped(&error) => {
                tally.skipped += 1;
                println!("{name:28} skipped: {error}");
            }
            Err(error) => {
                tally.failed += 1;
                println!("{name:28} FAILED with seed {}: {error}", settings.seed);
            }
        }
    }
    tally.finish("stress")
}

/// How the ways that were tried have ended.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Tally {
    fn finish(self, what: &str) -> ExitCode {
        let Self { passed, failed, skipped } = self;
        println!("{what}: {passed} passed, {failed} failed, {skipped} skipped");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// A kernel without the transport, unless the caller insists on it.
fn may_be_skipped(error: &BuildError) -> bool {
    matches!(error, BuildError::NoTransport { .. })
        && std::env::var("UFFD_MOVE_REQUIRED").as_deref() != Ok("1")
}

/// The transports that keep free memory of their own, with the ways to give it back.
const BREATHING: [(Transport, ReleaseBy); 4] = [
    (Transport::Move, ReleaseBy::Dropping),
    (Transport::Move, ReleaseBy::Freeing),
    (Transport::Copy, ReleaseBy::Dropping),
    (Transport::Stw, ReleaseBy::Dropping),
];

fn parse_release_by(text: &str) -> Result<ReleaseBy, &'static str> {
    match text {
        "dropping" => Ok(ReleaseBy::Dropping),
        "freeing" => Ok(ReleaseBy::Freeing),
        _ => Err("it is one of dropping, freeing"),
    }
}

fn breathe_all(arguments: &Arguments, time: Duration) -> ExitCode {
    let ways: Vec<_> = BREATHING
        .into_iter()
        .filter(|way| arguments.transport.is_none_or(|only| only == way.0))
        .filter(|way| arguments.release_by.is_none_or(|only| only == way.1))
        .collect();
    if ways.is_empty() {
        let all = BREATHING.map(|(transport, way)| format!("{transport} {way:?}").to_lowercase());
        eprintln!("gc-stress: heaps breathe in these ways: {}", all.join(", "));
        return ExitCode::FAILURE;
    }
    let mut tally = Tally::default();
    for &(transport, release_by) in &ways {
        let mut settings = Breathing::default();
        settings.transport = TransportChoice::Only(transport);
        settings.release_by = release_by;
        settings.time = time / u32::try_from(ways.len()).unwrap_or(1);
        let name = format!("{transport}, {release_by:?}");
        match breathe(&settings) {
            Ok(report) => {
                tally.passed += 1;
                print_breaths(&name, &report);
            }
            Err(BreathError::Build(error)) if may_be_skipped(&error) => {
                tally.skipped += 1;
                println!("{name:18} skipped: {error}");
            }
            Err(error) => {
                tally.failed += 1;
                println!("{name:18} FAILED: {error}");
            }
        }
    }
    tally.finish("breathing")
}

fn print_breaths(name: &str, report: &BreathReport) {
    println!("{name}: {} breaths, MiB resident and KiB of page tables", report.breaths.len());
    let row = |what: &str, full: Footprint, small: Footprint, rest: &str| {
        println!(
            "  {what:>6}  full {:>5} / {:>5}  small {:>5} / {:>5}{rest}",
            full.resident >> 20,
            full.tables >> 10,
            small.resident >> 20,
            small.tables >> 10,
        );
    };
    let shown = report.breaths.iter().enumerate();
    for (number, breath) in shown.filter(|(number, _)| *number < 4 || number % 20 == 0) {
        let rest = format!("  {} faults in {} cycles", breath.full_faults, breath.full_cycles);
        row(&format!("{}", number + 1), breath.full, breath.small, &rest);
    }
    println!(
        "  before the heap {} MiB, after trim {} MiB with {} MiB live, {} KiB of page tables, {} hints left; \
         {} pages given back between cycles by {} calls",
        report.before.resident >> 20,
        report.after.resident >> 20,
        report.live_bytes >> 20,
        report.after.tables >> 10,
        report.hints,
        report.stats.pages_released_between,
        report.stats.madvise_calls,
    );
}

fn print(name: &str, report: &Report) {
    let stats = &report.stats;
    println!(
        "{name:28} passed: {} steps, {} cycles, {} faults, {} busy pages copied, {} pins, {} forks, \
         {} signals; {} objects verified",
        report.steps,
        stats.cycles,
        stats.faults_by_mutators,
        stats.busy_fallbacks,
        report.pins,
        report.forks,
        report.signals,
        report.verified.objects,
    );
}
