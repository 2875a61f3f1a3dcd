//! The configuration file, as written and as meant.

use crate::{admin, proxy, server, store, telemetry, upstream};

/// Everything a node is told, checked: what the file, the environment and the flags mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Threads, listeners, connection limits.
    pub server: server::Config,
    /// Origins; routes refer to them by index.
    pub upstreams: Vec<upstream::Config>,
    /// Routes, trust, request limits, error pages.
    pub proxy: proxy::Config,
    /// The memory tier.
    pub store: store::Config,
    /// The admin listener.
    pub admin: admin::Config,
    /// Logs.
    pub telemetry: telemetry::Config,
}
