//! The programs of the workspace that run inside of the guests, and on this machine: static,
//! stripped, with a list of how to run each. Emulation is slow, so the lists scale what can be scaled.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::Call;
use crate::workspace::Workspace;

/// Names the folder to the script.
pub(crate) const VARIABLE: &str = "GUEST_PROGRAMS";

/// Packages whose integration tests run in the guests.
const PACKAGES: [&str; 2] = ["uffd-move", "gc-runtime"];

/// Tests of features that came after 6.1 and that the series does not bring.
const LATER: [(&str, &str); 2] = [
    ("eexist_for_a_marker_of_write_protection", "WP_UNPOPULATED came with 6.4"),
    ("efault_for_a_poisoned_source", "POISON came with 6.6"),
];

/// A test of the wrapper that asks no kernel.
const SCRIPTED: (&str, &str) =
    ("requests_to_the_scripted_kernel_do_what_the_list_says", "asks no kernel");

/// Test programs of the heap that are about what the kernel does. The others are about the heap's
/// own algorithms; in an emulated machine some of them take five minutes.
const OF_THE_KERNEL: [&str; 5] = ["container", "dead_threads", "fallback", "fork_child", "limits"];

/// Tests that ask the kernel something in programs that are about the heap otherwise: old kernels
/// leave page tables behind that newer ones free. Run where there is time: on stock, and here.
const ALONE: [(&str, &str); 1] =
    [("release", "page_tables_go_with_the_memory_whether_the_kernel_frees_them_or_not")];

/// How long one program may take in an emulated machine. Seconds.
const LIMIT: u32 = 900;

/// The text that the demo indexes.
const INPUT: &str = "ARCHITECTURE.md";

/// Runs of programs that are not test harnesses. `{says}` is the transport that detection must
/// choose on the kernel; the stress run has eight ways to deliver pages and faults.
const RUNS: [&str; 3] = [
    "gc-stress 600 {may_skip}8 {required}/tests/gc-stress --seconds 24 --heap-mib 16 --threads 2 --zeal verify",
    "gc-demo 300 - {says}/tests/gc-demo run --quiet --input /tests/text --scale 0.005 --rounds 4",
    "gc-demo 600 - /tests/gc-demo compare --quiet --input /tests/text --scale 0.005 --rounds 4",
];

/// Builds everything and returns the folder.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf, String> {
    let target = target_folder(workspace);
    let folder = target.join("programs");
    let built = compile(workspace, &target)?;
    let io = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {error}")
    };
    // What an earlier build has left must not be tested.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io("the old programs")(error));
        }
        _ => {}
    }
    fs::create_dir_all(folder.join("text")).map_err(io("the folder"))?;
    fs::copy(workspace.root().join(INPUT), folder.join("text").join(INPUT)).map_err(io(INPUT))?;
    for program in &built {
        fs::copy(&program.path, folder.join(&program.name)).map_err(io(&program.name))?;
    }
    for kernel in Kernel::ALL {
        let name = format!("programs-{}.list", kernel.name());
        fs::write(folder.join(&name), list(&built, kernel)?).map_err(io(&name))?;
    }
    Ok(folder)
}

/// One built program.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    name: String,
    path: PathBuf,
    /// The package of a test harness; none for the examples' programs.
    package: Option<&'static str>,
}

/// What the programs run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// Tests of the ioctl skip, for a reason that the table shows.
    Stock,
    /// Everything must be there but for what came after 6.1: a test that skips fails.
    Patched,
    /// So too.
    Debug,
    /// Everything must be there.
    Reference,
    /// This machine, of which nothing is known.
    Host,
}

impl Kernel {
    const ALL: [Self; 5] = [Self::Stock, Self::Patched, Self::Debug, Self::Reference, Self::Host];

    /// As the script calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Patched => "patched",
            Self::Debug => "debug",
            Self::Reference => "reference",
            Self::Host => "host",
        }
    }

    /// Tests that make no sense there, and why.
    fn left_out(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let has_series = matches!(self, Self::Patched | Self::Debug);
        let later = LATER.into_iter().filter(move |_| has_series);
        later.chain((self != Self::Host).then_some(SCRIPTED))
    }

    /// What all tests are told, what stands before a number of tests, and what the demo must say.
    fn settings(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Patched | Self::Debug | Self::Reference => {
                ("UFFD_MOVE_REQUIRED=1 ", "", "SAYS=move ")
            }
            Self::Stock => ("", "~", "SAYS=copy "),
            Self::Host => ("", "~", ""),
        }
    }
}

fn target_folder(workspace: &Workspace) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace.root().join(target).join("guest")
}

fn compile(workspace: &Workspace, target: &Path) -> Result<Vec<Program>, String> {
    let host = host()?;
    // With a target named, the flags are not for build scripts and macros, which cannot be static.
    let mut args = vec!["build", "--profile=test", "--message-format=json", "--target", &host];
    for package in PACKAGES {
        args.extend(["--package", package]);
    }
    args.extend(["--package", "examples", "--bins"]);
    let tests = wanted(workspace)?;
    args.extend(tests.iter().flat_map(|name| ["--test", name]));
    let call = Call::cargo(workspace, &args)
        .add_flags("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_TARGET_DIR", target.as_os_str())
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_STRIP", "symbols");
    let messages = call.output().map_err(|error| format!("cargo: {error}"))?;
    let mut built: Vec<Program> = messages.lines().filter_map(program).collect();
    // Cargo builds in any order; what is quick and basic comes first.
    built.sort_by_key(|program| (program.package != Some(PACKAGES[0]), program.name.clone()));
    if built.iter().any(|program| program.package.is_none()) {
        Ok(built)
    } else {
        Err("cargo has built no programs; see above".to_owned())
    }
}

/// The integration tests to build: all of the wrapper, some of the heap.
fn wanted(workspace: &Workspace) -> Result<Vec<String>, String> {
    let folder = workspace.root().join(PACKAGES[0]).join("tests");
    let files = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = OF_THE_KERNEL.map(str::to_owned).into();
    names.extend(ALONE.map(|(program, _)| program.to_owned()));
    names.extend(files.flatten().filter_map(|file| {
        let name = file.file_name().into_string().ok()?;
        name.strip_suffix(".rs").map(str::to_owned)
    }));
    Ok(names)
}

/// The program that a message of cargo tells of, if we want it.
fn program(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = PathBuf::from(message.get("executable")?.as_str()?);
    let target = message.get("target")?;
    let name = target.get("name")?.as_str()?.to_owned();
    let kind = target.get("kind")?.get(0)?.as_str()?;
    let manifest = PathBuf::from(message.get("manifest_path")?.as_str()?);
    let folder = manifest.parent()?.file_name()?.to_str()?;
    let harness = message.get("profile")?.get("test")?.as_bool()?;
    match PACKAGES.into_iter().find(|package| *package == folder) {
        Some(package) if kind == "test" => Some(Program { name, path, package: Some(package) }),
        None if kind == "bin" && !harness => Some(Program { name, path, package: None }),
        _ => None,
    }
}

fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "rustc does not say what it is for".to_owned())
}

/// The tests of a harness, by name.
fn tests(program: &Program) -> Result<Vec<String>, String> {
    let output = Command::new(&program.path).arg("--list").output();
    let output = output.map_err(|error| format!("{}: {error}", program.name))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn list(built: &[Program], kernel: Kernel) -> Result<String, String> {
    let (required, may_skip, says) = kernel.settings();
    let mut lines =
        vec!["# suite, seconds, number of tests, settings, program, arguments".to_owned()];
    for program in built {
        let (Some(package), name) = (program.package, &program.name) else { continue };
        let wrapper = package == PACKAGES[0];
        if kernel == Kernel::Debug && !wrapper {
            continue;
        }
        let mut count = 0;
        // The patched kernel ends a call early if another thread wants to change mappings. The
        // wrapper's tests claim what one call does, so each has the process to itself.
        let threads = if wrapper { " --test-threads=1" } else { "" };
        let mut line = format!("{required}/tests/{name} --show-output{threads}");
        if let Some((_, test)) = ALONE.iter().find(|(program, _)| program == name) {
            if matches!(kernel, Kernel::Stock | Kernel::Host) {
                lines.push(format!("{package} {LIMIT} {may_skip}1 {line} --exact {test}"));
            }
            continue;
        }
        for test in tests(program)? {
            match kernel.left_out().find(|(name, _)| *name == test) {
                Some((_, why)) => {
                    line += &format!(" --skip {test}");
                    lines.push(format!("# left out: {test}: {why}"));
                }
                None => count += 1,
            }
        }
        lines.push(format!("{package} {LIMIT} {may_skip}{count} {line}"));
    }
    lines.push(match kernel {
        Kernel::Debug => "# left out: gc-runtime: too slow with KASAN; see gc-stress".to_owned(),
        _ => format!(
            "# left out: gc-runtime: all but {}, and on stock one test of {}: not about the kernel, and \
             slow in emulation",
            OF_THE_KERNEL.join(", "),
            ALONE.map(|(program, _)| program).join(", ")
        ),
    });
    for run in RUNS {
        let run = run.replace("{may_skip}", may_skip).replace("{required}", required);
        lines.push(run.replace("{says}", says));
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(package: &str, kind: &str, harness: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","manifest_path":"/w/{package}/Cargo.toml",
                "target":{{"kind":["{kind}"],"name":"x"}},"profile":{{"test":{harness}}},
                "executable":"/t/x-1"}}"#
        )
    }

    #[test]
    fn integration_tests_and_plain_programs_are_wanted() {
        let found = |package, kind, harness| program(&message(package, kind, harness));
        assert_eq!(found("uffd-move", "test", "true").unwrap().package, Some("uffd-move"));
        assert_eq!(found("examples", "bin", "false").unwrap().package, None);
        assert_eq!(found("examples", "bin", "true"), None, "unit tests of a program");
        assert_eq!(found("examples", "test", "true"), None, "needs the programs elsewhere");
        assert_eq!(found("gc-runtime", "lib", "true"), None, "no kernel in them");
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn each_kernel_is_told_what_detection_must_choose() {
        let with = list(&[], Kernel::Patched).unwrap();
        let without = list(&[], Kernel::Stock).unwrap();
        assert!(
            with.contains("SAYS=move /tests/gc-demo run")
                && with.contains(" 8 UFFD_MOVE_REQUIRED=1 /")
        );
        assert!(without.contains("SAYS=copy /tests/gc-demo run") && without.contains(" ~8 "));
    }

    #[test]
    fn the_reference_and_the_host_leave_out_nothing_for_being_late() {
        let names = |kernel: Kernel| kernel.left_out().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(Kernel::Patched), [LATER[0].0, LATER[1].0, SCRIPTED.0]);
        assert_eq!(names(Kernel::Debug), names(Kernel::Patched));
        assert_eq!(names(Kernel::Reference), [SCRIPTED.0]);
        assert!(names(Kernel::Host).is_empty());
        assert!(!list(&[], Kernel::Host).unwrap().contains("SAYS="));
    }
}
