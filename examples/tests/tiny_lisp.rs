//! The tutorial's language runs its sample programs, under zeal, on every transport.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gc_runtime::{Heap, Transport, TransportChoice};

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tiny_lisp/programs")
}

/// The transports of this kernel; the others are named aloud.
fn transports() -> Vec<Transport> {
    let has = |transport: &Transport| {
        let choice = TransportChoice::Only(*transport);
        let built = Heap::builder().limit_bytes(1 << 20).transport(choice).build();
        if let Err(error) = &built {
            eprintln!("skipped: {error}");
            let required = std::env::var_os("UFFD_MOVE_REQUIRED").is_some_and(|value| value == "1");
            assert!(!required, "UFFD_MOVE_REQUIRED=1, and {error}");
        }
        built.is_ok()
    };
    Transport::ALL.into_iter().filter(has).collect()
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    let lisp = Command::new(env!("CARGO_BIN_EXE_tiny-lisp")).args(arguments).arg(program).output();
    lisp.expect("the program starts")
}

#[test]
fn sample_programs_print_what_they_should_on_every_transport() {
    let mut ran = 0;
    for entry in std::fs::read_dir(programs()).expect("the sample programs") {
        let program = entry.expect("an entry").path();
        if program.extension().is_none_or(|extension| extension != "lisp") {
            continue;
        }
        let expected = std::fs::read_to_string(program.with_extension("out")).expect("its output");
        for transport in transports() {
            let arguments = ["--transport", transport.name(), "--zeal", "full"];
            let output = run(&program, &arguments);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{} on {transport}: {stderr}", program.display());
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert_eq!(stdout, expected, "{} on {transport}", program.display());
            ran += 1;
        }
    }
    assert!(ran >= 4, "only {ran} runs");
}

#[test]
fn a_program_that_wants_too_much_ends_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, reason) in [
        ("(define grow (lambda (l) (grow (cons 1 l)))) (grow '())", "no room"),
        ("(define deep (lambda (n) (+ 1 (deep n)))) (deep 1)", "deep"),
        ("(car 5)", "car: wrong arguments"),
        ("(nothing)", "`nothing` has no value"),
        ("(display (", "a list ends with )"),
    ] {
        let program = folder.path().join("program.lisp");
        std::fs::write(&program, text).expect("a file");
        let output = run(&program, &["--limit-mib", "1"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text}");
        assert!(stderr.contains(reason), "{text}: {stderr}");
    }
}
