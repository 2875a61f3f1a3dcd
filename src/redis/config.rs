//! How Redis is reached.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where Redis is, and who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The database's number; a Cluster has only 0.
    pub database: i64,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The ACL user; without one the default user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// How soon a new connection has to answer: one that could not keep to what lookups are given
    /// is of no use.
    pub answers_within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            database: 0,
            tls: false,
            ca: None,
            username: None,
            password: None,
            answers_within: Duration::from_millis(10),
        }
    }
}

/// A password: nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
