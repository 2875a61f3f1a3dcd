//! Certificates by server name (SNI, RFC 6066 §3), and their files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::TlsError;
use crate::server::Certificate;

/// Bytes of a certificate or key file; a chain has a few thousand.
const MAX_FILE: u64 = 1024 * 1024;

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct Certificates {
    files: Vec<Certificate>,
    provider: Arc<CryptoProvider>,
    table: ArcSwap<Table>,
    /// What the files held when they were last looked at, good or bad: a bad file is reported
    /// once, not at every look.
    seen: Mutex<Vec<Pem>>,
}

/// Which certificate a name gets.
#[derive(Debug)]
struct Table {
    default: Arc<CertifiedKey>,
    /// Exact names in lower case; `*.example.com` stands as it is.
    names: HashMap<String, Arc<CertifiedKey>>,
}

/// The contents of one certificate's files.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.write_str("Pem")
    }
}

impl Certificates {
    /// Loads `files`; the first is the default.
    pub(super) fn load(
        files: Vec<Certificate>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let seen = files.iter().map(Pem::read).collect::<Result<Vec<_>, _>>()?;
        let table = Table::new(&files, &seen, &provider)?;
        Ok(Self { files, provider, table: ArcSwap::from_pointee(table), seen: Mutex::new(seen) })
    }

    /// Looks at the files, and takes what has changed if all of it is usable.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let now = self.files.iter().map(Pem::read).collect::<Result<Vec<_>, _>>()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(());
        }
        let table = Table::new(&self.files, &now, &self.provider);
        *seen = now;
        self.table.store(Arc::new(table?));
        tracing::info!("certificates reloaded");
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.table.load().get(hello.server_name()))
    }
}

impl Table {
    fn new(
        files: &[Certificate],
        pems: &[Pem],
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let mut default = None;
        let mut names = HashMap::new();
        for (file, pem) in files.iter().zip(pems) {
            let certified = Arc::new(pem.certified(file, provider)?);
            for name in dns_names(&certified, &file.certificate)? {
                // The first certificate of a name keeps it, as the first of all is the default.
                names.entry(name).or_insert_with(|| Arc::clone(&certified));
            }
            default.get_or_insert(certified);
        }
        Ok(Self { default: default.ok_or(TlsError::NoCertificate)?, names })
    }

    fn get(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            self.names.get(&name).or_else(|| {
                // A wildcard stands for exactly one label (RFC 9525 §6.3).
                let (_, parent) = name.split_once('.')?;
                self.names.get(&format!("*.{parent}"))
            })
        });
        Arc::clone(found.unwrap_or(&self.default))
    }
}

impl Pem {
    fn read(file: &Certificate) -> Result<Self, TlsError> {
        Ok(Self { chain: read(&file.certificate)?, key: read(&file.key)? })
    }

    fn certified(
        &self,
        file: &Certificate,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(&file.certificate, &error))?;
        if chain.is_empty() {
            return Err(unusable(&file.certificate, &"no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| unusable(&file.key, &error))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| unusable(&file.key, &error))
    }
}

/// The DNS names that a certificate is for: they choose it, and clients verify it.
fn dns_names(certified: &CertifiedKey, path: &Path) -> Result<Vec<String>, TlsError> {
    let leaf = certified.end_entity_cert().map_err(|error| unusable(path, &error))?;
    let leaf = EndEntityCert::try_from(leaf).map_err(|error| unusable(path, &error))?;
    Ok(leaf.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let fault = |source| TlsError::Read { path: PathBuf::from(path), source };
    let mut contents = Vec::new();
    let file = File::open(path).map_err(fault)?;
    if file.take(MAX_FILE + 1).read_to_end(&mut contents).map_err(fault)? as u64 > MAX_FILE {
        return Err(fault(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(contents)
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { path: PathBuf::from(path), reason: reason.to_string() }
}
