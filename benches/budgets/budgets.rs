//! What the hot paths may cost: instructions counted by Callgrind and allocations by DHAT, which
//! are the same on every machine, held against the figures below.
//!
//! Each benchmark does its work [`TIMES`] times, so that what happens once (a first page of memory,
//! a lazily built table) weighs little. `make budgets` runs them; one that exceeds its budget fails.
//! A change that costs less should lower them.
#![expect(clippy::expect_used, reason = "what cannot be set up cannot be measured")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use futures_util::FutureExt;
use gungraun::prelude::*;
use gungraun::{Callgrind, Dhat, DhatMetric, EventKind};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use seawall::cache::Job;
use seawall::clock::{Clock, Timestamp};
use seawall::config::{CliOverrides, parse};
use seawall::context::Request;
use seawall::key::Target;
use seawall::policy::{Overrides, RequestDirectives, RequestFacts, StoredHead, Validity, reuse};
use seawall::proxy::{self, Proxy, Rules};
use seawall::rules;
use seawall::store::remote::codec::{BodyAt, Entry, Written};
use std::sync::Arc;
use tower::{Service, ServiceExt};

#[path = "../fixture/mod.rs"]
mod fixture;

use fixture::{
    Filler, URL, client_request, connection, parts, request_headers, response_headers, rules_file,
    stored_head,
};

/// How often each benchmark does what it measures.
const TIMES: usize = 100;

/// Room for what differs between builds of one version: addresses, seeds of hashes.
const TOLERANCE_PERCENT: u64 = 4;

/// The instructions and allocations that one turn may cost.
fn budget(instructions: u64, allocations: u64) -> LibraryBenchmarkConfig {
    let turns = TIMES as u64;
    let most = instructions * turns * (100 + TOLERANCE_PERCENT) / 100;
    let mut config = LibraryBenchmarkConfig::default();
    config
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, most)]))
        // What is set up once: a growing table, the first use of a thread's own memory. An allocation
        // counts whose callers go back to the benchmark, which is a long way.
        .tool(
            Dhat::with_args(["--num-callers=100"])
                .hard_limits([(DhatMetric::TotalBlocks, allocations * turns + turns / 2)]),
        );
    config
}

fn target() -> Target {
    Target::parse(URL).expect("a URL")
}

// Host and path as a client wrote them, to the text that the map is asked for.
#[library_benchmark(config = budget(880, 0))]
#[bench::url(target())]
fn key(target: Target) -> usize {
    let path = target.path_and_query.clone();
    (0..TIMES)
        .map(|_| {
            let target = Target::new(false, black_box(b"www.example.com"), black_box(&path));
            target.expect("a good host").with_key_str(str::len)
        })
        .sum()
}

struct Policy {
    request: HeaderMap,
    stored: StoredHead,
    overrides: Overrides,
    now: Timestamp,
}

fn policy_of(vary: Option<&'static str>) -> Policy {
    let mut response = response_headers();
    if let Some(vary) = vary {
        response.insert("vary", HeaderValue::from_static(vary));
    }
    Policy {
        request: request_headers(),
        stored: stored_head(&response),
        overrides: Overrides::default(),
        now: Clock::System.now(),
    }
}

// May this stored response answer that request?
#[library_benchmark]
#[bench::plain(args = (policy_of(None)), config = budget(660, 0))]
#[bench::vary(args = (policy_of(Some("Accept-Encoding"))), config = budget(2_310, 0))]
fn policy(with: Policy) {
    let Policy { request, stored, overrides, now } = &with;
    for _ in 0..TIMES {
        let request = black_box(request);
        let chosen = seawall::policy::select([black_box(stored)].into_iter(), request, overrides);
        black_box(chosen);
        let facts = RequestFacts::new(&Method::GET, request, false);
        let directives = RequestDirectives::parse(request);
        black_box(reuse(stored, &facts, &directives, overrides, Validity::Valid, *now));
    }
}

struct Ruled {
    rules: Arc<Rules>,
    target: Target,
    headers: HeaderMap,
}

fn ruled(count: usize) -> Ruled {
    let settings = parse(&rules_file(count), &CliOverrides::default()).expect("good rules");
    let mut headers = request_headers();
    headers.insert("cookie", HeaderValue::from_static("theme=dark; visitor=123456"));
    let ruled = Ruled { rules: Arc::clone(&settings.proxy.rules), target: target(), headers };
    // The automaton builds what it needs when it meets it first.
    ruled.ask();
    ruled
}

impl Ruled {
    fn ask(&self) {
        let Self { rules, target, headers } = self;
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let request = rules::Request { method: &Method::GET, target, headers, client };
        black_box(rules.matching(black_box(&request)));
    }
}

// Which of so many rules speak of a request?
#[library_benchmark]
#[bench::of_10(args = (ruled(10)), config = budget(1_510, 0))]
#[bench::of_1000(args = (ruled(1000)), config = budget(5_270, 0))]
fn rules_matching(with: Ruled) -> Ruled {
    for _ in 0..TIMES {
        with.ask();
    }
    // Its end is not measured.
    with
}

/// The whole stack before a cache that holds the answer, and as many requests as are measured. One
/// was answered before.
fn hits() -> (Proxy, Vec<Request>) {
    let mut stack = proxy::stack(&parts(Filler::filled(100)));
    let connection = connection();
    answer(&mut stack, client_request(&connection));
    (stack, (0..TIMES).map(|_| client_request(&connection)).collect())
}

fn answer(stack: &mut Proxy, request: Request) {
    let answer = stack.ready().now_or_never().expect("always ready").expect("no error");
    let answer = answer.call(request).now_or_never().expect("a hit does not wait");
    let mut body = answer.expect("a response").into_body();
    while let Some(frame) = body.frame().now_or_never().expect("it is in memory") {
        black_box(frame.expect("a frame"));
    }
}

// From hyper's request to the last piece of the body, without sockets.
#[library_benchmark(config = budget(10_550, 7))]
#[bench::memory(hits())]
fn hit((mut stack, requests): (Proxy, Vec<Request>)) -> Proxy {
    for request in requests {
        answer(&mut stack, request);
    }
    stack
}

fn misses() -> (Filler, Vec<Job>) {
    let filler = Filler::new();
    let jobs =
        |name| (0..TIMES).map(move |number| format!("http://www.example.com/{name}/{number}"));
    let first: Vec<_> = jobs("warm").map(|url| filler.job(&url)).collect();
    filler.fetch(first);
    let measured = jobs("cold").map(|url| filler.job(&url)).collect();
    (filler, measured)
}

// A miss in the cache's own part: alone in its flight, fetched from a function, stored and sent.
#[library_benchmark(config = budget(45_000, 37))]
#[bench::memory(misses())]
fn fill((filler, jobs): (Filler, Vec<Job>)) -> Filler {
    filler.fetch(jobs);
    filler
}

fn entry() -> Entry {
    let written = Written { by: 1, sequence: 2, began: Timestamp::from_secs(3), position: None };
    let head = stored_head(&response_headers()).record().expect("it answers some request");
    let body = BodyAt::Inline(Bytes::from_static(&[b'x'; 1024]));
    Entry { key: URL.into(), written, head, body }
}

// A small response as it is written to Redis.
#[library_benchmark(config = budget(2_680, 2))]
#[bench::small(entry())]
fn encode(entry: Entry) {
    for _ in 0..TIMES {
        black_box(black_box(&entry).encode().expect("small"));
    }
}

// The same as it is read again.
#[library_benchmark(config = budget(5_540, 8))]
#[bench::small(entry().encode().expect("small"))]
fn decode(bytes: Vec<u8>) {
    for _ in 0..TIMES {
        black_box(Entry::decode(black_box(&bytes)).expect("as it was written"));
    }
}

library_benchmark_group!(
    name = budgets,
    benchmarks = [key, policy, rules_matching, hit, fill, encode, decode]
);

main!(library_benchmark_groups = budgets);
