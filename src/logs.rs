//! Logs that the command line names, read into a trace while a bar shows how far.

mod progress;

use std::path::PathBuf;

use seawall::forecast::format::Format;
use seawall::forecast::{Loader, Reading, Source, SourceError, Trace, Unrecognised};

use crate::cli::logs::Logs;

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{}: {cause}", .file.display())]
    Unrecognised { file: PathBuf, cause: Unrecognised },
    #[error("no request could be read from {0} lines{1}; --format says what they look like")]
    Nothing(u64, String),
}

impl LogError {
    /// Whether the command line is at fault.
    pub(crate) const fn is_usage(&self) -> bool {
        matches!(self, Self::Unrecognised { .. })
    }
}

/// Reads all of them. Where a log has no host, URLs begin with `base`: a scheme and a host. With
/// `details`, all that is told of requests is kept.
pub(crate) fn read(logs: &Logs, base: &str, details: bool) -> Result<(Trace, Reading), LogError> {
    let mut loader = Loader::new(base, details, logs.max_requests);
    let given = match (&logs.format, &logs.fields) {
        (_, Some(fields)) => Some(Format::Json(fields.clone())),
        (format, None) => format.clone(),
    };
    for file in &logs.log {
        let source = Source::open(file)?;
        let shown = progress::show(file, &source);
        loader
            .read(source, given.as_ref())
            .map_err(|cause| LogError::Unrecognised { file: file.clone(), cause })?;
        shown.end();
    }
    let (trace, reading) = loader.finish();
    if trace.requests.is_empty() {
        let kinds = reading.broken.iter().max_by_key(|(_, lines)| lines.count);
        let most = kinds.map(|(kind, lines)| {
            format!(", most of them {}, like: {}", kind.meaning(), lines.text)
        });
        return Err(LogError::Nothing(reading.lines, most.unwrap_or_default()));
    }
    Ok((trace, reading))
}
