//! Leases against a model: whatever nodes do with them, and whatever Redis forgets, one at most
//! holds a lease, its token is higher than all before, and who has lost it changes nothing.

use ::redis::cmd;
use fastrand::Rng;
use http::HeaderMap;
use seawall::policy::{Overrides, Reason};
use seawall::store::remote::{Claim, Ending, Lease, Query};

use super::nodes;
use crate::support::*;

const KEY: &str = "http://example.test/";

/// What the model expects of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    None,
    Held,
    Apart,
}

async fn claim(node: &Proxy) -> Claim {
    let (overrides, request) = (Overrides::default(), HeaderMap::new());
    let query = Query {
        key: KEY,
        request: &request,
        overrides: &overrides,
        reading: &|_, _| Overrides::default(),
        now: node.cache().clock().now(),
        claims: Some(0),
        waited: false,
    };
    node.tier().look_up(&query).await.claim.expect("redis is there")
}

/// The record as it stands: who holds it, or why not.
async fn record(redis: &Redis, name: &str) -> Option<String> {
    redis.ask(cmd("GET").arg(name)).await
}

fn token(record: &str) -> u64 {
    let digits = record[1..].split(':').next().expect("a token");
    digits.parse().expect("a number")
}

#[tokio::test]
async fn one_at_most_holds_a_lease_and_tokens_only_rise() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("x")).await;
    let fleet = nodes(&redis, &origin, 3).await;
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let (mut name, mut latest) = (String::new(), 0);
    let mut expected = Record::None;
    let (mut held, mut lost): (Option<Lease>, Vec<Lease>) = (None, Vec::new());
    for step in 0..400 {
        let context = format!("seed {seed}, step {step}, {expected:?}");
        match random.u8(0..8) {
            0..4 => {
                let node = &fleet[random.usize(0..fleet.len())];
                match (claim(node).await, expected) {
                    (Claim::Granted(lease), Record::None) => {
                        if name.is_empty() {
                            name = super::held(&redis).await.remove(0);
                        }
                        let token = token(&record(&redis, &name).await.expect("it is held"));
                        assert!(token > latest, "{context}");
                        (held, latest, expected) = (Some(lease), token, Record::Held);
                    }
                    (Claim::Held(_), Record::Held) => {}
                    (Claim::Apart(why, _), Record::Apart) => {
                        assert_eq!(why, Some(Reason::Private), "{context}");
                    }
                    (claim, _) => panic!("{context}: {claim:?}"),
                }
            }
            4 => {
                // It runs out, or is evicted; who had it does not know.
                if !name.is_empty() {
                    redis.run_line(&format!("DEL {name}")).await;
                }
                lost.extend(held.take());
                expected = Record::None;
            }
            5 => {
                // Of no consequence, whatever the old one says.
                let Some(lease) = lost.pop() else { continue };
                let before = record(&redis, &name).await;
                lease.end(Ending::Failed);
                assert_eq!(record(&redis, &name).await, before, "{context}");
            }
            kind => {
                let Some(lease) = held.take() else { continue };
                if kind == 6 {
                    drop(lease);
                    expected = Record::None;
                } else {
                    lease.end(Ending::Apart(Some((Reason::Private, secs(60)))));
                    expected = Record::Apart;
                }
                within("the end to be known", async {
                    while record(&redis, &name).await.is_some_and(|it| it.starts_with('h')) {}
                })
                .await;
            }
        }
    }
}
