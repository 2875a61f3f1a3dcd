//! `Content-Length` and `Transfer-Encoding` (RFC 9110 §8.6, RFC 9112 §6).

use super::*;

#[tokio::test]
async fn a_content_length_that_is_no_number_is_refused() {
    let values = [
        "",
        "+2",
        "-2",
        "-0",
        "0x2",
        "0X2",
        "2a",
        "a",
        "2_0",
        "2.0",
        "2e0",
        "2 0",
        "2\t0",
        "2, 2",
        "2,2",
        "2,3",
        ",2",
        "2,",
        "\"2\"",
        "'2'",
        "2;q=1",
        "\u{b}2",
        "2\u{c}",
        "\u{a0}2",
        "18446744073709551616",
        "18446744073709551618",
        "99999999999999999999999999",
        "4294967298\u{b}",
        "\u{ff}2",
        "二",
        "2\u{0}",
        "2\u{7f}",
        "NaN",
        "Infinity",
        "%32",
    ];
    let cases: Vec<_> = values
        .iter()
        .filter(|value| **value != "二")
        .map(|value| (*value, format!("POST / HTTP/1.1⏎◊Content-Length: {value}⏎⏎ok")))
        .collect();
    let cases: Vec<_> = cases.iter().map(|(name, case)| (*name, &**case)).collect();
    expect_refusals(refused, &cases).await;
}

#[tokio::test]
async fn more_than_one_content_length_is_refused() {
    expect_refusals(
        refused,
        &[
            ("two that differ", "POST / HTTP/1.1⏎◊Content-Length: 2⏎Content-Length: 3⏎⏎ok"),
            ("the larger first", "POST / HTTP/1.1⏎◊Content-Length: 3⏎Content-Length: 2⏎⏎ok"),
            ("the same twice", "POST / HTTP/1.1⏎◊Content-Length: 2⏎Content-Length: 2⏎⏎ok"),
            (
                "thrice",
                "POST / HTTP/1.1⏎◊Content-Length: 2⏎Content-Length: 2⏎Content-Length: 2⏎⏎ok",
            ),
            ("apart", "POST / HTTP/1.1⏎Content-Length: 2⏎◊Content-Length: 0⏎⏎ok"),
            ("one empty", "POST / HTTP/1.1⏎◊Content-Length: 2⏎Content-Length:⏎⏎ok"),
            ("an empty one first", "POST / HTTP/1.1⏎◊Content-Length: ⏎Content-Length: 2⏎⏎ok"),
            (
                "another spelling of the name",
                "POST / HTTP/1.1⏎◊content-length: 2⏎CONTENT-LENGTH: 5⏎⏎ok",
            ),
            (
                "another spelling of the number",
                "POST / HTTP/1.1⏎◊Content-Length: 2⏎Content-Length: 02⏎⏎ok",
            ),
            ("zero and more on GET", "GET / HTTP/1.1⏎◊Content-Length: 0⏎Content-Length: 2⏎⏎ok"),
            ("with an underscore", "POST / HTTP/1.1⏎◊Content-Length: 2⏎Content_Length: 50⏎⏎ok"),
            ("only with an underscore", "POST / HTTP/1.1⏎◊Content_Length: x⏎⏎ok"),
            ("in HTTP/1.0", "POST / HTTP/1.0⏎◊Content-Length: 2⏎Content-Length: 3⏎⏎ok"),
        ],
    )
    .await;
}

#[tokio::test]
async fn both_length_and_chunks_are_refused() {
    let chunks = "0⏎⏎";
    let mut cases = Vec::new();
    for length in ["0", "3", "5", "x", "", "99999"] {
        for (name, fields) in [
            ("length first", format!("Content-Length: {length}⏎Transfer-Encoding: chunked⏎")),
            ("coding first", format!("Transfer-Encoding: chunked⏎Content-Length: {length}⏎")),
            ("apart", format!("Content-Length: {length}⏎Accept: */*⏎Transfer-Encoding: chunked⏎")),
            (
                "nominated",
                format!(
                    "Connection: Content-Length⏎Transfer-Encoding: chunked⏎Content-Length: {length}⏎"
                ),
            ),
            (
                "coding nominated",
                format!(
                    "Connection: Transfer-Encoding⏎Transfer-Encoding: chunked⏎Content-Length: {length}⏎"
                ),
            ),
            ("coding in capitals", format!("TRANSFER-ENCODING: CHUNKED⏎Content-Length: {length}⏎")),
            ("unknown coding", format!("Content-Length: {length}⏎Transfer-Encoding: x⏎")),
            ("underscore", format!("Content-Length: {length}⏎Transfer_Encoding: chunked⏎")),
        ] {
            cases.push((
                format!("{name}, {length:?}"),
                format!("POST / HTTP/1.1⏎◊{fields}⏎{chunks}"),
            ));
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "FOO"] {
        cases.push((
            method.to_owned(),
            format!("{method} / HTTP/1.1⏎◊Content-Length: 5⏎Transfer-Encoding: chunked⏎⏎{chunks}"),
        ));
    }
    let cases: Vec<_> = cases.iter().map(|(name, case)| (&**name, &**case)).collect();
    expect_refusals(refused, &cases).await;
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_once_is_refused() {
    let values = [
        "xchunked",
        "chunkedx",
        "chunked-",
        "x",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,chunked",
        "chunked,",
        ",chunked",
        ", chunked",
        "chunked, identity",
        "identity, chunked",
        "identity,chunked",
        "chunked;q=1",
        "chunked ;a=b",
        "chunked; a",
        "\"chunked\"",
        "'chunked'",
        "chunked\"",
        "\u{b}chunked",
        "chunked\u{b}",
        "\u{c}chunked",
        "\u{a0}chunked",
        "\u{85}chunked",
        "chunked\u{0}",
        "\u{0}chunked",
        "chun\u{0}ked",
        "c\u{68}unked\u{7f}",
        "",
        "chunked chunked",
        "chu nked",
        "chunked\u{ff}",
        "deflate, gzip, chunked",
        "trailers",
        "cow, chunked",
        "chunked:",
        "(chunked)",
        "chunked(x)",
        "\u{212a}",
    ];
    let mut cases = Vec::new();
    for value in values.iter().filter(|value| !value.contains('\u{212a}')) {
        cases.push((
            format!("{value:?}"),
            format!("POST / HTTP/1.1⏎◊Transfer-Encoding: {value}⏎⏎0⏎⏎"),
        ));
        cases.push((
            format!("{value:?} on GET"),
            format!("GET / HTTP/1.1⏎◊Transfer-Encoding: {value}⏎⏎0⏎⏎"),
        ));
    }
    for (name, fields) in [
        ("twice", "Transfer-Encoding: chunked⏎Transfer-Encoding: chunked⏎"),
        ("gzip and chunked", "Transfer-Encoding: gzip⏎Transfer-Encoding: chunked⏎"),
        ("chunked and gzip", "Transfer-Encoding: chunked⏎Transfer-Encoding: gzip⏎"),
        ("identity and chunked", "Transfer-Encoding: identity⏎Transfer-Encoding: chunked⏎"),
        ("chunked and identity", "Transfer-Encoding: chunked⏎Transfer-Encoding: identity⏎"),
        ("chunked and empty", "Transfer-Encoding: chunked⏎Transfer-Encoding:⏎"),
        ("empty and chunked", "Transfer-Encoding:⏎Transfer-Encoding: chunked⏎"),
        ("other case", "transfer-encoding: chunked⏎Transfer-encoding: cow⏎"),
        ("space before the colon", "Transfer-Encoding : chunked⏎"),
        ("tab before the colon", "Transfer-Encoding\t: chunked⏎"),
        ("space before the name", " Transfer-Encoding: chunked⏎"),
        ("folded name", "X: y⏎ Transfer-Encoding: chunked⏎"),
        ("folded value", "Transfer-Encoding:⏎ chunked⏎"),
        ("folded value with a tab", "Transfer-Encoding:⏎\tchunked⏎"),
        ("value folded on", "Transfer-Encoding: chunked⏎ , identity⏎"),
        ("bare LF before the value", "Transfer-Encoding:\n chunked⏎"),
        ("bare LF before it", "X: y\nTransfer-Encoding: chunked⏎"),
        ("bare CR before it", "X: y\rTransfer-Encoding: chunked⏎"),
        ("bare CR after it", "Transfer-Encoding: chunked\r⏎"),
        ("CR CR LF", "Transfer-Encoding: chunked\r\r\n"),
        ("NUL in the name", "Transfer-\u{0}Encoding: chunked⏎"),
        ("no colon", "Transfer-Encoding chunked⏎"),
        ("no value, no colon", "Transfer-Encoding⏎"),
        ("equals sign", "Transfer-Encoding=chunked⏎"),
        ("underscore", "Transfer_Encoding: chunked⏎"),
        ("colon first", ":Transfer-Encoding: chunked⏎"),
        ("quotes around the name", "\"Transfer-Encoding\": chunked⏎"),
        ("NBSP after the name", "Transfer-Encoding\u{a0}: chunked⏎"),
        ("soft hyphen", "Transfer\u{ad}Encoding: chunked⏎"),
    ] {
        cases.push((name.to_owned(), format!("POST / HTTP/1.1⏎◊{fields}⏎0⏎⏎")));
    }
    for (name, version) in
        [("1.0", "HTTP/1.0"), ("1.0 and keep-alive", "HTTP/1.0⏎Connection: keep-alive")]
    {
        cases.push((name.to_owned(), format!("POST / {version}⏎◊Transfer-Encoding: chunked⏎⏎0⏎⏎")));
    }
    let cases: Vec<_> = cases.iter().map(|(name, case)| (&**name, &**case)).collect();
    expect_refusals(refused, &cases).await;
}

#[tokio::test]
async fn content_is_forwarded_as_it_is_framed() {
    expect_forwarded(&[
        ("none", "GET / HTTP/1.1⏎◊⏎", "GET / - "),
        ("none of a POST", "POST / HTTP/1.1⏎◊⏎", "POST / length "),
        ("none of a DELETE", "DELETE / HTTP/1.1⏎◊⏎", "DELETE / - "),
        ("an empty one", "POST / HTTP/1.1⏎◊Content-Length: 0⏎⏎", "POST / length "),
        ("a length", "POST / HTTP/1.1⏎◊Content-Length: 2⏎⏎ok", "POST / length ok"),
        ("zeros before it", "POST / HTTP/1.1⏎◊Content-Length: 0002⏎⏎ok", "POST / length ok"),
        ("spaces around it", "POST / HTTP/1.1⏎◊Content-Length: \t 2 \t⏎⏎ok", "POST / length ok"),
        ("no space before it", "POST / HTTP/1.1⏎◊Content-Length:2⏎⏎ok", "POST / length ok"),
        ("any case", "POST / HTTP/1.1⏎◊cOnTeNt-LeNgTh: 2⏎⏎ok", "POST / length ok"),
        (
            "a request as content",
            "POST / HTTP/1.1⏎◊Content-Length: 18⏎⏎GET / HTTP/1.1⏎⏎",
            "POST / length GET / HTTP/1.1\r\n\r\n",
        ),
        (
            "nominated",
            "POST / HTTP/1.1⏎◊Connection: content-length⏎Content-Length: 2⏎⏎ok",
            "POST / length ok",
        ),
        (
            "Host nominated",
            "POST / HTTP/1.1⏎◊Connection: host⏎Content-Length: 2⏎⏎ok",
            "POST / length ok",
        ),
        ("chunks", "POST / HTTP/1.1⏎◊Transfer-Encoding: chunked⏎⏎2⏎ok⏎0⏎⏎", "POST / chunked ok"),
        (
            "chunks nominated",
            "POST / HTTP/1.1⏎◊Connection: transfer-encoding⏎Transfer-Encoding: chunked⏎⏎2⏎ok⏎0⏎⏎",
            "POST / chunked ok",
        ),
        (
            "any case of chunked",
            "POST / HTTP/1.1⏎◊tRANSFER-eNCODING: ChUnKeD⏎⏎2⏎ok⏎0⏎⏎",
            "POST / chunked ok",
        ),
        (
            "spaces around chunked",
            "POST / HTTP/1.1⏎◊Transfer-Encoding: \tchunked\t ⏎⏎2⏎ok⏎0⏎⏎",
            "POST / chunked ok",
        ),
        ("a length on OPTIONS", "OPTIONS / HTTP/1.1⏎◊Content-Length: 2⏎⏎ok", "OPTIONS / length ok"),
        ("a length on DELETE", "DELETE / HTTP/1.1⏎◊Content-Length: 2⏎⏎ok", "DELETE / length ok"),
        (
            "chunks on DELETE",
            "DELETE / HTTP/1.1⏎◊Transfer-Encoding: chunked⏎⏎2⏎ok⏎0⏎⏎",
            "DELETE / chunked ok",
        ),
        (
            "chunks on an unknown method",
            "FOO / HTTP/1.1⏎◊Transfer-Encoding: chunked⏎⏎2⏎ok⏎0⏎⏎",
            "FOO / chunked ok",
        ),
        ("a length on GET", "GET / HTTP/1.1⏎◊Content-Length: 2⏎⏎ok", "GET / length ok"),
        (
            "chunks on GET",
            "GET / HTTP/1.1⏎◊Transfer-Encoding: chunked⏎⏎2⏎ok⏎0⏎⏎",
            "GET / chunked ok",
        ),
    ])
    .await;
}

#[tokio::test]
async fn content_of_http_1_0_is_forwarded_and_the_connection_closed() {
    expect_last(&[
        ("none", "GET / HTTP/1.0⏎◊⏎", "GET / - "),
        ("a length", "POST / HTTP/1.0⏎◊Content-Length: 2⏎⏎ok", "POST / length ok"),
    ])
    .await;
}

#[tokio::test]
async fn content_that_ends_before_its_length_is_no_request() {
    let wire = Wire::start().await;
    let outcome = wire.send("POST / HTTP/1.1⏎◊Content-Length: 2000⏎⏎ok", false).await;
    // The client has hung up, so nobody is left to be told.
    assert!(outcome.forwarded.is_empty(), "{outcome:?}");
}
