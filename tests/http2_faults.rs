//! What RFC 9113 calls an error, frame by frame: the right end for each, and never a hang.

use h2::Reason;

use crate::http2_attacks::staged;
use crate::support::frames::*;
use crate::support::*;

/// What a fault has to come to.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// The connection, for one of these reasons (RFC 9113 §5.4.1).
    Connection(&'static [Reason]),
    /// The stream, by `RST_STREAM` (RFC 9113 §5.4.2) or the connection.
    Stream(&'static [Reason]),
    /// The request, by a 4xx or `RST_STREAM`.
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
    while let Some(frame) = client.next_within(secs(5)).await {
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

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
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
