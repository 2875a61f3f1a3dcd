//! Defects that were found and mended, each with the test that would have found it.

use crate::support::*;

const WHOLE: &str = "0123456789";

fn part(range: &str, body: &str) -> Answer {
    status(206).with("Content-Range", range).with("ETag", "\"a\"").fresh(600).body(body)
}

fn tagged(body: &str, tag: &str) -> Answer {
    ok(body).with("ETag", tag)
}

fn ranged(range: &str) -> Request {
    get("/").with("Range", range)
}

/// A proxy that trusts its peer and lets `network` purge.
async fn behind_a_front(network: &str) -> (Origin, Proxy) {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let proxy = Proxy::with(&origin, |settings| {
        settings.proxy.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        settings.proxy.purge.allow = vec![network.parse().expect("a network")];
    })
    .await;
    (origin, proxy)
}

/// An origin that serves any range of a large object of one letter.
async fn large_object() -> Origin {
    Origin::start(|request| {
        let range = request.field("range").expect("the test asks for ranges");
        let (first, last) = range.trim_start_matches("bytes=").split_once('-').expect("a range");
        let [first, last] = [first, last].map(|end| end.parse::<usize>().expect("a number"));
        part(&format!("bytes {first}-{last}/99999999"), &"x".repeat(last - first + 1))
    })
    .await
}

/// Waits until less than `most` bytes are charged; what was replaced is freed a little later.
async fn bounded(proxy: &Proxy, most: usize) {
    let budget = proxy.budget();
    for _ in 0..100 {
        // Asking for them settles the store.
        proxy.ask_admin(&get("/stats")).await;
        if budget.used() < most {
            return;
        }
    }
    panic!("{} bytes are charged", budget.used());
}

// It was a 500 with the part's own freshness, which other caches could have stored.
#[tokio::test]
async fn a_stored_part_is_no_answer_to_a_get_that_failed() {
    let (_origin, proxy) = stages([part("bytes 0-4/10", "01234"), Answer::hang_up()]).await;
    proxy.send(&ranged("bytes=0-4")).await;
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.field("etag")), (502, None));
}

// RFC 9110 §13.1.5: with another version in hand, a client must get everything.
#[tokio::test]
async fn followers_with_another_if_range_do_not_get_the_leaders_part() {
    let gate = Gate::new();
    let answers = [part("bytes 5-9/10", "56789").gate(&gate), tagged(WHOLE, "\"a\"")];
    let (origin, proxy) = stages(answers).await;
    let one = proxy.start_all(1, &ranged("bytes=5-9")).await;
    origin.arrived(1).await;
    let old = ranged("bytes=5-9").with("If-Range", "\"old\"");
    let two = proxy.start_all(1, &old).await;
    origin.arrived(2).await;
    gate.open();
    all(one).await;
    let two = all(two).await.remove(0);
    assert_eq!((two.status, two.text()), (200, WHOLE));
}

// A request that the origin refuses says nothing of the resource.
#[tokio::test]
async fn a_416_does_not_end_sharing() {
    let gate = Gate::new();
    let refused = status(416).with("Content-Range", "bytes */10");
    let (origin, proxy) = stages([refused, ok("shared").fresh(600).gate(&gate)]).await;
    proxy.send(&ranged("bytes=99-")).await;
    let tasks = proxy.start_all(20, &get("/")).await;
    origin.arrived(2).await;
    gate.open();
    all(tasks).await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn overlapping_parts_pin_no_more_than_twice_what_they_hold() {
    let origin = large_object().await;
    let proxy = Proxy::start(&origin).await;
    for shift in 0..40 {
        proxy.send(&ranged(&format!("bytes={shift}-{}", 99_999 + shift))).await;
    }
    bounded(&proxy, 400_000).await;
}

#[tokio::test]
async fn joined_parts_are_no_larger_than_an_object_may_be() {
    const MOST: u64 = 100_000;
    let origin = large_object().await;
    let proxy = Proxy::with(&origin, |settings| settings.cache().max_object_size = MOST).await;
    for start in (0..1_000_000).step_by(50_000) {
        proxy.send(&ranged(&format!("bytes={start}-{}", start + 49_999))).await;
    }
    bounded(&proxy, 200_000).await;
}

// RFC 9111 §3.5 keeps its answer from others; what others have is none of its concern.
#[tokio::test]
async fn an_authorized_validation_takes_nothing_from_the_store() {
    let fresh = || status(304).with("ETag", "\"1\"").fresh(600);
    let (_origin, proxy) = stages([tagged("a", "\"1\"").fresh(1), fresh(), fresh()]).await;
    proxy.get("/").await;
    proxy.advance(secs(5));
    proxy.send(&get("/").with("Authorization", "Basic eDp5")).await;
    let later = proxy.get("/").await;
    assert_eq!((later.status, later.text()), (200, "a"));
}

// RFC 9110 §14.2: only GET has ranges.
#[tokio::test]
async fn a_head_with_a_range_is_answered_as_one_without() {
    let (_origin, proxy) = stages([part("bytes 0-4/10", "01234"), ok(WHOLE)]).await;
    proxy.send(&ranged("bytes=0-4")).await;
    let response = proxy.send(&head("/").with("Range", "bytes=0-4")).await;
    assert_eq!(response.status, 200);
}

// RFC 9110 §13.1.1, §13.1.2: the origin was not asked, so the answer is judged here.
#[tokio::test]
async fn preconditions_hold_for_answers_that_are_not_stored() {
    let private = || tagged("v2", "\"2\"").with("Cache-Control", "private");
    let (_origin, proxy) = stages([tagged("v1", "\"1\"").fresh(1), private(), private()]).await;
    proxy.get("/").await;
    proxy.advance(secs(5));
    assert_eq!(proxy.send(&get("/").with("If-Match", "\"1\"")).await.status, 412);
    assert_eq!(proxy.send(&get("/").with("If-None-Match", "\"2\"")).await.status, 304);
}

// RFC 9111 §5.2.1.7.
#[tokio::test]
async fn only_if_cached_holds_beside_no_store() {
    let (origin, proxy) = stage(ok("a").fresh(600)).await;
    let asked = get("/").with("Cache-Control", "no-store, only-if-cached");
    assert_eq!((proxy.send(&asked).await.status, origin.count()), (504, 0));
}

#[tokio::test]
async fn the_client_is_the_last_hop_however_many_are_listed() {
    let (_origin, proxy) = behind_a_front("10.0.0.0/8").await;
    let hops = format!("{}203.0.113.9", "10.0.0.1, ".repeat(64));
    let purge = request("PURGE", "/").with("X-Forwarded-For", hops);
    assert_eq!(proxy.send(&purge).await.status, 403);
}

#[tokio::test]
async fn an_unreadable_hop_gives_nobody_the_fronts_rights() {
    let (_origin, proxy) = behind_a_front("127.0.0.0/8").await;
    for hops in ["\"x, 203.0.113.9", "unknown", "\"203.0.113.9"] {
        let purge = request("PURGE", "/").with("X-Forwarded-For", hops);
        assert_eq!(proxy.send(&purge).await.status, 403, "{hops}");
    }
}

#[tokio::test]
async fn what_was_purged_while_it_was_validated_is_not_served_when_that_fails() {
    let gate = Gate::new();
    let (origin, proxy) = stages([tagged("old", "\"1\"").fresh(1), Answer::silent(&gate)]).await;
    proxy.get("/x").await;
    proxy.advance(secs(5));
    let tasks = proxy.start_all(1, &get("/x")).await;
    origin.arrived(2).await;
    proxy.purge("all", "", "hard").await;
    gate.open();
    assert_eq!(all(tasks).await.remove(0).status, 502);
}

#[tokio::test]
async fn a_purge_during_a_validation_does_not_end_sharing() {
    let (validated, filled) = (Gate::new(), Gate::new());
    let answers = [
        tagged("a", "\"1\"").fresh(1),
        status(304).with("ETag", "\"1\"").fresh(600).gate(&validated),
        ok("b").fresh(600).gate(&filled),
    ];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/x").await;
    proxy.advance(secs(5));
    let one = proxy.start_all(1, &get("/x")).await;
    origin.arrived(2).await;
    proxy.purge("url", "http://example.test/x", "hard").await;
    validated.open();
    all(one).await;
    let tasks = proxy.start_all(20, &get("/x")).await;
    origin.arrived(3).await;
    filled.open();
    all(tasks).await;
    assert_eq!(origin.count(), 3);
}

// RFC 9111 §4.4: the method is unsafe, whatever else the request asks for.
#[tokio::test]
async fn a_post_that_asks_to_upgrade_invalidates_all_the_same() {
    let (_origin, proxy) = stage(ok("a").fresh(600)).await;
    proxy.get("/").await;
    let upgrade = post("/", "x").with("Upgrade", "x").with("Connection", "upgrade");
    proxy.send(&upgrade).await;
    assert!(!proxy.get("/").await.is_hit());
}

// RFC 9110 §8.6.
#[tokio::test]
async fn a_head_of_a_stored_204_has_no_length() {
    let (_origin, proxy) = stage(status(204).fresh(600)).await;
    proxy.get("/").await;
    let response = proxy.send(&head("/")).await;
    assert!(response.is_hit());
    assert_eq!(response.field("content-length"), None);
}

// One shared retry, and then the error: a failing origin is not asked by everybody who waits.
#[tokio::test]
async fn waiters_for_a_server_error_do_not_all_ask_again() {
    let gate = Gate::new();
    let (origin, proxy) = stage(status(503).gate(&gate)).await;
    let tasks = proxy.start_all(100, &get("/")).await;
    origin.arrived(1).await;
    gate.open();
    for response in all(tasks).await {
        assert_eq!(response.status, 503);
    }
    assert!(origin.count() < 50, "{}", origin.count());
}

// RFC 9111 §4.3.5: a HEAD vouches for stored bytes only by a validator of its own.
#[tokio::test]
async fn a_head_without_a_validator_freshens_nothing() {
    for stored in [ok("old").fresh(1), tagged("old", "\"1\"").fresh(1)] {
        let (_origin, proxy) = stages([stored, ok("new").fresh(600), ok("new").fresh(600)]).await;
        proxy.get("/").await;
        proxy.advance(secs(5));
        proxy.send(&head("/")).await;
        assert_eq!(proxy.get("/").await.text(), "new");
    }
}

#[tokio::test]
async fn a_head_leaves_a_fresh_part_alone() {
    let (_origin, proxy) =
        stages([part("bytes 0-4/10", "01234"), tagged(WHOLE, "\"a\"").fresh(600)]).await;
    proxy.send(&ranged("bytes=0-4")).await;
    proxy.send(&head("/")).await;
    assert!(proxy.send(&ranged("bytes=0-4")).await.is_hit());
}

// A request that had waited used what it had found before the purge, and stored it anew.
#[tokio::test]
async fn a_hard_purge_is_not_undone_by_a_request_that_was_waiting() {
    let (first, second) = (Gate::new(), Gate::new());
    let (of_first, of_second) = (first.clone(), second.clone());
    let origin = Origin::start(move |request| match request.number {
        0 => tagged("old", "\"1\"").fresh(1),
        1 => status(304).with("ETag", "\"1\"").fresh(600).gate(&of_first),
        _ if request.field("if-none-match").is_some() => {
            status(304).with("ETag", "\"1\"").fresh(600)
        }
        _ => ok("new").fresh(600).gate(&of_second),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/x").await;
    proxy.advance(secs(5));
    let tasks = proxy.start_all(20, &get("/x")).await;
    origin.arrived(2).await;
    proxy.purge("url", "http://example.test/x", "hard").await;
    first.open();
    second.open();
    all(tasks).await;
    assert_eq!(proxy.get("/x").await.text(), "new");
}

// RFC 9110 §14.2: nobody gets the part that somebody else asked for.
#[tokio::test]
async fn ranges_that_waited_together_for_a_validation_stay_apart() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match (request.number, request.field("range")) {
        (0, _) => tagged(WHOLE, "\"a\"").fresh(1),
        (1, _) => status(500).gate(&held),
        (_, Some("bytes=0-1")) => part("bytes 0-1/10", "01"),
        (_, Some("bytes=8-9")) => part("bytes 8-9/10", "89"),
        _ => tagged(WHOLE, "\"a\"").fresh(600),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/").await;
    proxy.advance(secs(5));
    let mut tasks = proxy.start_all(10, &ranged("bytes=0-1")).await;
    origin.arrived(2).await;
    let others = proxy.start_all(10, &ranged("bytes=8-9")).await;
    proxy.purge("all", "", "hard").await;
    gate.open();
    for response in all(others).await {
        assert!(response.status == 500 || response.text() == "89", "{response:?}");
    }
    for response in all(tasks.split_off(1)).await {
        assert!(response.status == 500 || response.text() == "01", "{response:?}");
    }
}

// RFC 7239 elements are told apart by commas that an open quote cannot hide.
#[tokio::test]
async fn a_quote_in_forwarded_hides_nobody() {
    let (_origin, proxy) = behind_a_front("10.0.0.0/8").await;
    let hops = "x=\"1;for=10.0.0.1;y, for=203.0.113.9";
    let purge = request("PURGE", "/").with("Forwarded", hops);
    assert_eq!(proxy.send(&purge).await.status, 403);
}

// RFC 9111 §4.3.2: the origin was told of it, and its verdict counts.
#[tokio::test]
async fn an_if_match_that_the_origin_accepts_is_no_412() {
    let (_origin, proxy) = stage(tagged("a", "W/\"1\"").fresh(600)).await;
    let response = proxy.send(&get("/").with("If-Match", "\"1\"")).await;
    assert_eq!((response.status, response.text()), (200, "a"));
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_counted() {
    let gate = Gate::new();
    let (origin, proxy) = stage(ok("late").gate(&gate)).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    origin.arrived(1).await;
    client.reset();
    let counted = "seawall_request_details_total{detail=\"client-aborted\"} 1";
    let asked =
        async { while !proxy.ask_admin(&get("/metrics")).await.text().contains(counted) {} };
    within("the count", asked).await;
    gate.open();
}

// Nothing is stored yet, so only the fill under way tells what the answer varies by.
#[tokio::test]
async fn another_variant_of_a_cold_key_is_shared_while_the_first_still_arrives() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        let variant = request.field("x-a").unwrap_or_default().to_owned();
        let answer =
            given(&[("Cache-Control", "max-age=600"), ("Vary", "X-A"), ("X-Is", &variant)]);
        if variant == "1" { answer.then(&held).body("more") } else { answer.gate(&held) }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let of = |value: &str| get("/").with("X-A", value);
    let mut first = proxy.client().await;
    first.send(of("1").bytes()).await;
    let begun = first.begin("GET").await;
    let tasks = proxy.start_all(20, &of("2")).await;
    origin.arrived(2).await;
    gate.open();
    first.finish(begun).await;
    for response in all(tasks).await {
        assert_eq!((response.status, response.field("x-is")), (200, Some("2")));
    }
    let of_the_second =
        origin.requests().iter().filter(|seen| seen.field("x-a") == Some("2")).count();
    assert_eq!(of_the_second, 1);
}

// hyper sends HTTP/1.0 on a connection whose last response was of that version, and then a body
// of unknown length not at all.
#[tokio::test]
async fn an_upload_is_not_lost_on_a_connection_of_an_old_origin() {
    let origin = Origin::script(|mut conn| async move {
        while conn.request().await.is_some() {
            let head = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n";
            conn.send(format!("{head}ok")).await;
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/").await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send("3\r\nabc\r\n0\r\n\r\n").await;
    assert_eq!(client.exchange_rest().await.text(), "ok");
    assert_eq!(origin.last().body, b"abc");
}

// A head that comes in pieces is not looked at by hyper before its end, which a fault hides.
#[tokio::test]
async fn a_bare_lf_in_the_second_piece_of_a_head_is_refused_at_once() {
    let (origin, proxy) = stage(ok("body")).await;
    let long = "x".repeat(100);
    let mut client = proxy.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\n")).await;
    assert_eq!(client.exchange_rest().await.status, 400);
    assert_eq!(origin.count(), 0);
}
