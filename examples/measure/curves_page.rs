//! What `measure curves` found, as tables and plots.

use std::io;

use crate::conditions::{self, Conditions};
use crate::curves::{Curve, Feature, Point, file};
use crate::page::{Page, Table, figure, grouped, with_failures};
use crate::plot::{Chart, Line};
use crate::results::Results;
use crate::rounds::{Sample, failed, median};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Writes the section, if anything is known.
pub(crate) fn write(page: &mut Page, results: &Results) -> io::Result<()> {
    let known: Vec<(Curve, Vec<Point>)> = Curve::ALL
        .into_iter()
        .filter_map(|curve| Some((curve, results.get(&file(curve.name()))?)))
        .collect();
    if known.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    if let Some(conditions) = results.get::<Conditions>(&conditions::file("curves")) {
        text += &conditions.told(&conditions.turns.told());
    }
    text += "CPU-s/1M of memory hits of 1 KiB; \"×\" is over the row above. *Noise* is what others used of a \
             core meanwhile, in percent.\n\n";
    let (sizes, counts): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|(curve, _)| *curve == Curve::Size);
    if !counts.is_empty() {
        text += &page.plot("curves", "CPU by how many there are", &by_count(&counts)?)?;
    }
    for (curve, points) in &counts {
        text += &table(*curve, points);
    }
    for (curve, points) in &sizes {
        text += &page.plot("sizes", "CPU by size of body", &by_size(points)?)?;
        text += &table(*curve, points);
    }
    if let Some(features) = results.get::<Vec<(Feature, Vec<Sample>)>>(&file("features")) {
        text += &switched_on(&features);
    }
    page.set("curves", &text)
}

fn cpu_cell(samples: &[Sample]) -> String {
    with_failures(figure(cpu(samples)), failed(samples))
}

fn cpu(samples: &[Sample]) -> Option<f64> {
    median(samples.iter().map(|sample| sample.cpu))
}

fn noise(samples: &[Sample]) -> String {
    let noise = median(samples.iter().map(|sample| sample.noise));
    noise.map_or_else(|| figure(None), |noise| format!("{noise:.0}"))
}

fn table(curve: Curve, points: &[Point]) -> String {
    let is_size = curve == Curve::Size;
    let more = match curve {
        Curve::Objects => "bytes an object, body included",
        Curve::Size => "for a million MiB",
        _ => "",
    };
    let columns = [curve.name(), "CPU-s/1M", "×", "p99 ms", "noise", more];
    let mut table = Table::new(if more.is_empty() { &columns[..5] } else { &columns });
    let mut last = None;
    for Point { count, samples, bytes } in points {
        let now = cpu(samples);
        let growth = now.and_then(|now| Some(now / last?));
        let p99 = median(samples.iter().filter_map(|sample| sample.told.p99));
        let name = if is_size { size(*count as f64) } else { grouped(*count as f64) };
        let mut cells = vec![name, cpu_cell(samples), figure(growth), figure(p99), noise(samples)];
        match curve {
            Curve::Objects => cells.push(figure(*bytes)),
            Curve::Size => cells.push(figure(now.map(|now| now * MEBIBYTE / *count as f64))),
            _ => {}
        }
        table.row(&cells);
        last = now;
    }
    table.finish()
}

fn switched_on(features: &[(Feature, Vec<Sample>)]) -> String {
    let mut table = Table::new(&["switched on", "CPU-s/1M", "× without", "noise"]);
    let without = features.iter().find(|(feature, _)| *feature == Feature::None);
    let without = without.and_then(|(_, samples)| cpu(samples));
    for (feature, samples) in features {
        let now = cpu(samples);
        let ratio = now.and_then(|now| Some(now / without?));
        table.row(&[feature.title().to_owned(), cpu_cell(samples), figure(ratio), noise(samples)]);
    }
    table.finish()
}

fn points(points: &[Point]) -> Vec<(f64, f64)> {
    let place = |point: &Point| Some(((point.count as f64).log10(), cpu(&point.samples)?));
    points.iter().filter_map(place).collect()
}

fn by_count(known: &[(Curve, Vec<Point>)]) -> io::Result<String> {
    let line = |(curve, it): &(Curve, Vec<Point>)| Line {
        name: curve.name().to_owned(),
        points: points(it),
    };
    Chart {
        title: "CPU-s/1M by how many there are",
        lines: known.iter().map(line).collect(),
        x_words: &|power| grouped(10f64.powf(*power)),
        x_labels: 7,
        y_words: &|cpu| format!("{cpu}"),
        is_log: false,
    }
    .draw()
}

fn by_size(known: &[Point]) -> io::Result<String> {
    Chart {
        title: "CPU-s/1M by size of body",
        lines: vec![Line { name: "Seawall".to_owned(), points: points(known) }],
        x_words: &|power| size(10f64.powf(*power)),
        x_labels: 6,
        y_words: &|cpu| grouped(*cpu),
        is_log: true,
    }
    .draw()
}

fn size(bytes: f64) -> String {
    if bytes < MEBIBYTE {
        format!("{:.0} KiB", bytes / 1024.0)
    } else {
        format!("{:.0} MiB", bytes / MEBIBYTE)
    }
}
