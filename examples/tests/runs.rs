//! Whole runs: the JSON that others rely on, and the same answers everywhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod demo;

use std::fs;
use std::path::Path;

use demo::{demo, small, texts};
use serde_json::Value;

/// Runs with `--json` and gives back what was written.
fn results(line: &str, input: Option<&Path>) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("results.json");
    let mut args = small(line, &[Path::new("--quiet"), Path::new("--json"), &path]);
    if let Some(input) = input {
        args.extend(["--input".into(), input.to_owned()]);
    }
    demo(args).succeeded();
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

const INDEX: &str = "--workload index --scale 0.004 --rounds 20";

#[test]
fn malloc_answers_do_not_depend_on_threads_but_on_the_seed() {
    let texts = texts();
    let checksum = |rest: &str| {
        let line = format!("run --transport malloc {INDEX} {rest}");
        results(&line, Some(texts.path()))["malloc"]["checksum"].as_str().unwrap().to_owned()
    };
    let first = checksum("--threads 2");
    assert_eq!(first.len(), 16);
    assert_eq!(first, checksum("--threads 2"));
    assert_eq!(first, checksum("--threads 1"));
    assert_eq!(first, checksum("--threads 4"));
    assert_ne!(first, checksum("--seed 2"));
}

#[test]
fn the_json_of_a_run_has_the_promised_shape() {
    let texts = texts();
    let json = results(&format!("run --transport auto {INDEX}"), Some(texts.path()));
    assert!(json["kernel"].is_string());
    let row = &json["transports"][0];
    check_shape(row);
    assert!(json["malloc"].is_null());
}

fn check_shape(row: &Value) {
    let numbers = [
        "/cycles",
        "/compaction_ns_per_live_mib",
        "/bytes_copied_per_live_byte",
        "/ioctls_per_mib",
        "/pages_allocated_per_cycle",
        "/fault_us/p50",
        "/fault_us/p99",
        "/fault_us/p999",
        "/pause_us/p50",
        "/pause_us/p99",
        "/pause_us/max",
        "/safepoint_us/p50",
        "/safepoint_us/p99",
        "/safepoint_us/max",
        "/gap_ms/p9999",
        "/gap_ms/max",
        "/peak_rss_over_heap",
        "/total_s",
    ];
    for number in numbers {
        assert!(row.pointer(number).is_some_and(Value::is_number), "{number} in {row}");
    }
    assert!(row["name"].is_string() && row["checksum"].is_string());
    assert!(row.get("ratio_to_copy").is_some());
    assert_eq!(row["verified"], Value::Bool(true));
}

/// Every transport of the kernel, small: equal checksums, verified heaps, six rows.
fn compare(options: &str, input: Option<&Path>) {
    let json = results(&format!("compare {options}"), input);
    let malloc = &json["malloc"]["checksum"];
    assert!(malloc.is_string());
    let rows = json["transports"].as_array().unwrap();
    assert_eq!(rows.len() + json["missing"].as_array().unwrap().len(), 5);
    assert!(!rows.is_empty(), "stw needs nothing of the kernel");
    for row in rows {
        check_shape(row);
        assert_eq!(&row["checksum"], malloc, "{}", row["name"]);
        if row["name"] == "copy" {
            assert_eq!(row["ratio_to_copy"], 1.0);
        }
    }
}

#[test]
fn all_transports_give_the_answers_of_malloc_on_index() {
    compare(INDEX, Some(texts().path()));
}

#[test]
fn all_transports_give_the_answers_of_malloc_on_trees() {
    compare("--workload trees --scale 0.02 --rounds 3", None);
}

#[test]
fn all_transports_give_the_answers_of_malloc_on_lru() {
    compare("--workload lru --scale 0.05 --rounds 3 --zeal verify", None);
}

#[test]
fn repeated_comparisons_show_one_row_for_each_transport() {
    let texts = texts();
    let line = format!("compare --repeat 2 {INDEX} --rounds 2").replace("--rounds 20 ", "");
    let json = results(&line, Some(texts.path()));
    let rows = json["transports"].as_array().unwrap();
    let mut names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len());
}

#[test]
fn the_table_has_a_row_for_each_memory() {
    let texts = texts();
    let ran = demo(small(&format!("compare {INDEX} --input"), &[texts.path()]));
    for name in ["move", "copy", "continue", "mprotect", "stw", "malloc"] {
        let rows = ran.succeeded().stdout.lines().filter(|line| line.starts_with(name)).count();
        assert!(rows >= 3, "{name} in {}", ran.stdout);
    }
    let figures = ran.stdout.lines().filter(|line| !line.contains(": "));
    assert!(figures.map(str::len).all(|columns| columns <= 120), "{}", ran.stdout);
}

#[test]
fn the_report_is_one_page_that_loads_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.html");
    let line = "run --workload lru --scale 0.05 --rounds 3 --report";
    demo(small(line, &[&path])).succeeded();
    let page = fs::read_to_string(path).unwrap();
    assert!(page.contains("<svg") && page.trim_end().ends_with("</html>"));
    for loading in ["src=", "href=", "@import", "<script"] {
        assert!(!page.contains(loading), "{loading}");
    }
}

#[test]
fn the_default_input_is_found() {
    let ran = demo(small("run --transport malloc --scale 0.002 --rounds 2 --max-input-mib 1", &[]));
    assert!(ran.succeeded().stderr.contains("input: "), "{}", ran.stderr);
}

#[test]
fn a_trace_has_a_row_for_each_phase() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.json");
    let line = "run --workload lru --scale 0.05 --quiet --trace";
    demo(small(line, &[&path])).succeeded();
    let text = fs::read_to_string(&path).unwrap();
    let trace: Value = serde_json::from_str(&text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("a list");
    for phase in gc_runtime::Phase::ALL {
        assert!(events.iter().any(|event| event["name"] == phase.name()), "no {phase}");
    }
}
