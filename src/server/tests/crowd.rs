//! More connections than there are places.

use std::sync::mpsc;

use proxy_header::{ProxiedAddress, ProxyHeader};
use socket2::{Domain, Socket, Type};
use tower::service_fn;

use super::*;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn served(client: &mut Client) {
    client.send(REQUEST);
    assert!(client.read_until("!").starts_with("HTTP/1.1 200 "));
}

/// Waits for a counter: an end that the client sees may come before it.
fn counted(server: &Server, line: &str) {
    let begun = std::time::Instant::now();
    while !server.counts(line) {
        assert!(begun.elapsed() < PATIENCE, "{line} in\n{}", server.metrics.encode());
        std::thread::yield_now();
    }
}

fn of(address: [u8; 4], server: &Server) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((address, 0)).into()).expect("loopback");
    socket.connect(&server.address.into()).expect("the server listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    Client(stream)
}

#[test]
fn the_longest_idle_connection_gives_way_to_a_new_one() {
    let server = Server::start(&with_limits(|limits| limits.max_connections = 2), service_fn(echo));
    let (mut first, mut second) = (server.connect(), server.connect());
    served(&mut first);
    served(&mut second);
    served(&mut first);
    let mut third = server.connect();
    served(&mut third);
    assert_eq!(second.read_to_end(), "", "it has idled longest");
    served(&mut first);
    counted(&server, "seawall_connections_open 2");
    counted(&server, "seawall_connections_dismissed_total 1");
    counted(&server, "seawall_connections_rejected_total 0");
}

#[test]
fn connections_with_a_request_stay_and_the_new_one_is_closed() {
    let (reached, arrived) = mpsc::channel();
    let (release, wait) = tokio::sync::watch::channel(false);
    let stack = service_fn(move |_: Request| {
        let (reached, mut wait) = (reached.clone(), wait.clone());
        async move {
            let _ = reached.send(());
            let _ = wait.wait_for(|&released| released).await;
            answer("late!")
        }
    });
    let server = Server::start(&with_limits(|limits| limits.max_connections = 1), stack);
    let mut first = server.connect();
    first.send(REQUEST);
    arrived.recv_timeout(PATIENCE).expect("a request");
    assert_eq!(server.connect().read_to_end(), "");
    counted(&server, "seawall_connections_rejected_total 1");
    release.send_replace(true);
    assert!(first.read_until("!").ends_with("late!"));
    // The places are counted right however often they change hands.
    for _ in 0..10 {
        let mut next = server.connect();
        served(&mut next);
        counted(&server, "seawall_connections_open 1");
    }
}

#[test]
fn connections_that_never_ask_give_way_before_those_that_have() {
    let give_way = |silent: &str| {
        let mut config = with_limits(|limits| limits.max_connections = 3);
        config.threads = 2;
        let server = Server::start(&config, service_fn(echo));
        let mut asking = vec![server.connect()];
        served(&mut asking[0]);
        let mut mute = [server.connect(), server.connect()];
        for mute in &mut mute {
            mute.send(silent);
        }
        // After a second they have had their time; until then who is new is closed, or the
        // connection that has asked gives way.
        let begun = std::time::Instant::now();
        while !mute_ended(&mut mute[0]) {
            assert!(begun.elapsed() < PATIENCE, "{silent:?}");
            let mut new = server.connect();
            let _ = new.0.write_all(REQUEST.as_bytes());
            new.read_to_end_of_answer();
            // It stays until the next one is there, so that nobody finds a free place.
            asking.push(new);
            asking.swap_remove(0);
        }
        served(&mut server.connect());
    };
    std::thread::scope(|scope| {
        for silent in ["", "GET / HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            scope.spawn(move || give_way(silent));
        }
    });
}

fn mute_ended(client: &mut Client) -> bool {
    client.0.set_nonblocking(true).expect("a socket");
    let read = client.0.read(&mut [0; 1024]);
    matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
}

impl Client {
    /// Reads an answer, or the end where there is none.
    fn read_to_end_of_answer(&mut self) {
        let mut byte = [0];
        while matches!(self.0.read(&mut byte), Ok(1)) && byte != *b"!" {}
    }
}

#[test]
fn one_client_has_no_more_connections_than_it_may() {
    let limits = |limits: &mut Limits| {
        limits.max_connections_per_client = Some(1);
        limits.many_clients = vec!["127.0.0.3/32".parse().expect("a network")];
    };
    let server = Server::start(&with_limits(limits), service_fn(echo));
    let mut first = of([127, 0, 0, 1], &server);
    served(&mut first);
    assert_eq!(of([127, 0, 0, 1], &server).read_to_end(), "");
    served(&mut of([127, 0, 0, 2], &server));
    served(&mut first);
    // A trusted proxy is many clients.
    let mut many: Vec<_> = (0..3).map(|_| of([127, 0, 0, 3], &server)).collect();
    many.iter_mut().for_each(served);
    counted(&server, "seawall_client_connections_rejected_total 1");
    drop(first);
    counted(&server, "seawall_connections_open 3");
    served(&mut of([127, 0, 0, 1], &server));
}

#[test]
fn the_client_of_a_proxy_header_is_the_one_that_counts() {
    let mut config = with_limits(|limits| limits.max_connections_per_client = Some(1));
    config.listeners[0].proxy_protocol_from = vec!["127.0.0.1/32".parse().expect("a network")];
    let server = Server::start(&config, service_fn(echo));
    let connect = |client: &str| {
        let told = ProxiedAddress::stream(
            client.parse().expect("an address"),
            "198.51.100.1:80".parse().expect("an address"),
        );
        let mut header = Vec::new();
        ProxyHeader::with_address(told).encode_v1(&mut header).expect("version 1");
        let mut connection = server.connect();
        connection.send(header);
        connection
    };
    let mut first = connect("203.0.113.9:1");
    served(&mut first);
    let mut second = connect("203.0.113.10:1");
    served(&mut second);
    assert_eq!(connect("203.0.113.9:2").read_to_end(), "");
    served(&mut first);
}
