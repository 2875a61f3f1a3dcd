//! Large bodies: in chunks, streamed in both directions.

use ::redis::cmd;
use seawall::store::remote::{Looked, Wrote};

use super::{from_tier, node, two};
use crate::support::*;

const INLINE: usize = 32 * 1024;
const CHUNK: usize = 128 * 1024 - 64;
const MIB: usize = 1024 * 1024;

/// A body in which every place is known.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 251 + index % 251) as u8).collect()
}

fn large(length: usize) -> Answer {
    ok(body(length)).fresh(600).with("ETag", "\"a\"")
}

#[tokio::test]
async fn bodies_around_every_boundary_are_the_same_on_another_node() {
    let redis = Redis::start().await;
    let lengths = [0, 1, INLINE, INLINE + 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1, MIB];
    let origin =
        Origin::start(move |request| large(request.target[1..].parse().expect("a length"))).await;
    let (one, other) = two(&redis, &origin).await;
    for length in lengths {
        one.get(&format!("/{length}")).await;
    }
    one.wrote(Wrote::Stored, lengths.len() as u64).await;
    for length in lengths {
        let response = other.get(&format!("/{length}")).await;
        assert!(from_tier(&response) && response.complete, "{length}: {:?}", response.status);
        assert!(response.body == body(length), "{length}");
        let again = other.get(&format!("/{length}")).await;
        assert!(again.is_hit() && again.body == body(length), "{length}, from memory");
        let part = get(&format!("/{length}")).with("Range", "bytes=5-9");
        if length > 10 {
            let third = node(&redis, &origin).await;
            let response = third.send(&part).await;
            assert_eq!((response.status, response.body.as_slice()), (206, &body(length)[5..10]));
        }
    }
    assert_eq!(origin.count(), lengths.len());
}

#[tokio::test]
async fn larger_than_is_kept_in_redis_stays_in_memory() {
    let redis = Redis::start().await;
    let origin = Origin::answering(large(MIB)).await;
    let proxy = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        settings.tier.max_object_size = MIB as u64 - 1;
    });
    let proxy = proxy.await;
    proxy.joined().await;
    proxy.get("/").await;
    proxy.wrote(Wrote::TooLarge, 1).await;
    assert_eq!(redis.keys().await.len(), 0);
    assert!(proxy.get("/").await.is_hit());
}

#[tokio::test]
async fn what_is_large_is_written_when_it_is_fetched_again() {
    let redis = Redis::start().await;
    let origin = Origin::answering(large(2 * MIB)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::NotYet, 1).await;
    assert_eq!(redis.keys().await.len(), 0);
    one.purge("all", "", "hard").await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let response = other.get("/").await;
    assert!(from_tier(&response) && response.body == body(2 * MIB));
}

#[tokio::test]
async fn a_body_that_has_lost_a_chunk_is_a_miss_before_the_first_byte() {
    let redis = Redis::start().await;
    let origin = Origin::answering(large(MIB)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    for chunk in redis.keys().await.iter().filter(|key| key.ends_with(":7")) {
        let _: i64 = redis.ask(cmd("DEL").arg(chunk)).await;
    }
    let response = other.get("/").await;
    assert!(response.complete && response.body == body(MIB));
    assert_eq!((origin.count(), other.looked(Looked::Incomplete)), (2, 1));
    other.wrote(Wrote::Stored, 1).await;
    let third = node(&redis, &origin).await;
    assert!(from_tier(&third.get("/").await), "written anew, under another id");
}

/// An altered chunk is found before its own first byte; what went out before was right.
#[tokio::test]
async fn a_body_with_an_altered_chunk_never_looks_whole() {
    let redis = Redis::start().await;
    let origin = Origin::answering(large(MIB)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    for chunk in redis.keys().await.iter().filter(|key| key.ends_with(":5")) {
        let _: i64 = redis.ask(cmd("SETRANGE").arg(chunk).arg(1000).arg("altered")).await;
    }
    let response = other.get("/").await;
    assert!(!response.complete, "the connection is cut");
    assert!(body(MIB).starts_with(&response.body), "and nothing wrong was sent");
    assert!(response.body.len() <= 5 * 128 * 1024);
    let chunk = node(&redis, &origin).await;
    for key in redis.keys().await.iter().filter(|key| key.ends_with(":0")) {
        let _: i64 = redis.ask(cmd("SETRANGE").arg(key).arg(1000).arg("altered")).await;
    }
    let response = chunk.get("/").await;
    assert!(response.complete && response.body == body(MIB), "the first is found in time");
}

#[tokio::test]
async fn followers_of_a_body_from_redis_get_all_of_it() {
    let redis = Redis::start().await;
    let origin = Origin::answering(large(MIB)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    redis.run_line("CLIENT PAUSE 200 ALL").await;
    let responses = other.at_once(20, &get("/")).await;
    assert!(responses.iter().all(|response| response.complete && response.body == body(MIB)));
    assert_eq!(origin.count(), 1);
}

/// RFC 9111 §4.3: no byte may go out before the origin has confirmed it.
#[tokio::test]
async fn a_large_body_that_is_stale_is_validated_and_not_fetched() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| match request.field("If-None-Match") {
        Some(_) => status(304).fresh(60).with("ETag", "\"a\""),
        None => ok(body(MIB)).fresh(60).with("ETag", "\"a\""),
    })
    .await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    other.advance(secs(61));
    let response = other.get("/").await;
    assert!(response.complete && response.body == body(MIB));
    assert_eq!(origin.last().field("If-None-Match"), Some("\"a\""));
}

/// A 304 changes the head alone: the body is not sent to Redis again, and lives on.
#[tokio::test]
async fn the_chunks_of_a_confirmed_body_live_on() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| match request.field("If-None-Match") {
        Some(_) => status(304).fresh(6000).with("ETag", "\"a\""),
        None => ok(body(MIB)).fresh(60).with("ETag", "\"a\""),
    })
    .await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let mut before = redis.keys().await;
    one.advance(secs(61));
    one.get("/").await;
    one.wrote(Wrote::Stored, 2).await;
    let mut after = redis.keys().await;
    before.sort();
    after.sort();
    assert_eq!(before, after);
    for key in &after {
        let left: i64 = redis.ask(cmd("TTL").arg(key)).await;
        assert!(left >= 6000, "{key}: {left}");
    }
    other.advance(secs(600));
    let response = other.get("/").await;
    assert!(from_tier(&response) && response.body == body(MIB));
    // A chunk that is gone has all of it written anew.
    for chunk in after.iter().filter(|key| key.ends_with(":3")) {
        let _: i64 = redis.ask(cmd("DEL").arg(chunk)).await;
    }
    one.advance(secs(6001));
    one.get("/").await;
    one.wrote(Wrote::Stored, 3).await;
    let third = node(&redis, &origin).await;
    let response = third.get("/").await;
    assert!(from_tier(&response) && response.body == body(MIB));
}

#[tokio::test]
async fn charges_are_released_when_bodies_from_redis_are_gone() {
    let redis = Redis::start().await;
    let origin = Origin::answering(large(MIB)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    other.get("/").await;
    let mut client = other.client().await;
    client.send(get("/").bytes()).await;
    client.begin("GET").await;
    client.reset();
    other.settled().await;
    one.settled().await;
}
