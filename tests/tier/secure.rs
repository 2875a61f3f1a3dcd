//! TLS, and a user who may do only what is needed.

use seawall::redis::{Address, Fault, Health, Login, Place, Secret};
use seawall::store::remote::Wrote;
use seawall::store::remote::fleet::Read;

use super::from_tier;
use crate::support::*;

/// The rights that docs/fleet.md names.
const RIGHTS: &str = "~seawall:* resetchannels &seawall:* -@all +ping +hmget +getrange +exists \
                      +set +eval +unlink +hget +hset +hlen +pttl +pexpire +type +hexists +get +time \
                      +publish +subscribe +unsubscribe +xadd +xread +xrange +xtrim +xinfo +xgroup \
                      +hgetall +hdel +zadd +zrange +zremrangebyrank +role +asking \
                      +cluster|slots";

/// And those at sentinels.
const RIGHTS_AT_SENTINELS: &str =
    "resetchannels &+switch-master -@all +sentinel|get-master-addr-by-name +subscribe";

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
            redis.login.username = Some("ann".to_owned());
            redis.login.password = Some(Secret(password.to_owned()));
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
async fn sentinels_are_asked_with_the_documented_rights() {
    let watched = Watched::start().await;
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fleet.md"));
    let document = document.expect("it is there");
    assert!(document.contains(RIGHTS_AT_SENTINELS), "docs/fleet.md has the same rights");
    for server in &watched.servers {
        server.run_line(&format!("ACL SETUSER ann on >secret {RIGHTS}")).await;
    }
    for sentinel in watched.sentinels() {
        sentinel.run_line(&format!("ACL SETUSER bob on >other {RIGHTS_AT_SENTINELS}")).await;
    }
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let watched = &watched;
    let start = |password: &'static str| {
        Proxy::with(&origin, move |settings| {
            watched.configure(settings);
            let redis = settings.redis.as_mut().expect("configured");
            redis.login = login("ann", "secret");
            let Place::Sentinel(sentinel) = &mut redis.place else { panic!("it is configured") };
            sentinel.login = login("bob", password);
        })
    };
    let one = start("other").await;
    one.joined().await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let next = watched.servers[1].place();
    watched.fail_over().await;
    eventually("it to follow", || one.tier().room().server().as_ref() == Some(&next)).await;
    one.joined().await;
    let rights = [Fault::Denied, Fault::NoPermission];
    assert_eq!(rights.map(|fault| one.tier().room().faults(fault)), [0, 0]);
    let denied = start("wrong").await;
    eventually("the refusal", || denied.tier().health() == Health::Down(Fault::Denied)).await;
}

#[tokio::test]
async fn the_documented_rights_are_enough_in_a_cluster_and_while_slots_move() {
    let sharded = Sharded::start().await;
    for server in &sharded.servers {
        server.run_line(&format!("ACL SETUSER ann on >secret {RIGHTS}")).await;
    }
    let origin = Origin::start(|request| match request.target.as_str() {
        "/large" => ok(vec![b'x'; 300_000]).fresh(600),
        _ => ok("x").fresh(600),
    })
    .await;
    let start = || {
        Proxy::with(&origin, |settings| {
            sharded.configure(settings);
            settings.redis.as_mut().expect("configured").login = login("ann", "secret");
        })
    };
    let targets = ["/large", "/a", "/b", "/c", "/d", "/e", "/f"];
    let one = start().await;
    one.joined().await;
    for target in targets {
        one.get(target).await;
    }
    one.wrote(Wrote::Stored, targets.len() as u64).await;
    let (slot, from) = sharded.owner("seawall:purges").await;
    let to = (from + 1) % sharded.servers.len();
    sharded.begin_move(slot, from, to).await;
    sharded.move_keys(slot, from, to).await;
    let other = start().await;
    other.joined().await;
    for target in targets {
        let response = other.get(target).await;
        assert!(from_tier(&response), "{target}: {response:?}");
    }
    one.purge("url", "http://example.test/a", "hard").await;
    other.read(Read::Applied, 1).await;
    sharded.end_move(slot, to).await;
    one.purge("url", "http://example.test/b", "hard").await;
    other.read(Read::Applied, 2).await;
    let rights = [Fault::Denied, Fault::NoPermission];
    assert_eq!(rights.map(|fault| one.tier().room().faults(fault)), [0, 0]);
    assert_eq!(rights.map(|fault| other.tier().room().faults(fault)), [0, 0]);
}

#[tokio::test]
async fn tls_is_spoken_with_every_server_of_a_cluster() {
    let authority = Authority::new("cluster-tls");
    let options = tls_options(&authority, "127.0.0.1");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let options = [&["--tls-port", "ANOTHER", "--tls-cluster", "yes"], &*options].concat();
    let sharded = Sharded::with(&options).await;
    let seeds = sharded.tls_seeds().await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let start = || {
        Proxy::with(&origin, |settings| {
            sharded.configure(settings);
            let redis = settings.redis.as_mut().expect("configured");
            (redis.tls, redis.ca) = (true, Some(authority.file()));
            redis.place = seeds.clone();
        })
    };
    let (one, other) = (start().await, start().await);
    one.joined().await;
    other.joined().await;
    let targets: Vec<_> = (0..12).map(|number| format!("/{number}")).collect();
    for target in &targets {
        one.get(target).await;
    }
    one.wrote(Wrote::Stored, 12).await;
    for target in &targets {
        assert!(from_tier(&other.get(target).await), "{target}");
    }
}

fn login(user: &str, password: &str) -> Login {
    let password = Some(Secret(password.to_owned()));
    Login { username: Some(user.to_owned()), password }
}

#[tokio::test]
async fn a_primary_is_found_by_tls_all_the_way() {
    let authority = Authority::new("sentinel-tls");
    let options = tls_options(&authority, "127.0.0.1");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let servers = [&["--port", "0", "--tls-port", "PORT", "--tls-replication", "yes"], &*options];
    let lines = ["port 0".to_owned(), "tls-port PORT".to_owned(), "tls-replication yes".to_owned()];
    let options = options.as_chunks::<2>().0.iter();
    let more = options.map(|[name, value]| format!("{} {value}", name.trim_start_matches('-')));
    let lines: Vec<String> = lines.into_iter().chain(more).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let watched = Watched::with(&servers.concat(), &lines).await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let (watched, authority) = (&watched, &authority);
    let start = |to_sentinels: bool| {
        Proxy::with(&origin, move |settings| {
            watched.configure(settings);
            let redis = settings.redis.as_mut().expect("configured");
            (redis.tls, redis.ca) = (true, Some(authority.file()));
            let Place::Sentinel(sentinel) = &mut redis.place else { panic!("it is configured") };
            sentinel.tls = to_sentinels;
        })
    };
    let one = start(true).await;
    one.joined().await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let plain = start(false).await;
    eventually("the refusal", || plain.tier().room().faults(Fault::NoPrimary) > 0).await;
}

/// What a server is told of the certificate with which it is `name`.
fn tls_options(authority: &Authority, name: &str) -> Vec<String> {
    let pair = authority.certificate("redis", name);
    let options = [
        ("--tls-auth-clients", "no".to_owned()),
        ("--tls-cert-file", pair.certificate.display().to_string()),
        ("--tls-key-file", pair.key.display().to_string()),
        ("--tls-ca-cert-file", authority.file().display().to_string()),
    ];
    options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

#[tokio::test]
async fn a_right_that_is_missing_is_told() {
    let redis = Redis::start().await;
    redis.run_line("ACL SETUSER ann on >secret ~seawall:* -@all +ping +hmget").await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let proxy = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        let redis = settings.redis.as_mut().expect("configured");
        redis.login.username = Some("ann".to_owned());
        redis.login.password = Some(Secret("secret".to_owned()));
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
    let options = tls_options(&authority, "localhost");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let redis = Redis::with(&[&["--port", "0", "--tls-port", "PORT"], &*options].concat()).await;
    let origin = Origin::answering(ok(vec![b'x'; 300_000]).fresh(600)).await;
    let start = |host: &'static str, ca: Option<std::path::PathBuf>| {
        Proxy::with(&origin, |settings| {
            redis.configure(settings);
            let to = settings.redis.as_mut().expect("configured");
            (to.tls, to.ca) = (true, ca);
            to.place = Place::Server(Address::new(host, redis.address.port()));
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
