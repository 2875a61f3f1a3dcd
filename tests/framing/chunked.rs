//! Chunks, their extensions and trailers (RFC 9112 §7.1).

use super::*;

const HEAD: &str = "POST / HTTP/1.1⏎◊Transfer-Encoding: chunked⏎⏎";

async fn expect_cut(cases: &[(&str, &str)]) {
    let cases: Vec<_> = cases.iter().map(|(name, case)| (*name, format!("{HEAD}{case}"))).collect();
    let cases: Vec<_> = cases.iter().map(|(name, case)| (*name, &**case)).collect();
    expect_refusals(cut, &cases).await;
}

#[tokio::test]
async fn a_chunk_size_that_is_no_number_is_refused() {
    expect_cut(&[
        ("0x", "0x2⏎ok⏎0⏎⏎"),
        ("0X", "0X2⏎ok⏎0⏎⏎"),
        ("plus", "+2⏎ok⏎0⏎⏎"),
        ("minus", "-2⏎ok⏎0⏎⏎"),
        ("minus nothing", "-0⏎⏎"),
        ("suffix h", "2h⏎ok⏎0⏎⏎"),
        ("suffix L", "2L⏎ok⏎0⏎⏎"),
        ("underscore", "0_2⏎ok⏎0⏎⏎"),
        ("dot", "2.0⏎ok⏎0⏎⏎"),
        ("empty", "⏎ok⏎0⏎⏎"),
        ("empty with an extension", ";a⏎ok⏎0⏎⏎"),
        ("no hex digit", "g⏎ok⏎0⏎⏎"),
        ("quoted", "\"2\"⏎ok⏎0⏎⏎"),
        ("NUL before", "\u{0}2⏎ok⏎0⏎⏎"),
        ("NUL after", "2\u{0}⏎ok⏎0⏎⏎"),
        ("space before", " 2⏎ok⏎0⏎⏎"),
        ("tab before", "\t2⏎ok⏎0⏎⏎"),
        ("space after", "2 ⏎ok⏎0⏎⏎"),
        ("tab after", "2\t⏎ok⏎0⏎⏎"),
        ("space inside", "0 2⏎ok⏎0⏎⏎"),
        ("vertical tab after", "2\u{b}⏎ok⏎0⏎⏎"),
        ("form feed after", "2\u{c}⏎ok⏎0⏎⏎"),
        ("NBSP after", "2\u{a0}⏎ok⏎0⏎⏎"),
        ("comma", "2,2⏎ok⏎0⏎⏎"),
        ("2^64", "10000000000000000⏎ok⏎0⏎⏎"),
        ("2^64 + 2", "10000000000000002⏎ok⏎0⏎⏎"),
        ("2^64 - 1", "ffffffffffffffff⏎ok⏎0⏎⏎"),
        ("2^32 + 2 digits of zeros", "00000000000000000000000000000002⏎ok⏎0⏎⏎"),
        ("space after the last", "0 ⏎⏎"),
        ("bare LF after", "2\nok⏎0⏎⏎"),
        ("bare CR after", "2\rok⏎0⏎⏎"),
        ("LF CR", "2\n\rok⏎0⏎⏎"),
        ("CR CR LF", "2\r\r\nok⏎0⏎⏎"),
        ("bare LF after the last", "0\n⏎"),
        ("bare LF after the last, twice", "0\n\n"),
        ("full width digit in UTF-8", "\u{ef}\u{bc}\u{92}⏎ok⏎0⏎⏎"),
    ])
    .await;
}

#[tokio::test]
async fn a_chunk_that_does_not_end_as_it_should_is_refused() {
    expect_cut(&[
        ("longer than its size", "2⏎okay⏎0⏎⏎"),
        ("shorter than its size", "4⏎ok⏎0⏎⏎"),
        ("XX for CRLF", "2⏎okXX0⏎⏎"),
        ("nothing for CRLF", "2⏎ok0⏎⏎"),
        ("bare LF", "2⏎ok\n0⏎⏎"),
        ("bare CR", "2⏎ok\r0⏎⏎"),
        ("LF CR", "2⏎ok\n\r0⏎⏎"),
        ("CR X", "2⏎ok\rX0⏎⏎"),
        ("two CRLF", "2⏎ok⏎⏎0⏎⏎"),
        ("space before CRLF", "2⏎ok ⏎0⏎⏎"),
        ("XX after the last", "0⏎XX"),
        ("CR X after the last", "0⏎\rX"),
        ("LF after the last", "0⏎\n"),
        ("a request after the last", "0⏎GET /x HTTP/1.1⏎⏎"),
    ])
    .await;
}

#[tokio::test]
async fn extensions_that_could_hide_something_are_refused() {
    let long = format!("2;{}⏎ok⏎0⏎⏎", "x".repeat(1000));
    let longer = format!("2;{}⏎ok⏎0⏎⏎", "x".repeat(300 * 1024));
    expect_cut(&[
        ("bare LF", "2;a\nok⏎0⏎⏎"),
        ("bare LF and more", "2;a\nxx⏎ok⏎0⏎⏎"),
        ("bare CR", "2;a\rb⏎ok⏎0⏎⏎"),
        ("NUL", "2;a\u{0}⏎ok⏎0⏎⏎"),
        ("DEL", "2;a\u{7f}⏎ok⏎0⏎⏎"),
        ("LF in quotes", "2;a=\"\n\"⏎ok⏎0⏎⏎"),
        ("CR in quotes", "2;a=\"\r\"⏎ok⏎0⏎⏎"),
        ("CRLF in quotes", "2;a=\"⏎ok⏎\"⏎0⏎⏎"),
        ("an open quote", "2;a=\"b⏎ok⏎0⏎⏎"),
        ("an escaped quote", "2;a=\"b\\\"⏎ok⏎0⏎⏎"),
        ("space before the semicolon", "2 ;a⏎ok⏎0⏎⏎"),
        ("after the last, bare LF", "0;a\n⏎"),
        ("1 KB", &long),
        ("300 KiB", &longer),
    ])
    .await;
}

#[tokio::test]
async fn trailers_that_are_none_are_refused() {
    let large = format!("0⏎X: {}⏎⏎", "x".repeat(300 * 1024));
    let many = format!("0⏎{}⏎", "X: y⏎".repeat(2000));
    expect_cut(&[
        ("no colon", "2⏎ok⏎0⏎trailer⏎⏎"),
        ("empty name", "0⏎: x⏎⏎"),
        ("space in the name", "0⏎X Y: z⏎⏎"),
        ("space before the colon", "0⏎X : y⏎⏎"),
        ("space first", "0⏎ X: y⏎⏎"),
        ("folded", "0⏎X: y⏎ z⏎⏎"),
        ("NUL in the name", "0⏎X\u{0}: y⏎⏎"),
        ("NUL in the value", "0⏎X: \u{0}⏎⏎"),
        ("bare LF in the value", "0⏎X: y\nZ: a⏎⏎"),
        ("bare LF and the end", "0⏎X: y\n\n"),
        ("bare LF, CRLF", "0⏎X: y\n⏎"),
        ("bare CR in the value", "0⏎X: y\rZ: a⏎⏎"),
        ("LF after CRLF", "0⏎X: y⏎\n"),
        ("Content-Length", "0⏎Content-Length: 50⏎⏎"),
        ("content-length", "0⏎content-length: 50⏎⏎"),
        ("Content_Length", "0⏎Content_Length: 50⏎⏎"),
        ("Transfer-Encoding", "0⏎Transfer-Encoding: chunked⏎⏎"),
        ("Host", "0⏎Host: other.test⏎⏎"),
        ("Host after another", "0⏎X: y⏎HOST: other.test⏎⏎"),
        ("large", &large),
        ("many", &many),
    ])
    .await;
}

#[tokio::test]
async fn chunks_are_forwarded_without_their_extensions() {
    let cases = [
        ("none", "0⏎⏎", ""),
        ("one", "2⏎ok⏎0⏎⏎", "ok"),
        ("two", "1⏎o⏎1⏎k⏎0⏎⏎", "ok"),
        ("capitals", "A⏎0123456789⏎0⏎⏎", "0123456789"),
        ("small letters", "a⏎0123456789⏎0⏎⏎", "0123456789"),
        ("zeros before", "0002⏎ok⏎0⏎⏎", "ok"),
        ("several zeros last", "2⏎ok⏎0000⏎⏎", "ok"),
        ("an extension", "2;a⏎ok⏎0⏎⏎", "ok"),
        ("with a value", "2;a=b⏎ok⏎0;c=d⏎⏎", "ok"),
        ("in quotes", "2;a=\"b;\\\"c\"⏎ok⏎0⏎⏎", "ok"),
        ("CRLF as content", "2⏎⏎⏎0⏎⏎", "\r\n"),
        ("chunks as content", "5⏎0⏎⏎⏎0⏎⏎", "0\r\n\r\n"),
        ("trailers", "2⏎ok⏎0⏎X-Sum: 1⏎Y:⏎⏎", "ok"),
        (
            "trailers that are dropped",
            "2⏎ok⏎0⏎Authorization: x⏎Cookie: a⏎Connection: close⏎⏎",
            "ok",
        ),
    ];
    let cases = cases.map(|(name, chunks, content)| {
        (name, format!("{HEAD}{chunks}"), format!("POST / chunked {content}"))
    });
    let cases: Vec<_> = cases.iter().map(|(name, case, got)| (*name, &**case, &**got)).collect();
    expect_forwarded(&cases).await;
}
