//! TLS of a listener: what is offered, and certificates that follow their files.

mod certificates;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::Tls;
use super::bind::Manner;
use certificates::Certificates;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file holds no usable certificate or key.
    #[error("{}: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A listener speaks TLS and names no certificate.
    #[error("no certificate is configured")]
    NoCertificate,
    /// The cryptography could not be set up.
    #[error("TLS setup: {0}")]
    Setup(#[from] rustls::Error),
}

/// Accepts TLS; clones share certificates and session tickets.
#[derive(Clone)]
pub(super) struct Acceptor {
    handshakes: TlsAcceptor,
    certificates: Arc<Certificates>,
    /// What it was made of.
    by: (Tls, bool),
}

/// How often a listener without TLS is asked whether it has some by now.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Acceptor {
    /// Loads certificates and sets up what is offered.
    pub(super) fn load(tls: &Tls, http2: bool) -> Result<Self, TlsError> {
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let certificates =
            Arc::new(Certificates::load(tls.certificates.clone(), Arc::clone(&provider))?);
        let versions: &[_] = if tls.allow_tls12 {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        } else {
            &[&rustls::version::TLS13]
        };
        let resolver: Arc<Certificates> = Arc::clone(&certificates);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        // Stateless resumption: no table of sessions to bound, and every worker knows them.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self {
            handshakes: TlsAcceptor::from(Arc::new(config)),
            certificates,
            by: (tls.clone(), http2),
        })
    }

    /// The handshake.
    pub(super) fn accept<T>(&self, io: T) -> tokio_rustls::Accept<T>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshakes.accept(io)
    }

    /// Whether it was made of these settings.
    pub(super) fn is_by(&self, tls: &Tls, http2: bool) -> bool {
        self.by.0 == *tls && self.by.1 == http2
    }

    /// Looks at the files now.
    pub(super) fn look(&self) -> Result<(), TlsError> {
        self.certificates.reload()
    }
}

/// Follows the files of a listener's certificates for ever, whichever they come to be.
pub(super) async fn follow(manner: Arc<ArcSwap<Manner>>) -> ! {
    loop {
        let interval = manner.load().tls.as_ref().map(|tls| tls.by.0.reload_interval);
        // Everything was just loaded.
        let interval = interval.unwrap_or(LOOK_EVERY).max(Duration::from_millis(1));
        tokio::time::sleep(interval).await;
        let Some(acceptor) = manner.load().tls.clone() else { continue };
        // Files may lie on a network; a worker must not wait for them.
        let looked = tokio::task::spawn_blocking(move || acceptor.look()).await;
        if let Ok(Err(error)) = looked {
            tracing::error!(%error, "certificates not reloaded; the old ones stay");
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}
