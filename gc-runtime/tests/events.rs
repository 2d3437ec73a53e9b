//! What happens in a heap is told: to listeners, in the log, as spans, as a trace, in /proc.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gc_runtime::{
    BuildError, CycleStats, Environment, Event, Heap, Mutator, Phase, Record, TraceEvents,
    Transport,
};
use support::{all_ways, build, check_counted_list, counted_list, is_child, on_every_transport};

const MIB: usize = 1 << 20;

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<Event>>>);

impl Diary {
    fn listening_to(heap: &Heap) -> Self {
        let diary = Self::default();
        let sink = Arc::clone(&diary.0);
        heap.listen(Arc::new(move |event: &Event| sink.lock().unwrap().push(*event)));
        diary
    }

    fn read(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

/// Garbage before a list, so that the next cycle has something to move.
fn something_to_move(mutator: &mut Mutator) {
    let garbage = counted_list(mutator, 1000, 20);
    counted_list(mutator, 3000, 20);
    mutator.set_root(garbage, None);
}

#[test]
fn phases_are_told_in_order_each_with_its_end() {
    on_every_transport(
        || Heap::builder().limit_bytes(16 * MIB),
        |heap| {
            let diary = Diary::listening_to(&heap);
            let mut mutator = heap.attach().unwrap();
            something_to_move(&mut mutator);
            mutator.collect();
            let events = diary.read();
            let mut expected = Vec::new();
            for phase in Phase::ALL {
                expected.extend([("began", phase), ("ended", phase)]);
            }
            let phases: Vec<_> = events
                .iter()
                .filter_map(|event| match event {
                    Event::PhaseBegan { phase, cycle: 1 } => Some(("began", *phase)),
                    Event::PhaseEnded { phase, cycle: 1, .. } => Some(("ended", *phase)),
                    _ => None,
                })
                .collect();
            assert_eq!(phases, expected);
            assert!(matches!(events.first(), Some(Event::CycleBegan { cycle: 1, .. })));
            let Some(Event::CycleEnded { stats }) = events.last() else { panic!("{events:?}") };
            assert_eq!(heap.stats().cycle_log, [*stats]);
            let time = |wanted: Phase| {
                events.iter().find_map(|event| match event {
                    Event::PhaseEnded { phase, took, .. } if *phase == wanted => Some(*took),
                    _ => None,
                })
            };
            assert_eq!(time(Phase::Mark), Some(Duration::from_nanos(stats.mark_ns)));
            assert_eq!(time(Phase::Compact), Some(Duration::from_nanos(stats.compact_ns)));
        },
    );
}

#[test]
fn pauses_lie_inside_their_phases_and_are_told_when_they_are_over() {
    let heap = Heap::builder().limit_bytes(16 * MIB).build().unwrap();
    let diary = Diary::listening_to(&heap);
    let mut mutator = heap.attach().unwrap();
    something_to_move(&mut mutator);
    mutator.collect();
    let stats = heap.stats();
    let mut pauses = 0;
    for event in diary.read() {
        if let Event::Paused { safepoint, took, mutators, .. } = event {
            assert!(safepoint <= took);
            assert_eq!(mutators, 1);
            pauses += 1;
        }
    }
    assert_eq!((pauses, stats.pause_ns.len()), (2, 2));
    let log = &stats.cycle_log[0];
    assert!(log.flip_pause_ns > 0 && log.remark_pause_ns > 0);
}

/// Makes every event happen.
fn everything(heap: &Heap) {
    std::thread::scope(|scope| {
        let mut mutator = heap.attach().unwrap();
        let list = counted_list(&mut mutator, 20_000, 10);
        for _ in 0..300 {
            let garbage = counted_list(&mut mutator, 500, 10);
            let collector = scope.spawn(|| heap.collect());
            while !collector.is_finished() {
                check_counted_list(&mutator, mutator.root(list), 20_000);
                mutator.safepoint();
            }
            mutator.set_root(garbage, None);
            if heap.stats().faults_by_mutators > 0 {
                break;
            }
        }
        heap.set_limit_bytes(8 * MIB).unwrap();
        while mutator.alloc(Record { refs: 0, data_words: 4000 }).is_ok() {}
    });
    // Nothing is alive any more: what has not gone back by itself goes now.
    heap.collect();
    heap.trim();
}

/// The names in the table of the document.
fn documented() -> BTreeSet<String> {
    let text = include_str!("../../docs/events.md");
    let (_, table) = text.split_once("## The table").expect("the document has the table");
    let (table, _) = table.split_once("\n## ").unwrap_or((table, ""));
    table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn every_event_of_the_table_happens_and_no_other() {
    let heap = Heap::builder().limit_bytes(16 * MIB).build().unwrap();
    if heap.transport() == Transport::Stw {
        eprintln!("skipped: there are no faults: {}", heap.transport_reason());
        assert!(std::env::var("UFFD_MOVE_REQUIRED").as_deref() != Ok("1"));
        return;
    }
    let diary = Diary::listening_to(&heap);
    everything(&heap);
    let told: BTreeSet<String> = diary.read().iter().map(|event| event.name().to_owned()).collect();
    assert_eq!(told, documented());
    let fault = diary.read().into_iter().find(|event| event.name() == "FaultServed");
    let Some(Event::FaultServed { thread, took, .. }) = fault else { panic!("{fault:?}") };
    assert!(thread > 0 && took > Duration::ZERO);
}

#[test]
fn a_listener_that_panics_is_told_nothing_any_more_and_the_heap_goes_on() {
    let heap = Heap::builder().limit_bytes(16 * MIB).build().unwrap();
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    heap.listen(Arc::new(move |_: &Event| {
        *count.lock().unwrap() += 1;
        panic!("a listener that panics on purpose");
    }));
    let diary = Diary::listening_to(&heap);
    let mut mutator = heap.attach().unwrap();
    something_to_move(&mut mutator);
    mutator.collect();
    support::verify(&mut mutator);
    assert_eq!(calls.lock().map_or_else(|error| *error.into_inner(), |count| *count), 1);
    assert!(diary.read().iter().any(|event| event.name() == "CycleEnded"));
}

#[test]
fn a_trace_is_json_with_every_phase_and_pause() {
    for (transport, delivery) in all_ways() {
        let builder = Heap::builder().limit_bytes(16 * MIB);
        let Some(heap) = build(builder, transport, delivery) else { continue };
        let trace = Arc::new(TraceEvents::new(Vec::new()));
        heap.listen(trace.clone());
        if transport == Transport::Stw {
            let mut mutator = heap.attach().unwrap();
            something_to_move(&mut mutator);
            mutator.collect();
        } else {
            everything(&heap);
        }
        let text = trace.finish(std::mem::take).unwrap();
        assert!(trace.finish(|_| ()).is_err(), "a trace ends once");
        let json: serde_json::Value = serde_json::from_slice(&text).expect("valid JSON");
        let events = json["traceEvents"].as_array().expect("a list");
        let names: BTreeSet<&str> = events
            .iter()
            .filter(|event| event["ph"] == "X")
            .map(|event| {
                assert!(event["ts"].as_f64().unwrap() >= 0.0);
                assert!(event["dur"].as_f64().unwrap() >= 0.0);
                event["name"].as_str().unwrap()
            })
            .collect();
        for phase in Phase::ALL {
            assert!(names.contains(phase.name()), "{transport}: no {phase} in {names:?}");
        }
        assert!(names.contains("cycle"), "{names:?}");
        let has_faults = names.contains("fault");
        assert_eq!(has_faults, transport != Transport::Stw, "{transport}: {names:?}");
        assert!(events.iter().any(|event| event["ph"] == "C"));
    }
}

#[test]
fn mappings_have_names() {
    let names = ["gc heap", "gc from-space", "gc live bitmap", "gc offset table", "gc roots"];
    on_every_transport(
        || Heap::builder().limit_bytes(16 * MIB),
        |heap| {
            let mut mutator = heap.attach().unwrap();
            something_to_move(&mut mutator);
            mutator.collect();
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            if !maps.contains("[anon:") {
                eprintln!("skipped: this kernel names no anonymous memory");
                return;
            }
            for name in names {
                let none = name == "gc from-space" && heap.transport() == Transport::Stw;
                assert!(none || maps.contains(name), "no {name} in\n{maps}");
            }
        },
    );
}

/// Runs one test of this binary with a variable set; what it printed to standard error.
fn with_environment(test: &str, name: &str, value: &str) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("GC_RUNTIME_TEST_CHILD", "1")
        .env(name, value)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(child.status.success(), "{test} with {name}={value}: {}\n{stderr}", child.status);
    stderr
}

#[test]
fn child_with_two_cycles() {
    if !is_child() {
        return;
    }
    let heap = Heap::builder().limit_bytes(16 * MIB).build().unwrap();
    let mut mutator = heap.attach().unwrap();
    something_to_move(&mut mutator);
    mutator.collect();
    mutator.collect();
}

#[test]
fn gc_log_prints_one_line_for_each_cycle() {
    let lines = |value: &str| {
        let text = with_environment("child_with_two_cycles", "GC_LOG", value);
        let lines = text.lines().filter(|line| line.starts_with("gc: heap 1: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let cycles = lines("cycles");
    assert_eq!(cycles.len(), 2, "{cycles:?}");
    for (line, number) in cycles.iter().zip(1..) {
        assert!(line.contains(&format!("cycle {number} (requested, ")), "{line}");
        assert!(line.contains(" KiB") && line.contains(" us"), "{line}");
    }
    assert_eq!(lines("").len(), 0);
    assert!(lines("phases,pauses").len() > 2 * 5);
}

#[test]
fn gc_log_writes_to_a_file() {
    let path = std::env::temp_dir().join(format!("gc-log-{}", std::process::id()));
    let value = format!("cycles,file={}", path.display());
    let stderr = with_environment("child_with_two_cycles", "GC_LOG", &value);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(!stderr.contains("gc: heap"), "{stderr}");
}

#[test]
fn child_that_is_refused() {
    if !is_child() {
        return;
    }
    let error = Heap::builder().limit_bytes(16 * MIB).build().expect_err("bad input");
    assert!(matches!(error, BuildError::Environment { .. }), "{error}");
    eprintln!("refused: {error}");
    let builder = Heap::builder().limit_bytes(16 * MIB).environment(Environment::Ignore);
    builder.build().expect("the environment does not count");
}

#[test]
fn bad_variables_are_refused_by_name_with_what_there_is() {
    for (name, value, hint) in [
        ("GC_ZEAL", "loud", "verify"),
        ("GC_ZEAL", "every=many", "every=N"),
        ("GC_LOG", "cycle", "cycles"),
        ("GC_LOG", "file=/nowhere/at/all", "cannot be opened"),
    ] {
        let text = with_environment("child_that_is_refused", name, value);
        let line = text.lines().find(|line| line.starts_with("refused: "));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(name) && line.contains(value) && line.contains(hint), "{line}");
    }
}

#[test]
fn child_that_allocates() {
    if !is_child() {
        return;
    }
    let heap = Heap::builder().limit_bytes(64 * MIB).build().unwrap();
    let reasons = Diary::listening_to(&heap);
    let mut mutator = heap.attach().unwrap();
    for _ in 0..40 {
        let garbage = counted_list(&mut mutator, 10_000, 10);
        mutator.set_root(garbage, None);
    }
    let mut checks = 0;
    let mut zeal = 0;
    // The check of a cycle that a refill has started ends after its cycle.
    drop(mutator);
    heap.collect();
    for event in reasons.read() {
        match event {
            Event::Paused { kind, .. } if kind.name() == "check" => checks += 1,
            Event::CycleBegan { reason, .. } if reason.name() == "zeal" => zeal += 1,
            _ => {}
        }
    }
    eprintln!("checks {checks} zeal {zeal}");
}

#[test]
fn gc_zeal_verifies_and_collects_without_need() {
    let of = |value: &str| {
        let text = with_environment("child_that_allocates", "GC_ZEAL", value);
        let line = text.lines().find(|line| line.starts_with("checks ")).expect("its result");
        let words: Vec<&str> = line.split(' ').collect();
        (words[1].parse::<u32>().unwrap(), words[3].parse::<u32>().unwrap())
    };
    assert_eq!(of(""), (0, 0));
    let (checks, zeal) = of("verify,every=3,poison");
    assert!(checks > 0 && zeal > 0, "{checks} checks, {zeal} cycles");
}

/// What a `tracing` subscriber wrote.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn child_with_a_subscriber() {
    if !is_child() {
        return;
    }
    let buffer = Buffer::default();
    let writer = buffer.clone();
    tracing_subscriber::fmt()
        .with_env_filter("gc=debug")
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let heap = Heap::builder().limit_bytes(16 * MIB).build().unwrap();
    let mut mutator = heap.attach().unwrap();
    something_to_move(&mut mutator);
    mutator.collect();
    drop(mutator);
    drop(heap);
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    eprintln!("{text}");
    for phase in Phase::ALL {
        let span = format!("cycle{{cycle=1 reason=requested}}:{phase}: gc: close");
        assert!(text.contains(&span), "no span of {phase}");
    }
    assert!(text.contains("cycle{cycle=1 reason=requested}: gc: close"));
}

#[test]
fn cycles_and_phases_are_spans() {
    with_environment("child_with_a_subscriber", "GC_LOG", "");
}

#[test]
fn statistics_are_the_sums_of_the_cycles_that_were_told() {
    on_every_transport(
        || Heap::builder().limit_bytes(16 * MIB),
        |heap| {
            let diary = Diary::listening_to(&heap);
            let mut mutator = heap.attach().unwrap();
            for _ in 0..3 {
                something_to_move(&mut mutator);
                mutator.collect();
            }
            let cycles: Vec<CycleStats> = diary
                .read()
                .iter()
                .filter_map(|event| match event {
                    Event::CycleEnded { stats } => Some(*stats),
                    _ => None,
                })
                .collect();
            let stats = heap.stats();
            assert_eq!(stats.cycles, cycles.len() as u64);
            assert_eq!(
                stats.pages_moved,
                cycles.iter().map(|cycle| cycle.pages_moved).sum::<u64>()
            );
            assert_eq!(
                stats.bytes_copied,
                cycles.iter().map(|cycle| cycle.bytes_copied).sum::<u64>()
            );
            assert_eq!(stats.cycle_log, cycles);
            assert!(stats.mark_bytes_per_s > 0 && stats.compact_bytes_per_s > 0);
        },
    );
}
