//! Faults of a configuration: collected, placed, and shown the way a compiler does.

use std::fmt::{self, Write};
use std::ops::Range;
use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};

/// Faults of one report: a file that is no configuration at all would fill the screen.
const MOST_SHOWN: usize = 50;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the file, in bytes; `None` where no file is at fault.
    span: Option<Range<usize>>,
    /// What is wrong, in one sentence.
    title: String,
    /// What the marked text is.
    label: String,
    /// What to write instead.
    help: Option<String>,
    /// Nothing that is said is wrong; something has yet to be said.
    missing: bool,
}

impl Fault {
    /// A fault at `span` of the file.
    pub(super) fn at(span: Range<usize>, title: impl Into<String>) -> Self {
        Self::anywhere(Some(span), title)
    }

    /// A fault of the flags, the environment, or of everything together, if it has no place.
    pub(super) fn anywhere(span: Option<Range<usize>>, title: impl Into<String>) -> Self {
        let title = title.into();
        Self { span, title, label: String::new(), help: None, missing: false }
    }

    /// Whether it lies in the file.
    pub(super) const fn has_place(&self) -> bool {
        self.span.is_some()
    }

    /// Says what the marked text is.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Says what to write instead.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says that nothing is wrong but what is missing.
    pub(super) fn missing(mut self) -> Self {
        self.missing = true;
        self
    }

    /// Whether nothing that is said is wrong: something has yet to be said.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        self.missing
    }

    /// What is wrong, in one sentence.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What to write instead, if that is known.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    fn group<'a>(&'a self, file: &'a str, text: &'a str) -> Group<'a> {
        // The file is untrusted: what it holds must not steer the terminal.
        let title = Level::ERROR.primary_title(normalize_untrusted_str(&self.title));
        let mut group = match &self.span {
            Some(span) => title.element(
                Snippet::source(text).path(file).annotation(
                    AnnotationKind::Primary
                        .span(visible(span, text))
                        .label(normalize_untrusted_str(&self.label)),
                ),
            ),
            None => Group::with_title(title),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
        }
        group
    }
}

/// Cuts a span to its first line: a table's span may hold all of its lines.
fn visible(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let line = text.get(start..end).and_then(|marked| marked.find(['\r', '\n']));
    start..line.map_or(end, |length| start + length)
}

/// Several faults on their way up; never empty.
#[derive(Debug)]
pub(super) struct Faulty(pub(super) Vec<Fault>);

impl From<Fault> for Faulty {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

/// What reading a value gives: it, or all that is wrong with it.
pub(super) type Checked<T> = Result<T, Faulty>;

/// Everything that is wrong with a configuration, in the file's order.
///
/// [`fmt::Display`] gives the whole report without colour; [`Faults::render`] chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    file: String,
    text: String,
    list: Vec<Fault>,
}

impl Faults {
    /// Binds faults to the file that they were found in.
    pub(super) fn new(file: Option<&Path>, text: String, mut list: Vec<Fault>) -> Self {
        list.sort_by_key(|fault| fault.span.as_ref().map_or(0, |span| span.start));
        let file = file.map_or_else(String::new, |path| path.display().to_string());
        Self { file, text, list }
    }

    /// The faults, in the file's order.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// Line and column of a fault, both counted from 1, where it lies in the file.
    #[must_use]
    pub fn position(&self, fault: &Fault) -> Option<(usize, usize)> {
        let before = self.text.get(..fault.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..)?.chars().count() + 1;
        Some((before.matches('\n').count() + 1, column))
    }

    /// The report, with terminal colours where `coloured`.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut report = String::new();
        for fault in self.list.iter().take(MOST_SHOWN) {
            report.push_str(&renderer.render(&[fault.group(&self.file, &self.text)]));
            report.push_str("\n\n");
        }
        let count = self.list.len();
        if count > MOST_SHOWN {
            let _ = writeln!(report, "(the first {MOST_SHOWN} are shown)");
        }
        let plural = if count == 1 { "" } else { "s" };
        let _ = write!(report, "{count} fault{plural} in the configuration");
        report
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Faults {}
