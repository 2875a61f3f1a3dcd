//! The accept loop, TLS and HTTP connections; knows a service, not what it does.

mod config;

pub use config::{Certificate, Config, Limits, Listener, Runtime, Tls};
