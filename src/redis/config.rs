//! How Redis is reached.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where Redis is, and who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which servers, and who knows them.
    pub place: Place,
    /// The database's number; a Cluster has only 0.
    pub database: i64,
    /// Whether TLS is spoken with them.
    pub tls: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Who asks them.
    pub login: Login,
    /// How soon a new connection has to answer: one that could not keep to what lookups are given
    /// is of no use.
    pub answers_within: Duration,
}

/// Which servers there are, and who knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One server, or a name that leads to the primary.
    Server(Address),
    /// Whichever server sentinels call the primary.
    Sentinel(Sentinel),
    /// The servers of a Cluster: these, or some of them, tell of all. Never empty.
    Cluster(Vec<Address>),
}

/// Sentinels, and the name under which they know the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentinel {
    /// `sentinel monitor NAME …`
    pub primary: String,
    /// Where they are; never empty.
    pub nodes: Vec<Address>,
    /// Whether TLS is spoken with them.
    pub tls: bool,
    /// Who asks them: they have users of their own.
    pub login: Login,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A user and a password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user; without one the default user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            place: Place::Server(Address::new("127.0.0.1", 6379)),
            database: 0,
            tls: false,
            ca: None,
            login: Login::default(),
            answers_within: Duration::from_millis(10),
        }
    }
}

impl Address {
    /// Of a host without brackets, and a port.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
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
