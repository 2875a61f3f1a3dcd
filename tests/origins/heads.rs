//! Response heads that are none, or can be read in two ways (RFC 9112 §4, §5, §6.3).

use super::*;

const PROTOCOL: &str = "http_protocol_error";
const CODING: &str = "http_response_transfer_coding";
const SIZE: &str = "http_response_header_section_size";
const TERMINATED: &str = "connection_terminated";
const UPGRADE: &str = "http_upgrade_failed";

/// A head that would be stored if it were good, behind this status line.
fn begun_by(line: impl AsRef<[u8]>) -> Vec<u8> {
    let rest = b"\r\nCache-Control: max-age=600\r\nContent-Length: 3\r\n\r\nbad";
    [line.as_ref(), rest].concat()
}

/// The same with these lines among its fields.
fn with_fields(fields: impl AsRef<[u8]>) -> Vec<u8> {
    let start = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
    [start, fields.as_ref(), b"\r\nContent-Length: 3\r\n\r\nbad"].concat()
}

/// The same framed by these fields alone.
fn framed_by(fields: &str) -> Vec<u8> {
    let start = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
    format!("{start}{fields}\r\n\r\n4\r\nbody\r\n0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn an_end_before_the_head_is_over() {
    let mut faults = Vec::new();
    for bytes in
        ["", "H", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nX: y\r\n", "\r\n"]
    {
        faults.push(fault(bytes, Then::Fin, TERMINATED));
        faults.push(fault(bytes, Then::Rst, TERMINATED));
    }
    expect_outcomes(&faults, |_| ()).await;
}

#[tokio::test]
async fn status_lines_that_are_none() {
    let lines: [&[u8]; 33] = [
        b"nonsense",
        b"<!doctype html><title>HTTP/0.9</title>",
        b"\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6",
        b"ICY 200 OK",
        b"PRI * HTTP/2.0",
        b"HTTP/0.9 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.10 200 OK",
        b"HTTP/11 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/ 200 OK",
        b"http/1.1 200 OK",
        b"HTTPS/1.1 200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 99 Low",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 000 None",
        b"HTTP/1.1 600 High",
        b"HTTP/1.1 999 High",
        b"HTTP/1.1 20 Short",
        b"HTTP/1.1 1000 Long",
        b"HTTP/1.1 2000 Long",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 -200 Negative",
        b"HTTP/1.1 2x0 Letters",
        b"HTTP/1.1 200 N\0L",
        b"HTTP/1.1 200 Be\x07l",
        b"HTTP/1.1 200 C\rR",
        b" HTTP/1.1 200 OK",
    ];
    let faults: Vec<_> =
        lines.iter().map(|line| fault(begun_by(line), Then::Hold, PROTOCOL)).collect();
    expect_outcomes(&faults, |_| ()).await;
}

#[tokio::test]
async fn fields_that_are_none() {
    let lines: [&[u8]; 13] = [
        b"no colon",
        b": no name",
        b"Two words: y",
        b"N\0l: y",
        b"Br(acket: y",
        b"H\xf6gh: y",
        b"X: n\0l",
        b"X: be\x07l",
        b"X: c\rr",
        b"X: y\r\n folded",
        b"X: y\r\n\tfolded",
        b"X: y\r\n\r: z",
        b"\x0bX: y",
    ];
    let mut faults: Vec<_> =
        lines.iter().map(|line| fault(with_fields(line), Then::Hold, PROTOCOL)).collect();
    let folded_first = "HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 3\r\n\r\nbad";
    faults.push(fault(folded_first, Then::Hold, PROTOCOL));
    expect_outcomes(&faults, |_| ()).await;
}

#[tokio::test]
async fn heads_without_measure() {
    let name = "n".repeat(70_000);
    let faults = [
        with_fields(format!("X: {}", "y".repeat(140_000))),
        with_fields(format!("{name}: y")),
        with_fields(vec!["X: y"; 300].join("\r\n")),
        begun_by(format!("HTTP/1.1 200 {}", "y".repeat(140_000))),
        "\r\n".repeat(70_000).into_bytes(),
    ];
    let faults = faults.map(|bytes| fault(bytes, Then::Hold, SIZE));
    expect_outcomes(&faults, |_| ()).await;
}

#[tokio::test]
async fn framing_that_can_be_read_in_two_ways() {
    let mut faults = Vec::new();
    for length in [
        "+5",
        "-1",
        "0x5",
        "5_0",
        "5 5",
        "5, 6",
        "5,",
        ",5",
        "",
        " ",
        "5;5",
        "5.0",
        "\"5\"",
        "five",
        "18446744073709551616",
        "18446744073709551620",
        "99999999999999999999999999",
    ] {
        faults.push(fault(framed_by(&format!("Content-Length: {length}")), Then::Hold, PROTOCOL));
    }
    for fields in [
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4\r\nContent-Length: +4",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: identity",
        "Content-Length: 4\r\nTransfer-Encoding: ",
    ] {
        faults.push(fault(framed_by(fields), Then::Hold, PROTOCOL));
    }
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "identity",
        "chunked, identity",
        "identity, chunked",
        "xchunked",
        "chunkedx",
        "x",
        "",
        ",",
        "chunked,",
        ",chunked",
        "\"chunked\"",
        "chunked;q=1",
        "chunked\r\nTransfer-Encoding: chunked",
        "gzip\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "\x0bchunked",
        "chun ked",
    ] {
        let fields = format!("Transfer-Encoding: {coding}");
        let error = if coding.contains('\x0b') { PROTOCOL } else { CODING };
        faults.push(fault(framed_by(&fields), Then::Hold, error));
    }
    let old = framed_by("Transfer-Encoding: chunked");
    let old = [b"HTTP/1.0".as_slice(), &old[8..]].concat();
    faults.push(fault(old, Then::Hold, PROTOCOL));
    expect_outcomes(&faults, |_| ()).await;
}

// RFC 9110 §15.2.2, §7.8; nobody has asked for any of these.
#[tokio::test]
async fn answers_to_questions_that_nobody_has_asked() {
    let faults = [
        fault("HTTP/1.1 101 Switching Protocols\r\n\r\n", Then::Hold, UPGRADE),
        fault(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nPRI",
            Then::Hold,
            UPGRADE,
        ),
        fault(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
            Then::Hold,
            UPGRADE,
        ),
        fault("HTTP/1.1 100 Continue\r\n\r\n", Then::Fin, TERMINATED),
        fault("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", Then::Rst, TERMINATED),
        fault("HTTP/1.1 103 Early Hints\r\nno colon\r\n\r\n", Then::Hold, PROTOCOL),
        // Fin: it is well framed, so its connection might be used again.
        fault("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", Then::Fin, PROTOCOL),
    ];
    expect_outcomes(&faults, |_| ()).await;
}

#[tokio::test]
async fn interim_responses_without_end_are_a_fault_long_before_the_timeout() {
    let many = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(300);
    let faults = [
        fault(many, Then::Hold, PROTOCOL),
        fault("HTTP/1.1 100 Continue\r\n\r\n".repeat(300), Then::Hold, PROTOCOL),
        fault("HTTP/1.1 199 Odd\r\n\r\n".repeat(300), Then::Hold, PROTOCOL),
    ];
    expect_outcomes(&faults, |_| ()).await;
}

// What is unusual but says one thing only is passed on in its normal form.
#[tokio::test]
async fn odd_heads_that_mean_one_thing_are_normalised() {
    for head in [
        "HTTP/1.1 200\r\nContent-Length: 4\r\nX: y",
        "HTTP/1.1 200 \r\nContent-Length: 4\r\nX: y",
        "HTTP/1.1 200 Weird \u{e9} reason\r\nContent-Length: 4\r\nX: y",
        "HTTP/1.0 200 OK\r\nContent-Length: 4\r\nX: y",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: y",
        "HTTP/1.1 200 OK\nContent-Length: 4\nX: y",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX:y",
        "HTTP/1.1 200 OK\r\nContent-Length:   4 \t\r\nX: \t y \t",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\nX: y",
        "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\nX: y",
        "HTTP/1.1 200 OK\r\nContent-Length: 0004\r\nX: y",
        "HTTP/1.1 200 OK\r\ncontent-LENGTH: 4\r\nx: y",
        "HTTP/1.1 200 OK\r\nContent-Length : 4\r\nX \t: y",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: y",
        "HTTP/1.1 103 Early Hints\r\nX: no\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: y",
    ] {
        let (origin, proxy) =
            stage(raw(format!("{head}\r\nCache-Control: max-age=600\r\n\r\nbody"))).await;
        let mut http2 = H2Client::connect(proxy.address).await;
        for response in [proxy.get("/").await, http2.exchange(&get("/")).await] {
            assert_eq!((response.status, response.text()), (200, "body"), "{head:?}");
            assert_eq!(response.all("content-length"), ["4"], "{head:?}");
            assert_eq!(response.all("x"), ["y"], "{head:?}");
        }
        assert_eq!(origin.count(), 1);
    }
}

#[tokio::test]
async fn connection_takes_only_what_it_may_name() {
    let answer = ok("body")
        .fresh(600)
        .with("Content-Type", "text/plain")
        .with("X-Hop", "1")
        .with("Set-Cookie", "a=1")
        .with("Connection", "close, content-type, x-hop, cache-control, set-cookie, age, via");
    let (_origin, proxy) = stage(answer).await;
    let response = proxy.get("/").await;
    assert_eq!(response.field("x-hop"), None);
    for kept in ["content-type", "set-cookie", "cache-control", "via"] {
        assert!(response.field(kept).is_some(), "{kept}");
    }
    assert!(!proxy.get("/").await.is_hit(), "a cookie that was named away is still a cookie");
}

#[tokio::test]
async fn many_cookies_pass_and_are_not_shared() {
    let cookies = (0..80).fold(ok("body").fresh(600), |answer, number| {
        answer.with("Set-Cookie", format!("c{number}=1"))
    });
    let (origin, proxy) = stage(cookies).await;
    for asked in 1..3 {
        assert_eq!(proxy.get("/").await.all("set-cookie").len(), 80);
        assert_eq!(origin.count(), asked);
    }
}
