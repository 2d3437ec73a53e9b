//! Page tables: how much memory they take, and who frees the empty ones.

use std::fs;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::give_back::Giving;
use super::map::Reservation;

/// Tables that the probe fills and empties: enough to be told from what other threads do meanwhile.
const PROBE_TABLES: usize = 64;

/// What one table of the lowest level maps on x86-64 and arm64 with pages of 4 KiB.
const TABLE_BYTES: usize = 2 << 20;

/// Memory that the process's page tables take, in bytes.
pub(crate) fn table_bytes() -> io::Result<u64> {
    status_bytes("VmPTE:")
}

/// Whether the process has locked some of its memory. What is mapped anew may be locked where the
/// rest is not, or the reverse, and would then be a mapping of its own.
pub(crate) fn is_memory_locked() -> bool {
    status_bytes("VmLck:").is_ok_and(|bytes| bytes > 0)
}

/// A size of `/proc/self/status`, in bytes (proc(5)).
fn status_bytes(name: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| {
        line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kib.map(|kib| kib << 10)
        .ok_or_else(|| io::Error::other(format!("no {name} in /proc/self/status")))
}

/// How memory is given back at once so that its page tables go too: asked of the kernel once, by
/// doing it (`CONFIG_PT_RECLAIM`, Linux 6.14).
pub(crate) fn giving_with_tables() -> Giving {
    static ANSWER: OnceLock<Giving> = OnceLock::new();
    *ANSWER.get_or_init(|| match probe() {
        Ok((full, emptied)) => {
            let giving = if emptied < full / 2 { Giving::Drop } else { Giving::Remap };
            tracing::info!(
                full,
                emptied,
                ?giving,
                "bytes of page tables before and after their memory was dropped"
            );
            giving
        }
        Err(error) => {
            tracing::info!(%error, "page tables cannot be looked at: memory is mapped anew");
            Giving::Remap
        }
    })
}

/// Bytes of page tables that a range takes when it is in use, and after its memory is dropped.
fn probe() -> io::Result<(u64, u64)> {
    let range = Reservation::new(PROBE_TABLES * TABLE_BYTES, TABLE_BYTES, c"gc probe")?;
    range.back_with_memory()?;
    range.refuse_huge_pages();
    let before = table_bytes()?;
    for word in range.words().iter().step_by(TABLE_BYTES / size_of::<u64>()) {
        word.store(1, Ordering::Relaxed);
    }
    let full = table_bytes()?.saturating_sub(before);
    let least = (PROBE_TABLES / 2 * uffd_move::page_size()) as u64;
    if full < least {
        return Err(io::Error::other(format!("{PROBE_TABLES} tables took {full} bytes")));
    }
    let whole = 0..range.len();
    range.give_back(std::slice::from_ref(&whole), Giving::Drop)?;
    Ok((full, table_bytes()?.saturating_sub(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_lose_the_tables_and_the_mapping_stays_one() {
        for giving in [giving_with_tables(), Giving::Remap] {
            let range = Reservation::new(4 * PROBE_TABLES * TABLE_BYTES, 1 << 30, c"gc tables");
            let range = range.unwrap();
            range.back_with_memory().unwrap();
            range.refuse_huge_pages();
            range.exclude_from_fork().unwrap();
            range.name(c"gc tables");
            let touch = || {
                for word in range.words().iter().step_by(TABLE_BYTES / 8) {
                    word.store(1, Ordering::Relaxed);
                }
            };
            touch();
            let full = table_bytes().unwrap();
            let quarter = range.len() / 4;
            range.give_back(&[quarter..2 * quarter, 3 * quarter..4 * quarter], giving).unwrap();
            let left = table_bytes().unwrap();
            // Half of what it should be: other tests of this process make and lose page tables too.
            let gone = (PROBE_TABLES * 4096) as u64;
            assert!(left + gone <= full, "{giving:?}: {full} bytes, then {left}");
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            let whole = format!("{:x}-{:x} ", range.base(), range.base() + range.len());
            assert!(maps.contains(&whole), "{giving:?}: {whole} is not one mapping\n{maps}");
            touch();
        }
    }
}
