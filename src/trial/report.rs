//! What came of the tests, as people read it.

use std::fmt::{self, Display};

use super::case::Case;
use super::seen::Seen;
use crate::context::Detail;

/// What came of all tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many were to be run.
    pub run: usize,
    /// Those that failed.
    pub failures: Vec<Failure>,
    /// They could not be run to their end.
    pub(super) broken: bool,
}

/// A test that failed, at the first of its steps that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The test's name, if it has one.
    pub name: Option<String>,
    /// The line where the test stands, from 1.
    pub line: usize,
    /// Which request of the test it was, from 1, and of how many.
    pub step: (usize, usize),
    /// What was expected and did not come; none where the test came to no end.
    pub differences: Vec<Difference>,
    /// What happened to the request.
    pub reason: Option<Detail>,
}

/// Something that was expected and did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key: `origin.requests`.
    pub key: String,
    /// The line where it stands, from 1.
    pub line: usize,
    /// What was expected, as it is written.
    pub expected: String,
    /// What came, as it would have been written.
    pub got: String,
}

impl Report {
    /// Whether all went well.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && !self.broken
    }

    pub(super) fn broken(run: usize) -> Self {
        Self { run, failures: Vec::new(), broken: true }
    }

    /// The report; `file` is where the tests stand.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        Rendered { report: self, file }.to_string()
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.run == 1 { "" } else { "s" };
        if self.broken {
            return write!(f, "{} test{plural} could not be run: this is a defect", self.run);
        }
        match self.failures.len() {
            0 => write!(f, "{} test{plural} passed", self.run),
            failed => write!(f, "{failed} of {} test{plural} failed", self.run),
        }
    }
}

impl Failure {
    pub(super) fn of(case: &Case, index: usize, differences: Vec<Difference>, seen: &Seen) -> Self {
        Self {
            name: case.name.clone(),
            line: case.line,
            step: (index + 1, case.steps.len()),
            differences,
            reason: seen.reason(),
        }
    }

    /// It came to no end.
    pub(super) fn late(case: &Case) -> Self {
        Self {
            name: case.name.clone(),
            line: case.line,
            step: (1, case.steps.len()),
            differences: Vec::new(),
            reason: None,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        let name = plain(self.name.as_deref().unwrap_or("unnamed"));
        let (step, steps) = self.step;
        write!(f, "{file}:{}: {name}", self.line)?;
        if steps > 1 {
            write!(f, " (request {step} of {steps})")?;
        }
        writeln!(f)?;
        if self.differences.is_empty() {
            writeln!(f, "    came to no end within 10 s")?;
        }
        let width = self.differences.iter().map(|difference| difference.key.len()).max();
        let width = width.unwrap_or_default();
        for Difference { key, line, expected, got } in &self.differences {
            let expected = plain(expected);
            writeln!(f, "    {key:width$}  expected {expected}  (line {line})")?;
            writeln!(f, "    {:width$}  got      {got}", "")?;
        }
        if let Some(reason) = self.reason {
            writeln!(f, "    {}", Explained(reason))?;
        }
        writeln!(f)
    }
}

/// On one line, and nothing that steers the terminal: the file is untrusted.
fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

struct Rendered<'a> {
    report: &'a Report,
    file: &'a str,
}

impl Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.report.failures {
            failure.write(f, self.file)?;
        }
        self.report.summary(f)
    }
}

/// A reason word with its meaning.
struct Explained(Detail);

impl Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = self.0.advice();
        write!(f, "{}: {}", self.0.word(), self.0.meaning())?;
        if advice.is_empty() { Ok(()) } else { write!(f, "; to have it otherwise: {advice}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Reason;

    #[test]
    fn a_report_is_readable_and_steers_no_terminal() {
        let difference = Difference {
            key: "origin.requests".to_owned(),
            line: 9,
            expected: "[\n 1]".to_owned(),
            got: "2".to_owned(),
        };
        let failure = Failure {
            name: Some("red\u{1b}[31m".to_owned()),
            line: 7,
            step: (2, 3),
            differences: vec![difference],
            reason: Some(Detail::Reason(Reason::Private)),
        };
        let report = Report { run: 4, failures: vec![failure], broken: false };
        assert!(!report.is_good());
        let expected = "a.toml:7: red [31m (request 2 of 3)\n\
            \x20   origin.requests  expected [  1]  (line 9)\n\
            \x20                    got      2\n\
            \x20   private: the origin says `private`; to have it otherwise: \
            change the origin's `Cache-Control`\n\n\
            1 of 4 tests failed";
        assert_eq!(report.render("a.toml"), expected);
        assert_eq!(Report { run: 1, ..Report::default() }.render(""), "1 test passed");
    }
}
