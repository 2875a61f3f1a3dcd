//! One fetch for many requests: what is shared, and what a fault or a slow party may cost others.

use crate::support::*;

/// More than any socket buffer holds.
const LARGE: usize = 8 * 1024 * 1024;

fn assert_whole(responses: &[Response], body: &[u8]) {
    for response in responses {
        assert!(
            response.complete && response.status == 200,
            "{} {}",
            response.status,
            response.cache_status()
        );
        assert!(response.body == body, "{} of {} bytes", response.body.len(), body.len());
    }
}

#[tokio::test]
async fn five_hundred_concurrent_misses_are_one_request_to_the_origin() {
    let gate = Gate::new();
    let (origin, proxy) = stage(ok("shared").fresh(600).gate(&gate)).await;
    let tasks = proxy.start_all(500, &get("/")).await;
    origin.arrived(1).await;
    gate.open();
    let responses = all(tasks).await;
    assert_whole(&responses, b"shared");
    assert_eq!(origin.count(), 1);
    assert!(responses.iter().any(|response| response.says("collapsed")));
    proxy.settled().await;
}

#[tokio::test]
async fn one_runtime_for_all_threads_shares_fetches_and_hits_as_well() {
    let gate = Gate::new();
    let origin = Origin::answering(ok("shared").fresh(600).gate(&gate)).await;
    let mut proxy = Proxy::with(&origin, |settings| {
        settings.server.runtime = seawall::server::Runtime::MultiThread;
        settings.server.threads = 2;
    })
    .await;
    let tasks = proxy.start_all(100, &get("/")).await;
    origin.arrived(1).await;
    gate.open();
    assert_whole(&all(tasks).await, b"shared");
    assert!(proxy.get("/").await.is_hit());
    assert_eq!(origin.count(), 1);
    proxy.shutdown().await.expect("a good end");
}

#[tokio::test]
async fn followers_get_the_head_and_the_body_as_they_arrive() {
    let gate = Gate::new();
    let (origin, proxy) = stage(ok("first").then(&gate).body("second").fresh(600)).await;
    let (mut one, mut two) = (proxy.client().await, proxy.client().await);
    one.send(get("/").bytes()).await;
    let of_one = one.begin("GET").await;
    assert_eq!(one.bytes(5).await, b"first");
    two.send(get("/").bytes()).await;
    let of_two = two.begin("GET").await;
    assert_eq!(two.bytes(5).await, b"first", "although the origin has not finished");
    gate.open();
    assert_eq!(one.finish(of_one).await.body, b"second");
    assert_eq!(two.finish(of_two).await.body, b"second");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn when_the_first_client_leaves_midway_the_rest_get_every_byte() {
    let gate = Gate::new();
    let (first, second) = (vec![b'a'; 100_000], vec![b'b'; 100_000]);
    let (origin, proxy) = stage(ok(&first).then(&gate).body(&second).fresh(600)).await;
    let mut leader = proxy.client().await;
    leader.send(get("/").bytes()).await;
    leader.begin("GET").await;
    leader.bytes(first.len()).await;
    let followers = proxy.start_all(20, &get("/")).await;
    leader.reset();
    gate.reached(1).await;
    gate.open();
    let body = [first, second].concat();
    assert_whole(&all(followers).await, &body);
    assert_whole(&[proxy.get("/").await], &body);
    assert_eq!(origin.count(), 1);
    proxy.settled().await;
}

#[tokio::test]
async fn a_storable_fill_is_finished_although_its_only_client_left() {
    let gate = Gate::new();
    let (origin, proxy) = stage(ok("first").then(&gate).body("second").fresh(600)).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    client.begin("GET").await;
    client.reset();
    gate.open();
    let response = proxy.get("/").await;
    assert_eq!((response.text(), response.complete, origin.count()), ("firstsecond", true, 1));
}

#[tokio::test]
async fn a_fetch_that_nobody_reads_and_nobody_may_store_ends() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |mut conn| {
        let held = held.clone();
        async move {
            if conn.request().await.is_some() {
                conn.send(
                    "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 99\r\n\r\nsome",
                )
                .await;
                conn.ended().await;
                held.pass().await;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    client.begin("GET").await;
    client.reset();
    // The origin's script comes here only when its connection has been ended.
    gate.reached(1).await;
}

#[tokio::test]
async fn a_cut_body_looks_whole_to_nobody_and_is_not_stored() {
    for cut in [ok("half").claiming(1000), ok("half").chunked()] {
        for reset in [true, false] {
            let gate = Gate::new();
            let cut = cut.clone().fresh(600).then(&gate);
            let cut = if reset { cut.cut() } else { cut.stop() };
            let (origin, proxy) = stages([cut, ok("whole").fresh(600)]).await;
            let tasks = proxy.start_all(20, &get("/")).await;
            origin.arrived(1).await;
            gate.reached(1).await;
            gate.open();
            for response in all(tasks).await {
                assert!(
                    !response.complete || response.text() == "whole" || response.status >= 500,
                    "{response:?}"
                );
            }
            let later = proxy.get("/").await;
            assert_eq!((later.text(), later.complete), ("whole", true));
            proxy.settled().await;
        }
    }
}

#[tokio::test]
async fn a_fetch_that_fails_before_its_head_fails_nobody_twice_and_tries_no_storm() {
    let gate = Gate::new();
    let (origin, proxy) = stages([Answer::silent(&gate), status(503).gate(&gate)]).await;
    let tasks = proxy.start_all(50, &get("/")).await;
    origin.arrived(1).await;
    gate.open();
    for response in all(tasks).await {
        assert!(response.complete && response.status >= 500, "{response:?}");
    }
    assert!(origin.count() <= 50 + 1, "one bounded retry each at the most: {}", origin.count());
}

// Not one by one: while all of them are held at the origin, all of them are there.
#[tokio::test]
async fn waiters_for_an_uncacheable_answer_are_all_released_at_its_head() {
    const CLIENTS: usize = 100;
    let (first, rest) = (Gate::new(), Gate::new());
    let (of_first, of_rest) = (first.clone(), rest.clone());
    let origin = Origin::start(move |request| {
        let gate = if request.number == 0 { &of_first } else { &of_rest };
        given(&[("Cache-Control", "no-store")]).gate(gate)
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let tasks = proxy.start_all(CLIENTS, &get("/")).await;
    origin.arrived(1).await;
    first.open();
    origin.arrived(CLIENTS).await;
    // The next hundred find the key known, and wait for nobody.
    let next = proxy.start_all(CLIENTS, &get("/")).await;
    origin.arrived(2 * CLIENTS).await;
    rest.open();
    assert_whole(&all(tasks).await, b"body");
    assert_whole(&all(next).await, b"body");
    assert_eq!(origin.count(), 2 * CLIENTS, "nothing shared, nothing repeated");
}

#[tokio::test]
async fn an_answer_that_becomes_cacheable_is_shared_again() {
    let (origin, proxy) =
        stages([given(&[("Cache-Control", "no-store")]), ok("body").fresh(600)]).await;
    proxy.get("/").await;
    proxy.get("/").await;
    assert!(proxy.get("/").await.is_hit());
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn validation_under_load_is_one_request() {
    let gate = Gate::new();
    let answers = [
        ok("body").fresh(60).with("ETag", "\"1\""),
        status(304).fresh(60).with("ETag", "\"1\"").gate(&gate),
    ];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let tasks = proxy.start_all(100, &get("/")).await;
    origin.arrived(2).await;
    gate.open();
    assert_whole(&all(tasks).await, b"body");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_slow_reader_slows_nobody() {
    let body = vec![b'x'; LARGE];
    let (origin, proxy) = stage(ok(&body).fresh(600)).await;
    let mut slow = proxy.client().await.reading_slowly();
    slow.send(get("/").bytes()).await;
    let started = slow.begin("GET").await;
    assert_whole(&proxy.at_once(10, &get("/")).await, &body);
    assert_eq!(slow.finish(started).await.body.len(), body.len());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn different_keys_and_different_variants_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        ok("body").fresh(600).with("Vary", "X-A").gate(&held).with("X-Target", &*request.target)
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut tasks = Vec::new();
    for target in ["/1", "/2", "/3"] {
        tasks.extend(proxy.start_all(1, &get(target)).await);
    }
    origin.arrived(3).await;
    gate.release(3);
    all(tasks).await;
    // What varies is known now: another value names another flight.
    let variants = ["1", "2", "3"].map(|value| get("/1").with("X-A", value));
    let mut tasks = Vec::new();
    for request in &variants {
        tasks.extend(proxy.start_all(1, request).await);
    }
    origin.arrived(6).await;
    gate.open();
    all(tasks).await;
}

#[tokio::test]
async fn followers_of_an_unknown_variant_get_their_own() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        ok(request.field("x-a").unwrap_or("none")).fresh(600).with("Vary", "X-A").gate(&held)
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut tasks = Vec::new();
    for value in ["1", "2", "3", "4"] {
        tasks.extend(proxy.start_all(5, &get("/").with("X-A", value)).await);
    }
    origin.arrived(1).await;
    gate.open();
    for (index, response) in all(tasks).await.iter().enumerate() {
        assert_eq!(response.text(), (index / 5 + 1).to_string());
    }
}

#[tokio::test]
async fn unsafe_requests_are_never_collapsed() {
    let gate = Gate::new();
    let (origin, proxy) =
        stage(ok("done").fresh(600).with("Content-Location", "/").gate(&gate)).await;
    let tasks = proxy.start_all(20, &post("/", "x")).await;
    origin.arrived(20).await;
    gate.open();
    assert_whole(&all(tasks).await, b"done");
}

#[tokio::test]
async fn a_silent_leader_holds_its_followers_no_longer_than_the_bound() {
    let gate = Gate::new();
    let origin = Origin::sequence([Answer::silent(&gate), ok("second").fresh(600)]).await;
    let proxy = Proxy::with(&origin, |s| s.cache().wait = millis(100)).await;
    let leader = proxy.start_all(1, &get("/")).await;
    origin.arrived(1).await;
    for response in proxy.at_once(5, &get("/")).await {
        assert_eq!(response.text(), "second");
    }
    gate.open();
    all(leader).await;
}

#[tokio::test]
async fn collapsing_can_be_turned_off() {
    let gate = Gate::new();
    let origin = Origin::answering(ok("body").fresh(600).gate(&gate)).await;
    let proxy = Proxy::with(&origin, |s| s.cache().collapse = false).await;
    let tasks = proxy.start_all(10, &get("/")).await;
    origin.arrived(10).await;
    gate.open();
    assert_whole(&all(tasks).await, b"body");
}

#[tokio::test]
async fn ranges_and_heads_may_follow_a_fill_and_get_what_they_asked() {
    let gate = Gate::new();
    let (_origin, proxy) = stage(ok("01234").then(&gate).body("56789").fresh(600)).await;
    let whole = proxy.start_all(1, &get("/")).await;
    gate.reached(1).await;
    let ranged = proxy.start_all(3, &get("/").with("Range", "bytes=4-5")).await;
    let heads = proxy.start_all(3, &head("/")).await;
    gate.open();
    assert_whole(&all(whole).await, b"0123456789");
    for response in all(ranged).await {
        assert!(
            matches!((response.status, response.text()), (206, "45") | (200, "0123456789")),
            "{response:?}"
        );
    }
    for response in all(heads).await {
        assert_eq!((response.status, response.field("content-length")), (200, Some("10")));
    }
}
