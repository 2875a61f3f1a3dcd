//! What comes at the wrong moment on a connection that is, was or will be in use.

use super::*;

fn one_worker(settings: &mut Settings) {
    settings.server.threads = 1;
}

const RIGHT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright";
const WRONG: &str =
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nwrong";

// A response that nobody has asked for yet answers nobody, not even whoever asks next.
#[tokio::test]
async fn bytes_on_an_idle_connection_are_no_answer() {
    for unasked in [WRONG, "HTTP/1.1 100 Continue\r\n\r\n", "x", "\r\n", "HTTP/1.1 408 T\r\n\r\n"] {
        for request in [get("/2"), post("/2", "x")] {
            let (go, sent) = (Gate::new(), Gate::new());
            let (wait, told) = (go.clone(), sent.clone());
            let origin = Origin::script(move |mut conn| {
                let (wait, told) = (wait.clone(), told.clone());
                async move {
                    while let Some(seen) = conn.request().await {
                        conn.send(RIGHT).await;
                        if seen.number == 0 {
                            wait.pass().await;
                            conn.send(unasked).await;
                            told.pass().await;
                        }
                    }
                }
            })
            .await;
            let proxy = Proxy::with(&origin, one_worker).await;
            proxy.get("/1").await;
            go.open();
            sent.reached(1).await;
            sent.open();
            let response = proxy.send(&request).await;
            assert_eq!((response.status, response.text()), (200, "right"), "{unasked:?}");
            assert_eq!(origin.connections(), 2, "{unasked:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_origin_gave_up_in_between_costs_nobody_an_answer() {
    for reset in [false, true] {
        for request in [get("/2"), post("/2", "x"), put("/2", "x"), delete("/2")] {
            let (go, gone) = (Gate::new(), Gate::new());
            let (wait, told) = (go.clone(), gone.clone());
            let origin = Origin::script(move |mut conn| {
                let (wait, told) = (wait.clone(), told.clone());
                async move {
                    let Some(seen) = conn.request().await else { return };
                    conn.send(RIGHT).await;
                    if seen.number == 0 {
                        wait.pass().await;
                        if reset {
                            conn.reset();
                        } else {
                            drop(conn);
                        }
                        told.pass().await;
                    }
                }
            })
            .await;
            let proxy = Proxy::with(&origin, one_worker).await;
            proxy.get("/1").await;
            go.open();
            gone.reached(1).await;
            let response = proxy.send(&request).await;
            assert_eq!((response.status, response.text()), (200, "right"), "{}", request.method);
            assert_eq!(origin.count(), 2, "{}: nothing was sent twice", request.method);
        }
    }
}

// RFC 9110 §9.2.2: a request that may have been acted on is repeated only if that changes nothing.
#[tokio::test]
async fn a_connection_dropped_as_a_request_arrives() {
    for (request, status, count) in [
        (get("/2"), 200, 3),
        (head("/2"), 200, 3),
        (delete("/2"), 200, 3),
        (request("OPTIONS", "/2"), 200, 3),
        (post("/2", "x"), 502, 2),
        (post("/2", ""), 502, 2),
        (request("PATCH", "/2").body("x"), 502, 2),
        (put("/2", "x"), 502, 2),
    ] {
        for reset in [false, true] {
            let origin = Origin::script(move |mut conn| async move {
                while let Some(seen) = conn.request().await {
                    if seen.number == 1 {
                        if reset {
                            conn.reset();
                        }
                        return;
                    }
                    let body = if seen.method == "HEAD" { "" } else { "right" };
                    conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}")).await;
                }
            })
            .await;
            let proxy = Proxy::with(&origin, one_worker).await;
            proxy.get("/1").await;
            let response = proxy.send(&request).await;
            assert_eq!(response.status, status, "{}: {response:?}", request.method);
            assert_eq!(origin.count(), count, "{}", request.method);
            if status == 502 {
                let told = "seawall; error=connection_terminated";
                assert_eq!(response.field("proxy-status"), Some(told));
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_origin_calls_closed_is_not_used_again_though_it_stays_open() {
    for head in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nright",
        "HTTP/1.1 200 OK\r\nConnection: Close, x\r\nContent-Length: 5\r\n\r\nright",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\nContent-Length: 5\r\n\r\nright",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nright",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 5\r\n\r\nright",
        "HTTP/1.1 200 OK\r\nKeep-Alive: max=0\r\nContent-Length: 5\r\n\r\nright",
    ] {
        let origin = Origin::script(move |mut conn| async move {
            while conn.request().await.is_some() {
                conn.send(head).await;
            }
        })
        .await;
        let proxy = Proxy::with(&origin, one_worker).await;
        for connections in 1..4 {
            assert_eq!(proxy.get("/").await.text(), "right", "{head:?}");
            assert_eq!(origin.connections(), connections, "{head:?}");
        }
    }
}

// A final response before the request is over is one (RFC 9112 §9.3); what is left of the request
// must not become the beginning of the next.
#[tokio::test]
async fn an_answer_before_the_request_is_over_is_the_answer_and_ends_the_connection() {
    for status in [200, 413, 500] {
        let origin = Origin::script(move |mut conn| async move {
            let Some((seen, _)) = conn.head().await else { return };
            if seen.number == 0 {
                conn.send(format!("HTTP/1.1 {status} Early\r\nContent-Length: 5\r\n\r\nearly"))
                    .await;
                conn.ended().await;
            } else {
                conn.send(RIGHT).await;
            }
        })
        .await;
        let proxy = Proxy::with(&origin, one_worker).await;
        let mut client = proxy.client().await;
        client
            .send("POST /1 HTTP/1.1\r\nHost: example.test\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
        let early = client.exchange_rest().await;
        assert_eq!((early.status, early.text()), (status, "early"));
        assert_eq!(proxy.get("/2").await.text(), "right");
        assert_eq!(origin.connections(), 2);
    }
}
