//! What a request's own directives may do (RFC 9111 §5.2.1), by policy.

use seawall::config::Settings;
use seawall::policy::RequestDirectivesPolicy;

use crate::support::*;

fn honour(settings: &mut Settings) {
    settings.cache().policy.request_directives = RequestDirectivesPolicy::Honour;
}

fn asking(directives: &str) -> Request {
    get("/").with("Cache-Control", directives)
}

/// A proxy with a stored response, 30 of 60 seconds old.
async fn half_way(tune: impl FnOnce(&mut Settings)) -> (Origin, Proxy) {
    let origin = Origin::answering(ok("body").fresh(60).with("ETag", "\"1\"")).await;
    let proxy = Proxy::with(&origin, tune).await;
    proxy.get("/").await;
    proxy.advance(secs(30));
    (origin, proxy)
}

#[tokio::test]
async fn by_default_clients_do_not_drive_the_origins_load() {
    let (origin, proxy) = half_way(|_| ()).await;
    for directives in ["no-cache", "max-age=0", "min-fresh=3600"] {
        assert!(proxy.send(&asking(directives)).await.is_hit(), "{directives}");
    }
    assert!(proxy.send(&get("/").with("Pragma", "no-cache")).await.is_hit());
    assert_eq!(origin.count(), 1);
    proxy.advance(secs(60));
    proxy.send(&asking("max-stale")).await;
    assert_eq!(origin.count(), 2, "nor do they get stale answers by asking");
}

#[tokio::test]
async fn where_honoured_each_directive_does_what_it_says() {
    for (directives, reused) in [
        ("no-cache", false),
        ("max-age=0", false),
        ("max-age=29", false),
        ("max-age=31", true),
        ("min-fresh=31", false),
        ("min-fresh=29", true),
        ("max-age=abc", true),
        ("unknown", true),
    ] {
        let (origin, proxy) = half_way(honour).await;
        proxy.send(&asking(directives)).await;
        assert_eq!(origin.count() == 1, reused, "{directives}");
    }
}

#[tokio::test]
async fn where_honoured_no_cache_validates_and_pragma_means_it_too() {
    for request in [asking("no-cache"), get("/").with("Pragma", "no-cache")] {
        let (origin, proxy) = half_way(honour).await;
        assert!(proxy.send(&request).await.says("fwd=request"));
        assert_eq!(origin.last().field("if-none-match"), Some("\"1\""));
    }
    // RFC 9111 §5.4: Pragma counts only where there is no Cache-Control.
    let (origin, proxy) = half_way(honour).await;
    proxy.send(&asking("max-age=60").with("Pragma", "no-cache")).await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn where_honoured_max_stale_accepts_what_is_not_too_old() {
    for (directives, reused) in
        [("max-stale=60", true), ("max-stale", true), ("max-stale=29", false)]
    {
        let (origin, proxy) = half_way(honour).await;
        proxy.advance(secs(60));
        proxy.send(&asking(directives)).await;
        assert_eq!(origin.count() == 1, reused, "{directives}");
    }
}

#[tokio::test]
async fn max_stale_never_beats_must_revalidate() {
    let origin =
        Origin::answering(given(&[("Cache-Control", "max-age=60, must-revalidate")])).await;
    let proxy = Proxy::with(&origin, honour).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    proxy.send(&asking("max-stale=600")).await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn trusted_means_honoured_from_trusted_peers_only() {
    let trusted = |s: &mut Settings| {
        s.cache().policy.request_directives = RequestDirectivesPolicy::Trusted;
    };
    let (origin, proxy) = half_way(trusted).await;
    proxy.send(&asking("no-cache")).await;
    assert_eq!(origin.count(), 1);
    let (origin, proxy) = half_way(|s| {
        trusted(s);
        s.proxy.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    proxy.send(&asking("no-cache")).await;
    assert_eq!(origin.count(), 2);
}

// RFC 9111 §5.2.1.7: costs the origin nothing, so it is honoured always.
#[tokio::test]
async fn only_if_cached_is_answered_from_the_store_or_504() {
    let (origin, proxy) = half_way(|_| ()).await;
    assert!(proxy.send(&asking("only-if-cached")).await.is_hit());
    let missing = proxy.send(&get("/missing").with("Cache-Control", "only-if-cached")).await;
    assert_eq!(missing.status, 504);
    assert!(missing.says("detail=only-if-cached"), "{}", missing.cache_status());
    proxy.advance(secs(60));
    assert_eq!(proxy.send(&asking("only-if-cached")).await.status, 504);
    assert_eq!(origin.count(), 1);
}

// RFC 9111 §5.2.1.5.
#[tokio::test]
async fn a_no_store_request_leaves_nothing_behind() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    let response = proxy.send(&asking("no-store")).await;
    assert!(!response.says("stored"));
    proxy.get("/").await;
    assert_eq!(origin.count(), 2);
}
