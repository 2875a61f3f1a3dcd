//! TLS: which certificate, which protocol, and files that change.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use tower::service_fn;

use super::*;

/// Certificates in a directory of their own, gone at the end.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("seawall-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    /// Writes a certificate for `names`, under the name of a file.
    fn write(&self, file: &str, names: &[&str]) -> (Certificate, CertificateDer<'static>) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let files = Certificate {
            certificate: self.0.join(format!("{file}.pem")),
            key: self.0.join(format!("{file}.key")),
        };
        replace(&files.certificate, &made.cert.pem());
        replace(&files.key, &made.signing_key.serialize_pem());
        (files, made.cert.der().clone())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, path).expect("moved");
}

fn tls(certificates: Vec<Certificate>) -> Config {
    let mut config = config();
    config.listeners[0].tls =
        Some(Tls { certificates, allow_tls12: true, reload_interval: Duration::from_millis(10) });
    config
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A handshake for `name`, trusting `roots` alone.
fn connect(
    server: &Server,
    name: &'static str,
    roots: &[&CertificateDer<'static>],
    alpn: &[&[u8]],
) -> Result<Stream, rustls::Error> {
    let mut config = client(roots, rustls::ALL_VERSIONS);
    config.alpn_protocols = alpn.iter().map(|&name| name.to_vec()).collect();
    handshake(server, name, &Arc::new(config))
}

fn client(
    roots: &[&CertificateDer<'static>],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add((*root).clone()).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(store)
        .with_no_client_auth()
}

fn handshake(
    server: &Server,
    name: &'static str,
    config: &Arc<ClientConfig>,
) -> Result<Stream, rustls::Error> {
    let name = ServerName::try_from(name).expect("a name");
    let mut connection = ClientConnection::new(Arc::clone(config), name)?;
    let mut stream = server.connect().0;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            return Err(match error.downcast::<rustls::Error>() {
                Ok(error) => error,
                Err(error) => panic!("{error}"),
            });
        }
    }
    Ok(StreamOwned::new(connection, stream))
}

/// One request, answered to the end of the connection.
fn get(stream: &mut Stream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("closed in good order");
    answer
}

#[test]
fn sessions_are_resumed_by_any_worker() {
    let files = Files::new("resumed");
    let (one, root) = files.write("one", &["one.example"]);
    let server = Server::start(&Config { threads: 4, ..tls(vec![one]) }, service_fn(echo));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(client(&[&root], &[version]));
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut stream = handshake(&server, "one.example", &config).expect("a handshake");
            assert_eq!(stream.conn.handshake_kind(), Some(expected));
            // Tickets of TLS 1.3 come after the handshake.
            get(&mut stream);
        }
    }
}

#[test]
fn tls_1_2_can_be_refused() {
    let files = Files::new("versions");
    let (one, root) = files.write("one", &["one.example"]);
    let mut config = tls(vec![one]);
    config.listeners[0].tls.as_mut().expect("set above").allow_tls12 = false;
    let server = Server::start(&config, service_fn(echo));
    let old = Arc::new(client(&[&root], &[&rustls::version::TLS12]));
    handshake(&server, "one.example", &old).expect_err("refused");
    connect(&server, "one.example", &[&root], &[]).expect("TLS 1.3");
}

#[test]
fn the_certificate_follows_the_name() {
    let files = Files::new("sni");
    let (one, one_root) = files.write("one", &["one.example"]);
    let (two, two_root) = files.write("two", &["two.example", "*.two.example"]);
    let server = Server::start(&tls(vec![one, two]), service_fn(echo));
    for (name, root) in
        [("one.example", &one_root), ("two.example", &two_root), ("a.two.example", &two_root)]
    {
        let answer = get(&mut connect(&server, name, &[root], &[]).expect(name));
        assert!(answer.ends_with("secure=true!"), "{answer}");
    }
    // One label only, and the default for what is unknown.
    connect(&server, "a.b.two.example", &[&two_root], &[]).expect_err("the default's certificate");
    connect(&server, "unknown.example", &[&one_root], &[]).expect_err("another name");
}

#[test]
fn the_protocol_is_negotiated() {
    let files = Files::new("alpn");
    let (one, root) = files.write("one", &["one.example"]);
    let mut config = tls(vec![one]);
    let server = Server::start(&config, service_fn(echo));
    for (offer, chosen) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = connect(&server, "one.example", &[&root], offer).expect("a handshake");
        assert_eq!(stream.conn.alpn_protocol(), chosen);
    }
    config.listeners[0].http2 = false;
    let server = Server::start(&config, service_fn(echo));
    let offer: &[&[u8]] = &[b"h2", b"http/1.1"];
    let stream = connect(&server, "one.example", &[&root], offer).expect("a handshake");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn changed_files_are_taken_and_broken_ones_are_not() {
    let files = Files::new("reload");
    let (one, old) = files.write("one", &["one.example"]);
    let server = Server::start(&tls(vec![one.clone()]), service_fn(echo));
    connect(&server, "one.example", &[&old], &[]).expect("the first certificate");
    replace(&one.certificate, "broken");
    let (_, new) = files.write("one", &["one.example"]);
    // Between two looks the old or the new one is served, never none.
    let begun = std::time::Instant::now();
    while connect(&server, "one.example", &[&new], &[]).is_err() {
        assert!(begun.elapsed() < PATIENCE, "never reloaded");
    }
    replace(&one.certificate, "broken");
    for _ in 0..20 {
        connect(&server, "one.example", &[&new], &[]).expect("the last good one");
    }
}

#[test]
fn faults_name_the_file() {
    let files = Files::new("faults");
    let (one, _) = files.write("one", &["one.example"]);
    let (two, _) = files.write("two", &["two.example"]);
    let missing = Certificate { key: files.0.join("missing.key"), ..one.clone() };
    let error = Bound::bind(&tls(vec![missing])).expect_err("no key").to_string();
    assert!(error.contains("missing.key"), "{error}");
    let mismatched = Certificate { key: two.key.clone(), ..one.clone() };
    let error = Bound::bind(&tls(vec![mismatched])).expect_err("another's key").to_string();
    assert!(error.contains("two.key"), "{error}");
    replace(&one.certificate, "no PEM");
    let error = Bound::bind(&tls(vec![one])).expect_err("no certificate").to_string();
    assert!(error.contains("one.pem"), "{error}");
}

#[test]
fn handshakes_are_bounded_in_time() {
    let files = Files::new("handshake");
    let (one, _) = files.write("one", &["one.example"]);
    let mut config = tls(vec![one]);
    config.limits.handshake_timeout = Duration::from_millis(500);
    let server = Server::start(&config, service_fn(echo));
    assert_eq!(server.connect().read_to_end(), "");
    let mut garbage = server.connect();
    garbage.send("GET / HTTP/1.1\r\n\r\n");
    garbage.read_to_end();
    let mut server = server;
    server.shutdown.drain();
    server.join();
    assert!(server.counts("seawall_connection_timeouts_total 1"));
    assert!(server.counts("seawall_tls_handshake_failures_total 1"));
}

#[test]
fn a_listener_comes_to_speak_tls_with_other_certificates_or_none() {
    let files = Files::new("control");
    let (one, root_one) = files.write("one", &["one.example"]);
    let (two, root_two) = files.write("two", &["two.example"]);
    let server = Server::start(&config(), service_fn(echo));
    let speaks = |config: &Config| {
        server.control.take(server.control.prepare(config).expect("good certificates"));
    };
    let mut plain = server.connect();
    plain.send("GET /before HTTP/1.1\r\nHost: a\r\n\r\n").read_until("!");
    speaks(&tls(vec![one]));
    let mut stream = connect(&server, "one.example", &[&root_one], &[]).expect("TLS");
    assert!(get(&mut stream).contains("secure=true"));
    speaks(&tls(vec![two.clone()]));
    connect(&server, "two.example", &[&root_two], &[]).expect("the other certificate");
    // A fault changes nothing.
    let missing = Certificate { key: "/no/such.key".into(), ..two };
    server.control.prepare(&tls(vec![missing])).expect_err("no key");
    connect(&server, "two.example", &[&root_two], &[]).expect("as before");
    speaks(&config());
    let mut last = server.connect();
    assert!(
        last.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").read_until("!").contains("secure=false")
    );
    // Whoever was there is still served.
    assert!(
        plain.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n").read_until("!").contains("/after")
    );
}
