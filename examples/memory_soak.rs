//! Whether the memory tier keeps to its budget: threads store a million different objects as fast
//! as they can, and the process's resident memory is watched all the while.
//!
//! `make soak`; the arguments are the budget in MiB, how many objects, and how many threads. Exits
//! with 1 where more was charged than the budget, where the process grew by more than half as much
//! again (the allocator's own), or by that much more than is charged in the second part, which stores
//! small objects and says what each costs.
#![expect(clippy::expect_used, reason = "what cannot be set up cannot be measured")]
#![expect(clippy::print_stdout, reason = "it is a program that tells")]
#![expect(clippy::cast_sign_loss, reason = "sizes are not negative")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use seawall::body::Blocks;
use seawall::clock::Timestamp;
use seawall::key::{CacheKey, Target};
use seawall::policy::{Overrides, RequestFacts, ResponseTimes, StoredHead};
use seawall::store::{Config, Content, Insertion, Memory, Stamp, StoredResponse};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: usize = 1024 * 1024;
const NOW: Timestamp = Timestamp::from_secs(1_000_000);

/// How often resident memory is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Objects of the second part, and the bytes of their bodies.
const SMALL_OBJECTS: usize = 200_000;
const SMALL_BODY: usize = 1024;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|it| it.parse().expect("a number"));
    let memory = arguments.next().unwrap_or(256) * MIB;
    let objects = arguments.next().unwrap_or(1_000_000);
    let threads = arguments.next().unwrap_or(4);
    let keeps = keeps_its_budget(memory, objects, threads);
    let charges = charges_what_it_costs();
    if keeps && charges { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Stores `objects` of all sizes from several threads; whether the process kept to `memory`.
fn keeps_its_budget(memory: usize, objects: usize, threads: usize) -> bool {
    let before = resident();
    let store = Memory::new(&Config { memory, ..Config::default() });
    let (next, stored, refused) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (mut peak, mut most_charged, began) = (before, 0, Instant::now());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|seed| {
                let (store, next, stored, refused) = (&store, &next, &stored, &refused);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed as u64);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= objects {
                            break;
                        }
                        // From 200 bytes to 64 KiB, as many of each order of size.
                        let size = (200.0 * 320.0_f64.powf(random.f64())) as usize;
                        match put(store, number, size) {
                            Some(Insertion::Stored) => stored.fetch_add(1, Ordering::Relaxed),
                            _ => refused.fetch_add(1, Ordering::Relaxed),
                        };
                        let asked = key(random.usize(..=number));
                        drop(store.get(asked.as_str(), NOW));
                        store
                            .feed()
                            .filter(|_| number.is_multiple_of(1000))
                            .inspect(|it| it.drain());
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            peak = peak.max(resident());
            most_charged = most_charged.max(store.budget().used());
            thread::sleep(LOOK);
        }
    });
    let grown = peak.saturating_sub(before);
    println!(
        "{objects} objects from {threads} threads in {:.1} s: {} stored, {} not; {} keys at the end",
        began.elapsed().as_secs_f64(),
        stored.into_inner(),
        refused.into_inner(),
        store.keys(),
    );
    println!(
        "budget {} MiB, charged {} MiB at most, the process grew by {} MiB at most",
        memory / MIB,
        most_charged / MIB,
        grown / MIB
    );
    // What the allocator holds beside what it was asked for: pages that are partly free, since
    // objects of all sizes come and go.
    grown <= memory + memory / 2 && most_charged <= memory
}

/// Stores small objects alone; whether they cost about what they are charged.
fn charges_what_it_costs() -> bool {
    let before = resident();
    // Without end, so that nothing goes.
    let store = Memory::new(&Config { memory: 4096 * MIB, ..Config::default() });
    for number in 0..SMALL_OBJECTS {
        put(&store, number, SMALL_BODY);
    }
    store.settle();
    let (grown, charged) = (resident().saturating_sub(before), store.budget().used());
    let each = |bytes: usize| bytes / SMALL_OBJECTS;
    println!(
        "{SMALL_OBJECTS} objects of {SMALL_BODY} B: {} B each beside the body, {} B charged",
        each(grown).saturating_sub(SMALL_BODY),
        each(charged) - SMALL_BODY
    );
    grown <= charged + charged / 2
}

fn key(number: usize) -> CacheKey {
    let url = format!("http://www.example.com/assets/{number}.css");
    Target::parse(&url).expect("a URL").key()
}

/// Stores an object; `None` where there was no room for it while it came.
fn put(store: &Memory, number: usize, size: usize) -> Option<Insertion> {
    let fields = [
        ("content-type", "text/css; charset=utf-8"),
        ("cache-control", "public, max-age=3600"),
        ("etag", "\"5f2b-61c8d3a7\""),
        ("last-modified", "Tue, 01 Jan 2019 00:00:00 GMT"),
        ("server", "nginx"),
        ("vary", "accept-encoding"),
        ("x-request-id", "8b1a9953c4611296"),
    ];
    let value =
        |(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value));
    let fields: HeaderMap = fields.map(value).into_iter().collect();
    let request = HeaderMap::new();
    let facts = RequestFacts::new(&Method::GET, &request, false);
    let times = ResponseTimes { request_at: NOW, response_at: NOW };
    let head = StoredHead::new(&facts, StatusCode::OK, &fields, times, &Overrides::default());
    let (key, stamp) = (key(number), Stamp::new(store.sequence(), None));
    let charge = store.charge(StoredResponse::cost(&head, &stamp, key.as_str().len()))?;
    let body_charge = store.charge(size)?;
    let body = Bytes::from(vec![b'x'; size]);
    let content = Content::Whole(Arc::new(Blocks::new([body], Some(body_charge))));
    let useless_at = NOW.plus(Duration::from_secs(3600));
    let response = StoredResponse::new(head, content, stamp, useless_at, charge);
    Some(store.insert(&key, &Arc::new(response), NOW))
}

/// This process's resident memory in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a page count") * 4096
}
