//! The charts, as SVG text.

use plotters::prelude::*;

use crate::json::{Detail, Results, Row};

/// Wide enough for a screen; the page scales it.
const WIDTH: u32 = 900;

/// How long pauses were, one line per transport.
pub(super) fn pauses(results: &Results) -> Option<String> {
    histogram(results, |detail| &detail.pauses, "pause, microseconds")
}

/// How long faults took, one line per transport.
pub(super) fn faults(results: &Results) -> Option<String> {
    histogram(results, |detail| &detail.faults, "fault service, microseconds")
}

/// The heap's pages, one line per cycle.
pub(super) fn pages(row: &Row) -> Option<String> {
    const CELL_HEIGHT: usize = 6;
    let rows = &row.detail.pages;
    let parts = rows.iter().map(|row| row.pages.len()).max()?;
    let (width, height) = (i32::try_from(parts).ok()?, i32::try_from(rows.len()).ok()?);
    let tall = u32::try_from(rows.len() * CELL_HEIGHT).ok()?.max(24);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, tall)).into_drawing_area();
        area.fill(&FREE).ok()?;
        let chart = ChartBuilder::on(&area).build_cartesian_2d(0..width, height..0).ok()?;
        for (y, row) in (0..).zip(rows) {
            for (from, to, letter) in runs(&row.pages) {
                let color = match letter {
                    'c' => COMPACTED,
                    's' => SLID,
                    'f' => FRESH,
                    _ => continue,
                };
                let cell = Rectangle::new([(from, y), (to, y + 1)], color.filled());
                chart.plotting_area().draw(&cell).ok()?;
            }
        }
        area.present().ok()?;
    }
    Some(svg)
}

const FREE: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const COMPACTED: RGBColor = RGBColor(0x2a, 0x6f, 0xbb);
const SLID: RGBColor = RGBColor(0x3a, 0x9d, 0x5d);
const FRESH: RGBColor = RGBColor(0xe0, 0xa0, 0x30);

/// Stretches of the same letter: start, end, letter.
fn runs(letters: &str) -> Vec<(i32, i32, char)> {
    let mut runs: Vec<(i32, i32, char)> = Vec::new();
    for (at, letter) in (0..).zip(letters.chars()) {
        match runs.last_mut() {
            Some(last) if last.2 == letter => last.1 = at + 1,
            _ => runs.push((at, at + 1, letter)),
        }
    }
    runs
}

/// Counts over durations, both on logarithmic axes.
fn histogram(
    results: &Results,
    bars: fn(&Detail) -> &Vec<(f64, u64)>,
    label: &str,
) -> Option<String> {
    let all = || results.transports.iter().flat_map(|row| bars(&row.detail));
    let low = all().map(|bar| bar.0).reduce(f64::min)?.max(0.05) / 1.5;
    let high = all().map(|bar| bar.0).reduce(f64::max)?.max(low * 2.0) * 1.5;
    let most = all().map(|bar| bar.1).max()?.max(2) as f64 * 1.5;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 360)).into_drawing_area();
        area.fill(&WHITE).ok()?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((low..high).log_scale(), (0.5..most).log_scale())
            .ok()?;
        let mesh = chart.configure_mesh().x_desc(label).y_desc("count").draw();
        mesh.ok()?;
        for (number, row) in results.transports.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            // A zero has no place on a logarithmic axis: it lies on the bottom line.
            let line = bars(&row.detail).iter().map(|bar| (bar.0, (bar.1 as f64).max(0.5)));
            let series = chart.draw_series(LineSeries::new(line, color.stroke_width(2)));
            series.ok()?.label(row.name.clone()).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
            });
        }
        let labels = chart.configure_series_labels().border_style(BLACK.mix(0.3)).draw();
        labels.ok()?;
        area.present().ok()?;
    }
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_join_equal_letters() {
        assert_eq!(runs("ccs.."), [(0, 2, 'c'), (2, 3, 's'), (3, 5, '.')]);
        assert!(runs("").is_empty());
    }
}
