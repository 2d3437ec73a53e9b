//! `gc-stress`: puts heaps under stress on every transport the kernel has.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gc_runtime::{BuildError, FaultDelivery, Fork, Transport, TransportChoice, Zeal};
use gc_stress::run::RunError;
use gc_stress::{Report, Settings, run};

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
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
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
                passed += 1;
                print(&name, &report);
            }
            Err(RunError::Build(error @ BuildError::NoTransport { .. }))
                if std::env::var("UFFD_MOVE_REQUIRED").as_deref() != Ok("1") =>
            {
                skipped += 1;
                println!("{name:28} skipped: {error}");
            }
            Err(error) => {
                failed += 1;
                println!("{name:28} FAILED with seed {}: {error}", settings.seed);
            }
        }
    }
    println!("stress: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
