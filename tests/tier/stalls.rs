//! A Redis that is slow or talks nonsense, by way of a proxy that the test holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall::redis::{Address, Fault, Health, Place};
use seawall::store::remote::{Looked, Wrote};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::from_tier;
use crate::support::*;

/// What the way between a node and its Redis does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Connections end, and no new ones are made.
    Cut,
    /// Nothing comes through; connections stand.
    Stalled,
    /// Large answers do not come through, small ones on other connections do.
    LargeStalled,
    /// Answers are these bytes instead.
    Instead(&'static [u8]),
}

/// A way that the test can close.
pub struct Between {
    pub address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    accepting: JoinHandle<()>,
}

impl Between {
    pub async fn to(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let way = Arc::new(watch::Sender::new(Way::Open));
        let (shared, there) = (way.clone(), redis.address);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *shared.borrow() == Way::Cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect(there).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, shared.subscribe(), false));
                tokio::spawn(carry(from_server, to_client, shared.subscribe(), true));
            }
        });
        Self { address, way, accepting }
    }

    /// As a proxy's settings name it.
    pub fn place(&self) -> Place {
        Place::Server(Address::new("127.0.0.1", self.address.port()))
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut way: watch::Receiver<Way>,
    answers: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut cut = way.clone();
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = cut.wait_for(|way| *way == Way::Cut) => return,
        };
        let Ok(read @ 1..) = read else { return };
        if way.wait_for(|way| *way != Way::Stalled).await.is_err() {
            return;
        }
        let is_large = answers && read == buffer.len();
        if way.wait_for(|way| !is_large || *way != Way::LargeStalled).await.is_err() {
            return;
        }
        let bytes = match *way.borrow() {
            Way::Instead(others) if answers => others,
            _ => &buffer[..read],
        };
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn behind(between: &Between, origin: &Origin, budget: Duration) -> Proxy {
    let proxy = Proxy::with(origin, |settings| {
        let redis = seawall::redis::Config {
            place: between.place(),
            answers_within: Duration::from_secs(5),
            ..seawall::redis::Config::default()
        };
        settings.redis = Some(redis);
        settings.tier.lookup_budget = budget;
    });
    let proxy = proxy.await;
    proxy.joined().await;
    proxy
}

#[tokio::test]
async fn a_stalled_redis_costs_the_budget_for_a_while_and_then_nothing() {
    let redis = Redis::start().await;
    let between = Between::to(&redis).await;
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let proxy = behind(&between, &origin, millis(50)).await;
    proxy.get("/before").await;
    proxy.wrote(Wrote::Stored, 1).await;
    between.set(Way::Stalled);
    let begun = Instant::now();
    let mut number = 0;
    while !matches!(proxy.tier().health(), Health::Down(_)) {
        let target = format!("/{number}");
        assert_eq!(proxy.get(&target).await.text(), target);
        assert!(begun.elapsed() < Duration::from_secs(20), "it is left alone at last");
        number += 1;
    }
    assert!(number <= 16, "{number} requests paid for it");
    assert_eq!(proxy.tier().health(), Health::Down(Fault::Timeout));
    let failed = proxy.looked(Looked::Failed);
    proxy.get("/later").await;
    assert_eq!(proxy.looked(Looked::Failed), failed, "the breaker is open");
    between.set(Way::Open);
    proxy.joined().await;
    eventually("the queue to be empty", || proxy.tier().waiting().0 == 0).await;
    let other = behind(&between, &origin, Duration::from_secs(5)).await;
    assert!(from_tier(&other.get("/later").await));
}

#[tokio::test]
async fn garbage_is_found_out_and_left_alone() {
    let redis = Redis::start().await;
    let between = Between::to(&redis).await;
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let hostile: [&[u8]; 12] = [
        b"????",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        // More than there is memory for, and numbers that are none.
        b"*9223372036854775807\r\n",
        b"*1000000000\r\n",
        b"%4611686018427387903\r\n",
        b"$9223372036854775807\r\n",
        b"$-9223372036854775808\r\n",
        b":99999999999999999999\r\n",
        // Answers, and none to what was asked.
        b"+OK\r\n",
        b"*3\r\n:1\r\n:2\r\n:3\r\n",
        b"*1\r\n$-1\r\n",
        b"-ERR no such thing\r\n-ERR no such thing\r\n",
    ];
    for (index, bytes) in hostile.into_iter().enumerate() {
        let proxy = behind(&between, &origin, millis(200)).await;
        between.set(Way::Instead(bytes));
        for way in ["a", "b"] {
            let target = format!("/{index}{way}");
            assert_eq!(proxy.get(&target).await.text(), target);
        }
        between.set(Way::Open);
        eventually("all to be written", || {
            proxy.tier().health() == Health::Good && proxy.tier().waiting().0 == 0
        })
        .await;
    }
    // Nested deeper than anything that is meant.
    let proxy = behind(&between, &origin, millis(200)).await;
    between.set(Way::Instead(Box::leak(b"*1\r\n".repeat(100_000).into_boxed_slice())));
    assert_eq!(proxy.get("/deep").await.text(), "/deep");
    proxy.parted().await;
}

#[tokio::test]
async fn a_long_body_on_its_way_does_not_delay_a_lookup() {
    let redis = Redis::start().await;
    let between = Between::to(&redis).await;
    let body = vec![b'x'; 900_000];
    let large = body.clone();
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/large" => ok(&large).fresh(600),
        _ => ok("small").fresh(600),
    })
    .await;
    let one = Proxy::with(&origin, |settings| redis.configure(settings)).await;
    one.joined().await;
    one.get("/large").await;
    one.get("/small").await;
    one.wrote(Wrote::Stored, 2).await;
    let other = behind(&between, &origin, Duration::from_secs(2)).await;
    between.set(Way::LargeStalled);
    let held = other.start_all(1, &get("/large")).await;
    eventually("the body to be asked for", || other.flights() == 1).await;
    assert!(from_tier(&other.get("/small").await));
    assert_eq!(other.flights(), 1, "the body is still on its way");
    between.set(Way::Open);
    let response = all(held).await.remove(0);
    assert!(from_tier(&response) && response.body == body);
}

/// The answer has begun when Redis stops: it ends as cut, and never as whole.
#[tokio::test]
async fn a_body_that_stalls_midway_is_cut() {
    let redis = Redis::start().await;
    let between = Between::to(&redis).await;
    let body = vec![b'x'; 8 * 1024 * 1024];
    let origin = Origin::answering(ok(&body).fresh(600)).await;
    let one = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        settings.tier.write_at_once = 16 * 1024 * 1024;
    });
    let one = one.await;
    one.joined().await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let other = behind(&between, &origin, Duration::from_secs(5)).await;
    let mut client = other.client().await;
    client.send(get("/").bytes()).await;
    let response = client.begin("GET").await;
    between.set(Way::Stalled);
    assert!(response.is_hit(), "{response:?}");
    let response = client.finish(response).await;
    // The way may have carried all of it before it stalled.
    if response.complete {
        assert_eq!(response.body.len(), body.len());
    } else {
        assert!(response.body.len() < body.len());
        assert_eq!(other.looked(Looked::Cut), 1);
    }
    assert!(response.body.iter().all(|byte| *byte == b'x'));
}
