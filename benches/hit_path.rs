//! What a memory hit costs: each step alone, and the whole stack in process.
//!
//! `cargo bench` measures; `cargo bench -- --test` only checks that everything runs.
#![expect(clippy::expect_used, reason = "what cannot be set up cannot be measured")]

#[expect(dead_code, reason = "others measure with the rest")]
mod fixture;

use std::hash::BuildHasher;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use foldhash::{fast, quality};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use seawall::clock::{Clock, Timestamp};
use seawall::context::Outcome;
use seawall::key::Target;
use seawall::policy::{Overrides, RequestDirectives, RequestFacts, Validity, reuse, select};
use seawall::proxy;
use seawall::store::curve::{self, Feed, Reference};
use seawall::store::evict::{self, Evictor, Newcomer, Touched, Uses};
use tower::{Service, ServiceExt};

use fixture::{
    Filler, URL, client_request, connection, parts, request_headers, response_headers, stored_head,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keys stored beside the one that is asked for.
const OTHERS: usize = 10_000;

criterion_group!(benches, key, memory, eviction, policy, head, cache_status, stack);
criterion_main!(benches);

fn key(criterion: &mut Criterion) {
    let target = Target::parse(URL).expect("a URL");
    let path = target.path_and_query.clone();
    criterion.bench_function("key/normalize", |bencher| {
        bencher.iter(|| Target::new(false, black_box(b"www.example.com"), black_box(&path)));
    });
    criterion.bench_function("key/text", |bencher| {
        bencher.iter(|| black_box(&target).with_key_str(str::len));
    });
}

fn memory(criterion: &mut Criterion) {
    let shared = Filler::filled(OTHERS);
    let (target, now) = (Target::parse(URL).expect("a URL"), Clock::System.now());
    criterion.bench_function("memory/get", |bencher| {
        bencher.iter(|| black_box(&target).with_key_str(|key| shared.memory().get(key, now)));
    });
    criterion.bench_function("memory/miss", |bencher| {
        bencher.iter(|| shared.memory().get(black_box("http://www.example.com/absent"), now));
    });
}

/// What Seawall's own eviction adds to a hit of plain moka, and what a decision costs.
fn eviction(criterion: &mut Criterion) {
    const RESIDENTS: u64 = 100_000;
    let hasher = quality::RandomState::default();
    let newcomer = |key: u64| Newcomer {
        key,
        hash: hasher.hash_one(key),
        size: 10_000,
        useless_at: Timestamp::from_secs(1),
    };
    let config = evict::Config {
        capacity: RESIDENTS * 10_000,
        size_exponent: 0.75,
        uses: Uses::All,
        seed: 1,
    };
    let evictor = Evictor::new(&config);
    let plain = moka::sync::Cache::builder()
        .max_capacity(RESIDENTS)
        .build_with_hasher(fast::RandomState::default());
    let map = moka::sync::Cache::builder().build_with_hasher(fast::RandomState::default());
    for key in 0..RESIDENTS {
        plain.insert(key, ());
        map.insert(key, evictor.admit(newcomer(key), Timestamp::EPOCH).ticket);
    }
    let mut keys = (0..RESIDENTS).cycle().step_by(7919);
    criterion.bench_function("evict/hit/plain_moka", |bencher| {
        bencher.iter(|| plain.get(&keys.next()?));
    });
    criterion.bench_function("evict/hit/seawall", |bencher| {
        bencher.iter(|| map.get(&keys.next()?)?.map(|ticket| evictor.touch(ticket)));
    });
    // With the way to the shadow caches, which sample few of so many keys.
    let feed = Feed::new(&curve::Config { evict: config, most_keys: 8192 });
    let asked = |hash, size| {
        let (useless_at, now) = (Timestamp::from_secs(1), Timestamp::EPOCH);
        feed.asked(&Reference { hash, size, useless_at, now }, true);
    };
    for key in 0..RESIDENTS {
        let Newcomer { hash, size, .. } = newcomer(key);
        asked(hash, size);
        feed.drain();
    }
    criterion.bench_function("evict/hit/seawall_with_curve", |bencher| {
        bencher.iter(|| {
            let Touched { hash, size } = evictor.touch(map.get(&keys.next()?)??)?;
            asked(hash, size);
            Some(())
        });
    });
    criterion.bench_function("evict/sampled", |bencher| {
        let mut sampled = (0..RESIDENTS).map(newcomer).filter(|it| it.hash >> 56 == 0).cycle();
        bencher.iter(|| {
            let Newcomer { hash, size, .. } = sampled.next()?;
            asked(hash, size);
            feed.drain();
            Some(())
        });
    });
    // Each key comes twice, so that newcomers are worth letting in.
    let mut newcomers = (2 * RESIDENTS..).map(|number| newcomer(number / 2));
    criterion.bench_function("evict/decision", |bencher| {
        bencher.iter(|| newcomers.next().map(|it| evictor.admit(it, Timestamp::EPOCH)));
    });
}

fn policy(criterion: &mut Criterion) {
    let (request, overrides) = (request_headers(), Overrides::default());
    let facts = RequestFacts::new(&Method::GET, &request, false);
    let (plain, now) = (stored_head(&response_headers()), Clock::System.now());
    criterion.bench_function("policy/reuse", |bencher| {
        bencher.iter(|| {
            let directives = RequestDirectives::parse(black_box(&request));
            reuse(black_box(&plain), &facts, &directives, &overrides, Validity::Valid, now)
        });
    });
    let mut varying = response_headers();
    varying.insert("vary", HeaderValue::from_static("Accept-Encoding"));
    let varying = stored_head(&varying);
    for (name, stored) in [("plain", &plain), ("vary", &varying)] {
        criterion.bench_function(&format!("policy/select/{name}"), |bencher| {
            bencher.iter(|| select([black_box(stored)].into_iter(), &request, &overrides));
        });
    }
}

fn head(criterion: &mut Criterion) {
    let response = response_headers();
    let stored = stored_head(&response);
    criterion.bench_function("head/header_map", |bencher| {
        bencher.iter(|| black_box(&stored).header_map());
    });
    criterion.bench_function("head/store", |bencher| {
        bencher.iter(|| stored_head(black_box(&response)));
    });
}

fn cache_status(criterion: &mut Criterion) {
    let outcome = Outcome { hit: true, ttl: Some(3599), ..Outcome::default() };
    criterion.bench_function("cache_status", |bencher| {
        bencher.iter_batched_ref(
            || HeaderMap::with_capacity(8),
            |headers| proxy::add_cache_status(headers, "seawall", black_box(&outcome)),
            BatchSize::SmallInput,
        );
    });
}

/// From hyper's request to the last piece of the body, without sockets.
fn stack(criterion: &mut Criterion) {
    let mut stack = proxy::stack(&parts(Filler::filled(OTHERS)));
    let connection = connection();
    criterion.bench_function("stack/hit", |bencher| {
        bencher.iter_batched(
            || client_request(&connection),
            |request| {
                let answer = stack.ready().now_or_never().expect("always ready").expect("no error");
                let answer = answer.call(request).now_or_never().expect("a hit does not wait");
                let mut body = answer.expect("a response").into_body();
                while let Some(frame) = body.frame().now_or_never().expect("it is in memory") {
                    black_box(frame.expect("a frame"));
                }
            },
            BatchSize::SmallInput,
        );
    });
}
