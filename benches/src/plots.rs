//! A report that needs no network: plots as SVG inside one HTML file.

use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::error::BenchError;
use crate::samples::Series;

/// Points of one line, with its name.
pub type Line = (String, Vec<(f64, f64)>);

const SIZE: (u32, u32) = (760, 380);

/// How the axes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// Both linear.
    Linear,
    /// Both logarithmic.
    Logarithmic,
}

/// The same for charts of every kind of axis, which are different types.
macro_rules! draw {
    ($chart:expr, $x:expr, $y:expr, $lines:expr) => {{
        let chart = &mut $chart;
        let mut drawn = chart.configure_mesh().x_desc($x).y_desc($y).light_line_style(WHITE).draw();
        for (number, (name, points)) in $lines.iter().enumerate() {
            let colour = Palette99::pick(number).to_rgba();
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            drawn = drawn.and_then(|()| {
                chart.draw_series(line)?.label(name.as_str()).legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2))
                });
                let marks = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
                chart.draw_series(marks).map(|_| ())
            });
        }
        drawn.and_then(|()| {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .draw()
        })
    }};
}
/// One plot as SVG text, without the lines that have no points; nothing where there is nothing to
/// draw.
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | [`BenchError::Plot`] | the plotting library refused | report it with the data |
pub fn plot(x: &str, y: &str, axes: Axes, lines: &[Line]) -> Result<Option<String>, BenchError> {
    let lines: Vec<&Line> = lines.iter().filter(|(_, points)| !points.is_empty()).collect();
    let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let bounds = |of: fn((f64, f64)) -> f64| {
        all().map(of).fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((x_low, x_high), (y_low, y_high)) = (bounds(|point| point.0), bounds(|point| point.1));
    if all().next().is_none() {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let failed = |error: &dyn std::fmt::Display| BenchError::Plot(error.to_string());
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        match axes {
            Axes::Linear => {
                let chart = chart(&area).build_cartesian_2d(0.0..x_high * 1.02, 0.0..y_high * 1.1);
                let mut chart = chart.map_err(|error| failed(&error))?;
                draw!(chart, x, y, lines).map_err(|error| failed(&error))?;
            }
            Axes::Logarithmic => {
                let x_axis = (x_low * 0.9..x_high * 1.1).log_scale();
                let y_axis = ((y_low * 0.8).max(1e-6)..y_high * 1.3).log_scale();
                let chart = chart(&area).build_cartesian_2d(x_axis, y_axis);
                let mut chart = chart.map_err(|error| failed(&error))?;
                draw!(chart, x, y, lines).map_err(|error| failed(&error))?;
            }
        }
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(Some(svg))
}

fn chart<'a, 'b>(
    area: &'a DrawingArea<SVGBackend<'b>, Shift>,
) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(12).x_label_area_size(36).y_label_area_size(64);
    chart
}

/// The share of samples in each tenth of a power of ten, as a line.
#[must_use]
pub fn histogram(series: &Series) -> Vec<(f64, f64)> {
    let mut counts = std::collections::BTreeMap::new();
    for value in series.values.iter().filter(|value| **value > 0.0) {
        #[expect(clippy::cast_possible_truncation, reason = "ten times the logarithm of a time")]
        let bucket = (value.log10() * 10.0).floor() as i32;
        *counts.entry(bucket).or_insert(0_usize) += 1;
    }
    let all = crate::samples::count(series.values.len());
    let middle = |bucket: i32| 10_f64.powf((f64::from(bucket) + 0.5) / 10.0);
    let share = |n: usize| crate::samples::count(n) / all * 100.0;
    counts.into_iter().map(|(bucket, n)| (middle(bucket), share(n))).collect()
}

/// The page.
#[must_use]
pub fn page(head: &[String], sections: &[(String, String)], claims: &[String]) -> String {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Benchmarks</title>\n\
         <style>body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
         svg{max-width:100%;height:auto}li{margin:.2em 0}</style>\n<h1>Benchmarks</h1>\n",
    );
    for line in head {
        let _ = writeln!(html, "<p>{}</p>", escape(line));
    }
    for (title, svg) in sections {
        let _ = writeln!(html, "<h2>{}</h2>\n{svg}", escape(title));
    }
    if !claims.is_empty() {
        html.push_str("<h2>Claims</h2>\n<ul>\n");
        for claim in claims {
            let _ = writeln!(html, "<li>{}</li>", escape(claim));
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</html>\n");
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_svg_with_every_name_and_needs_no_network() {
        let lines = vec![("first".to_owned(), vec![(1.0, 2.0), (10.0, 3.0)])];
        for axes in [Axes::Linear, Axes::Logarithmic] {
            let svg = plot("x", "y", axes, &lines).expect("plain data").expect("points");
            assert!(svg.starts_with("<svg") && svg.contains("first"));
        }
        assert_eq!(plot("x", "y", Axes::Linear, &[]).expect("nothing to refuse"), None);
        let page = page(&["<machine>".to_owned()], &[], &[]);
        assert!(page.contains("&lt;machine&gt;") && !page.contains("src="));
    }

    #[test]
    fn a_histogram_has_all_samples() {
        let line = histogram(&Series::new("", "us", vec![1.0, 1.1, 150.0, 160.0]));
        assert_eq!(line.iter().map(|point| point.1).sum::<f64>(), 100.0);
    }
}
