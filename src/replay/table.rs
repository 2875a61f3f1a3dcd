//! The report for a terminal.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use seawall::forecast::report::{GroupRow, Report, Variant};
use seawall::forecast::{Counts, Outcome};

use super::{OURS, ranking};
use crate::units::{count, duration, harmless, percent, points, size};

/// Characters of the longest bar.
const BAR: f64 = 30.0;

/// Rows of a list.
const ROWS: usize = 10;

/// The report as it is printed; with the name of what all is compared with.
pub(super) fn render(report: &Report, base: &str) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(report, base, &mut text);
    text.trim_end().to_owned()
}

fn write(report: &Report, base: &str, f: &mut String) -> fmt::Result {
    summary(report, f)?;
    outcomes(report, f)?;
    reasons(report, f)?;
    lost(report, f)?;
    let groups = [
        ("host", &report.hosts),
        ("type", &report.types),
        ("path", &report.paths),
        ("rule", &report.rules),
    ];
    for (what, rows) in groups {
        group(what, rows, f)?;
    }
    peers(report, f)?;
    curve(report, f)?;
    what_if(report, base, f)?;
    if let [only] = report.what_if.as_slice() {
        differences(report, only, f)?;
    }
    log(report, f)
}

fn summary(report: &Report, f: &mut String) -> fmt::Result {
    let log = &report.log;
    writeln!(
        f,
        "{} requests for {} URLs in {}; all of them together are {}",
        count(log.requests),
        count(log.urls),
        duration(log.seconds),
        size(log.footprint),
    )?;
    let weighed = match report.weigh {
        "body" => "bodies alone are weighed",
        _ => "all that an object costs is weighed",
    };
    let (memory, most) = (size(report.memory), size(report.resident_bytes_max));
    writeln!(f, "memory {memory}, of which at most {most} were resident; {weighed}\n")?;
    let rows = [
        ("hit ratio", percent(report.hit_ratio), "of requests answered from memory at once"),
        ("byte hit ratio", percent(report.byte_hit_ratio), "of bytes to clients"),
        ("origin", format!("{:.2}/s", report.origin.rps_mean), "requests on average"),
        ("", format!("{}/s", report.origin.rps_peak), "at most"),
        ("", size(report.origin.bytes), "of bodies"),
    ];
    for (name, figure, what) in rows {
        writeln!(f, "{name:<16} {figure:>10}  {what}")?;
    }
    if let Some(seconds) = report.seconds_saved {
        writeln!(f, "{:<16} {:>10}  that clients waited less", "saved", duration(seconds))?;
    }
    if report.assumed_ratio > 0.0 {
        let share = percent(report.assumed_ratio);
        writeln!(
            f,
            "{:<16} {share:>10}  of requests rest on what is assumed of lifetimes: neither",
            "assumed"
        )?;
        writeln!(f, "{:>28} the log nor the configuration tells; see --assume", "")?;
    }
    writeln!(f)
}

fn outcomes(report: &Report, f: &mut String) -> fmt::Result {
    writeln!(f, "{:<16} {:>12} {:>8}  {:>12}", "outcome", "requests", "", "bytes")?;
    for outcome in Outcome::ALL {
        let counts = report.outcomes.get(outcome.word()).copied().unwrap_or_default();
        if counts.requests > 0 {
            let share = percent(counts.requests as f64 / report.requests.max(1) as f64);
            let (requests, bytes) = (count(counts.requests), size(counts.bytes));
            writeln!(f, "{:<16} {requests:>12} {share:>8}  {bytes:>12}", outcome.word())?;
        }
    }
    writeln!(f)
}

fn reasons(report: &Report, f: &mut String) -> fmt::Result {
    if report.reasons.is_empty() {
        return Ok(());
    }
    writeln!(f, "{:<24} {:>12}  what would win them", "why no fresh hit", "requests")?;
    for row in report.reasons.iter().take(ROWS) {
        writeln!(f, "{:<24} {:>12}  {}", row.reason, count(row.requests), row.advice)?;
    }
    writeln!(f)
}

fn lost(report: &Report, f: &mut String) -> fmt::Result {
    if report.lost.is_empty() {
        return Ok(());
    }
    writeln!(f, "{:>9} {:>9}  {:<18} URL that lost most", "lost", "of", "mostly")?;
    for row in report.lost.iter().take(ROWS) {
        let (requests, of, url) = (count(row.requests), count(row.of), harmless(&row.url, 100));
        writeln!(f, "{requests:>9} {of:>9}  {:<18} {url}", row.reason)?;
    }
    writeln!(f)
}

fn group(what: &str, rows: &[GroupRow], f: &mut String) -> fmt::Result {
    // One group is all there is.
    if rows.len() < 2 {
        return Ok(());
    }
    writeln!(f, "{what:<40} {:>12} {:>8} {:>8} {:>12}", "requests", "hit", "bytes", "to origin")?;
    for row in rows.iter().take(ROWS) {
        let (requests, origin) = (count(row.requests), count(row.origin));
        let (hit, bytes) = (percent(row.hit_ratio), percent(row.byte_hit_ratio));
        let name = harmless(&row.name, 40);
        writeln!(f, "{name:<40} {requests:>12} {hit:>8} {bytes:>8} {origin:>12}")?;
    }
    if let Some(more) = rows.len().checked_sub(ROWS).filter(|more| *more > 0) {
        writeln!(f, "… and {more} more")?;
    }
    writeln!(f)
}

fn peers(report: &Report, f: &mut String) -> fmt::Result {
    if report.peers.is_empty() {
        return Ok(());
    }
    writeln!(f, "{:<18} {:>8} {:>8}  over or under Seawall", "with as much", "hit", "bytes")?;
    for (is_bound, policy, hit, bytes) in ranking(report) {
        write!(f, "{policy:<18} {:>8} {:>8}", percent(hit), percent(bytes))?;
        if policy != OURS {
            let (hit, bytes) = (hit - report.hit_ratio, bytes - report.byte_hit_ratio);
            write!(f, "  {:>5} {:>6}", points(hit), points(bytes))?;
        }
        writeln!(f, "{}", if is_bound { "  no policy" } else { "" })?;
    }
    sampled(report, f)
}

fn sampled(report: &Report, f: &mut String) -> fmt::Result {
    if report.sampled > 1 {
        writeln!(f, "(played with one of {} keys, and as much less memory)", report.sampled)?;
    }
    writeln!(f)
}

fn curve(report: &Report, f: &mut String) -> fmt::Result {
    if report.curve.is_empty() {
        return Ok(());
    }
    writeln!(f, "{:>12} {:>8} {:>8}", "memory", "hit", "bytes")?;
    for point in &report.curve {
        let bar = bar(point.hit_ratio);
        let mark = match (report.knee == Some(point.memory), point.memory == report.memory) {
            (true, true) => "  ← knee, as now",
            (true, false) => "  ← knee: more brings less from here on",
            (false, true) => "  ← as now",
            (false, false) => "",
        };
        let (hit, bytes) = (percent(point.hit_ratio), percent(point.byte_hit_ratio));
        writeln!(f, "{:>12} {hit:>8} {bytes:>8}  {bar}{mark}", size(point.memory))?;
    }
    sampled(report, f)
}

#[expect(clippy::cast_sign_loss, reason = "a share has none")]
fn bar(share: f64) -> String {
    "█".repeat((share.clamp(0.0, 1.0) * BAR).round() as usize)
}

fn what_if(report: &Report, base: &str, f: &mut String) -> fmt::Result {
    if report.what_if.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "{:>8} {:>7} {:>8} {:>7} {:>12} {:>10}  what if",
        "hit", "", "bytes", "", "to origin", "peak/s"
    )?;
    let mut row = |hit: f64, bytes: f64, origin: u64, peak: u64, name: &str| {
        let (by_hit, by_bytes) =
            (points(hit - report.hit_ratio), points(bytes - report.byte_hit_ratio));
        let (hit, bytes, origin) = (percent(hit), percent(bytes), count(origin));
        let name = harmless(name, 100);
        writeln!(f, "{hit:>8} {by_hit:>7} {bytes:>8} {by_bytes:>7} {origin:>12} {peak:>10}  {name}")
    };
    let origin = &report.origin;
    row(report.hit_ratio, report.byte_hit_ratio, origin.requests, origin.rps_peak, base)?;
    for variant in &report.what_if {
        row(
            variant.hit_ratio,
            variant.byte_hit_ratio,
            variant.origin_requests,
            variant.origin_rps_peak,
            &variant.change,
        )?;
    }
    writeln!(f)
}

/// What one change wins and loses.
fn differences(report: &Report, after: &Variant, f: &mut String) -> fmt::Result {
    writeln!(f, "{:<16} {:>12} {:>12} {:>12}", "outcome", "before", "after", "change")?;
    for outcome in Outcome::ALL.map(Outcome::word) {
        let of = |all: &BTreeMap<&str, Counts>| all.get(outcome).map_or(0, |it| it.requests);
        let (before, after) = (of(&report.outcomes), of(&after.outcomes));
        if before > 0 || after > 0 {
            let sign = if after < before { '-' } else { '+' };
            let difference = format!("{sign}{}", count(after.abs_diff(before)));
            let (before, after) = (count(before), count(after));
            writeln!(f, "{outcome:<16} {before:>12} {after:>12} {difference:>12}")?;
        }
    }
    writeln!(f)
}

fn log(report: &Report, f: &mut String) -> fmt::Result {
    let log = &report.log;
    for (kind, row) in &log.broken {
        let lines = if row.lines == 1 { "line is" } else { "lines are" };
        writeln!(
            f,
            "{} {lines} {} ({kind}); the first is line {}: {}",
            count(row.lines),
            row.meaning,
            row.first,
            harmless(&row.text, 80)
        )?;
    }
    if log.sizes_unknown > 0 {
        let urls = count(log.sizes_unknown);
        writeln!(f, "{urls} URLs never had a body in the log: taken to be of the median size")?;
    }
    if log.is_cut {
        writeln!(f, "there is more in the log: --max-requests is reached")?;
    }
    for failed in &log.failed {
        writeln!(f, "the log ends early: {failed}")?;
    }
    let speed = &report.speed;
    #[expect(clippy::cast_sign_loss, reason = "a rate has none")]
    let by_second = speed.requests_per_second as u64;
    writeln!(
        f,
        "read in {:.2} s, replayed in {:.2} s: {} requests a second; {} in memory",
        speed.reading_seconds,
        speed.replay_seconds,
        count(by_second),
        size(speed.trace_bytes),
    )
}
