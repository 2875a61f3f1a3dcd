//! Random requests against two readings: a careful one of what the client sent, and a strict one
//! of what the origin got. What is forwarded is what was asked, once; the rest is refused and the
//! connection ends (RFC 9112 §2.2, §3, §6, §7, §11.2).

use std::sync::OnceLock;

use proptest::prelude::*;

use crate::fuzz::reading::{self, Stop};
use crate::fuzz::stage::{Client, Stage};
use crate::fuzz::{judge, strict};

/// Cases in the ordinary suite; `PROPTEST_CASES` asks for more.
const CASES: u32 = 400;

/// One of these pieces; the first, which is in order, four times out of five.
fn mostly<const N: usize>(
    right: impl Into<String>,
    odd: [&'static str; N],
) -> impl Strategy<Value = String> {
    let right = right.into();
    prop_oneof![
        4 => Just(right),
        1 => proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
    ]
}

fn line_end() -> impl Strategy<Value = String> {
    prop_oneof![
        40 => Just("\r\n"),
        1 => Just("\n"),
        1 => Just("\r"),
        1 => Just("\r\r\n"),
        1 => Just(" \r\n"),
        1 => Just("\r\n "),
        1 => Just("\0\r\n"),
    ]
    .prop_map(str::to_owned)
}

fn method() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("GET"),
        3 => Just("POST"),
        1 => Just("HEAD"),
        1 => Just("PUT"),
        1 => Just("DELETE"),
        1 => Just("OPTIONS"),
        1 => proptest::sample::select(vec!["PATCH", "get", "G T", "", "CONNECT", "TRACE", "M-SEARCH", "(", "PURGE"]),
    ]
    .prop_map(str::to_owned)
}

fn target() -> impl Strategy<Value = String> {
    let odd = proptest::sample::select(vec![
        "*",
        "",
        "a",
        "a.test:80",
        "//x",
        "/a b",
        "/%",
        "/%00",
        "/\\",
        "/#f",
        "/a#b?c",
        "/\t",
        "/\u{e9}",
        "http://b.test",
        "http://B.test:80/x/..",
        "https://b.test/?q",
        "http://b.test?q",
        "http://",
        "ftp://b.test/",
        "http://u@b.test/",
        "HTTP://b.test/%2e%2e/",
        "http:///x",
        "/http://b.test/",
        "?q",
        "/\0",
    ]);
    prop_oneof![
        4 => "/[a-c./%2eE?=;&~-]{0,12}",
        1 => odd.prop_map(str::to_owned),
    ]
}

fn host() -> impl Strategy<Value = String> {
    let odd = [
        "",
        "Host:\r\n",
        "Host: a, b\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nhost: a\r\n",
        "Host : a\r\n",
        "Host: A.test.:80\r\n",
        "Host: a:0\r\n",
        "Host: a:x\r\n",
        "Host: u@a\r\n",
        "Host: a/b\r\n",
        "Host: [::1]:8080\r\n",
        "Host: [::1\r\n",
        "Host:\ta \r\n",
        "Host: a\r\n b\r\n",
        "\tHost: a\r\n",
        "Host: a b\r\n",
        "Host:a\n",
        "Host: a..b\r\n",
    ];
    prop_oneof![
        4 => Just("Host: a\r\n"),
        1 => proptest::sample::select(odd.to_vec()),
    ]
    .prop_map(str::to_owned)
}

fn field() -> impl Strategy<Value = String> {
    let odd = [
        "X-A: 1\r\n",
        "x-a:2\r\n",
        "X-A : 3\r\n",
        " X: 4\r\n",
        ": 5\r\n",
        "X\r\n",
        "X(: 6\r\n",
        "X-\u{e9}: 7\r\n",
        "X-V: \u{e9}\r\n",
        "X-V: a\0b\r\n",
        "X-V: a\rb\r\n",
        "X-V: \x7f\r\n",
        "X-V: \x0b\r\n",
        "X-V:\r\n",
        "X-V: a\r\n b\r\n",
        "X-Lf: a\n",
        "Connection: close\r\n",
        "Connection: keep-alive, x-a\r\n",
        "Connection: content-length, transfer-encoding, host\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\n",
        "Expect: 100-continue\r\n",
        "Expect: x\r\n",
        "TE: trailers, chunked\r\n",
        "Trailer: X-T\r\n",
        "Cookie: a=b\r\nCookie: c=d\r\n",
        "X-Forwarded-Host: evil\r\n",
        "Keep-Alive: timeout=9\r\n",
        "Proxy-Connection: close\r\n",
        "Max-Forwards: 0\r\n",
        "Via: 1.1 x\r\n",
        "Range: bytes=0-0\r\n",
        "Content-Type: text/plain\r\n",
        "Content_Length: 5\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Authorization: Basic eDp5\r\n",
        "X-Original-URL: /admin\r\n",
    ];
    proptest::sample::select(odd.to_vec()).prop_map(str::to_owned)
}

/// Framing fields and what follows the head.
fn framed() -> impl Strategy<Value = (String, String)> {
    let body = prop_oneof![
        Just(String::new()),
        "[a-z]{1,9}",
        Just("GET /inner HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        Just("0\r\n\r\n".to_owned()),
    ];
    prop_oneof![
        3 => Just((String::new(), String::new())),
        3 => (body.clone(), length()).prop_map(|(body, form)| {
            let fields = form.replace("{n}", &body.len().to_string());
            (fields, body)
        }),
        4 => (coding(), chunked()),
        1 => (body, length(), coding(), chunked(), any::<bool>()).prop_map(|(body, form, coding, chunked, swap)| {
            let length = form.replace("{n}", &body.len().to_string());
            (if swap { length + &coding } else { coding + &length }, chunked)
        }),
    ]
}

fn length() -> impl Strategy<Value = String> {
    mostly(
        "Content-Length: {n}\r\n",
        [
            "content-length:{n} \r\n",
            "Content-Length: {n}\r\nContent-Length: {n}\r\n",
            "Content-Length: {n}, {n}\r\n",
            "Content-Length: {n}\r\nContent-Length: 0\r\n",
            "Content-Length: +{n}\r\n",
            "Content-Length: -{n}\r\n",
            "Content-Length: 0x{n}\r\n",
            "Content-Length: {n},\r\n",
            "Content-Length:\r\n",
            "Content-Length: 0{n}\r\n",
            "Content-Length: {n}_0\r\n",
            "Content-Length : {n}\r\n",
            "Content-Length: {n} {n}\r\n",
            "Content-Length: {n}\n",
            "Content-Length: 1844674407370955161{n}\r\n",
            "Content-Length:\r\n {n}\r\n",
            "Content-Length: {n};x\r\n",
            "Content-Length: \x0b{n}\r\n",
            "Content-Length: \"{n}\"\r\n",
        ],
    )
}

fn coding() -> impl Strategy<Value = String> {
    mostly(
        "Transfer-Encoding: chunked\r\n",
        [
            "transfer-encoding:\tCHUNKED \r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: ,chunked\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding:\r\n chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: chunked\0\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: identity\r\n",
            "X: y\rTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\n",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        ],
    )
}

/// A chunked body, and sometimes nearly one.
fn chunked() -> impl Strategy<Value = String> {
    let size = mostly(
        "{n}",
        [
            "0{n}",
            "+{n}",
            "0x{n}",
            "{n} ",
            " {n}",
            "{n};",
            "{n};a=b",
            "{n} ;a=\"b;c\"",
            "{n}\t",
            "{n};a\nb",
            "{n};\0",
            "{n}g",
            "",
            "1000000000000000{n}",
            "-{n}",
            "{n}\r",
            "{n};a\r",
        ],
    );
    let chunk = ("[a-f0-9]{1,17}", size, line_end(), line_end());
    let last = mostly("0", ["00", "0;x", "0 ", "", "-0", "0x0", "000000000000000000000"]);
    let trailers = mostly(
        "",
        [
            "X-T: 1\r\n",
            "Host: evil\r\n",
            "Content-Length: 9\r\n",
            "Transfer-Encoding: chunked\r\n",
            "none\r\n",
            "X: a\r\n b\r\n",
            "X : 1\r\n",
            "X: 1\n",
            "X: \0\r\n",
            ": 1\r\n",
            "Connection: close\r\n",
        ],
    );
    let chunks = proptest::collection::vec(chunk, 0..3);
    (chunks, last, line_end(), trailers, line_end()).prop_map(
        |(chunks, last, end, trailers, blank)| {
            let mut body = String::new();
            for (data, size, after_size, after_data) in chunks {
                body += &size.replace("{n}", &format!("{:x}", data.len()));
                body.extend([after_size, data, after_data]);
            }
            body + &last + &end + &trailers + &blank
        },
    )
}

fn request() -> impl Strategy<Value = String> {
    let version = mostly(
        "HTTP/1.1",
        ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "", "HTTP/0.9", "HTTP/1.10"],
    );
    let space = || mostly(" ", ["  ", "\t", "", "\x0b"]);
    let fields = proptest::collection::vec(field(), 0..3);
    let before = mostly("", ["\r\n", "\n", "\r", " ", "\r\n\r\n", "\0"]);
    let line = (before, method(), space(), target(), space(), version, line_end());
    (line, host(), fields, framed(), any::<bool>(), line_end()).prop_map(
        |(
            (before, method, one, target, two, version, end),
            host,
            fields,
            (framing, body),
            early,
            blank,
        )| {
            let fields = fields.concat();
            let fields = if early { framing + &fields } else { fields + &framing };
            before
                + &method
                + &one
                + &target
                + &two
                + &version
                + &end
                + &host
                + &fields
                + &blank
                + &body
        },
    )
}

/// Bytes, a character for each, and `é` as two, as a client would send it.
fn bytes(requests: &[String], mutation: Option<(usize, u8)>) -> Vec<u8> {
    let mut bytes = requests.concat().into_bytes();
    if let Some((at, byte)) = mutation
        && !bytes.is_empty()
    {
        let at = at % bytes.len();
        bytes[at] = byte;
    }
    // So that whatever the proxy waits for, it does not wait for ever.
    bytes.extend_from_slice(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    bytes
}

fn check(stage: &Stage, bytes: &[u8]) -> Result<(), TestCaseError> {
    let reading = reading::requests(bytes);
    let turn = stage.turn();
    // Where more could come, the proxy may wait for it; where not, it has to end the connection.
    let client = if reading.stop == Stop::Cut { Client::Finishes } else { Client::Waits };
    let said = turn.send(bytes, client);
    let shown = || {
        let (sent, said) = (String::from_utf8_lossy(bytes), String::from_utf8_lossy(&said));
        format!("sent {sent:?}\nread {reading:?}\ngot {said:?}")
    };
    let faults = turn.faults();
    prop_assert!(faults.is_empty(), "the origin was sent {:?}\n{}", faults, shown());
    let judged = judge::requests(&reading, &turn.seen(), &said);
    prop_assert!(judged.is_ok(), "{:?}\n{}", judged, shown());
    Ok(())
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(Stage::new)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_is_forwarded_is_what_was_asked_and_the_rest_is_refused(
        requests in proptest::collection::vec(request(), 1..4),
        mutation in proptest::option::weighted(0.2, (any::<usize>(), any::<u8>())),
    ) {
        check(stage(), &bytes(&requests, mutation))?;
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

/// The measure has to measure: these are read as they should be, and forwarded.
#[test]
fn requests_in_order_are_forwarded() {
    let bytes = b"POST /a HTTP/1.1\r\nHost: A\r\nContent-Length: 3\r\n\r\nabc\
        PUT /b/../c?%2e HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n\
        GET http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /no HTTP/1.1\r\nHost: a\r\n\r\n";
    let reading = reading::requests(bytes);
    let turn = stage().turn();
    let said = turn.send(bytes, Client::Waits);
    let seen = turn.seen();
    judge::requests(&reading, &seen, &said).expect("all is well");
    let seen: Vec<_> =
        seen.iter().map(|seen| (&*seen.method, &*seen.target, &*seen.body)).collect();
    let expected: [(&str, &str, &[u8]); 3] =
        [("POST", "/a", b"abc"), ("PUT", "/c?%2e", b"abc"), ("GET", "/", b"")];
    assert_eq!(seen, expected);
    assert_eq!(strict::responses(&said, &[]).map(|all| all.len()), Ok(3));
}
