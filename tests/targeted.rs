//! Targeted cache control (RFC 9213): `Seawall-Cache-Control`, then `CDN-Cache-Control`.

use crate::support::*;

fn targeted(cdn: &str, plain: &str) -> Answer {
    given(&[("CDN-Cache-Control", cdn), ("Cache-Control", plain)])
}

// RFC 9213 §2.2: the most specific valid field is the only one that counts, Expires included.
#[tokio::test]
async fn a_valid_targeted_field_replaces_cache_control_and_expires() {
    let reused = [
        targeted("max-age=60", "no-store"),
        targeted("max-age=60", "max-age=1"),
        targeted("max-age=60", "private"),
        targeted("max-age=60", "no-cache"),
        targeted("max-age=60", "max-age=60").with("Expires", "0"),
        targeted("foo, max-age=60", "max-age=1"),
        targeted("foo=bar, max-age=60, baz=\"no-store\"", "max-age=1"),
        targeted("  max-age=60  ", "max-age=1"),
    ];
    expect_reuse(30, true, reused).await;
    let not_reused = [
        targeted("no-store", "max-age=60"),
        targeted("private", "max-age=60"),
        targeted("no-cache", "max-age=60"),
        targeted("max-age=1", "max-age=60"),
        targeted("max-age=0", "s-maxage=60"),
        targeted("max-age=1", "max-age=60").with("Expires", "Tue, 01 Jan 2030 01:00:00 GMT"),
        targeted("max-age=60", "max-age=60").with("Age", "40"),
    ];
    expect_reuse(30, false, not_reused).await;
}

// RFC 9213 §2.1: a structured field; one that does not parse, or is empty, is ignored whole.
#[tokio::test]
async fn an_invalid_or_empty_targeted_field_is_as_if_absent() {
    let falls_back = [
        targeted("max-age=1, &&", "max-age=60"),
        targeted("max-age=1, \"unterminated", "max-age=60"),
        targeted("MAX-AGE=1", "max-age=60"),
        targeted("", "max-age=60"),
        targeted("max-age=\"1\"", "max-age=60"),
        targeted("max-age=1.5", "max-age=60"),
        targeted("max-age=?1", "max-age=60"),
        targeted("max-age", "max-age=60"),
    ];
    expect_reuse(30, true, falls_back).await;
    expect_reuse(30, false, [targeted("max-age=60, &&", "no-store")]).await;
}

#[tokio::test]
async fn our_own_target_stands_before_the_one_for_all_of_us() {
    let own = |own: &str, cdn: &str| targeted(cdn, "max-age=1").with("Seawall-Cache-Control", own);
    expect_reuse(30, true, [own("max-age=60", "no-store"), own("&&", "max-age=60")]).await;
    expect_reuse(30, false, [own("no-store", "max-age=60")]).await;
}

// RFC 9213 §2: targeted fields may be passed on; a cache behind us may need them.
#[tokio::test]
async fn a_targeted_field_reaches_the_client_unchanged() {
    let (_origin, proxy) = stage(targeted("max-age=60, private=x", "max-age=1")).await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.all("cdn-cache-control"), ["max-age=60, private=x"]);
    }
}

#[tokio::test]
async fn surrogate_control_and_x_accel_expires_count_only_where_configured() {
    let surrogate = given(&[("Surrogate-Control", "max-age=60"), ("Cache-Control", "no-store")]);
    let accel = given(&[("X-Accel-Expires", "60"), ("Cache-Control", "max-age=1")]);
    expect_reuse(30, false, [surrogate.clone(), accel.clone()]).await;
    let both = |s: &mut seawall::config::Settings| {
        s.cache().policy.surrogate_control = true;
        s.cache().policy.x_accel_expires = true;
    };
    expect_reuse_with(both, 30, true, [surrogate, accel]).await;
}
