//! Bodies without end: the transfer ends when nobody reads it, at once or, where it may be stored,
//! after `fill_grace` at the latest.

use http_body_util::BodyExt;

use super::*;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";
const ENORMOUS: &str = "Content-Length: 1000000000000000000\r\n\r\n";
const UNTIL_CLOSE: &str = "\r\n";

/// Sends a body for ever, and tells the gate when the proxy has left.
async fn endless(head: String, piece: Vec<u8>, pace: Option<u64>, left: &Gate) -> Origin {
    let left = left.clone();
    Origin::script(move |mut conn| {
        let (head, piece, left) = (head.clone(), piece.clone(), left.clone());
        async move {
            if conn.request().await.is_some() {
                conn.send(&head).await;
                let mut pace = pace.map(|pace| tokio::time::interval(millis(pace)));
                while conn.send(&piece).await {
                    match &mut pace {
                        Some(pace) => _ = pace.tick().await,
                        None => tokio::task::yield_now().await,
                    }
                }
                left.pass().await;
            }
        }
    })
    .await
}

fn piece(framing: &str, size: usize) -> Vec<u8> {
    let bytes = vec![b'x'; size];
    if framing == CHUNKED {
        [format!("{size:x}\r\n").as_bytes(), &bytes, b"\r\n"].concat()
    } else {
        bytes
    }
}

/// Reads a little and leaves.
async fn taste(proxy: &Proxy, version: Version) {
    match version {
        Version::Http1 => {
            let mut client = proxy.client().await;
            client.send(get("/").bytes()).await;
            client.begin("GET").await;
            client.bytes(1).await;
        }
        Version::Http2 => {
            let mut client = H2Client::connect(proxy.address).await;
            let mut response = client.begin(&get("/")).await;
            within("a frame", response.body_mut().frame()).await.expect("a body").expect("bytes");
        }
    }
}

async fn expect_end(control: &str, pace: Option<u64>, tune: impl Fn(&mut Settings)) {
    for framing in [CHUNKED, ENORMOUS, UNTIL_CLOSE] {
        for version in [Version::Http1, Version::Http2] {
            let left = Gate::new();
            let head = format!("HTTP/1.1 200 OK\r\nCache-Control: {control}\r\n{framing}");
            let size = if pace.is_some() { 1 } else { 16 * 1024 };
            let origin = endless(head, piece(framing, size), pace, &left).await;
            let proxy = Proxy::with(&origin, &tune).await;
            tokio::join!(taste(&proxy, version), taste(&proxy, version));
            left.reached(1).await;
            proxy.settled().await;
        }
    }
}

#[tokio::test]
async fn what_nobody_may_store_ends_with_its_last_reader() {
    expect_end("no-store", None, |s| s.cache().fill_grace = secs(3600)).await;
    expect_end("no-store", Some(1), |s| s.cache().fill_grace = secs(3600)).await;
}

#[tokio::test]
async fn what_might_be_stored_ends_where_it_has_become_too_large() {
    expect_end("max-age=600", None, |s| {
        s.cache().fill_grace = secs(3600);
        s.cache().max_object_size = 256 * 1024;
    })
    .await;
}

#[tokio::test]
async fn what_might_be_stored_but_drips_ends_after_its_grace() {
    expect_end("max-age=600", Some(1), |s| s.cache().fill_grace = millis(60)).await;
}

// The rest of a body that is worth having is waited for.
#[tokio::test]
async fn what_comes_to_its_end_within_the_grace_is_stored() {
    let gate = Gate::new();
    let (origin, proxy) = stage(ok("first").then(&gate).body("second").fresh(600)).await;
    taste(&proxy, Version::Http1).await;
    gate.open();
    within("the fill", async { while !proxy.get("/").await.is_hit() {} }).await;
    assert_eq!((proxy.get("/").await.text(), origin.count()), ("firstsecond", 1));
}
