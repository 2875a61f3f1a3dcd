//! `[[listener]]` and `[listener.tls]`.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::server::networks;
use crate::config::fault::{Checked, Fault};
use crate::config::raw::Value;
use crate::config::schema::{Key, fill, keys};
use crate::config::{sketch, units};
use crate::server::{Certificate, Listener, Tls};

/// What one `[[listener]]` says.
#[derive(Clone, Debug)]
pub(in crate::config) struct Draft {
    address: Option<SocketAddr>,
    /// Where the address stands, for faults that only all listeners together show.
    pub(in crate::config) span: Range<usize>,
    rest: Listener,
}

/// Where Seawall listens when nobody says where.
pub(in crate::config) fn default_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

impl Draft {
    pub(in crate::config) fn new(span: Range<usize>) -> Self {
        Self { address: None, span, rest: Listener::new(default_address()) }
    }

    pub(in crate::config) fn finish(self) -> Checked<Listener> {
        let missing = || {
            Fault::at(self.span.clone(), "this listener has no address")
                .help("add address = \"127.0.0.1:8080\"")
        };
        Ok(Listener { address: self.address.ok_or_else(missing)?, ..self.rest })
    }
}

pub(in crate::config) const LISTENER: &[Key<Draft>] = keys! {
    "address" = Required("\"127.0.0.1:8080\""), "IP address and port; port 0 takes a free one. Without any listener: `127.0.0.1:8080`." => |draft, value| {
        draft.span = value.span();
        draft.address = Some(value.formed(|| sketch::text(units::ADDRESS), units::address)?);
        Ok(())
    };
    "http2" = Default("true"), "Whether HTTP/2 is spoken: by ALPN over TLS, by prior knowledge on cleartext." => |draft, value| {
        draft.rest.http2 = value.boolean()?;
        Ok(())
    };
    "proxy_protocol_from" = Default("[]"), "Peers that must begin with a PROXY protocol header (version 1 or 2); from others it is refused." => |draft, value| {
        draft.rest.proxy_protocol_from = networks(value)?;
        Ok(())
    };
    "tls" = Example("{ certificates = [{ certificate = \"site.pem\", key = \"site.key\" }] }"), "Makes this an HTTPS listener; its keys are below." => |draft, value| {
        draft.rest.tls = Some(tls(value)?);
        Ok(())
    };
};

/// What `[listener.tls]` says.
pub(in crate::config) struct TlsDraft {
    certificates: Vec<Certificate>,
    allow_tls12: bool,
    reload_interval: Duration,
}

pub(in crate::config) const TLS: &[Key<TlsDraft>] = keys! {
    "certificates" = Required("[{ certificate = \"site.pem\", key = \"site.key\" }]"), "PEM files: the chain (leaf first) and its key. Chosen by SNI; the first is the default." => |draft, value| {
        let instead = "write [{ certificate = \"site.pem\", key = \"site.key\" }]";
        draft.certificates = value.list(instead, |member| certificate(&member))?;
        if draft.certificates.is_empty() {
            return Err(value.fault("HTTPS needs a certificate").help(instead).into());
        }
        Ok(())
    };
    "min_version" = Default("\"1.2\""), "`\"1.2\"` or `\"1.3\"`: the oldest TLS version accepted." => |draft, value| {
        draft.allow_tls12 = value.one_of(&[("1.2", true), ("1.3", false)])?;
        Ok(())
    };
    "reload_interval" = Default("\"1m\""), "How often the files are looked at for a change; new handshakes then use the new ones." => |draft, value| {
        draft.reload_interval = value.duration(Duration::from_secs(1)..=units::LONGEST)?;
        Ok(())
    };
};

fn tls(value: &Value<'_>) -> Checked<Tls> {
    let table = value.table("write [listener.tls] below the listener")?;
    let mut draft = TlsDraft {
        certificates: Vec::new(),
        allow_tls12: true,
        reload_interval: Duration::from_secs(60),
    };
    fill("listener.tls", &[TLS], table, value.around(), &mut draft)?;
    if !table.contains_key("certificates") {
        return Err(value
            .fault("[listener.tls] has no certificates")
            .help("add certificates = [{ certificate = \"site.pem\", key = \"site.key\" }]")
            .into());
    }
    Ok(Tls {
        certificates: draft.certificates,
        allow_tls12: draft.allow_tls12,
        reload_interval: draft.reload_interval,
    })
}

/// A certificate and its key while they are read.
#[derive(Default)]
struct Pair {
    certificate: Option<std::path::PathBuf>,
    key: Option<std::path::PathBuf>,
}

const PAIR: &[Key<Pair>] = keys! {
    "certificate" = Required("\"site.pem\""), "The chain, leaf first." => |draft, value| {
        draft.certificate = Some(value.certificate_file()?);
        Ok(())
    };
    "key" = Required("\"site.key\""), "The private key." => |draft, value| {
        draft.key = Some(value.key_file()?);
        Ok(())
    };
};

fn certificate(value: &Value<'_>) -> Checked<Certificate> {
    let table = value.table("write { certificate = \"site.pem\", key = \"site.key\" }")?;
    let mut pair = Pair::default();
    fill("listener.tls.certificates", &[PAIR], table, value.around(), &mut pair)?;
    match pair {
        Pair { certificate: Some(certificate), key: Some(key) } => {
            Ok(Certificate { certificate, key })
        }
        Pair { key: None, .. } => {
            Err(value.fault("the key is missing").help("add key = \"site.key\"").into())
        }
        Pair { .. } => Err(value
            .fault("the certificate is missing")
            .help("add certificate = \"site.pem\"")
            .into()),
    }
}
