//! TLS, and a user who may do only what is needed.

use seawall::redis::{Fault, Health, Secret};
use seawall::store::remote::Wrote;

use super::from_tier;
use crate::support::*;

/// The rights that docs/fleet.md names.
const RIGHTS: &str = "~seawall:* resetchannels &seawall:* -@all +ping +hmget +getrange +exists \
                      +set +eval +unlink +hget +hset +hlen +pttl +pexpire +type +hexists +get +time \
                      +publish +subscribe +unsubscribe +xadd +xread +xrange +xtrim +xinfo +xgroup \
                      +hgetall +hdel +zadd +zrange +zremrangebyrank";

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
    eventually("redis to be there", || proxy.tier().health() == Health::Good).await;
    proxy.get("/").await;
    eventually("it to be told", || {
        proxy.tier().health() == Health::Unwritable(Fault::NoPermission)
    })
    .await;
}

#[tokio::test]
async fn tls_is_spoken_with_those_who_are_trusted_only() {
    let authority = Authority::new("redis-tls");
    let pair = authority.certificate("redis", "localhost");
    let path = |path: &std::path::Path| path.display().to_string();
    let redis = Redis::with(&[
        "--port",
        "0",
        "--tls-port",
        "PORT",
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &path(&pair.certificate),
        "--tls-key-file",
        &path(&pair.key),
        "--tls-ca-cert-file",
        &path(&authority.file()),
    ])
    .await;
    let origin = Origin::answering(ok(vec![b'x'; 300_000]).fresh(600)).await;
    let start = |host: &'static str, ca: Option<std::path::PathBuf>| {
        Proxy::with(&origin, |settings| {
            redis.configure(settings);
            let redis = settings.redis.as_mut().expect("configured");
            (redis.tls, redis.host, redis.ca) = (true, host.to_owned(), ca);
        })
    };
    let one = start("localhost", Some(authority.file())).await;
    one.joined().await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let other = start("localhost", Some(authority.file())).await;
    other.joined().await;
    let response = other.get("/").await;
    assert!(from_tier(&response) && response.body.len() == 300_000);
    let stranger = Authority::new("redis-stranger");
    for (host, ca) in [
        // Another name, another authority, the system's.
        ("127.0.0.1", Some(authority.file())),
        ("localhost", Some(stranger.file())),
        ("localhost", None),
    ] {
        let proxy = start(host, ca).await;
        eventually("the refusal", || proxy.tier().room().faults(Fault::Denied) > 0).await;
        assert_eq!(proxy.tier().health(), Health::Down(Fault::Denied), "{host}");
    }
}
