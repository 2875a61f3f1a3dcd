//! Origins: connections to them, and what may go wrong on the way.

mod config;

pub use config::{Config, Identity, RetryReused, UnknownTransferCoding, Version};
