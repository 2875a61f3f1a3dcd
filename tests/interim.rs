//! Interim responses (RFC 9110 §15.2, RFC 8297).

use crate::support::*;

const LINK: (&str, &str) = ("link", "</style.css>; rel=preload");

#[tokio::test]
async fn interim_responses_reach_an_http1_client_with_their_fields() {
    for code in [102, 103] {
        let answer =
            ok("body").fresh(600).interim(code, &[LINK, ("x-hint", "1")]).with("X-Final", "1");
        let (_origin, proxy) = stage(answer).await;
        let response = proxy.get("/").await;
        let [(status, fields)] = &response.interim[..] else { panic!("{response:?}") };
        assert_eq!(*status, code);
        assert_eq!((find(fields, "link"), find(fields, "x-hint")), (Some(LINK.1), Some("1")));
        assert_eq!((response.status, response.text()), (200, "body"));
        assert_eq!((response.field("link"), response.field("x-hint")), (None, None));
    }
}

#[tokio::test]
async fn several_interim_responses_come_in_order() {
    let answer = ok("body").interim(102, &[]).interim(103, &[LINK]).interim(103, &[("x-b", "2")]);
    let (_origin, proxy) = stage(answer).await;
    let codes: Vec<_> = proxy.get("/").await.interim.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [102, 103, 103]);
}

// RFC 9111 §3: only a final response is stored.
#[tokio::test]
async fn neither_an_interim_response_nor_its_fields_are_stored() {
    let (origin, proxy) = stage(ok("body").fresh(600).interim(103, &[LINK, ("x-hint", "1")])).await;
    proxy.get("/").await;
    let hit = proxy.get("/").await;
    assert_eq!((hit.text(), hit.interim.len(), origin.count()), ("body", 0, 1));
    assert_eq!((hit.field("link"), hit.field("x-hint")), (None, None));
}

#[tokio::test]
async fn an_interim_response_arrives_before_the_final_one_is_ready() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |mut conn| {
        let held = held.clone();
        async move {
            while conn.request().await.is_some() {
                conn.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await;
                held.pass().await;
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody").await;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    let early = String::from_utf8(client.some().await).unwrap();
    assert!(early.starts_with("HTTP/1.1 103"), "{early:?}");
    gate.open();
    assert_eq!(client.exchange_rest().await.text(), "body");
}

// RFC 9110 §15.2: a server must not send 1xx to an HTTP/1.0 client.
#[tokio::test]
async fn an_http_1_0_client_gets_no_interim_response() {
    let (_origin, proxy) = stage(ok("body").interim(103, &[LINK])).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\nHost: example.test\r\n\r\n").await;
    let all = String::from_utf8(client.ended().await).unwrap();
    assert!(!all.contains(" 103 "), "{all}");
    assert!(all.starts_with("HTTP/1.") && all.contains(" 200 ") && all.ends_with("body"), "{all}");
}

#[tokio::test]
async fn with_pipelined_requests_each_answer_stays_whole_and_in_order() {
    let origin =
        Origin::start(|request| ok(&*request.target).interim(103, &[("x-for", &*request.target)]))
            .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    let requests = ["/1", "/2", "/3"].map(|target| get(target).bytes()).concat();
    client.send(requests).await;
    for target in ["/1", "/2", "/3"] {
        let response = client.begin("GET").await;
        for (_, fields) in &response.interim {
            assert_eq!(find(fields, "x-for"), Some(target), "hints come with their own request");
        }
        assert_eq!(client.finish(response).await.text(), target);
    }
}

// RFC 9110 §15.2.2: a 101 that nobody asked for is not an answer.
#[tokio::test]
async fn an_unasked_101_is_an_origin_error() {
    let (_origin, proxy) =
        stage(raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
            .await;
    assert_eq!(proxy.get("/").await.status, 502);
}

#[tokio::test]
async fn an_endless_row_of_interim_responses_is_cut_off() {
    let origin = Origin::script(|mut conn| async move {
        if conn.request().await.is_some() {
            while conn.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await {
                // Lets the other side run: this is one thread.
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.upstream().first_byte_timeout = millis(300)).await;
    assert!(proxy.get("/").await.status >= 500);
}

// RFC 9110 §10.1.1.
#[tokio::test]
async fn expect_100_continue_is_asked_of_the_origin_and_its_answer_told() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |mut conn| {
        let held = held.clone();
        async move {
            while let Some((seen, framing)) = conn.head().await {
                assert_eq!(seen.field("expect"), Some("100-continue"));
                held.pass().await;
                conn.send("HTTP/1.1 100 Continue\r\n\r\n").await;
                let mut framing = framing.expect("a body");
                let mut body = Vec::new();
                while let Some(piece) = conn.piece(&mut framing).await {
                    body.extend(piece);
                }
                let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                conn.send([start.as_bytes(), &body].concat()).await;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: example.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    origin.arrived(1).await;
    gate.open();
    let go_on = String::from_utf8(client.some().await).unwrap();
    assert!(go_on.starts_with("HTTP/1.1 100"), "{go_on:?}");
    client.send("12345").await;
    let response = client.exchange_rest().await;
    assert_eq!((response.status, response.text()), (200, "12345"));
}

#[tokio::test]
async fn an_origin_that_refuses_the_expectation_never_gets_the_body() {
    let origin = Origin::script(|mut conn| async move {
        if conn.head().await.is_some() {
            conn.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
            assert!(conn.some().await.is_empty(), "no body follows");
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: example.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    let response = client.exchange_rest().await;
    assert_eq!(response.status, 413);
    assert!(response.interim.is_empty());
}

#[tokio::test]
async fn an_unknown_expectation_is_refused() {
    let (origin, proxy) = stage(ok("body")).await;
    assert_eq!(proxy.send(&get("/").with("Expect", "miracles")).await.status, 417);
    assert_eq!(origin.count(), 0);
}
