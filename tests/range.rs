//! Ranges from stored responses, and partial responses stored and combined (RFC 9110 §14,
//! RFC 9111 §3.3, §3.4).

use crate::support::*;

const BODY: &str = "0123456789";

fn whole() -> Answer {
    ok(BODY).fresh(600).with("ETag", "\"v1\"").with("Content-Type", "text/plain")
}

/// A 206 with the bytes `first..=last` of [`BODY`].
fn part(first: usize, last: usize) -> Answer {
    part_head(first, last).body(&BODY[first..=last])
}

fn part_head(first: usize, last: usize) -> Answer {
    let range = format!("bytes {first}-{last}/10");
    status(206).fresh(600).with("ETag", "\"v1\"").with("Content-Range", range)
}

fn ranged(range: &str) -> Request {
    get("/").with("Range", range)
}

/// An origin that serves ranges of [`BODY`] as asked, `first-last` only.
async fn ranging() -> (Origin, Proxy) {
    let origin = Origin::start(|request| {
        let range = request.field("range").and_then(|range| range.strip_prefix("bytes="));
        let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
            return whole();
        };
        let first = first.parse().expect("the tests ask so");
        part(first, last.parse().unwrap_or(BODY.len() - 1))
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    (origin, proxy)
}

// RFC 9110 §14.1.2, §14.4, §15.3.7.
#[tokio::test]
async fn single_ranges_are_cut_from_a_stored_response() {
    let (origin, proxy) = stage(whole()).await;
    proxy.get("/").await;
    for (range, content_range, body) in [
        ("bytes=0-1", "bytes 0-1/10", "01"),
        ("bytes=4-", "bytes 4-9/10", "456789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-99", "bytes 0-9/10", BODY),
        ("bytes=8-99", "bytes 8-9/10", "89"),
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("BYTES=1-1", "bytes 1-1/10", "1"),
    ] {
        let response = proxy.send(&ranged(range)).await;
        assert_eq!((response.status, response.text()), (206, body), "{range}");
        assert_eq!(response.field("content-range"), Some(content_range));
        assert_eq!(response.field("content-length"), Some(&*body.len().to_string()));
        assert_eq!(response.field("etag"), Some("\"v1\""));
        assert!(response.is_hit());
    }
    assert_eq!(origin.count(), 1);
}

// RFC 9110 §14.2: a Range that is not understood is ignored.
#[tokio::test]
async fn a_range_that_makes_no_sense_is_ignored() {
    let (_origin, proxy) = stage(whole()).await;
    proxy.get("/").await;
    for range in ["bytes", "bytes=", "bytes=a-b", "bytes=5-4", "lines=0-1", "bytes=1", "bytes=--1"]
    {
        let response = proxy.send(&ranged(range)).await;
        assert_eq!((response.status, response.text()), (200, BODY), "{range}");
    }
}

// RFC 9110 §15.5.17.
#[tokio::test]
async fn a_range_beyond_the_end_is_a_416_with_the_length() {
    let (origin, proxy) = stage(whole()).await;
    proxy.get("/").await;
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let response = proxy.send(&ranged(range)).await;
        assert_eq!(response.status, 416, "{range}");
        assert_eq!(response.field("content-range"), Some("bytes */10"));
    }
    assert_eq!(proxy.get("/").await.text(), BODY);
    assert_eq!(origin.count(), 1);
}

// RFC 9110 §14.6.
#[tokio::test]
async fn several_ranges_are_a_multipart_answer() {
    let (origin, proxy) = stage(whole()).await;
    proxy.get("/").await;
    let response = proxy.send(&ranged("bytes=0-1,-2")).await;
    assert_eq!((response.status, origin.count()), (206, 1));
    let content_type = response.field("content-type").expect("a multipart type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("the type");
    let boundary = boundary.trim_matches('"');
    let text = response.text();
    let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 4, "preamble, two parts, end: {text:?}");
    for (part, (range, bytes)) in parts[1..3].iter().zip([("0-1", "01"), ("8-9", "89")]) {
        let (head, body) = part.split_once("\r\n\r\n").expect("a head");
        let head = head.to_ascii_lowercase();
        assert!(head.contains(&format!("content-range: bytes {range}/10")), "{head}");
        assert!(head.contains("content-type: text/plain"), "{head}");
        assert_eq!(body, format!("{bytes}\r\n"));
    }
    assert!(parts[3].starts_with("--"));
    assert_eq!(response.field("content-range"), None);
    assert_eq!(response.field("content-length"), Some(&*response.body.len().to_string()));
}

// RFC 9110 §17.15: many or overlapping ranges must not multiply what is sent.
#[tokio::test]
async fn overlapping_and_many_ranges_are_never_more_than_the_whole() {
    let (_origin, proxy) = stage(whole()).await;
    proxy.get("/").await;
    for range in ["bytes=0-,0-,0-,0-", "bytes=0-9,0-8,1-9"] {
        let response = proxy.send(&ranged(range)).await;
        assert!(response.body.len() <= BODY.len(), "{range}: {response:?}");
    }
    let many = (0..2000).map(|_| "0-0").collect::<Vec<_>>().join(",");
    let response = proxy.send(&ranged(&format!("bytes={many}"))).await;
    assert!(response.body.len() <= BODY.len());
}

// RFC 9110 §13.1.5: strong comparison; a date only if it is the exact Last-Modified.
#[tokio::test]
async fn if_range_gives_the_part_only_where_the_validator_is_the_same() {
    let modified = "Tue, 01 Jan 2019 00:00:00 GMT";
    let (_origin, proxy) = stage(whole().with("Last-Modified", modified)).await;
    proxy.get("/").await;
    for (validator, expected) in [
        ("\"v1\"", 206),
        (modified, 206),
        ("\"v2\"", 200),
        ("W/\"v1\"", 200),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 200),
        ("junk", 200),
    ] {
        let response = proxy.send(&ranged("bytes=0-1").with("If-Range", validator)).await;
        assert_eq!(response.status, expected, "{validator}");
        assert_eq!(response.text(), if expected == 206 { "01" } else { BODY });
    }
}

#[tokio::test]
async fn if_none_match_beats_the_range() {
    let (_origin, proxy) = stage(whole()).await;
    proxy.get("/").await;
    let request = ranged("bytes=0-1").with("If-None-Match", "\"v1\"");
    assert_eq!(proxy.send(&request).await.status, 304);
}

// RFC 9110 §14.2: Range means something for GET only.
#[tokio::test]
async fn a_range_on_head_is_ignored() {
    let (_origin, proxy) = stage(whole()).await;
    proxy.get("/").await;
    let response = proxy.send(&head("/").with("Range", "bytes=0-1")).await;
    assert_eq!((response.status, response.field("content-length")), (200, Some("10")));
}

// RFC 9111 §3.3.
#[tokio::test]
async fn a_stored_part_answers_for_itself_and_what_lies_within() {
    let (origin, proxy) = stage(part(4, 9)).await;
    let first = proxy.send(&ranged("bytes=-6")).await;
    assert_eq!((first.status, first.text()), (206, "456789"));
    for (range, body) in [
        ("bytes=-6", "456789"),
        ("bytes=4-9", "456789"),
        ("bytes=6-8", "678"),
        ("bytes=6-", "6789"),
        ("bytes=-1", "9"),
    ] {
        let response = proxy.send(&ranged(range)).await;
        assert_eq!((response.status, response.text()), (206, body), "{range}");
        assert!(response.is_hit(), "{range}: {}", response.cache_status());
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_stored_part_never_answers_as_the_whole() {
    let (origin, proxy) = stages([part(0, 4), whole()]).await;
    proxy.send(&ranged("bytes=0-4")).await;
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text(), response.complete), (200, BODY, true));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_a_stored_part_lacks_is_fetched() {
    let (origin, proxy) = ranging().await;
    proxy.send(&ranged("bytes=0-2")).await;
    let response = proxy.send(&ranged("bytes=5-7")).await;
    assert_eq!((response.status, response.text()), (206, "567"));
    assert!(response.says("fwd=partial"), "{}", response.cache_status());
    assert_eq!(origin.count(), 2);
}

// RFC 9111 §3.4: parts of the same strong validator make one.
#[tokio::test]
async fn parts_with_the_same_strong_validator_are_combined() {
    let (origin, proxy) = ranging().await;
    proxy.send(&ranged("bytes=0-4")).await;
    proxy.send(&ranged("bytes=5-9")).await;
    assert_eq!(origin.count(), 2);
    let across = proxy.send(&ranged("bytes=3-6")).await;
    assert_eq!((across.status, across.text(), origin.count()), (206, "3456", 2));
    let all = proxy.get("/").await;
    assert_eq!((all.status, all.text(), all.complete), (200, BODY, true));
    assert_eq!(origin.count(), 2, "both halves make the whole");
}

#[tokio::test]
async fn a_missing_end_is_fetched_to_complete_a_stored_part() {
    let (origin, proxy) = ranging().await;
    proxy.send(&ranged("bytes=0-4")).await;
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text(), response.complete), (200, BODY, true));
    assert!(proxy.get("/").await.is_hit());
    assert!(origin.count() <= 2);
}

#[tokio::test]
async fn parts_of_different_or_weak_validators_are_never_combined() {
    for (first, second) in [("\"a\"", "\"b\""), ("W/\"a\"", "W/\"a\"")] {
        let half = |tag: &str, text: &str, range: &str| {
            status(206).body(text).fresh(600).with("ETag", tag).with("Content-Range", range)
        };
        let answers = [
            half(first, "AAAAA", "bytes 0-4/10"),
            half(second, "BBBBB", "bytes 5-9/10"),
            ok("CCCCCCCCCC").fresh(600).with("ETag", "\"c\""),
        ];
        let (origin, proxy) = stages(answers).await;
        proxy.send(&ranged("bytes=0-4")).await;
        proxy.send(&ranged("bytes=5-9")).await;
        let response = proxy.get("/").await;
        assert_eq!((response.text(), origin.count()), ("CCCCCCCCCC", 3));
    }
}

// RFC 9110 §15.3.7: a 206 must say what it holds, truthfully.
#[tokio::test]
async fn a_part_that_lies_about_its_range_is_not_stored() {
    let lies = [
        status(206).body("01234").fresh(600),
        status(206).body("01").fresh(600).with("Content-Range", "bytes 0-4/10"),
        status(206).body("01234").fresh(600).with("Content-Range", "bytes 4-0/10"),
        status(206).body("01234").fresh(600).with("Content-Range", "bytes 0-4/3"),
        status(206).body("01234").fresh(600).with("Content-Range", "bytes */10"),
        status(206)
            .body("01234")
            .fresh(600)
            .with("Content-Range", "bytes 0-99999999999999999999/*"),
    ];
    for lie in lies {
        let (origin, proxy) = stage(lie.clone()).await;
        for asked in 1..3 {
            proxy.send(&ranged("bytes=0-4")).await;
            assert_eq!(origin.count(), asked, "{:?}", lie.summary());
        }
    }
}

#[tokio::test]
async fn a_206_to_a_request_without_range_is_not_reused_as_the_whole() {
    let (origin, proxy) = stages([part(0, 4), whole()]).await;
    proxy.get("/").await;
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text(), origin.count()), (200, BODY, 2));
}

#[tokio::test]
async fn an_origin_that_ignores_the_range_fills_the_store_and_the_client_gets_what_it_asked() {
    let (origin, proxy) = stage(whole()).await;
    let first = proxy.send(&ranged("bytes=0-1")).await;
    assert!(matches!((first.status, first.text()), (206, "01") | (200, BODY)), "{first:?}");
    let second = proxy.send(&ranged("bytes=2-3")).await;
    assert_eq!((second.status, second.text(), origin.count()), (206, "23", 1));
}

#[tokio::test]
async fn ranges_of_an_empty_body_are_unsatisfiable() {
    let (_origin, proxy) = stage(ok("").fresh(600)).await;
    proxy.get("/").await;
    assert_eq!(proxy.send(&ranged("bytes=0-0")).await.status, 416);
}

/// An origin that serves ranges of [`BODY`], and holds the bodies of those that begin later.
async fn ranging_with_a_gate(gate: &Gate) -> (Origin, Proxy) {
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        let range = request.field("range").and_then(|range| range.strip_prefix("bytes="));
        match range.and_then(|range| range.split_once('-')) {
            None => whole(),
            Some(("0", last)) => part(0, last.parse().expect("the tests ask so")),
            Some((first, last)) => {
                let first = first.parse().expect("the tests ask so");
                let last = last.parse().unwrap_or(BODY.len() - 1);
                part_head(first, last).then(&held).body(&BODY[first..=last])
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    (origin, proxy)
}

// The body on its way is the rest only, although what will be stored is the whole.
#[tokio::test]
async fn whoever_waits_for_a_completion_gets_the_whole() {
    let gate = Gate::new();
    let (_origin, proxy) = ranging_with_a_gate(&gate).await;
    proxy.send(&ranged("bytes=0-4")).await;
    let tasks = proxy.start_all(20, &get("/")).await;
    gate.reached(1).await;
    gate.open();
    for response in all(tasks).await {
        assert_eq!((response.status, response.text(), response.complete), (200, BODY, true));
        assert_eq!(response.field("content-range"), None);
    }
    proxy.settled().await;
}

#[tokio::test]
async fn whoever_waits_for_a_part_that_is_combined_gets_that_part() {
    let gate = Gate::new();
    let (_origin, proxy) = ranging_with_a_gate(&gate).await;
    proxy.send(&ranged("bytes=0-2")).await;
    let tasks = proxy.start_all(20, &ranged("bytes=3-5")).await;
    gate.reached(1).await;
    gate.open();
    for response in all(tasks).await {
        assert_eq!((response.status, response.text()), (206, "345"));
        assert_eq!(response.field("content-range"), Some("bytes 3-5/10"));
    }
    proxy.settled().await;
}

// RFC 9110 §13: the client's own precondition is answered from the combined response.
#[tokio::test]
async fn a_conditional_request_that_completes_a_part_is_a_304() {
    let (_origin, proxy) = ranging().await;
    proxy.send(&ranged("bytes=0-4")).await;
    let response = proxy.send(&get("/").with("If-None-Match", "\"v1\"")).await;
    assert_eq!((response.status, response.text()), (304, ""));
}
