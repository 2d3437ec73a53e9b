//! Which plots a run can be drawn as, from its samples.

use crate::contender::Contender;
use crate::error::BenchError;
use crate::peers::{Peer, WINDOWS_MS};
use crate::plots::{Axes, Line, histogram, page, plot};
use crate::questions::{fraction, utilisation};
use crate::report::{Asked, Report};
use crate::samples::counter;

/// The whole report as HTML. Plots that the run has no samples for are left out.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::Plot`] | the plotting library refused | report it with the run's JSON |
pub fn html(report: &Report) -> Result<String, BenchError> {
    let samples = &report.samples;
    let mut sections = Vec::new();
    let mut add =
        |title: &str, x: &str, y: &str, axes, lines: Vec<Line>| -> Result<(), BenchError> {
            if let Some(svg) = plot(x, y, axes, &lines)? {
                sections.push((title.to_owned(), svg));
            }
            Ok(())
        };
    add("Longest gap against live heap", GAP_X, GAP_Y, Axes::Logarithmic, gaps(samples))?;
    let pauses = ["flip", "remark"].map(|kind| {
        (format!("{kind} pause, median"), pause_against_heap(samples, &format!(": {kind} pause")))
    });
    add("Pause against heap size", "heap MiB", "us", Axes::Logarithmic, pauses.into())?;
    let costs = Contender::ALL.map(|side| (side.to_string(), cost_against_fraction(samples, side)));
    add(
        "Compaction against live fraction",
        "percent live",
        "ms a cycle",
        Axes::Linear,
        costs.into(),
    )?;
    for tenths in utilisation::BUDGETS {
        let curves = [Peer::Ours, Peer::Zgc, Peer::Shenandoah]
            .map(|peer| (peer.name().to_owned(), kept_in_windows(samples, peer, tenths)));
        let title = format!(
            "Utilisation in the worst window, {} the live data",
            utilisation::times(tenths)
        );
        add(&title, "window ms", "percent", Axes::Linear, curves.into())?;
    }
    let faults = of(samples, "faults").filter_map(|asked| {
        let name = asked.series.name.strip_suffix(": quantiles")?;
        Some((name.to_owned(), histogram(&asked.series)))
    });
    add("Fault latency", "us", "percent of faults", Axes::Logarithmic, faults.collect())?;
    let head = [report.machine.line(), report.kernel.clone(), report.commit.clone()];
    let claims: Vec<String> = report.claims.iter().map(crate::claim::Claim::line).collect();
    Ok(page(&head, &sections, &claims))
}

const GAP_X: &str = "live MiB";
const GAP_Y: &str = "longest gap of the program, ms";

/// The first plot of the report alone, as an SVG file; nothing if the run has no samples for it.
///
/// # Errors
///
/// As for [`html`].
pub fn gap_figure(report: &Report) -> Result<Option<String>, BenchError> {
    plot(GAP_X, GAP_Y, Axes::Logarithmic, &gaps(&report.samples))
}

fn gaps(samples: &[Asked]) -> Vec<Line> {
    Peer::ALL.map(|peer| (peer.name().to_owned(), gap_against_heap(samples, peer))).into()
}

fn of<'a>(samples: &'a [Asked], question: &'a str) -> impl Iterator<Item = &'a Asked> {
    samples.iter().filter(move |asked| asked.question == question)
}

/// The median of the series whose name is `name`.
fn median(samples: &[Asked], question: &str, name: &str) -> Option<f64> {
    of(samples, question).find(|asked| asked.series.name == name)?.series.median()
}

fn gap_against_heap(samples: &[Asked], peer: Peer) -> Vec<(f64, f64)> {
    let point = |asked: &Asked| {
        let rest = asked.series.name.strip_prefix(peer.name())?.strip_prefix(": gcbench ")?;
        let (depth, _) = rest.strip_suffix(": longest gap")?.split_once(' ')?;
        let program = crate::peers::Program { name: "gcbench", depth: depth.parse().ok()? };
        Some((counter(program.live_bytes()) / 1048576.0, asked.series.median()?))
    };
    of(samples, "scaling").filter_map(point).collect()
}

fn pause_against_heap(samples: &[Asked], kind: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for asked in of(samples, "pauses") {
        let name = &asked.series.name;
        let size = name.split_once(" MiB heap").and_then(|(size, _)| size.parse().ok());
        let (Some(size), true) = (size, name.contains(" 2 mutators, 0 global roots")) else {
            continue;
        };
        // The smallest size comes again in the other comparisons.
        if name.ends_with(kind) && points.iter().all(|point| point.0 != size) {
            points.extend(asked.series.median().map(|us| (size, us)));
        }
    }
    points
}

fn cost_against_fraction(samples: &[Asked], side: Contender) -> Vec<(f64, f64)> {
    let point = |percent: u64| {
        let cost = median(samples, "fraction", &fraction::name(side, percent))?;
        Some((counter(percent), cost))
    };
    fraction::PERCENT.into_iter().filter_map(point).collect()
}

fn kept_in_windows(samples: &[Asked], peer: Peer, tenths: u64) -> Vec<(f64, f64)> {
    let point = |window: u64| {
        let name = format!("{}: {}", peer.name(), utilisation::together(tenths, window));
        Some((counter(window), median(samples, "utilisation", &name)? * 100.0))
    };
    WINDOWS_MS.into_iter().filter_map(point).collect()
}
