//! The plots of the report, as SVG that takes its colours from the page around it.

use std::error::Error;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use seawall::forecast::report::{GroupRow, Report};

use super::units::{percent, size};

/// Pixels; the page scales them.
const SIZE: (u32, u32) = (920, 320);

/// Colours by role. The page has a rule for each, for light and for dark; nothing else has these.
const HIT: RGBColor = RGBColor(1, 101, 201);
const BYTES: RGBColor = RGBColor(2, 152, 102);
const ORIGIN: RGBColor = RGBColor(203, 83, 3);
const INK: RGBColor = RGBColor(4, 4, 4);
const FAINT: RGBColor = RGBColor(205, 205, 205);

/// The colours above as they stand in the SVG, and the page's names for them.
pub(super) const ROLES: [(&str, &str); 5] = [
    ("#0165C9", "hit"),
    ("#029866", "bytes"),
    ("#CB5303", "origin"),
    ("#040404", "ink"),
    ("#CDCDCD", "faint"),
];

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlotError(String);

/// Whatever a plot went wrong with.
type Failed = Box<dyn Error>;

fn drawn(draw: impl FnOnce(&mut String) -> Result<(), Failed>) -> Result<String, PlotError> {
    let mut svg = String::new();
    draw(&mut svg).map_err(|error| PlotError(error.to_string()))?;
    // The page sets the size.
    Ok(svg.replacen("<svg width=\"920\" height=\"320\"", "<svg", 1))
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// How a number of an axis is written.
type Words<'a> = &'a dyn Fn(&f64) -> String;

/// A plot of shares from 0 to 1, or of what `most` is.
fn plot(
    svg: &mut String,
    along: std::ops::Range<f64>,
    most: f64,
    labels: (Words<'_>, Words<'_>),
    draw: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(24)
        .x_label_area_size(30)
        .y_label_area_size(64)
        .build_cartesian_2d(along, 0.0..most)?;
    let text = ("sans-serif", 13).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(FAINT.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .axis_style(FAINT.stroke_width(1))
        .x_labels(8)
        .y_labels(6)
        .label_style(text)
        .x_label_formatter(labels.0)
        .y_label_formatter(labels.1)
        .draw()?;
    draw(&mut chart)?;
    area.present()?;
    Ok(())
}

fn line(chart: &mut Chart<'_, '_>, points: &[(f64, f64)], color: RGBColor) -> Result<(), Failed> {
    chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
    if points.len() < 40 {
        let dot = |point: &(f64, f64)| Circle::new(*point, 3, color.filled());
        chart.draw_series(points.iter().map(dot))?;
    }
    Ok(())
}

fn label(chart: &mut Chart<'_, '_>, at: (f64, f64), text: &str) -> Result<(), Failed> {
    let style = ("sans-serif", 13).into_font().color(&INK);
    chart.draw_series([Text::new(text.to_owned(), at, style)])?;
    Ok(())
}

/// Hit ratios over time.
pub(super) fn over_time(report: &Report) -> Result<String, PlotError> {
    let time = &report.timeline;
    let at = |index: usize| index as f64 * time.seconds;
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let buckets = || time.buckets.iter().enumerate();
    let hits: Vec<_> = buckets()
        .filter_map(|(index, it)| Some((at(index), share(it.hits, it.requests)?)))
        .collect();
    let bytes: Vec<_> = buckets()
        .filter_map(|(index, it)| Some((at(index), share(it.hit_bytes, it.bytes)?)))
        .collect();
    let end = at(time.buckets.len().saturating_sub(1)).max(1.0);
    drawn(|svg| {
        plot(svg, 0.0..end, 1.0, (&|it| since(*it), &|it| percent(*it)), |chart| {
            let area = AreaSeries::new(hits.iter().copied(), 0.0, HIT.mix(0.12));
            chart.draw_series(area)?;
            line(chart, &bytes, BYTES)?;
            line(chart, &hits, HIT)
        })
    })
}

/// Requests to clients and to origins over time, a second.
pub(super) fn load(report: &Report) -> Result<String, PlotError> {
    let time = &report.timeline;
    let at = |index: usize| index as f64 * time.seconds;
    let rate = |count: u64| count as f64 / time.seconds.max(1e-9);
    let buckets = || time.buckets.iter().enumerate();
    let all: Vec<_> = buckets().map(|(index, it)| (at(index), rate(it.requests))).collect();
    let origin: Vec<_> = buckets().map(|(index, it)| (at(index), rate(it.origin))).collect();
    let end = at(time.buckets.len().saturating_sub(1)).max(1.0);
    let most = all.iter().map(|(_, rate)| *rate).fold(0.0, f64::max).max(1e-6) * 1.05;
    let digits = if most < 0.1 {
        4
    } else if most < 10.0 {
        2
    } else {
        0
    };
    let rate = |it: &f64| format!("{it:.digits$}");
    drawn(|svg| {
        plot(svg, 0.0..end, most, (&|it| since(*it), &rate), |chart| {
            line(chart, &all, HIT)?;
            let area = AreaSeries::new(origin.iter().copied(), 0.0, ORIGIN.mix(0.15));
            chart.draw_series(area)?;
            line(chart, &origin, ORIGIN)
        })
    })
}

/// What more memory would bring, on a scale of powers of two.
pub(super) fn curve(report: &Report) -> Result<String, PlotError> {
    let scale = |memory: u64| (memory.max(1) as f64).log2();
    let points = || report.curve.iter();
    let hits: Vec<_> = points().map(|it| (scale(it.memory), it.hit_ratio)).collect();
    let bytes: Vec<_> = points().map(|it| (scale(it.memory), it.byte_hit_ratio)).collect();
    let (first, last) = (hits.first().map_or(0.0, |it| it.0), hits.last().map_or(1.0, |it| it.0));
    #[expect(clippy::cast_sign_loss, reason = "a power of two has none")]
    let memory = |it: &f64| size(2_f64.powf(*it) as u64);
    drawn(|svg| {
        plot(svg, first..last.max(first + 1.0), 1.0, (&memory, &|it| percent(*it)), |chart| {
            for (mark, text) in [(Some(report.memory), "now"), (report.knee, "knee")] {
                let Some(at) = mark.map(scale) else { continue };
                chart.draw_series(LineSeries::new([(at, 0.0), (at, 1.0)], INK.stroke_width(1)))?;
                let low = if text == "now" { 0.10 } else { 0.20 };
                let left =
                    if at > f64::midpoint(first, last) { (last - first) * 0.055 } else { -0.05 };
                label(chart, (at - left, low), text)?;
            }
            let area = AreaSeries::new(hits.iter().copied(), 0.0, HIT.mix(0.12));
            chart.draw_series(area)?;
            line(chart, &bytes, BYTES)?;
            line(chart, &hits, HIT)
        })
    })
}

/// Bars, each from 0 to 1, with their names before them.
pub(super) fn bars(rows: &[(String, f64, f64)]) -> Result<String, PlotError> {
    let height = rows.len().max(1) as u32 * 34 + 12;
    let mut svg = String::new();
    let mut draw = || -> Result<(), Failed> {
        let area = SVGBackend::with_string(&mut svg, (SIZE.0, height)).into_drawing_area();
        let text = |color: &RGBColor| ("sans-serif", 13).into_font().color(color);
        for (index, (name, hit, bytes)) in rows.iter().enumerate() {
            let top = i32::try_from(index).unwrap_or(0) * 34 + 8;
            area.draw(&Text::new(super::units::harmless(name, 38), (4, top + 4), text(&INK)))?;
            for (share, color, down) in [(*hit, HIT, 0), (*bytes, BYTES, 13)] {
                let width = (share.clamp(0.0, 1.0) * 540.0).round() as i32;
                let (from, to) = ((290, top + down), (290 + width.max(1), top + down + 10));
                area.draw(&Rectangle::new([from, to], color.filled()))?;
                let at = (298 + width, top + down - 1);
                area.draw(&Text::new(
                    percent(share),
                    at,
                    ("sans-serif", 11).into_font().color(&INK),
                ))?;
            }
        }
        area.present()?;
        Ok(())
    };
    draw().map_err(|error| PlotError(error.to_string()))?;
    Ok(svg.replacen(&format!("<svg width=\"920\" height=\"{height}\""), "<svg", 1))
}

/// Rows of groups, for [`bars`].
pub(super) fn of_groups(rows: &[GroupRow]) -> Vec<(String, f64, f64)> {
    let row = |row: &GroupRow| (row.name.clone(), row.hit_ratio, row.byte_hit_ratio);
    rows.iter().take(12).map(row).collect()
}

/// `2h`, `3d`: how long after the beginning.
fn since(seconds: f64) -> String {
    let (number, unit) = match seconds {
        it if it >= 172_800.0 => (it / 86_400.0, "d"),
        it if it >= 7200.0 => (it / 3600.0, "h"),
        it if it >= 120.0 => (it / 60.0, "min"),
        it => (it, "s"),
    };
    let text = format!("{number:.1}");
    format!("+{} {unit}", text.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_knows_every_colour() {
        let svg = bars(&[("a".to_owned(), 0.5, 0.25)]).unwrap();
        for (index, part) in svg.split("=\"#").enumerate().skip(1) {
            let color = format!("#{}", &part[..6]);
            assert!(ROLES.iter().any(|(known, _)| *known == color), "{index}: {color}");
        }
        assert!(svg.starts_with("<svg viewBox=\"0 0 920 46\""), "{svg}");
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        assert_eq!(
            (since(0.0), since(90.0), since(5400.0)),
            ("+0 s".into(), "+90 s".into(), "+90 min".into())
        );
        assert_eq!((since(86_400.0), since(259_200.0)), ("+24 h".into(), "+3 d".into()));
    }
}
