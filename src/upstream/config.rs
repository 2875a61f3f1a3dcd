//! What an upstream is told.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of one upstream: an origin and how to talk to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name that routes refer to.
    pub name: String,
    /// Whether the origin speaks TLS (`https`).
    pub tls: bool,
    /// The origin's host: a name, resolved again and again, or an address literal.
    pub host: String,
    /// The origin's port.
    pub port: u16,
    /// Which `Host` the origin sees.
    pub identity: Identity,
    /// The name for SNI and certificate verification; `None` follows [`Config::identity`] where
    /// that is a name, else [`Config::host`].
    pub sni: Option<String>,
    /// The HTTP version spoken to the origin.
    pub version: Version,
    /// Whether the origin's certificate is verified.
    pub verify: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Bound on connecting, TLS handshake included, over all addresses.
    pub connect_timeout: Duration,
    /// Bound from the request's last byte to the end of the final response's head.
    pub first_byte_timeout: Duration,
    /// Bound between two reads of a response body.
    pub between_bytes_timeout: Duration,
    /// Bound on the whole exchange; `None` for no bound.
    pub total_timeout: Option<Duration>,
    /// How long an idle connection is kept; the origin's own `Keep-Alive: timeout` is honoured
    /// where it is shorter.
    pub idle_timeout: Duration,
    /// Idle connections kept per core.
    pub max_idle: usize,
    /// Requests with the origin at once, over all cores, until their responses have been read.
    pub max_requests: usize,
    /// How long a request waits for a place among them.
    pub queue_timeout: Duration,
    /// How long a resolved name is used before it is resolved again.
    pub resolve_interval: Duration,
    /// What is retried when a reused connection turns out dead.
    pub retry_reused: RetryReused,
    /// What becomes of a response in a transfer coding that Seawall does not know.
    pub unknown_transfer_coding: UnknownTransferCoding,
    /// Bound on a response's head, in bytes.
    pub max_response_head: usize,
}

/// Which `Host` (and SNI) the origin sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The client's.
    #[default]
    Preserve,
    /// The upstream URL's.
    Upstream,
    /// A fixed name.
    Name(String),
}

/// The HTTP version spoken to an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge on cleartext.
    Http2,
    /// HTTP/2 where ALPN offers it, else HTTP/1.1.
    Auto,
}

/// Which requests are sent again when a reused connection turns out dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryReused {
    /// What was handed back unsent, and idempotent requests without a body that got no response
    /// byte, once, on a fresh connection (RFC 9110 §9.2.2).
    #[default]
    Idempotent,
    /// Only what was handed back unsent.
    Unsent,
}

/// What becomes of a response in an unknown transfer coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTransferCoding {
    /// It is a 502 (`unknown-transfer-coding`).
    #[default]
    Reject,
    /// The body is read to the connection's end and passed on as it is.
    ReadToClose,
}

impl Config {
    /// An upstream with default settings.
    #[must_use]
    pub fn new(name: &str, tls: bool, host: &str, port: u16) -> Self {
        Self {
            name: name.to_owned(),
            tls,
            host: host.to_owned(),
            port,
            identity: Identity::default(),
            sni: None,
            version: Version::default(),
            verify: true,
            ca: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(60),
            total_timeout: None,
            idle_timeout: Duration::from_secs(4),
            max_idle: 256,
            max_requests: 10_000,
            queue_timeout: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(30),
            retry_reused: RetryReused::default(),
            unknown_transfer_coding: UnknownTransferCoding::default(),
            max_response_head: 128 * 1024,
        }
    }
}
