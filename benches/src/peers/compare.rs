//! Running one program on several peers in turn, and what came out.

use super::outcome::{Figures, Outcome};
use super::tools::Tools;
use super::{Peer, Program};
use crate::alternate::{Side, alternate};
use crate::error::BenchError;
use crate::samples::{Series, short};

/// One peer's runs of one program.
#[derive(Debug)]
pub struct Runs {
    /// Whose.
    pub peer: Peer,
    /// Those that finished.
    pub finished: Vec<Figures>,
    /// Why another did not.
    pub failure: Option<String>,
}

/// The headings of [`Runs::row`].
pub const HEADINGS: &str = "collector           wall s    CPU s  RSS MiB  pause p50     p99     max   gap max  p99.99  MMU 20 ms";

/// Runs `program` on `peers` in turn, with a budget of `mib`.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::Result`] | two peers computed different results | somebody's program or heap is wrong |
/// | [`BenchError::System`] | a program could not be started | see the reason |
pub fn compare(
    question: &str,
    tools: &Tools,
    peers: &[Peer],
    program: Program,
    mib: u64,
    rounds: usize,
) -> Result<Vec<Runs>, BenchError> {
    let side = |peer: &Peer| {
        let peer = *peer;
        let name = format!("{} {} {}, {mib} MiB", peer.name(), program.name, program.depth);
        // What fails once is not tried again: a peer that cannot keep the budget takes long to say so.
        let mut failed = None;
        Side::new(name, move || {
            if let Some(why) = &failed {
                return Ok(Outcome::Failed(String::clone(why)));
            }
            let outcome = peer.run(tools, program, mib)?;
            if let Outcome::Failed(why) = &outcome {
                failed = Some(why.clone());
            }
            Ok(outcome)
        })
    };
    let yields = alternate(question, rounds, peers.iter().map(side).collect())?;
    let mut expected = None;
    let mut all = Vec::new();
    for (peer, outcomes) in peers.iter().zip(yields) {
        let mut runs = Runs { peer: *peer, finished: Vec::new(), failure: None };
        for outcome in outcomes {
            match outcome {
                Outcome::Finished(figures) => {
                    let expected = *expected.get_or_insert(figures.result);
                    if figures.result != expected {
                        let (peer, got) = (peer.name(), figures.result);
                        return Err(BenchError::Result { peer, got, expected });
                    }
                    runs.finished.push(*figures);
                }
                Outcome::Failed(why) => runs.failure = Some(why),
            }
        }
        // A long comparison shows what it has so far.
        eprintln!("{question}: {}", runs.row());
        all.push(runs);
    }
    Ok(all)
}

impl Runs {
    /// One figure of every run.
    pub fn series(
        &self,
        label: &str,
        unit: &'static str,
        of: impl Fn(&Figures) -> Option<f64>,
    ) -> Series {
        let values = self.finished.iter().filter_map(of).collect();
        Series::new(format!("{}: {label}", self.peer.name()), unit, values)
    }

    /// Total time.
    #[must_use]
    pub fn wall(&self, label: &str) -> Series {
        self.series(&format!("{label}: total time"), "s", |run| Some(run.wall_s))
    }

    /// Longest gap.
    #[must_use]
    pub fn gap(&self, label: &str) -> Series {
        self.series(&format!("{label}: longest gap"), "ms", |run| Some(run.longest_gap_ms()))
    }

    /// Everything that is kept.
    #[must_use]
    pub fn all_series(&self, label: &str) -> Vec<Series> {
        let one = |what: &str, unit, of: &dyn Fn(&Figures) -> Option<f64>| {
            self.series(&format!("{label}: {what}"), unit, of)
        };
        let mut all = vec![
            self.wall(label),
            self.gap(label),
            one("CPU time", "s", &|run| Some(run.cpu_s)),
            one("peak RSS", "MiB", &|run| Some(run.peak_rss_mib)),
            one("gap p99.99", "ms", &|run| Some(run.gap_ms(0.9999))),
            one("pause p50", "ms", &|run| run.pause_ms(0.5)),
            one("pause p99", "ms", &|run| run.pause_ms(0.99)),
            one("longest pause", "ms", &|run| run.pause_ms(1.0)),
        ];
        for window in super::WINDOWS_MS {
            all.push(one(&format!("utilisation in {window} ms"), "share", &|run| {
                run.utilisation(window).map(|(_, together)| together)
            }));
        }
        all.retain(|series| !series.values.is_empty());
        all
    }

    /// A line of the table, medians.
    #[must_use]
    pub fn row(&self) -> String {
        if self.finished.is_empty() {
            let why = self.failure.as_deref().unwrap_or("nothing was run");
            return format!(
                "{:<16} {}",
                self.peer.name(),
                why.chars().take(90).collect::<String>()
            );
        }
        let cell = |of: &dyn Fn(&Figures) -> Option<f64>| {
            self.series("", "", of).median().map_or_else(|| "-".to_owned(), short)
        };
        let cells = [
            cell(&|run| Some(run.wall_s)),
            cell(&|run| Some(run.cpu_s)),
            cell(&|run| Some(run.peak_rss_mib)),
            cell(&|run| run.pause_ms(0.5)),
            cell(&|run| run.pause_ms(0.99)),
            cell(&|run| run.pause_ms(1.0)),
            cell(&|run| Some(run.longest_gap_ms())),
            cell(&|run| Some(run.gap_ms(0.9999))),
            cell(&|run| run.utilisation(20).map(|(_, together)| together)),
        ];
        let widths = [9, 9, 9, 10, 8, 8, 10, 8, 10];
        let mut line = format!("{:<16}", self.peer.name());
        for (cell, width) in cells.iter().zip(widths) {
            line.push_str(&format!("{cell:>width$}"));
        }
        if self.failure.is_some() {
            line.push_str("  (not every run finished)");
        }
        line
    }
}

/// The runs of one peer.
#[must_use]
pub fn of(all: &[Runs], peer: Peer) -> Option<&Runs> {
    all.iter().find(|runs| runs.peer == peer && !runs.finished.is_empty())
}

/// The least median of the longest gap among `peers`, and whose it is.
#[must_use]
pub fn least_gap(all: &[Runs], peers: &[Peer]) -> Option<(Peer, f64)> {
    let gap = |peer: &Peer| Some((*peer, of(all, *peer)?.gap("").median()?));
    peers.iter().filter_map(gap).min_by(|a, b| a.1.total_cmp(&b.1))
}
