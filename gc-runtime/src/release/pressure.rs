//! Is memory short? Pressure stall information of the control group or the system, or the group's
//! `memory.events`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::poll::PollFlags;

use crate::container::Group;

/// The system's pressure stall information.
const SYSTEM: &str = "/proc/pressure/memory";

/// Told when tasks have waited for memory for 100 of 2000 ms. Whoever may not do more can ask for
/// windows of whole two seconds only.
const TRIGGER: &str = "some 100000 2000000\0";

/// Something to wait for until memory is short.
#[derive(Debug)]
pub(crate) struct Watch {
    file: File,
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Becomes ready when the trigger fires.
    Stalls,
    /// Becomes ready with every event; how often the group had reached a limit by then.
    Events { limits_reached: u64 },
}

/// What a watch has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Memory is short.
    Short,
    /// Something else happened, or nothing.
    Nothing,
    /// There will be no more news: the group has been removed.
    Gone,
}

impl Watch {
    /// The best there is, from the group outwards; `None`, with the reasons logged, if there is none.
    pub(crate) fn choose(group: Option<&Group>) -> Option<Self> {
        let mut reasons = Vec::new();
        let folder = group.and_then(Group::folder_of_two);
        let ways = [
            folder.map(|folder| Self::stalls(&folder.join("memory.pressure"))),
            folder.map(|folder| Self::events(&folder.join("memory.events"))),
            Some(Self::stalls(Path::new(SYSTEM))),
        ];
        for way in ways.into_iter().flatten() {
            match way {
                Ok(watch) => {
                    tracing::debug!(path = %watch.path.display(), ?reasons, "memory pressure is watched");
                    return Some(watch);
                }
                Err(reason) => reasons.push(reason),
            }
        }
        tracing::info!(?reasons, "memory pressure is not noticed");
        None
    }

    fn stalls(path: &Path) -> Result<Self, String> {
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            file.write_all(TRIGGER.as_bytes())?;
            Ok(file)
        };
        let file = open().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { file, path: path.to_owned(), kind: Kind::Stalls })
    }

    fn events(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(failed)?;
        let limits_reached = limits_reached(&file).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), kind: Kind::Events { limits_reached } })
    }

    /// What it means that poll(2) has answered `events`.
    pub(crate) fn meaning(&mut self, events: PollFlags) -> Meaning {
        let failed = events.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL);
        match &mut self.kind {
            Kind::Stalls if failed => Meaning::Gone,
            Kind::Stalls if events.contains(PollFlags::POLLPRI) => Meaning::Short,
            Kind::Events { limits_reached: before } if events.contains(PollFlags::POLLPRI) => {
                match limits_reached(&self.file) {
                    Err(_) => Meaning::Gone,
                    Ok(now) if std::mem::replace(before, now) == now => Meaning::Nothing,
                    Ok(_) => Meaning::Short,
                }
            }
            Kind::Events { .. } if failed => Meaning::Gone,
            _ => Meaning::Nothing,
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// How often a group has reached `memory.high` or `memory.max`. Read through the file that is
/// polled: that is what makes it wait for the next event.
fn limits_reached(mut file: &File) -> io::Result<u64> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(count_limits(&text))
}

fn count_limits(events: &str) -> u64 {
    let counts = events.lines().filter_map(|line| line.split_once(' '));
    counts
        .filter(|(name, _)| matches!(*name, "high" | "max"))
        .filter_map(|(_, count)| count.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_count_among_the_events() {
        assert_eq!(count_limits("low 5\nhigh 3\nmax 4\noom 1\noom_kill 1\n"), 7);
        assert_eq!(count_limits(""), 0);
    }

    #[test]
    fn events_without_a_limit_reached_are_no_shortage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.events");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("low 0\nhigh 2\nmax 0\n");
        let mut watch = Watch::events(&path).unwrap();
        let mut meaning = || watch.meaning(PollFlags::POLLPRI | PollFlags::POLLERR);
        assert_eq!(meaning(), Meaning::Nothing);
        write("low 9\nhigh 2\nmax 0\n");
        assert_eq!(meaning(), Meaning::Nothing);
        write("low 9\nhigh 2\nmax 1\n");
        assert_eq!(meaning(), Meaning::Short);
        assert_eq!(meaning(), Meaning::Nothing);
    }

    #[test]
    fn a_file_that_takes_no_trigger_says_why() {
        let reason = Watch::stalls(Path::new("/proc/version")).unwrap_err();
        assert!(reason.starts_with("/proc/version: "), "{reason}");
    }
}
