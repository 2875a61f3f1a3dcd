//! Certificates for tests: one authority, any number of names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use seawall::server;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate authority of the test's own, and a directory for what it signs.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    /// `name` keeps the files of tests that run at the same time apart.
    pub fn new(name: &str) -> Self {
        install_provider();
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.distinguished_name.push(DnType::CommonName, "Seawall test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let directory = std::env::temp_dir().join(format!("seawall-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        Self { issuer, directory }
    }

    /// The authority's certificate, as a file.
    pub fn file(&self) -> PathBuf {
        self.write("ca.pem", &self.issuer.pem())
    }

    /// Signs a certificate for `name` and writes it to `file` and its key beside it; overwrites
    /// both if they are there.
    pub fn certificate(&self, file: &str, name: &str) -> server::Certificate {
        let (chain, key) = self.sign(name);
        server::Certificate {
            certificate: self.write(&format!("{file}.pem"), &chain),
            key: self.write(&format!("{file}.key"), &key),
        }
    }

    /// The server's side, for an origin called `name`.
    pub fn acceptor(&self, name: &str) -> TlsAcceptor {
        let (chain, key) = self.sign(name);
        let chain = CertificateDer::from_pem_slice(chain.as_bytes()).expect("our own PEM");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("our own PEM");
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a key that fits");
        TlsAcceptor::from(Arc::new(config))
    }

    /// A TLS connection to `address` that asks for `name`, trusts this authority and offers `alpn`.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &'static str,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("our own certificate");
        let mut config =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name).expect("a valid name");
        let connector = TlsConnector::from(Arc::new(config));
        super::within("the handshake", connector.connect(name, stream)).await
    }

    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        // Its own name: OpenSSL takes a certificate that is called like its issuer for self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.directory.join(file);
        replace(&path, text);
        path
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Replaces a file in one step, as careful tools renew certificates.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("a writable directory");
    std::fs::rename(&beside, path).expect("a writable directory");
}

/// Chooses the crypto provider: two are compiled in (the proxy's, and rcgen's), and rustls asks
/// for a choice then. A second call changes nothing.
fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
