//! Redis as a Cluster: who has what, slots that move, and servers that are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use seawall::redis::{Fault, Health};
use seawall::store::remote::fleet::Read;
use seawall::store::remote::{Leased, Wrote};

use super::{Site, patient};
use crate::support::*;

const STREAM: &str = "seawall:purges";

impl Site {
    async fn sharded_node(&self, sharded: &Sharded) -> Proxy {
        let configure = |settings: &mut _| {
            sharded.configure(settings);
            patient(settings);
        };
        self.joined_by(configure).await
    }
}

/// The name in Redis of what is stored for a target.
fn place(target: &str) -> String {
    let key = seawall::key::CacheKey::from_text(&format!("http://example.test{target}"));
    seawall::store::remote::layout::Place::new("seawall", key.as_str()).hash().to_owned()
}

#[tokio::test]
async fn what_one_node_has_fetched_another_finds_on_whichever_server_it_is() {
    let (sharded, site) = (Sharded::start().await, Site::start().await);
    let (one, other) = (site.sharded_node(&sharded).await, site.sharded_node(&sharded).await);
    let targets: Vec<_> = (0..30).map(|number| format!("/{number}")).collect();
    for target in &targets {
        one.shows(target).await;
    }
    one.wrote(Wrote::Stored, 30).await;
    for server in &sharded.servers {
        assert!(!server.keys().await.is_empty(), "each has some");
    }
    for target in &targets {
        let response = other.get(target).await;
        assert!(response.cache_status().contains("tier-hit"), "{target}: {response:?}");
    }
    assert_eq!(site.origin.count(), 30);
    // A fetch for all, told by whatever server.
    let led = |node: &Proxy| node.tier().counters().leases(Leased::Stored);
    for number in 0..10 {
        let target = get(&format!("/once-{number}"));
        tokio::join!(one.send(&target), other.send(&target));
    }
    assert_eq!(site.origin.count(), 40, "one fetch each");
    eventually("the leases to end", || led(&one) + led(&other) == 40).await;
    site.change();
    one.purge_everywhere(r#""tags":["page"]"#, "hard").await;
    assert_eq!(other.shows("/0").await, "2");
    one.purge("url", "http://example.test/1", "hard").await;
    one.wrote(Wrote::Deleted, 1).await;
    let servers = one.ask_admin(&get("/metrics")).await;
    assert_eq!(servers.text().matches("seawall_redis_server_up{").count(), 3);
}

#[tokio::test]
async fn a_large_body_is_on_one_server_and_read_from_there() {
    let sharded = Sharded::start().await;
    let body = vec![b'x'; 700_000];
    let origin = Origin::answering(ok(&body).fresh(600)).await;
    let site = Site { origin, version: Arc::default() };
    let (one, other) = (site.sharded_node(&sharded).await, site.sharded_node(&sharded).await);
    for target in ["/a", "/b", "/c", "/d"] {
        one.get(target).await;
    }
    one.wrote(Wrote::Stored, 4).await;
    for target in ["/a", "/b", "/c", "/d"] {
        let response = other.get(target).await;
        assert!(response.cache_status().contains("tier-hit"), "{target}: {response:?}");
        assert!(response.complete && response.body == body);
    }
}

/// The server without the stream is killed: what is in its slots is fetched, and nothing else
/// notices.
#[tokio::test]
async fn a_server_that_is_killed_takes_its_own_slots_with_it_and_no_others() {
    let (mut sharded, site) = (Sharded::start().await, Site::start().await);
    let (one, other) = (site.sharded_node(&sharded).await, site.sharded_node(&sharded).await);
    let targets: Vec<_> = (0..30).map(|number| format!("/{number}")).collect();
    for target in &targets {
        one.shows(target).await;
    }
    one.wrote(Wrote::Stored, 30).await;
    let (_, stream) = sharded.owner(STREAM).await;
    let victim = (stream + 1) % 3;
    let lost = sharded.servers[victim].keys().await;
    sharded.servers[victim].kill();
    let partly = |node: &Proxy| matches!(node.tier().health(), Health::Partly(_));
    eventually("it to be noticed", || partly(&one) && partly(&other)).await;
    for target in &targets {
        let response = other.get(target).await;
        assert_eq!(response.status, 200);
        let is_lost = lost.contains(&place(target));
        assert_eq!(response.cache_status().contains("tier-hit"), !is_lost, "{target}");
    }
    let ready = other.ask_admin(&get("/readyz")).await;
    assert!(ready.text().contains("degraded: without a part of redis"), "{}", ready.text());
    // Purges go on, deletions at the lost server are in the way of nobody.
    site.change();
    for target in &targets {
        one.purge("url", &format!("http://example.test{target}"), "hard").await;
    }
    one.wrote(Wrote::Deleted, (30 - lost.len()) as u64).await;
    other.read(Read::Applied, 30).await;
    for target in &targets {
        assert_eq!(other.shows(target).await, "2", "{target}");
    }
    // And when it is back, it is a part of it again.
    sharded.servers[victim].resume().await;
    one.joined().await;
    one.wrote(Wrote::Deleted, 30).await;
}

#[tokio::test]
async fn while_a_slot_moves_what_is_in_it_is_found_on_either_side() {
    let (sharded, site) = (Sharded::start().await, Site::start().await);
    let (one, other) = (site.sharded_node(&sharded).await, site.sharded_node(&sharded).await);
    one.shows("/a").await;
    one.wrote(Wrote::Stored, 1).await;
    let (slot, from) = sharded.owner(&place("/a")).await;
    let to = (from + 1) % 3;
    sharded.begin_move(slot, from, to).await;
    let found = |response: &Response| response.cache_status().contains("tier-hit");
    assert!(found(&other.get("/a").await), "it is where it was");
    sharded.move_keys(slot, from, to).await;
    let third = site.sharded_node(&sharded).await;
    assert!(found(&third.get("/a").await), "it is where it goes");
    // A purge of it finds it there, too.
    third.purge("url", "http://example.test/a", "hard").await;
    third.wrote(Wrote::Deleted, 1).await;
    assert!(sharded.servers[to].keys().await.is_empty());
    sharded.end_move(slot, to).await;
    site.change();
    assert_eq!(one.shows("/a").await, "2");
    one.wrote(Wrote::Stored, 2).await;
    assert!(found(&site.sharded_node(&sharded).await.get("/a").await));
}

/// Slots go round the servers while clients ask and purge, the stream's own slot among them.
#[tokio::test]
async fn slots_that_move_under_load_cost_no_request_and_no_purge() {
    let (sharded, site) = (Sharded::start().await, Site::start().await);
    let nodes =
        [site.sharded_node(&sharded).await, site.sharded_node(&sharded).await].map(Arc::new);
    let targets: Vec<_> = (0..12).map(|number| format!("/{number}")).collect();
    for target in &targets {
        nodes[0].shows(target).await;
    }
    nodes[0].wrote(Wrote::Stored, 12).await;
    let ended = Arc::new(AtomicBool::new(false));
    let readers = nodes.iter().map(|node| {
        let (node, ended, targets) = (node.clone(), ended.clone(), targets.clone());
        tokio::spawn(async move {
            let mut asked = 0;
            while !ended.load(SeqCst) {
                for target in &targets {
                    let response = node.get(target).await;
                    assert_eq!(response.status, 200, "{response:?}");
                    asked += 1;
                }
            }
            asked
        })
    });
    let readers: Vec<_> = readers.collect();
    let keys = targets.iter().map(|target| place(target)).chain([STREAM.to_owned()]);
    for (key, purged) in keys.zip(targets.iter().cycle()) {
        let (slot, from) = sharded.owner(&key).await;
        sharded.move_slot(slot, from, (from + 1) % 3).await;
        // What is purged now is gone everywhere when that is acknowledged.
        site.change();
        let least = site.version.load(SeqCst);
        nodes[0].purge_everywhere(r#""tags":["page"]"#, "hard").await;
        let shown: u64 = nodes[1].shows(purged).await.parse().expect("a version");
        assert!(shown >= least, "{purged}: {shown} < {least}");
    }
    ended.store(true, SeqCst);
    let asked: usize = all(readers).await.into_iter().sum();
    assert!(asked > 0);
    for node in &nodes {
        assert_eq!(node.tier().health(), Health::Good);
    }
}

#[tokio::test]
async fn a_url_that_names_a_server_of_a_cluster_is_told_of() {
    let (sharded, site) = (Sharded::start().await, Site::start().await);
    let (_, stream) = sharded.owner(STREAM).await;
    let another = &sharded.servers[(stream + 1) % 3];
    let proxy = Proxy::with(&site.origin, |settings| another.configure(settings)).await;
    let deaf = || proxy.tier().fleet().deaf().is_some_and(|(fault, _)| fault == Fault::Moving);
    eventually("it to be told", deaf).await;
    assert_eq!(proxy.shows("/a").await, "1", "the site goes on");
    let ready = proxy.ask_admin(&get("/readyz")).await;
    assert!(ready.text().contains(": moving"), "{}", ready.text());
}
