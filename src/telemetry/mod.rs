//! Metrics, access log and the program log.

pub mod access_log;
mod config;
pub mod log;
pub mod metrics;
mod word;

pub use config::{AccessLog, Config, Format};
pub use metrics::{CoreMetrics, MethodClass, Metrics, Recorded};
pub use word::CacheWord;
