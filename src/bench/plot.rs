//! Plots of a run.

use std::ops::Range;

use super::record::Latencies;
use super::summary::Summary;
use super::verdict::Verdict;
use crate::page::{Axes, Drawn, Line, Role, lines};

/// Points of a line at most.
const POINTS: usize = 120;

/// What a kind of answer looks like.
pub(super) const fn role(verdict: Verdict) -> Role {
    match verdict {
        Verdict::Hit => Role::Hit,
        Verdict::Stale => Role::Stale,
        Verdict::Collapsed => Role::Collapsed,
        Verdict::Revalidated => Role::Revalidated,
        Verdict::Miss => Role::Missed,
        Verdict::Bypass => Role::Uncacheable,
        Verdict::Silent => Role::Answered,
    }
}

/// Latency by share of answers, in nines: where a kind of answer has its slow ones.
pub(super) fn latencies(summary: &Summary) -> Drawn {
    let kinds = summary.answers.iter().filter_map(|kind| {
        let points = nines(&summary.latencies(Some(kind.verdict))?);
        Some(Line { role: role(kind.verdict), is_filled: false, points })
    });
    let kinds: Vec<_> = kinds.collect();
    let times = || kinds.iter().flat_map(|line| &line.points).map(|point| point.1);
    let most = times().fold(0.01, f64::max);
    let least = times().fold(most, f64::min).max(0.001);
    let axes = Axes {
        x: 0.0..4.0,
        y: least * 0.8..most * 1.3,
        is_log: true,
        x_labels: 5,
        x_words: &|nines| share_name(*nines),
        y_words: &|millis| format!("{millis} ms"),
    };
    lines(&axes, &[], &kinds)
}

/// The share of answers from the store, and what failed, over time.
pub(super) fn hits(summary: &Summary) -> Drawn {
    over_time(summary, 0.0..100.0, "%", |_, slot| {
        let share = |part: u64, whole: u64| 100.0 * part as f64 / whole as f64;
        let hits = (slot.answered > 0).then(|| share(slot.hits, slot.answered));
        let failed = (slot.failed > 0).then(|| share(slot.failed, slot.answered + slot.failed));
        [(Role::Hit, hits), (Role::Uncacheable, failed)]
    })
}

/// Answers a second over time.
pub(super) fn rate(summary: &Summary) -> Drawn {
    let timeline = summary.timeline().coarser(POINTS);
    let width = timeline.width().as_secs_f64();
    let most = timeline.slots().iter().map(|slot| slot.answered).max().unwrap_or_default();
    let most = (most as f64 / width).max(1.0) * 1.1;
    over_time(summary, 0.0..most, "/s", |width, slot| {
        [(Role::Hit, Some(slot.answered as f64 / width)), (Role::Ink, None)]
    })
}

fn over_time(
    summary: &Summary,
    range: Range<f64>,
    unit: &str,
    of: impl Fn(f64, &super::timeline::Slot) -> [(Role, Option<f64>); 2],
) -> Drawn {
    let timeline = summary.timeline().coarser(POINTS);
    let width = timeline.width().as_secs_f64();
    let line = |role| Line { role, is_filled: role == Role::Hit, points: Vec::new() };
    let mut drawn = [line(Role::Hit), line(Role::Uncacheable)];
    // The last slot was not run through: what is in it would look like a fall.
    let is_whole = |number: usize| number == 0 || (number + 1) as f64 * width <= summary.seconds;
    for (number, slot) in timeline.slots().iter().enumerate().filter(|(it, _)| is_whole(*it)) {
        for (line, (role, value)) in drawn.iter_mut().zip(of(width, slot)) {
            if let Some(value) = value {
                line.role = role;
                line.points.push(((number as f64 + 0.5) * width, value));
            }
        }
    }
    let axes = Axes {
        x: 0.0..timeline.slots().len().max(1) as f64 * width,
        y: range,
        is_log: false,
        x_labels: 9,
        x_words: &|seconds| format!("{} s", (seconds * 1e3).round() / 1e3),
        y_words: &|value| format!("{value}{unit}"),
    };
    let [first, second] = drawn;
    let mut drawn = vec![first];
    drawn.extend(Some(second).filter(|line| !line.points.is_empty()));
    lines(&axes, &[], &drawn)
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
        assert!(svg.matches("polyline").count() >= 3, "{svg}");
        assert!(svg.contains("99 %"), "{svg}");
        assert!(hits(&summary()).unwrap().contains("polyline"));
        assert!(rate(&summary()).unwrap().contains("polyline"));
    }
}
