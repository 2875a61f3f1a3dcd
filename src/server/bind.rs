//! Opening the listening sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};

use super::tls::{Acceptor, TlsError};
use super::{Config, Control, Listener};
use crate::keepalive;

/// Connections that may wait in a socket's queue; the system's own bound (`somaxconn`) applies.
const BACKLOG: i32 = 4096;

/// Bound sockets of one process: faults show here, before a thread starts.
///
/// Each worker has a socket of its own on every address (`SO_REUSEPORT`), so the kernel spreads
/// connections and workers share nothing. Port 0 is allowed: all workers share the chosen port.
#[derive(Debug)]
pub struct Bound {
    addresses: Vec<SocketAddr>,
    pub(super) workers: Vec<Vec<Endpoint>>,
    control: Control,
}

/// One worker's socket on one address, and what is spoken there.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) socket: TcpListener,
    pub(super) manner: Arc<ArcSwap<Manner>>,
}

/// What is spoken on an address.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) tls: Option<Acceptor>,
    pub(super) http2: bool,
    pub(super) proxy_protocol_from: Vec<IpNet>,
}

impl Manner {
    fn new(listener: &Listener) -> Result<Self, TlsError> {
        let load = |tls| Acceptor::load(tls, listener.http2);
        Ok(Self::with(listener, listener.tls.as_ref().map(load).transpose()?))
    }

    fn with(listener: &Listener, tls: Option<Acceptor>) -> Self {
        let proxy_protocol_from = listener.proxy_protocol_from.clone();
        Self { tls, http2: listener.http2, proxy_protocol_from }
    }

    /// The same listener by other settings. Where those of TLS are what they were, sessions go on;
    /// the certificates' files are looked at all the same.
    ///
    /// # Errors
    /// A certificate or key that cannot be used.
    pub(super) fn renewed(&self, listener: &Listener) -> Result<Self, TlsError> {
        let same = self.tls.as_ref().filter(|acceptor| {
            listener.tls.as_ref().is_some_and(|tls| acceptor.is_by(tls, listener.http2))
        });
        let Some(acceptor) = same else { return Self::new(listener) };
        acceptor.look()?;
        Ok(Self::with(listener, Some(acceptor.clone())))
    }

    /// Whether connections from `peer` begin with a PROXY header.
    pub(super) fn is_balancer(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxy_protocol_from.iter().any(|network| network.contains(&peer))
    }
}

/// Why listening failed.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A socket could not be opened or bound.
    #[error("cannot listen on {address}: {source}{}", advice(.source))]
    Address {
        /// The address as configured.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What to do about a socket that could not be bound, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: end it, or take another port",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the right to them (CAP_NET_BIND_SERVICE)"
        }
        _ => "",
    }
}

impl Bound {
    /// Binds every listener of `config` and loads its certificates.
    ///
    /// # Errors
    /// The first address or certificate that cannot be used.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let (mut addresses, mut manners) = (Vec::new(), Vec::new());
        let mut workers: Vec<_> = std::iter::repeat_with(Vec::new).take(config.workers()).collect();
        for listener in &config.listeners {
            let manner = Arc::new(ArcSwap::from_pointee(Manner::new(listener)?));
            let only_v6 = has_ipv4_twin(listener, config);
            let address = open_all(&mut workers, listener.address, only_v6, &manner)
                .map_err(|source| BindError::Address { address: listener.address, source })?;
            addresses.push(address);
            manners.push(manner);
        }
        Ok(Self { addresses, workers, control: Control::new(&config.limits, manners) })
    }

    /// The addresses bound, in the order of the configured listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The handle by which the server is changed while it runs.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }
}

/// Opens a socket for each worker on one address.
fn open_all(
    workers: &mut [Vec<Endpoint>],
    address: SocketAddr,
    only_v6: bool,
    manner: &Arc<ArcSwap<Manner>>,
) -> io::Result<SocketAddr> {
    let shared = workers.len() > 1;
    let mut address = address;
    for (index, worker) in workers.iter_mut().enumerate() {
        let socket = open(address, only_v6, shared, index == 0)?;
        address = socket.local_addr()?;
        worker.push(Endpoint { socket, manner: Arc::clone(manner) });
    }
    Ok(address)
}

/// Whether an IPv6 listener shares its port with an IPv4 one: it must not take IPv4 clients then,
/// as it would by the system's default.
fn has_ipv4_twin(listener: &Listener, config: &Config) -> bool {
    let port = listener.address.port();
    listener.address.is_ipv6()
        && port != 0
        && config
            .listeners
            .iter()
            .any(|other| other.address.is_ipv4() && other.address.port() == port)
}

/// Opens one socket. The first of an address is bound before it is marked as shared, so that a
/// second process on the same port is an error and not half of the traffic.
fn open(address: SocketAddr, only_v6: bool, shared: bool, first: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if shared && !first {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    if shared && first {
        socket.set_reuse_port(true)?;
    }
    // Set once here instead of on every connection, which takes it over.
    keepalive::set(&socket)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: SocketAddr) -> Config {
        Config { threads: 3, listeners: vec![Listener::new(address)], ..Config::default() }
    }

    #[test]
    fn all_workers_share_the_chosen_port() {
        let bound = Bound::bind(&config(([127, 0, 0, 1], 0).into())).expect("a free port");
        let address = bound.addresses()[0];
        assert_ne!(address.port(), 0);
        assert_eq!(bound.workers.len(), 3);
        for worker in &bound.workers {
            assert_eq!(worker[0].socket.local_addr().expect("bound"), address);
        }
    }

    #[test]
    fn ipv6_leaves_ipv4_to_its_own_listener() {
        let listeners: Vec<_> = ["[::]:80", "0.0.0.0:80", "[::]:81", "[::]:0", "0.0.0.0:0"]
            .map(|address| Listener::new(address.parse().expect("an address")))
            .into();
        let config = Config { listeners: listeners.clone(), ..Config::default() };
        let twins = listeners.iter().map(|listener| has_ipv4_twin(listener, &config));
        assert_eq!(twins.collect::<Vec<_>>(), [true, false, false, false, false]);
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let first = Bound::bind(&config(([127, 0, 0, 1], 0).into())).expect("a free port");
        let error = Bound::bind(&config(first.addresses()[0])).expect_err("taken");
        assert!(error.to_string().contains(&first.addresses()[0].to_string()), "{error}");
    }
}
