//! What is not compressed.

use super::*;

/// Asks three times, and expects the same bytes and fields each time.
async fn is_left_alone(answer: Answer, rules: &str, request: Request) {
    let summary = format!("{:?} {rules}", answer.summary());
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::ruled(&origin, &format!("{RULE}{rules}")).await;
    let first = proxy.send(&request).await;
    for _ in 0..3 {
        eventually("the compressor", || proxy.cache().compressing() == 0).await;
        let response = proxy.send(&request).await;
        assert_eq!(response.body, first.body, "{summary}");
        for field in ["content-encoding", "etag"] {
            assert_eq!(response.field(field), first.field(field), "{summary}");
        }
    }
    assert_eq!(copies(&proxy, BROWSER), 0, "{summary}");
}

#[tokio::test]
async fn what_has_no_use_for_it_is_left_alone() {
    let typed = |value: &str| ok(text(1)).fresh(600).with("Content-Type", value);
    for answer in [
        typed("image/png"),
        typed("text/event-stream"),
        ok(text(1)).fresh(600),
        ok(&text(1)[..1023]).fresh(600).with("Content-Type", "text/html"),
        page().with("Content-Encoding", "gzip").with("Vary", "Accept-Encoding"),
        page().with("Cache-Control", "no-transform"),
        page().with("Cache-Control", "private"),
        page().with("Set-Cookie", "a=b"),
    ] {
        is_left_alone(answer, "", asking(BROWSER)).await;
    }
    // Noise does not get smaller, and is not tried again.
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(20_000).collect();
    let noise = ok(noise).fresh(600).with("Content-Type", "text/plain");
    is_left_alone(noise, "", asking(BROWSER)).await;
}

// The lengths of what is compressed can tell secrets in it (BREACH).
#[tokio::test]
async fn what_may_hold_a_secret_is_left_alone_even_where_it_is_shared() {
    let rules = "[[rule]]\ncache = { store_set_cookie = true }\n";
    is_left_alone(page().with("Set-Cookie", "a=b"), rules, asking(BROWSER)).await;
    let request = asking(BROWSER).with("Authorization", "Basic eDp5");
    is_left_alone(page().with("Cache-Control", "public"), "", request).await;
}

#[tokio::test]
async fn rules_decide_what_and_how() {
    let rules = "[[rule]]\ncache = { compress = [\"gzip\"], compress_levels = { gzip = 9 }, compress_min_size = \"10B\", compress_types = [\"usual\", \"x/*\"] }\n[[rule]]\nmatch = { path = \"/off\" }\ncache = { compress = \"off\" }\n";
    let small = ok("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").fresh(600);
    let origin = Origin::answering(small.with("Content-Type", "x/y").with("ETag", "\"a\"")).await;
    let proxy = Proxy::ruled(&origin, rules).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    let response = proxy.send(&asking(BROWSER)).await;
    assert_eq!(response.field("content-encoding"), Some("gzip"));
    assert_eq!(response.field("etag"), Some("\"a-sw-gzip9\""));
    for _ in 0..2 {
        let response = proxy.send(&get("/off").with("Accept-Encoding", BROWSER)).await;
        assert_eq!((response.field("content-encoding"), response.field("vary")), (None, None));
    }
}

// A representation that the origin chose by `Accept-Encoding` is one variant of its own.
#[tokio::test]
async fn an_origin_that_compresses_for_some_is_helped_for_the_others() {
    let origin = Origin::start(|seen| {
        match seen.field("accept-encoding") {
            Some("gzip") => page().body("gz").with("Content-Encoding", "gzip"),
            _ => page(),
        }
        .with_vary()
    })
    .await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    for _ in 0..2 {
        let response = proxy.send(&asking(OLD)).await;
        assert_eq!(response.field("etag"), Some("\"a\""), "it is the origin's");
    }
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    let response = proxy.send(&asking(BROWSER)).await;
    assert_hit(&response, Some("br"));
    assert_eq!(origin.count(), 2);
    assert_eq!(copies(&proxy, "gzip"), 0);
}

trait WithVary {
    fn with_vary(self) -> Self;
}

impl WithVary for Answer {
    fn with_vary(self) -> Self {
        self.with("Vary", "Accept-Encoding")
    }
}

// Without memory for a copy, what is stored is served as it is.
#[tokio::test]
async fn without_memory_there_is_no_copy_and_no_harm() {
    let origin = Origin::answering(page()).await;
    let rules = seawall::config::parse(
        &format!("[upstream.a]\nurl = \"http://a.test\"\n{RULE}"),
        &seawall::config::CliOverrides::default(),
    );
    let rules = rules.unwrap_or_else(|faults| panic!("{faults}")).proxy.rules;
    let proxy = Proxy::with(&origin, |settings| {
        settings.proxy.rules = rules;
        settings.store.memory = 1024 * 1024;
    })
    .await;
    for _ in 0..5 {
        assert_eq!(plain(&proxy.send(&asking(BROWSER)).await), text(1));
        eventually("the compressor", || proxy.cache().compressing() == 0).await;
    }
    assert_eq!((copies(&proxy, BROWSER), origin.count()), (0, 1));
}
