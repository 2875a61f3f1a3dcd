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

use super::Config;
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

/// Makes connections, all alike.
#[derive(Clone)]
pub struct Connector {
    config: Arc<Config>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    login: RedisConnectionInfo,
}

/// A connection, and the task that reads and writes it, which ends with this.
#[derive(Debug)]
pub struct Opened {
    pub(super) connection: MultiplexedConnection,
    pub(super) allowance: Allowance,
    driver: AbortHandle,
}

impl Opened {
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

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Connector {
    /// A connector that keeps these settings.
    ///
    /// # Errors
    /// Authorities that can't be read, a host that no certificate can name.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        let tls = config.tls.then(|| tls(config)).transpose()?;
        let mut login = RedisConnectionInfo::default()
            .set_db(config.database)
            .set_lib_name("seawall", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &config.username {
            login = login.set_username(username);
        }
        if let Some(password) = &config.password {
            login = login.set_password(&password.0);
        }
        Ok(Self { config: Arc::new(config.clone()), tls, login })
    }

    /// Opens a connection; its task runs on the runtime that this is called on.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] or [`Fault::Denied`], and whatever it answers to the login.
    pub async fn open(&self) -> Result<Opened, Fault> {
        timeout(CONNECT_TIMEOUT, self.connect()).await.unwrap_or(Err(Fault::Unreachable))
    }

    async fn connect(&self) -> Result<Opened, Fault> {
        let (stream, allowance) = self.reach().await?;
        // Every request has its own time: the library's would end a blocking read.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUE);
        let opened = MultiplexedConnection::new_with_config(&self.login, stream, config).await;
        let (connection, driver) = opened.map_err(|error| Fault::of(&error))?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Opened { connection, allowance, driver })
    }

    /// A stream to Redis on which nobody has logged in, and what may come on it.
    pub(super) async fn reach(&self) -> Result<(Guarded<Stream>, Allowance), Fault> {
        let Config { host, port, .. } = &*self.config;
        let tcp = TcpStream::connect((host.as_str(), *port)).await;
        let tcp = tcp.map_err(|_| Fault::Unreachable)?;
        tcp.set_nodelay(true).map_err(|_| Fault::Lost)?;
        let stream = match &self.tls {
            None => Either::Left(tcp),
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await;
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

/// The way to Redis, with TLS or without.
type Stream = Either<TcpStream, TlsStream<TcpStream>>;

fn tls(config: &Config) -> Result<(TlsConnector, ServerName<'static>), SetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(config)?)
        .with_no_client_auth();
    let name = ServerName::try_from(config.host.clone()).map_err(|_| SetupError::Name)?;
    Ok((TlsConnector::from(Arc::new(client)), name))
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
