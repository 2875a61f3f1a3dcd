//! Tables of whole messages are in `tests/framing`; here is what holds for any bytes.

use proptest::prelude::*;

use super::*;

/// The finding in `bytes` when they come in pieces that end at `cuts`, and how many were read.
fn in_pieces(bytes: &[u8], cuts: &[usize]) -> (Finding, usize) {
    let mut reader = Reader::default();
    let mut start = 0;
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    for end in cuts {
        match reader.read(&bytes[start..end]) {
            Finding::Sound => start = end,
            Finding::Upgrade(at) => return (Finding::Upgrade(start + at), start + at),
            Finding::BadHead(at) => return (Finding::BadHead(0), start + at),
            Finding::BadContent(at) => return (Finding::BadContent(0), start + at),
        }
    }
    (Finding::Sound, bytes.len())
}

/// Pieces of which requests are made, good ones and bad ones.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /#x HTTP/1.1\r\n",
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "content-length:\t0 \r\n",
        "Content-Length: 5, 5\r\n",
        "Content_Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Upgrade: x\r\n",
        "Cookie: a-very-long-one-that-is-longer-than-what-is-kept-of-a-line-that-comes-in-pieces\r\n",
        "\r\n",
        "\n",
        "\r",
        "hello",
        "5\r\n",
        "0\r\n",
        "5;a=\"b\"\r\n",
        "5;a=\"b\r\n",
        "5 \r\n",
        "X: y\r\n",
        "Host: b",
        ";",
        "\0",
    ])
}

proptest! {
    /// How the bytes come decides nothing but where in the last line a fault is seen.
    #[test]
    fn pieces_change_nothing(
        pieces in prop::collection::vec(piece(), 0..24),
        cuts in prop::collection::vec(0_usize..1000, 0..12),
    ) {
        let bytes = pieces.concat();
        let (whole, end) = in_pieces(bytes.as_bytes(), &[]);
        let (split, split_end) = in_pieces(bytes.as_bytes(), &cuts);
        prop_assert_eq!(whole, split);
        prop_assert!(split_end <= end || !matches!(whole, Finding::BadHead(_)));
        if !matches!(whole, Finding::BadHead(_)) {
            prop_assert_eq!(end, split_end);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(0_usize..300, 0..12),
    ) {
        in_pieces(&bytes, &cuts);
    }

    /// Good requests, one after the other, end where they say.
    #[test]
    fn good_requests_are_sound(
        contents in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..50)), 1..6),
        cuts in prop::collection::vec(0_usize..1000, 0..12),
    ) {
        let mut bytes = Vec::new();
        for (chunked, content) in &contents {
            bytes.extend_from_slice(b"POST / HTTP/1.1\r\nHost: a\r\n");
            if *chunked {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in content.chunks(7) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            } else {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes());
                bytes.extend_from_slice(content);
            }
        }
        let end = bytes.len();
        bytes.extend_from_slice(b"\n");
        prop_assert_eq!(in_pieces(&bytes, &cuts), (Finding::BadHead(0), end));
    }
}
