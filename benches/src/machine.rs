//! What the numbers were measured on.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, as far as it matters to page moving.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub model: String,
    /// Processors that this process may run on.
    pub cores: usize,
    /// Memory of the machine, in MiB.
    pub memory_mib: u64,
    /// Whether the processor says that it is a virtual one. Page faults and page-table work are
    /// dearer there.
    pub hypervisor: bool,
    /// The setting of transparent huge pages: `always`, `madvise` or `never`.
    pub transparent_huge_pages: String,
}

impl Machine {
    /// Describes this machine. What cannot be read is called `unknown`.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let thp = read("/sys/kernel/mm/transparent_hugepage/enabled");
        Self {
            model: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: meminfo_mib("MemTotal"),
            hypervisor: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            transparent_huge_pages: chosen(&thp).unwrap_or("unknown").to_owned(),
        }
    }

    /// One line for the top of the output.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{}, {} cores{}, {} MiB, transparent huge pages: {}",
            self.model,
            self.cores,
            if self.hypervisor { " (virtual)" } else { "" },
            self.memory_mib,
            self.transparent_huge_pages
        )
    }
}

/// Release and version of the running kernel.
#[must_use]
pub fn kernel() -> String {
    let release = read("/proc/sys/kernel/osrelease");
    let version = read("/proc/sys/kernel/version");
    format!("{} {}", release.trim(), version.trim()).trim().to_owned()
}

/// The commit that was measured, with `-dirty` where files differ from it.
#[must_use]
pub fn commit() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain", "--untracked-files=no"])) {
        (Some(head), Some(changes)) if changes.is_empty() => head,
        (Some(head), _) => format!("{head}-dirty"),
        _ => "unknown".to_owned(),
    }
}

/// Memory that could be used without swapping, in MiB.
#[must_use]
pub fn available_mib() -> u64 {
    meminfo_mib("MemAvailable")
}

fn meminfo_mib(name: &str) -> u64 {
    let meminfo = read("/proc/meminfo");
    let kib = field(&meminfo, name).and_then(|value| value.strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}

/// The number behind `name` in a file of /proc, on the first line that starts with it.
pub(crate) fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

/// `always [madvise] never` has chosen `madvise`.
fn chosen(setting: &str) -> Option<&str> {
    let (_, rest) = setting.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_by_field() {
        let text = "processor\t: 0\nmodel name\t: Some CPU: fast\nmodel name\t: other\n";
        assert_eq!(field(text, "model name"), Some("Some CPU: fast"));
        assert_eq!(field(text, "flags"), None);
        assert_eq!(number_after("VmSwap:\t  12 kB\nVmRSS: 34 kB\n", "VmRSS:"), Some(34));
        assert_eq!(number_after("pswpin 3\n", "pswpout "), None);
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn this_machine_has_memory_and_a_kernel() {
        assert!(Machine::here().memory_mib > 0);
        assert!(available_mib() > 0);
        assert!(!kernel().is_empty());
    }
}
