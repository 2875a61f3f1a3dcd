//! What telemetry is told.

use std::path::PathBuf;

/// Settings of logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Access log.
    pub access: AccessLog,
    /// Filter of the program's own log (`info`, `seawall=debug,info`).
    pub level: String,
    /// Form of the program's own log.
    pub format: Format,
}

/// Settings of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Form of its lines; `None` for no access log.
    pub format: Option<Format>,
    /// The file, reopened on `SIGUSR1`; `None` for standard output.
    pub path: Option<PathBuf>,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            access: AccessLog { format: Some(Format::Text), path: None },
            level: "info".to_owned(),
            format: Format::Text,
        }
    }
}
