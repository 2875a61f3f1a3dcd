//! The program's own log, on standard error, written by a thread of its own.
//!
//! Logging never waits: where standard error is not read fast enough, lines are dropped.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::{Config, Format};

/// Lines that may wait for the writer.
const CAPACITY: usize = 8192;

/// The log that was set up. Hold it until the process ends: dropping it writes the last lines, for
/// which it waits a second or so at most, and what is logged afterwards is lost.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct Log {
    _writer: WorkerGuard,
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
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        .with_ansi(io::stderr().is_terminal());
    match config.format {
        Format::Text => log.try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(LogError::Twice)?;
    Ok(Log { _writer: writer })
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
