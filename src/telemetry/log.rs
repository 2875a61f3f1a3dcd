//! The program's own log, on standard error, written by a thread of its own.
//!
//! Logging never waits: where standard error is not read fast enough, lines are dropped.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

use super::{Config, Format};

/// Lines that may wait for the writer.
const CAPACITY: usize = 8192;

/// The log that was set up. Hold it until the process ends: dropping it writes the last lines, for
/// which it waits a second or so at most, and what is logged afterwards is lost.
#[must_use = "the log ends when this is dropped"]
pub struct Log {
    _writer: WorkerGuard,
    refilter: Refilter,
}

type Refilter = Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// Changes what is logged. Clones share it.
#[derive(Clone)]
pub struct Level(Refilter);

impl Log {
    /// The handle by which the level is changed.
    #[must_use]
    pub fn level(&self) -> Level {
        Level(Arc::clone(&self.refilter))
    }
}

impl Level {
    /// From now on logs what `level` says; a filter that is none changes nothing.
    pub fn set(&self, level: &str) {
        let set = filter(level).map(&*self.0);
        if !matches!(set, Ok(Ok(()))) {
            tracing::error!(level, "the log level stays as it was");
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Level")
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("log level {filter:?}: {source}")]
    Filter {
        /// The filter as configured.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// A log is set up already.
    #[error("a log is set up already: {0}")]
    Twice(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends the program's events to standard error, as `config` says.
///
/// # Errors
/// If the filter does not parse, or a log is set up already.
pub fn init(config: &Config) -> Result<Log, LogError> {
    let filter = filter(&config.level)?;
    let (lines, writer) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(CAPACITY)
        .thread_name("log")
        .finish(io::stderr());
    let (filter, handle) = reload::Layer::new(filter);
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(lines).with_ansi(io::stderr().is_terminal());
    match config.format {
        Format::Text => log.with(lines).try_init(),
        Format::Json => log.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|error| LogError::Twice(error.into()))?;
    let refilter: Refilter = Arc::new(move |filter| handle.reload(filter));
    Ok(Log { _writer: writer, refilter })
}

/// Checks a log filter without setting anything up.
///
/// # Errors
/// If the filter does not parse.
pub fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(level)
        .map_err(|source| LogError::Filter { filter: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        assert!(filter("info").is_ok());
        assert!(filter("seawall=debug,info").is_ok());
        let error = filter("seawall=loud").expect_err("no such level");
        assert!(error.to_string().contains("seawall=loud"), "{error}");
    }
}
