//! Requests of HTTP/2 that would be two in HTTP/1 (RFC 9113 §8.1.1, §8.2, §8.3), frame by frame.

use super::*;
use crate::support::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

/// Literals without indexing (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let text = raw::bytes(text);
            block
                .push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("short"));
            block.extend(text);
        }
    }
    block
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Reset,
    GoAway,
    Status(Vec<u8>),
}

/// Sends the frames of stream 1 and reads what becomes of it.
async fn outcome(proxy: &Proxy, frames: &[Vec<u8>]) -> End {
    let mut client = proxy.client().await;
    client.send([PREFACE, &frames.concat()].concat()).await;
    let mut read = Vec::new();
    loop {
        while read.len() < 9 || read.len() < 9 + length(&read) {
            let more = client.some().await;
            if more.is_empty() {
                return End::GoAway;
            }
            read.extend(more);
        }
        let payload = read[9..9 + length(&read)].to_vec();
        match read[3] {
            1 => return End::Status(payload),
            3 => return End::Reset,
            7 => return End::GoAway,
            _ => drop(read.drain(..9 + payload.len())),
        }
    }
}

fn length(frame: &[u8]) -> usize {
    usize::from(frame[0]) << 16 | usize::from(frame[1]) << 8 | usize::from(frame[2])
}

/// Whether a header block begins with this status, which h2 sends indexed or as a literal.
fn is_client_error(block: &[u8]) -> bool {
    // 400 and 404 are in the static table (RFC 7541 appendix A); others name its index 8.
    matches!(block, [0x8c | 0x8d, ..]) || matches!(block, [0x48 | 0x08, ..])
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "example.test");
const PATH: (&str, &str) = (":path", "/");

type Field = (&'static str, &'static str);

const GOOD: [Field; 4] = [METHOD, SCHEME, AUTHORITY, PATH];

/// Fields that HTTP/2 does not have, and those that would break an HTTP/1 head apart.
const BAD_FIELDS: &[Field] = &[
    ("connection", "close"),
    ("connection", ""),
    ("connection", "x-y"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "identity"),
    ("upgrade", "h2c"),
    ("te", "gzip"),
    ("te", "trailers, gzip"),
    ("te", "chunked"),
    ("x", "a\rb"),
    ("x", "a\nb"),
    ("x", "a⏎b"),
    ("x", "a\u{0}b"),
    ("x", "a⏎Transfer-Encoding: chunked"),
    ("x", "\n"),
    ("x", "a⏎"),
    ("x", "a\u{7f}"),
    ("x", "a\u{1}b"),
    ("x\r", "a"),
    ("x\n", "a"),
    ("x⏎y", "a"),
    ("x\u{0}", "a"),
    ("x:", "a"),
    ("x: y", "a"),
    ("x y", "a"),
    (" x", "a"),
    ("x ", "a"),
    ("", "a"),
    ("X", "a"),
    ("Transfer-Encoding", "chunked"),
    ("Content-Length", "0"),
    ("hOst", "x"),
    ("x\u{ff}", "a"),
    ("x\u{7f}", "a"),
    ("x(", "a"),
    ("\"x\"", "a"),
    (":x", "a"),
    (":", "a"),
    (":status", "200"),
    (":protocol", "websocket"),
    (":method", "GET"),
    (":path", "/x"),
    (":scheme", "http"),
    (":authority", "x"),
    ("content-length", "x"),
    ("content-length", "+0"),
    ("content-length", "-1"),
    ("content-length", "1"),
    ("content-length", "0, 0"),
    ("content-length", "18446744073709551616"),
];

/// Pseudo-headers that are none, by their place in [`GOOD`].
const BAD_PSEUDO_HEADERS: &[(usize, Field)] = &[
    (0, (":method", "")),
    (0, (":method", "GET /x HTTP/1.1⏎X: ")),
    (0, (":method", "G ET")),
    (0, (":method", "GET\n")),
    (0, (":method", "GET\u{0}")),
    (0, (":method", "(GET)")),
    (0, (":method", "TRACE")),
    (1, (":scheme", "")),
    (1, (":scheme", "ftp")),
    (1, (":scheme", "javascript")),
    (1, (":scheme", "http://x")),
    (1, (":scheme", "http⏎x")),
    (1, (":scheme", "ht tp")),
    (1, (":scheme", "http\u{0}")),
    (2, (":authority", "")),
    (2, (":authority", "user@example.test")),
    (2, (":authority", "a:b@example.test")),
    (2, (":authority", "example.test/x")),
    (2, (":authority", "example.test⏎X: y")),
    (2, (":authority", "example.test\u{0}")),
    (2, (":authority", "a b")),
    (2, (":authority", "example.test:x")),
    (2, (":authority", "example.test:99999")),
    (2, (":authority", "a,b")),
    (2, (":authority", "example.test#x")),
    (2, (":authority", "example.test?x")),
    (2, (":authority", "\\")),
    (3, (":path", "")),
    (3, (":path", "x")),
    (3, (":path", "x/y")),
    (3, (":path", "?x")),
    (3, (":path", "*")),
    (3, (":path", "/ HTTP/1.1⏎X: y")),
    (3, (":path", "/ x")),
    (3, (":path", "/\n")),
    (3, (":path", "/\u{0}")),
    (3, (":path", "/\t")),
    (3, (":path", "http://evil.test/")),
    (3, (":path", "@evil.test/")),
    (3, (":path", ":80/")),
    (3, (":path", "\\x")),
    (3, (":path", "/\\x")),
    (3, (":path", "/\u{7f}")),
    (3, (":path", "/%00")),
];

fn malformed_heads() -> Vec<(String, Vec<Field>)> {
    let good = GOOD;
    let mut cases: Vec<(String, Vec<Field>)> = Vec::new();
    for &field in BAD_FIELDS {
        cases.push((format!("{field:?}"), [&good[..], &[field]].concat()));
    }
    for &(at, replaced) in BAD_PSEUDO_HEADERS {
        let mut fields = good;
        fields[at] = replaced;
        cases.push((format!("{replaced:?}"), fields.to_vec()));
    }
    for (at, missing) in ["no method", "no scheme", "no authority", "no path"].iter().enumerate() {
        let mut fields = good.to_vec();
        fields.remove(at);
        cases.push(((*missing).to_owned(), fields));
    }
    cases.push(("no path, Host".to_owned(), vec![METHOD, SCHEME, ("host", "example.test")]));
    cases.push(("no path, no method".to_owned(), vec![SCHEME, AUTHORITY]));
    cases.push((
        "pseudo-header after a field".to_owned(),
        vec![METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH],
    ));
    cases.push((
        "two Hosts".to_owned(),
        vec![METHOD, SCHEME, PATH, ("host", "a.test"), ("host", "b.test")],
    ));
    cases.push((
        "two Hosts and an authority".to_owned(),
        [&good[..], &[("host", "a.test"), ("host", "b.test")]].concat(),
    ));
    cases.push(("CONNECT".to_owned(), vec![(":method", "CONNECT"), AUTHORITY]));
    cases.push(("CONNECT to a path".to_owned(), [&[(":method", "CONNECT")], &good[1..]].concat()));
    cases.push((
        "extended CONNECT".to_owned(),
        [&[(":method", "CONNECT"), (":protocol", "websocket")], &good[1..]].concat(),
    ));
    cases
}

#[tokio::test]
async fn a_malformed_head_never_reaches_the_origin() {
    let (origin, proxy) = stage(ok("body")).await;
    let cases = malformed_heads();
    let mut faults = Vec::new();
    for (name, fields) in &cases {
        let end = outcome(&proxy, &[frame(1, END_STREAM | END_HEADERS, &block(fields))]).await;
        let refused = match &end {
            End::Reset | End::GoAway => true,
            End::Status(block) => is_client_error(block),
        };
        if !refused || origin.count() > 0 {
            faults.push(format!(
                "{name}: {end:?}, {:?}",
                origin.requests().last().map(|seen| seen.target.clone())
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn content_that_is_not_as_long_as_its_length_is_no_request() {
    let wire = Wire::start().await;
    for (length, content) in
        [("0", "x"), ("1", ""), ("1", "xx"), ("5", "xx"), ("2", "GET /x HTTP/1.1⏎⏎")]
    {
        let fields = [(":method", "POST"), SCHEME, AUTHORITY, PATH, ("content-length", length)];
        let frames =
            [frame(1, END_HEADERS, &block(&fields)), frame(0, END_STREAM, &raw::bytes(content))];
        let end = outcome(&wire.proxy, &frames).await;
        assert!(
            !matches!(&end, End::Status(block) if !is_client_error(block)),
            "{length} {content:?}: {end:?}"
        );
    }
    // What the origin got of them is on connections that ended.
    let after = wire.send("GET /x HTTP/1.1⏎◊⏎", false).await;
    let got: Vec<_> = after.forwarded.iter().map(Forwarded::to_string).collect();
    assert_eq!(got, ["GET /x - ", "GET /after - "]);
}

/// A head, the pieces of its content, and what the origin gets.
type Good = (Vec<Field>, &'static [&'static str], &'static str);

#[tokio::test]
async fn good_requests_become_one_request_each() {
    let wire = Wire::start().await;
    let post = (":method", "POST");
    let cases: [Good; 7] = [
        (vec![METHOD, SCHEME, AUTHORITY, PATH], &[], "GET / - "),
        (vec![METHOD, SCHEME, PATH, ("host", "example.test")], &[], "GET / - "),
        (vec![METHOD, SCHEME, AUTHORITY, PATH, ("te", "trailers")], &[], "GET / - "),
        (vec![METHOD, SCHEME, AUTHORITY, PATH, ("host", "other.test")], &[], "GET / - "),
        (
            vec![post, SCHEME, AUTHORITY, PATH, ("content-length", "2")],
            &["o", "k"],
            "POST / length ok",
        ),
        (vec![post, SCHEME, AUTHORITY, PATH], &["o", "k"], "POST / chunked ok"),
        (
            vec![post, SCHEME, AUTHORITY, PATH],
            &["0⏎⏎GET /x HTTP/1.1⏎⏎"],
            "POST / chunked 0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        ),
    ];
    for (fields, content, expected) in cases {
        let flags = if content.is_empty() { END_STREAM | END_HEADERS } else { END_HEADERS };
        let mut frames = vec![frame(1, flags, &block(&fields))];
        for (at, piece) in content.iter().enumerate() {
            let last = at + 1 == content.len();
            frames.push(frame(0, if last { END_STREAM } else { 0 }, &raw::bytes(piece)));
        }
        outcome(&wire.proxy, &frames).await;
        let after = wire.send("GET /x HTTP/1.1⏎◊⏎", false).await;
        let got: Vec<_> = after.forwarded.iter().map(Forwarded::to_string).collect();
        let expected: Vec<_> = [expected, "GET /x - ", "GET /after - "]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
        assert_eq!(got, expected, "{fields:?}");
        assert!(after.forwarded.iter().all(|it| it.all("host") == ["example.test"]));
    }
}

// RFC 9110 §6.5.1: trailers are not merged into a head, and what decides something is dropped.
#[tokio::test]
async fn trailers_reach_the_origin_as_trailers_or_not_at_all() {
    let (origin, proxy) = stage(ok("body")).await;
    let fields = [
        (":method", "POST"),
        SCHEME,
        AUTHORITY,
        PATH,
        ("te", "trailers"),
        ("trailer", "x-sum, host, authorization, content-length"),
    ];
    let trailers = [("x-sum", "1"), ("host", "evil.test"), ("authorization", "x"), ("cookie", "x")];
    let frames = [
        frame(1, END_HEADERS, &block(&fields)),
        frame(0, 0, b"ok"),
        frame(1, END_STREAM | END_HEADERS, &block(&trailers)),
    ];
    assert!(matches!(outcome(&proxy, &frames).await, End::Status(_)));
    let seen = origin.last();
    assert_eq!(
        (&*seen.body, seen.field("host"), seen.field("authorization")),
        (&b"ok"[..], Some("example.test"), None)
    );
    assert!(seen.trailers.iter().all(|(name, _)| name == "x-sum"), "{:?}", seen.trailers);
}
