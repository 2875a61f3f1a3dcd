//! Parts of what is not stored, cut from the whole that is fetched for them: `ranges = "fill"`.

use seawall::cache::Ranges;
use seawall::config::Settings;

use crate::support::*;

const BODY: &str = "0123456789";

fn fill(settings: &mut Settings) {
    settings.cache().ranges = Ranges::Fill;
}

fn part(range: &str) -> Request {
    get("/").with("Range", range)
}

/// The part of `body` that a request asks for by `first-last`, with `fields` of the whole.
fn cut(request: &Seen, body: &[u8]) -> Option<Answer> {
    let (first, last) = request.field("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().expect("the tests ask so");
    let last = last.parse().unwrap_or(body.len() - 1);
    let range = format!("bytes {first}-{last}/{}", body.len());
    Some(status(206).fresh(600).with("Content-Range", range).body(&body[first..=last]))
}

fn whole() -> Answer {
    ok(BODY).fresh(600).with("ETag", "\"v1\"")
}

#[tokio::test]
async fn the_whole_is_fetched_once_and_parts_are_cut_from_it() {
    let origin = Origin::answering(whole()).await;
    let proxy = Proxy::with(&origin, fill).await;
    let first = proxy.send(&part("bytes=2-4").with("If-Range", "\"v1\"")).await;
    assert_eq!((first.status, first.text()), (206, "234"));
    assert_eq!(first.field("content-range"), Some("bytes 2-4/10"));
    assert!(first.says("detail=range-fill") && first.says("stored"), "{}", first.cache_status());
    let seen = origin.last();
    assert_eq!((seen.field("range"), seen.field("if-range")), (None, None));
    for (range, expected) in [("bytes=-2", "89"), ("bytes=7-", "789")] {
        let next = proxy.send(&part(range)).await;
        assert_eq!((next.status, next.text(), next.is_hit()), (206, expected, true));
    }
    assert!(proxy.get("/").await.is_hit());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_part_is_sent_as_soon_as_it_is_there() {
    let gate = Gate::new();
    let answer = status(200).fresh(600).claiming(10).body("01234").then(&gate).body("56789");
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::with(&origin, fill).await;
    assert_eq!(proxy.send(&part("bytes=1-3")).await.text(), "123");
    // Its client is gone, and the whole comes all the same.
    let waiting = proxy.start_all(5, &part("bytes=4-6")).await;
    gate.open();
    for response in all(waiting).await {
        assert_eq!((response.status, response.text()), (206, "456"));
    }
    assert_eq!(proxy.get("/").await.text(), BODY);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn all_who_wait_for_parts_or_the_whole_share_one_fetch() {
    let gate = Gate::new();
    let origin = Origin::answering(whole().gate(&gate)).await;
    let proxy = Proxy::with(&origin, fill).await;
    let mut waiting = Vec::new();
    for first in 0..5 {
        waiting.extend(proxy.start_all(2, &part(&format!("bytes={first}-8"))).await);
    }
    waiting.extend(proxy.start_all(2, &get("/")).await);
    eventually("all to wait", || proxy.cache().waiting() == 12).await;
    gate.open();
    let responses = all(waiting).await;
    for (number, response) in responses.iter().enumerate() {
        let expected = if number < 10 { &BODY[number / 2..9] } else { BODY };
        assert_eq!(response.text(), expected);
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn conditions_on_the_part_are_judged_by_the_whole() {
    for (range, condition, expected, body) in [
        ("bytes=2-4", "\"v0\"", 200, BODY),
        ("bytes=2-4", "\"v1\"", 206, "234"),
        ("bytes=10-", "\"v1\"", 416, ""),
        ("lines=1-2", "\"v1\"", 200, BODY),
    ] {
        let origin = Origin::answering(whole()).await;
        let proxy = Proxy::with(&origin, fill).await;
        let response = proxy.send(&part(range).with("If-Range", condition)).await;
        assert_eq!((response.status, response.text()), (expected, body), "{range} {condition}");
        if expected == 416 {
            assert_eq!(response.field("content-range"), Some("bytes */10"));
        }
        eventually("the whole to be stored", || proxy.flights() == 0).await;
        assert!(proxy.get("/").await.is_hit(), "{range} {condition}");
    }
}

#[tokio::test]
async fn a_part_far_behind_what_is_there_is_asked_for_beside_the_whole() {
    let gate = Gate::new();
    let held = gate.clone();
    let body = vec![b'x'; 300_000];
    let sent = body.clone();
    let origin = Origin::start(move |request| {
        let whole = || {
            let beginning = status(200).fresh(600).claiming(300_000).body(&sent[..1000]);
            beginning.then(&held).body(&sent[1000..])
        };
        cut(request, &sent).unwrap_or_else(whole)
    })
    .await;
    let proxy = Proxy::with(&origin, |settings| {
        fill(settings);
        settings.cache().window = 64 * 1024;
    })
    .await;
    for number in 1..3 {
        let response = proxy.send(&part("bytes=299990-299999")).await;
        assert_eq!((response.status, response.body.len()), (206, 10));
        assert!(response.says("detail=range-pass") && !response.says("stored"));
        assert_eq!(origin.count(), number + 1);
    }
    gate.open();
    eventually("the whole to be stored", || proxy.flights() == 0).await;
    let response = proxy.send(&part("bytes=299990-299999")).await;
    assert!(response.is_hit());
    assert_eq!(origin.count(), 3);
}

/// A small part must not cost a large download: what will not be stored is let go, and for a
/// while not asked for again.
#[tokio::test]
async fn what_is_not_to_be_stored_is_not_fetched_for_a_part() {
    let large = || status(200).fresh(600).claiming(1 << 40).body("x");
    for whole in [large(), ok(BODY).with("Cache-Control", "no-store"), ok(BODY)] {
        let origin = Origin::start(move |request| {
            cut(request, BODY.as_bytes()).unwrap_or_else(|| whole.clone())
        })
        .await;
        let proxy = Proxy::with(&origin, fill).await;
        for count in [2, 3] {
            let response = proxy.send(&part("bytes=2-4")).await;
            assert_eq!((response.status, response.text()), (206, "234"));
            assert_eq!(origin.count(), count);
        }
        proxy.settled().await;
    }
}

#[tokio::test]
async fn what_does_not_say_its_length_is_stored_as_far_as_it_may_be() {
    let origin =
        Origin::start(|request| cut(request, BODY.as_bytes()).unwrap_or_else(|| whole().chunked()))
            .await;
    let proxy = Proxy::with(&origin, fill).await;
    let first = proxy.send(&part("bytes=2-4")).await;
    assert_eq!((first.status, first.text(), origin.count()), (206, "234", 2));
    eventually("the whole to be stored", || proxy.flights() == 0).await;
    assert!(proxy.send(&part("bytes=2-4")).await.is_hit());
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_changed_whole_takes_the_place_of_a_stale_one() {
    let (origin, proxy) = {
        let later = ok("abcdefghij").fresh(600).with("ETag", "\"v2\"");
        let origin = Origin::sequence([whole(), later]).await;
        let proxy = Proxy::with(&origin, fill).await;
        (origin, proxy)
    };
    proxy.get("/").await;
    proxy.advance(secs(601));
    let response = proxy.send(&part("bytes=2-4")).await;
    assert_eq!((response.status, response.text()), (206, "cde"));
    let seen = origin.last();
    assert_eq!((seen.field("range"), seen.field("if-none-match")), (None, Some("\"v1\"")));
    assert_eq!(proxy.get("/").await.text(), "abcdefghij");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn with_credentials_or_by_default_the_part_is_asked_for() {
    for fills in [false, true] {
        let origin = Origin::start(|request| cut(request, BODY.as_bytes()).expect("a range")).await;
        let proxy = Proxy::with(&origin, |settings| {
            if fills {
                fill(settings);
            }
        })
        .await;
        let request = part("bytes=2-4");
        let request = if fills { request.with("Authorization", "Basic eDp5") } else { request };
        assert_eq!(proxy.send(&request).await.text(), "234");
        assert_eq!((origin.last().field("range"), origin.count()), (Some("bytes=2-4"), 1));
    }
}
