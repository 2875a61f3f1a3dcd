//! Plots as SVG that take their colours from the page around them.

use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use crate::units::{harmless, percent};

/// Pixels; the page scales them.
const WIDTH: u32 = 920;
const HEIGHT: u32 = 320;

/// Height of a row of bars, where it begins, and how long a whole one is.
const ROW: u32 = 34;
const BAR_START: i32 = 290;
const BAR_LENGTH: f64 = 540.0;

/// What a colour stands for. The page has a rule for each, for light and for dark, and nothing else
/// in a plot has its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Hit,
    Bytes,
    Origin,
    Stale,
    Collapsed,
    Revalidated,
    Missed,
    Uncacheable,
    Answered,
    Refused,
    Ink,
    Faint,
}

impl Role {
    pub(super) const ALL: [Self; 12] = [
        Self::Hit,
        Self::Bytes,
        Self::Origin,
        Self::Stale,
        Self::Collapsed,
        Self::Revalidated,
        Self::Missed,
        Self::Uncacheable,
        Self::Answered,
        Self::Refused,
        Self::Ink,
        Self::Faint,
    ];

    /// The page's name for it: a class, and a variable of its style.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Bytes => "bytes",
            Self::Origin => "origin",
            Self::Stale => "stale",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Missed => "missed",
            Self::Uncacheable => "uncacheable",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Ink => "ink",
            Self::Faint => "faint",
        }
    }

    /// What stands in the SVG: seen only where a page's style is not.
    const fn color(self) -> RGBColor {
        match self {
            Self::Hit => RGBColor(1, 101, 201),
            Self::Bytes => RGBColor(2, 152, 102),
            Self::Origin => RGBColor(203, 83, 3),
            Self::Stale => RGBColor(127, 178, 229),
            Self::Collapsed => RGBColor(154, 143, 209),
            Self::Revalidated => RGBColor(98, 182, 160),
            Self::Missed => RGBColor(221, 145, 88),
            Self::Uncacheable => RGBColor(185, 70, 60),
            Self::Answered => RGBColor(163, 173, 185),
            Self::Refused => RGBColor(107, 116, 128),
            Self::Ink => RGBColor(4, 4, 4),
            Self::Faint => RGBColor(205, 205, 205),
        }
    }

    /// The same as it is written in the SVG.
    pub(super) fn hex(self) -> String {
        let RGBColor(red, green, blue) = self.color();
        format!("#{red:02X}{green:02X}{blue:02X}")
    }
}

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlotError(String);

/// Whatever a plot went wrong with.
type Failed = Box<dyn Error>;

/// A plot, or why there is none.
pub(crate) type Drawn = Result<String, PlotError>;

/// How a number of an axis is written.
pub(crate) type Words<'a> = &'a dyn Fn(&f64) -> String;

/// What is plotted against what.
pub(crate) struct Axes<'a> {
    pub(crate) x: Range<f64>,
    pub(crate) y: Range<f64>,
    /// Whether the second is one of powers.
    pub(crate) is_log: bool,
    /// Numbers along the first.
    pub(crate) x_labels: usize,
    pub(crate) x_words: Words<'a>,
    pub(crate) y_words: Words<'a>,
}

/// A line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) role: Role,
    /// Whether what is below it is tinted.
    pub(crate) is_filled: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A place along the first axis that has a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) at: f64,
    pub(crate) text: &'static str,
}

/// Lines, and marks behind them.
pub(crate) fn lines(axes: &Axes<'_>, marks: &[Mark], lines: &[Line]) -> Drawn {
    let mut svg = String::new();
    draw_lines(&mut svg, axes, marks, lines).map_err(|error| PlotError(error.to_string()))?;
    Ok(sizeless(&svg, HEIGHT))
}

fn draw_lines(
    svg: &mut String,
    axes: &Axes<'_>,
    marks: &[Mark],
    lines: &[Line],
) -> Result<(), Failed> {
    let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    let mut builder = ChartBuilder::on(&area);
    builder.margin(8).margin_right(28).x_label_area_size(30).y_label_area_size(64);
    let (x, y) = (axes.x.clone(), axes.y.clone());
    if axes.is_log {
        let chart = builder.build_cartesian_2d(x, y.log_scale())?;
        draw_on(chart, axes, marks, lines)?;
    } else {
        draw_on(builder.build_cartesian_2d(x, y)?, axes, marks, lines)?;
    }
    area.present()?;
    Ok(())
}

fn draw_on<X, Y>(
    mut chart: ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    axes: &Axes<'_>,
    marks: &[Mark],
    lines: &[Line],
) -> Result<(), Failed>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let (ink, faint) = (Role::Ink.color(), Role::Faint.color());
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(faint.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .axis_style(faint.stroke_width(1))
        .x_labels(axes.x_labels)
        .y_labels(6)
        .label_style(text(13))
        .x_label_formatter(axes.x_words)
        .y_label_formatter(axes.y_words)
        .draw()?;
    let (low, high) = (axes.y.start, axes.y.end);
    let (first, last) = (axes.x.start, axes.x.end);
    for (number, mark) in marks.iter().enumerate() {
        chart
            .draw_series(LineSeries::new([(mark.at, low), (mark.at, high)], ink.stroke_width(1)))?;
        // Beside its line, on the side where there is room; one below the other, from above, where
        // there seldom is a curve.
        let height = high - (high - low) * (0.03 + 0.09 * number as f64);
        let is_right = mark.at > f64::midpoint(first, last);
        let aside = (last - first) * if is_right { -0.05 } else { 0.006 };
        let at = (mark.at + aside, height);
        chart.draw_series([Text::new(mark.text, at, text(13))])?;
    }
    for Line { role, is_filled, points } in lines {
        let color = role.color();
        if *is_filled {
            chart.draw_series(AreaSeries::new(points.iter().copied(), low, color.mix(0.12)))?;
        }
        chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
        if points.len() < 40 {
            let dot = |point: &(f64, f64)| Circle::new(*point, 3, color.filled());
            chart.draw_series(points.iter().map(dot))?;
        }
    }
    Ok(())
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&Role::Ink.color())
}

/// Two bars for each name, of requests and of bytes, each from 0 to 1.
pub(crate) fn bars(rows: &[(String, f64, f64)]) -> Drawn {
    let height = rows.len().max(1) as u32 * ROW + 12;
    let mut svg = String::new();
    draw_bars(&mut svg, rows, height).map_err(|error| PlotError(error.to_string()))?;
    Ok(sizeless(&svg, height))
}

fn draw_bars(svg: &mut String, rows: &[(String, f64, f64)], height: u32) -> Result<(), Failed> {
    let area = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    for (index, (name, hit, bytes)) in rows.iter().enumerate() {
        let top = i32::try_from(index as u32 * ROW).unwrap_or(0) + 8;
        area.draw(&Text::new(harmless(name, 38), (4, top + 4), text(13)))?;
        for (share, role, down) in [(*hit, Role::Hit, 0), (*bytes, Role::Bytes, 13)] {
            let width = (share.clamp(0.0, 1.0) * BAR_LENGTH).round() as i32;
            let (from, to) = (BAR_START, BAR_START + width.max(1));
            let (above, below) = (top + down, top + down + 10);
            area.draw(&Rectangle::new([(from, above), (to, below)], role.color().filled()))?;
            let at = (BAR_START + 8 + width, above - 1);
            area.draw(&Text::new(percent(share), at, text(11)))?;
        }
    }
    area.present()?;
    Ok(())
}

/// The page sets the size.
fn sizeless(svg: &str, height: u32) -> String {
    svg.replacen(&format!("<svg width=\"{WIDTH}\" height=\"{height}\""), "<svg", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colors(svg: &str) -> Vec<String> {
        svg.split("=\"#").skip(1).map(|part| format!("#{}", &part[..6])).collect()
    }

    #[test]
    fn every_colour_has_a_role() {
        let axes = |is_log| Axes {
            x: 0.0..2.0,
            y: 0.5..4.0,
            is_log,
            x_labels: 3,
            x_words: &|x| format!("x{x}"),
            y_words: &|y| format!("y{y}"),
        };
        let points = vec![(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)];
        let line = Line { role: Role::Stale, is_filled: true, points };
        let mark = Mark { at: 1.5, text: "here" };
        let bars = bars(&[("a".to_owned(), 0.5, 0.25)]).unwrap();
        assert!(bars.starts_with("<svg viewBox=\"0 0 920 46\""), "{bars}");
        let log = lines(&axes(true), &[], std::slice::from_ref(&line)).unwrap();
        let linear = lines(&axes(false), &[mark], &[line]).unwrap();
        assert!(linear.contains("here") && linear.contains("x1") && log.contains("y1"));
        for svg in [bars, log, linear] {
            for color in colors(&svg) {
                assert!(Role::ALL.iter().any(|role| role.hex() == color), "{color}");
            }
        }
    }

    #[test]
    fn no_two_roles_look_the_same_to_the_page() {
        let mut colors: Vec<_> = Role::ALL.iter().map(|role| role.hex()).collect();
        colors.sort();
        colors.dedup();
        assert_eq!(colors.len(), Role::ALL.len());
    }
}
