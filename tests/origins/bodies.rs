//! Bodies that end early, are framed by garbage, or are where none may be (RFC 9112 §6.3, §7.1, §8).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";

fn cut(rest: impl AsRef<[u8]>, then: Then) -> Fault {
    fault([HEAD.as_bytes(), rest.as_ref()].concat(), then, "")
}

#[tokio::test]
async fn a_body_that_ends_early_looks_whole_to_nobody() {
    let mut faults = Vec::new();
    for then in [Then::Fin, Then::Rst] {
        for rest in [
            "Content-Length: 10\r\n\r\n",
            "Content-Length: 10\r\n\r\nhalf",
            "Content-Length: 1000000000000000000\r\n\r\nhalf",
            "Content-Length: 18446744073709551613\r\n\r\nhalf",
            "Transfer-Encoding: chunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n4",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nha",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nx: y\r\n",
        ] {
            faults.push(cut(rest, then));
        }
    }
    // Without any framing only an end in order is an end (RFC 9112 §8).
    faults.push(cut("\r\nhalf", Then::Rst));
    expect_cuts(&faults).await;
}

// RFC 9112 §8: a client of HTTP/1.0 knows no chunks, and for it a connection that ends in order is
// the end of the body.
#[tokio::test]
async fn a_client_of_http_1_0_is_told_of_a_cut_by_a_reset() {
    let chunks = "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let unframed = format!("{HEAD}\r\nhalf");
    let uncacheable = format!("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n{chunks}");
    for (bytes, then) in [
        (format!("{HEAD}{chunks}"), Then::Fin),
        (format!("{HEAD}{chunks}zz\r\n"), Then::Fin),
        (uncacheable, Then::Fin),
        (unframed, Then::Rst),
    ] {
        let origin = Origin::script(move |mut conn| {
            let bytes = bytes.clone();
            async move {
                conn.request().await;
                conn.send(bytes).await;
                if then == Then::Rst { conn.reset() } else { conn.finish().await }
            }
        })
        .await;
        let proxy = Proxy::start(&origin).await;
        let mut client = TcpStream::connect(proxy.address).await.expect("it listens");
        client.write_all(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n").await.expect("sent");
        let mut bytes = Vec::new();
        let end = within("the end", client.read_to_end(&mut bytes)).await;
        let end = end.map_err(|error| error.kind());
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset), "{bytes:?}");
    }
}

// What is cut before its first byte is still seen to be an answer that was cut.
#[tokio::test]
async fn a_body_that_fails_at_once_still_has_its_head() {
    for rest in ["Content-Length: 9\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nzz\r\n"] {
        let origin = Origin::answering(raw([HEAD, rest].concat()).closing()).await;
        let proxy = Proxy::start(&origin).await;
        let mut client = proxy.client().await;
        client.send(get("/").bytes()).await;
        let response = client.begin("GET").await;
        assert_eq!(response.status, 200, "{rest:?}");
        assert!(!client.finish(response).await.complete, "{rest:?}");
    }
}

#[tokio::test]
async fn chunks_that_are_none_end_the_body_and_the_connection() {
    let long = "x".repeat(20_000);
    let longer = "x".repeat(2 << 20);
    let mut faults = Vec::new();
    for chunks in [
        "zz\r\nhalf\r\n0\r\n\r\n",
        "-4\r\nhalf\r\n0\r\n\r\n",
        "+4\r\nhalf\r\n0\r\n\r\n",
        "0x4\r\nhalf\r\n0\r\n\r\n",
        "4 4\r\nhalf\r\n0\r\n\r\n",
        " 4\r\nhalf\r\n0\r\n\r\n",
        "4_0\r\nhalf\r\n0\r\n\r\n",
        "4,\r\nhalf\r\n0\r\n\r\n",
        "\r\nhalf\r\n0\r\n\r\n",
        ";x\r\nhalf\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhalf",
        "10000000000000004\r\nhalf\r\n0\r\n\r\n",
        "4\nhalf\n0\n\n",
        "4\rhalf\r0\r\r",
        "4\r\nhalf\n0\r\n\r\n",
        "4\r\nhalfXX0\r\n\r\n",
        "4\r\nhalfie\r\n0\r\n\r\n",
        "4\r\nhalf0\r\n\r\n",
        "4;a\nb\r\nhalf\r\n0\r\n\r\n",
        "4;a\rb\r\nhalf\r\n0\r\n\r\n",
        "4\r\nhalf\r\n0\r\nno colon\r\n\r\n",
        "4\r\nhalf\r\n0\r\nx: n\0l\r\n\r\n",
        "4\r\nhalf\r\n0\r\nx: y\r\n folded\r\n\r\n",
        "4\r\nhalf\r\n0\r\nx : y\r\n\r\n",
        "4\r\nhalf\r\n0\r\nx: y\nz: y\r\n\r\n",
        "4\r\nhalf\r\n0\r\nx: y\r\r\n\r\n",
        &format!("4;{long}\r\nhalf\r\n0\r\n\r\n"),
        &format!("4;{longer}\r\nhalf\r\n0\r\n\r\n"),
        &format!("4\r\nhalf\r\n0\r\nx: {longer}\r\n\r\n"),
        &format!("4\r\nhalf\r\n0\r\n{}\r\n", "x: y\r\n".repeat(2_000)),
    ] {
        faults.push(cut(format!("{CHUNKED}{chunks}"), Then::Hold));
    }
    expect_cuts(&faults).await;
}

#[tokio::test]
async fn odd_bodies_that_mean_one_thing_are_normalised() {
    for rest in [
        "\r\nbody",
        "Connection: keep-alive\r\n\r\nbody",
        "Transfer-Encoding: Chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "Transfer-Encoding:  chunked \r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0004\r\nbody\r\n000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4 \r\nbody\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4;a=\"b;c\"\r\nbody\r\n0;last\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3\r\nody\r\n0\r\n\r\nsurplus",
        "Content-Length: 4\r\n\r\nbodysurplus",
        "Content-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
    ] {
        let (origin, proxy) = stage(raw(format!("{HEAD}{rest}"))).await;
        let mut http2 = H2Client::connect(proxy.address).await;
        for response in [proxy.get("/").await, http2.exchange(&get("/")).await] {
            assert!(response.complete, "{rest:?}: {response:?}");
            assert_eq!((response.status, response.text()), (200, "body"), "{rest:?}");
        }
        assert_eq!(origin.count(), 1, "{rest:?}");
    }
}

// RFC 9110 §6.5.1: what frames, routes or controls a message has no place behind its body.
#[tokio::test]
async fn trailers_never_become_fields_and_forbidden_ones_go_nowhere() {
    let forbidden = [
        ("Content-Length", "9"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("Set-Cookie", "a=1"),
        ("Cache-Control", "no-store"),
        ("Content-Type", "text/html"),
        ("Content-Encoding", "gzip"),
        ("Content-Range", "bytes 0-1/2"),
        ("Age", "7"),
        ("Date", "Wed, 01 Jan 2031 00:00:00 GMT"),
        ("Location", "http://evil.test/"),
        ("Vary", "*"),
        ("WWW-Authenticate", "Basic"),
        ("Host", "evil.test"),
        ("Trailer", "x"),
    ];
    let named = forbidden.map(|(name, _)| name).join(", ");
    let answer = ok("body").fresh(600).with("Trailer", format!("{named}, X-Sum"));
    let answer = forbidden
        .iter()
        .fold(answer.trailer("X-Sum", "4"), |answer, (name, value)| answer.trailer(name, value));
    let (origin, proxy) = stage(answer).await;
    let asking = |target: &str| get(target).with("TE", "trailers");
    let mut http2 = H2Client::connect(proxy.address).await;
    for response in [
        proxy.send(&asking("/1").with("Connection", "te")).await,
        http2.exchange(&asking("/2")).await,
        proxy.send(&asking("/1")).await,
        http2.exchange(&asking("/2")).await,
    ] {
        assert_eq!((response.text(), response.complete), ("body", true), "{response:?}");
        for (name, value) in forbidden {
            assert_eq!(find(&response.trailers, name), None, "{name}");
            let ours = name == "Transfer-Encoding";
            assert!(ours || response.field(name) != Some(value), "{name}");
        }
        let sum = find(&response.trailers, "x-sum");
        assert!(response.is_hit() || sum == Some("4"), "{response:?}");
    }
    assert_eq!(origin.count(), 2);
}

// RFC 9112 §6.3: these have no content, whatever they say; bytes that follow are not theirs.
#[tokio::test]
async fn content_where_none_may_be_is_dropped_with_its_connection() {
    let surplus = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    for (request, head, status) in [
        (head("/"), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", 200),
        (
            head("/"),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            200,
        ),
        (head("/"), "HTTP/1.1 200 OK\r\n\r\nbody", 200),
        (get("/"), "HTTP/1.1 204 No Content\r\n\r\nbody", 204),
        (get("/"), "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody", 204),
        (
            get("/"),
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            204,
        ),
        (
            get("/").with("If-None-Match", "\"a\"").with("Cache-Control", "no-store"),
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 4\r\n\r\nbody",
            304,
        ),
        (get("/"), "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\nbody", 205),
        (get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nbody", 200),
        (
            get("/"),
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nbody",
            200,
        ),
    ] {
        let broken = format!("{head}{surplus}");
        let closed = Gate::new();
        let (script, told) = (broken.clone(), closed.clone());
        let origin = Origin::script(move |mut conn| {
            let (script, told) = (script.clone(), told.clone());
            async move {
                while let Some(seen) = conn.request().await {
                    if seen.number == 0 {
                        conn.send(&script).await;
                        conn.ended().await;
                        return told.pass().await;
                    }
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright").await;
                }
            }
        })
        .await;
        let proxy = Proxy::with(&origin, |s| s.server.threads = 1).await;
        let mut client = proxy.client().await;
        let first = client.exchange(&request).await;
        assert_eq!((first.status, first.text()), (status, ""), "{broken:?}");
        let second = client.exchange(&post("/", "x")).await;
        assert_eq!(second.text(), "right", "{broken:?}");
        closed.reached(1).await;
        assert_eq!(origin.connections(), 2, "{broken:?}");
    }
}

// RFC 9112 §9.8: over TLS only `close_notify` ends what the connection's end delimits.
#[tokio::test]
async fn a_tls_connection_that_just_stops_ends_no_body() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for (says_goodbye, length) in [(false, ""), (true, ""), (false, "Content-Length: 10\r\n")] {
        let authority = Authority::new(if says_goodbye { "goodbye" } else { "no-goodbye" });
        let acceptor = authority.acceptor("example.test");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = format!("{HEAD}{length}\r\nbody");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = acceptor.accept(stream).await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                if says_goodbye {
                    stream.shutdown().await.unwrap();
                } else {
                    let (socket, _) = stream.get_mut();
                    socket.shutdown().await.unwrap();
                }
            }
        });
        let origin = Origin::answering(ok("never asked")).await;
        let proxy = Proxy::with(&origin, |s| {
            s.upstream().tls = true;
            s.upstream().port = port;
            s.upstream().ca = Some(authority.file());
        })
        .await;
        let mut http2 = H2Client::connect(proxy.address).await;
        for response in [proxy.get("/").await, http2.exchange(&get("/")).await] {
            assert_eq!(response.complete, says_goodbye, "{response:?}");
        }
        assert_eq!(proxy.get("/").await.is_hit(), says_goodbye);
    }
}
