//! A run's report as one page that needs nothing else: no script, no font, no network.

use std::fmt::{Display, Write};

use super::metric::{Checked, show_time};
use super::plot;
use super::summary::{PERCENTILES, Summary};
use super::table::{grouped, size};

/// Colours by what the reader's system prefers; those of the plots' text and axes follow, because a
/// rule wins over an attribute.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2530;--paper:#fff;--line:#d8dee6;--dim:#5b6877;--bad:#c0392b;--good:#1e8449}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ef;--paper:#14191f;--line:#323b46;--dim:#9aa7b5;--bad:#ff7b6b;--good:#5fd28b}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}
th{font-weight:600;color:var(--dim)}p.dim{color:var(--dim)}.wide{overflow-x:auto}
.figures{display:flex;flex-wrap:wrap;gap:1rem 2.5rem}.figures b{display:block;font-size:1.6rem}
.figures span{color:var(--dim)}.bad{color:var(--bad)}.good{color:var(--good)}
svg{width:100%;height:auto}svg text{fill:var(--ink)}
svg [stroke=\"#000000\"]{stroke:var(--ink)}svg [fill=\"#000000\"]:not(text){fill:var(--ink)}svg [fill=\"#FFFFFF\"]{fill:none}";

/// The page.
pub(super) fn render(summary: &Summary, checked: &[Checked]) -> String {
    let mut page = String::from("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    // Writing to a string does not fail, here and below.
    let _ = write!(
        page,
        "<meta name=\"viewport\" content=\"width=device-width\"><title>Seawall bench</title>\
         <style>{STYLE}</style><h1>{}</h1><p class=\"dim\">{}, {}; {}{}</p>",
        text(&summary.run.url),
        text(&summary.run.workload),
        text(&summary.run.pace),
        text(&summary.run.transport),
        if summary.interrupted { "; interrupted" } else { "" },
    );
    figures(&mut page, summary);
    budgets(&mut page, checked);
    kinds(&mut page, summary);
    for (title, drawn) in [
        ("Latency by share of answers", plot::latencies(summary)),
        ("Hit ratio over time, as the cache says", plot::hits(summary)),
        ("Answers a second", plot::rate(summary)),
    ] {
        let _ = write!(page, "<h2>{title}</h2>");
        match drawn {
            Ok(svg) => page.push_str(&svg),
            Err(error) => {
                let _ = write!(page, "<p>This plot can't be drawn: {}</p>", text(error));
            }
        }
    }
    counts(&mut page, summary);
    page.push_str("</html>\n");
    page
}

fn figures(page: &mut String, summary: &Summary) {
    let percent = |ratio: Option<f64>| {
        ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0))
    };
    let mut shown = vec![
        (percent(summary.hit_ratio), "hit ratio, the cache says"),
        (percent(summary.byte_hit_ratio), "of bytes"),
        (percent(summary.saved_ratio), "with shared fetches"),
    ];
    if let Some(origin) = &summary.origin {
        shown.push((percent(origin.hit_ratio), "hit ratio, the origin says"));
        shown.push((percent(origin.byte_hit_ratio), "of bytes"));
        shown.push((grouped(origin.requests), "came through to the origin"));
    }
    shown.push((format!("{:.0}", summary.requests_per_second), "answers a second"));
    shown.push((size(summary.bytes_per_second), "a second"));
    shown.push((grouped(summary.answered), "answers"));
    shown.push((grouped(summary.failed), "failed"));
    page.push_str("<div class=\"figures\">");
    for (value, what) in shown {
        let _ = write!(page, "<div><b>{}</b><span>{what}</span></div>", text(value));
    }
    page.push_str("</div>");
}

fn budgets(page: &mut String, checked: &[Checked]) {
    if checked.is_empty() {
        return;
    }
    page.push_str("<h2>Budgets</h2><ul>");
    for checked in checked {
        let class = if checked.met { "good" } else { "bad" };
        let _ = write!(page, "<li class=\"{class}\">{}</li>", text(checked));
    }
    page.push_str("</ul>");
}

fn kinds(page: &mut String, summary: &Summary) {
    page.push_str(
        "<h2>Latency</h2><div class=\"wide\"><table><tr><th>answers<th>count<th>share<th>bytes",
    );
    for (name, _) in PERCENTILES {
        let _ = write!(page, "<th>{name}");
    }
    page.push_str("<th>max</tr>");
    for kind in &summary.answers {
        let Some(latencies) = summary.latencies(Some(kind.verdict)) else { continue };
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{:.2} %<td>{}",
            kind.verdict.word(),
            grouped(kind.requests),
            kind.share * 100.0,
            size(kind.bytes as f64)
        );
        let quantiles = PERCENTILES.iter().map(|(_, share)| latencies.quantile(*share));
        for time in quantiles.chain([latencies.most()]) {
            let _ = write!(page, "<td>{}", time.map(show_time).unwrap_or_default());
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}

fn counts(page: &mut String, summary: &Summary) {
    page.push_str("<h2>Counts</h2><table><tr><th>what<th>requests</tr>");
    let statuses =
        summary.statuses.iter().map(|(status, count)| (format!("status {status}"), *count));
    let told = summary.told_by.iter().map(|(field, count)| (format!("told by {field}"), *count));
    let failures = summary.failures.iter().map(|(word, count)| (format!("failed: {word}"), *count));
    for (what, count) in statuses.chain(told).chain(failures) {
        let _ = write!(page, "<tr><td>{}<td>{}</tr>", text(what), grouped(count));
    }
    page.push_str("</table>");
    if summary.broken_lines > 0 {
        let count = grouped(summary.broken_lines);
        let _ = write!(page, "<p>{count} lines of the workload say nothing of a request.</p>");
    }
}

/// Text, for a place between tags.
fn text(value: impl Display) -> String {
    let mut escaped = String::new();
    for letter in value.to_string().chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::summary;

    #[test]
    fn the_page_is_complete_in_itself_and_what_users_wrote_is_text() {
        let page = render(&summary(), &[]);
        for part in ["a &lt;list&gt;", "80.00 %", "90.00 %", "collapsed", "<svg", "status 200"] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
        for foreign in ["<script", "<link", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
