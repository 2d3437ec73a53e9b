//! Control groups of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group with a memory limit, of either version. Removed when its last process has left.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    limit: &'static str,
    /// The group that this process was in before.
    home: PathBuf,
}

impl Group {
    /// The group that this process is in.
    fn own() -> Option<(PathBuf, &'static str)> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |controller: &str| {
            groups.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                (controllers == controller).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let two = || Some(Path::new("/sys/fs/cgroup").join(path("")?));
        let one = || Some(Path::new("/sys/fs/cgroup/memory").join(path("memory")?));
        let with = |folder: Option<PathBuf>, limit: &'static str| {
            folder
                .filter(|folder| folder.join("memory.stat").exists())
                .map(|folder| (folder, limit))
        };
        with(one(), "memory.limit_in_bytes").or_else(|| with(two(), "memory.max"))
    }

    /// A new group below this process's own.
    pub fn new(bytes: usize) -> Result<Self, String> {
        let (own, limit) = Self::own().ok_or("no control group with a memory controller")?;
        let folder = own.join(format!("gc-runtime-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let group = Self { folder, limit, home: own };
        group.set(bytes).map_err(|error| format!("{limit}: {error}"))?;
        Ok(group)
    }

    /// A group below this one, without a limit of its own; of version 2 only.
    pub fn below(&self, name: &str) -> Result<Self, String> {
        if self.is_one() {
            return Err("the memory controller is of version 1".to_owned());
        }
        let (folder, control) =
            (self.folder.join(name), self.folder.join("cgroup.subtree_control"));
        fs::write(&control, "+memory")
            .map_err(|error| format!("{}: {error}", control.display()))?;
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder, limit: self.limit, home: self.home.clone() })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets how much it may use before it is slowed down, in bytes; of version 2 only.
    pub fn set_high(&self, bytes: Option<usize>) -> std::io::Result<()> {
        let text = bytes.map_or("max".to_owned(), |bytes| bytes.to_string());
        fs::write(self.folder.join("memory.high"), text)
    }

    /// Forbids it to swap; of version 2 only.
    pub fn keep_from_swapping(&self) {
        // Where nothing can be swapped there is no such file.
        let _ = fs::write(self.folder.join("memory.swap.max"), "0");
    }

    /// Where the kernel tells how long its tasks have waited for memory; of version 2 only.
    pub fn pressure_file(&self) -> PathBuf {
        self.folder.join("memory.pressure")
    }

    /// Microseconds that some task of its own has waited for memory; `None` where the kernel does
    /// not tell.
    pub fn stalled_us(&self) -> Option<u64> {
        stalled_us(&self.pressure_file())
    }

    /// Sets its limit, in bytes.
    pub fn set(&self, bytes: usize) -> std::io::Result<()> {
        fs::write(self.folder.join(self.limit), bytes.to_string())
    }

    /// Moves this process there.
    pub fn join(&self) -> std::io::Result<()> {
        join(&self.folder)
    }

    /// Bytes in use.
    pub fn usage(&self) -> Option<usize> {
        let name = if self.is_one() { "memory.usage_in_bytes" } else { "memory.current" };
        fs::read_to_string(self.folder.join(name)).ok()?.trim().parse().ok()
    }

    /// How often the limit was reached.
    pub fn times_reached(&self) -> u64 {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let count = if self.is_one() {
            read("memory.failcnt").trim().to_owned()
        } else {
            let events = read("memory.events");
            events.lines().find_map(|line| line.strip_prefix("max ")).unwrap_or("0").to_owned()
        };
        count.parse().unwrap_or(0)
    }

    /// Has the kernel take back what it has cached of files for this group.
    pub fn forget_files(&self) {
        let drop = if self.is_one() { "memory.force_empty" } else { "memory.reclaim" };
        // As much as there is; what cannot be taken back stays.
        let _ = fs::write(self.folder.join(drop), if self.is_one() { "0" } else { "64M" });
    }

    fn is_one(&self) -> bool {
        self.limit == "memory.limit_in_bytes"
    }

    /// Back to where the process came from.
    pub fn leave(&self) -> std::io::Result<()> {
        join(&self.home)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.leave();
        // Groups with processes cannot be removed; an empty one can.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Moves this process to the group with that folder.
pub fn join(folder: &Path) -> std::io::Result<()> {
    fs::write(folder.join("cgroup.procs"), std::process::id().to_string())
}

/// Microseconds that some task has waited for memory, from a file of pressure stall information;
/// `None` where the kernel keeps none.
pub fn stalled_us(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("some ")?.split_once("total=")?.1.parse().ok())
}
