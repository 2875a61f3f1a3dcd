//! Origins that break the rules: every fault has one defined outcome, whoever asks and whatever is
//! stored, nothing of it is stored, and its connection is not used again.

mod answers;
mod backoff;
mod bodies;
mod endless;
mod heads;
mod pool;
mod silence;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use seawall::config::Settings;

use crate::support::*;

/// What follows the bytes of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection stays open: it is the proxy that has to close it.
    Hold,
    /// It is closed in order.
    Fin,
    /// It is reset.
    Rst,
}

/// What an origin does instead of answering.
#[derive(Clone, Debug)]
struct Fault {
    bytes: Vec<u8>,
    then: Then,
    /// What is said of it where nothing stored may be served: the status, and RFC 9209's word.
    outcome: (u16, &'static str),
}

fn fault(bytes: impl AsRef<[u8]>, then: Then, error: &'static str) -> Fault {
    Fault { bytes: bytes.as_ref().to_vec(), then, outcome: (502, error) }
}

/// What is stored when the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Nothing,
    /// Stale, and servable on errors.
    Granted,
    /// Stale, and never servable.
    Barred,
}

const STORED: [Stored; 3] = [Stored::Nothing, Stored::Granted, Stored::Barred];

/// The client's version of HTTP.
#[derive(Clone, Copy, Debug)]
enum Version {
    Http1,
    Http2,
}

/// Who asks: alone, or with others who want the same.
const WHO: [(Version, usize); 3] = [(Version::Http1, 1), (Version::Http1, 3), (Version::Http2, 3)];

/// A story in three phases: the origin is well, broken, and well again.
struct Story {
    origin: Origin,
    proxy: Proxy,
    scene: Arc<Scene>,
}

/// What the origin's connections know of the story.
struct Scene {
    faults: Vec<Fault>,
    stored: Stored,
    phase: AtomicUsize,
    /// Connections on which a fault was played.
    broken: Mutex<Vec<usize>>,
    /// How many of them were held open.
    held: AtomicUsize,
    /// How many of those the proxy has closed.
    closed: AtomicUsize,
}

impl Story {
    /// The n-th fault stands at the target `/n`.
    async fn begin(faults: &[Fault], stored: Stored, tune: impl FnOnce(&mut Settings)) -> Self {
        let scene = Arc::new(Scene {
            faults: faults.to_vec(),
            stored,
            phase: AtomicUsize::new(0),
            broken: Mutex::default(),
            held: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
        });
        let played = Arc::clone(&scene);
        let origin = Origin::script(move |conn| play(conn, Arc::clone(&played))).await;
        let proxy = Proxy::with(&origin, tune).await;
        if stored != Stored::Nothing {
            for index in 0..faults.len() {
                assert_eq!(proxy.get(&format!("/{index}")).await.text(), "old");
            }
            proxy.advance(secs(61));
        }
        scene.phase.store(1, Ordering::Release);
        Self { origin, proxy, scene }
    }

    /// The responses to `count` requests at once for the target of a fault.
    async fn ask(&self, index: usize, version: Version, count: usize) -> Vec<Response> {
        let request = get(&format!("/{index}"));
        match version {
            Version::Http1 => self.proxy.at_once(count, &request).await,
            Version::Http2 => {
                let client = H2Client::connect(self.proxy.address).await;
                let asking = (0..count).map(|_| {
                    let (mut client, request) = (client.clone(), request.clone());
                    tokio::spawn(async move { client.exchange(&request).await })
                });
                all(asking.collect()).await
            }
        }
    }

    /// The origin is well again: nothing of its faults is left, neither stored nor in the pool.
    async fn recover(self, context: &str) {
        let Scene { faults, phase, broken, held, closed, .. } = &*self.scene;
        eventually("the proxy to close what is broken", || {
            held.load(Ordering::Acquire) == closed.load(Ordering::Acquire)
        })
        .await;
        phase.store(2, Ordering::Release);
        for index in 0..faults.len() {
            let target = format!("/{index}");
            let response = self.proxy.get(&target).await;
            assert_eq!(response.text(), "new", "{context}, fault {index}: {response:?}");
            assert!(self.proxy.get(&target).await.is_hit(), "{context}, fault {index}");
        }
        let broken = broken.lock().unwrap().clone();
        let reused = |connection| broken.iter().filter(|other| *other == connection).count() > 1;
        assert!(!broken.iter().any(reused), "{context}: a broken connection was used again");
        // Whatever broke, it holds no memory beyond what is stored.
        self.proxy.settled().await;
    }
}

async fn play(mut conn: Conn, scene: Arc<Scene>) {
    while let Some(request) = conn.request().await {
        let control = match scene.stored {
            Stored::Barred => "max-age=60, must-revalidate",
            _ => "max-age=60, stale-if-error=600",
        };
        let well = |body| {
            format!(
                "HTTP/1.1 200 OK\r\nCache-Control: {control}\r\nContent-Length: 3\r\n\r\n{body}"
            )
        };
        match scene.phase.load(Ordering::Acquire) {
            0 => _ = conn.send(well("old")).await,
            1 => return fail(conn, &request, &scene).await,
            _ => _ = conn.send(well("new")).await,
        }
    }
}

async fn fail(mut conn: Conn, request: &Seen, scene: &Scene) {
    let index: usize = request.target[1..].parse().expect("the fault's number");
    scene.broken.lock().unwrap().push(request.connection);
    let Fault { bytes, then, .. } = &scene.faults[index];
    if *then == Then::Hold {
        scene.held.fetch_add(1, Ordering::AcqRel);
    }
    conn.send(bytes).await;
    match then {
        Then::Hold => {
            conn.ended().await;
            scene.closed.fetch_add(1, Ordering::AcqRel);
        }
        Then::Fin => conn.finish().await,
        Then::Rst => conn.reset(),
    }
}

/// Every fault, for both versions, alone and with followers, whatever is stored: stale where that
/// is allowed, else an error that says what happened.
async fn expect_outcomes(faults: &[Fault], tune: impl Fn(&mut Settings)) {
    for stored in STORED {
        for (version, count) in WHO {
            let story = Story::begin(faults, stored, &tune).await;
            for (index, fault) in faults.iter().enumerate() {
                for response in story.ask(index, version, count).await {
                    expect_outcome(fault, stored, &response);
                }
            }
            story.recover(&format!("{stored:?}, {version:?}")).await;
        }
    }
}

fn expect_outcome(fault: &Fault, stored: Stored, response: &Response) {
    let context = || {
        let bytes = String::from_utf8_lossy(&fault.bytes);
        let start: String = bytes.chars().take(90).collect();
        format!("{start:?}, {:?}, {stored:?}: {response:?}", fault.then)
    };
    assert!(response.complete, "{}", context());
    if stored == Stored::Granted {
        assert_eq!((response.status, response.text()), (200, "old"), "{}", context());
        assert!(response.says("detail=stale-if-error"), "{}", context());
        return;
    }
    let (status, error) = fault.outcome;
    assert_eq!(response.status, status, "{}", context());
    let told = format!("seawall; error={error}");
    assert_eq!(response.field("proxy-status"), Some(&*told), "{}", context());
    assert_eq!(response.field("cache-control"), Some("no-store"), "{}", context());
}

/// Likewise for what breaks once the head has come: nobody gets what looks whole.
async fn expect_cuts(faults: &[Fault]) {
    for stored in STORED {
        for (version, count) in WHO {
            let story = Story::begin(faults, stored, |_| ()).await;
            for (index, fault) in faults.iter().enumerate() {
                for response in story.ask(index, version, count).await {
                    // Cut, or known to be broken before anything was said.
                    let stale = stored == Stored::Granted && response.text() == "old";
                    let honest = !response.complete || response.status == 502 || stale;
                    let start = String::from_utf8_lossy(&fault.bytes[..fault.bytes.len().min(120)]);
                    assert!(honest, "{start:?}, {stored:?}, {version:?}: {response:?}");
                }
            }
            story.recover(&format!("{stored:?}, {version:?}")).await;
        }
    }
}
