//! What Redis does to what it holds: each `maxmemory-policy`, `FLUSHALL` under load, and entries of
//! another version. It costs fetches, never a wrong byte.

use ::redis::cmd;
use seawall::store::remote::{Looked, Wrote};

use super::{node, two};
use crate::support::*;

/// Every path has a body of its own, of which one in four is too large for an entry.
fn body(path: &str) -> Vec<u8> {
    let number: usize = path.trim_start_matches('/').parse().expect("a number");
    let length = if number.is_multiple_of(4) { 200_000 } else { 20_000 };
    path.bytes().cycle().take(length + number).collect()
}

async fn bodies() -> Origin {
    Origin::start(|request| ok(body(&request.target)).fresh(600)).await
}

/// Whole and right, or cut where it can be told.
fn is_honest(path: &str, response: &Response) -> bool {
    !response.complete || response.status == 200 && response.body == body(path)
}

async fn runs_full(policy: &str) {
    let redis = Redis::with(&["--maxmemory", "4mb", "--maxmemory-policy", policy]).await;
    let origin = bodies().await;
    let (one, other) = two(&redis, &origin).await;
    let paths: Vec<_> = (0..120).map(|number| format!("/{number}")).collect();
    let mut whole = 0;
    for node in [&one, &other, &one] {
        for path in &paths {
            let response = node.get(path).await;
            assert!(is_honest(path, &response), "{policy} {path}");
            whole += usize::from(response.complete);
        }
    }
    // What was evicted while it was read is cut.
    assert!(whole > 3 * paths.len() * 9 / 10, "{policy}: {whole}");
    // What Redis had no room for makes the rest wait, for some seconds at last.
    let came_to = |&outcome: &Wrote| one.tier().counters().writes(outcome);
    eventually("each to be written, or not, or to wait", || {
        let (waiting, ..) = one.tier().waiting();
        let judged: u64 = Wrote::ALL.iter().map(came_to).sum();
        judged > 0 && judged + waiting as u64 >= paths.len() as u64
    })
    .await;
    let used: String = redis.ask(cmd("INFO").arg("memory")).await;
    assert!(used.contains(&format!("maxmemory_policy:{policy}")), "{used}");
    assert_eq!(one.ask_admin(&get("/readyz")).await.status, 200);
}

macro_rules! policies {
    ($($test:ident $policy:literal)*) => {$(
        #[tokio::test]
        async fn $test() {
            runs_full($policy).await;
        }
    )*};
}

policies! {
    a_full_redis_that_evicts_nothing_costs_no_answer "noeviction"
    a_full_redis_that_evicts_what_is_oldest_costs_no_answer "allkeys-lru"
    a_full_redis_that_evicts_what_is_seldom_used_costs_no_answer "allkeys-lfu"
    a_full_redis_that_evicts_anything_costs_no_answer "allkeys-random"
    a_full_redis_that_evicts_what_expires_and_is_oldest_costs_no_answer "volatile-lru"
    a_full_redis_that_evicts_what_expires_and_is_seldom_used_costs_no_answer "volatile-lfu"
    a_full_redis_that_evicts_anything_that_expires_costs_no_answer "volatile-random"
    a_full_redis_that_evicts_what_expires_first_costs_no_answer "volatile-ttl"
}

#[tokio::test]
async fn flushall_under_load_costs_fetches_and_no_wrong_byte() {
    let redis = Redis::start().await;
    let origin = bodies().await;
    let (one, other) = two(&redis, &origin).await;
    let mut clients = Vec::new();
    for seed in 0..8 {
        let node = if seed % 2 == 0 { &one } else { &other };
        let address = node.address;
        clients.push(tokio::spawn(async move {
            let mut whole = 0;
            for round in 0..60 {
                let path = format!("/{}", (seed * 7 + round * 11) % 40);
                let response = Client::connect(address).await.exchange(&get(&path)).await;
                assert!(is_honest(&path, &response), "{path}");
                whole += usize::from(response.complete);
            }
            whole
        }));
    }
    let flushing = async {
        for _ in 0..20 {
            let _: String = redis.ask(&cmd("FLUSHALL")).await;
        }
    };
    let (whole, ()) = tokio::join!(all(clients), flushing);
    // What was cut was on its way just then.
    assert!(whole.iter().sum::<usize>() > 8 * 60 * 9 / 10, "{whole:?}");
    for node in [&one, &other] {
        node.hearing().await;
        let response = node.get("/1").await;
        assert!(response.complete && is_honest("/1", &response));
    }
}

/// A fleet is updated a node at a time.
#[tokio::test]
async fn an_entry_of_another_version_is_a_miss_and_no_error() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let one = node(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let keys = redis.keys().await;
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    let mut entry: Vec<u8> = redis.ask(cmd("HGET").arg(key).arg("-")).await;
    entry[2] += 1;
    let _: usize = redis.ask(cmd("HSET").arg(key).arg("-").arg(&entry)).await;
    let other = node(&redis, &origin).await;
    assert_eq!(other.get("/").await.text(), "x");
    assert_eq!((other.looked(Looked::Version), origin.count()), (1, 2));
    other.wrote(Wrote::Stored, 1).await;
    let third = node(&redis, &origin).await;
    assert!(super::from_tier(&third.get("/").await), "it was replaced");
}
