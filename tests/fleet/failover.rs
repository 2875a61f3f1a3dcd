//! Another server becomes the primary, as sentinels have it.

use ::redis::cmd;
use seawall::redis::{Fault, Health};
use seawall::store::remote::fleet::{Doubted, Read};
use seawall::store::remote::{Leased, Wrote};

use super::{Site, order, patient};
use crate::support::*;

impl Site {
    async fn watched_node(&self, watched: &Watched) -> Proxy {
        let configure = |settings: &mut _| {
            watched.configure(settings);
            patient(settings);
        };
        self.joined_by(configure).await
    }
}

/// What two nodes do by way of Redis: share what is stored, fetch once, and purge.
async fn all_works(site: &Site, nodes: [&Proxy; 2], name: &str) {
    let [one, other] = nodes;
    let stored = one.tier().counters().writes(Wrote::Stored);
    let asked = site.origin.count();
    one.shows(&format!("/{name}-shared")).await;
    one.wrote(Wrote::Stored, stored + 1).await;
    let response = other.get(&format!("/{name}-shared")).await;
    assert!(response.cache_status().contains("tier-hit"), "{response:?}");
    let led = |node: &Proxy| node.tier().counters().leases(Leased::Stored);
    let before = led(one) + led(other);
    let (mine, theirs) = (get(&format!("/{name}-once")), get(&format!("/{name}-once")));
    tokio::join!(one.send(&mine), other.send(&theirs));
    assert_eq!(site.origin.count(), asked + 2, "one fetch for both");
    eventually("the lease to end", || led(one) + led(other) == before + 1).await;
    site.change();
    let before = other.shows(&format!("/{name}-shared")).await;
    one.purge_everywhere(r#""tags":["page"]"#, "hard").await;
    assert_ne!(other.shows(&format!("/{name}-shared")).await, before);
}

/// Waits until both nodes use the server.
async fn moved_to(watched: &Watched, server: usize, nodes: [&Proxy; 2]) {
    let place = watched.servers[server].place();
    for node in nodes {
        eventually("the node to follow", || node.tier().room().server().as_ref() == Some(&place))
            .await;
        node.joined().await;
    }
    assert!(watched.primary_is(server).await);
}

#[tokio::test]
async fn when_the_primary_is_killed_the_next_one_takes_its_place() {
    let (mut watched, site) = (Watched::start().await, Site::start().await);
    let (one, other) = (site.watched_node(&watched).await, site.watched_node(&watched).await);
    all_works(&site, [&one, &other], "before").await;
    watched.servers[0].kill();
    for node in [&one, &other] {
        node.parted().await;
        let response = node.get("/meanwhile").await;
        assert_eq!(response.status, 200, "the site goes on");
        let ready = node.ask_admin(&get("/readyz")).await;
        assert!(ready.text().starts_with("degraded: without redis"), "{}", ready.text());
    }
    // What is purged meanwhile is heard later.
    site.change();
    let stale = other.shows("/meanwhile").await;
    one.purge("url", "http://example.test/meanwhile", "hard").await;
    moved_to(&watched, 1, [&one, &other]).await;
    other.read(Read::Applied, 2).await;
    assert_ne!(other.shows("/meanwhile").await, stale);
    all_works(&site, [&one, &other], "after").await;
}

#[tokio::test]
async fn when_sentinels_change_the_primary_it_is_followed_there_and_back() {
    let (watched, site) = (Watched::start().await, Site::start().await);
    let (one, other) = (site.watched_node(&watched).await, site.watched_node(&watched).await);
    all_works(&site, [&one, &other], "before").await;
    watched.fail_over().await;
    moved_to(&watched, 1, [&one, &other]).await;
    all_works(&site, [&one, &other], "after").await;
    assert_eq!(one.tier().health(), Health::Good);
    for node in [&one, &other] {
        let doubts = |why| node.tier().fleet().counters().doubts(why);
        assert_eq!(doubts(Doubted::Lost), 0, "it is the same stream");
    }
}

/// What two nodes have read of the old primary and the new one never had, although it has more
/// entries by now.
#[tokio::test]
async fn a_purge_that_a_failover_lost_is_found_missing_behind_newer_ones() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node(&redis).await;
    let before: Vec<u8> = redis.ask(cmd("DUMP").arg("seawall:purges")).await;
    site.change();
    one.purge("url", "http://example.test/a", "hard").await;
    one.read(Read::Own, 1).await;
    let mut restore = ::redis::pipe();
    restore.atomic();
    restore.cmd("RESTORE").arg("seawall:purges").arg(0).arg(before).arg("REPLACE");
    restore.cmd("XADD").arg("seawall:purges").arg("*").arg(&["tag", "elsewhere"]);
    restore.cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    redis.ask_all(&restore).await;
    one.doubted(Doubted::SetBack).await;
    let count = || one.tier().fleet().counters().entries(Read::Own) >= 2;
    eventually("the purge to be published again", count).await;
    let entries = redis.text(cmd("XRANGE").arg("seawall:purges").arg("-").arg("+")).await;
    assert_eq!(entries.matches("http://example.test/a").count(), 1, "{entries}");
    let answer = one.ask_admin(&order(r#""tags":["x"]"#, "hard", 20)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn sentinels_that_know_no_primary_are_told_of() {
    let (watched, site) = (Watched::start().await, Site::start().await);
    let proxy = Proxy::with(&site.origin, |settings| {
        watched.configure(settings);
        let redis = settings.redis.as_mut().expect("configured");
        let seawall::redis::Place::Sentinel(sentinel) = &mut redis.place else { panic!() };
        sentinel.primary = "other".to_owned();
    });
    let proxy = proxy.await;
    eventually("the fault", || proxy.tier().health() == Health::Down(Fault::NoPrimary)).await;
    assert_eq!(proxy.get("/a").await.status, 200);
    let ready = proxy.ask_admin(&get("/readyz")).await;
    assert!(ready.text().contains("degraded: without redis: no-primary"), "{}", ready.text());
}
