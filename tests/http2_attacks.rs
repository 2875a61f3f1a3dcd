//! Hostile HTTP/2 clients (RFC 9113 §10.5): each loses its own connection, and costs the origin and
//! other clients next to nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use h2::Reason;

use crate::support::frames::*;
use crate::support::*;

/// How many streams one client may make the origin work for and leave, within a few seconds: the
/// budget for resets, and what time adds to it.
const FEW: usize = 300;

/// The number of the `index`th stream.
fn stream(index: usize) -> u32 {
    u32::try_from(2 * index + 1).expect("not that many")
}

impl Proxy {
    /// The metrics' text.
    async fn metrics(&self) -> String {
        self.ask_admin(&get("/metrics")).await.text().to_owned()
    }

    /// Waits until a line is among the metrics.
    async fn measured(&self, line: &str) {
        within(line, async {
            while !self.metrics().await.lines().any(|found| found == line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Expects that others are served, and that nothing of an attack is left.
    async fn is_well(&self, origin: &Origin) {
        let asked = origin.count();
        assert_eq!(self.get("/well").await.status, 200);
        assert!(origin.count() <= asked + 1);
        self.measured("seawall_requests_in_flight 0").await;
    }
}

/// An origin that answers `/well` and gives all else this answer.
async fn origin(answer: Answer) -> Origin {
    Origin::start(move |request| match &*request.target {
        "/well" => ok("well").fresh(600),
        _ => answer.clone(),
    })
    .await
}

async fn staged(answer: Answer) -> (Origin, Proxy) {
    let origin = origin(answer).await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/well").await;
    (origin, proxy)
}

/// Opens streams one after the other, each of which reaches the origin before `then` follows it,
/// until the connection ends; how many there were.
async fn one_by_one(
    proxy: &Proxy,
    origin: &Origin,
    then: impl Fn(u32) -> Vec<u8>,
) -> (usize, FrameClient) {
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    let before = origin.count();
    for index in 0..10_000 {
        if !client.send(get_frame(stream(index), &format!("/{before}-{index}"))).await {
            return (index, client);
        }
        eventually("the request or the end", || {
            client.has_ended() || origin.count() > before + index
        })
        .await;
        if client.has_ended() || !client.send(then(stream(index))).await {
            return (index, client);
        }
    }
    panic!("no end to it");
}

/// Sends this until the connection ends.
async fn flood(client: &mut FrameClient, bytes: &[u8]) -> Option<Reason> {
    let many = bytes.repeat(1000);
    for _ in 0..1000 {
        if client.has_ended() || !client.send(&many).await {
            break;
        }
    }
    client.ended().await
}

// CVE-2023-44487, with requests that do reach the origin: it never answers, or has begun to.
#[tokio::test]
async fn rapid_reset_ends_the_connection_and_what_it_began() {
    let gate = Gate::new();
    let begun = ok("begun").then(&gate).body("rest").fresh(600);
    let uncacheable = ok("begun").then(&gate).body("rest").with("Cache-Control", "no-store");
    for answer in [Answer::silent(&gate), begun, uncacheable] {
        let (origin, proxy) = staged(answer).await;
        let (count, mut client) = one_by_one(&proxy, &origin, cancel).await;
        assert!((100..FEW).contains(&count), "{count}");
        client.ended().await;
        proxy.measured("seawall_connection_offences_total{kind=\"resets\"} 1").await;
        proxy.is_well(&origin).await;
    }
}

// The same as fast as it can be written: most of it is never more than bytes.
#[tokio::test]
async fn rapid_reset_in_bulk_reaches_the_origin_hardly_at_all() {
    let (origin, proxy) = staged(ok("body").with("Cache-Control", "no-store")).await;
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    let attack = (0..10_000)
        .flat_map(|index| [get_frame(stream(index), &format!("/{index}")), cancel(stream(index))]);
    client.send(attack.collect::<Vec<_>>().concat()).await;
    client.ended().await;
    assert!(origin.count() < FEW, "{}", origin.count());
    proxy.is_well(&origin).await;
}

// CVE-2025-8671: the client makes us reset its streams.
#[tokio::test]
async fn made_resets_end_the_connection_as_soon() {
    let gate = Gate::new();
    type Fault = fn(u32) -> Vec<u8>;
    let faults: [(&str, Fault); 5] = [
        ("an increment of 0", |stream| window_update(stream, 0)),
        ("a window that overflows", |stream| window_update(stream, 0x7fff_ffff)),
        ("DATA after the end", |stream| frame(DATA, 0, stream, b"more")),
        ("HEADERS after the end", |stream| get_frame(stream, "/again")),
        ("a stream that depends on itself", |stream| {
            frame(PRIORITY, 0, stream, [&stream.to_be_bytes()[..], &[0]].concat())
        }),
    ];
    for (what, fault) in faults {
        let (origin, proxy) = staged(Answer::silent(&gate)).await;
        let (count, mut client) = one_by_one(&proxy, &origin, fault).await;
        assert!(count < FEW, "{what}: {count}");
        client.ended().await;
        proxy.is_well(&origin).await;
    }
}

#[tokio::test]
async fn floods_of_every_frame_end_the_connection() {
    let open = frame(HEADERS, END_STREAM, 1, block("GET", "/", &[]));
    let upload = frame(HEADERS, END_HEADERS, 1, block("POST", "/", &[]));
    let none = Vec::new();
    let gate = Gate::new();
    for (what, first, repeated) in [
        ("CONTINUATION", &open, frame(CONTINUATION, 0, 1, field("x-y", "z".repeat(1000)))),
        ("empty CONTINUATION", &open, frame(CONTINUATION, 0, 1, "")),
        ("SETTINGS", &none, frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 1])),
        ("empty SETTINGS", &none, frame(SETTINGS, 0, 0, "")),
        ("PING", &none, frame(PING, 0, 0, [0; 8])),
        ("answers to no PING", &none, frame(PING, ACK, 0, [0; 8])),
        ("PRIORITY", &none, frame(PRIORITY, 0, 3, [0; 5])),
        ("PRIORITY_UPDATE", &none, frame(0x10, 0, 0, [0, 0, 0, 3, b'u', b'=', b'1'])),
        ("WINDOW_UPDATE", &none, window_update(0, 1)),
        ("empty DATA", &upload, frame(DATA, 0, 1, "")),
        ("DATA of padding", &upload, frame(DATA, PADDED, 1, [255].repeat(256))),
        ("unknown frames", &none, frame(0x42, 0, 0, "anything")),
        ("GOAWAY", &none, frame(GOAWAY, 0, 0, [0; 8])),
        ("PUSH_PROMISE", &none, frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2])),
    ] {
        let (origin, proxy) = staged(Answer::silent(&gate)).await;
        let mut client = FrameClient::connect(proxy.address, &[]).await;
        client.send(first).await;
        let reason = flood(&mut client, &repeated).await;
        // A reset of the socket may overtake the reason.
        let told = [None, Some(Reason::ENHANCE_YOUR_CALM), Some(Reason::PROTOCOL_ERROR)];
        assert!(told.contains(&reason), "{what}: {reason:?}");
        assert!(origin.count() <= 2, "{what}: {}", origin.count());
        proxy.is_well(&origin).await;
    }
}

// A fill may survive its client, and a client may have many connections: together they must not
// make the origin work without bound for nobody.
#[tokio::test]
async fn fetches_that_nobody_waits_for_are_few_however_many_were_asked_for() {
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let origin = Origin::script(move |mut conn| {
        let counter = Arc::clone(&counter);
        async move {
            while let Some(request) = conn.request().await {
                if request.target == "/well" {
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    continue;
                }
                counter.fetch_add(1, SeqCst);
                conn.send(
                    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nCache-Control: max-age=600\r\n\r\n",
                )
                .await;
                while !conn.some().await.is_empty() {}
                counter.fetch_sub(1, SeqCst);
                return;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut asked = 0;
    for _ in 0..4 {
        let (count, mut client) = one_by_one(&proxy, &origin, cancel).await;
        client.ended().await;
        asked += count;
    }
    assert!(asked > 600, "{asked}");
    eventually("the rest to end", || open.load(SeqCst) <= 256).await;
    assert_eq!(proxy.get("/well").await.status, 200);
}

// What clients that mean well do a lot of.
#[tokio::test]
async fn heavy_use_is_never_cut() {
    let origin = Origin::start(|request| match &*request.target {
        "/large" => ok(vec![b'x'; 2_000_000]).fresh(600),
        "/upload" => ok(request.body.len().to_string()),
        _ => ok("body").with("Cache-Control", "no-store"),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let window = 0x7fff_0000;
    let mut client = FrameClient::connect(proxy.address, &[(4, window)]).await;
    client.send(window_update(0, window)).await;
    // One request of twenty is cancelled.
    for index in 0..1000 {
        client.send(get_frame(stream(index), "/")).await;
        if index % 20 == 0 {
            client.send(cancel(stream(index))).await;
        } else {
            assert_eq!(client.status(stream(index)).await, 200);
            client.until(|frame| frame.kind == DATA && frame.flags == END_STREAM).await.unwrap();
        }
    }
    // An upload in small pieces.
    let upload = stream(1000);
    client.send(frame(HEADERS, END_HEADERS, upload, block("POST", "/upload", &[]))).await;
    for _ in 0..100 {
        let piece = frame(DATA, 0, upload, [b'x'; 10]);
        assert!(client.send(piece.repeat(100)).await);
        client.settle().await;
    }
    client.send(frame(DATA, END_STREAM, upload, "")).await;
    assert_eq!(client.status(upload).await, 200);
    assert_eq!(origin.last().body.len(), 100_000);
    // A download by a client that tells of every frame, twice, and measures its way.
    let download = stream(1001);
    client.send(get_frame(download, "/large")).await;
    let mut read = 0;
    while read < 2_000_000 {
        let data = client.until(|frame| frame.kind == DATA && frame.stream == download).await;
        let length = data.expect("more").payload.len();
        read += length;
        let increment = u32::try_from(length).unwrap();
        client.send(window_update(0, increment)).await;
        client.send(window_update(download, increment)).await;
        client.send(frame(PING, 0, 0, [0; 8])).await;
    }
    // A browser that leaves a page, and comes back.
    for round in 0..3 {
        let streams = (0..100).map(|index| stream(2000 + 100 * round + index));
        let (open, close): (Vec<_>, Vec<_>) =
            streams.map(|stream| (get_frame(stream, "/"), cancel(stream))).unzip();
        client.send(open.concat()).await;
        client.settle().await;
        client.send(close.concat()).await;
    }
    client.settle().await;
    proxy.measured("seawall_requests_in_flight 0").await;
    assert!(!proxy.metrics().await.contains("seawall_connection_offences_total"));
}

/// What a fault has to come to.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// The connection, for one of these reasons (RFC 9113 §5.4.1).
    Connection(&'static [Reason]),
    /// The stream, by RST_STREAM (RFC 9113 §5.4.2) or the connection.
    Stream(&'static [Reason]),
    /// The request, by a 4xx or RST_STREAM.
    Request,
    /// Nothing: it is to be ignored.
    Nothing,
}

/// Sends what is wrong with stream 1, which may be open already, and expects its end; then others
/// are served.
async fn fault(proxy: &Proxy, bytes: &[u8], ends: Ends) -> Result<(), Vec<Frame>> {
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    // Followed by a PING, whose answer shows that the connection lives.
    let ping = frame(PING, 0, 0, b"alive???");
    client.send([bytes, &ping].concat()).await;
    let mut seen = Vec::new();
    let mut alive = false;
    while let Ok(Some(frame)) = tokio::time::timeout(secs(1), client.next()).await {
        alive |= frame.kind == PING && frame.payload == b"alive???";
        let is_end = matches!(frame.kind, RST_STREAM | GOAWAY)
            || frame.kind == HEADERS && !matches!(ends, Ends::Stream(_) | Ends::Connection(_));
        seen.push(frame);
        if is_end && !matches!(ends, Ends::Connection(_)) || alive && matches!(ends, Ends::Nothing)
        {
            break;
        }
    }
    let end = seen.iter().rev().find(|frame| matches!(frame.kind, RST_STREAM | GOAWAY));
    let head = seen.iter().find(|frame| frame.kind == HEADERS);
    let right = match ends {
        // A reset of the socket may overtake the reason.
        Ends::Connection(reasons) => end.map_or(client.has_ended(), |end| {
            end.kind == GOAWAY && reasons.contains(&end.reason())
        }),
        Ends::Stream(reasons) => {
            end.map_or(client.has_ended(), |end| reasons.contains(&end.reason()))
        }
        Ends::Request => end.is_some() || head.is_some_and(|head| head.status() / 100 == 4),
        Ends::Nothing => end.is_none(),
    };
    if right { Ok(()) } else { Err(seen) }
}

// The faults of RFC 9113 and what they come to: the right error, and never a hang.
#[tokio::test]
async fn faults_end_what_they_have_to_end() {
    use Ends::{Connection, Nothing, Request, Stream};
    const PROTOCOL: &[Reason] = &[Reason::PROTOCOL_ERROR];
    const SIZE: &[Reason] = &[Reason::FRAME_SIZE_ERROR, Reason::PROTOCOL_ERROR];
    const CLOSED: &[Reason] = &[Reason::STREAM_CLOSED, Reason::PROTOCOL_ERROR];
    const FLOW: &[Reason] = &[Reason::FLOW_CONTROL_ERROR, Reason::PROTOCOL_ERROR];
    const COMPRESSION: &[Reason] = &[Reason::COMPRESSION_ERROR, Reason::PROTOCOL_ERROR];
    let gate = Gate::new();
    let (origin, proxy) = staged(Answer::silent(&gate)).await;
    let get = get_frame(1, "/");
    let upload = frame(HEADERS, END_HEADERS, 1, block("POST", "/", &[]));
    let open = frame(HEADERS, END_STREAM, 1, block("GET", "/", &[]));
    let after = |first: &[u8], then: Vec<u8>| [first, &then].concat();
    let with = |more: &[(&str, &str)]| frame(HEADERS, WHOLE, 1, block("GET", "/", more));
    let only = |fields: &[(&str, &str)]| {
        let fields = fields.iter().flat_map(|(name, value)| field(name, value));
        frame(HEADERS, WHOLE, 1, fields.collect::<Vec<_>>())
    };
    let cases: Vec<(&str, Vec<u8>, Ends)> = vec![
        // §4.2, §6: sizes.
        ("a frame over the size limit", frame(DATA, 0, 1, vec![0; 16_385]), Connection(SIZE)),
        ("PING of 7", frame(PING, 0, 0, [0; 7]), Connection(SIZE)),
        ("SETTINGS of 5", frame(SETTINGS, 0, 0, [0; 5]), Connection(SIZE)),
        ("SETTINGS ACK of 6", frame(SETTINGS, ACK, 0, [0; 6]), Connection(SIZE)),
        ("RST_STREAM of 3", after(&get, frame(RST_STREAM, 0, 1, [0; 3])), Connection(SIZE)),
        ("WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, [0; 3]), Connection(SIZE)),
        ("PRIORITY of 4", after(&get, frame(PRIORITY, 0, 1, [0; 4])), Stream(SIZE)),
        // §5.1, §5.1.1, §6: streams.
        ("DATA on stream 0", frame(DATA, 0, 0, "x"), Connection(PROTOCOL)),
        (
            "HEADERS on stream 0",
            frame(HEADERS, WHOLE, 0, block("GET", "/", &[])),
            Connection(PROTOCOL),
        ),
        ("RST_STREAM on stream 0", cancel(0), Connection(PROTOCOL)),
        ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, [0; 5]), Connection(PROTOCOL)),
        ("CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, ""), Connection(PROTOCOL)),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, ""), Connection(PROTOCOL)),
        ("PING on a stream", frame(PING, 0, 1, [0; 8]), Connection(PROTOCOL)),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, [0; 8]), Connection(PROTOCOL)),
        ("an even stream", get_frame(2, "/"), Connection(PROTOCOL)),
        ("a lower stream", after(&get_frame(5, "/"), get_frame(3, "/")), Connection(CLOSED)),
        ("DATA on an idle stream", frame(DATA, 0, 1, "x"), Connection(PROTOCOL)),
        ("RST_STREAM on an idle stream", cancel(1), Connection(PROTOCOL)),
        ("WINDOW_UPDATE on an idle stream", window_update(1, 1), Connection(PROTOCOL)),
        ("DATA after the end", after(&get, frame(DATA, 0, 1, "x")), Stream(CLOSED)),
        ("HEADERS after the end", after(&get, get.clone()), Stream(CLOSED)),
        ("HEADERS after a reset", [get.clone(), cancel(1), get.clone()].concat(), Stream(CLOSED)),
        // §5.3.1, §5.5, §6.6.
        (
            "a stream that depends on itself",
            after(&get, frame(PRIORITY, 0, 1, [0, 0, 0, 1, 0])),
            Stream(PROTOCOL),
        ),
        (
            "HEADERS that depend on themselves",
            frame(
                HEADERS,
                WHOLE | WITH_PRIORITY,
                1,
                [&[0, 0, 0, 1, 0][..], &block("GET", "/", &[])].concat(),
            ),
            Stream(PROTOCOL),
        ),
        ("an unknown frame", frame(0x42, 0xff, 7, "anything"), Nothing),
        ("an unknown setting", frame(SETTINGS, 0, 0, [0xff, 0xff, 0, 0, 0, 1]), Nothing),
        (
            "PUSH_PROMISE",
            after(&get, frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2])),
            Connection(PROTOCOL),
        ),
        // §6.1, §6.2: padding.
        (
            "padding as long as DATA",
            after(&upload, frame(DATA, PADDED, 1, [1])),
            Connection(PROTOCOL),
        ),
        (
            "padding longer than HEADERS",
            frame(HEADERS, WHOLE | PADDED, 1, [9, 0x82]),
            Connection(PROTOCOL),
        ),
        (
            "padded DATA without a length",
            after(&upload, frame(DATA, PADDED, 1, [])),
            Connection(SIZE),
        ),
        // §6.5.2.
        ("ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, [0, 2, 0, 0, 0, 2]), Connection(PROTOCOL)),
        (
            "an initial window over the limit",
            frame(SETTINGS, 0, 0, [0, 4, 0x80, 0, 0, 0]),
            Connection(FLOW),
        ),
        (
            "a frame size under the limit",
            frame(SETTINGS, 0, 0, [0, 5, 0, 0, 0, 1]),
            Connection(PROTOCOL),
        ),
        (
            "a frame size over the limit",
            frame(SETTINGS, 0, 0, [0, 5, 1, 0, 0, 0]),
            Connection(PROTOCOL),
        ),
        // §6.9.
        ("an increment of 0", window_update(0, 0), Connection(PROTOCOL)),
        ("an increment of 0 on a stream", after(&get, window_update(1, 0)), Stream(PROTOCOL)),
        ("a window that overflows", window_update(0, 0x7fff_ffff), Connection(FLOW)),
        (
            "a stream's window that overflows",
            after(&get, window_update(1, 0x7fff_ffff)),
            Stream(FLOW),
        ),
        // §6.2, §6.10: header blocks.
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, ""), Connection(PROTOCOL)),
        (
            "CONTINUATION after the end",
            after(&get, frame(CONTINUATION, END_HEADERS, 1, "")),
            Connection(PROTOCOL),
        ),
        (
            "CONTINUATION of another stream",
            after(&open, frame(CONTINUATION, END_HEADERS, 3, "")),
            Connection(PROTOCOL),
        ),
        ("DATA within a block", after(&open, frame(DATA, 0, 1, "x")), Connection(PROTOCOL)),
        ("PING within a block", after(&open, frame(PING, 0, 0, [0; 8])), Connection(PROTOCOL)),
        (
            "an unknown frame within a block",
            after(&open, frame(0x42, 0, 1, "x")),
            Connection(PROTOCOL),
        ),
        // §4.3: HPACK.
        ("an index of nothing", frame(HEADERS, WHOLE, 1, [0xff, 0x7f]), Connection(COMPRESSION)),
        ("an index of 0", frame(HEADERS, WHOLE, 1, [0x80]), Connection(COMPRESSION)),
        (
            "a literal that is cut",
            frame(HEADERS, WHOLE, 1, [0x10, 5, b'a']),
            Connection(COMPRESSION),
        ),
        ("an integer without end", frame(HEADERS, WHOLE, 1, [0xff; 40]), Connection(COMPRESSION)),
        (
            "bad Huffman padding",
            frame(HEADERS, WHOLE, 1, [0x10, 0x81, 0x00, 0x81, 0x00]),
            Connection(COMPRESSION),
        ),
        (
            "a table over the limit",
            frame(HEADERS, WHOLE, 1, [0x3f, 0xff, 0xff, 0x03]),
            Connection(COMPRESSION),
        ),
        // §8.1.1, §8.2, §8.3: malformed requests.
        ("no fields", only(&[]), Request),
        ("no method", only(&[(":scheme", "http"), (":path", "/"), (":authority", "a")]), Request),
        ("no path", only(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]), Request),
        ("no scheme", only(&[(":method", "GET"), (":path", "/"), (":authority", "a")]), Request),
        (
            "an empty path",
            only(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")]),
            Request,
        ),
        (
            "a path without a slash",
            only(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "x")]),
            Request,
        ),
        ("two paths", with(&[(":path", "/")]), Request),
        ("a pseudo-field of responses", with(&[(":status", "200")]), Request),
        ("an unknown pseudo-field", with(&[(":x", "y")]), Request),
        (
            "a pseudo-field after fields",
            only(&[
                (":method", "GET"),
                ("a", "b"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "a"),
            ]),
            Request,
        ),
        ("a name in upper case", with(&[("X-Y", "z")]), Request),
        ("a name with a space", with(&[("x y", "z")]), Request),
        ("a name with a line feed", with(&[("x\ny", "z")]), Request),
        ("an empty name", with(&[("", "z")]), Request),
        ("a value with CR LF", with(&[("x", "a\r\nb: c")]), Request),
        ("a value with NUL", with(&[("x", "a\0b")]), Request),
        (
            "a path with CR LF",
            frame(HEADERS, WHOLE, 1, block("GET", "/ HTTP/1.1\r\nx: y", &[])),
            Request,
        ),
        ("a method with a space", frame(HEADERS, WHOLE, 1, block("GET /x", "/", &[])), Request),
        ("connection", with(&[("connection", "close")]), Request),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), Request),
        ("keep-alive", with(&[("keep-alive", "1")]), Request),
        ("proxy-connection", with(&[("proxy-connection", "close")]), Request),
        ("upgrade", with(&[("upgrade", "h2c")]), Request),
        ("te", with(&[("te", "gzip")]), Request),
        ("content-length without content", with(&[("content-length", "5")]), Request),
        (
            "two content-lengths",
            frame(
                HEADERS,
                END_HEADERS,
                1,
                block("POST", "/", &[("content-length", "1"), ("content-length", "2")]),
            ),
            Request,
        ),
        (
            "less than content-length",
            after(
                &frame(HEADERS, END_HEADERS, 1, block("POST", "/", &[("content-length", "5")])),
                frame(DATA, END_STREAM, 1, "x"),
            ),
            Request,
        ),
        (
            "more than content-length",
            after(
                &frame(HEADERS, END_HEADERS, 1, block("POST", "/", &[("content-length", "1")])),
                frame(DATA, END_STREAM, 1, "xyz"),
            ),
            Request,
        ),
        (
            "trailers that don't end",
            after(&upload, frame(HEADERS, END_HEADERS, 1, field("x", "y"))),
            Stream(PROTOCOL),
        ),
        (
            // h2 drops it, so that nobody acts on it.
            "trailers with a pseudo-field",
            after(&upload, frame(HEADERS, WHOLE, 1, field(":path", "/"))),
            Nothing,
        ),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, ends) in cases {
        if let Err(seen) = fault(&proxy, &bytes, ends).await {
            wrong.push((what, ends, seen));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    proxy.is_well(&origin).await;
}

// RFC 9113 §3.4.
#[tokio::test]
async fn a_bad_preface_ends_the_connection() {
    let (origin, proxy) = staged(ok("body")).await;
    for after in
        [&get_frame(1, "/")[..], b"GET / HTTP/1.1\r\n\r\n", &frame(PING, 0, 0, [0; 8]), &[0; 100]]
    {
        let mut client = FrameClient::bare(proxy.address).await;
        client.send([PREFACE, after].concat()).await;
        client.ended().await;
    }
    assert_eq!(origin.count(), 1);
    proxy.is_well(&origin).await;
}

/// A proxy whose deadlines are short and real: what is waited for never comes.
async fn hurried(answer: Answer) -> (Origin, Proxy) {
    let origin = origin(answer).await;
    let proxy = Proxy::with(&origin, |settings| {
        let limits = &mut settings.server.limits;
        limits.header_timeout = millis(500);
        limits.idle_timeout = millis(800);
        limits.write_timeout = millis(500);
    })
    .await;
    proxy.get("/well").await;
    (origin, proxy)
}

/// Sends this again and again until the connection ends.
async fn drip(client: &mut FrameClient, bytes: &[u8]) {
    within("the end of a drip", async {
        while !client.has_ended() && client.send(bytes).await {
            tokio::time::sleep(millis(20)).await;
        }
    })
    .await;
    client.ended().await;
}

// A block left open keeps the client's other frames from being read: it has the deadline of a
// request's head, on a connection that is new, idle or busy.
#[tokio::test]
async fn a_header_block_that_does_not_end_is_cut() {
    let gate = Gate::new();
    let (origin, proxy) = hurried(Answer::silent(&gate)).await;
    let open = |stream| frame(HEADERS, END_STREAM, stream, block("GET", "/", &[]));
    let half = |stream| get_frame(stream, "/")[..20].to_vec();
    for before in [vec![], get_frame(1, "/well"), get_frame(1, "/held")] {
        for (begun, dripped) in [
            (open(3), Vec::new()),
            (half(3), Vec::new()),
            // A frame of a thousand octets, one at a time.
            (open(3), [frame(CONTINUATION, 0, 3, [0; 1000])[..9].to_vec(), vec![0; 3]].concat()),
        ] {
            let mut client = FrameClient::connect(proxy.address, &[]).await;
            client.send(&before).await;
            client.settle().await;
            client.send(&begun).await;
            if dripped.is_empty() {
                client.ended().await;
            } else {
                client.send(dripped).await;
                drip(&mut client, b"x").await;
            }
        }
    }
    proxy.is_well(&origin).await;
}

#[tokio::test]
async fn a_preface_that_drips_is_cut() {
    let (origin, proxy) = hurried(ok("body")).await;
    for dripped in [b"P".to_vec(), [PREFACE, b"\0"].concat()] {
        let mut client = FrameClient::bare(proxy.address).await;
        client.send(dripped).await;
        client.ended().await;
    }
    let mut client = FrameClient::bare(proxy.address).await;
    for byte in PREFACE {
        if !client.send([*byte]).await {
            break;
        }
        tokio::time::sleep(millis(50)).await;
    }
    client.ended().await;
    proxy.is_well(&origin).await;
}

// A client that only shows that it lives has no request.
#[tokio::test]
async fn pings_keep_no_connection_alive() {
    let gate = Gate::new();
    let (origin, proxy) = hurried(Answer::silent(&gate)).await;
    for before in [vec![], get_frame(1, "/well")] {
        let mut client = FrameClient::connect(proxy.address, &[]).await;
        client.send(before).await;
        drip(&mut client, &frame(PING, 0, 0, [0; 8])).await;
    }
    // One that has a request under way is kept.
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    client.send(get_frame(1, "/held")).await;
    for _ in 0..20 {
        client.settle().await;
        tokio::time::sleep(millis(100)).await;
    }
    drop(client);
    proxy.is_well(&origin).await;
}

// CVE-2019-9517, CVE-2024-30156.
#[tokio::test]
async fn a_stalled_stream_is_cut_and_others_on_its_connection_go_on() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match &*request.target {
        "/held" => ok("late").gate(&held),
        "/well" => ok("well").fresh(600),
        _ => ok(vec![b'x'; 1_000_000]).fresh(600),
    })
    .await;
    let proxy =
        Proxy::with(&origin, |settings| settings.server.limits.write_timeout = millis(300)).await;
    proxy.get("/well").await;
    let mut client = FrameClient::connect(proxy.address, &[(4, 0)]).await;
    client.send(get_frame(1, "/held")).await;
    let stalled = (1..100).map(|index| get_frame(stream(index), &format!("/{index}")));
    client.send(stalled.collect::<Vec<_>>().concat()).await;
    let mut cut = 0;
    while cut < 99 {
        let reset = client.until(|frame| frame.kind == RST_STREAM).await.expect("it lives");
        assert_eq!(reset.reason(), Reason::CANCEL);
        cut += 1;
    }
    proxy.measured("seawall_stream_timeouts_total 99").await;
    gate.open();
    assert_eq!(client.status(1).await, 200);
    client.send(window_update(1, 100)).await;
    let data = client.until(|frame| frame.kind == DATA).await.expect("data");
    assert_eq!(data.payload, b"late");
    proxy.is_well(&origin).await;
    proxy.settled().await;
}

// A field that is named by one octet, a thousand times over (CVE-2016-6581).
#[tokio::test]
async fn an_hpack_bomb_is_bounded_by_what_it_decodes_to() {
    let (origin, proxy) = staged(ok("body")).await;
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    // A literal that goes into the table, and then its index.
    let mut bomb = block("GET", "/bomb", &[]);
    let mut indexed = field("x", "y".repeat(3000));
    indexed[0] = 0x40;
    bomb.extend(indexed);
    let small = [bomb.clone(), vec![0xbe; 30]].concat();
    client.send(frame(HEADERS, WHOLE, 1, small)).await;
    assert_eq!(client.status(1).await, 431);
    client.send(frame(HEADERS, WHOLE, 3, [bomb, vec![0xbe; 10_000]].concat())).await;
    assert!(matches!(client.ended().await, None | Some(Reason::ENHANCE_YOUR_CALM)));
    assert_eq!(origin.count(), 1);
    proxy.is_well(&origin).await;
}
