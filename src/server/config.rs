//! What the server is told: threads, listeners, limits and deadlines of connections.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// Settings of the whole server.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Worker threads; each has a listener of its own on every address.
    pub threads: usize,
    /// How workers run.
    pub runtime: Runtime,
    /// How long in-flight requests may take to finish on shutdown.
    pub grace: Duration,
    /// Where to listen.
    pub listeners: Vec<Listener>,
    /// Bounds on client connections.
    pub limits: Limits,
}

/// How workers run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// One single-threaded runtime a core, each with its own `SO_REUSEPORT` listener.
    #[default]
    PerCore,
    /// One work-stealing runtime.
    MultiThread,
}

/// One listening address.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// TLS, if the listener speaks it.
    pub tls: Option<Tls>,
    /// Whether HTTP/2 is spoken (ALPN over TLS, prior knowledge on cleartext).
    pub http2: bool,
    /// Peers that must begin with a PROXY protocol header (v1 or v2); others must not.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Certificates, chosen by SNI; the first is the default.
    pub certificates: Vec<Certificate>,
    /// Whether TLS 1.2 is accepted beside 1.3.
    pub allow_tls12: bool,
    /// How often the files are checked for change.
    pub reload_interval: Duration,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Bounds on client connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Open client connections; more are closed at once.
    pub max_connections: usize,
    /// Open connections of one client address, or of one IPv6 network (/64); `None` for no bound.
    pub max_connections_per_client: Option<usize>,
    /// Peers that speak for many clients: the bound for one is not for them.
    pub many_clients: Vec<IpNet>,
    /// Bytes of a request's header section.
    pub max_header_bytes: usize,
    /// Fields of an HTTP/1 request's header section; those of HTTP/2 are the stack's to count. Up to 100 are
    /// parsed without an allocation.
    pub max_headers: usize,
    /// Concurrent HTTP/2 streams a connection.
    pub max_streams: u32,
    /// Bound on the TLS handshake and a PROXY header.
    pub handshake_timeout: Duration,
    /// Bound on reading a request's head, counted from its first byte (first request: from the
    /// connection's start).
    pub header_timeout: Duration,
    /// How long a connection may idle between requests.
    pub idle_timeout: Duration,
    /// How long a write may make no progress.
    pub write_timeout: Duration,
    /// Bytes a second that a client who lets us wait takes at least, after `write_timeout`.
    pub min_rate: Option<NonZeroU32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            runtime: Runtime::default(),
            grace: Duration::from_secs(30),
            listeners: Vec::new(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// How many workers there are, each with sockets and a stack of its own.
    #[must_use]
    pub fn workers(&self) -> usize {
        match self.runtime {
            Runtime::PerCore => self.threads.max(1),
            Runtime::MultiThread => 1,
        }
    }
}

impl Listener {
    /// A cleartext listener with default settings.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, tls: None, http2: true, proxy_protocol_from: Vec::new() }
    }
}

impl Limits {
    /// Lowers the bound on connections to what a process that may have `open_files` can keep: a
    /// quarter is left to connections to origins, and to files.
    pub fn fit(&mut self, open_files: u64) {
        let most = usize::try_from(open_files - open_files / 4).unwrap_or(usize::MAX);
        self.max_connections = self.max_connections.min(most.max(1));
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 50_000,
            max_connections_per_client: None,
            many_clients: Vec::new(),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            max_streams: 128,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            min_rate: NonZeroU32::new(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_to_origins() {
        for (open_files, expected) in [(1024, 768), (0, 1), (1_000_000, 50_000), (u64::MAX, 50_000)]
        {
            let mut limits = Limits::default();
            limits.fit(open_files);
            assert_eq!(limits.max_connections, expected, "{open_files}");
        }
    }
}
