//! A run's report as one page that needs nothing else.

use std::fmt::{self, Write};

use super::metric::{Checked, show_time};
use super::plot;
use super::summary::{PERCENTILES, Summary};
use crate::page::{self, END_OF_TABLE, PlotError, Role, Safe, figure, legend, table};
use crate::units::{count, size};

/// The page.
///
/// # Errors
/// Where a plot can't be drawn.
pub(super) fn render(summary: &Summary, checked: &[Checked]) -> Result<String, PlotError> {
    let latencies = plot::latencies(summary)?;
    let (hits, rate) = (plot::hits(summary)?, plot::rate(summary)?);
    Ok(page::page("seawall bench", |f| {
        writeln!(
            f,
            "<h1>{}</h1><p>{}, {}; {}{}</p>",
            Safe(&summary.run.url),
            Safe(&summary.run.workload),
            Safe(&summary.run.pace),
            Safe(&summary.run.transport),
            if summary.interrupted { "; interrupted" } else { "" },
        )?;
        figures(f, summary)?;
        budgets(f, checked)?;
        kinds(f, summary)?;
        let kinds = summary.answers.iter();
        let kinds = kinds.map(|kind| (plot::role(kind.verdict), kind.verdict.word()));
        figure(f, "Latency by share of answers", &legend(kinds), &latencies)?;
        let about = legend([(Role::Hit, "hits"), (Role::Uncacheable, "failed")]);
        figure(f, "Hit ratio over time, as the cache says", &about, &hits)?;
        figure(f, "Answers a second", "", &rate)?;
        counts(f, summary)
    }))
}

fn figures(f: &mut String, summary: &Summary) -> fmt::Result {
    let percent = |ratio: Option<f64>| {
        ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0))
    };
    let mut tiles = vec![
        ("hit ratio, the cache says", percent(summary.hit_ratio)),
        ("of bytes", percent(summary.byte_hit_ratio)),
        ("with shared fetches", percent(summary.saved_ratio)),
    ];
    if let Some(origin) = &summary.origin {
        tiles.push(("hit ratio, the origin says", percent(origin.hit_ratio)));
        tiles.push(("of bytes", percent(origin.byte_hit_ratio)));
        tiles.push(("came through to the origin", count(origin.requests)));
    }
    tiles.push(("answers a second", format!("{:.0}", summary.requests_per_second)));
    #[expect(clippy::cast_sign_loss, reason = "a rate has none")]
    tiles.push(("a second", size(summary.bytes_per_second as u64)));
    tiles.push(("answers", count(summary.answered)));
    tiles.push(("failed", count(summary.failed)));
    page::tiles(f, tiles)?;
    let shares = summary.answers.iter();
    let shares = shares.map(|kind| (plot::role(kind.verdict), kind.verdict.word(), kind.share));
    page::stack(f, &shares.collect::<Vec<_>>())
}

fn budgets(f: &mut String, checked: &[Checked]) -> fmt::Result {
    if checked.is_empty() {
        return Ok(());
    }
    f.push_str("<h2>Budgets</h2><ul>");
    for checked in checked {
        let class = if checked.met { "good" } else { "bad" };
        write!(f, "<li class=\"{class}\">{}</li>", Safe(&checked.to_string()))?;
    }
    writeln!(f, "</ul>")
}

fn kinds(f: &mut String, summary: &Summary) -> fmt::Result {
    f.push_str("<h2>Latency</h2>");
    let mut columns = vec!["answers".to_owned()];
    let times = PERCENTILES.iter().map(|(name, _)| *name).chain(["max"]);
    columns.extend(["count", "share", "bytes"].into_iter().chain(times).map(|it| format!(" {it}")));
    table(f, &columns.iter().map(String::as_str).collect::<Vec<_>>())?;
    for kind in &summary.answers {
        let Some(latencies) = summary.latencies(Some(kind.verdict)) else { continue };
        let quantiles = PERCENTILES.iter().map(|(_, share)| latencies.quantile(*share));
        let quantiles = quantiles.chain([latencies.most()]);
        let mut cells =
            vec![count(kind.requests), format!("{:.2} %", kind.share * 100.0), size(kind.bytes)];
        cells.extend(quantiles.map(|time| time.map(show_time).unwrap_or_default()));
        write!(f, "<tr><td>{}", kind.verdict.word())?;
        for cell in cells {
            write!(f, "<td class=\"n\">{}", Safe(&cell))?;
        }
        f.push_str("</tr>");
    }
    f.push_str(END_OF_TABLE);
    Ok(())
}

fn counts(f: &mut String, summary: &Summary) -> fmt::Result {
    f.push_str("<h2>Counts</h2>");
    table(f, &["what", " requests"])?;
    let statuses =
        summary.statuses.iter().map(|(status, count)| (format!("status {status}"), *count));
    let told = summary.told_by.iter().map(|(field, count)| (format!("told by {field}"), *count));
    let failures = summary.failures.iter().map(|(word, count)| (format!("failed: {word}"), *count));
    for (what, requests) in statuses.chain(told).chain(failures) {
        write!(f, "<tr><td>{}<td class=\"n\">{}</tr>", Safe(&what), count(requests))?;
    }
    f.push_str(END_OF_TABLE);
    if summary.broken_lines > 0 {
        let lines = count(summary.broken_lines);
        writeln!(f, "<p>{lines} lines of the workload say nothing of a request.</p>")?;
    }
    if summary.left_out > 0 {
        let requests = count(summary.left_out);
        writeln!(f, "<p>{requests} requests of it were not sent.</p>")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::summary;

    #[test]
    fn the_page_is_complete_in_itself_and_what_users_wrote_is_text() {
        let page = render(&summary(), &[]).unwrap();
        for part in ["a &lt;list&gt;", "80.00 %", "90.00 %", "collapsed", "<svg", "status 200"] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
        for foreign in ["<script", "<link", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
