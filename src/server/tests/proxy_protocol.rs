//! PROXY headers from peers that may, and from others.

use proxy_header::{ProxiedAddress, ProxyHeader};
use tower::service_fn;

use super::*;

fn trusting(net: &str) -> Config {
    let mut config = config();
    config.listeners[0].proxy_protocol_from = vec![net.parse().expect("a network")];
    config
}

#[test]
fn both_versions_tell_the_client() {
    let server = Server::start(&trusting("127.0.0.0/8"), service_fn(echo));
    let told = ProxiedAddress::stream(
        "203.0.113.9:1234".parse().expect("an address"),
        "198.51.100.1:80".parse().expect("an address"),
    );
    let (mut one, mut two) = (Vec::new(), Vec::new());
    ProxyHeader::with_address(told.clone()).encode_v1(&mut one).expect("version 1");
    ProxyHeader::with_address(told).encode_v2(&mut two).expect("version 2");
    for header in [one, two] {
        // With the request in one piece, and byte by byte.
        let mut client = server.connect();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.send([&header[..], request].concat());
        assert!(client.read_until("!").contains("from 203.0.113.9 "));
        let mut client = server.connect();
        client.0.set_nodelay(true).expect("a socket");
        for byte in header {
            client.send([byte]);
        }
        client.send(request);
        assert!(client.read_until("!").contains("from 203.0.113.9 "));
    }
}

#[test]
fn unknown_and_local_leave_the_sockets_addresses() {
    let server = Server::start(&trusting("127.0.0.1/32"), service_fn(echo));
    let mut local = Vec::new();
    ProxyHeader::with_local().encode_v2(&mut local).expect("version 2");
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), local] {
        let mut client = server.connect();
        client.send(header).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.read_until("!").contains("from 127.0.0.1 "));
    }
}

#[test]
fn a_header_is_required_where_it_is_configured() {
    let server = Server::start(&trusting("127.0.0.0/8"), service_fn(echo));
    for wrong in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 nonsense\r\n"] {
        let mut client = server.connect();
        client.send(wrong);
        assert_eq!(client.read_to_end(), "");
    }
}

#[test]
fn a_header_from_elsewhere_is_a_bad_request() {
    let server = Server::start(&trusting("192.0.2.0/24"), service_fn(echo));
    let mut client = server.connect();
    client.send("PROXY TCP4 203.0.113.9 198.51.100.1 1 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read_to_end().starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_header_that_does_not_end_is_cut() {
    let mut config = trusting("127.0.0.0/8");
    config.limits.handshake_timeout = Duration::from_millis(50);
    let server = Server::start(&config, service_fn(echo));
    let mut client = server.connect();
    client.send("PROXY TCP4 ");
    assert_eq!(client.read_to_end(), "");
}
