//! TLS towards origins: whom to trust, which protocols to offer, which name to ask for.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::config::{Config, Version};
use super::shared::{SetupError, bare_host};

/// TLS settings of one upstream. Sessions are resumed within it only, and per server name.
#[derive(Clone)]
pub(super) struct TlsSettings {
    /// Offers what the upstream's version setting says.
    pub(super) usual: TlsConnector,
    /// Offers HTTP/1.1 alone: for upgrades, which HTTP/2 does not have.
    pub(super) http1: TlsConnector,
}

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsSettings")
    }
}

impl TlsSettings {
    /// Reads the authorities that `config` trusts.
    pub(super) fn new(config: &Config) -> Result<Self, SetupError> {
        let base = client_config(config)?;
        let with_alpn = |protocols: &[&[u8]]| {
            let mut client = base.clone();
            client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(client))
        };
        let usual = match config.version {
            Version::Http1 => with_alpn(&[b"http/1.1"]),
            Version::Http2 => with_alpn(&[b"h2"]),
            Version::Auto => with_alpn(&[b"h2", b"http/1.1"]),
        };
        Ok(Self { usual, http1: with_alpn(&[b"http/1.1"]) })
    }
}

fn client_config(config: &Config) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| SetupError::Tls { upstream: config.name.clone(), source })?;
    let client = if config.verify {
        builder.with_root_certificates(roots(config)?).with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
            .with_no_client_auth()
    };
    Ok(client)
}

fn roots(config: &Config) -> Result<RootCertStore, SetupError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &config.ca {
        for certificate in read_ca(config, path)? {
            store.add(certificate).map_err(|error| invalid(config, path, &error))?;
        }
    } else {
        // A single unreadable file among the system's is common; having none at all is the fault.
        let _ = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(SetupError::NoRoots { upstream: config.name.clone() });
        }
    }
    Ok(store)
}

fn read_ca(config: &Config, path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let unreadable = |source: io::Error| SetupError::CaUnreadable {
        upstream: config.name.clone(),
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read(path).map_err(unreadable)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|error| invalid(config, path, &error))?;
    if certificates.is_empty() {
        return Err(invalid(config, path, &"it has no CERTIFICATE section"));
    }
    Ok(certificates)
}

fn invalid(config: &Config, path: &Path, reason: &dyn std::fmt::Display) -> SetupError {
    SetupError::CaInvalid {
        upstream: config.name.clone(),
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// The name to ask an origin for (SNI) and to verify its certificate against: what is set, else
/// the host that the origin sees where that is a name, else the upstream's own host.
pub(super) fn server_name<'a>(config: &'a Config, seen_host: &'a str) -> &'a str {
    let seen = bare_host(seen_host);
    match &config.sni {
        Some(name) => name,
        None if seen.parse::<IpAddr>().is_err() && ServerName::try_from(seen).is_ok() => seen,
        None => bare_host(&config.host),
    }
}

/// Accepts every certificate: `verify = false`.
///
/// The connection is encrypted, yet anybody on the way can pose as the origin. It is for origins
/// with self-signed certificates on a network that is trusted anyway. Handshake signatures are
/// checked all the same, so the peer at least holds the key of the certificate that it shows.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_name_follows_what_the_origin_sees_where_that_is_a_name() {
        for (sni, seen, expected) in [
            (None, "www.example", "www.example"),
            (None, "192.0.2.1", "origin.example"),
            (None, "[2001:db8::1]", "origin.example"),
            (None, "not_a!name", "origin.example"),
            (Some("fixed.example"), "www.example", "fixed.example"),
        ] {
            let mut config = Config::new("o", true, "origin.example", 443);
            config.sni = sni.map(str::to_owned);
            assert_eq!(server_name(&config, seen), expected);
        }
    }
}
