//! The report as one HTML file: no script, nothing fetched, light and dark.

use std::fmt::{self, Write};

use seawall::forecast::Outcome;
use seawall::forecast::report::{GroupRow, Report};

use super::{plots, ranking};
use crate::page::{self, Drawn, END_OF_TABLE, PlotError, Prose, Role, Safe, figure, legend, table};
use crate::units::{count, duration, harmless, percent, points, size};

/// The page.
pub(super) fn render(report: &Report, base: &str) -> Result<String, PlotError> {
    let svgs = Svgs::new(report, base)?;
    Ok(page::page("Hit rates by seawall replay", |f| body(report, &svgs, f)))
}

/// What those are that are no policies.
const BOUNDS: &str = "Belady knows the future, and is the best there can be where all objects have \
                      one size; the upper bound holds for any sizes, and can't be exceeded.";

/// The plots, where there is something to plot.
struct Svgs {
    over_time: Option<String>,
    load: Option<String>,
    curve: Option<String>,
    peers: Option<String>,
    what_if: Option<String>,
    types: Option<String>,
}

impl Svgs {
    fn new(report: &Report, base: &str) -> Result<Self, PlotError> {
        let has_time = report.timeline.buckets.len() > 1;
        let own = |name: &str| (name.to_owned(), report.hit_ratio, report.byte_hit_ratio);
        let peers: Vec<_> = ranking(report)
            .into_iter()
            .map(|(_, name, hit, bytes)| (name.to_owned(), hit, bytes))
            .collect();
        let variants = report.what_if.iter();
        let variants = variants.map(|it| (it.change.clone(), it.hit_ratio, it.byte_hit_ratio));
        let what_if: Vec<_> = [own(base)].into_iter().chain(variants).collect();
        let drawn = |is_there: bool, plot: &dyn Fn() -> Drawn| {
            if is_there { plot().map(Some) } else { Ok(None) }
        };
        Ok(Self {
            over_time: drawn(has_time, &|| plots::over_time(report))?,
            load: drawn(has_time, &|| plots::load(report))?,
            curve: drawn(report.curve.len() > 1, &|| plots::curve(report))?,
            peers: drawn(!report.peers.is_empty(), &|| page::bars(&peers))?,
            what_if: drawn(what_if.len() > 1, &|| page::bars(&what_if))?,
            types: drawn(report.types.len() > 1, &|| page::bars(&plots::of_groups(&report.types)))?,
        })
    }
}

fn body(report: &Report, svgs: &Svgs, f: &mut String) -> fmt::Result {
    let log = &report.log;
    writeln!(
        f,
        "<h1>What hit rate will this give?</h1><p>{} requests for {} URLs in {}, replayed by \
         <code>seawall replay</code> against {} of memory.</p>",
        count(log.requests),
        count(log.urls),
        duration(log.seconds),
        size(report.memory)
    )?;
    tiles(report, f)?;
    if report.assumed_ratio > 0.0 {
        writeln!(
            f,
            "<p class=\"note\">{} of requests rest on an assumption: neither the log nor the \
             configuration tells how long their responses are fresh. <code>--assume</code> says \
             what is assumed.</p>",
            percent(report.assumed_ratio)
        )?;
    }
    let ratios = legend([(Role::Hit, "requests"), (Role::Bytes, "bytes")]);
    let loads = legend([(Role::Hit, "from clients"), (Role::Origin, "to origins")]);
    let by_memory = match report.knee {
        Some(knee) => {
            format!("{ratios}<p>The knee is at {}: more brings less from there on.</p>", size(knee))
        }
        None => ratios.clone(),
    };
    for (title, about, svg) in [
        ("Hit ratio over time", &ratios, &svgs.over_time),
        ("Requests a second", &loads, &svgs.load),
        ("Hit ratio by memory", &by_memory, &svgs.curve),
        ("What if", &ratios, &svgs.what_if),
    ] {
        if let Some(svg) = svg {
            figure(f, title, about, svg)?;
        }
    }
    what_if(report, f)?;
    if let Some(svg) = &svgs.peers {
        let about = format!("{ratios}<p>{BOUNDS}</p>");
        figure(f, "With as much memory, other policies", &about, svg)?;
    }
    if report.sampled > 1 {
        writeln!(f, "<p>Played with one of {} keys, and as much less memory.</p>", report.sampled)?;
    }
    reasons(report, f)?;
    lost(report, f)?;
    if let Some(svg) = &svgs.types {
        figure(f, "By type", &ratios, svg)?;
    }
    for (what, rows) in [("Host", &report.hosts), ("Path", &report.paths), ("Rule", &report.rules)]
    {
        groups(what, rows, f)?;
    }
    fine_print(report, f)
}

fn tiles(report: &Report, f: &mut String) -> fmt::Result {
    let origin = &report.origin;
    let mut tiles = vec![
        ("hit ratio", percent(report.hit_ratio)),
        ("byte hit ratio", percent(report.byte_hit_ratio)),
        ("origin requests", count(origin.requests)),
        ("origin peak", format!("{}/s", origin.rps_peak)),
        ("origin bytes", size(origin.bytes)),
        ("resident at most", size(report.resident_bytes_max)),
    ];
    if let Some(seconds) = report.seconds_saved {
        tiles.push(("waited less", duration(seconds)));
    }
    page::tiles(f, tiles)?;
    let shares = Outcome::ALL.into_iter().filter_map(|outcome| {
        let counts = report.outcomes.get(outcome.word()).copied().unwrap_or_default();
        let share = counts.requests as f64 / report.requests.max(1) as f64;
        (counts.requests > 0).then(|| (role(outcome), outcome.word(), share))
    });
    page::stack(f, &shares.collect::<Vec<_>>())
}

const fn role(outcome: Outcome) -> Role {
    match outcome {
        Outcome::Fresh => Role::Hit,
        Outcome::Stale => Role::Stale,
        Outcome::Collapsed => Role::Collapsed,
        Outcome::Revalidated => Role::Revalidated,
        Outcome::Missed => Role::Missed,
        Outcome::Uncacheable => Role::Uncacheable,
        Outcome::Answered => Role::Answered,
        Outcome::Refused => Role::Refused,
    }
}

fn reasons(report: &Report, f: &mut String) -> fmt::Result {
    if report.reasons.is_empty() {
        return Ok(());
    }
    f.push_str("<h2>Why requests were no fresh hits</h2>");
    table(f, &["reason", " requests", " bytes", "what happened", "what would win them"])?;
    for row in &report.reasons {
        let (requests, bytes) = (count(row.requests), size(row.bytes));
        let (meaning, advice) = (Prose(row.meaning), Prose(row.advice));
        write!(
            f,
            "<tr><td><code>{}</code><td class=\"n\">{requests}<td class=\"n\">{bytes}<td>{meaning}<td>{advice}</tr>",
            row.reason
        )?;
    }
    f.push_str(END_OF_TABLE);
    Ok(())
}

fn lost(report: &Report, f: &mut String) -> fmt::Result {
    if report.lost.is_empty() {
        return Ok(());
    }
    f.push_str("<h2>URLs that lost most</h2>");
    table(f, &["URL", " lost", " of", "mostly", "what would win them"])?;
    for row in &report.lost {
        let url = harmless(&row.url, 300);
        let (url, advice) = (Safe(&url), Prose(row.advice));
        let (requests, of) = (count(row.requests), count(row.of));
        write!(
            f,
            "<tr><td class=\"url\">{url}<td class=\"n\">{requests}<td class=\"n\">{of}<td><code>{}</code><td>{advice}</tr>",
            row.reason
        )?;
    }
    f.push_str(END_OF_TABLE);
    Ok(())
}

fn what_if(report: &Report, f: &mut String) -> fmt::Result {
    if report.what_if.is_empty() {
        return Ok(());
    }
    table(f, &["what if", " hit", " points", " bytes", " points", " to origin", " peak/s"])?;
    for it in &report.what_if {
        let (hit, bytes) = (percent(it.hit_ratio), percent(it.byte_hit_ratio));
        let by_hit = points(it.hit_ratio - report.hit_ratio);
        let by_bytes = points(it.byte_hit_ratio - report.byte_hit_ratio);
        let (origin, peak) = (count(it.origin_requests), it.origin_rps_peak);
        let change = Safe(&it.change);
        write!(
            f,
            "<tr><td><code>{change}</code><td class=\"n\">{hit}<td class=\"n\">{by_hit}<td class=\"n\">{bytes}<td class=\"n\">{by_bytes}<td class=\"n\">{origin}<td class=\"n\">{peak}</tr>"
        )?;
    }
    f.push_str(END_OF_TABLE);
    Ok(())
}

fn groups(what: &str, rows: &[GroupRow], f: &mut String) -> fmt::Result {
    if rows.len() < 2 {
        return Ok(());
    }
    write!(f, "<h2>By {}</h2>", what.to_lowercase())?;
    table(f, &[what, " requests", " hit", " bytes", " to origin"])?;
    for row in rows {
        let name = harmless(&row.name, 120);
        let (requests, origin) = (count(row.requests), count(row.origin));
        let (hit, bytes) = (percent(row.hit_ratio), percent(row.byte_hit_ratio));
        write!(
            f,
            "<tr><td class=\"url\">{}<td class=\"n\">{requests}<td class=\"n\">{hit}<td class=\"n\">{bytes}<td class=\"n\">{origin}</tr>",
            Safe(&name)
        )?;
    }
    f.push_str(END_OF_TABLE);
    Ok(())
}

fn fine_print(report: &Report, f: &mut String) -> fmt::Result {
    let log = &report.log;
    f.push_str("<h2>The log</h2><ul>");
    write!(f, "<li>{} lines, {} of bodies, each URL once", count(log.lines), size(log.footprint))?;
    for (kind, row) in &log.broken {
        let (lines, text) = (count(row.lines), harmless(&row.text, 160));
        write!(
            f,
            "<li>{lines} lines {} ({kind}); the first is line {}: <code>{}</code>",
            Safe(row.meaning),
            row.first,
            Safe(&text)
        )?;
    }
    if log.sizes_unknown > 0 {
        let urls = count(log.sizes_unknown);
        write!(f, "<li>{urls} URLs never had a body: taken to be of the median size")?;
    }
    if log.is_cut {
        f.push_str("<li>there is more in it than was read");
    }
    for failed in &log.failed {
        write!(f, "<li>it ends early: {}", Safe(failed))?;
    }
    f.push_str("</ul>\n");
    Ok(())
}
