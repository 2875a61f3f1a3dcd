//! docs/benchmarks.md: what stands between its markers, and the plots beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The page, and the folder of its plots.
pub(crate) struct Page {
    file: PathBuf,
    plots: PathBuf,
    text: String,
}

impl Page {
    pub(crate) fn open(docs: &Path) -> io::Result<Self> {
        let file = docs.join("benchmarks.md");
        let text = fs::read_to_string(&file)
            .map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;
        let plots = docs.join("plots");
        fs::create_dir_all(&plots)?;
        Ok(Self { file, plots, text })
    }

    /// Puts new content between the markers of a section, and writes the page.
    pub(crate) fn set(&mut self, section: &str, content: &str) -> io::Result<()> {
        let missing = || {
            let file = self.file.display();
            io::Error::other(format!("{file} has no section {section:?}"))
        };
        self.text = replaced(&self.text, section, content).ok_or_else(missing)?;
        fs::write(&self.file, &self.text)
    }

    /// Writes a plot; what is returned shows it in the page.
    pub(crate) fn plot(&self, name: &str, alt: &str, svg: &str) -> io::Result<String> {
        fs::write(self.plots.join(format!("{name}.svg")), svg)?;
        Ok(format!("![{alt}](plots/{name}.svg)\n\n"))
    }
}

fn replaced(text: &str, section: &str, content: &str) -> Option<String> {
    let (begin, end) =
        (format!("<!-- {section}: measured -->"), format!("<!-- {section}: end -->"));
    let start = text.find(&begin)? + begin.len();
    let stop = start + text[start..].find(&end)?;
    Some(format!("{}\n\n{}\n\n{}", &text[..start], content.trim(), &text[stop..]))
}

/// A table; cells but those of the first column are numbers.
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        let rule = "--:|".repeat(columns.len() - 1);
        Self { text: format!("| {} |\n|---|{rule}\n", columns.join(" | ")) }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.text.extend(["| ", &cells.join(" | "), " |\n"]);
    }

    pub(crate) fn finish(self) -> String {
        self.text + "\n"
    }
}

/// A number in three digits or so, or a dash where there is none.
pub(crate) fn figure(number: impl Into<Option<f64>>) -> String {
    match number.into() {
        None => "–".to_owned(),
        Some(number) if number >= 1000.0 => grouped(number),
        Some(number) if number >= 100.0 => format!("{number:.0}"),
        Some(number) if number >= 10.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.2}"),
    }
}

/// What a cell says, and how many answers behind it were bad.
pub(crate) fn with_failures(cell: String, failed: u64) -> String {
    if failed == 0 { cell } else { format!("{cell} ({} failed)", grouped(failed as f64)) }
}

/// A whole number with commas.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let text = "a\n<!-- x: measured -->\nold\n<!-- x: end -->\nb\n";
        let new = replaced(text, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x: measured -->\n\nnew\n\n<!-- x: end -->\nb\n");
        assert_eq!(replaced(&new, "x", "new").unwrap(), new);
        assert_eq!(replaced(text, "y", "new"), None);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(-123.0), "-123");
        let all = [0.5, 12.34, 123.4, 1234.5].map(figure);
        assert_eq!(all, ["0.50", "12.3", "123", "1,234"]);
        assert_eq!(figure(None), "–");
        assert_eq!(with_failures(figure(1.5), 0), "1.50");
        assert_eq!(with_failures(figure(1.5), 1234), "1.50 (1,234 failed)");
    }
}
