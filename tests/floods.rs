//! Limits and load shedding: what is too much is refused early and cheaply, and what memory holds
//! is still served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall::config::Settings;

use crate::support::*;

/// For a wait that nothing is to end.
const FOREVER: u64 = 600;

fn shed(response: &Response, word: &str) {
    assert_eq!((response.status, response.complete), (503, true), "{response:?}");
    assert!(response.field("retry-after").is_some(), "{response:?}");
    assert!(response.says(&format!("detail={word}")), "{}", response.cache_status());
    let proxy_status = response.field("proxy-status").unwrap_or_default();
    assert!(proxy_status.ends_with("error=connection_limit_reached"), "{proxy_status}");
    assert_eq!(response.field("cache-control"), Some("no-store"));
}

/// Answers `/held…` when the gate says so, and all else at once.
async fn held_at(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |request| {
        let answer = ok("body").fresh(60);
        if request.target.starts_with("/held") { answer.gate(&gate) } else { answer }
    })
    .await
}

#[tokio::test]
async fn hits_are_served_while_misses_are_shed() {
    let gate = Gate::new();
    let origin = held_at(&gate).await;
    let proxy = Proxy::with(&origin, |s| s.proxy.limits.max_waiting = 2).await;
    proxy.get("/stored").await;
    // One at the origin, one that follows it.
    let held = proxy.start_all(1, &get("/held")).await;
    origin.arrived(2).await;
    let following = proxy.start_all(1, &get("/held")).await;
    eventually("both to wait", || waiting(&proxy) == 2).await;
    for _ in 0..3 {
        shed(&proxy.get("/other").await, "too-many-waiting");
        shed(&proxy.get("/held").await, "too-many-waiting");
        shed(&proxy.send(&post("/other", "content")).await, "too-many-waiting");
        assert!(proxy.get("/stored").await.is_hit());
    }
    assert_eq!(origin.count(), 2, "nothing of what was shed reached the origin");
    gate.open();
    assert!(all(held).await[0].complete && all(following).await[0].complete);
    eventually("nobody to wait", || waiting(&proxy) == 0).await;
    assert_eq!(proxy.get("/other").await.status, 200);
    let metrics = proxy.ask_admin(&get("/metrics")).await;
    let counted = "seawall_request_details_total{detail=\"too-many-waiting\"} 9";
    assert!(metrics.text().contains(counted), "{}", metrics.text());
}

#[tokio::test]
async fn what_is_shed_gets_what_is_stale_where_that_is_allowed() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match &*request.target {
        "/held" => ok("body").gate(&held),
        "/allowed" => given(&[("Cache-Control", "max-age=1, stale-if-error=60")]),
        _ => given(&[("Cache-Control", "max-age=1, must-revalidate, stale-if-error=60")]),
    })
    .await;
    let proxy = Proxy::with(&origin, |s| {
        s.proxy.limits.max_waiting = 1;
    })
    .await;
    proxy.get("/allowed").await;
    proxy.get("/forbidden").await;
    proxy.advance(secs(2));
    let first = proxy.start_all(1, &get("/held")).await;
    origin.arrived(3).await;
    let stale = proxy.get("/allowed").await;
    assert_eq!((stale.status, stale.says("detail=stale-if-error")), (200, true), "{stale:?}");
    shed(&proxy.get("/forbidden").await, "too-many-waiting");
    gate.open();
    all(first).await;
}

fn waiting(proxy: &Proxy) -> usize {
    proxy.cache().waiting()
}

#[tokio::test]
async fn an_origin_never_has_more_requests_at_once_than_it_may() {
    const MOST: usize = 3;
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&peak));
    let origin = Origin::script(move |mut conn| {
        let (now, peak) = (Arc::clone(&counted), Arc::clone(&highest));
        async move {
            while conn.request().await.is_some() {
                peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, SeqCst);
                conn.send("ok").await;
            }
        }
    })
    .await;
    let proxy = Proxy::with(&origin, |s| {
        s.upstream().max_requests = MOST;
        s.upstream().queue_timeout = secs(FOREVER);
    })
    .await;
    let mut tasks = Vec::new();
    for number in 0..100 {
        tasks.extend(proxy.start_all(1, &get(&format!("/{number}"))).await);
    }
    for response in all(tasks).await {
        assert_eq!((response.status, response.text()), (200, "ok"));
    }
    assert_eq!(peak.load(SeqCst), MOST);
}

/// One place at the origin, and no patience, or all of it.
fn one_place(patience: u64) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.upstream().max_requests = 1;
        settings.upstream().queue_timeout = secs(patience);
    }
}

#[tokio::test]
async fn a_busy_origin_is_spared_and_stale_is_served_instead_where_that_is_allowed() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match &*request.target {
        "/held" => ok("body").gate(&held),
        _ => given(&[("Cache-Control", "max-age=1, stale-if-error=60")]),
    })
    .await;
    let proxy = Proxy::with(&origin, one_place(0)).await;
    proxy.get("/stored").await;
    proxy.advance(secs(2));
    let first = proxy.start_all(1, &get("/held")).await;
    origin.arrived(2).await;
    shed(&proxy.get("/other").await, "origin-busy");
    let stale = proxy.get("/stored").await;
    assert_eq!((stale.status, stale.says("detail=stale-if-error")), (200, true), "{stale:?}");
    assert_eq!(origin.count(), 2);
    gate.open();
    all(first).await;
    assert_eq!(proxy.get("/other").await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_its_turn() {
    let gate = Gate::new();
    let origin = held_at(&gate).await;
    let proxy = Proxy::with(&origin, one_place(FOREVER)).await;
    let first = proxy.start_all(1, &get("/held")).await;
    origin.arrived(1).await;
    let mut leaving = proxy.client().await;
    leaving.send(request("POST", "/left").bytes()).await;
    eventually("it to wait", || waiting(&proxy) == 2).await;
    leaving.reset();
    eventually("it to leave", || waiting(&proxy) == 1).await;
    gate.open();
    all(first).await;
    assert_eq!(proxy.get("/other").await.status, 200);
    assert!(origin.requests().iter().all(|request| request.target != "/left"));
}

/// Each way in which an exchange can end, and the next one has the place.
#[tokio::test]
async fn a_place_is_free_again_however_an_exchange_ends() {
    let origin = Origin::start(move |request| match &*request.target {
        "/whole" => ok("body").fresh(60),
        "/chunked" => ok("body").chunked(),
        "/closed" => ok("body").until_close(),
        "/empty" => status(204),
        "/error" => status(500).body("body"),
        "/hung-up" => Answer::hang_up(),
        "/garbage" => raw("garbage\r\n\r\n"),
        "/cut" => ok("body").claiming(1000).cut(),
        "/twice" => raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        _ => ok("other"),
    })
    .await;
    let proxy = Proxy::with(&origin, one_place(FOREVER)).await;
    let ends =
        ["whole", "chunked", "closed", "empty", "error", "hung-up", "garbage", "cut", "twice"];
    for end in ends {
        for method in ["HEAD", "POST", "GET"] {
            proxy.send(&request(method, &format!("/{end}"))).await;
        }
        let validation = get(&format!("/{end}")).with("If-None-Match", "\"x\"");
        proxy.send(&validation).await;
        assert_eq!(proxy.get(&format!("/after-{end}")).await.status, 200, "after {end}");
    }
}

#[tokio::test]
async fn a_place_is_free_again_when_a_client_leaves_midway() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        if !request.target.starts_with("/half") {
            return ok("body");
        }
        let first = ok(vec![b'x'; 100_000]).with("Cache-Control", "no-store");
        first.then(&held).body("end")
    })
    .await;
    let proxy = Proxy::with(&origin, one_place(FOREVER)).await;
    for number in 0..3 {
        let mut client = proxy.client().await;
        client.send(get(&format!("/half{number}")).bytes()).await;
        client.begin("GET").await;
        client.bytes(1000).await;
        client.reset();
        assert_eq!(proxy.get(&format!("/after{number}")).await.status, 200);
    }
}

#[tokio::test]
async fn more_requests_than_allowed_in_all_are_told_to_come_back_and_do_not_count() {
    let gate = Gate::new();
    let origin = held_at(&gate).await;
    let proxy = Proxy::with(&origin, |s| s.proxy.limits.max_in_flight = 2).await;
    proxy.get("/stored").await;
    proxy.measured("seawall_requests_in_flight 0").await;
    let mut held = proxy.start_all(1, &get("/held1")).await;
    held.extend(proxy.start_all(1, &get("/held2")).await);
    origin.arrived(3).await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        // What would be a hit has to be worked on, too.
        shed(&client.exchange(&get("/stored")).await, "overloaded");
    }
    gate.open();
    assert!(all(held).await.iter().all(|response| response.status == 200));
    proxy.measured("seawall_requests_in_flight 0").await;
    assert!(client.exchange(&get("/stored")).await.is_hit());
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn one_client_address_has_no_more_requests_at_once_than_it_may() {
    let gate = Gate::new();
    let origin = held_at(&gate).await;
    let proxy = Proxy::with(&origin, |s| {
        s.proxy.limits.max_in_flight_per_client = Some(1);
        s.proxy.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let of = |target: &str, client: &str| get(target).with("X-Forwarded-For", client);
    let first = proxy.start_all(1, &of("/held", "192.0.2.1")).await;
    origin.arrived(1).await;
    let refused = proxy.send(&of("/stored", "192.0.2.9, 192.0.2.1")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.field("retry-after").is_some() && refused.says("detail=client-limit"));
    // Another client, and the trusted peer itself, which speaks for many.
    assert_eq!(proxy.send(&of("/stored", "192.0.2.2")).await.status, 200);
    let own = proxy.start_all(2, &get("/held")).await;
    gate.open();
    for response in all(own).await {
        assert_eq!(response.status, 200);
    }
    all(first).await;
    eventually("the place to be free", || true).await;
    assert_eq!(proxy.send(&of("/stored", "192.0.2.1")).await.status, 200);
}

/// All file descriptors that this process may still have, of which there are [`SPARE`] at least
/// whatever it was started with; dropped one by one, that many are free.
fn take_all_descriptors() -> Vec<std::fs::File> {
    const SPARE: u64 = 32;
    let open = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let highest = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    let (_, hard) = rlimit::Resource::NOFILE.get().expect("a limit");
    let limit = highest.max().expect("some are open") + 1 + SPARE;
    rlimit::Resource::NOFILE.set(limit, hard).expect("lowering is allowed");
    let all: Vec<_> = what_is_left().collect();
    assert!(all.len() as u64 >= SPARE);
    all
}

fn what_is_left() -> impl Iterator<Item = std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok())
}

// The limit is the process's, and both ends of all connections are in it.
#[tokio::test]
async fn without_descriptors_hits_are_served_and_the_rest_is_told_to_come_back() {
    if !alone("floods::without_descriptors_hits_are_served_and_the_rest_is_told_to_come_back") {
        return;
    }
    let mut origin = Origin::start(|request| match &*request.target {
        "/stale" => given(&[("Cache-Control", "max-age=1, stale-if-error=60")]),
        _ => ok("body").fresh(600).closing(),
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.upstream().max_idle = 0).await;
    let mut client = proxy.client().await;
    client.exchange(&get("/stored")).await;
    client.exchange(&get("/stale")).await;
    proxy.advance(secs(2));
    let mut descriptors = take_all_descriptors();
    let hit = client.exchange(&get("/stored")).await;
    assert!(hit.is_hit(), "{hit:?}");
    assert!(hit.field("connection").is_none(), "{hit:?}");
    // What was still being closed has become free.
    for number in 0.. {
        let response = client.exchange(&get(&format!("/other{number}"))).await;
        assert!(response.field("connection").is_none(), "{response:?}");
        if response.status == 503 {
            shed(&response, "no-descriptors");
            break;
        }
        descriptors.extend(what_is_left());
    }
    assert_eq!(client.exchange(&get("/stale")).await.status, 200);
    // An idle connection gives way, and its descriptor goes to the one that has a request. Not to
    // the first perhaps, while connections to the origin are still being closed.
    let mut served = Vec::new();
    for _ in 0..4 {
        // One for this end of a connection, and none for the other.
        descriptors.extend(what_is_left());
        descriptors.pop();
        let mut waiting = proxy.client().await;
        assert!(waiting.exchange(&get("/stored")).await.is_hit());
        served.push(waiting);
    }
    assert!(client.ended().await.is_empty());
    let mut waiting = served.pop().expect("four were");
    drop(descriptors);
    // The scripted origin is not as patient.
    origin.refuse().await;
    origin.resume().await;
    assert_eq!(waiting.exchange(&get("/other")).await.status, 200);
    assert_eq!(proxy.get("/another").await.status, 200);
}

/// RFC 9110 §15.5.14, for bodies that don't tell their length before.
#[tokio::test]
async fn a_body_over_the_bound_is_refused_however_it_comes_and_nothing_is_stored() {
    let origin = Origin::script(|mut conn| async move {
        // Answers what has come whole, and nothing else.
        while conn.request().await.is_some() {
            conn.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nok",
            )
            .await;
        }
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.proxy.limits.max_body_bytes = Some(10)).await;
    let chunked = |chunks: &str| {
        format!(
            "POST /x HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        )
    };
    let mut client = proxy.client().await;
    client.send(chunked("5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n")).await;
    assert_eq!(client.exchange_rest().await.status, 200, "the bound itself is allowed");
    for over in ["b\r\n12345678901\r\n0\r\n\r\n", "5\r\n12345\r\n5\r\n12345\r\n1\r\n1\r\n0\r\n\r\n"]
    {
        let mut client = proxy.client().await;
        client.send(chunked(over)).await;
        let refused = client.exchange_rest().await;
        assert_eq!(refused.status, 413, "{refused:?}");
        assert!(refused.says("detail=body-too-large"), "{}", refused.cache_status());
    }
    let mut client = H2Client::connect(proxy.address).await;
    assert_eq!(client.exchange(&post("/x", "12345678901")).await.status, 413);
    assert_eq!(client.exchange(&post("/x", "1234567890")).await.status, 200);
    assert!(!proxy.get("/x").await.is_hit());
}

/// RFC 9110 §17.15: what a range can pull, from the origin and from here.
#[tokio::test]
async fn ranges_pull_no_more_than_was_asked_and_no_more_than_there_is() {
    const WHOLE: usize = 100_000;
    let origin = Origin::start(|request| match request.field("range") {
        Some("bytes=0-0") => status(206)
            .with("Content-Range", "bytes 0-0/1000000000")
            .with("ETag", "\"a\"")
            .body("x")
            .fresh(60),
        Some(range) => panic!("{range} was asked"),
        None => ok(vec![b'x'; WHOLE]).fresh(60),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    // One byte of something huge: one byte is fetched, and kept.
    let one = proxy.send(&get("/huge").with("Range", "bytes=0-0")).await;
    assert_eq!((one.status, one.body.len()), (206, 1));
    assert!(proxy.send(&get("/huge").with("Range", "bytes=0-0")).await.is_hit());
    assert_eq!(origin.count(), 1);
    // Overlapping ranges are joined, many are not read, and no answer outgrows the whole.
    proxy.get("/stored").await;
    let ranges = |range: &str, count: usize| format!("bytes={}", vec![range; count].join(","));
    for (range, status, most) in [
        (ranges("0-", 16), 206, WHOLE),
        (ranges("0-", 17), 200, WHOLE),
        (ranges("0-", 1000), 200, WHOLE),
        (ranges("5-5", 16), 206, 1),
        (
            (0..16).map(|n| format!("{}-{}", n * 10, n * 10)).collect::<Vec<_>>().join(","),
            200,
            WHOLE,
        ),
        (
            format!(
                "bytes={}",
                (0..16).map(|n| format!("{0}-{0}", n * 10)).collect::<Vec<_>>().join(",")
            ),
            206,
            16 * 200,
        ),
    ] {
        let response = proxy.send(&get("/stored").with("Range", &*range)).await;
        assert_eq!((response.status, response.is_hit()), (status, true), "{range}");
        assert!(response.body.len() <= most, "{range}: {} bytes", response.body.len());
    }
}

#[tokio::test]
async fn storms_of_keys_and_variants_stay_within_the_budget_and_memory_does_not_grow() {
    const MIB: usize = 1024 * 1024;
    if !alone("floods::storms_of_keys_and_variants_stay_within_the_budget_and_memory_does_not_grow")
    {
        return;
    }
    let origin = Origin::start(|request| {
        let answer = ok(vec![b'x'; 100_000]).with("X-Long", "h".repeat(2000));
        match request.target.split('/').nth(1) {
            Some("vary") => answer.fresh(600).with("Vary", "X-Variant"),
            Some("private") => answer.with("Cache-Control", "private"),
            _ => answer.fresh(600),
        }
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.store.memory = 4 * MIB).await;
    let mut client = proxy.client().await;
    let mut before = 0;
    for number in 0..900 {
        let request = match number % 3 {
            0 => get(&format!("/key/{number}?{}", "q".repeat(2000))),
            1 => get("/vary").with("X-Variant", format!("{number}{}", "v".repeat(2000))),
            _ => get(&format!("/private/{number}")),
        };
        let response = client.exchange(&request).await;
        assert_eq!((response.status, response.complete), (200, true));
        assert!(proxy.budget().used() <= proxy.budget().limit());
        if number == 200 {
            // The store has been full for a while.
            before = rss();
        }
    }
    let grown = rss().saturating_sub(before);
    // What passed through is 70 MiB; the scripted origin's record of it is 2 KiB a request.
    assert!(grown < 32 * MIB, "{} MiB", grown / MIB);
    proxy.settled().await;
}

#[tokio::test]
async fn the_admin_listener_answers_while_clients_have_all_places() {
    let gate = Gate::new();
    let origin = held_at(&gate).await;
    let proxy = Proxy::with(&origin, |s| {
        s.server.limits.max_connections = 1;
        s.proxy.limits.max_in_flight = 1;
    })
    .await;
    let held = proxy.start_all(1, &get("/held")).await;
    origin.arrived(1).await;
    assert!(proxy.client().await.ended().await.is_empty());
    for target in ["/healthz", "/readyz", "/stats"] {
        assert_eq!(proxy.ask_admin(&get(target)).await.status, 200);
    }
    let metrics = proxy.ask_admin(&get("/metrics")).await;
    for line in [
        "seawall_connections_rejected_total 1",
        "seawall_requests_waiting 1.0",
        "seawall_upstream_requests{upstream=\"origin\"} 1.0",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}");
    }
    gate.open();
    all(held).await;
}

// A validation that fails asks again: it must not wait for a place that it holds itself.
#[tokio::test]
async fn a_fetch_that_asks_again_does_not_wait_for_itself() {
    let stale = |tag: &str| status(200).with("ETag", tag).with("Cache-Control", "max-age=1");
    let origin = Origin::sequence([
        stale("\"a\"").body("one"),
        status(304).with("ETag", "\"b\""),
        stale("\"c\"").body("two"),
    ])
    .await;
    let proxy = Proxy::with(&origin, one_place(0)).await;
    assert_eq!(proxy.get("/").await.text(), "one");
    proxy.advance(secs(2));
    let again = proxy.get("/").await;
    assert_eq!((again.status, again.text()), (200, "two"));
    assert!(again.says("detail=validator-mismatch"), "{}", again.cache_status());
}
