//! How many large folios the kernel has split.

use std::fs;
use std::path::Path;

use crate::machine::number_after;
use crate::raw::HUGE_BYTES;

/// Where the kernel keeps its settings and counters of large folios, a folder for each size.
const SIZES: &str = "/sys/kernel/mm/transparent_hugepage";

/// Large folios that were split since the system was started, by whomever: the kernel does not
/// count them by process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Splits(u64);

impl Splits {
    /// Until now, of all sizes; nothing where the kernel does not count them. Sizes below a huge
    /// page are counted from Linux 6.10 on.
    #[must_use]
    pub fn now() -> Option<Self> {
        let events = fs::read_to_string("/proc/vmstat").ok()?;
        let huge = number_after(&events, "thp_split_page ")?;
        Some(Self(huge + smaller()))
    }

    /// How many came after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> u64 {
        self.0.saturating_sub(before.0)
    }
}

/// Those of the sizes below a huge page.
fn smaller() -> u64 {
    let huge = format!("hugepages-{}kB", HUGE_BYTES >> 10);
    let folders = fs::read_dir(SIZES).into_iter().flatten().flatten();
    let count = |folder: &Path| fs::read_to_string(folder.join("stats/split")).ok();
    folders
        .filter(|folder| folder.file_name() != huge.as_str())
        .filter_map(|folder| count(&folder.path())?.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_counted_from_a_beginning() {
        assert_eq!(Splits(7).since(Splits(4)), 3);
        assert_eq!(Splits(4).since(Splits(7)), 0);
        if let (Some(before), Some(after)) = (Splits::now(), Splits::now()) {
            assert!(before.0 <= after.0);
        }
    }
}
