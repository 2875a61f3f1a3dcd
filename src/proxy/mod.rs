//! The stack of layers that every request goes through.

mod config;

pub use config::{Config, HostPattern, Limits, Purge, Route};
