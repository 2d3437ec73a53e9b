//! Other collectors, as programs to start: the same trees on each of them.

pub mod compare;
pub mod mmu;
pub mod outcome;
pub mod tools;

use std::process::Command;

use outcome::Outcome;
use tools::Tools;

use crate::error::BenchError;

/// The windows that utilisation is looked at in.
pub const WINDOWS_MS: [u64; 4] = [1, 5, 20, 100];

/// A collector, or memory without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// This project's heap.
    Ours,
    /// Boehm's, Demers' and Weiser's.
    Boehm,
    /// Java's Serial.
    Serial,
    /// Java's G1.
    G1,
    /// Java's ZGC.
    Zgc,
    /// Java's Shenandoah.
    Shenandoah,
    /// Go's.
    Go,
    /// The crate gc-arena.
    Arena,
    /// The C library.
    Malloc,
    /// Rust's `Rc`.
    Rc,
}

impl Peer {
    /// All of them, ours first.
    pub const ALL: [Self; 10] = [
        Self::Ours,
        Self::Boehm,
        Self::Serial,
        Self::G1,
        Self::Zgc,
        Self::Shenandoah,
        Self::Go,
        Self::Arena,
        Self::Malloc,
        Self::Rc,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Boehm => "boehm",
            Self::Serial => "java-serial",
            Self::G1 => "java-g1",
            Self::Zgc => "java-z",
            Self::Shenandoah => "java-shenandoah",
            Self::Go => "go",
            Self::Arena => "gc-arena",
            Self::Malloc => "malloc",
            Self::Rc => "rc",
        }
    }

    /// Whether it can be told how much memory it may use.
    #[must_use]
    pub const fn has_budget(self) -> bool {
        !matches!(self, Self::Arena | Self::Malloc | Self::Rc)
    }

    /// Runs `program` on it.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::System`] | the program could not be started | see the reason |
    ///
    /// That it ran out of memory or of time is an [`Outcome`].
    pub fn run(self, tools: &Tools, program: Program, mib: u64) -> Result<Outcome, BenchError> {
        let mut command = self.command(tools, mib)?;
        command.args([program.name, &program.depth.to_string()]);
        match self {
            Self::Ours | Self::Arena | Self::Rc => {
                command.arg(mib.to_string());
            }
            _ => {}
        }
        outcome::run(&mut command)
    }

    fn command(self, tools: &Tools, mib: u64) -> Result<Command, BenchError> {
        let java = |collector: &str| {
            let mut command = Command::new("java");
            command.args([
                &format!("-Xmx{mib}m"),
                &format!("-Xms{mib}m"),
                &format!("-XX:+Use{collector}"),
                "-Xlog:safepoint:stdout",
                "-cp",
            ]);
            command.arg(tools.folder()).arg("Trees");
            command
        };
        let rust = |memory: &str| -> Result<Command, BenchError> {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([crate::trees::FLAG, memory]);
            Ok(command)
        };
        Ok(match self {
            Self::Ours => rust("moving")?,
            Self::Arena => rust("arena")?,
            Self::Rc => rust("rc")?,
            Self::Malloc => Command::new(tools.folder().join("trees-malloc")),
            Self::Boehm => {
                let mut command = Command::new(tools.folder().join("trees-boehm"));
                command.env("GC_MAXIMUM_HEAP_SIZE", (mib << 20).to_string());
                command
            }
            Self::Go => {
                let mut command = Command::new(tools.folder().join("trees-go"));
                command.env("GOGC", "off").env("GOMEMLIMIT", format!("{mib}MiB"));
                command
            }
            Self::Serial => java("SerialGC"),
            Self::G1 => java("G1GC"),
            Self::Zgc => java("ZGC"),
            Self::Shenandoah => java("ShenandoahGC"),
        })
    }
}

/// Less than this some peers do not start with.
const LEAST_BUDGET_MIB: u64 = 16;

/// What a peer is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// `gcbench`, `binary`, `threads` or, in Rust only, `bound`.
    pub name: &'static str,
    /// Depth of the tree that stays alive.
    pub depth: u32,
}

impl Program {
    /// Bytes alive at most, with nodes of 32 bytes: what budgets are multiples of.
    #[must_use]
    pub fn live_bytes(self) -> u64 {
        let tree = |depth: u32| 32 << (depth + 1);
        match self.name {
            "gcbench" => tree(self.depth) + tree(16) + 8 * 500_000,
            "threads" | "bound" => {
                let depth = self.depth - 1;
                2 * (tree(depth) + tree(depth / 4 * 4))
            }
            _ => tree(self.depth) + tree(self.depth / 4 * 4),
        }
    }

    /// The budget in MiB for so many tenths of the live size.
    #[must_use]
    pub fn budget_mib(self, tenths: u64) -> u64 {
        (self.live_bytes() * tenths / 10).div_ceil(1 << 20).max(LEAST_BUDGET_MIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_sizes_are_those_of_the_long_lived_and_the_largest_dropped_tree() {
        let live = |name, depth| Program { name, depth }.live_bytes() >> 20;
        assert_eq!(live("gcbench", 20), 64 * 2 + 4 + 3 - 64);
        assert_eq!(live("binary", 20), 128);
        assert_eq!(live("threads", 20), 2 * (32 + 4));
    }
}
