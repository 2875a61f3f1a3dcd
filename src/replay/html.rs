//! The report as one HTML file: no script, nothing fetched, light and dark.

use std::fmt::{self, Display, Write};

use seawall::forecast::Outcome;
use seawall::forecast::report::{GroupRow, Report};

use super::plots::{self, PlotError, ROLES};
use super::units::{count, duration, harmless, percent, points, size};

const STYLE: &str = include_str!("style.css");

/// The page.
pub(super) fn render(report: &Report) -> Result<String, PlotError> {
    let mut roles = String::new();
    for (color, role) in ROLES {
        // Writing to a string does not fail.
        let _ = write!(
            roles,
            "svg [fill=\"{color}\"]{{fill:var(--{role})}}svg [stroke=\"{color}\"]{{stroke:var(--{role})}}"
        );
    }
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>Hit rates by seawall replay</title><style>{STYLE}{roles}</style></head><body><main>\n"
    );
    let svgs = Svgs::new(report)?;
    let _ = body(report, &svgs, &mut page);
    page.push_str("</main></body></html>\n");
    Ok(page)
}

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
    fn new(report: &Report) -> Result<Self, PlotError> {
        let has_time = report.timeline.buckets.len() > 1;
        let mut peers: Vec<_> = report
            .peers
            .iter()
            .map(|peer| (peer.policy.to_owned(), peer.hit_ratio, peer.byte_hit_ratio))
            .collect();
        let own = |name: &str| (name.to_owned(), report.hit_ratio, report.byte_hit_ratio);
        if !peers.is_empty() {
            peers.push(own("Seawall"));
            peers.sort_by(|one, other| other.1.total_cmp(&one.1));
        }
        let variants = report.what_if.iter();
        let variants = variants.map(|it| (it.change.clone(), it.hit_ratio, it.byte_hit_ratio));
        let what_if: Vec<_> = [own("as it is")].into_iter().chain(variants).collect();
        let drawn = |is_there: bool, plot: &dyn Fn() -> Result<String, PlotError>| {
            if is_there { plot().map(Some) } else { Ok(None) }
        };
        Ok(Self {
            over_time: drawn(has_time, &|| plots::over_time(report))?,
            load: drawn(has_time, &|| plots::load(report))?,
            curve: drawn(report.curve.len() > 1, &|| plots::curve(report))?,
            peers: drawn(!peers.is_empty(), &|| plots::bars(&peers))?,
            what_if: drawn(what_if.len() > 1, &|| plots::bars(&what_if))?,
            types: drawn(report.types.len() > 1, &|| {
                plots::bars(&plots::of_groups(&report.types))
            })?,
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
    let legend =
        "<p class=\"legend\"><i class=\"hit\"></i> requests <i class=\"bytes\"></i> bytes</p>";
    figure(f, "Hit ratio over time", legend, svgs.over_time.as_ref())?;
    let loads = "<p class=\"legend\"><i class=\"hit\"></i> from clients <i class=\"origin\"></i> to origins</p>";
    figure(f, "Requests a second", loads, svgs.load.as_ref())?;
    let by_memory = match report.knee {
        Some(knee) => {
            format!("{legend}<p>The knee is at {}: more brings less from there on.</p>", size(knee))
        }
        None => legend.to_owned(),
    };
    figure(f, "Hit ratio by memory", &by_memory, svgs.curve.as_ref())?;
    figure(f, "What if", legend, svgs.what_if.as_ref())?;
    what_if(report, f)?;
    figure(f, "With as much memory, other policies", legend, svgs.peers.as_ref())?;
    if report.sampled > 1 {
        writeln!(f, "<p>Played with one of {} keys, and as much less memory.</p>", report.sampled)?;
    }
    reasons(report, f)?;
    lost(report, f)?;
    figure(f, "By type", legend, svgs.types.as_ref())?;
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
    f.push_str("<div class=\"tiles\">");
    for (name, figure) in tiles {
        write!(f, "<div><b>{}</b><span>{name}</span></div>", Safe(&figure))?;
    }
    f.push_str("</div>\n<div class=\"stack\">");
    for outcome in Outcome::ALL {
        let counts = report.outcomes.get(outcome.word()).copied().unwrap_or_default();
        let share = counts.requests as f64 / report.requests.max(1) as f64;
        if counts.requests > 0 {
            let word = outcome.word();
            let width = share * 100.0;
            write!(
                f,
                "<div class=\"{word}\" style=\"flex-grow:{width:.3}\" title=\"{word}: {}\"></div>",
                percent(share)
            )?;
        }
    }
    f.push_str("</div>\n<p class=\"legend\">");
    for outcome in Outcome::ALL {
        let counts = report.outcomes.get(outcome.word()).copied().unwrap_or_default();
        if counts.requests > 0 {
            let word = outcome.word();
            let share = percent(counts.requests as f64 / report.requests.max(1) as f64);
            write!(f, "<i class=\"{word}\"></i> {word} {share} ")?;
        }
    }
    f.push_str("</p>\n");
    Ok(())
}

fn figure(f: &mut String, title: &str, about: &str, svg: Option<&String>) -> fmt::Result {
    match svg {
        Some(svg) => writeln!(f, "<h2>{title}</h2>{about}<figure>{svg}</figure>"),
        None => Ok(()),
    }
}

fn reasons(report: &Report, f: &mut String) -> fmt::Result {
    if report.reasons.is_empty() {
        return Ok(());
    }
    f.push_str("<h2>Why requests were no fresh hits</h2><table><tr><th>reason<th class=\"n\">requests<th class=\"n\">bytes<th>what happened<th>what would win them</tr>");
    for row in &report.reasons {
        let (requests, bytes) = (count(row.requests), size(row.bytes));
        let (meaning, advice) = (Safe(row.meaning), Safe(row.advice));
        write!(
            f,
            "<tr><td><code>{}</code><td class=\"n\">{requests}<td class=\"n\">{bytes}<td>{meaning}<td>{advice}</tr>",
            row.reason
        )?;
    }
    f.push_str("</table>\n");
    Ok(())
}

fn lost(report: &Report, f: &mut String) -> fmt::Result {
    if report.lost.is_empty() {
        return Ok(());
    }
    f.push_str("<h2>URLs that lost most</h2><table><tr><th>URL<th class=\"n\">lost<th class=\"n\">of<th>mostly<th>what would win them</tr>");
    for row in &report.lost {
        let url = harmless(&row.url, 300);
        let (url, advice) = (Safe(&url), Safe(row.advice));
        let (requests, of) = (count(row.requests), count(row.of));
        write!(
            f,
            "<tr><td class=\"url\">{url}<td class=\"n\">{requests}<td class=\"n\">{of}<td><code>{}</code><td>{advice}</tr>",
            row.reason
        )?;
    }
    f.push_str("</table>\n");
    Ok(())
}

fn what_if(report: &Report, f: &mut String) -> fmt::Result {
    if report.what_if.is_empty() {
        return Ok(());
    }
    f.push_str("<table><tr><th>what if<th class=\"n\">hit<th class=\"n\"><th class=\"n\">bytes<th class=\"n\"><th class=\"n\">to origin<th class=\"n\">peak/s</tr>");
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
    f.push_str("</table>\n");
    Ok(())
}

fn groups(what: &str, rows: &[GroupRow], f: &mut String) -> fmt::Result {
    if rows.len() < 2 {
        return Ok(());
    }
    write!(
        f,
        "<h2>By {}</h2><table><tr><th>{what}<th class=\"n\">requests<th class=\"n\">hit<th class=\"n\">bytes<th class=\"n\">to origin</tr>",
        what.to_lowercase()
    )?;
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
    f.push_str("</table>\n");
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
        write!(f, "<li>{urls} URLs never had a whole body: taken to be of the median size")?;
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

/// Text from anywhere, in HTML.
struct Safe<'a>(&'a str);

impl Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
