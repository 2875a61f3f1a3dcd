//! Metrics, access log and the program log.

mod config;

pub use config::{AccessLog, Config, Format};
