//! The accept loop, TLS and HTTP connections; knows a service, not what it does.
//!
//! [`Bound::bind`] opens the sockets, [`run()`] serves them. A connection goes through
//! `connection` (PROXY header, TLS, which HTTP version) to hyper, with `guard` around its socket
//! and `deadline` around hyper's future. On HTTP/2 the guard counts `frames`, `gather` joins what is
//! written in one turn, and each `stream` has a deadline of its own.

mod accept;
mod bind;
mod config;
mod connection;
mod control;
mod deadline;
mod farewell;
mod frames;
mod framing;
mod gather;
mod guard;
mod interim;
mod proxy_protocol;
mod pulse;
mod run;
mod seats;
mod service;
mod stream;
mod strict;
mod tls;
mod transport;

pub use bind::{BindError, Bound};
pub use config::{Certificate, Config, Limits, Listener, Runtime, Tls};
pub use control::{Control, Prepared};
pub use run::{RunError, run};
pub use service::Handler;
pub use tls::TlsError;

#[cfg(test)]
mod tests;
