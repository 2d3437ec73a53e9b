//! One to eight mutators write, allocate and check everything they read while cycles run back to
//! back, on every transport and with both fault deliveries.
//!
//! Objects have 16 bytes to 3 MiB, straddle pages, refer to each other in cycles and to themselves;
//! the graphs are each mutator's own and one that all share. Meanwhile the process forks, gets
//! signals and has pages pinned. `PROPTEST_CASES` raises the number of cases.

use std::time::Duration;

use gc_runtime::{BuildError, FaultDelivery, Fork, Transport, TransportChoice, Zeal};
use gc_stress::run::RunError;
use gc_stress::{Settings, run};

/// The most mutators at once.
const MUTATORS: u32 = 8;

fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.map_or(2, |cases| cases.parse().expect("PROPTEST_CASES is a number"))
}

/// One case; false if this kernel lacks the transport.
fn passes(settings: &Settings) -> bool {
    match run(settings) {
        Ok(report) => {
            assert!(report.steps > 0, "nobody did anything: {settings:?}");
            assert!(report.stats.cycles > 0, "no cycle: {settings:?}");
            assert!(report.verified.objects > 0);
            true
        }
        Err(RunError::Build(BuildError::NoTransport { transport, reason })) => {
            println!("skipped: {transport}: {reason}");
            let required = std::env::var("UFFD_MOVE_REQUIRED").as_deref() == Ok("1");
            assert!(!required, "UFFD_MOVE_REQUIRED=1, and {transport} is missing: {reason}");
            false
        }
        Err(error) => panic!("{error}, with {settings:?}"),
    }
}

fn mutators_write_meanwhile(transport: Transport, delivery: FaultDelivery, first_seed: u64) {
    for case in 0..cases() {
        // Every number of mutators has its turn, whatever the number of cases: each way begins
        // elsewhere.
        let number = u32::try_from(first_seed).expect("a small number") + 4 * case + case / 2;
        let mut settings = Settings::default();
        settings.transport = TransportChoice::Only(transport);
        settings.delivery = delivery;
        settings.fork = if case % 2 == 0 { Fork::Inherit } else { Fork::Exclude };
        settings.zeal = Zeal::full();
        settings.limit_bytes = 192 << 20;
        settings.mutators = 1 + number % MUTATORS;
        settings.collectors = 1 + usize::try_from(case % 2).expect("0 or 1");
        settings.time = Duration::from_millis(700);
        settings.seed = 1000 * first_seed + u64::from(case);
        if !passes(&settings) {
            return;
        }
    }
}

#[test]
fn move_by_signal_keeps_every_graph_while_mutators_write() {
    mutators_write_meanwhile(Transport::Move, FaultDelivery::Signal, 0);
}

#[test]
fn move_by_handler_thread_keeps_every_graph_while_mutators_write() {
    mutators_write_meanwhile(Transport::Move, FaultDelivery::HandlerThread, 1);
}

#[test]
fn copy_by_signal_keeps_every_graph_while_mutators_write() {
    mutators_write_meanwhile(Transport::Copy, FaultDelivery::Signal, 2);
}

#[test]
fn copy_by_handler_thread_keeps_every_graph_while_mutators_write() {
    mutators_write_meanwhile(Transport::Copy, FaultDelivery::HandlerThread, 3);
}

#[test]
fn continue_by_signal_keeps_every_graph_while_mutators_write() {
    mutators_write_meanwhile(Transport::Continue, FaultDelivery::Signal, 4);
}

#[test]
fn continue_by_handler_thread_keeps_every_graph_while_mutators_write() {
    mutators_write_meanwhile(Transport::Continue, FaultDelivery::HandlerThread, 5);
}

#[test]
fn mprotect_keeps_every_graph_while_mutators_write() {
    mutators_write_meanwhile(Transport::Mprotect, FaultDelivery::Signal, 6);
}

#[test]
fn stw_keeps_every_graph_while_mutators_write() {
    mutators_write_meanwhile(Transport::Stw, FaultDelivery::Signal, 7);
}
