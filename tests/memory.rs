//! Memory is bounded in bytes, and every charge comes back.

use crate::support::*;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn stored_bytes_stay_within_the_budget_however_many_objects_there_are() {
    let origin = Origin::answering(ok(vec![b'x'; 100_000]).fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| s.store.memory = 4 * MIB).await;
    let mut client = proxy.client().await;
    for number in 0..200 {
        let response = client.exchange(&get(&format!("/{number}"))).await;
        assert_eq!((response.body.len(), response.complete), (100_000, true));
        assert!(proxy.budget().used() <= proxy.budget().limit());
    }
    assert_eq!(proxy.budget().limit(), 4 * MIB);
    proxy.settled().await;
}

// Whoever asks for ever new URLs gets them, and nobody else notices.
#[tokio::test]
async fn a_storm_of_unique_urls_leaves_what_others_use_in_memory() {
    let origin = Origin::answering(ok(vec![b'x'; 20_000]).fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| s.store.memory = 4 * MIB).await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        for number in 0..40 {
            client.exchange(&get(&format!("/used/{number}"))).await;
        }
    }
    for number in 0..800 {
        let response = client.exchange(&get(&format!("/?{number}"))).await;
        assert_eq!((response.body.len(), response.complete), (20_000, true));
        assert!(proxy.budget().used() <= proxy.budget().limit());
    }
    let mut hits = 0;
    for number in 0..40 {
        let response = client.exchange(&get(&format!("/used/{number}"))).await;
        hits += usize::from(response.is_hit());
    }
    assert!(hits >= 38, "{hits} of 40");
    proxy.settled().await;
}

// What is out of date and has no validator is of no use to anybody, however often it was used.
#[tokio::test]
async fn what_is_out_of_date_goes_first_and_what_can_be_validated_stays() {
    let origin = Origin::start(|request| {
        let answer = ok(vec![b'x'; 50_000]);
        match request.target.get(..3) {
            Some("/a/") => answer.fresh(1),
            Some("/v/") if request.field("if-none-match").is_some() => status(304).fresh(1),
            Some("/v/") => answer.fresh(1).with("ETag", "\"v1\""),
            _ => answer.fresh(600),
        }
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.store.memory = 4 * MIB).await;
    let mut client = proxy.client().await;
    // They fill three quarters of the memory; the first kind is used most.
    for _ in 0..5 {
        for number in 0..30 {
            client.exchange(&get(&format!("/a/{number}"))).await;
        }
    }
    for number in 0..30 {
        client.exchange(&get(&format!("/v/{number}"))).await;
    }
    // Past their lifetime and past what they are served for where the origin is silent.
    proxy.advance(secs(120));
    for number in 0..30 {
        client.exchange(&get(&format!("/new/{number}"))).await;
    }
    let held = |kind: &'static str| {
        let url = |number| format!("http://example.test/{kind}/{number}");
        (0..30).filter(|number| proxy.cache().memory().peek(&url(*number)).is_some()).count()
    };
    assert_eq!((held("v"), held("new")), (30, 30));
    assert!(held("a") <= 15, "{}", held("a"));
    let validated = client.exchange(&get("/v/0")).await;
    assert!(validated.says("fwd-status=304"), "{}", validated.cache_status());
    proxy.settled().await;
}

#[tokio::test]
async fn what_is_stored_is_charged_with_its_head_and_key() {
    let (_origin, proxy) = stage(ok("x").fresh(600).with("X-Long", "y".repeat(4000))).await;
    proxy.get(&format!("/{}", "z".repeat(2000))).await;
    let used = || proxy.budget().used();
    eventually("the charge", || used() >= 6000).await;
    assert!(used() < 20_000, "{}", used());
    proxy.settled().await;
}

// Three readers who do not read hold their bytes; a full budget means passing through.
#[tokio::test]
async fn with_the_budget_full_responses_pass_through_unstored() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match &*request.target {
        "/held" => ok(vec![b'h'; 3 * MIB]).then(&held).body("end").fresh(600),
        _ => ok(vec![b'x'; 2 * MIB]).fresh(600),
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.store.memory = 4 * MIB).await;
    let filling = proxy.start_all(1, &get("/held")).await;
    gate.reached(1).await;
    eventually("the fill to take its bytes", || proxy.budget().used() >= 3 * MIB).await;
    for _ in 0..2 {
        let response = proxy.get("/other").await;
        assert_eq!((response.body.len(), response.complete), (2 * MIB, true));
        assert!(!response.is_hit() && proxy.budget().used() <= 4 * MIB);
    }
    gate.open();
    assert!(all(filling).await[0].complete);
    proxy.settled().await;
}

#[tokio::test]
async fn an_evicted_body_stays_charged_until_its_last_reader_has_it() {
    let (_origin, proxy) = stage(ok(vec![b'x'; 8 * MIB]).fresh(600)).await;
    proxy.get("/").await;
    let mut reader = proxy.client().await.reading_slowly();
    reader.send(get("/").bytes()).await;
    let response = reader.begin("GET").await;
    assert!(response.is_hit());
    proxy.purge("all", "", "hard").await;
    assert!(proxy.budget().used() >= 8 * MIB, "still being sent");
    assert_eq!(reader.finish(response).await.body.len(), 8 * MIB);
    proxy.settled().await;
}

#[tokio::test]
async fn an_object_over_the_limit_streams_through_unstored() {
    for (answer, knows) in
        [(ok(vec![b'x'; 3 * MIB]), true), (ok(vec![b'x'; 3 * MIB]).chunked(), false)]
    {
        let origin = Origin::answering(answer.fresh(600)).await;
        let proxy = Proxy::with(&origin, |s| s.cache().max_object_size = MIB as u64).await;
        for asked in 1..3 {
            let response = proxy.get("/").await;
            assert_eq!((response.body.len(), response.complete), (3 * MIB, true));
            assert_eq!(origin.count(), asked);
            assert!(!knows || response.says("detail=too-large"), "{}", response.cache_status());
        }
        proxy.settled().await;
    }
}

#[tokio::test]
async fn readers_of_an_object_that_outgrows_the_limit_all_get_every_byte() {
    let gate = Gate::new();
    let answer = ok(vec![b'a'; MIB / 2]).chunked().then(&gate);
    let answer = (0..8).fold(answer, |answer, _| answer.body(vec![b'b'; MIB / 2])).fresh(600);
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::with(&origin, |s| s.cache().max_object_size = MIB as u64).await;
    let tasks = proxy.start_all(5, &get("/")).await;
    gate.reached(1).await;
    gate.open();
    for response in all(tasks).await {
        assert!(response.complete);
        assert_eq!(response.body.len(), MIB / 2 * 9);
    }
    proxy.settled().await;
}

#[tokio::test]
async fn a_stalled_reader_of_an_oversized_object_is_cut_and_the_others_go_on() {
    let origin = Origin::start(|_| {
        (0..32).fold(ok("").chunked(), |answer, _| answer.body(vec![b'x'; MIB])).fresh(600)
    })
    .await;
    let proxy = Proxy::with(&origin, |s| {
        s.cache().max_object_size = MIB as u64;
        s.cache().stall_timeout = millis(200);
    })
    .await;
    let mut stalled = proxy.client().await.reading_slowly();
    stalled.send(get("/").bytes()).await;
    let begun = stalled.begin("GET").await;
    let response = proxy.get("/").await;
    assert_eq!((response.body.len(), response.complete), (32 * MIB, true));
    let cut = stalled.finish(begun).await;
    assert!(!cut.complete || cut.body.len() == 32 * MIB);
    proxy.settled().await;
}

// The client reads and forgets, the origin makes the bytes as they are taken.
#[tokio::test]
async fn a_quarter_of_a_gibibyte_streams_through_in_bounded_memory() {
    const TOTAL: usize = 256 * MIB;
    if !alone("memory::a_quarter_of_a_gibibyte_streams_through_in_bounded_memory") {
        return;
    }
    let origin = Origin::script(|mut conn| async move {
        while conn.request().await.is_some() {
            let block = vec![b'x'; 64 * 1024];
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\nCache-Control: max-age=600\r\n\r\n"
            ))
            .await;
            for _ in 0..TOTAL / block.len() {
                if !conn.send(&block).await {
                    return;
                }
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    client.begin("GET").await;
    let before = rss();
    let (mut read, mut peak) = (0, before);
    while let Some(piece) = client.piece().await.expect("no cut") {
        read += piece.len();
        peak = peak.max(rss());
        assert!(proxy.budget().used() <= proxy.budget().limit());
    }
    assert_eq!(read, TOTAL);
    // Far above the window of a pass-through and the sockets' buffers, far below the body.
    assert!(peak < before + 64 * MIB, "{} MiB more", (peak - before) / MIB);
    proxy.settled().await;
}
