//! Purges, changes and requests all at once, held against a model: nothing that was purged before a
//! request began is its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Site, order};
use crate::support::*;

const NODES: usize = 3;
const KEYS: usize = 12;
const PURGERS: usize = 3;
const PURGES: usize = 40;
const READERS: usize = 4;

/// What the origin has, and what is known to be purged.
#[derive(Default)]
struct Model {
    current: [AtomicU64; KEYS],
    /// Versions below this one were purged, and all nodes have acknowledged it.
    least: [AtomicU64; KEYS],
    unacknowledged: AtomicU64,
    ended: AtomicBool,
}

/// An origin that answers with the version that there is when it is asked.
async fn versions(model: &Arc<Model>) -> Origin {
    let model = Arc::clone(model);
    Origin::start(move |request| {
        let key: usize = request.target[1..].parse().expect("a number");
        let version = model.current[key].load(SeqCst).to_string();
        ok(version).fresh(600).with("Cache-Tag", format!("k{key}"))
    })
    .await
}

/// Changes things, and purges them by whatever covers them, on any node.
async fn purge(nodes: Arc<Vec<Proxy>>, model: Arc<Model>, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for _ in 0..PURGES {
        let key = rng.random_range(0..KEYS);
        let version = model.current[key].fetch_add(1, SeqCst) + 1;
        let what = match rng.random_range(0..20) {
            0 => r#""kind":"all""#.to_owned(),
            1 => r#""hosts":["example.test"]"#.to_owned(),
            2..10 => format!(r#""tags":["k{key}"]"#),
            _ => format!(r#""urls":["http://example.test/{key}"]"#),
        };
        let node = &nodes[rng.random_range(0..NODES)];
        let answer = node.ask_admin(&order(&what, "hard", 15)).await;
        if answer.status == 200 {
            model.least[key].fetch_max(version, SeqCst);
        } else {
            assert_eq!(answer.status, 202, "{}", answer.text());
            model.unacknowledged.fetch_add(1, SeqCst);
        }
    }
}

/// Asks any node for anything until the purges are over; gives how often memory answered.
async fn ask(nodes: Arc<Vec<Proxy>>, model: Arc<Model>, seed: u64) -> usize {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut hits = 0;
    while !model.ended.load(SeqCst) {
        let (key, node) = (rng.random_range(0..KEYS), rng.random_range(0..NODES));
        let least = model.least[key].load(SeqCst);
        let response = nodes[node].get(&format!("/{key}")).await;
        let version: u64 = response.text().parse().expect("a version");
        assert!(version >= least, "{key} on {node}: {version} < {least}, {response:?}");
        hits += usize::from(response.is_hit());
    }
    hits
}

async fn storm(disturb: impl AsyncFnOnce(&mut Redis, &Model)) {
    let mut redis = Redis::start().await;
    let model = Arc::new(Model::default());
    let site = Site { origin: versions(&model).await, version: Arc::default() };
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(site.node_with(&redis, |settings| settings.tier.max_unsynced = secs(2)).await);
    }
    for node in &nodes {
        eventually("all to know each other", || node.tier().fleet().nodes().len() == NODES).await;
    }
    let nodes = Arc::new(nodes);
    let purgers = (0..PURGERS as u64).map(|it| purge(nodes.clone(), model.clone(), it));
    let purgers: Vec<_> = purgers.map(tokio::spawn).collect();
    let readers = (0..READERS as u64).map(|it| ask(nodes.clone(), model.clone(), 100 + it));
    let readers: Vec<_> = readers.map(tokio::spawn).collect();
    disturb(&mut redis, &model).await;
    for purger in purgers {
        purger.await.expect("no panic");
    }
    model.ended.store(true, SeqCst);
    let hits: usize = all(readers).await.into_iter().sum();
    assert!(hits > 0, "memory answers meanwhile");
    let unacknowledged = model.unacknowledged.load(SeqCst);
    assert!(unacknowledged < (PURGERS * PURGES / 2) as u64, "{unacknowledged}");
}

/// Waits until so many purges have been acknowledged.
async fn acknowledged(model: &Model, count: u64) {
    let purged = || model.least.iter().map(|least| least.load(SeqCst)).sum::<u64>() >= count;
    eventually("some purges", purged).await;
}

#[tokio::test]
async fn nothing_purged_is_served_after_its_acknowledgement() {
    storm(async |_, _| ()).await;
}

#[tokio::test]
async fn nor_where_redis_is_flushed_and_trimmed_midway() {
    storm(async |redis, model| {
        for count in 1..=4 {
            acknowledged(model, 15 * count).await;
            redis.run_line("FLUSHALL").await;
            acknowledged(model, 15 * count + 7).await;
            redis.run_line("XTRIM seawall:purges MAXLEN 1").await;
        }
    })
    .await;
}

#[tokio::test]
async fn nor_where_redis_is_killed_and_started_empty() {
    storm(async |redis, model| {
        acknowledged(model, 20).await;
        redis.kill();
        redis.resume().await;
        acknowledged(model, 60).await;
    })
    .await;
}
