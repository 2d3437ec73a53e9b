//! What memory the process's control group leaves: cgroups(7), version 2 and version 1.

use std::fs;
use std::path::{Path, PathBuf};

/// A directory of the memory controller that the process is in, and those above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    folder: PathBuf,
    top: PathBuf,
    files: Files,
}

/// What the controller calls things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Two,
    One,
}

impl Files {
    /// Files with a limit; the least counts. `memory.high` does not kill but it slows down to a
    /// crawl.
    fn limits(self) -> &'static [&'static str] {
        match self {
            Self::Two => &["memory.max", "memory.high"],
            Self::One => &["memory.limit_in_bytes"],
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Two => "memory.current",
            Self::One => "memory.usage_in_bytes",
        }
    }

    /// Fields of `memory.stat` that count pages of files: the kernel takes those back.
    fn reclaimable(self) -> [&'static str; 2] {
        match self {
            Self::Two => ["inactive_file", "active_file"],
            Self::One => ["total_inactive_file", "total_active_file"],
        }
    }
}

impl Group {
    /// The group that this process is in; `None` outside Linux, without control groups, or where
    /// they cannot be seen.
    pub(crate) fn of_this_process() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::find(&own, &mounts, |folder| folder.join("memory.stat").exists())
    }

    /// Version 1 first: where both are mounted, the memory controller is in one of them only.
    fn find(own: &str, mounts: &str, has_memory: impl Fn(&Path) -> bool) -> Option<Self> {
        [Files::One, Files::Two].into_iter().find_map(|files| {
            let path = own.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                let ours = match files {
                    Files::One => controllers.split(',').any(|name| name == "memory"),
                    Files::Two => controllers.is_empty(),
                };
                ours.then_some(path)
            })?;
            let (root, top) = mounts.lines().find_map(|line| mount_of(line, files))?;
            // In a container the mount may begin further down than the path is reckoned from.
            let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
            let folder = Path::new(top).join(below.trim_start_matches('/'));
            let top = PathBuf::from(top);
            [folder, top.clone()].into_iter().find(|folder| has_memory(folder)).map(|folder| Self {
                folder,
                top,
                files,
            })
        })
    }

    /// The group's folder, if it is of version 2.
    pub(crate) fn folder_of_two(&self) -> Option<&Path> {
        (self.files == Files::Two).then_some(&self.folder)
    }

    /// Bytes that the process may still take before a group's limit is reached; `None` if nothing
    /// limits it.
    pub(crate) fn left_bytes(&self) -> Option<u64> {
        let mut folder = self.folder.as_path();
        let mut least = None;
        loop {
            if let Some(left) = self.left_in(folder) {
                least = Some(least.map_or(left, |least: u64| least.min(left)));
            }
            if folder == self.top {
                return least;
            }
            folder = folder.parent()?;
        }
    }

    fn left_in(&self, folder: &Path) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        // "max" is no number; version 1 says a number that no machine has.
        let limits = self.files.limits().iter().filter_map(|name| number(name));
        let limit = limits.min().filter(|&limit| limit < 1 << 60)?;
        let stat = read("memory.stat").unwrap_or_default();
        let reclaimable: u64 = self
            .files
            .reclaimable()
            .into_iter()
            .filter_map(|field| {
                stat.lines().find_map(|line| {
                    line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse::<u64>().ok()
                })
            })
            .sum();
        let used = number(self.files.usage())?.saturating_sub(reclaimable);
        Some(limit.saturating_sub(used))
    }
}

/// Where in the hierarchy the mount of a line of mountinfo begins, and where it is (proc(5)).
fn mount_of(line: &str, files: Files) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut kind = after.split(' ');
    let (kind, options) = (kind.next()?, kind.next_back()?);
    let ours = match files {
        Files::One => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
        Files::Two => kind == "cgroup2",
    };
    let mut fields = before.split(' ').skip(3);
    ours.then_some((fields.next()?, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "9:name=systemd:/\n4:memory:/a/b\n0::/\n";
    const BOTH_MOUNTS: &str = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                               31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const TWO_MOUNT: &str = "31 25 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";

    fn folder(own: &str, mounts: &str) -> Option<String> {
        Group::find(own, mounts, |_| true).map(|group| group.folder.display().to_string())
    }

    #[test]
    fn the_group_is_where_the_memory_controller_is() {
        assert_eq!(folder(ONE, BOTH_MOUNTS).as_deref(), Some("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(folder("0::/x/y\n", TWO_MOUNT).as_deref(), Some("/sys/fs/cgroup/x/y"));
        assert_eq!(folder("0::/\n", TWO_MOUNT).as_deref(), Some("/sys/fs/cgroup/"));
        assert_eq!(folder("", TWO_MOUNT), None);
        assert_eq!(folder("0::/x\n", ""), None);
    }

    #[test]
    fn a_mount_that_begins_further_down_is_reckoned_from_there() {
        let mounts = "31 25 0:27 /docker/c1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(folder("0::/docker/c1/in\n", mounts).as_deref(), Some("/sys/fs/cgroup/in"));
    }

    #[test]
    fn the_tightest_of_the_groups_above_counts_and_file_pages_do_not() {
        let root = std::env::temp_dir().join(format!("gc-group-{}", std::process::id()));
        let inner = root.join("inner");
        fs::create_dir_all(&inner).unwrap();
        let write = |folder: &Path, name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
        };
        write(&root, "memory.max", "1000\n");
        write(&root, "memory.current", "900\n");
        write(&root, "memory.stat", "anon 1\ninactive_file 200\nactive_file 50\n");
        write(&inner, "memory.max", "max\n");
        write(&inner, "memory.high", "600\n");
        write(&inner, "memory.current", "100\n");
        let group = |folder: &Path| Group {
            folder: folder.to_owned(),
            top: root.clone(),
            files: Files::Two,
        };
        assert_eq!(group(&root).left_bytes(), Some(350));
        assert_eq!(group(&inner).left_bytes(), Some(350));
        write(&root, "memory.max", "max\n");
        assert_eq!(group(&inner).left_bytes(), Some(500));
        assert_eq!(group(&root).left_bytes(), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
