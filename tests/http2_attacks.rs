//! Hostile HTTP/2 clients (RFC 9113 §10.5): each loses its own connection, and costs the origin and
//! other clients next to nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use h2::Reason;

use crate::support::frames::*;
use crate::support::*;

/// How many streams one client may make the origin work for and leave: the budget for resets, and
/// what time adds to it, of which a busy machine takes more.
fn few(begun: Instant) -> usize {
    300 + 20 * usize::try_from(begun.elapsed().as_secs()).unwrap()
}

/// The number of the `index`th stream.
fn stream(index: usize) -> u32 {
    u32::try_from(2 * index + 1).expect("not that many")
}

impl Proxy {
    /// The metrics' text.
    pub async fn metrics(&self) -> String {
        self.ask_admin(&get("/metrics")).await.text().to_owned()
    }

    /// Waits until a line is among the metrics.
    pub async fn measured(&self, line: &str) {
        within(line, async {
            while !self.metrics().await.lines().any(|found| found == line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Expects that others are served, and that nothing of an attack is left.
    pub async fn is_well(&self, origin: &Origin) {
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

/// Such an origin behind a proxy that has `/well` stored.
pub async fn staged(answer: Answer) -> (Origin, Proxy) {
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
        let begun = Instant::now();
        let (count, mut client) = one_by_one(&proxy, &origin, cancel).await;
        assert!((100..few(begun)).contains(&count), "{count}");
        client.ended().await;
        proxy.measured("seawall_connection_offences_total{kind=\"resets\"} 1").await;
        proxy.is_well(&origin).await;
    }
}

// The same as fast as it can be written: most of it is never more than bytes.
#[tokio::test]
async fn rapid_reset_in_bulk_reaches_the_origin_hardly_at_all() {
    let (origin, proxy) = staged(ok("body").with("Cache-Control", "no-store")).await;
    let begun = Instant::now();
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    let attack = (0..10_000)
        .flat_map(|index| [get_frame(stream(index), &format!("/{index}")), cancel(stream(index))]);
    client.send(attack.collect::<Vec<_>>().concat()).await;
    client.ended().await;
    assert!(origin.count() < few(begun), "{}", origin.count());
    proxy.is_well(&origin).await;
}

// CVE-2025-8671: the client makes us reset its streams.
#[tokio::test]
async fn made_resets_end_the_connection_as_soon() {
    type Fault = fn(u32) -> Vec<u8>;
    let gate = Gate::new();
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
        let begun = Instant::now();
        let (count, mut client) = one_by_one(&proxy, &origin, fault).await;
        assert!(count < few(begun), "{what}: {count}");
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

// What clients that mean well do a lot of.
#[tokio::test]
async fn heavy_use_is_never_cut() {
    let origin = Origin::start(|request| match &*request.target {
        "/large" => ok(vec![b'x'; 2_000_000]).fresh(600),
        "/upload" => ok(request.body.len().to_string()),
        _ => ok("body").with("Cache-Control", "no-store"),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let window = 0x7fff_0000;
    let mut client = FrameClient::connect(proxy.address, &[(4, window)]).await;
    client.send(window_update(0, window)).await;
    // One request of twenty is cancelled.
    for index in 0..1000 {
        client.send(get_frame(stream(index), "/")).await;
        if index % 20 == 0 {
            client.send(cancel(stream(index))).await;
        } else {
            assert_eq!(client.status(stream(index)).await, 200);
            client.until(|frame| frame.kind == DATA && frame.flags == END_STREAM).await.unwrap();
        }
    }
    // An upload in small pieces.
    let upload = stream(1000);
    client.send(frame(HEADERS, END_HEADERS, upload, block("POST", "/upload", &[]))).await;
    for _ in 0..100 {
        let piece = frame(DATA, 0, upload, [b'x'; 10]);
        assert!(client.send(piece.repeat(100)).await);
        client.settle().await;
    }
    client.send(frame(DATA, END_STREAM, upload, "")).await;
    assert_eq!(client.status(upload).await, 200);
    assert_eq!(origin.last().body.len(), 100_000);
    // A download by a client that tells of every frame, twice, and measures its way.
    let download = stream(1001);
    client.send(get_frame(download, "/large")).await;
    let mut read = 0;
    while read < 2_000_000 {
        let data = client.until(|frame| frame.kind == DATA && frame.stream == download).await;
        let length = data.expect("more").payload.len();
        read += length;
        let increment = u32::try_from(length).unwrap();
        client.send(window_update(0, increment)).await;
        client.send(window_update(download, increment)).await;
        client.send(frame(PING, 0, 0, [0; 8])).await;
    }
    // A browser that leaves a page, and comes back.
    for round in 0..3 {
        let streams = (0..100).map(|index| stream(2000 + 100 * round + index));
        let (open, close): (Vec<_>, Vec<_>) =
            streams.map(|stream| (get_frame(stream, "/"), cancel(stream))).unzip();
        client.send(open.concat()).await;
        client.settle().await;
        client.send(close.concat()).await;
    }
    client.settle().await;
    proxy.measured("seawall_requests_in_flight 0").await;
    assert!(!proxy.metrics().await.contains("seawall_connection_offences_total"));
}

#[tokio::test]
async fn fields_are_counted_like_those_of_http1_and_cookie_is_one() {
    let (origin, proxy) = staged(ok("body")).await;
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    let names: Vec<_> = (0..200).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, "y")).collect();
    client.send(frame(HEADERS, WHOLE, 1, block("GET", "/many", &many))).await;
    assert_eq!(client.status(1).await, 431);
    assert_eq!(origin.count(), 1);
    client.send(frame(HEADERS, WHOLE, 3, block("GET", "/", &[("cookie", "a=b"); 200]))).await;
    assert_eq!(client.status(3).await, 200);
    assert_eq!(origin.last().field("cookie").map(|cookie| cookie.split("; ").count()), Some(200));
}

/// A proxy whose deadlines are short and real: what is waited for never comes.
async fn hurried(answer: Answer) -> (Origin, Proxy) {
    let origin = origin(answer).await;
    let proxy = Proxy::with(&origin, |settings| {
        let limits = &mut settings.server.limits;
        limits.header_timeout = millis(500);
        limits.idle_timeout = millis(800);
        limits.write_timeout = millis(500);
    })
    .await;
    proxy.get("/well").await;
    (origin, proxy)
}

/// Sends this now and then until the connection ends.
async fn drip(client: &mut FrameClient, bytes: &[u8]) {
    within("the end of a drip", async {
        while !client.has_ended() && client.send(bytes).await {
            client.listen(millis(20)).await;
        }
    })
    .await;
    client.ended().await;
}

// A block left open keeps the client's other frames from being read: it has the deadline of a
// request's head, on a connection that is new, idle or busy.
#[tokio::test]
async fn a_header_block_that_does_not_end_is_cut() {
    let gate = Gate::new();
    let (origin, proxy) = hurried(Answer::silent(&gate)).await;
    let open = |stream| frame(HEADERS, END_STREAM, stream, block("GET", "/", &[]));
    let half = |stream| get_frame(stream, "/")[..20].to_vec();
    for before in [vec![], get_frame(1, "/well"), get_frame(1, "/held")] {
        for (begun, dripped) in [
            (open(3), Vec::new()),
            (half(3), Vec::new()),
            // A frame of a thousand octets, one at a time.
            (open(3), [frame(CONTINUATION, 0, 3, [0; 1000])[..9].to_vec(), vec![0; 3]].concat()),
        ] {
            let mut client = FrameClient::connect(proxy.address, &[]).await;
            client.send(&before).await;
            client.settle().await;
            client.send(&begun).await;
            if dripped.is_empty() {
                client.ended().await;
            } else {
                client.send(dripped).await;
                drip(&mut client, b"x").await;
            }
        }
    }
    proxy.is_well(&origin).await;
}

#[tokio::test]
async fn a_preface_that_drips_is_cut() {
    let (origin, proxy) = hurried(ok("body")).await;
    for dripped in [b"P".to_vec(), [PREFACE, b"\0"].concat()] {
        let mut client = FrameClient::bare(proxy.address).await;
        client.send(dripped).await;
        client.ended().await;
    }
    let mut client = FrameClient::bare(proxy.address).await;
    for byte in PREFACE {
        if !client.send([*byte]).await {
            break;
        }
        client.listen(millis(50)).await;
    }
    client.ended().await;
    proxy.is_well(&origin).await;
}

// A client that only shows that it lives has no request.
#[tokio::test]
async fn pings_keep_no_connection_alive() {
    let gate = Gate::new();
    let (origin, proxy) = hurried(Answer::silent(&gate)).await;
    for before in [vec![], get_frame(1, "/well")] {
        let mut client = FrameClient::connect(proxy.address, &[]).await;
        client.send(before).await;
        drip(&mut client, &frame(PING, 0, 0, [0; 8])).await;
    }
    // One that has a request under way is kept.
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    client.send(get_frame(1, "/held")).await;
    for _ in 0..20 {
        client.settle().await;
        client.listen(millis(100)).await;
    }
    drop(client);
    proxy.is_well(&origin).await;
}

// CVE-2019-9517, CVE-2024-30156.
#[tokio::test]
async fn a_stalled_stream_is_cut_and_others_on_its_connection_go_on() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match &*request.target {
        "/held" => ok("late").gate(&held),
        "/well" => ok("well").fresh(600),
        _ => ok(vec![b'x'; 1_000_000]).fresh(600),
    })
    .await;
    let proxy =
        Proxy::with(&origin, |settings| settings.server.limits.write_timeout = millis(300)).await;
    proxy.get("/well").await;
    let mut client = FrameClient::connect(proxy.address, &[(4, 0)]).await;
    client.send(get_frame(1, "/held")).await;
    let stalled = (1..100).map(|index| get_frame(stream(index), &format!("/{index}")));
    client.send(stalled.collect::<Vec<_>>().concat()).await;
    let mut cut = 0;
    while cut < 99 {
        let reset = client.until(|frame| frame.kind == RST_STREAM).await.expect("it lives");
        assert_eq!(reset.reason(), Reason::CANCEL);
        cut += 1;
    }
    proxy.measured("seawall_stream_timeouts_total 99").await;
    gate.open();
    assert_eq!(client.status(1).await, 200);
    client.send(window_update(1, 100)).await;
    let data = client.until(|frame| frame.kind == DATA).await.expect("data");
    assert_eq!(data.payload, b"late");
    proxy.is_well(&origin).await;
    proxy.settled().await;
}

// A field that is named by one octet, a thousand times over (CVE-2016-6581).
#[tokio::test]
async fn an_hpack_bomb_is_bounded_by_what_it_decodes_to() {
    let (origin, proxy) = staged(ok("body")).await;
    let mut client = FrameClient::connect(proxy.address, &[]).await;
    // A literal that goes into the table, and then its index.
    let mut bomb = block("GET", "/bomb", &[]);
    let mut indexed = field("x", "y".repeat(3000));
    indexed[0] = 0x40;
    bomb.extend(indexed);
    let small = [bomb.clone(), vec![0xbe; 30]].concat();
    client.send(frame(HEADERS, WHOLE, 1, small)).await;
    assert_eq!(client.status(1).await, 431);
    client.send(frame(HEADERS, WHOLE, 3, [bomb, vec![0xbe; 10_000]].concat())).await;
    assert!(matches!(client.ended().await, None | Some(Reason::ENHANCE_YOUR_CALM)));
    assert_eq!(origin.count(), 1);
    proxy.is_well(&origin).await;
}
