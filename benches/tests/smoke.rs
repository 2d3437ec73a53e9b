//! Every question runs at the smoke scale, and the program answers as it promises.

use std::process::{Command, Output};

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_question_runs_and_is_in_the_report() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("run.json");
    let output = bench(&["--smoke", "--json", path.to_str().expect("a plain path")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = std::fs::read_to_string(&path).expect("the report is there");
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    let samples = report["samples"].as_array().expect("a list");
    for question in benches::questions::ALL {
        assert!(text(&output.stdout).contains(question.asks));
        assert!(samples.iter().any(|series| series["question"] == question.name));
    }
    assert!(samples.iter().all(|series| !series["values"].as_array().expect("a list").is_empty()));
    assert_eq!(report["claims"].as_array().map(Vec::len), Some(0), "none is judged at this scale");
}

#[test]
fn one_question_can_be_asked_alone() {
    let output = bench(&["--smoke", "transports", "--rounds", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("== pauses"));
}

#[test]
fn an_unknown_question_is_not_understood() {
    let output = bench(&["nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("pauses, transports"));
}

#[test]
fn a_report_that_cannot_be_written_is_noticed_before_measuring() {
    let output = bench(&["--smoke", "--json", "/no-such-folder/run.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).is_empty());
}
