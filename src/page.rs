//! Reports as one HTML file: no script, nothing fetched, light and dark.

mod plot;

use std::fmt::{self, Display, Write};

pub(crate) use plot::{Axes, Drawn, Line, Mark, PlotError, Role, bars, lines};

const STYLE: &str = include_str!("page/style.css");

/// A page with this title and what `write` puts into it.
pub(crate) fn page(title: &str, write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut roles = String::new();
    // Writing to a string does not fail, here and below.
    for role in Role::ALL {
        let (color, name) = (role.hex(), role.name());
        let _ = write!(
            roles,
            "svg [fill=\"{color}\"]{{fill:var(--{name})}}\
             svg [stroke=\"{color}\"]{{stroke:var(--{name})}}"
        );
    }
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{}</title><style>{STYLE}{roles}</style></head><body><main>\n",
        Safe(title)
    );
    let _ = write(&mut page);
    page.push_str("</main></body></html>\n");
    page
}

/// Figures side by side, each over its name.
pub(crate) fn tiles<'a>(
    f: &mut String,
    tiles: impl IntoIterator<Item = (&'a str, String)>,
) -> fmt::Result {
    f.push_str("<div class=\"tiles\">");
    for (name, figure) in tiles {
        write!(f, "<div><b>{}</b><span>{}</span></div>", Safe(&figure), Safe(name))?;
    }
    writeln!(f, "</div>")
}

/// A bar made of shares of a whole, and what its colours are.
pub(crate) fn stack(f: &mut String, shares: &[(Role, &str, f64)]) -> fmt::Result {
    f.push_str("<div class=\"stack\">");
    let percent = crate::units::percent;
    for (role, name, share) in shares {
        let (class, grow) = (role.name(), share * 100.0);
        write!(
            f,
            "<div class=\"{class}\" style=\"flex-grow:{grow:.3}\" title=\"{name}: {}\"></div>",
            percent(*share)
        )?;
    }
    f.push_str("</div>\n");
    let names =
        shares.iter().map(|(role, name, share)| (*role, format!("{name} {}", percent(*share))));
    f.push_str(&legend(names));
    f.push('\n');
    Ok(())
}

/// What colours are.
pub(crate) fn legend<T: Display>(entries: impl IntoIterator<Item = (Role, T)>) -> String {
    let mut text = String::from("<p class=\"legend\">");
    for (role, name) in entries {
        let name = name.to_string();
        let _ = write!(text, "<i class=\"{}\"></i> {} ", role.name(), Safe(&name));
    }
    text.push_str("</p>");
    text
}

/// A plot under its title and what is said about it.
pub(crate) fn figure(f: &mut String, title: &str, about: &str, svg: &str) -> fmt::Result {
    writeln!(f, "<h2>{title}</h2>{about}<figure>{svg}</figure>")
}

/// The head of a table; a column whose name begins with a space is one of numbers.
pub(crate) fn table(f: &mut String, columns: &[&str]) -> fmt::Result {
    f.push_str("<div class=\"wide\"><table><tr>");
    for column in columns {
        match column.strip_prefix(' ') {
            Some(number) => write!(f, "<th class=\"n\">{}", Safe(number))?,
            None => write!(f, "<th>{}", Safe(column))?,
        }
    }
    writeln!(f, "</tr>")
}

/// Its end.
pub(crate) const END_OF_TABLE: &str = "</table></div>\n";

/// Text from anywhere, in HTML.
pub(crate) struct Safe<'a>(pub(crate) &'a str);

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

/// Words of our own, in HTML: what stands between backquotes is code.
pub(crate) struct Prose<'a>(pub(crate) &'a str);

impl Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.0.split('`').enumerate() {
            match number % 2 {
                0 => Safe(part).fmt(f)?,
                _ => write!(f, "<code>{}</code>", Safe(part))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_complete_in_itself_and_text_stays_text() {
        let page = page("a <title>", |f| {
            tiles(f, [("a & b", "<i>".to_owned())])?;
            stack(f, &[(Role::Hit, "fresh", 0.75), (Role::Missed, "missed", 0.25)])
        });
        for part in ["a &lt;title&gt;", "a &amp; b", "&lt;i&gt;", "fresh 75.0 %", "dark"] {
            assert!(page.contains(part), "{part}");
        }
        for foreign in ["<script", "<link", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert_eq!(Prose("say `a<b` so").to_string(), "say <code>a&lt;b</code> so");
        for role in Role::ALL {
            assert!(STYLE.matches(&format!("--{}:", role.name())).count() == 2, "{}", role.name());
        }
    }
}
