//! Hostile HTTP/2 clients (RFC 9113 §10.5): each loses its own connection, and costs the origin and
//! other clients next to nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use h2::Reason;
use seawall::config::Settings;

use crate::support::frames::*;
use crate::support::*;

/// How many streams one client may make the origin work for and leave, within a few seconds: the
/// budget for resets, and what time adds to it.
const FEW: usize = 300;

/// The number of the `index`th stream.
fn stream(index: usize) -> u32 {
    u32::try_from(2 * index + 1).expect("not that many")
}

impl Proxy {
    /// The metrics' text.
    async fn metrics(&self) -> String {
        self.ask_admin(&get("/metrics")).await.text().to_owned()
    }

    /// Waits until a line is among the metrics.
    async fn measured(&self, line: &str) {
        within(line, async {
            while !self.metrics().await.lines().any(|found| found == line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Expects that others are served, and that nothing of an attack is left.
    async fn is_well(&self, origin: &Origin) {
        let asked = origin.count();
        assert_eq!(self.get("/well").await.status, 200);
        assert!(origin.count() <= asked + 1);
        self.measured("seawall_requests_in_flight 0").await;
    }
}

/// An origin that answers `/well` and gives all else this answer.
async fn origin(answer: Answer) -> Origin {
    Origin::start(move |request| match &*request.target {
        "/well" => ok("well").fresh(600),
        _ => answer.clone(),
    })
    .await
}

async fn staged(answer: Answer) -> (Origin, Proxy) {
    let origin = origin(answer).await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/well").await;
    (origin, proxy)
}

/// Opens streams one after the other, each of which reaches the origin before `then` follows it,
/// until the connection ends; how many there were.
async fn one_by_one(
    proxy: &Proxy,
    origin: &Origin,
    then: impl Fn(u32) -> Vec<u8>,
) -> (usize, FrameClient) {
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    let before = origin.count();
    for index in 0..10_000 {
        if !client.send(get_frame(stream(index), &format!("/{before}-{index}"))).await {
            return (index, client);
        }
        eventually("the request or the end", || {
            client.has_ended() || origin.count() > before + index
        })
        .await;
        if client.has_ended() || !client.send(then(stream(index))).await {
            return (index, client);
        }
    }
    panic!("no end to it");
}

/// Sends this until the connection ends.
async fn flood(client: &mut FrameClient, bytes: &[u8]) -> Option<Reason> {
    let many = bytes.repeat(1000);
    for _ in 0..1000 {
        if client.has_ended() || !client.send(&many).await {
            break;
        }
    }
    client.ended().await
}

// CVE-2023-44487, with requests that do reach the origin: it never answers, or has begun to.
#[tokio::test]
async fn rapid_reset_ends_the_connection_and_what_it_began() {
    let gate = Gate::new();
    let begun = ok("begun").then(&gate).body("rest").fresh(600);
    let uncacheable = ok("begun").then(&gate).body("rest").with("Cache-Control", "no-store");
    for answer in [Answer::silent(&gate), begun, uncacheable] {
        let (origin, proxy) = staged(answer).await;
        let (count, mut client) = one_by_one(&proxy, &origin, cancel).await;
        assert!((100..FEW).contains(&count), "{count}");
        client.ended().await;
        proxy.measured("seawall_connection_excesses_total{kind=\"resets\"} 1").await;
        proxy.is_well(&origin).await;
    }
}

// The same as fast as it can be written: most of it is never more than bytes.
#[tokio::test]
async fn rapid_reset_in_bulk_reaches_the_origin_hardly_at_all() {
    let (origin, proxy) = staged(ok("body").with("Cache-Control", "no-store")).await;
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    let attack = (0..10_000)
        .flat_map(|index| [get_frame(stream(index), &format!("/{index}")), cancel(stream(index))]);
    client.send(attack.collect::<Vec<_>>().concat()).await;
    client.ended().await;
    assert!(origin.count() < FEW, "{}", origin.count());
    proxy.is_well(&origin).await;
}

// CVE-2025-8671: the client makes us reset its streams.
#[tokio::test]
async fn made_resets_end_the_connection_as_soon() {
    let gate = Gate::new();
    type Fault = fn(u32) -> Vec<u8>;
    let faults: [(&str, Fault); 5] = [
        ("an increment of 0", |stream| window_update(stream, 0)),
        ("a window that overflows", |stream| window_update(stream, 0x7fff_ffff)),
        ("DATA after the end", |stream| frame(DATA, 0, stream, b"more")),
        ("HEADERS after the end", |stream| get_frame(stream, "/again")),
        ("a stream that depends on itself", |stream| {
            frame(PRIORITY, 0, stream, [&stream.to_be_bytes()[..], &[0]].concat())
        }),
    ];
    for (what, fault) in faults {
        let (origin, proxy) = staged(Answer::silent(&gate)).await;
        let (count, mut client) = one_by_one(&proxy, &origin, fault).await;
        assert!(count < FEW, "{what}: {count}");
        client.ended().await;
        proxy.is_well(&origin).await;
    }
}

#[tokio::test]
async fn floods_of_every_frame_end_the_connection() {
    let open = frame(HEADERS, END_STREAM, 1, block("GET", "/", &[]));
    let upload = frame(HEADERS, END_HEADERS, 1, block("POST", "/", &[]));
    let none = Vec::new();
    let gate = Gate::new();
    for (what, first, repeated) in [
        ("CONTINUATION", &open, frame(CONTINUATION, 0, 1, field("x-y", "z".repeat(1000)))),
        ("empty CONTINUATION", &open, frame(CONTINUATION, 0, 1, "")),
        ("SETTINGS", &none, frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 1])),
        ("empty SETTINGS", &none, frame(SETTINGS, 0, 0, "")),
        ("PING", &none, frame(PING, 0, 0, [0; 8])),
        ("answers to no PING", &none, frame(PING, ACK, 0, [0; 8])),
        ("PRIORITY", &none, frame(PRIORITY, 0, 3, [0; 5])),
        ("PRIORITY_UPDATE", &none, frame(0x10, 0, 0, [0, 0, 0, 3, b'u', b'=', b'1'])),
        ("WINDOW_UPDATE", &none, window_update(0, 1)),
        ("empty DATA", &upload, frame(DATA, 0, 1, "")),
        ("DATA of padding", &upload, frame(DATA, PADDED, 1, [255].repeat(256))),
        ("unknown frames", &none, frame(0x42, 0, 0, "anything")),
        ("GOAWAY", &none, frame(GOAWAY, 0, 0, [0; 8])),
        ("PUSH_PROMISE", &none, frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2])),
    ] {
        let (origin, proxy) = staged(Answer::silent(&gate)).await;
        let mut client = FrameClient::connect(proxy.address, &[]).await;
        client.send(first).await;
        let reason = flood(&mut client, &repeated).await;
        // A reset of the socket may overtake the reason.
        let told = [None, Some(Reason::ENHANCE_YOUR_CALM), Some(Reason::PROTOCOL_ERROR)];
        assert!(told.contains(&reason), "{what}: {reason:?}");
        assert!(origin.count() <= 2, "{what}: {}", origin.count());
        proxy.is_well(&origin).await;
    }
}

// A fill may survive its client, and a client may have many connections: together they must not
// make the origin work without bound for nobody.
#[tokio::test]
async fn fetches_that_nobody_waits_for_are_few_however_many_were_asked_for() {
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let origin = Origin::script(move |mut conn| {
        let counter = Arc::clone(&counter);
        async move {
            while let Some(request) = conn.request().await {
                if request.target == "/well" {
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    continue;
                }
                counter.fetch_add(1, SeqCst);
                conn.send(
                    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nCache-Control: max-age=600\r\n\r\n",
                )
                .await;
                while !conn.some().await.is_empty() {}
                counter.fetch_sub(1, SeqCst);
                return;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut asked = 0;
    for _ in 0..4 {
        let (count, mut client) = one_by_one(&proxy, &origin, cancel).await;
        client.ended().await;
        asked += count;
    }
    assert!(asked > 600, "{asked}");
    eventually("the rest to end", || open.load(SeqCst) <= 256).await;
    assert_eq!(proxy.get("/well").await.status, 200);
}
