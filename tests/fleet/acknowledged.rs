//! Waiting for the fleet: who has done a purge, and who is not known to have.

use seawall::store::remote::fleet::Read;

use super::{Site, order};
use crate::support::*;
use crate::tier::stalls::{Between, Way};

#[tokio::test]
async fn every_answer_to_a_purge_tells_its_place_in_the_fleet() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    let everything = request("POST", "/purge")
        .with("Content-Type", "application/json")
        .body(r#"{"kind":"all"}"#);
    let mut places = Vec::new();
    for answer in [
        one.ask_admin(&everything).await,
        other.ask_admin(&everything).await,
        one.send(&request("PURGE", "/a")).await,
        one.send(&request("PURGE", "/a").with("Cache-Tag", "a,b")).await,
    ] {
        assert_eq!(answer.status, 200);
        let told: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
        let place = told["fleet"].as_str().expect("a place").to_owned();
        assert_eq!(told.get("acknowledged"), None);
        places.push(place);
    }
    let sorted = places.is_sorted();
    assert!(sorted && places.iter().all(|place| place[..16] == places[0][..16]), "{places:?}");
}

#[tokio::test]
async fn who_waits_is_told_who_has_done_it() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    let mut names = [one.tier().fleet().name(), other.tier().fleet().name()];
    names.sort_unstable();
    let by_method = request("PURGE", "/a").with("Purge-Wait", "all");
    for answer in
        [one.ask_admin(&order(r#""kind":"all""#, "hard", 20)).await, one.send(&by_method).await]
    {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
        let mut done: Vec<_> = told["acknowledged"].as_array().expect("names").iter().collect();
        done.sort_by_key(|name| name.as_str());
        assert_eq!(done, names.iter().collect::<Vec<_>>());
        assert_eq!(told["missing"], serde_json::json!([]));
    }
    assert!(other.tier().fleet().counters().entries(Read::Applied) >= 2);
}

#[tokio::test]
async fn who_has_not_is_named_in_a_bounded_time_and_acknowledges_when_it_is_back() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let between = Between::to(&redis).await;
    let one = site.node(&redis).await;
    let place = between.place();
    let away = site
        .node_with(&redis, |settings| settings.redis.as_mut().expect("configured").place = place)
        .await;
    between.set(Way::Stalled);
    let answer = one.ask_admin(&order(r#""kind":"all""#, "hard", 1)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let told: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    assert_eq!(told["acknowledged"], serde_json::json!([one.tier().fleet().name()]));
    assert_eq!(told["missing"][0]["node"], away.tier().fleet().name());
    between.set(Way::Open);
    one.purge_everywhere(r#""kind":"all""#, "hard").await;
}

#[tokio::test]
async fn while_redis_is_away_nobody_waits_for_longer_than_asked() {
    let (mut redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node(&redis).await;
    redis.kill();
    one.parted().await;
    let answer = one.ask_admin(&order(r#""kind":"all""#, "hard", 0)).await;
    assert_eq!(answer.status, 202);
    let told: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    assert_eq!((told.get("fleet"), &told["acknowledged"]), (None, &serde_json::json!([])));
    let answer = one.send(&request("PURGE", "/a")).await;
    assert_eq!(answer.status, 200, "it is done here");
    redis.resume().await;
    one.joined().await;
    one.purge_everywhere(r#""kind":"all""#, "hard").await;
}

/// Redis has lost who is there with all the rest; who was known is waited for.
#[tokio::test]
async fn who_was_there_is_waited_for_although_redis_has_forgotten_it() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let between = Between::to(&redis).await;
    let one = site.node(&redis).await;
    let place = between.place();
    let away = site
        .node_with(&redis, |settings| settings.redis.as_mut().expect("configured").place = place)
        .await;
    eventually("both to be known", || one.tier().fleet().nodes().len() == 2).await;
    between.set(Way::Stalled);
    redis.run_line("FLUSHALL").await;
    let answer = one.ask_admin(&order(r#""kind":"all""#, "hard", 3)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(answer.text().contains(away.tier().fleet().name()), "{}", answer.text());
    between.set(Way::Open);
    one.purge_everywhere(r#""kind":"all""#, "hard").await;
}

#[tokio::test]
async fn a_node_that_ended_well_is_not_waited_for() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, mut other) = (site.node(&redis).await, site.node(&redis).await);
    other.purge("tag", "last", "hard").await;
    within("the end", other.shutdown()).await.expect("no panic");
    one.read(Read::Applied, 1).await;
    let answer = one.ask_admin(&order(r#""kind":"all""#, "hard", 20)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    assert_eq!(told["acknowledged"], serde_json::json!([one.tier().fleet().name()]));
}

#[tokio::test]
async fn a_node_alone_has_nobody_to_wait_for() {
    let site = Site::start().await;
    let one = Proxy::start(&site.origin).await;
    let answer = one.ask_admin(&order(r#""kind":"all""#, "hard", 1)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("this node"), "{}", answer.text());
}
