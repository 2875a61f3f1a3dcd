//! Answers that are well formed and wrong: about time, about what is stored, about what was asked.

use super::*;

// RFC 9111 §4.2, §1.2.2: what can't be read counts as stale or as the largest number, and no
// number is too large to be counted with.
#[tokio::test]
async fn lies_about_time_are_survived_and_never_lengthen_a_life() {
    let huge = "9".repeat(40);
    let far = "Fri, 31 Dec 9999 23:59:59 GMT";
    let past = "Thu, 01 Jan 1970 00:00:00 GMT";
    for (fields, reused) in [
        (vec![("Age", &*huge), ("Cache-Control", "max-age=600")], false),
        (vec![("Age", "2147483648"), ("Cache-Control", "max-age=600")], false),
        (vec![("Age", "600"), ("Cache-Control", "max-age=600")], false),
        (vec![("Age", "599"), ("Cache-Control", "max-age=600")], true),
        (vec![("Age", "0"), ("Cache-Control", &*format!("max-age={huge}"))], true),
        (vec![("Cache-Control", "max-age=-1")], false),
        (vec![("Cache-Control", "max-age=1.5")], false),
        (vec![("Cache-Control", "max-age=")], false),
        (vec![("Cache-Control", "max-age")], false),
        (vec![("Expires", "-1")], false),
        (vec![("Expires", "0")], false),
        (vec![("Expires", past)], false),
        (vec![("Expires", "soon")], false),
        (vec![("Expires", far)], true),
        (vec![("Expires", far), ("Expires", "0")], false),
        (vec![("Date", far), ("Expires", far)], false),
        (vec![("Date", far), ("Cache-Control", "max-age=600")], true),
        (vec![("Date", past), ("Cache-Control", "max-age=600")], false),
        // Older than `max_lifetime`.
        (vec![("Date", past), ("Expires", far)], false),
        (vec![("Date", "nonsense"), ("Cache-Control", "max-age=600")], true),
        (vec![("Last-Modified", far)], false),
    ] {
        let (_origin, proxy) = stage(given(&fields)).await;
        let first = proxy.get("/").await;
        assert_eq!((first.status, first.text()), (200, "body"), "{fields:?}");
        let second = proxy.get("/").await;
        assert_eq!((second.status, second.text()), (200, "body"), "{fields:?}");
        assert_eq!(second.is_hit(), reused, "{fields:?}: {}", second.cache_status());
        proxy.advance(secs(u64::from(u32::MAX)));
        assert_eq!(proxy.get("/").await.text(), "body", "{fields:?}");
    }
}

// The client's own condition was held back: a 304 about something else answers nothing.
#[tokio::test]
async fn a_304_about_what_the_client_has_not_is_no_answer() {
    let unasked = status(304).with("ETag", "\"other\"");
    let (origin, proxy) = stages([unasked, ok("whole").fresh(600)]).await;
    let response = proxy.send(&get("/").with("If-None-Match", "\"mine\"")).await;
    assert_eq!(origin.last().field("if-none-match"), None);
    assert_eq!(response.status, 502, "{response:?}");
    assert_eq!(proxy.get("/").await.text(), "whole");
}

/// What the second of two clients gets, behind this answer to the first.
async fn after(answer: Answer) -> (Response, Response) {
    let (_origin, proxy) = stages([answer, ok("whole").fresh(600)]).await;
    (proxy.get("/").await, proxy.get("/").await)
}

// Nobody has asked for a part, a condition or an expectation: what comes is the first client's
// alone, and never what the next one gets for the whole.
#[tokio::test]
async fn an_answer_to_another_question_is_not_stored() {
    for answer in [
        status(206).body("par").fresh(600).with("Content-Range", "bytes 0-2/9"),
        status(206).body("par").fresh(600),
        status(206).body("par").fresh(600).with("Content-Range", "bytes 7-2/9"),
        status(412).body("no").fresh(600),
        status(416).body("no").fresh(600).with("Content-Range", "bytes */9"),
        status(304).fresh(600),
    ] {
        let code = answer.summary().0;
        let (first, second) = after(answer).await;
        assert_ne!(first.status, 200, "{first:?}");
        assert_ne!(first.status, 304, "nobody has set a condition: {first:?}");
        assert_eq!((second.status, second.text()), (200, "whole"), "{code}");
    }
}

#[tokio::test]
async fn a_304_about_something_else_revives_nothing_and_does_not_go_round_for_ever() {
    let old = ok("old").fresh(60).with("ETag", "\"ours\"");
    let other = status(304).fresh(60).with("ETag", "\"theirs\"");
    let (origin, proxy) = stages([old, other]).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let response = proxy.get("/").await;
    assert!(response.status == 502 || response.says("detail=disconnected"), "{response:?}");
    assert_eq!(origin.count(), 3, "a validation, and one fetch of everything");
    proxy.advance(secs(3600));
    let response = proxy.get("/").await;
    assert_eq!(response.field("proxy-status"), Some("seawall; error=http_protocol_error"));
}

#[tokio::test]
async fn wrong_answers_to_a_request_for_a_part() {
    let part = |range: &str| status(206).body("par").fresh(600).with("Content-Range", range);
    for answer in [
        part("bytes 0-1/9"),
        part("bytes 4-6/9"),
        part("bytes 0-2/1"),
        part("bytes 2-0/9"),
        part("bytes 0-18446744073709551615/*"),
        part("bytes 99999999999999999999-99999999999999999999/9"),
        part("lines 0-2/9"),
        part("nonsense"),
        status(416).with("Content-Range", "bytes */0"),
    ] {
        let (_origin, proxy) = stages([answer.clone(), ok("wholebody").fresh(600)]).await;
        let first = proxy.send(&get("/").with("Range", "bytes=0-2")).await;
        let said = answer.summary();
        assert!(matches!(first.status, 206 | 416 | 502), "{said:?}: {first:?}");
        let whole = proxy.get("/").await;
        assert_eq!((whole.status, whole.text()), (200, "wholebody"), "{said:?}");
        let again = proxy.send(&get("/").with("Range", "bytes=0-2")).await;
        assert!(matches!((again.status, again.text()), (206, "who")), "{said:?}: {again:?}");
    }
}

// RFC 9110 §7.8: an origin that switches to something else than was asked for.
#[tokio::test]
async fn a_switch_to_another_protocol_than_asked_for_is_a_502() {
    for (asked, named) in [
        (Some("websocket"), "h2c"),
        (Some("websocket"), "websocket, h2c"),
        (Some("websocket"), ""),
        (Some("h2c"), "h2c"),
        (None, "websocket"),
    ] {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {named}\r\n\r\nraw"
        );
        let (_origin, proxy) = stage(raw(answer)).await;
        let request = asked.map_or(get("/"), |asked| {
            get("/").with("Upgrade", asked).with("Connection", "upgrade")
        });
        let response = proxy.send(&request).await;
        assert_eq!(response.status, 502, "{asked:?} {named:?}");
        let told = "seawall; error=http_upgrade_failed";
        assert_eq!(response.field("proxy-status"), Some(told), "{asked:?} {named:?}");
    }
}
