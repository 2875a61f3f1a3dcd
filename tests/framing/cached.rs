//! Requests that are answered without the origin: what they bring is still theirs (RFC 9112 §9.3).

use super::*;

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n\r\nok";

/// What a client with a hit behind it sends as content.
const INNER: &str = "GET /inner HTTP/1.1⏎◊⏎";

fn fat(method: &str, target: &str) -> [String; 2] {
    let length = raw::bytes(INNER).len();
    [
        format!("{method} {target} HTTP/1.1⏎◊Content-Length: {length}⏎⏎{INNER}"),
        format!("{method} {target} HTTP/1.1⏎◊Transfer-Encoding: chunked⏎⏎{length:x}⏎{INNER}⏎0⏎⏎"),
    ]
}

#[tokio::test]
async fn the_content_of_a_request_is_never_read_as_the_next_one() {
    let wire = Wire::answering(FRESH).await;
    wire.send("GET /stored HTTP/1.1⏎◊⏎", false).await;
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "PURGE", "FOO", "POST"] {
        for target in ["/stored", "/other"] {
            for case in fat(method, target) {
                for in_bytes in [false, true] {
                    let outcome = wire.send(&case, in_bytes).await;
                    let inner =
                        outcome.forwarded.iter().any(|it| it.to_string().starts_with("GET /inner"));
                    let partial = String::from_utf8_lossy(&outcome.partial)
                        .contains("\r\n\r\nGET /inner HTTP/1.1\r\n\r\nGET");
                    assert!(!inner && !partial && outcome.ended, "{method} {target}: {outcome:?}");
                    assert!(
                        (1..=2).contains(&outcome.statuses.len()),
                        "{method} {target}: {outcome:?}"
                    );
                }
            }
        }
    }
}

// A fat GET: its content is not in the key, so its answer may not be what others get.
#[tokio::test]
async fn the_answer_to_a_get_with_content_is_nobody_elses() {
    for case in fat("GET", "/fat") {
        let wire = Wire::answering(FRESH).await;
        let first = wire.send(&case, false).await;
        assert_eq!(first.forwarded.len(), 2, "{first:?}");
        let second = wire.send("GET /fat HTTP/1.1⏎◊⏎", false).await;
        assert_eq!(second.forwarded.len(), 1, "{second:?}");
    }
}
