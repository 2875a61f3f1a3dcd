//! TLS, and a user who may do only what is needed.

use seawall::redis::{Fault, Health, Secret};
use seawall::store::remote::Wrote;

use super::from_tier;
use crate::support::*;

/// The rights that docs/fleet.md names.
const RIGHTS: &str = "~seawall:* resetchannels -@all +ping +hmget +getrange +exists +set +eval \
                      +unlink +hget +hset +hlen +pttl +pexpire";

#[tokio::test]
async fn a_user_with_the_documented_rights_can_do_everything() {
    let redis = Redis::start().await;
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fleet.md"));
    assert!(document.expect("it is there").contains(RIGHTS), "docs/fleet.md has the same rights");
    redis.run_line(&format!("ACL SETUSER ann on >secret {RIGHTS}")).await;
    let large = vec![b'x'; 300_000];
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/large" => ok(&large).fresh(600),
        "/varied" => ok("v").fresh(600).with("Vary", "X-Kind"),
        _ => ok("x").fresh(600),
    })
    .await;
    let start = |password: &'static str| {
        Proxy::with(&origin, |settings| {
            redis.configure(settings);
            let redis = settings.redis.as_mut().expect("configured");
            redis.username = Some("ann".to_owned());
            redis.password = Some(Secret(password.to_owned()));
        })
    };
    let one = start("secret").await;
    one.joined().await;
    for target in ["/", "/large", "/varied"] {
        one.get(target).await;
    }
    one.wrote(Wrote::Stored, 3).await;
    let other = start("secret").await;
    other.joined().await;
    for target in ["/", "/large", "/varied"] {
        let response = other.get(target).await;
        assert!(from_tier(&response), "{target}: {response:?}");
    }
    one.purge("url", "http://example.test/", "hard").await;
    one.wrote(Wrote::Deleted, 1).await;
    for fault in Fault::ALL {
        assert_eq!(one.tier().room().faults(*fault), 0, "{}", fault.word());
    }
    let denied = start("wrong").await;
    eventually("the refusal", || denied.tier().health() == Health::Down(Fault::Denied)).await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_told() {
    let redis = Redis::start().await;
    redis.run_line("ACL SETUSER ann on >secret ~seawall:* -@all +ping +hmget").await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let proxy = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        let redis = settings.redis.as_mut().expect("configured");
        redis.username = Some("ann".to_owned());
        redis.password = Some(Secret("secret".to_owned()));
    });
    let proxy = proxy.await;
    proxy.joined().await;
    proxy.get("/").await;
    eventually("it to be told", || {
        proxy.tier().health() == Health::Unwritable(Fault::NoPermission)
    })
    .await;
}
