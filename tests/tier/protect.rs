//! `protect` while Redis is out of reach: who comes first, those who ask or the origin.

use std::time::Duration;

use seawall::cache::Protect;
use seawall::config::Settings;
use seawall::redis::Health;

use super::stalls::{Between, Way};
use crate::support::*;

fn spare(settings: &mut Settings) {
    let cache = settings.cache();
    cache.protect = Protect::Origin;
    cache.policy.stale_if_error = secs(60);
}

/// A refusal that tells the client to come back.
fn is_withheld(response: &Response) -> bool {
    response.status == 503
        && response.field("retry-after") == Some("1")
        && response.says("detail=tier-unavailable")
}

async fn pages() -> Origin {
    Origin::start(|request| ok(request.target.clone()).fresh(10)).await
}

#[tokio::test]
async fn with_redis_gone_the_origin_gets_no_more_than_what_clients_were_told_of_it() {
    let mut redis = Redis::start().await;
    let origin = pages().await;
    let proxy = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        spare(settings);
    })
    .await;
    proxy.joined().await;
    assert_eq!(proxy.get("/stored").await.text(), "/stored");
    redis.kill();
    proxy.parted().await;
    let before = origin.count();
    assert!(proxy.get("/stored").await.is_hit(), "memory goes on");
    assert!(is_withheld(&proxy.get("/new").await));
    for response in proxy.at_once(20, &get("/crowd")).await {
        assert!(is_withheld(&response), "{response:?}");
    }
    proxy.advance(secs(20));
    let stale = proxy.get("/stored").await;
    assert_eq!((stale.status, stale.text()), (200, "/stored"));
    assert!(stale.says("detail=stale-if-error"), "{}", stale.cache_status());
    proxy.advance(secs(60));
    assert!(is_withheld(&proxy.get("/stored").await), "beyond its window");
    assert_eq!(origin.count(), before);
    redis.resume().await;
    proxy.joined().await;
    assert_eq!(proxy.get("/new").await.text(), "/new");
    assert_eq!(proxy.get("/stored").await.text(), "/stored");
}

#[tokio::test]
async fn what_never_goes_to_redis_does_not_depend_on_it() {
    let mut redis = Redis::start().await;
    let origin = pages().await;
    let proxy = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        spare(settings);
    })
    .await;
    proxy.joined().await;
    redis.kill();
    proxy.parted().await;
    assert_eq!(proxy.send(&post("/form", "a")).await.status, 200);
    assert_eq!(proxy.send(&get("/own").with("Authorization", "Basic YTpi")).await.status, 200);
}

#[tokio::test]
async fn by_default_the_origin_is_asked_in_its_place() {
    let mut redis = Redis::start().await;
    let origin = pages().await;
    let proxy = super::node(&redis, &origin).await;
    redis.kill();
    proxy.parted().await;
    assert_eq!(proxy.get("/new").await.text(), "/new");
}

/// Whoever finds Redis slow waits for the budget; once it is left alone, nobody does.
#[tokio::test]
async fn with_redis_stalled_nobody_waits_for_longer_than_the_budget() {
    let redis = Redis::start().await;
    let between = Between::to(&redis).await;
    let origin = pages().await;
    let proxy = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        settings.redis.as_mut().expect("configured").place = between.place();
        settings.tier.lookup_budget = millis(50);
        spare(settings);
    })
    .await;
    proxy.joined().await;
    assert_eq!(proxy.get("/before").await.text(), "/before");
    between.set(Way::Stalled);
    let (begun, before) = (std::time::Instant::now(), origin.count());
    let mut number = 0;
    while !matches!(proxy.tier().health(), Health::Down(_)) {
        assert!(is_withheld(&proxy.get(&format!("/{number}")).await));
        assert!(begun.elapsed() < Duration::from_secs(20), "it is left alone at last");
        number += 1;
    }
    assert!(is_withheld(&proxy.get("/last").await));
    assert_eq!(origin.count(), before);
    between.set(Way::Open);
    proxy.joined().await;
    assert_eq!(proxy.get("/last").await.text(), "/last");
}
