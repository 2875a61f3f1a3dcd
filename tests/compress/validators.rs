//! Entity tags: each form has its own, and the origin knows only its own (RFC 9110 §8.8.3.3).

use super::*;

#[tokio::test]
async fn a_client_is_told_that_what_it_has_is_good() {
    let (origin, proxy) = compressed(page()).await;
    for (codings, tag) in [
        (BROWSER, "\"a-sw-br5\""),
        (BROWSER, "W/\"a-sw-br5\""),
        // What it got before there was a copy.
        (BROWSER, "\"a\""),
        // Copies that are not there, of this and other levels.
        (BROWSER, "\"a-sw-gzip6\""),
        (BROWSER, "\"x\", \"a-sw-zstd3\""),
    ] {
        let response = proxy.send(&asking(codings).with("If-None-Match", tag)).await;
        let own = tag.rsplit(", ").next().unwrap().trim_start_matches("W/");
        assert_eq!((response.status, response.field("etag")), (304, Some(own)), "{tag}");
        assert_eq!(response.all("vary"), ["Accept-Encoding"], "{tag}");
    }
    // No 304 needs the body.
    released(&proxy, text(1).len()).await;
    for (codings, tag) in [
        (BROWSER, "\"b\""),
        (BROWSER, "\"b-sw-br5\""),
        (BROWSER, "\"a-sw-lz5\""),
        // It does not accept what it says that it has.
        ("identity", "\"a-sw-br5\""),
    ] {
        let response = proxy.send(&asking(codings).with("If-None-Match", tag)).await;
        assert_eq!((response.status, plain(&response)), (200, text(1)), "{codings} {tag}");
    }
    let any = proxy.send(&asking(BROWSER).with("If-None-Match", "*")).await;
    assert_eq!((any.status, any.field("etag")), (304, Some("\"a-sw-br5\"")));
    let failed = proxy.send(&asking(BROWSER).with("If-Match", "\"b\"")).await;
    assert_eq!(failed.status, 412);
    let held = proxy.send(&asking(BROWSER).with("If-Match", "\"a-sw-br5\"")).await;
    assert_hit(&held, Some("br"));
    assert_eq!(origin.count(), 1);
}

// A restart empties the store, not the clients' caches.
#[tokio::test]
async fn a_copy_that_clients_have_is_good_though_nothing_is_stored() {
    let (origin, proxy) = stage(page()).await;
    let request = asking(BROWSER).with("If-None-Match", "\"a-sw-br5\"");
    let response = proxy.send(&request).await;
    assert_eq!((response.status, response.field("etag")), (304, Some("\"a-sw-br5\"")));
    assert_eq!(origin.last().field("if-none-match"), None);
    made(&proxy, 1).await;
    assert_eq!(proxy.send(&request).await.status, 304);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn the_origin_validates_by_its_own_tag_and_the_copies_stay() {
    let origin = Origin::start(|seen| match seen.field("if-none-match") {
        Some("\"a\"") => status(304).fresh(600).with("ETag", "\"a\"").with("X-New", "1"),
        None => page(),
        other => panic!("{other:?}"),
    })
    .await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    let before = stored(&proxy, BROWSER).unwrap();
    for (condition, status) in [(None, 200), (Some("\"a-sw-br5\""), 304), (Some("\"a\""), 304)] {
        proxy.advance(secs(601));
        let mut request = asking(BROWSER);
        if let Some(tag) = condition {
            request = request.with("If-None-Match", tag);
        }
        let response = proxy.send(&request).await;
        assert_eq!((response.status, response.field("x-new")), (status, Some("1")));
        assert_eq!(response.field("etag"), Some(condition.unwrap_or("\"a-sw-br5\"")));
        assert!(
            response.says("fwd=stale") && response.says("fwd-status=304"),
            "{}",
            response.cache_status()
        );
    }
    let response = proxy.send(&asking(BROWSER)).await;
    assert_hit(&response, Some("br"));
    assert_eq!(response.field("x-new"), Some("1"));
    let after = stored(&proxy, BROWSER).unwrap();
    let bytes = |stored: &StoredResponse| Arc::clone(&stored.copies.made()[0].blocks);
    assert!(Arc::ptr_eq(&bytes(&before), &bytes(&after)), "the bytes are the same");
}

// The new head forbids what is there: everything is asked for again.
#[tokio::test]
async fn a_304_that_forbids_to_transform_ends_the_copies() {
    let origin = Origin::start(|seen| match seen.field("if-none-match") {
        Some(_) => {
            status(304).with("ETag", "\"a\"").with("Cache-Control", "max-age=600, no-transform")
        }
        None => page().with("Cache-Control", "max-age=60"),
    })
    .await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    proxy.advance(secs(601));
    let response = proxy.send(&asking(BROWSER)).await;
    assert_eq!((response.text(), response.field("content-encoding")), (&*text(1), None));
    assert_eq!(origin.count(), 3);
}

// What goes past the cache with the client's own conditions.
#[tokio::test]
async fn conditions_that_are_the_origins_to_judge_have_its_tags() {
    let origin = Origin::start(|seen| match seen.field("if-none-match") {
        Some("\"x\", \"a-sw-br5\", \"a\"") => status(304).with("ETag", "\"a\"").with("Vary", "X-A"),
        _ => ok(text(1)).with("ETag", "\"a\"").with("Cache-Control", "no-store"),
    })
    .await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    let pass = || asking(BROWSER).with("Cache-Control", "no-store");
    let response = proxy.send(&pass().with("If-None-Match", "\"x\", \"a-sw-br5\"")).await;
    assert_eq!((response.status, response.field("etag")), (304, Some("\"a-sw-br5\"")));
    assert_eq!(response.all("vary"), ["X-A", "Accept-Encoding"], "or its copy would be for all");
    // A cache before this one asks for somebody who can't read what it has (RFC 9110 §13.1.2).
    let other = asking("identity").with("Cache-Control", "no-store");
    let response = proxy.send(&other.with("If-None-Match", "\"a-sw-br5\"")).await;
    assert_eq!(origin.last().field("if-none-match"), Some("\"a-sw-br5\""));
    assert_eq!(response.status, 200);
    let change = put("/", "new").with("If-Match", "\"a-sw-br5\", \"a-gzip\"");
    proxy.send(&change).await;
    assert_eq!(origin.last().field("if-match"), Some("\"a-sw-br5\", \"a-gzip\", \"a\""));
    // Of a copy's bytes the origin has no part.
    let part = pass().with("Range", "bytes=5-").with("If-Range", "\"a-sw-br5\"");
    let response = proxy.send(&part.with("If-Match", "\"a-sw-br5\"")).await;
    assert_eq!(response.status, 200);
    assert_eq!(origin.last().field("if-range"), Some("\"a-sw-br5\""));
    assert_eq!(origin.last().field("if-match"), Some("\"a-sw-br5\""));
}

#[tokio::test]
async fn a_weak_tag_is_good_for_all_forms() {
    let weak = ok(text(1)).fresh(600).with("Content-Type", "text/html").with("ETag", "W/\"a\"");
    let (_origin, proxy) = compressed(weak).await;
    for codings in [BROWSER, "identity"] {
        let response = proxy.send(&asking(codings)).await;
        assert_eq!((plain(&response), response.field("etag")), (text(1), Some("W/\"a\"")));
        let request = asking(codings).with("If-None-Match", "W/\"a\"");
        assert_eq!(proxy.send(&request).await.status, 304);
    }
}

#[tokio::test]
async fn digests_of_the_origins_bytes_are_not_those_of_a_copy() {
    let answer = page().with("Content-MD5", "x").with("Repr-Digest", "y").with("Digest", "z");
    let (_origin, proxy) = compressed(answer).await;
    let (copy, whole) = (proxy.send(&asking(BROWSER)).await, proxy.get("/").await);
    for field in ["content-md5", "repr-digest", "digest"] {
        assert_eq!((copy.field(field), whole.field(field).is_some()), (None, true), "{field}");
    }
}

// They were made before compression was turned off, here or for a while.
#[tokio::test]
async fn tags_of_copies_are_understood_with_compression_off() {
    let tag = "\"a-sw-br5\"";
    let origin = Origin::start(move |seen| match seen.field("if-none-match") {
        Some("\"a-sw-br5\", \"a\"") => status(304).with("ETag", "\"a\""),
        Some("\"a\"") => status(304).fresh(600).with("ETag", "\"a\""),
        _ if seen.target == "/own" => page().with("ETag", tag),
        _ => page(),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let asking = |codings: &str| asking(codings).with("If-None-Match", tag);
    let good = |response: &Response| {
        let told = (response.status, response.field("etag"), response.all("vary"));
        assert_eq!(told, (304, Some(tag), vec!["Accept-Encoding"]), "{:?}", response.fields);
    };
    // Past the cache, fetched for it, from memory, and validated.
    good(&proxy.send(&asking(BROWSER).with("Cache-Control", "no-store")).await);
    good(&proxy.send(&asking(BROWSER)).await);
    assert_eq!(origin.last().field("if-none-match"), None);
    let hit = proxy.send(&asking(BROWSER)).await;
    good(&hit);
    assert!(hit.is_hit(), "{}", hit.cache_status());
    proxy.advance(secs(601));
    good(&proxy.send(&asking(BROWSER)).await);
    assert_eq!(origin.last().field("if-none-match"), Some("\"a\""));
    // Not for who can't read it, of something else, or where it is the origin's own.
    for request in [
        asking("identity"),
        asking(BROWSER).with("Cache-Control", "no-transform"),
        get("/").with("If-None-Match", "\"b-sw-br5\"").with("Accept-Encoding", BROWSER),
    ] {
        let response = proxy.send(&request).await;
        assert_eq!((response.status, response.field("etag")), (200, Some("\"a\"")));
        assert_eq!(response.field("vary"), None);
    }
    let own = || get("/own").with("Accept-Encoding", BROWSER);
    assert_eq!(proxy.send(&own()).await.all("etag").last(), Some(&tag));
}
