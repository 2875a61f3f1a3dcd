//! Lookup, decide, act: the cache between the stack and the origin.

mod config;

pub use config::Config;
