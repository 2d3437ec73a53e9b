//! `GC_LOG`: one line for each cycle, and more on request.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::event::{Event, Listener};
use crate::options::Transport;
use crate::stats::CycleStats;

/// Which events get a line, and where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSettings {
    cycles: Lines,
    phases: Lines,
    pauses: Lines,
    stalls: Lines,
    releases: Lines,
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lines {
    #[default]
    Off,
    On,
}

/// A word that says nothing about what to log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{word}` is nothing to log; there are cycles, phases, pauses, stalls, releases, all and file=PATH"
)]
pub struct UnknownLog {
    /// The word.
    pub word: String,
}

impl LogSettings {
    /// Parses a list of words; a file alone gets a line for each cycle.
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownLog> {
        let mut settings = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                None if word == "cycles" => settings.cycles = Lines::On,
                None if word == "phases" => settings.phases = Lines::On,
                None if word == "pauses" => settings.pauses = Lines::On,
                None if word == "stalls" => settings.stalls = Lines::On,
                None if word == "releases" => settings.releases = Lines::On,
                None if word == "all" => settings.set_all(),
                Some(("file", path)) if !path.is_empty() => settings.file = Some(path.into()),
                _ => return Err(UnknownLog { word: word.to_owned() }),
            }
        }
        let Self { cycles, phases, pauses, stalls, releases, .. } = settings;
        if [cycles, phases, pauses, stalls, releases] == [Lines::Off; 5] && settings.file.is_some()
        {
            settings.cycles = Lines::On;
        }
        Ok(settings)
    }

    fn set_all(&mut self) {
        let Self { cycles, phases, pauses, stalls, releases, .. } = self;
        for lines in [cycles, phases, pauses, stalls, releases] {
            *lines = Lines::On;
        }
    }
}

/// Writes a line for each event that was asked for.
pub(crate) struct LogLines {
    settings: LogSettings,
    heap: u64,
    transport: Transport,
    file: Option<Mutex<File>>,
}

impl fmt::Debug for LogLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLines").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl LogLines {
    /// Opens the file, if lines go to one: appends, so that several heaps and processes may share it.
    pub(crate) fn open(settings: LogSettings, heap: u64, transport: Transport) -> io::Result<Self> {
        let open = |path: &PathBuf| OpenOptions::new().append(true).create(true).open(path);
        let file = settings.file.as_ref().map(open).transpose()?.map(Mutex::new);
        Ok(Self { settings, heap, transport, file })
    }

    /// One write for each line, so that lines of several heaps do not mix. What cannot be written
    /// is lost: a program does not stop because its log is full.
    fn line(&self, text: fmt::Arguments<'_>) {
        let line = format!("gc: heap {}: {text}\n", self.heap);
        let _ = match &self.file {
            Some(file) => {
                file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
            }
            None => io::stderr().write_all(line.as_bytes()),
        };
    }

    fn cycle(&self, stats: &CycleStats) {
        let CycleStats { number, reason, .. } = stats;
        self.line(format_args!(
            "cycle {number} ({reason}, {}): live {} KiB, used {} -> {} of {} KiB, mark {} us, pauses {} + {} us, \
             compact {} us, deposit {} us, finish {} us, {} pages moved, {} released, {} KiB copied, {} KiB slid in {} islands, {} faults, {} KiB marked and {} pages built by mutators, {} us held back, {} us stalled, {} us given way",
            self.transport,
            stats.live_bytes >> 10,
            stats.used_bytes_before >> 10,
            stats.used_bytes_after >> 10,
            stats.target_bytes >> 10,
            stats.mark_ns / 1000,
            stats.remark_pause_ns / 1000,
            stats.flip_pause_ns / 1000,
            stats.compact_ns / 1000,
            stats.deposit_ns / 1000,
            stats.finish_ns / 1000,
            stats.pages_moved,
            stats.pages_released,
            stats.bytes_copied >> 10,
            stats.bytes_slid >> 10,
            stats.islands,
            stats.faults,
            stats.bytes_marked_by_mutators >> 10,
            stats.pages_helped,
            stats.held_back_ns / 1000,
            stats.allocation_stall_ns / 1000,
            stats.given_way_ns / 1000,
        ));
    }
}

impl Listener for LogLines {
    fn event(&self, event: &Event) {
        let settings = &self.settings;
        match event {
            Event::CycleEnded { stats } if settings.cycles == Lines::On => self.cycle(stats),
            Event::PhaseEnded { cycle, phase, took, .. } if settings.phases == Lines::On => {
                self.line(format_args!("cycle {cycle}: {phase} {} us", took.as_micros()));
            }
            Event::Paused { kind, safepoint, took, mutators, .. }
                if settings.pauses == Lines::On =>
            {
                self.line(format_args!(
                    "pause for {kind}: {} us, {} us of them until all {mutators} mutators had stopped",
                    took.as_micros(),
                    safepoint.as_micros()
                ));
            }
            Event::Stalled { took, thread, .. } if settings.stalls == Lines::On => {
                self.line(format_args!(
                    "thread {thread} waited {} us for memory",
                    took.as_micros()
                ));
            }
            Event::Released { reason, took, pages, calls, refused, .. }
                if settings.releases == Lines::On =>
            {
                self.line(format_args!(
                    "{pages} pages released ({reason}) by {calls} calls in {} us, {refused} refused",
                    took.as_micros()
                ));
            }
            Event::OutOfMemory { error } => self.line(format_args!("{error}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_a_list_of_words() {
        assert_eq!(LogSettings::parse(""), Ok(LogSettings::default()));
        let both = LogSettings::parse("cycles, stalls").unwrap();
        assert_eq!((both.cycles, both.stalls, both.pauses), (Lines::On, Lines::On, Lines::Off));
        let file = LogSettings::parse("file=/tmp/x").unwrap();
        assert_eq!((file.cycles, file.file), (Lines::On, Some("/tmp/x".into())));
        for bad in ["cycle", "file", "file=", "gc_runtime=info"] {
            let error = LogSettings::parse(bad).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
