//! Plots as SVG files with a light and a dark look of their own.

use std::error::Error;
use std::io;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use crate::peer::Peer;

const WIDTH: u32 = 900;
const HEIGHT: u32 = 360;

/// Height of title and names above a plot, of a bar, and of the gap between groups of them.
const LEGEND: u32 = 56;
const BAR: u32 = 13;
const GAP: u32 = 12;

/// Where bars begin, and how long the longest is.
const BAR_START: i32 = 300;
const BAR_LENGTH: f64 = 520.0;

const PAPER: RGBColor = RGBColor(254, 254, 254);
const INK: RGBColor = RGBColor(27, 36, 48);
const FAINT: RGBColor = RGBColor(213, 218, 225);

/// What those three are in the dark; the others are seen on both.
const DARK: [(RGBColor, &str); 3] = [(PAPER, "#12161C"), (INK, "#E4E9EF"), (FAINT, "#333C47")];

/// One for each server that is compared.
const COLORS: [RGBColor; Peer::ALL.len()] = [
    RGBColor(47, 129, 214),
    RGBColor(31, 157, 116),
    RGBColor(210, 112, 40),
    RGBColor(138, 116, 214),
    RGBColor(207, 81, 81),
    RGBColor(132, 144, 160),
    RGBColor(176, 148, 32),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failed = Box<dyn Error>;

/// A line, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines over an axis that the caller has bent as it likes: its words turn it back.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) lines: Vec<Line>,
    pub(crate) x_words: &'a dyn Fn(&f64) -> String,
    pub(crate) x_labels: usize,
    pub(crate) y_words: &'a dyn Fn(&f64) -> String,
    /// Whether the upright axis is one of powers; else it begins at 0.
    pub(crate) is_log: bool,
}

impl Chart<'_> {
    pub(crate) fn draw(&self) -> io::Result<String> {
        finished(HEIGHT, |area| {
            let names: Vec<_> = self.lines.iter().map(|line| line.name.as_str()).collect();
            legend(area, self.title, &names)?;
            let (_, below) = area.split_vertically(LEGEND);
            if self.lines.iter().all(|line| line.points.is_empty()) {
                return Ok(());
            }
            let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
            let ends = |values: &dyn Fn((f64, f64)) -> f64| {
                let values = points().map(values);
                values.fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(it), high.max(it)))
            };
            let ((left, right), (low, high)) = (ends(&|(x, _)| x), ends(&|(_, y)| y));
            let mut builder = ChartBuilder::on(&below);
            builder.margin(8).margin_right(36).x_label_area_size(30).y_label_area_size(72);
            if self.is_log {
                let y = (low * 0.8..high * 1.3).log_scale();
                self.draw_on(builder.build_cartesian_2d(left..right, y)?)
            } else {
                self.draw_on(builder.build_cartesian_2d(left..right, 0.0..high * 1.1)?)
            }
        })
    }

    fn draw_on<Y>(
        &self,
        mut chart: ChartContext<
            '_,
            SVGBackend<'_>,
            Cartesian2d<plotters::coord::types::RangedCoordf64, Y>,
        >,
    ) -> Result<(), Failed>
    where
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .axis_style(FAINT)
            .x_labels(self.x_labels)
            .y_labels(6)
            .label_style(text(16))
            .x_label_formatter(self.x_words)
            .y_label_formatter(self.y_words)
            .draw()?;
        for (line, color) in self.lines.iter().zip(COLORS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?;
            let dot = |point: &(f64, f64)| Circle::new(*point, 3, color.filled());
            chart.draw_series(line.points.iter().map(dot))?;
        }
        Ok(())
    }
}

/// Bars from nothing, a group of them for each row, and a line where all would be one.
pub(crate) fn bars(
    title: &str,
    names: &[&str],
    rows: &[(String, Vec<Option<f64>>)],
) -> io::Result<String> {
    let group = BAR * names.len() as u32 + GAP;
    let height = LEGEND + group * rows.len() as u32 + GAP;
    finished(height, |area| {
        legend(area, title, names)?;
        let values = rows.iter().flat_map(|(_, values)| values.iter().flatten());
        let most = values.fold(1.0, |most: f64, value| most.max(*value));
        let place = |value: f64| BAR_START + (value / most * BAR_LENGTH).round() as i32;
        let mut top = LEGEND as i32 + GAP as i32;
        for (name, values) in rows {
            let middle = top + (group - GAP) as i32 / 2 - 8;
            area.draw(&Text::new(name.as_str(), (8, middle), text(16)))?;
            for (value, color) in values.iter().zip(COLORS) {
                if let Some(value) = *value {
                    let corners = [(BAR_START, top + 1), (place(value), top + BAR as i32 - 1)];
                    area.draw(&Rectangle::new(corners, color.filled()))?;
                    let at = (place(value) + 6, top);
                    area.draw(&Text::new(format!("{value:.2}"), at, text(13)))?;
                }
                top += BAR as i32;
            }
            top += GAP as i32;
        }
        let line = vec![(place(1.0), LEGEND as i32 + 4), (place(1.0), height as i32 - 4)];
        area.draw(&PathElement::new(line, INK.stroke_width(1)))?;
        Ok(())
    })
}

/// A title, and below it names in their colours, on the right.
fn legend(area: &Area<'_>, title: &str, names: &[&str]) -> Result<(), Failed> {
    const TITLE_TOP: i32 = 10;
    const TOP: i32 = 34;
    /// About what a letter takes.
    const LETTER: i32 = 7;
    area.draw(&Text::new(title, (8, TITLE_TOP), text(18)))?;
    let mut right = WIDTH as i32 - 8;
    for (name, color) in names.iter().zip(COLORS).rev() {
        right -= LETTER * name.chars().count() as i32;
        area.draw(&Text::new(*name, (right, TOP), text(16)))?;
        area.draw(&Rectangle::new([(right - 16, TOP + 2), (right - 6, TOP + 12)], color.filled()))?;
        right -= 32;
    }
    Ok(())
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

fn finished(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<(), Failed>) -> io::Result<String> {
    let mut svg = String::new();
    let failed = |error: Failed| io::Error::other(error.to_string());
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&PAPER).map_err(|error| failed(error.into()))?;
        draw(&area).map_err(failed)?;
        area.present().map_err(|error| failed(error.into()))?;
    }
    Ok(with_style(&svg))
}

/// A style wins over the attributes that a drawing has.
fn with_style(svg: &str) -> String {
    let rule = |(RGBColor(red, green, blue), dark): (RGBColor, &str)| {
        let light = format!("#{red:02X}{green:02X}{blue:02X}");
        format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
    };
    let rules: String = DARK.into_iter().map(rule).collect();
    let style = format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>");
    let Some((head, rest)) = svg.split_once('>') else { return svg.to_owned() };
    format!("{head}>\n{style}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_points_or_one_is_drawn_too() {
        let words = |value: &f64| format!("{value}");
        for points in [vec![], vec![(1.0, 1.0)]] {
            for is_log in [false, true] {
                let lines = vec![Line { name: "one".to_owned(), points: points.clone() }];
                let (x_words, y_words) = (&words, &words);
                let chart = Chart { title: "t", lines, x_words, x_labels: 3, y_words, is_log };
                assert!(chart.draw().unwrap().contains("one"));
            }
        }
    }

    #[test]
    fn what_is_drawn_has_a_look_for_the_dark() {
        let line = Line { name: "one".to_owned(), points: vec![(0.0, 1.0), (2.0, 30.0)] };
        let words = |value: &f64| format!("<{value}>");
        for is_log in [false, true] {
            let lines = vec![line.clone()];
            let (x_words, y_words) = (&words, &words);
            let chart = Chart { title: "t", lines, x_words, x_labels: 3, y_words, is_log };
            let svg = chart.draw().unwrap();
            assert!(
                svg.starts_with("<svg ") && svg.contains("><style>") || svg.contains(">\n<style>")
            );
            assert!(
                svg.contains("fill=\"#FEFEFE\"")
                    && svg.contains("[fill=\"#FEFEFE\"]{fill:#12161C}")
            );
            assert!(svg.contains("&lt;"), "words are text: {svg}");
        }
        let all = [Some(1.5), None, Some(1.0), Some(1.0), Some(1.0), Some(1.0), Some(0.75)];
        let rows = [("row".to_owned(), all.to_vec())];
        let svg = bars("t", &Peer::ALL.map(Peer::name), &rows).unwrap();
        assert!(svg.contains("Seawall") && svg.contains("0.75"), "the last one too: {svg}");
        let rows = [("row".to_owned(), vec![Some(1.5), None])];
        let svg = bars("t", &["a", "b"], &rows).unwrap();
        assert!(svg.contains("1.50") && svg.contains("row"));
    }
}
