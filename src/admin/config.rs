//! What the admin listener is told.

use std::net::SocketAddr;

/// Settings of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens; `None` for no admin listener.
    pub address: Option<SocketAddr>,
    /// Whether the address was asked for: a default one that is taken is only warned about.
    pub explicit: bool,
    /// A secret that requests must carry as `Authorization: Bearer`, if set.
    pub token: Option<String>,
}
