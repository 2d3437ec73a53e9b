//! Running a peer's program, and reading what it prints.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::mmu::Lost;
use crate::error::BenchError;
use crate::raw;
use crate::samples::counter;

/// After this the program is ended: it does not finish within the budget.
const LIMIT: Duration = Duration::from_secs(150);

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With a result.
    Finished(Box<Figures>),
    /// Out of memory, out of time, or otherwise without a result; the last thing it said.
    Failed(String),
}

/// What a run took, and what the program saw.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What the program computed.
    pub result: u64,
    /// From start to end, in seconds.
    pub wall_s: f64,
    /// Processor time, in seconds.
    pub cpu_s: f64,
    /// Most memory at a time, in MiB.
    pub peak_rss_mib: f64,
    /// Intervals between clock readings: a bucket and how many. Sixteen buckets a power of two.
    pub gaps: Vec<(u64, u64)>,
    /// Each interval from 50 us on: thread, start, length in nanoseconds.
    pub longs: Vec<(u64, u64, u64)>,
    /// Long intervals that did not fit into the program's table.
    pub lost: u64,
    /// How long each thread ran, in nanoseconds.
    pub runs: Vec<u64>,
    /// Pauses that the collector told of, in nanoseconds.
    pub pauses: Vec<u64>,
}

/// Runs `command` to its end.
pub(super) fn run(command: &mut Command) -> Result<Outcome, BenchError> {
    let began = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What cannot be read is missing below.
            let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let err = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let ended = raw::wait(&mut child, LIMIT)?;
    let wall_s = began.elapsed().as_secs_f64();
    let out = out.join().unwrap_or_default();
    let err = err.join().unwrap_or_default();
    let mut figures = parse(&out);
    if !ended.success || figures.result == 0 {
        let last = |text: &str| text.lines().last().map(str::to_owned);
        let why = if wall_s >= LIMIT.as_secs_f64() {
            format!("not finished in {} s", LIMIT.as_secs())
        } else {
            last(&err).or_else(|| last(&out)).unwrap_or_else(|| "no result".to_owned())
        };
        return Ok(Outcome::Failed(why));
    }
    figures.wall_s = wall_s;
    figures.cpu_s = ended.cpu.as_secs_f64();
    figures.peak_rss_mib = counter(ended.peak_rss_kib) / 1024.0;
    Ok(Outcome::Finished(Box::new(figures)))
}

/// Reads the lines that the programs print, and the safepoints of a Java virtual machine's log.
fn parse(text: &str) -> Figures {
    let mut figures = Figures::default();
    for line in text.lines() {
        if let Some((_, total)) = line
            .split_once("[safepoint] Safepoint")
            .or_else(|| line.split_once("[safepoint   ] Safepoint"))
        {
            let ns = total.rsplit_once("Total:").and_then(|(_, ns)| ns.trim().split(' ').next());
            figures.pauses.extend(ns.and_then(|ns| ns.parse::<u64>().ok()));
            continue;
        }
        let mut words = line.split(' ');
        let key = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        match (key, &numbers[..]) {
            ("result", [result]) => figures.result = *result,
            ("gap", [bucket, count]) => figures.gaps.push((*bucket, *count)),
            ("long", [thread, start, length]) => figures.longs.push((*thread, *start, *length)),
            ("lost", [count]) => figures.lost += count,
            ("run", [_, ns]) => figures.runs.push(*ns),
            ("pause", [ns]) => figures.pauses.push(*ns),
            _ => {}
        }
    }
    figures.gaps.sort_unstable();
    figures.pauses.sort_unstable();
    figures
}

/// The upper end of a bucket, in nanoseconds.
fn upper(bucket: u64) -> u64 {
    let (log, bits) = (bucket / 16, bucket % 16);
    let ns = (17 + bits) << log;
    ns >> 4
}

impl Figures {
    /// The interval that so great a share of all intervals does not exceed, in milliseconds.
    #[must_use]
    pub fn gap_ms(&self, quantile: f64) -> f64 {
        counter(self.gap_ns(quantile)) / 1e6
    }

    fn gap_ns(&self, quantile: f64) -> u64 {
        let all: u64 = self.gaps.iter().map(|(_, count)| count).sum();
        let mut below = 0;
        for (bucket, count) in &self.gaps {
            below += count;
            if counter(below) >= quantile * counter(all) {
                let longest = self.longs.iter().map(|(_, _, length)| *length).max();
                return upper(*bucket).min(longest.unwrap_or(u64::MAX));
            }
        }
        0
    }

    /// The longest interval, in milliseconds.
    #[must_use]
    pub fn longest_gap_ms(&self) -> f64 {
        let long = self.longs.iter().map(|(_, _, length)| *length).max();
        long.map_or_else(|| self.gap_ms(1.0), |ns| counter(ns) / 1e6)
    }

    /// A pause of this quantile, in milliseconds.
    #[must_use]
    pub fn pause_ms(&self, quantile: f64) -> Option<f64> {
        let ms: Vec<f64> = self.pauses.iter().map(|ns| counter(*ns) / 1e6).collect();
        crate::samples::quantile(&ms, quantile)
    }

    /// The least utilisation in any window: of each thread by itself, and of all together. Nothing
    /// where the program could not keep all long intervals.
    #[must_use]
    pub fn utilisation(&self, window_ms: u64) -> Option<(f64, f64)> {
        if self.lost > 0 {
            return None;
        }
        let usual = self.gap_ns(0.5);
        let span = |(_, start, length): &(u64, u64, u64)| (start + usual, start + length);
        let window = window_ms * 1_000_000;
        let threads = 0..u64::try_from(self.runs.len()).ok()?;
        let each = threads.map(|thread| {
            let own = self.longs.iter().filter(|long| long.0 == thread).map(span);
            Lost::new(own.collect()).utilisation(window, 1)
        });
        let together = Lost::new(self.longs.iter().map(span).collect());
        Some((each.fold(1.0, f64::min), together.utilisation(window, self.runs.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_programs_and_of_a_java_log_are_read() {
        let figures = parse(
            "[0.1s][info][safepoint] Safepoint \"G1\", Time since last: 5 ns, Total: 3100 ns\n\
             result 7\ngap 160 3\ngap 320 1\nlong 0 100 2000000\nlost 0\nrun 0 9\npause 50",
        );
        assert_eq!((figures.result, figures.pauses), (7, vec![50, 3100]));
        assert_eq!(figures.longs, [(0, 100, 2_000_000)]);
        assert_eq!(parse("gap 160 3\ngap 320 1").gap_ms(0.5), counter(upper(160)) / 1e6);
        assert_eq!([160, 161].map(upper), [1088, 1152]);
    }
}
