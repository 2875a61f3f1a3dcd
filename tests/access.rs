//! `[rule.access]`: who is let in, and what those who are not can learn.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;

/// A file of users: `ann` and `bob`, whose password is `secret`.
struct UsersFile(PathBuf);

impl UsersFile {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("seawall-users-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // The least rounds there are: a test is no attack.
        let hash = "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2";
        std::fs::write(&path, format!("# staff\nann:{hash}\nbob:{hash}\n")).expect("a file");
        Self(path)
    }

    fn rule(&self, rest: &str) -> String {
        format!("[[rule]]\naccess.users = '{}'\n{rest}\n", self.0.display())
    }
}

impl Drop for UsersFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

// `ann:secret`, `bob:secret`, `ann:wrong`, `eve:secret`
const ANN: &str = "Basic YW5uOnNlY3JldA==";
const BOB: &str = "basic Ym9iOnNlY3JldA";
const WRONG: &str = "Basic YW5uOndyb25n";
const STRANGER: &str = "Basic ZXZlOnNlY3JldA==";

fn by(credentials: &str, target: &str) -> Request {
    get(target).with("Authorization", credentials)
}

#[tokio::test]
async fn addresses_are_let_in_by_what_trusted_proxies_say_and_hits_are_guarded_too() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let rules = r#"
        [trust]
        proxies = ["127.0.0.0/8"]
        [[rule]]
        match = { path = "/in/**" }
        access = { allow = ["192.0.2.0/24"], deny = ["192.0.2.66"] }
        [[rule]]
        match = { path = "/in/open" }
        access = { allow = [] }
    "#;
    let text = format!("[upstream.origin]\nurl = \"http://{}\"\n{rules}", origin.address);
    let read = seawall::config::parse(&text, &seawall::config::CliOverrides::default());
    let read = read.unwrap_or_else(|faults| panic!("{faults}")).proxy;
    let proxy = Proxy::with(&origin, |settings| {
        settings.proxy.rules = read.rules;
        settings.proxy.trusted_proxies = read.trusted_proxies;
    })
    .await;
    let from = |address: &str, target: &str| get(target).with("X-Forwarded-For", address);
    assert_eq!(proxy.send(&from("192.0.2.7", "/in/a")).await.status, 200);
    assert!(proxy.send(&from("192.0.2.8", "/in/a")).await.is_hit());
    for address in ["192.0.2.66", "198.51.100.1", "192.0.2.7, 198.51.100.1", "unknown"] {
        for request in [from(address, "/in/a"), from(address, "/in/../in/a")] {
            let refused = proxy.send(&request).await;
            assert_eq!(refused.status, 403, "{address}");
            assert_eq!(refused.cache_status(), "seawall; detail=access-denied");
            assert_ne!(refused.text(), "a");
        }
    }
    assert_eq!(proxy.send(&from("192.0.2.66", "/in/open")).await.status, 403);
    assert_eq!(proxy.send(&from("198.51.100.1", "/in/open")).await.status, 200);
    let mut http2 = H2Client::connect(proxy.address).await;
    assert_eq!(http2.exchange(&from("198.51.100.1", "/in/a")).await.status, 403);
    assert_eq!(origin.count(), 2);
}

// RFC 9110 §9.3.7: `*` is the server as a whole.
#[tokio::test]
async fn what_guards_every_path_guards_the_server_as_a_whole() {
    let origin = Origin::answering(ok("a")).await;
    let rules = "[[rule]]\nmatch.path = \"/**\"\naccess.deny = [\"127.0.0.0/8\"]";
    let proxy = Proxy::ruled(&origin, rules).await;
    assert_eq!(proxy.send(&request("OPTIONS", "*")).await.status, 403);
    assert_eq!(origin.count(), 0);
}

// RFC 7617, RFC 9110 §11.6 and §15.5.2.
#[tokio::test]
async fn what_users_guard_is_shared_among_those_who_are_let_in_and_nobody_else() {
    let file = UsersFile::new();
    let origin = Origin::answering(ok("inside").fresh(600).with("ETag", "\"1\"")).await;
    let proxy = Proxy::ruled(&origin, &file.rule("access.realm = \"staff only\"")).await;
    let first = proxy.send(&by(ANN, "/")).await;
    assert_eq!((first.status, first.text()), (200, "inside"));
    assert_eq!(origin.last().field("authorization"), None);
    for credentials in [ANN, BOB] {
        let hit = proxy.send(&by(credentials, "/")).await;
        assert!(hit.is_hit() && hit.text() == "inside");
    }
    let refused = [
        get("/"),
        by(WRONG, "/"),
        by(STRANGER, "/"),
        by("Bearer YW5uOnNlY3JldA==", "/"),
        by("Basic", "/"),
        by(ANN, "/").with("Authorization", WRONG),
        get("/").with("If-None-Match", "\"1\""),
        get("/").with("Range", "bytes=0-1"),
        get("/").with("Cache-Control", "only-if-cached"),
        head("/"),
        post("/", "body"),
    ];
    for request in &refused {
        let response = proxy.send(request).await;
        assert_eq!(response.status, 401, "{:?}", request.fields);
        let challenge = "Basic realm=\"staff only\", charset=\"UTF-8\"";
        assert_eq!(response.all("www-authenticate"), [challenge]);
        assert_eq!(response.field("cache-control"), Some("no-store"));
        assert_eq!(response.field("etag"), None);
        assert!(response.says("detail=unauthorized"));
    }
    let mut http2 = H2Client::connect(proxy.address).await;
    assert_eq!(http2.exchange(&get("/")).await.status, 401);
    assert!(http2.exchange(&by(BOB, "/")).await.is_hit());
    assert_eq!(origin.count(), 1);
}

// RFC 9111 §3.5: what the origin is told of, it decides about.
#[tokio::test]
async fn credentials_that_are_passed_on_are_the_origins_to_judge() {
    let file = UsersFile::new();
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let rules = file.rule("access.pass_authorization = true");
    let proxy = Proxy::ruled(&origin, &rules).await;
    for credentials in [ANN, BOB] {
        let response = proxy.send(&by(credentials, "/")).await;
        assert!(!response.is_hit());
        assert_eq!(origin.last().field("authorization"), Some(credentials));
    }
}

#[tokio::test]
async fn access_comes_before_redirections_and_fixed_responses_and_not_before_purge() {
    let file = UsersFile::new();
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let rules = [
        file.rule("match.path = \"/go\"\nredirect.to = \"/secret-place\""),
        file.rule("match.path = \"/fixed\"\nrespond.body = \"secret\""),
        file.rule("match.path = \"/page/**\""),
        "[[rule]]\nmatch.path = \"/page/out\"\naccess = { users = \"off\", deny = [\"127.0.0.0/8\"] }".to_owned(),
    ];
    let text =
        format!("[upstream.origin]\nurl = \"http://{}\"\n{}", origin.address, rules.concat());
    let read = seawall::config::parse(&text, &seawall::config::CliOverrides::default());
    let read = read.unwrap_or_else(|faults| panic!("{faults}")).proxy;
    let proxy = Proxy::with(&origin, |settings| {
        settings.proxy.rules = read.rules;
        settings.proxy.purge.allow = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await;
    for target in ["/go", "/fixed"] {
        let refused = proxy.get(target).await;
        assert_eq!((refused.status, refused.field("location")), (401, None));
        assert!(!refused.text().contains("secret"));
    }
    assert_eq!(proxy.send(&by(ANN, "/go")).await.field("location"), Some("/secret-place"));
    assert_eq!(proxy.send(&by(ANN, "/fixed")).await.text(), "secret");
    assert_eq!(proxy.get("/page/out").await.status, 403);
    proxy.send(&by(ANN, "/page/a")).await;
    let purge = request("PURGE", "/page/a").with("Purge-Mode", "hard");
    assert_eq!(proxy.send(&purge).await.status, 200);
    assert!(!proxy.send(&by(ANN, "/page/a")).await.is_hit());
}

// Many requests of one browser come at once, none of them known yet.
#[tokio::test]
async fn requests_that_come_at_once_with_one_password_are_all_let_in() {
    let file = UsersFile::new();
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let proxy = Proxy::ruled(&origin, &file.rule("")).await;
    let mut tasks = proxy.start_all(8, &by(ANN, "/")).await;
    tasks.extend(proxy.start_all(8, &by(WRONG, "/")).await);
    let statuses: Vec<_> = all(tasks).await.iter().map(|response| response.status).collect();
    assert_eq!(statuses, [[200; 8], [401; 8]].concat());
}

#[tokio::test]
async fn a_tunnel_is_guarded_like_everything_else() {
    let file = UsersFile::new();
    let origin = Origin::answering(ok("a").with("Server", "secret")).await;
    let rules = file.rule("response.remove = \"server\"");
    let proxy = Proxy::ruled(&origin, &rules).await;
    let upgrade = |request: Request| request.with("Connection", "upgrade").with("Upgrade", "chat");
    assert_eq!(proxy.send(&upgrade(get("/"))).await.status, 401);
    let declined = proxy.send(&upgrade(by(ANN, "/"))).await;
    assert_eq!((declined.status, declined.field("server")), (200, None));
    assert_eq!(origin.last().field("authorization"), None);
}
