//! Making a connection.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, RedisConnectionInfo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::config::{Address, Config, Login, Place, Sentinel};
use super::fault::Fault;
use super::guard::{Allowance, Guarded};

/// How long a connection may take: name, TCP, TLS, login.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Requests that one connection has in its queue; more wait for a place within their own time.
const QUEUE: usize = 256;

/// Why Redis can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The thread can't be started.
    #[error("cannot start a thread for Redis: {0}")]
    Thread(#[source] io::Error),
    /// The authorities can't be read.
    #[error("the authorities for Redis in {}: {reason}", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS can't be set up.
    #[error("TLS towards Redis: {0}")]
    Tls(#[from] rustls::Error),
    /// The host is no name that a certificate could have.
    #[error("TLS towards Redis needs a host that a certificate can name")]
    Name,
}

/// Opens connections, all alike, to whatever address it is given.
#[derive(Clone)]
pub(super) struct Dialer {
    tls: Option<TlsConnector>,
    login: RedisConnectionInfo,
}

/// A connection, and the task that reads and writes it, which ends with this.
#[derive(Debug)]
pub struct Opened {
    /// Where it leads to.
    pub(super) at: Address,
    /// Whether what is asked is of a slot that is on its way there.
    asking: bool,
    pub(super) connection: MultiplexedConnection,
    pub(super) allowance: Allowance,
    driver: AbortHandle,
}

impl Opened {
    /// Where it leads to.
    #[must_use]
    pub fn at(&self) -> &Address {
        &self.at
    }

    /// Has what is asked be of a slot that is on its way there.
    pub(super) fn asking(mut self) -> Self {
        self.asking = true;
        self
    }

    /// Whether what is asked is of a slot that is on its way there.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.asking
    }

    /// The library's connection. Nothing bounds the time of what is asked on it; who expects large
    /// answers, or many without asking, says so by [`Opened::allow`].
    #[must_use]
    pub fn raw(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Lets `bytes` more come.
    pub fn allow(&self, bytes: usize) {
        self.allowance.grant(bytes);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl Dialer {
    /// For the servers that hold data.
    ///
    /// # Errors
    /// Authorities that can't be read, a host that no certificate can name.
    pub(super) fn new(config: &Config) -> Result<Self, SetupError> {
        if let Place::Server(Address { host, .. }) = &config.place
            && config.tls
        {
            ServerName::try_from(host.as_str()).map_err(|_| SetupError::Name)?;
        }
        let tls = config.tls.then(|| tls(config)).transpose()?;
        let login = login(&config.login)
            .set_db(config.database)
            .set_lib_name("seawall", env!("CARGO_PKG_VERSION"));
        Ok(Self { tls, login })
    }

    /// For those who know where these are. They have neither databases nor names for clients.
    ///
    /// # Errors
    /// As [`Dialer::new`].
    pub(super) fn for_sentinels(config: &Config, of: &Sentinel) -> Result<Self, SetupError> {
        let tls = of.tls.then(|| tls(config)).transpose()?;
        Ok(Self { tls, login: login(&of.login).set_skip_set_lib_name() })
    }

    /// Opens a connection; its task runs on the runtime that this is called on.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] or [`Fault::Denied`], and whatever it answers to the login.
    pub(super) async fn open(&self, at: &Address) -> Result<Opened, Fault> {
        timeout(CONNECT_TIMEOUT, self.connect(at)).await.unwrap_or(Err(Fault::Unreachable))
    }

    async fn connect(&self, at: &Address) -> Result<Opened, Fault> {
        let (stream, allowance) = self.reach(at).await?;
        // Every request has its own time: the library's would end a blocking read.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUE);
        let opened = MultiplexedConnection::new_with_config(&self.login, stream, config).await;
        let (connection, driver) = opened.map_err(|error| Fault::of(&error))?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Opened { at: at.clone(), asking: false, connection, allowance, driver })
    }

    /// A stream to Redis on which nobody has logged in, and what may come on it.
    pub(super) async fn reach(
        &self,
        Address { host, port }: &Address,
    ) -> Result<(Guarded<Stream>, Allowance), Fault> {
        let tcp = TcpStream::connect((host.as_str(), *port)).await;
        let tcp = tcp.map_err(|_| Fault::Unreachable)?;
        tcp.set_nodelay(true).map_err(|_| Fault::Lost)?;
        let stream = match &self.tls {
            None => Either::Left(tcp),
            Some(connector) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| Fault::Denied)?;
                let tls = connector.connect(name, tcp).await;
                Either::Right(tls.map_err(|error| match error.kind() {
                    // What rustls refuses, and what is no TLS.
                    io::ErrorKind::InvalidData => Fault::Denied,
                    _ => Fault::Lost,
                })?)
            }
        };
        let allowance = Allowance::new();
        Ok((Guarded::new(stream, allowance.clone()), allowance))
    }

    /// Who asks.
    pub(super) fn login(&self) -> &RedisConnectionInfo {
        &self.login
    }
}

fn login(Login { username, password }: &Login) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(&password.0);
    }
    login
}

/// The way to Redis, with TLS or without.
type Stream = Either<TcpStream, TlsStream<TcpStream>>;

fn tls(config: &Config) -> Result<TlsConnector, SetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(config)?)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(client)))
}

fn roots(config: &Config) -> Result<RootCertStore, SetupError> {
    let mut store = RootCertStore::empty();
    let Some(path) = &config.ca else {
        // A single unreadable file among the system's is common; with none at all, every
        // certificate is refused, and that is told.
        let _ = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let invalid = |reason: String| SetupError::Authorities { path: path.clone(), reason };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|it| invalid(it.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        store.add(certificate)?;
    }
    if store.is_empty() { Err(invalid("no certificate is in it".to_owned())) } else { Ok(store) }
}
