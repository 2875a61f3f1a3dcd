//! The configuration in force: every key, its value, and who says so.

mod given;
mod secrets;
mod written;

use std::fmt::{self, Display, Formatter, Write};

use serde::Serialize;
use toml::Value;

use super::fault::Fault;

pub use given::environment;
#[cfg(test)]
pub(super) use written::SECRETS;
pub(super) use written::effective;

/// The configuration in force.
///
/// [`Display`] gives it as a file that can be read again, but for its secrets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effective {
    /// The file that was read.
    pub file: Option<String>,
    /// What is missing for a start, in sentences.
    pub missing: Vec<String>,
    /// Its tables, in the order of the documentation. Tests are not among them: they set nothing.
    pub tables: Vec<Table>,
}

/// A table of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Its header without brackets: `upstream.shop`.
    pub name: String,
    /// Whether there may be several of it: `[[route]]`.
    pub repeated: bool,
    /// Its keys. Where another table says what holds otherwise (`[upstream_defaults]` for an
    /// upstream, `[cache]` for routes and rules), only what is written.
    pub settings: Vec<Setting>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The key within its table; one of a table within is told with a dot: `cache.keep`.
    pub key: String,
    /// The value; `None` where it is unset or secret.
    pub value: Option<Value>,
    /// Whether the value, or a part of it, is not told.
    pub hidden: bool,
    /// Who says so.
    #[serde(flatten)]
    pub by: By,
}

/// Who says what a value is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum By {
    /// Nobody; it is unset if it has no value.
    Default,
    /// The file, in this line, counted from 1.
    File {
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag.
    Flag {
        /// Its name, with its dashes.
        flag: String,
    },
}

/// Where comments begin, if they can.
const COMMENT_COLUMN: usize = 44;

impl Display for Effective {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "# The configuration in force, and who says so.")?;
        if let Some(file) = &self.file {
            writeln!(f, "# Relative paths start at the directory of {}.", plain(file))?;
        }
        for missing in &self.missing {
            writeln!(f, "# Missing: {}.", plain(missing))?;
        }
        let all = || self.tables.iter().flat_map(|table| &table.settings);
        let hidden = all().filter(|setting| setting.hidden).count();
        if hidden > 0 {
            writeln!(f, "# {hidden} hidden: put it back before this is used as a file.")?;
        }
        for table in &self.tables {
            let header = header(&table.name);
            let (open, close) = if table.repeated { ("[[", "]]") } else { ("[", "]") };
            writeln!(f, "\n{open}{header}{close}")?;
            for setting in &table.settings {
                let line = match &setting.value {
                    Some(value) => format!("{} = {value}", setting.key),
                    None if setting.hidden => format!("# {} = \"hidden\"", setting.key),
                    None => format!("# {} is unset", setting.key),
                };
                let mut by = self.by(&setting.by);
                if setting.hidden {
                    by += ", hidden";
                }
                writeln!(f, "{line:COMMENT_COLUMN$}  # {by}")?;
            }
        }
        Ok(())
    }
}

impl Effective {
    /// The same, where all of this is missing.
    pub(super) fn lacking(self, missing: &[Fault]) -> Self {
        let told = |fault: &Fault| match fault.advice() {
            Some(advice) => format!("{}; {advice}", fault.title()),
            None => fault.title().to_owned(),
        };
        Self { missing: missing.iter().map(told).collect(), ..self }
    }

    fn by(&self, by: &By) -> String {
        match by {
            By::Default => "default".to_owned(),
            By::File { line } => {
                format!("{}:{line}", plain(self.file.as_deref().unwrap_or("file")))
            }
            By::Environment { variable } => variable.clone(),
            By::Flag { flag } => flag.clone(),
        }
    }
}

/// What may stand in a comment: a file's name may hold anything.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Names of upstreams may have dots in them.
fn header(name: &str) -> String {
    match name.strip_prefix("upstream.") {
        Some(name) if name.contains('.') => {
            let mut quoted = String::from("upstream.");
            let _ = write!(quoted, "\"{name}\"");
            quoted
        }
        _ => name.to_owned(),
    }
}
