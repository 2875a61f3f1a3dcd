//! The chaos run: clients that abort, dawdle, purge and reload, against origins that fail as they
//! like, with every response held against a model of all that has happened.
//!
//! `make chaos` runs it for minutes; as a test it is a short round with a fixed seed. The seed
//! decides what every client asks and what an origin answers to each request; which of them comes
//! first is the machine's choice, so a replay repeats the plan and not the interleaving.
#![allow(clippy::print_stdout, reason = "it tells what it found, and how to find it again")]

mod answers;
mod client;
mod content;
mod ledger;
mod leftovers;
mod origin;
mod site;
mod verify;
mod wish;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use seawall::config::Settings;
use seawall::policy::RequestDirectivesPolicy;
use seawall::server::{Listener, Tls};
use seawall::store::remote::Looked;
use seawall::upstream;
use tokio::task::JoinSet;

use crate::support::*;
use content::hash;
use ledger::{Ledger, Scope};
use leftovers::Leftovers;
use origin::pause;
use site::{HONOURING, MAX_OBJECT_SIZE, ORIGINS};

/// What is told by the environment: `CHAOS_SEED`, `CHAOS_ROUNDS`, `CHAOS_SECONDS` (a round's) and
/// `CHAOS_CLIENTS`.
#[derive(Debug)]
struct Options {
    seed: u64,
    rounds: u64,
    seconds: u64,
    clients: u64,
}

impl Options {
    fn read() -> Self {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|_| {
                panic!("{name} is a number, not {text:?}");
            }),
            _ => default,
        };
        Self {
            seed: number("CHAOS_SEED", 1),
            rounds: number("CHAOS_ROUNDS", 1),
            seconds: number("CHAOS_SECONDS", 2),
            clients: number("CHAOS_CLIENTS", 24),
        }
    }
}

/// What a round's clients and origins share.
struct World {
    seed: u64,
    ledger: Ledger,
    cleartext: SocketAddr,
    tls: SocketAddr,
    authority: Arc<Authority>,
    /// Whether an origin fails more often than not, for now.
    storms: [AtomicBool; ORIGINS as usize],
    attempts: Mutex<HashMap<u64, u32>>,
}

impl World {
    /// Which of the fetches for this request this is.
    fn attempt(&self, request: u64) -> u32 {
        let mut attempts = self.attempts.lock().expect("nothing panics with the lock");
        let attempt = attempts.entry(request).or_default();
        *attempt += 1;
        *attempt
    }
}

#[tokio::test]
async fn nothing_is_wrong_cut_stale_shared_or_left_behind() {
    if !alone("chaos::nothing_is_wrong_cut_stale_shared_or_left_behind") {
        return;
    }
    run(None).await;
}

/// The same with Redis behind memory, of which many a response comes: there is room in memory for
/// few.
#[tokio::test]
async fn nothing_is_wrong_either_with_redis_behind_memory() {
    if alone("chaos::nothing_is_wrong_either_with_redis_behind_memory") {
        run(Some(Redis::start().await)).await;
    }
}

async fn run(redis: Option<Redis>) {
    let options = Options::read();
    println!("chaos: {options:?}");
    let mut listeners = Vec::new();
    for _ in 0..ORIGINS {
        listeners.push(origin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await);
    }
    let origins: Vec<_> = listeners.iter().map(|it| it.local_addr().expect("bound")).collect();
    let authority = Arc::new(Authority::new("chaos"));
    // The clock is its; the proxy never meets it.
    let clockwork = Origin::answering(ok("")).await;
    let proxy = Proxy::with(&clockwork, |settings| {
        tune(settings, &origins, &authority);
        if let Some(redis) = &redis {
            redis.configure(settings);
            // Most of what is asked for again is to come from there.
            settings.store.memory = 1024 * 1024;
        }
    });
    let proxy = proxy.await;
    if redis.is_some() {
        proxy.joined().await;
    }
    let mut before = Leftovers::settled(&proxy).await;
    if redis.is_some() {
        // Made by the first wait for another node's fetch: the connection that news of it come on.
        before.descriptors += 1;
    }
    let mut serial = 0;
    let mut memory = Vec::new();
    for round in 0..options.rounds {
        let world = Arc::new(World {
            seed: hash(&(options.seed, round)),
            ledger: Ledger::new(clockwork.clock.clone(), serial),
            cleartext: proxy.addresses()[0],
            tls: proxy.addresses()[1],
            authority: Arc::clone(&authority),
            storms: std::array::from_fn(|_| AtomicBool::new(false)),
            attempts: Mutex::default(),
        });
        listeners = play(&options, &proxy, &world, listeners).await;
        let after = Leftovers::settled(&proxy).await;
        serial = world.ledger.last();
        for fault in before.compare(&after) {
            world.ledger.violation(fault);
        }
        report(round, &options, &world, &after);
        memory.push(after.anonymous_bytes);
        let violations = world.ledger.violations();
        let Options { seed, rounds, seconds, .. } = options;
        assert!(
            violations.is_empty(),
            "{} violations; the same plan again: make chaos SEED={seed} ROUNDS={rounds} \
             SECONDS={seconds}",
            violations.len()
        );
    }
    leftovers::assert_level(&memory);
    if redis.is_some() {
        let count = |outcome: &Looked| format!("{} {}", proxy.looked(*outcome), outcome.word());
        let counts: Vec<_> = Looked::ALL.iter().map(count).collect();
        println!("chaos: lookups in redis: {}", counts.join(", "));
    }
}

fn tune(settings: &mut Settings, origins: &[SocketAddr], authority: &Authority) {
    settings.store.memory = 3 * 1024 * 1024;
    settings.proxy.purge.allow = vec!["127.0.0.0/8".parse().expect("a network")];
    let cleartext = Listener::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut encrypted = cleartext.clone();
    encrypted.tls = Some(Tls {
        certificates: vec![authority.certificate("chaos", "example.test")],
        allow_tls12: true,
        reload_interval: secs(3600),
    });
    settings.server.listeners = vec![cleartext, encrypted];
    let template = settings.proxy.routes[0].clone();
    (settings.upstreams, settings.proxy.routes) = (Vec::new(), Vec::new());
    for (index, address) in origins.iter().enumerate() {
        let name = format!("origin-{index}");
        let mut upstream = upstream::Config::new(&name, false, "127.0.0.1", address.port());
        upstream.connect_timeout = secs(2);
        upstream.first_byte_timeout = secs(2);
        upstream.between_bytes_timeout = secs(2);
        upstream.idle_timeout = millis(500);
        settings.upstreams.push(upstream);
        let mut route = seawall::proxy::Route::clone(&template);
        (route.name, route.path, route.upstream) = (name, format!("/{index}/"), index);
        route.cache.max_object_size = MAX_OBJECT_SIZE;
        route.cache.window = 64 * 1024;
        route.cache.fill_grace = secs(1);
        route.cache.stall_timeout = secs(3);
        route.cache.wait = secs(1);
        route.cache.hit_for_miss = secs(3);
        if index == usize::from(HONOURING) {
            route.cache.policy.request_directives = RequestDirectivesPolicy::Honour;
        }
        settings.proxy.routes.push(Arc::new(route));
    }
}

/// One round; the origins' listeners for the next.
async fn play(
    options: &Options,
    proxy: &Proxy,
    world: &Arc<World>,
    listeners: Vec<tokio::net::TcpListener>,
) -> Vec<tokio::net::TcpListener> {
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let addresses: Vec<_> = listeners.iter().map(|it| it.local_addr().expect("bound")).collect();
    let mut origins = JoinSet::new();
    for (index, listener) in (0..ORIGINS).zip(listeners) {
        origins.spawn(origin::run(Arc::clone(world), index, listener));
    }
    let mut clients = JoinSet::new();
    for name in 1..=options.clients {
        clients.spawn(client::run(Arc::clone(world), name, until));
    }
    fate(proxy, world, until).await;
    while let Some(ended) = clients.join_next().await {
        if let Err(panicked) = ended {
            world.ledger.violation(format!("a client hung: {panicked}"));
        }
    }
    origins.shutdown().await;
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(origin::bind(address).await);
    }
    listeners
}

/// What nobody can help: time, weather, and administrators.
async fn fate(proxy: &Proxy, world: &World, until: Instant) {
    let mut rng = SmallRng::seed_from_u64(hash(&(world.seed, "fate")));
    let mut seen = 0;
    while Instant::now() < until {
        pause(millis(rng.random_range(5..40))).await;
        // Time runs with what happens, so that a slow machine finds things as fresh as a fast one.
        let now = world.ledger.tick();
        proxy.advance(millis((now - seen) * rng.random_range(0..20)));
        seen = now;
        let storm = &world.storms[rng.random_range(0..usize::from(ORIGINS))];
        if rng.random_bool(0.02) {
            storm.store(rng.random_bool(0.4), Ordering::Relaxed);
        }
        if rng.random_bool(0.03) {
            let origin = rng.random_range(0..ORIGINS);
            let prefix = format!("http://example.test/{origin}/plain/{}", rng.random_range(0..9));
            let mode = if rng.random_bool(0.5) { "hard" } else { "soft" };
            let begun = world.ledger.tick();
            proxy.purge("prefix", &prefix, mode).await;
            world.ledger.purged(Scope::Prefix(prefix), mode == "hard", begun);
        }
        if rng.random_bool(0.003) {
            let begun = world.ledger.tick();
            proxy.purge("all", "", "hard").await;
            world.ledger.purged(Scope::All, true, begun);
        }
    }
}

fn report(round: u64, options: &Options, world: &World, after: &Leftovers) {
    let Options { seed, rounds, .. } = options;
    println!("\nchaos, seed {seed}, round {} of {rounds}", round + 1);
    let mut table = "";
    for ((name, row), count) in world.ledger.counts() {
        if name != table {
            println!("  {name}");
            table = name;
        }
        println!("    {count:>9}  {row}");
    }
    println!("  afterwards: {after:?}");
}
