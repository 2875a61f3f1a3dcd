//! Which statuses are stored (RFC 9111 §3).

use crate::support::*;

#[tokio::test]
async fn any_final_status_with_explicit_freshness_is_stored_and_keeps_its_status() {
    let codes = [
        200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 405, 410, 414, 499, 500, 501, 502,
        503, 504, 599,
    ];
    for code in codes {
        let answer = match code {
            204 => status(code),
            _ => status(code).body("body"),
        };
        let (origin, proxy) = stage(answer.fresh(600)).await;
        for _ in 0..2 {
            assert_eq!(proxy.get("/").await.status, code);
        }
        assert_eq!(origin.count(), 1, "{code}");
        proxy.advance(secs(601));
        proxy.get("/").await;
        assert_eq!(origin.count(), 2, "{code} is not reused when stale");
    }
}

#[tokio::test]
async fn no_status_is_stored_without_freshness_or_validator() {
    let codes = [200, 204, 301, 302, 404, 410, 500, 503, 599];
    expect_reuse(0, false, codes.map(status)).await;
}

#[tokio::test]
async fn an_empty_200_is_an_object_like_any_other() {
    expect_reuse(1, true, [ok("").fresh(60), ok("").chunked().fresh(60)]).await;
}

#[tokio::test]
async fn redirects_keep_their_location() {
    let (_origin, proxy) = stage(status(301).with("Location", "/there").fresh(60)).await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.field("location"), Some("/there"));
    }
}
