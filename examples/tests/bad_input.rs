//! Bad input: status 2, a message that says what to do, and nothing half-written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod demo;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use demo::{demo, finish, small, texts};

const SMALL: &str = "run --transport malloc --scale 0.002 --rounds 2 --input";

#[test]
fn a_directory_that_is_not_there_is_named() {
    demo(small(SMALL, &[Path::new("/no/such/place")]))
        .refused_with(&["no directory /no/such/place", "--input"]);
}

#[test]
fn a_file_is_no_directory() {
    let texts = texts();
    demo(small(SMALL, &[&texts.path().join("text0.txt")])).refused_with(&["is a file", "--input"]);
}

#[test]
fn an_empty_directory_has_no_text() {
    let empty = tempfile::tempdir().unwrap();
    demo(small(SMALL, &[empty.path()])).refused_with(&["is empty", "--input"]);
}

#[test]
fn binary_files_are_no_text() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.bin"), [0u8, 159, 146, 150]).unwrap();
    fs::write(directory.path().join("b.bin"), [0xffu8; 100]).unwrap();
    demo(small(SMALL, &[directory.path()])).refused_with(&["no text", "2 files", "--input"]);
}

#[test]
fn binary_files_beside_text_are_skipped_and_counted() {
    let texts = texts();
    fs::write(texts.path().join("a.bin"), [0u8; 10]).unwrap();
    let ran = demo(small(SMALL, &[texts.path()]));
    assert!(ran.succeeded().stderr.contains("1 binary"), "{}", ran.stderr);
}

/// `gc-demo` as an ordinary user: root can read everything.
fn as_ordinary_user(args: Vec<std::path::PathBuf>) -> demo::Ran {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("gc-demo");
    // By another process: what this one had open for writing, a child of another test would inherit, and
    // while it has that, the kernel starts no such program (ETXTBSY).
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_gc-demo")).arg(&program).status();
    assert!(copied.unwrap().success(), "cp ends well");
    let mut command = Command::new(program);
    command.args(args).current_dir(place.path());
    if is_root() {
        command.uid(65534).gid(65534);
    }
    finish(&mut command)
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
    line.split_whitespace().nth(2) == Some("0")
}

#[test]
fn unreadable_files_are_skipped_and_counted() {
    let texts = texts();
    fs::set_permissions(texts.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let closed = texts.path().join("closed.txt");
    fs::write(&closed, "secret").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = as_ordinary_user(small(SMALL, &[texts.path()]));
    assert!(ran.succeeded().stderr.contains("skipped"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 unreadable"), "{}", ran.stderr);
}

#[test]
fn nothing_but_unreadable_files_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let closed = directory.path().join("closed.txt");
    fs::write(&closed, "secret").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    as_ordinary_user(small(SMALL, &[directory.path()])).refused_with(&[
        "1 unreadable",
        "closed.txt",
        "--input",
    ]);
}

#[test]
fn an_ordinary_user_gets_a_heap() {
    let line = "run --workload trees --transport auto --scale 0.02 --rounds 2";
    let ran = as_ordinary_user(small(line, &[]));
    assert!(ran.succeeded().stderr.contains("transport: "), "{}", ran.stderr);
}

#[test]
fn a_heap_smaller_than_the_live_data_is_refused_with_advice() {
    for workload in ["trees", "lru"] {
        let line = format!("run --workload {workload} --scale 0.5 --rounds 3 --heap-mib 4");
        demo(small(&line, &[])).refused_with(&["4 MiB is too small", "--heap-mib 8", "--scale"]);
    }
    let texts = texts();
    demo(small("run --scale 0.2 --heap-mib 4 --input", &[texts.path()]))
        .refused_with(&["4 MiB is too small", "--heap-mib 8"]);
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    demo(["run", "--workload", "chess"]).refused_with(&["chess", "index", "trees", "lru"]);
    demo(["run", "--transport", "pigeon"]).refused_with(&["pigeon", "mprotect", "malloc"]);
    demo(["run", "--workload", "trees", "--zeal", "bad"]).refused_with(&["no kind of zeal"]);
    demo(["run", "--scale", "0"]).refused_with(&["0.001"]);
    demo(["walk"]).refused_with(&["walk"]);
}

#[test]
fn results_are_refused_before_the_run_when_they_cannot_be_written() {
    let texts = texts();
    for option in ["--json", "--report"] {
        let mut args = small(SMALL, &[texts.path()]);
        args.extend([option.into(), "/no/such/place/results".into()]);
        demo(args).refused_with(&["cannot write /no/such/place/results"]);
        let mut args = small(SMALL, &[texts.path()]);
        args.extend([option.into(), texts.path().to_owned()]);
        demo(args).refused_with(&["cannot write"]);
    }
}

#[test]
fn a_run_that_is_refused_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("results.json");
    let mut args = small("run --workload lru --scale 0.5 --rounds 3 --heap-mib 4 --json", &[&json]);
    args.extend(["--report".into(), directory.path().join("results.html")]);
    demo(args).refused_with(&["too small"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_transport_that_is_missing_is_refused_with_the_reason() {
    let present = demo::present();
    let missing = ["move", "copy", "continue", "mprotect", "stw"]
        .into_iter()
        .find(|name| !present.iter().any(|other| other == name));
    match missing {
        Some(name) => {
            demo(["run", "--workload", "trees", "--transport", name])
                .refused_with(&["no heap", "gc-demo probe"]);
        }
        None => println!("skipped: this kernel has all five transports"),
    }
}

#[test]
fn variables_that_are_not_understood_are_refused_by_name() {
    for (name, value) in [("GC_ZEAL", "loudly"), ("GC_LOG", "everything")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gc-demo"));
        command.args(["run", "--workload", "lru", "--scale", "0.01"]).env(name, value);
        finish(&mut command).refused_with(&[name, value, "correct the variable"]);
    }
}

#[test]
fn a_trace_of_malloc_is_refused() {
    let line = "run --workload lru --scale 0.01 --transport malloc --trace x.json";
    demo(small(line, &[])).refused_with(&["--trace", "malloc"]);
}
