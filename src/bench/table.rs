//! A run's figures for a terminal, and as JSON.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use serde::Serialize;

use super::failure::Failure;
use super::metric::{Checked, Side, show_time};
use super::record::Latencies;
use super::summary::{AtOrigin, Summary};
use crate::units::{count, size};

/// Percentiles that a terminal has room for.
const SHOWN: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// A budget, for JSON.
#[derive(Serialize)]
struct JsonBudget<'a> {
    figure: &'a str,
    least: Option<f64>,
    most: Option<f64>,
    value: Option<f64>,
    met: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    budgets: Vec<JsonBudget<'a>>,
}

/// One object; times are in milliseconds, ratios from 0 to 1.
pub(super) fn json(summary: &Summary, checked: &[Checked]) -> String {
    let budgets = checked.iter().map(|checked| {
        let (figure, side, bound) = checked.budget.parts();
        JsonBudget {
            figure,
            least: (side == Side::NotUnder).then_some(bound),
            most: (side == Side::NotOver).then_some(bound),
            value: checked.value,
            met: checked.met,
        }
    });
    let json = Json { summary, budgets: budgets.collect() };
    // Invariant: names are text and numbers are finite, which is all that can go wrong.
    serde_json::to_string_pretty(&json).unwrap_or_default()
}

/// Lines for people.
pub(super) fn render(summary: &Summary, checked: &[Checked]) -> String {
    let mut page = Page::default();
    let run = &summary.run;
    page.line("target", format_args!("{}: {}", run.url, run.transport));
    page.line("workload", format_args!("{}, {}", run.workload, run.pace));
    let ended = if summary.interrupted { " (interrupted)" } else { "" };
    page.line(
        "requests",
        format_args!(
            "{} in {:.2} s{ended}: {} answered, {} failed",
            count(summary.requests),
            summary.seconds,
            count(summary.answered),
            count(summary.failed)
        ),
    );
    #[expect(clippy::cast_sign_loss, reason = "a rate has none")]
    let by_second = summary.bytes_per_second as u64;
    page.line(
        "throughput",
        format_args!(
            "{:.0} answers and {} a second; {} in all",
            summary.requests_per_second,
            size(by_second),
            size(summary.bytes)
        ),
    );
    ratios(&mut page, summary);
    latencies(&mut page, summary);
    counts(&mut page, summary);
    for checked in checked {
        page.line(if checked.met { "budget met" } else { "BUDGET MISSED" }, checked);
    }
    page.0.trim_end().to_owned()
}

/// Lines with a name before each.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, name: &str, text: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{name:<14}{text}");
    }
}

fn ratios(page: &mut Page, summary: &Summary) {
    let percent = |ratio: Option<f64>| {
        ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0))
    };
    match summary.hit_ratio {
        None => page.line("hit ratio", "no answer says what the cache did"),
        ratio => page.line(
            "hit ratio",
            format_args!(
                "the cache says  {:>9} of requests, {:>9} of bytes; {} with shared fetches",
                percent(ratio),
                percent(summary.byte_hit_ratio),
                percent(summary.saved_ratio)
            ),
        ),
    }
    if let Some(AtOrigin { requests, not_modified, bytes, hit_ratio, byte_hit_ratio }) =
        summary.origin
    {
        page.line(
            "",
            format_args!(
                "the origin says {:>9} of requests, {:>9} of bytes; {} came through, {} of them 304, {}",
                percent(hit_ratio),
                percent(byte_hit_ratio),
                count(requests),
                count(not_modified),
                size(bytes)
            ),
        );
    }
}

fn latencies(page: &mut Page, summary: &Summary) {
    if summary.answered == 0 {
        return;
    }
    let mut head = format!("{:>12}{:>9}", "answers", "share");
    for (name, _) in SHOWN {
        let _ = write!(head, "{name:>10}");
    }
    page.line("\nlatency", head);
    for kind in &summary.answers {
        if let Some(latencies) = summary.latencies(Some(kind.verdict)) {
            row(page, kind.verdict.word(), kind.requests, kind.share, &latencies);
        }
    }
    row(page, "all", summary.answered, 1.0, &summary.record.latencies());
    if summary.record.lag.count() > 0 {
        let mut line = format!("{:>12}{:>9}", "", "");
        times(&mut line, &summary.record.lag);
        page.line("sent late by", line);
    }
    page.0.push('\n');
}

fn row(page: &mut Page, name: &str, answers: u64, share: f64, latencies: &Latencies) {
    let mut line = format!("{:>12}{:>8.2}%", count(answers), share * 100.0);
    times(&mut line, latencies);
    page.line(name, line);
}

fn times(line: &mut String, latencies: &Latencies) {
    for (_, share) in SHOWN {
        let time = latencies.quantile(share).map(show_time).unwrap_or_default();
        let _ = write!(line, "{time:>10}");
    }
}

fn counts(page: &mut Page, summary: &Summary) {
    if !summary.told_by.is_empty() {
        page.line("told by", list(&summary.told_by));
    }
    if !summary.statuses.is_empty() {
        page.line("status", list(&summary.statuses));
    }
    for failure in Failure::ALL {
        if let Some(requests) = summary.failures.get(failure.word()) {
            page.line(
                "failed",
                format_args!("{}: {} ({failure})", failure.word(), count(*requests)),
            );
        }
    }
    let noted = &summary.noted;
    if noted.broken > 0 {
        let (lines, first) = (count(noted.broken), noted.first_broken);
        page.line(
            "left out",
            format_args!("{lines} lines without a request; the first is {first}"),
        );
    }
    if noted.left_out > 0 {
        let requests = count(noted.left_out);
        page.line(
            "left out",
            format_args!("{requests} requests that can't be sent, or not without --all-methods"),
        );
    }
    if let Some(error) = &noted.failed {
        page.line("left out", format_args!("the rest of the file: {error}"));
    }
}

fn list<K: Display>(counts: &BTreeMap<K, u64>) -> String {
    let parts = counts.iter().map(|(key, number)| format!("{key}: {}", count(*number)));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::metric::Budget;
    use crate::bench::testing::summary;

    #[test]
    fn the_table_has_both_ratios_and_a_line_for_each_kind() {
        let summary = summary();
        let budget = |text| Budget::read(text, true).unwrap().check(&summary);
        let text = render(&summary, &[budget("hit_ratio>=90%"), budget("rps>=1")]);
        for part in [
            "the cache says    80.00 % of requests,   80.00 % of bytes; 90.00 % with shared fetches",
            "the origin says   90.00 % of requests,   90.00 % of bytes; 10 came through",
            "hit                     80   80.00%   1.00 ms",
            "collapsed               10",
            "all                    100  100.00%",
            "Cache-Status: 100",
            "200: 100",
            "BUDGET MISSED hit_ratio is 80.00 %, under 90.00 %",
            "budget met    rps is 50 a second",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn the_json_has_what_scripts_need() {
        let summary = summary();
        let budget = Budget::read("p99<=50ms", true).unwrap().check(&summary);
        let text = json(&summary, &[budget]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["requests"], 100);
        assert_eq!(json["hit_ratio"], 0.8);
        assert_eq!(json["origin"]["hit_ratio"], 0.9);
        assert_eq!(json["answers"][0]["verdict"], "hit");
        assert!(json["answers"][0]["latency_ms"]["p99.9"].is_f64());
        assert_eq!(json["statuses"]["200"], 100);
        assert_eq!(json["budgets"][0]["most"], 50.0);
        assert_eq!(json["budgets"][0]["met"], false);
        assert_eq!(json["url"], "http://127.0.0.1:8080");
    }
}
