//! What stays in memory, and what is not looked for in Redis.

use seawall::config::{CliOverrides, parse};
use seawall::key::Target;
use seawall::store::remote::{Looked, Wrote};

use super::{from_tier, node};
use crate::support::*;

/// A node with these rules.
async fn ruled(redis: &Redis, origin: &Origin, rules: &str) -> Proxy {
    let file = format!("[upstream.origin]\nurl = \"http://127.0.0.1\"\n{rules}");
    let read = parse(&file, &CliOverrides::default()).unwrap_or_else(|faults| panic!("{faults}"));
    let proxy = Proxy::with(origin, |settings| {
        redis.configure(settings);
        settings.proxy.rules = read.proxy.rules;
    });
    let proxy = proxy.await;
    proxy.joined().await;
    proxy
}

/// How many responses are in Redis, once another that was offered after them is.
async fn written(redis: &Redis, proxy: &Proxy, after: u64) -> usize {
    proxy.get("/last").await;
    proxy.wrote(Wrote::Stored, after + 1).await;
    redis.keys().await.len() - 1
}

/// Lookups, whatever came of them.
fn lookups(proxy: &Proxy) -> u64 {
    [Looked::Hit, Looked::Miss].into_iter().map(|outcome| proxy.looked(outcome)).sum()
}

/// Copies of `/a` in other codings.
fn copies(proxy: &Proxy) -> usize {
    let key = Target::parse("http://example.test/a").expect("a URL").key();
    let variants = proxy.cache().memory().peek(key.as_str());
    let first = variants.and_then(|variants| variants.as_slice().first().cloned());
    first.map_or(0, |stored| stored.copies.made().len())
}

/// RFC 9111 §3.5: what one node's settings, or the origin's words to one visitor, let be shared.
#[tokio::test]
async fn answers_to_authorization_are_neither_written_nor_looked_for() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| match request.field("if-none-match") {
        Some(_) => status(304).with("ETag", "\"a\"").with("Cache-Control", "public, max-age=60"),
        None => ok("x").with("ETag", "\"a\"").with("Cache-Control", "public, max-age=60"),
    })
    .await;
    let proxy = node(&redis, &origin).await;
    let authorized = || get("/a").with("Authorization", "Basic eDp5");
    proxy.send(&authorized()).await;
    assert!(proxy.get("/a").await.is_hit(), "memory shares it, as `public` says");
    proxy.advance(secs(61));
    let validated = proxy.send(&authorized()).await;
    assert!(validated.says("fwd-status=304"), "{}", validated.cache_status());
    assert_eq!(lookups(&proxy), 0);
    assert_eq!(written(&redis, &proxy, 0).await, 0);
    // What came without is there, and who has credentials asks the origin all the same.
    proxy.get("/b").await;
    proxy.wrote(Wrote::Stored, 2).await;
    let other = node(&redis, &origin).await;
    let before = origin.count();
    let response = other.send(&get("/b").with("Authorization", "Basic eDp5")).await;
    assert!(!from_tier(&response) && !response.is_hit());
    assert_eq!((origin.count(), lookups(&other)), (before + 1, 0));
    let third = node(&redis, &origin).await;
    assert!(from_tier(&third.get("/b").await));
}

/// A purge of a URL would not find them: it is one deletion.
#[tokio::test]
async fn what_is_keyed_by_more_than_its_url_is_neither_written_nor_looked_for() {
    let redis = Redis::start().await;
    for (rule, request) in [
        ("key = { headers = [\"x-plan\"] }", get("/a").with("X-Plan", "gold")),
        ("key = { cookies = [\"currency\"] }", get("/a").with("Cookie", "currency=EUR")),
        // That there is none is keyed too.
        ("key = { cookies = [\"currency\"] }", get("/a")),
        ("cache = { no_vary_search = true }", get("/a?u=1")),
    ] {
        let origin = Origin::start(|request| match request.target.as_str() {
            "/last" => ok("x").fresh(60),
            _ => ok("x").fresh(60).with("No-Vary-Search", "params=(\"u\")"),
        })
        .await;
        let rules = format!("[[rule]]\nmatch = {{ path = \"/a\" }}\n{rule}\n");
        let proxy = ruled(&redis, &origin, &rules).await;
        proxy.send(&request).await;
        assert!(proxy.send(&request).await.is_hit(), "{rule}: memory has it");
        assert_eq!(written(&redis, &proxy, 0).await, 0, "{rule}");
        let other = ruled(&redis, &origin, &rules).await;
        assert!(!other.send(&request).await.is_hit(), "{rule}");
        assert_eq!(origin.count(), 3, "{rule}");
        redis.run_line("FLUSHALL").await;
    }
}

/// Redis has the body as it came, under the origin's tag, whatever a node serves.
#[tokio::test]
async fn compressed_copies_stay_in_memory() {
    let redis = Redis::start().await;
    let text = "a line of text that comes again\n".repeat(100);
    let page = ok(&text).fresh(60).with("Content-Type", "text/plain").with("ETag", "\"a\"");
    let origin = Origin::start(move |request| match request.field("if-none-match") {
        Some(_) => status(304).fresh(60).with("ETag", "\"a\""),
        None => page.clone(),
    })
    .await;
    let rules = "[[rule]]\ncache = { compress = [\"br\"] }\n";
    let one = ruled(&redis, &origin, rules).await;
    let browser = || get("/a").with("Accept-Encoding", "br");
    one.send(&browser()).await;
    one.wrote(Wrote::Stored, 1).await;
    eventually("the copy", || copies(&one) == 1).await;
    assert_eq!(one.send(&browser()).await.field("content-encoding"), Some("br"));
    let plain = node(&redis, &origin).await;
    let response = plain.send(&browser()).await;
    assert!(from_tier(&response), "{response:?}");
    assert_eq!((response.text(), response.field("etag")), (text.as_str(), Some("\"a\"")));
    assert_eq!((response.field("content-encoding"), response.field("vary")), (None, None));
    // A node that compresses does so itself, with what it gets from there.
    let other = ruled(&redis, &origin, rules).await;
    assert_eq!(other.send(&browser()).await.text(), text);
    eventually("the copy", || copies(&other) == 1).await;
    let copy = other.send(&browser()).await;
    assert_eq!(copy.field("content-encoding"), Some("br"));
    assert_eq!(copy.body, one.send(&browser()).await.body, "the same tag names the same bytes");
    // What is there in copies alone is decoded for it when it is confirmed.
    one.advance(secs(61));
    let confirmed = one.send(&browser()).await;
    assert!(confirmed.says("fwd-status=304"), "{}", confirmed.cache_status());
    one.wrote(Wrote::Stored, 2).await;
    let fresh = node(&redis, &origin).await.send(&browser()).await;
    assert!(from_tier(&fresh) && !fresh.says("fwd-status=304"), "{}", fresh.cache_status());
    assert_eq!((fresh.text(), fresh.field("content-encoding")), (text.as_str(), None));
    assert_eq!(origin.count(), 2);
}
