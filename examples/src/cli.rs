//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gc_runtime::{FaultDelivery, Islands, Transport};

/// Real programs on a heap that compacts beside them, over five ways to put a page in place.
#[derive(Debug, Parser)]
#[command(name = "gc-demo", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what this kernel can do, level by level, with the reason for each "no"
    Probe,
    /// Run one workload on one transport
    Run(RunArgs),
    /// Run one workload on every transport this kernel has, each in a process of its own
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// How rebuilt pages are put in place; `malloc` is the same program without the heap
    #[arg(long, value_enum, default_value_t = MemoryArg::Auto)]
    pub(crate) transport: MemoryArg,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Write what the heap tells as a trace, for Perfetto or the tracing page of Chrome
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// This process is one run of a comparison: the parent has warned about the input already
    #[arg(long, hide = true)]
    pub(crate) child: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Rounds over all transports, one after the other; the table shows the median run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) repeat: u32,
}

/// What to run: the same for every transport of a comparison.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// index: inverted index over text files; trees: GCBench; lru: cache with churn
    #[arg(long, value_enum, default_value_t = WorkloadArg::Index)]
    pub(crate) workload: WorkloadArg,
    /// Directory with text files for `index` [default: the sources this program was built from]
    #[arg(long, value_name = "DIR")]
    pub(crate) input: Option<PathBuf>,
    /// Read at most this much text, in MiB
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) max_input_mib: u32,
    /// Limit of the heap in MiB [default: about twice the live data]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) heap_mib: Option<u32>,
    /// Query threads of `index` (one writer comes on top), or threads of `trees` and `lru`
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// Collector threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) collector_threads: u32,
    /// Who serves a page fault
    #[arg(long, value_enum, default_value_t = FaultDeliveryArg::Signal)]
    pub(crate) fault_delivery: FaultDeliveryArg,
    /// Whether runs of pages that are live enough slide instead of being copied
    #[arg(long, value_enum, default_value_t = IslandsArg::On)]
    pub(crate) islands: IslandsArg,
    /// Rounds of churn [default: enough for 15 and more cycles]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rounds: Option<u32>,
    /// Size of the live data as a factor of the default
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = scale)]
    pub(crate) scale: f64,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Checks that are too slow for every day: `verify`, `poison`, `every=N`, or `full` for all
    #[arg(long, value_name = "LIST")]
    pub(crate) zeal: Option<String>,
}

/// Where results go.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write one self-contained HTML page
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// No progress bars, no notes: only the table
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkloadArg {
    Index,
    Trees,
    Lru,
}

impl WorkloadArg {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Trees => "trees",
            Self::Lru => "lru",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MemoryArg {
    Auto,
    Move,
    Copy,
    Continue,
    Mprotect,
    Stw,
    Malloc,
}

impl MemoryArg {
    /// The transport that is asked for by name.
    pub(crate) fn transport(self) -> Option<Transport> {
        match self {
            Self::Auto | Self::Malloc => None,
            Self::Move => Some(Transport::Move),
            Self::Copy => Some(Transport::Copy),
            Self::Continue => Some(Transport::Continue),
            Self::Mprotect => Some(Transport::Mprotect),
            Self::Stw => Some(Transport::Stw),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultDeliveryArg {
    /// The faulting thread itself, in a signal handler
    Signal,
    /// A thread that reads events
    HandlerThread,
}

impl FaultDeliveryArg {
    fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::HandlerThread => "handler-thread",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IslandsArg {
    On,
    Off,
}

impl IslandsArg {
    fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl From<IslandsArg> for Islands {
    fn from(arg: IslandsArg) -> Self {
        match arg {
            IslandsArg::On => Self::On,
            IslandsArg::Off => Self::Off,
        }
    }
}

impl From<FaultDeliveryArg> for FaultDelivery {
    fn from(arg: FaultDeliveryArg) -> Self {
        match arg {
            FaultDeliveryArg::Signal => Self::Signal,
            FaultDeliveryArg::HandlerThread => Self::HandlerThread,
        }
    }
}

impl JobArgs {
    /// The same job, as arguments for a child process.
    pub(crate) fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut put = |name: &str, value: OsString| {
            args.push(name.into());
            args.push(value);
        };
        put("--workload", self.workload.name().into());
        put("--max-input-mib", self.max_input_mib.to_string().into());
        put("--threads", self.threads.to_string().into());
        put("--collector-threads", self.collector_threads.to_string().into());
        put("--fault-delivery", self.fault_delivery.name().into());
        put("--islands", self.islands.name().into());
        put("--scale", self.scale.to_string().into());
        put("--seed", self.seed.to_string().into());
        if let Some(input) = &self.input {
            put("--input", input.clone().into_os_string());
        }
        if let Some(mib) = self.heap_mib {
            put("--heap-mib", mib.to_string().into());
        }
        if let Some(rounds) = self.rounds {
            put("--rounds", rounds.to_string().into());
        }
        if let Some(zeal) = &self.zeal {
            put("--zeal", zeal.into());
        }
        args
    }
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (0.001..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("a factor from 0.001 to 1000 is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_child_gets_the_same_job() {
        let line = "gc-demo run --workload lru --input /tmp/x --heap-mib 7 --threads 3 --rounds 9 \
                    --scale 0.25 --seed 42 --zeal verify --fault-delivery handler-thread \
                    --collector-threads 2 --max-input-mib 5 --islands off";
        let Command::Run(first) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("run was asked for")
        };
        let again = ["gc-demo".into(), "run".into()].into_iter().chain(first.job.to_args());
        let Command::Run(second) = Cli::parse_from(again).command else {
            panic!("run was asked for")
        };
        assert_eq!(format!("{:?}", first.job), format!("{:?}", second.job));
    }
}
