//! Shutting down (nothing that was accepted is lost) and killing.

use crate::support::*;

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_end() {
    let gate = Gate::new();
    let (origin, mut proxy) = stage(ok("first").then(&gate).body("second")).await;
    let tasks = proxy.start_all(3, &get("/")).await;
    origin.arrived(1).await;
    let ended = proxy.shutdown();
    gate.open();
    for response in all(tasks).await {
        assert_eq!((response.text(), response.complete), ("firstsecond", true));
    }
    within("the end", ended).await.unwrap();
    assert!(tokio::net::TcpStream::connect(proxy.address).await.is_err());
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let (_origin, mut proxy) = stage(ok("body")).await;
    let mut idle = proxy.client().await;
    idle.exchange(&get("/")).await;
    let silent = proxy.client().await;
    let h2 = H2Client::connect(proxy.address).await;
    within("the end", proxy.shutdown()).await.unwrap();
    idle.ended().await;
    drop((silent, h2));
}

#[tokio::test]
async fn what_outlasts_the_grace_time_is_cut() {
    let gate = Gate::new();
    let origin = Origin::answering(ok("first").then(&gate).body("second")).await;
    let mut proxy = Proxy::with(&origin, |s| s.server.grace = millis(100)).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    let response = client.begin("GET").await;
    within("the end", proxy.shutdown()).await.unwrap();
    assert!(!client.finish(response).await.complete);
}

#[tokio::test]
async fn an_h2_client_is_told_and_its_streams_are_finished() {
    let gate = Gate::new();
    let (origin, mut proxy) = stage(ok("first").then(&gate).body("second")).await;
    let client = H2Client::connect(proxy.address).await;
    let exchange = tokio::spawn(async move {
        let mut client = client;
        client.exchange(&get("/")).await
    });
    origin.arrived(1).await;
    let ended = proxy.shutdown();
    gate.open();
    let response = exchange.await.unwrap();
    assert_eq!((response.text(), response.complete), ("firstsecond", true));
    within("the end", ended).await.unwrap();
}

#[tokio::test]
async fn a_keep_alive_connection_is_told_to_close_while_draining() {
    let gate = Gate::new();
    let (origin, mut proxy) = stage(ok("body").gate(&gate)).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    origin.arrived(1).await;
    let ended = proxy.shutdown();
    gate.open();
    let response = client.exchange_rest().await;
    assert_eq!(response.text(), "body");
    client.ended().await;
    within("the end", ended).await.unwrap();
}
