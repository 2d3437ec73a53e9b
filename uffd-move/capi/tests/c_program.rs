//! A C program that is compiled against the header and linked with the library.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo puts the static library of this package: beside the test's own directory.
fn library() -> PathBuf {
    let deps = std::env::current_exe().expect("the test's own binary");
    let deps = deps.parent().expect("a directory");
    let above = deps.parent().unwrap_or(deps).join("libuffd_move_capi.a");
    if above.exists() { above } else { deps.join("libuffd_move_capi.a") }
}

fn run(command: &mut Command) -> std::process::Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[test]
fn a_c_program_moves_pages_and_sees_every_outcome() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir().expect("a directory");
    let program = scratch.path().join("outcomes");
    let compiled = run(Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-include", "signal.h", "-I"])
        .arg(root.join("include"))
        .arg(root.join("tests/outcomes.c"))
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let done = run(&mut Command::new(&program));
    let said = String::from_utf8_lossy(&done.stdout);
    println!("{said}");
    if done.status.code() == Some(77) {
        eprintln!("{said}");
        let required = std::env::var("UFFD_MOVE_REQUIRED").is_ok_and(|value| value == "1");
        assert!(!required, "UFFD_MOVE_REQUIRED=1, but {said}");
        return;
    }
    assert!(done.status.success(), "{said}");
    assert_eq!(said.matches("holds: ").count(), 17, "not every claim was made");
}

#[test]
fn the_header_and_the_library_have_the_same_numbers() {
    use uffd_move_capi as library;
    let header = include_str!("../include/uffd_move.h");
    let number = |name: &str| -> i64 {
        let line = header
            .lines()
            .find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.strip_prefix(' '))
            .unwrap_or_else(|| panic!("{name} is not in the header"));
        let digits: String = line.trim().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    for (name, value) in [
        ("UFFD_MOVE_OPEN_SIGBUS", i64::from(library::UFFD_MOVE_OPEN_SIGBUS)),
        ("UFFD_MOVE_MISSING", library::UFFD_MOVE_MISSING.into()),
        ("UFFD_MOVE_WRITE_PROTECT", library::UFFD_MOVE_WRITE_PROTECT.into()),
        ("UFFD_MOVE_MINOR", library::UFFD_MOVE_MINOR.into()),
        ("UFFD_MOVE_SKIP_HOLES", library::UFFD_MOVE_SKIP_HOLES.into()),
        ("UFFD_MOVE_WAKE_LATER", library::UFFD_MOVE_WAKE_LATER.into()),
        ("UFFD_MOVE_COMPLETE", library::UFFD_MOVE_COMPLETE.into()),
        ("UFFD_MOVE_AGAIN", library::UFFD_MOVE_AGAIN.into()),
        ("UFFD_MOVE_PRESENT", library::UFFD_MOVE_PRESENT.into()),
        ("UFFD_MOVE_HOLE", library::UFFD_MOVE_HOLE.into()),
        ("UFFD_MOVE_BUSY", library::UFFD_MOVE_BUSY.into()),
    ] {
        assert_eq!(number(name), value, "{name}");
    }
}
