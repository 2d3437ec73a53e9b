//! What the peers' programs need: packages of Debian, and building.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Peer;
use crate::error::BenchError;
use crate::questions::Scale;

/// Where the programs' text is.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs");

/// A tool that some peers need, the package that has it, and how to see that it is there.
struct Need {
    what: &'static str,
    package: &'static str,
    is_there: fn() -> bool,
}

const NEEDS: [Need; 3] = [
    Need {
        what: "Boehm's collector",
        package: "libgc-dev",
        is_there: || Path::new("/usr/include/gc.h").exists(),
    },
    Need {
        what: "a Java compiler and virtual machine",
        package: "default-jdk-headless",
        is_there: || answers("javac", "-version") && answers("java", "-version"),
    },
    Need { what: "a Go compiler", package: "golang-go", is_there: || answers("go", "version") },
];

/// The programs, built.
#[derive(Debug)]
pub struct Tools {
    folder: PathBuf,
    peers: Vec<Peer>,
    missing: Vec<String>,
}

impl Tools {
    /// Installs what is missing, where it can, and builds what can be built.
    ///
    /// Says on standard error what it installs. What cannot be had leaves its peers out. At the
    /// smoke scale nothing is installed, and only Rust and C are built.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::System`] | the folder for the programs cannot be made | |
    pub fn prepare(scale: Scale) -> Result<Self, BenchError> {
        let folder = std::env::current_exe()?.with_file_name("peers");
        std::fs::create_dir_all(&folder)?;
        if scale == Scale::Full {
            install();
        }
        let mut tools = Self { folder, peers: Vec::new(), missing: Vec::new() };
        tools.build(scale);
        Ok(tools)
    }

    /// Where the programs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Those of `wanted` that can be run.
    #[must_use]
    pub fn available(&self, wanted: &[Peer]) -> Vec<Peer> {
        wanted.iter().copied().filter(|peer| self.peers.contains(peer)).collect()
    }

    /// A line for each that cannot.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    fn build(&mut self, scale: Scale) {
        let out = |name: &str| self.folder.join(name).into_os_string();
        let source = |name: &str| Path::new(PROGRAMS).join(name).into_os_string();
        let cc = |defines: &[&str], name: &str, libraries: &[&str]| {
            let mut command = Command::new("cc");
            command.args(["-O2", "-pthread"]).args(defines).arg(source("trees.c"));
            command.arg("-o").arg(out(name)).args(libraries);
            command
        };
        let mut javac = Command::new("javac");
        javac.arg("-d").arg(&self.folder).arg(source("Trees.java"));
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(out("trees-go")).arg(source("trees.go"));
        go.env("GOCACHE", out("go-cache")).env("GOFLAGS", "-mod=mod").env("GO111MODULE", "off");
        let builds: [(&[Peer], Command); 4] = [
            (&[Peer::Malloc], cc(&[], "trees-malloc", &[])),
            (&[Peer::Boehm], cc(&["-DBOEHM"], "trees-boehm", &["-lgc"])),
            (&[Peer::Serial, Peer::G1, Peer::Zgc, Peer::Shenandoah], javac),
            (&[Peer::Go], go),
        ];
        let mut peers = vec![Peer::Ours, Peer::Arena, Peer::Rc];
        for (of, mut command) in builds {
            if scale == Scale::Smoke && of != [Peer::Malloc] {
                self.missing.extend(of.iter().map(|p| format!("{}: not at this scale", p.name())));
                continue;
            }
            match command.stdin(Stdio::null()).output() {
                Ok(output) if output.status.success() => peers.extend(of),
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stderr);
                    let why = text.lines().next().unwrap_or("the build failed").to_owned();
                    self.missing
                        .extend(of.iter().map(|p| format!("{}: not here: {why}", p.name())));
                }
                Err(error) => {
                    self.missing
                        .extend(of.iter().map(|p| format!("{}: not here: {error}", p.name())));
                }
            }
        }
        self.peers = peers;
    }
}

/// Installs the packages of what is missing: with apt-get, as root.
fn install() {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return;
    }
    for need in &missing {
        eprintln!("peers: missing: {} (Debian: {})", need.what, need.package);
    }
    if !nix::unistd::geteuid().is_root() || !answers("apt-get", "--version") {
        eprintln!("peers: not root, or no apt-get here: going on without");
        return;
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    eprintln!("peers: installing the Debian packages {}", packages.join(" "));
    let status = Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(packages)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("peers: apt-get install failed: going on without");
    }
}

fn answers(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
