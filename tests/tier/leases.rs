//! One fetch for the whole fleet: who fetches, who waits, and what ends a wait.

mod model;
mod outages;

use ::redis::cmd;
use seawall::config::Settings;
use seawall::store::remote::{Leased, Looked, Waited, Wrote};
use tokio::task::JoinHandle;

use super::from_tier;
use crate::support::*;

/// Longer than a busy machine takes for anything: what ends a wait here is what a test does.
fn patient(settings: &mut Settings) {
    settings.tier.lease = secs(30);
    settings.tier.lease_wait = Some(secs(60));
    settings.cache().wait = secs(600);
}

/// A node that has found Redis.
async fn node(redis: &Redis, origin: &Origin, tune: impl FnOnce(&mut Settings)) -> Proxy {
    let node = Proxy::with(origin, |settings| {
        redis.configure(settings);
        tune(settings);
    });
    let node = node.await;
    node.joined().await;
    node
}

async fn nodes(redis: &Redis, origin: &Origin, count: usize) -> Vec<Proxy> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(node(redis, origin, patient).await);
    }
    nodes
}

/// As many requests to each node, all of them sent on return.
async fn start_at_each(nodes: &[Proxy], count: usize) -> Vec<JoinHandle<Response>> {
    let mut tasks = Vec::new();
    for node in nodes {
        tasks.extend(node.start_all(count, &get("/")).await);
    }
    tasks
}

/// An origin whose first answer waits until the gate is opened; the ones after it do not.
async fn first_held(first: &'static str, later: &'static str) -> (Origin, Gate) {
    let gate = Gate::new();
    let closed = gate.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => ok(first).fresh(600).gate(&closed),
        _ => ok(later).fresh(600),
    });
    (origin.await, gate)
}

/// Waits until so many waits of nodes for others are under way.
async fn waiting(nodes: &[Proxy], count: usize) {
    let all = || nodes.iter().map(|node| node.tier().waiting_for_others()).sum::<usize>();
    eventually(&format!("{count} waits"), || all() == count).await;
}

fn waits(nodes: &[Proxy], outcome: Waited) -> u64 {
    nodes.iter().map(|node| node.tier().counters().waits(outcome)).sum()
}

fn leases(nodes: &[Proxy], outcome: Leased) -> u64 {
    nodes.iter().map(|node| node.tier().counters().leases(outcome)).sum()
}

/// The names of the leases.
async fn held(redis: &Redis) -> Vec<String> {
    redis.ask(cmd("KEYS").arg("*}:l*")).await
}

#[tokio::test]
async fn eight_nodes_with_200_misses_each_are_one_fetch() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let closed = gate.clone();
    let origin = Origin::start(move |_| ok("one").fresh(600).gate(&closed)).await;
    let fleet = nodes(&redis, &origin, 8).await;
    let tasks = start_at_each(&fleet, 200).await;
    waiting(&fleet, 7).await;
    gate.open();
    let responses = all(tasks).await;
    assert_eq!(responses.len(), 1600);
    assert!(responses.iter().all(|it| it.status == 200 && it.text() == "one" && it.complete));
    assert_eq!(origin.count(), 1);
    let told = responses.iter().filter(|it| it.cache_status().contains("fleet-hit")).count();
    assert!(told >= 7, "one at each of the others: {told}");
    assert_eq!((waits(&fleet, Waited::Answered), leases(&fleet, Leased::Stored)), (7, 1));
    assert_eq!(held(&redis).await, Vec::<String>::new());
    waiting(&fleet, 0).await;
}

/// RFC 9111 §4.3: the fleet validates once, too.
#[tokio::test]
async fn what_is_stale_everywhere_is_validated_once() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let closed = gate.clone();
    let origin = Origin::start(move |request| match request.field("If-None-Match") {
        Some("\"a\"") => status(304).fresh(60).with("ETag", "\"a\"").gate(&closed),
        _ => ok("body").fresh(60).with("ETag", "\"a\""),
    })
    .await;
    let fleet = nodes(&redis, &origin, 3).await;
    fleet[0].get("/").await;
    fleet[0].wrote(Wrote::Stored, 1).await;
    // One has it stale in memory, the others have it stale from Redis.
    fleet[0].advance(secs(61));
    let tasks = start_at_each(&fleet, 2).await;
    waiting(&fleet, 2).await;
    gate.open();
    let responses = all(tasks).await;
    assert!(responses.iter().all(|it| it.text() == "body"), "{responses:?}");
    assert_eq!(origin.count(), 2);
}

/// RFC 9111 §4.1.
#[tokio::test]
async fn variants_have_leases_of_their_own_once_they_are_known() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    for field in ["Accept-Encoding", "X-Kind"] {
        let closed = gate.clone();
        let origin = Origin::start(move |request| {
            let kind = request.field(field).unwrap_or("none").to_owned();
            let answer = ok(&kind).fresh(600).with("Vary", field);
            if kind == "gzip" { answer } else { answer.gate(&closed) }
        })
        .await;
        let fleet = nodes(&redis, &origin, 4).await;
        fleet[0].send(&get("/").with(field, "gzip")).await;
        fleet[0].wrote(Wrote::Stored, 1).await;
        let mut tasks = Vec::new();
        for (node, kind) in fleet.iter().zip(["br", "br", "zstd", "zstd"]) {
            tasks.extend(node.start_all(1, &get("/").with(field, kind)).await);
        }
        waiting(&fleet, 2).await;
        assert_eq!(held(&redis).await.len(), 2, "{field}");
        gate.release(2);
        let texts: Vec<_> = all(tasks).await.iter().map(|it| it.text().to_owned()).collect();
        assert_eq!(texts, ["br", "br", "zstd", "zstd"], "{field}");
        assert_eq!(origin.count(), 3, "{field}");
        redis.run_line("FLUSHALL").await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_for_others_releases_all_at_once() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let closed = gate.clone();
    let origin = Origin::start(move |request| {
        let answer = ok("mine").with("Cache-Control", "private");
        if request.number == 0 { answer.gate(&closed) } else { answer }
    })
    .await;
    let fleet = nodes(&redis, &origin, 4).await;
    let tasks = start_at_each(&fleet, 5).await;
    waiting(&fleet, 3).await;
    origin.arrived(1).await;
    gate.open();
    let responses = all(tasks).await;
    assert!(responses.iter().all(|it| it.text() == "mine"), "{responses:?}");
    assert_eq!(origin.count(), 20, "nobody shares it");
    assert_eq!((waits(&fleet, Waited::Apart), leases(&fleet, Leased::Apart)), (3, 1));
    // A node that has not heard of it reads it in the place of the lease.
    let late = nodes(&redis, &origin, 1).await.remove(0);
    late.get("/").await;
    late.get("/").await;
    assert_eq!(late.looked(Looked::Miss), 1, "from then on it knows by itself");
    assert_eq!(leases(&[late], Leased::Apart), 0);
}

#[tokio::test]
async fn a_failed_fetch_makes_another_node_fetch() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let closed = gate.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => status(503).gate(&closed),
        _ => ok("good").fresh(600),
    })
    .await;
    let fleet = nodes(&redis, &origin, 4).await;
    let first = fleet[0].start_all(1, &get("/")).await;
    origin.arrived(1).await;
    let tasks = start_at_each(&fleet[1..], 3).await;
    waiting(&fleet, 3).await;
    gate.open();
    assert_eq!(all(first).await[0].status, 503);
    assert!(all(tasks).await.iter().all(|it| it.text() == "good"));
    assert_eq!(origin.count(), 2);
    assert_eq!((waits(&fleet, Waited::Succeeded), leases(&fleet, Leased::Failed)), (1, 1));
}

/// What is too large to be written at once keeps nobody waiting for its body.
#[tokio::test]
async fn what_will_not_be_in_redis_is_not_waited_for() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let closed = gate.clone();
    let body = vec![b'x'; 2 * 1024 * 1024];
    let large = body.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => ok("").fresh(600).claiming(large.len() as u64).then(&closed).body(&large),
        _ => ok(&large).fresh(600),
    })
    .await;
    let fleet = nodes(&redis, &origin, 2).await;
    let first = fleet[0].start_all(1, &get("/")).await;
    eventually("its head", || leases(&fleet, Leased::Apart) == 1).await;
    assert!(fleet[1].get("/").await.body == body);
    gate.open();
    assert!(all(first).await[0].body == body);
    assert_eq!(origin.count(), 2);
    // Nor is what goes past the cache, or is for one alone.
    fleet[0].send(&get("/a").with("Authorization", "Basic eDp5")).await;
    fleet[0].send(&get("/b").with("Cache-Control", "no-cache")).await;
    fleet[0].send(&get("/c").with("Range", "bytes=0-1")).await;
    fleet[0].send(&post("/d", "x")).await;
    assert_eq!(leases(&fleet, Leased::Stored), 0);
}

#[tokio::test]
async fn a_wait_has_a_bound() {
    let redis = Redis::start().await;
    let (origin, gate) = first_held("slow", "quick").await;
    let first = nodes(&redis, &origin, 1).await.remove(0);
    let slow = first.start_all(1, &get("/")).await;
    origin.arrived(1).await;
    let other = node(&redis, &origin, |settings| settings.tier.lease_wait = Some(millis(50))).await;
    let response = other.get("/").await;
    assert_eq!(response.text(), "quick");
    assert!(response.cache_status().contains("lease-bound"), "{response:?}");
    assert_eq!(other.tier().counters().waits(Waited::Bound), 1);
    // It goes to Redis all the same, and is nobody's lease.
    other.wrote(Wrote::Stored, 1).await;
    gate.open();
    assert_eq!(all(slow).await[0].text(), "slow");
}

#[tokio::test]
async fn nobody_waits_where_that_is_configured() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let closed = gate.clone();
    let origin = Origin::start(move |_| ok("x").fresh(600).gate(&closed)).await;
    let mut tasks = Vec::new();
    let mut fleet = Vec::new();
    for _ in 0..3 {
        let node =
            node(&redis, &origin, |settings| settings.tier.lease_wait = Some(millis(0))).await;
        tasks.extend(node.start_all(1, &get("/")).await);
        fleet.push(node);
    }
    origin.arrived(3).await;
    assert_eq!(held(&redis).await, Vec::<String>::new());
    gate.open();
    all(tasks).await;
}

/// The first holder is cut off for longer than its lease, by hand; what it writes after another has
/// had the lease is refused, although its fetch began in the same millisecond by every clock.
#[tokio::test]
async fn a_late_write_of_an_old_leader_is_refused_by_its_token() {
    let redis = Redis::start().await;
    let gates = [Gate::new(), Gate::new()];
    let closed = gates.clone();
    let origin = Origin::start(move |request| match closed.get(request.number) {
        Some(gate) => ok(format!("{}", request.number)).fresh(600).gate(gate),
        None => ok("more").fresh(600),
    })
    .await;
    let fleet = nodes(&redis, &origin, 3).await;
    let first = fleet[0].start_all(1, &get("/")).await;
    origin.arrived(1).await;
    let lease = held(&redis).await.remove(0);
    redis.run_line(&format!("DEL {lease}")).await;
    let second = fleet[1].start_all(1, &get("/")).await;
    origin.arrived(2).await;
    // While the second has it, and has written nothing.
    gates[0].open();
    assert_eq!(all(first).await[0].text(), "0", "its own clients get what it has");
    fleet[0].wrote(Wrote::Fenced, 1).await;
    gates[1].open();
    assert_eq!(all(second).await[0].text(), "1");
    fleet[1].wrote(Wrote::Stored, 1).await;
    let response = fleet[2].get("/").await;
    assert!(from_tier(&response) && response.text() == "1", "{response:?}");
}

/// The same when the second has ended its lease before the first one writes.
#[tokio::test]
async fn a_late_write_is_refused_by_what_has_been_written_since() {
    let redis = Redis::start().await;
    let (origin, gate) = first_held("old", "new").await;
    let fleet = nodes(&redis, &origin, 3).await;
    let first = fleet[0].start_all(1, &get("/")).await;
    origin.arrived(1).await;
    let lease = held(&redis).await.remove(0);
    redis.run_line(&format!("DEL {lease}")).await;
    assert_eq!(fleet[1].get("/").await.text(), "new");
    fleet[1].wrote(Wrote::Stored, 1).await;
    assert_eq!(held(&redis).await, Vec::<String>::new());
    gate.open();
    all(first).await;
    fleet[0].wrote(Wrote::Fenced, 1).await;
    assert_eq!(fleet[2].get("/").await.text(), "new");
}
