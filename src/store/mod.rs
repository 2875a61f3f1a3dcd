//! The memory tier.

mod config;

pub use config::Config;
