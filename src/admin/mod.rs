//! The admin listener: health, metrics, purge.

mod config;

pub use config::Config;
