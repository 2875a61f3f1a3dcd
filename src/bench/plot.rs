//! Plots of a run, as SVG whose colours the page around it sets for light and dark.

use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::record::Latencies;
use super::summary::Summary;

/// Units of an SVG's own; it scales with the page.
const SIZE: (u32, u32) = (860, 300);

/// Points of a line at most.
const POINTS: usize = 120;

/// Legible on white and on near black alike.
const COLOURS: [RGBColor; 7] = [
    RGBColor(38, 166, 91),
    RGBColor(230, 150, 30),
    RGBColor(30, 150, 200),
    RGBColor(140, 110, 220),
    RGBColor(220, 70, 80),
    RGBColor(150, 150, 150),
    RGBColor(120, 120, 140),
];

/// The page's text colour takes the place of this one, by a rule for the colour of its attribute.
const INK: RGBColor = RGBColor(0, 0, 0);

type Drawn = Result<String, Box<dyn Error>>;

/// A line of a plot.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// Latency by share of answers, in nines: where a kind of answer has its slow ones.
pub(super) fn latencies(summary: &Summary) -> Drawn {
    let lines: Vec<_> = summary
        .answers
        .iter()
        .filter_map(|kind| {
            let latencies = summary.latencies(Some(kind.verdict))?;
            Some(Line { name: kind.verdict.word(), points: nines(&latencies) })
        })
        .collect();
    let most = highest(&lines).max(0.01);
    let least = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let least = least.fold(most, f64::min).max(0.001);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(32)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..4.0, (least * 0.8..most * 1.3).log_scale())?;
        draw(&mut chart, lines, 5, &|nines| share_name(*nines), &|millis| format!("{millis} ms"))?;
        area.present()?;
    }
    Ok(svg)
}

/// The share of answers from the store, and what failed, over time.
pub(super) fn hits(summary: &Summary) -> Drawn {
    over_time(summary, 0.0..100.0, "%", |_, slot| {
        let all = slot.answered as f64;
        let hits = (slot.answered > 0).then(|| 100.0 * slot.hits as f64 / all);
        let sent = slot.answered + slot.failed;
        let failed = (slot.failed > 0).then(|| 100.0 * slot.failed as f64 / sent as f64);
        [("hits", hits), ("failed", failed)]
    })
}

/// Answers a second over time.
pub(super) fn rate(summary: &Summary) -> Drawn {
    let timeline = summary.timeline().coarser(POINTS);
    let width = timeline.width().as_secs_f64();
    let most = timeline.slots().iter().map(|slot| slot.answered).max().unwrap_or_default();
    let most = (most as f64 / width).max(1.0) * 1.1;
    over_time(summary, 0.0..most, "/s", |width, slot| {
        [("answers", Some(slot.answered as f64 / width)), ("", None)]
    })
}

fn over_time(
    summary: &Summary,
    range: Range<f64>,
    unit: &str,
    of: impl Fn(f64, &super::timeline::Slot) -> [(&'static str, Option<f64>); 2],
) -> Drawn {
    let timeline = summary.timeline().coarser(POINTS);
    let width = timeline.width().as_secs_f64();
    let mut lines = [Vec::new(), Vec::new()];
    let mut names = [""; 2];
    // The last slot was not run through: what is in it would look like a fall.
    let is_whole = |number: usize| number == 0 || (number + 1) as f64 * width <= summary.seconds;
    for (number, slot) in timeline.slots().iter().enumerate().filter(|(it, _)| is_whole(*it)) {
        for (index, (name, value)) in of(width, slot).into_iter().enumerate() {
            if let Some(value) = value {
                names[index] = name;
                lines[index].push(((number as f64 + 0.5) * width, value));
            }
        }
    }
    let end = (timeline.slots().len().max(1) as f64) * width;
    let lines = names.into_iter().zip(lines).map(|(name, points)| Line { name, points });
    let lines: Vec<_> = lines.filter(|line| !line.points.is_empty()).collect();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(32)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..end, range)?;
        let value = |value: &f64| format!("{value}{unit}");
        draw(&mut chart, lines, 9, &|seconds| format!("{seconds} s"), &value)?;
        area.present()?;
    }
    Ok(svg)
}

fn draw<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    lines: Vec<Line>,
    x_labels: usize,
    x_label: &dyn Fn(&f64) -> String,
    y_label: &dyn Fn(&f64) -> String,
) -> Result<(), Box<dyn Error>>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .axis_style(INK.mix(0.5))
        .bold_line_style(INK.mix(0.1))
        .light_line_style(INK.mix(0.0))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .x_labels(x_labels)
        .x_label_formatter(x_label)
        .y_label_formatter(y_label)
        .draw()?;
    for (line, colour) in lines.into_iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points, style))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

/// Points from the median of none to what one in ten thousand exceeds: `x` nines are a share of
/// `1 - 10^-x`.
fn nines(latencies: &Latencies) -> Vec<(f64, f64)> {
    // What fewer answers than these tell of such a share is the slowest of them.
    let end = (latencies.count().max(1) as f64).log10().min(4.0);
    let steps = (0..=POINTS).map(|step| end * step as f64 / POINTS as f64);
    let point = |nines: f64| {
        let time = latencies.quantile(1.0 - 10_f64.powf(-nines))?;
        Some((nines, (time.as_secs_f64() * 1e3).max(0.001)))
    };
    steps.filter_map(point).collect()
}

fn highest(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max)
}

fn share_name(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
    let text = format!("{percent:.2}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::summary;

    #[test]
    fn shares_have_names() {
        for (nines, name) in
            [(0.0, "0 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %")]
        {
            assert_eq!(share_name(nines), name);
        }
    }

    #[test]
    fn every_kind_has_its_line() {
        let svg = latencies(&summary()).unwrap();
        for word in ["hit", "miss", "collapsed", "99 %"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(hits(&summary()).unwrap().contains("polyline"));
        assert!(rate(&summary()).unwrap().contains("polyline"));
    }
}
