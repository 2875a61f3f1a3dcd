//! Variants (RFC 9111 §4.1).

use crate::support::*;

// RFC 9110 §12.5.3: a client that accepts a class accepts whatever the origin makes of it.
#[tokio::test]
async fn browsers_do_not_split_the_cache_by_encodings() {
    let origin = Origin::start(|seen| {
        let encodings = seen.field("accept-encoding").unwrap_or("none").to_owned();
        ok(encodings).fresh(600).with("vary", "accept-encoding")
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    for (sent, seen, hit) in [
        ("gzip, deflate, br, zstd", "br, gzip", false),
        ("gzip, deflate, br", "br, gzip", true),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br, gzip", true),
        ("gzip, deflate", "gzip", false),
        ("GZIP", "gzip", true),
        ("deflate", "identity", false),
        ("gzip, identity;q=0", "gzip, identity;q=0", false),
    ] {
        let response = proxy.send(&get("/").with("Accept-Encoding", sent)).await;
        assert_eq!((response.text(), response.is_hit()), (seen, hit), "{sent}");
    }
    // What can't be shared is asked for as the client does.
    let private = get("/").with("Accept-Encoding", "zstd, br").with("Cache-Control", "no-store");
    assert_eq!(proxy.send(&private).await.text(), "zstd, br");
}

/// An origin that answers what `X-A` and `X-B` say, with this `Vary`.
async fn choosing(vary: &'static [&'static str]) -> (Origin, Proxy) {
    let origin = Origin::start(move |request| {
        let body = format!("{:?} {:?}", request.field("x-a"), request.field("x-b"));
        vary.iter().fold(ok(body).fresh(600), |answer, line| answer.with("Vary", *line))
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    (origin, proxy)
}

fn asking(a: Option<&str>, b: Option<&str>) -> Request {
    let mut request = get("/");
    if let Some(a) = a {
        request = request.with("X-A", a);
    }
    if let Some(b) = b {
        request = request.with("X-B", b);
    }
    request
}

#[tokio::test]
async fn each_variant_is_fetched_once_and_none_is_given_for_another() {
    let (origin, proxy) = choosing(&["X-A, X-B"]).await;
    let requests = [
        asking(None, None),
        asking(Some("1"), None),
        asking(Some("1"), Some("2")),
        asking(Some("2"), Some("1")),
        asking(None, Some("1")),
    ];
    let mut bodies = Vec::new();
    for request in &requests {
        bodies.push(proxy.send(request).await.text().to_owned());
    }
    assert_eq!(origin.count(), requests.len());
    for (request, body) in requests.iter().zip(&bodies) {
        let response = proxy.send(request).await;
        assert_eq!((response.text(), response.is_hit()), (body.as_str(), true));
    }
    assert_eq!(origin.count(), requests.len());
}

#[tokio::test]
async fn another_variants_miss_is_called_a_vary_miss() {
    let (_origin, proxy) = choosing(&["X-A"]).await;
    assert!(proxy.send(&asking(Some("1"), None)).await.says("fwd=uri-miss"));
    assert!(proxy.send(&asking(Some("2"), None)).await.says("fwd=vary-miss"));
}

#[tokio::test]
async fn absent_is_a_value_that_matches_only_absent() {
    let (origin, proxy) = choosing(&["X-A"]).await;
    proxy.send(&asking(None, None)).await;
    assert!(proxy.send(&asking(None, Some("ignored"))).await.is_hit());
    assert!(!proxy.send(&asking(Some(""), None)).await.is_hit() || origin.count() == 1);
    assert!(!proxy.send(&asking(Some("x"), None)).await.is_hit());
}

// RFC 9110 §12.5.5: `*` anywhere means that no field tells.
#[tokio::test]
async fn a_star_in_vary_never_matches_wherever_it_stands() {
    let cases: [&'static [&'static str]; 7] =
        [&["*"], &["*, X-A"], &["X-A, *"], &["X-A", "*"], &["*", "X-A"], &[", *"], &["X-A,,*,"]];
    for vary in cases {
        let (origin, proxy) = choosing(vary).await;
        for _ in 0..2 {
            assert!(!proxy.send(&asking(Some("1"), None)).await.is_hit(), "{vary:?}");
        }
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn vary_is_read_from_all_its_lines_and_in_any_case() {
    let (origin, proxy) = choosing(&["x-a", "X-b"]).await;
    proxy.send(&asking(Some("1"), Some("1"))).await;
    assert!(!proxy.send(&asking(Some("1"), Some("2"))).await.is_hit());
    assert!(proxy.send(&asking(Some("1"), Some("1"))).await.is_hit());
    assert_eq!(origin.count(), 2);
}

// RFC 9111 §4.1: transformations that keep the meaning may be undone before comparing.
#[tokio::test]
async fn whitespace_in_lists_and_splitting_over_lines_make_no_variant() {
    let (origin, proxy) = choosing(&["X-A"]).await;
    proxy.send(&asking(Some("1, 2"), None)).await;
    for same in ["1,2", "1 , 2", "1,  2", " 1, 2 "] {
        assert!(proxy.send(&asking(Some(same), None)).await.is_hit(), "{same:?}");
    }
    let split = get("/").with("X-A", "1").with("X-A", "2");
    assert!(proxy.send(&split).await.is_hit());
    assert_eq!(origin.count(), 1);
    assert!(!proxy.send(&asking(Some("2, 1"), None)).await.is_hit(), "order may matter");
}

#[tokio::test]
async fn accept_language_is_untouched_unless_configured() {
    let french = ok("fr").fresh(600).with("Vary", "Accept-Language").with("Content-Language", "fr");
    let asked = |value: &str| get("/").with("Accept-Language", value);
    let (origin, proxy) = stage(french.clone()).await;
    proxy.send(&asked("en, fr")).await;
    proxy.send(&asked("fr, en")).await;
    assert_eq!(origin.count(), 2);

    let origin = Origin::answering(french).await;
    let normal =
        |s: &mut seawall::config::Settings| s.cache().policy.normalize_accept_language = true;
    let proxy = Proxy::with(&origin, normal).await;
    proxy.send(&asked("en, fr")).await;
    for same in ["fr, en", "EN, FR", "fr ,en"] {
        assert!(proxy.send(&asked(same)).await.is_hit(), "{same}");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn the_number_of_variants_is_bounded_and_the_oldest_goes() {
    let origin = Origin::answering(ok("body").fresh(600).with("Vary", "X-A")).await;
    let proxy = Proxy::with(&origin, |s| s.store.max_variants = 3).await;
    for value in ["1", "2", "3", "4"] {
        proxy.send(&asking(Some(value), None)).await;
    }
    assert!(proxy.send(&asking(Some("4"), None)).await.is_hit());
    assert!(!proxy.send(&asking(Some("1"), None)).await.is_hit());
    proxy.settled().await;
}

// A Vary that changes must not let answers chosen by the old one escape.
#[tokio::test]
async fn when_vary_changes_each_stored_response_keeps_its_own() {
    let origin = Origin::start(|request| match request.number {
        0 => ok("by a").fresh(600).with("Vary", "X-A"),
        _ => ok("by b").fresh(600).with("Vary", "X-B"),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    proxy.send(&asking(Some("1"), Some("1"))).await;
    proxy.send(&asking(Some("2"), Some("2"))).await;
    assert_eq!(proxy.send(&asking(Some("1"), Some("9"))).await.text(), "by a");
    assert_eq!(proxy.send(&asking(Some("9"), Some("2"))).await.text(), "by b");
    assert_eq!(origin.count(), 2);
    proxy.send(&asking(Some("9"), Some("9"))).await;
    assert_eq!(origin.count(), 3);
}
