//! Control groups of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group with a memory limit, of either version. Removed when its last process has left.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    limit: &'static str,
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
        let group = Self { folder, limit };
        group.set(bytes).map_err(|error| format!("{limit}: {error}"))?;
        Ok(group)
    }

    /// Sets its limit, in bytes.
    pub fn set(&self, bytes: usize) -> std::io::Result<()> {
        fs::write(self.folder.join(self.limit), bytes.to_string())
    }

    /// Moves this process there.
    pub fn join(&self) -> std::io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), std::process::id().to_string())
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
        let parent = self.folder.parent().expect("made below another");
        fs::write(parent.join("cgroup.procs"), std::process::id().to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.leave();
        // Groups with processes cannot be removed; an empty one can.
        let _ = fs::remove_dir(&self.folder);
    }
}
