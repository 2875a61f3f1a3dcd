//! The plots of a replay.

use seawall::forecast::report::{GroupRow, Report};

use crate::page::{Axes, Drawn, Line, Mark, Role, lines};
use crate::units::size;

/// Hit ratios over time.
pub(super) fn over_time(report: &Report) -> Drawn {
    let time = &report.timeline;
    let last = time.buckets.len().saturating_sub(1) as f64 * time.seconds;
    let (unit, name) = unit(last);
    let at = |index: usize| index as f64 * time.seconds / unit;
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let buckets = || time.buckets.iter().enumerate();
    let hits = buckets().filter_map(|(index, it)| Some((at(index), share(it.hits, it.requests)?)));
    let bytes =
        buckets().filter_map(|(index, it)| Some((at(index), share(it.hit_bytes, it.bytes)?)));
    let bytes = Line { role: Role::Bytes, is_filled: false, points: bytes.collect() };
    let hits = Line { role: Role::Hit, is_filled: true, points: hits.collect() };
    let axes = Axes {
        x: 0.0..(last / unit).max(1.0 / unit),
        y: 0.0..1.0,
        is_log: false,
        x_labels: 8,
        x_words: &|it| format!("+{it} {name}"),
        y_words: &|it| format!("{:.0} %", it * 100.0),
    };
    lines(&axes, &[], &[bytes, hits])
}

/// Requests of clients and to origins over time, a second.
pub(super) fn load(report: &Report) -> Drawn {
    let time = &report.timeline;
    let last = time.buckets.len().saturating_sub(1) as f64 * time.seconds;
    let (unit, name) = unit(last);
    let at = |index: usize| index as f64 * time.seconds / unit;
    let rate = |count: u64| count as f64 / time.seconds.max(1e-9);
    let buckets = || time.buckets.iter().enumerate();
    let all: Vec<_> = buckets().map(|(index, it)| (at(index), rate(it.requests))).collect();
    let origin = buckets().map(|(index, it)| (at(index), rate(it.origin))).collect();
    let origin = Line { role: Role::Origin, is_filled: true, points: origin };
    let most = all.iter().chain(&origin.points).map(|(_, rate)| *rate).fold(0.0, f64::max);
    let most = most.max(1e-6) * 1.05;
    let digits = match most {
        it if it < 0.1 => 4,
        it if it < 10.0 => 2,
        _ => 0,
    };
    let axes = Axes {
        x: 0.0..(last / unit).max(1.0 / unit),
        y: 0.0..most,
        is_log: false,
        x_labels: 8,
        x_words: &|it| format!("+{it} {name}"),
        y_words: &|it| format!("{it:.digits$}"),
    };
    lines(&axes, &[], &[Line { role: Role::Hit, is_filled: false, points: all }, origin])
}

/// What more memory would bring, on a scale of powers of two.
pub(super) fn curve(report: &Report) -> Drawn {
    let scale = |memory: u64| (memory.max(1) as f64).log2();
    let points = || report.curve.iter();
    let hits: Vec<_> = points().map(|it| (scale(it.memory), it.hit_ratio)).collect();
    let bytes = points().map(|it| (scale(it.memory), it.byte_hit_ratio)).collect();
    let (first, last) = (hits.first().map_or(0.0, |it| it.0), hits.last().map_or(1.0, |it| it.0));
    #[expect(clippy::cast_sign_loss, reason = "a power of two has none")]
    let memory = |it: &f64| size(2_f64.powf(*it) as u64);
    let marks = [(Some(report.memory), "now"), (report.knee, "knee")];
    let marks = marks.into_iter().filter_map(|(at, text)| Some(Mark { at: scale(at?), text }));
    let axes = Axes {
        x: first..last.max(first + 1.0),
        y: 0.0..1.0,
        is_log: false,
        x_labels: 8,
        x_words: &memory,
        y_words: &|it| format!("{:.0} %", it * 100.0),
    };
    let bytes = Line { role: Role::Bytes, is_filled: false, points: bytes };
    let hits = Line { role: Role::Hit, is_filled: true, points: hits };
    lines(&axes, &marks.collect::<Vec<_>>(), &[bytes, hits])
}

/// Rows of groups, for bars.
pub(super) fn of_groups(rows: &[GroupRow]) -> Vec<(String, f64, f64)> {
    let row = |row: &GroupRow| (row.name.clone(), row.hit_ratio, row.byte_hit_ratio);
    rows.iter().take(12).map(row).collect()
}

/// What so many seconds are told in: how many of them it has, and its name.
const fn unit(seconds: f64) -> (f64, &'static str) {
    match seconds {
        it if it >= 172_800.0 => (86_400.0, "d"),
        it if it >= 7200.0 => (3600.0, "h"),
        it if it >= 120.0 => (60.0, "min"),
        _ => (1.0, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        for (seconds, name) in
            [(0.0, "s"), (90.0, "s"), (5400.0, "min"), (86_400.0, "h"), (259_200.0, "d")]
        {
            assert_eq!(unit(seconds).1, name);
        }
    }
}
