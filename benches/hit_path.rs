//! What a memory hit costs: each step alone, and the whole stack in process.
//!
//! `cargo bench` measures; `cargo bench -- --test` only checks that everything runs.
#![expect(clippy::expect_used, reason = "what cannot be set up cannot be measured")]

use std::hash::BuildHasher;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use foldhash::{fast, quality};
use futures_util::FutureExt;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use seawall::body::Body;
use seawall::cache::{self, Cache, Fetch, Job};
use seawall::clock::{Clock, Timestamp};
use seawall::context::{Connection, Hop, Outcome, Protocol, Request, RequestBody, RequestId};
use seawall::key::Target;
use seawall::limit::Limit;
use seawall::policy::{
    Overrides, RequestDirectives, RequestFacts, ResponseTimes, StoredHead, Validity, reuse, select,
};
use seawall::proxy::{self, ErrorPages, Observer, OriginService, Route};
use seawall::shutdown::Shutdown;
use seawall::store::curve::{self, Feed, Reference};
use seawall::store::evict::{self, Evictor, Newcomer, Touched};
use seawall::store::{self, Memory};
use seawall::telemetry::Metrics;
use seawall::telemetry::access_log::AccessLog;
use seawall::upstream;
use tower::{Service, ServiceExt};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const URL: &str = "http://www.example.com/assets/main.css?v=1234";
const BODY: usize = 1024;
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
    let shared = filled();
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
    let config = evict::Config { capacity: RESIDENTS * 10_000, size_exponent: 0.75, seed: 1 };
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
    let mut stack = proxy::stack(&parts(filled()));
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

fn request_headers() -> HeaderMap {
    HeaderMap::from_iter([
        (HOST, HeaderValue::from_static("www.example.com")),
        (USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:144.0)")),
        (ACCEPT, HeaderValue::from_static("text/css,*/*;q=0.1")),
        (ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, br, zstd")),
    ])
}

fn response_headers() -> HeaderMap {
    HeaderMap::from_iter([
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
        (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (ETAG, HeaderValue::from_static("\"5f2b-61c8d3a7\"")),
    ])
}

fn stored_head(response: &HeaderMap) -> StoredHead {
    let request = request_headers();
    let facts = RequestFacts::new(&Method::GET, &request, false);
    let now = Clock::System.now();
    let times = ResponseTimes { request_at: now, response_at: now };
    StoredHead::new(&facts, StatusCode::OK, response, times, &Overrides::default())
}

fn connection() -> Arc<Connection> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
    let protocol = Protocol::Http1;
    Arc::new(Connection { peer: address, local: address, secure: false, protocol, interim: None })
}

/// A request as the server hands it to the stack.
fn client_request(connection: &Arc<Connection>) -> Request {
    let mut head = http::Request::new(()).into_parts().0;
    head.uri = "/assets/main.css?v=1234".parse().expect("a path");
    head.headers = request_headers();
    Request {
        head,
        body: RequestBody::Empty,
        connection: Arc::clone(connection),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: Instant::now(),
        id: RequestId(0),
        refused: None,
        hop: Hop::default(),
    }
}

/// A cache that holds [`URL`] and others, filled through itself by an origin that is a function.
fn filled() -> Arc<cache::Shared> {
    let shutdown = Shutdown::new();
    let memory = Memory::new(&store::Config::default());
    let background = shutdown.background().clone();
    let shared = Arc::new(cache::Shared::new(
        memory,
        Clock::System,
        background.clone(),
        Limit::new(usize::MAX),
    ));
    let origin = tower::service_fn(|_: Fetch| async {
        let mut response = http::Response::new(Body::from(Bytes::from(vec![b'x'; BODY])));
        *response.headers_mut() = response_headers();
        Ok(response)
    });
    let cache = Cache::new(Arc::clone(&shared), origin);
    let connection = connection();
    let others = (0..OTHERS).map(|index| format!("http://www.example.com/{index}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        for url in others.chain([URL.to_owned()]) {
            let job = Job {
                shares: None,
                by_response: None,
                edits: None,
                request: client_request(&connection),
                target: Target::parse(&url).expect("a URL"),
                config: Arc::default(),
                upstream: 0,
                trusted: false,
            };
            let response = cache.clone().oneshot(job).await.expect("a response");
            response.http.into_body().collect().await.expect("a body");
        }
        background.close();
        background.wait().await;
    });
    shared.memory().settle();
    shared
}

/// The stack's parts over `cache`, with the access log off; its origins are never asked.
fn parts(cache: Arc<cache::Shared>) -> proxy::Parts {
    let route = Route {
        name: "/".to_owned(),
        host: None,
        path: "/".to_owned(),
        upstream: 0,
        cache: cache::Config::default(),
    };
    let config = Arc::new(proxy::Config {
        rules: Arc::default(),
        trusted_proxies: Vec::new(),
        limits: proxy::Limits::default(),
        routes: vec![Arc::new(route)],
        purge: proxy::Purge::default(),
        debug: Vec::new(),
        error_pages: std::collections::BTreeMap::new(),
        name: "seawall".to_owned(),
    });
    let observer = Observer {
        metrics: Metrics::new(1).core(0),
        log: AccessLog::default(),
        clock: Clock::System,
        name: config.name.clone(),
        upstreams: Arc::new([]),
        trusted: Arc::new([]),
        in_flight: Limit::new(usize::MAX),
        per_client: None,
    };
    let upstreams = Arc::new(upstream::Shared::new(&[]).expect("no upstreams"));
    let origins = upstream::Origins::new(&upstreams);
    proxy::Parts {
        config: Arc::clone(&config),
        observer: Arc::new(observer),
        pages: Arc::new(ErrorPages::default()),
        cache,
        origin: OriginService::new(origins, config),
        shutdown: Shutdown::new(),
    }
}
