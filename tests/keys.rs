//! `[rule.key]`: what is keyed beside the URL is what the origin sees, and no more.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::*;

/// All that an origin may answer by.
fn seen_by(seen: &Seen) -> String {
    let names = ["host", "accept-language", "cookie"];
    let lines = |name: &&str| {
        let found = seen.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        format!("{name}: {:?}", found.map(|(_, value)| value).collect::<Vec<_>>())
    };
    format!("{} {}", seen.target, names.iter().map(lines).collect::<String>())
}

async fn keyed(rules: &str) -> (Origin, Proxy) {
    let origin = Origin::start(|seen| ok(seen_by(seen)).fresh(600)).await;
    let proxy = Proxy::ruled(&origin, rules).await;
    (origin, proxy)
}

const SHOP: &str = r#"
    [[rule]]
    key = { drop_tracking = true, headers = ["Accept-Language"], cookies = ["currency"] }
"#;

#[tokio::test]
async fn keyed_fields_and_cookies_tell_requests_apart_and_others_do_not() {
    let (origin, proxy) = keyed(SHOP).await;
    let base = || get("/a").with("Accept-Language", "de").with("Cookie", "x=1; currency=EUR");
    proxy.send(&base()).await;
    for (request, hit) in [
        (base(), true),
        (get("/a?utm_source=b").with("Accept-Language", "de").with("Cookie", "currency=EUR"), true),
        (get("/a").with("Accept-Language", "de").with("Cookie", "currency=USD"), false),
        (get("/a").with("Accept-Language", "fr").with("Cookie", "currency=EUR"), false),
        (get("/a").with("Accept-Language", "de"), false),
        (get("/a").with("Accept-Language", "de").with("Cookie", "session=7"), true),
        (get("/a").with("Accept-Language", ""), false),
        (get("/a"), false),
    ] {
        let response = proxy.send(&request).await;
        assert_eq!(response.is_hit(), hit, "{request:?}");
    }
    let cookies: HashSet<_> = origin
        .requests()
        .iter()
        .filter_map(|seen| seen.field("cookie").map(str::to_owned))
        .collect();
    assert_eq!(cookies, ["currency=EUR", "currency=USD"].map(str::to_owned).into());
}

// A cookie that is keyed is no secret between visitors of one key, and one that is removed is none
// either: neither stands against a lifetime, nor `Vary: Cookie` against storing.
#[tokio::test]
async fn cookies_that_are_keyed_or_removed_stand_against_nothing() {
    let origin = Origin::start(|_| ok("a").with("vary", "cookie")).await;
    let rules = r#"
        [[rule]]
        cache = { default_lifetime = "1h" }
        [[rule]]
        match = { path = "/shop/**" }
        key = { cookies = ["currency"] }
        [[rule]]
        match = { path = "/blog/**" }
        key = { cookies = [] }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (path, hit) in [("/shop/a", true), ("/blog/a", true), ("/account", false)] {
        let request = get(path).with("Cookie", "currency=EUR; session=1");
        proxy.send(&request).await;
        let second = proxy.send(&request).await;
        assert_eq!(second.is_hit(), hit, "{path} {}", second.cache_status());
    }
}

#[tokio::test]
async fn requests_that_no_cache_answers_keep_their_cookies() {
    let rules = r#"
        [[rule]]
        key = { cookies = [] }
        [[rule]]
        match = { path = "/account" }
        cache = { enabled = false }
    "#;
    let (origin, proxy) = keyed(rules).await;
    let cookie = "session=1";
    for request in [post("/a", "b"), delete("/a"), get("/account"), get("/a").body("x")] {
        proxy.send(&request.with("Cookie", cookie)).await;
        assert_eq!(origin.last().field("cookie"), Some(cookie));
    }
    proxy.send(&get("/a").with("Cookie", cookie)).await;
    assert_eq!(origin.last().field("cookie"), None);
}

#[tokio::test]
async fn a_purge_of_a_url_and_an_unsafe_request_reach_all_that_is_keyed_beside_it() {
    let (origin, proxy) = keyed(&format!("{SHOP}\n[purge]\nallow = [\"127.0.0.0/8\"]")).await;
    let languages = ["de", "fr"];
    let ask = |language: &str| get("/a").with("Accept-Language", language);
    for (round, mode) in ["hard", "soft", "post"].into_iter().enumerate() {
        for language in languages {
            proxy.send(&ask(language)).await;
            assert!(proxy.send(&ask(language)).await.is_hit());
        }
        assert_eq!(
            origin.requests().iter().filter(|seen| seen.method == "GET").count(),
            2 * (round + 1)
        );
        match mode {
            "post" => assert_eq!(proxy.send(&post("/a", "b")).await.status, 200),
            mode => {
                let purge = request("PURGE", "/a").with("Purge-Mode", mode);
                assert_eq!(proxy.send(&purge).await.status, 200);
            }
        }
        for language in languages {
            let hit = proxy.send(&ask(language).with("Cache-Control", "only-if-cached")).await;
            assert_eq!(hit.status, 504, "{mode}");
        }
    }
}

// Whoever changes a page knows it by the URL that visitors have.
#[tokio::test]
async fn a_purge_takes_what_its_url_is_keyed_as() {
    let rules = r#"
        [[rule]]
        match = { host = ["www.shop.test", "shop.test"] }
        key = { host = "shop.test", sort_query = true, drop_tracking = true }
        [purge]
        allow = ["127.0.0.0/8"]
    "#;
    let (origin, proxy) = keyed(rules).await;
    let ask = |url: &str| get(url).with("Host", "shop.test");
    for (round, (host, url)) in [
        ("shop.test", "/a?b=2&a=1"),
        ("shop.test", "/a?utm_source=x&a=1&b=2"),
        ("www.shop.test", "/a?a=1&b=2"),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.send(&ask("/a?a=1&b=2")).await;
        assert_eq!(origin.count(), round + 1, "{url}");
        let purge = request("PURGE", url).with("Host", host).with("Purge-Mode", "hard");
        assert_eq!(proxy.send(&purge).await.status, 200);
    }
    assert!(!proxy.send(&ask("/a?a=1&b=2")).await.is_hit());
}

#[tokio::test]
async fn aliases_of_a_host_share_and_the_origin_sees_one_name() {
    let rules = r#"
        [[rule]]
        match = { host = ["www.shop.test", "shop.test"] }
        key = { host = "Shop.test" }
    "#;
    let (origin, proxy) = keyed(rules).await;
    let ask = |host: &str| get("/a").with("Host", host);
    for (host, hit) in
        [("www.shop.test", false), ("shop.test", true), ("shop.test:81", true), ("a.test", false)]
    {
        assert_eq!(proxy.send(&ask(host)).await.is_hit(), hit, "{host}");
    }
    let seen = origin.requests();
    assert_eq!(seen[0].field("host"), Some("shop.test"));
    assert_eq!(seen[0].field("x-forwarded-host"), Some("shop.test"));
    assert_eq!(seen[1].field("host"), Some("a.test"));
}

// Whether somebody is logged in, or has a phone: without a copy for each session or browser.
#[tokio::test]
async fn classes_keep_requests_apart_by_whatever_rules_match() {
    let rules = r#"
        [[rule]]
        match = { cookie = { session = true } }
        class = { login = "yes" }
        [[rule]]
        match = { header = { user-agent = "*Mobile*" } }
        class = { device = "phone" }
        [[rule]]
        match = { path = "/plain" }
        class = { login = "any" }
    "#;
    let (_origin, proxy) = keyed(&format!("{rules}\n[purge]\nallow = [\"127.0.0.0/8\"]")).await;
    let ask = |path: &str, session: &str, agent: &str| {
        get(path).with("Cookie", format!("{session}=1; x={agent}")).with("User-Agent", agent)
    };
    for (path, session, agent, hit) in [
        ("/", "session", "a", false),
        ("/", "session", "b", true),
        ("/", "other", "a", false),
        ("/", "none", "b", true),
        ("/", "session", "a Mobile", false),
        ("/", "session", "b Mobile", true),
        ("/", "other", "b Mobile", false),
        ("/plain", "session", "a", false),
        // What is the last rule's is the same for all.
        ("/plain", "other", "a", true),
    ] {
        let response = proxy.send(&ask(path, session, agent)).await;
        assert_eq!(response.is_hit(), hit, "{path} {session} {agent}");
    }
    proxy.send(&request("PURGE", "/").with("Purge-Mode", "hard")).await;
    assert!(!proxy.send(&ask("/", "session", "a")).await.is_hit(), "a purge takes all of them");
}

// A client could put the page for nobody in particular in the place of another country's.
#[tokio::test]
async fn a_field_that_is_not_the_clients_to_say_is_not_keyed_either() {
    let origin = Origin::start(|seen| ok(seen.field("cf-ipcountry").unwrap_or("-")).fresh(600));
    let origin = origin.await;
    let rules = "[[rule]]\nkey.headers = [\"cf-ipcountry\", \"accept\"]";
    let proxy = Proxy::ruled(&origin, rules).await;
    let forged = get("/").with("CF-IPCountry", "DE");
    assert_eq!(proxy.send(&forged).await.text(), "-");
    assert!(proxy.get("/").await.is_hit(), "it is the same to the origin");
    let trust = format!("[trust]\nproxies = [\"127.0.0.0/8\"]\n{rules}");
    let trusting = Proxy::ruled(&origin, &trust).await;
    assert_eq!(trusting.send(&forged).await.text(), "DE");
    assert!(!trusting.get("/").await.is_hit());
}

#[tokio::test]
async fn the_origin_sees_what_is_not_keyed_only_where_a_rule_says_so() {
    let rules = r"
        [[rule]]
        key = { drop_tracking = true, origin_sees_dropped = true }
        [[rule]]
        match = { path = '/app/**' }
        request.path = { strip = '/app' }
    ";
    let (origin, proxy) = keyed(rules).await;
    for path in ["", "/app"] {
        proxy.get(&format!("{path}/a?utm_source=x&b=1")).await;
        assert_eq!(origin.last().target, "/a?utm_source=x&b=1");
        assert!(proxy.get(&format!("{path}/a?b=1")).await.is_hit());
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let targets = vec!["/a", "/a?b=1", "/a?utm_source=x&b=1", "/a%0Acookie=x", "/a?cookie=x"];
    let values = vec!["de", "de, en", "de\tcookie=x", "%0A", "", "a=b", "\u{e9}"];
    let cookies = vec![
        "currency=EUR",
        "x=1; currency=EUR",
        "currency=EUR; currency=USD",
        "currency=",
        "x",
        "=",
        ";",
    ];
    (
        prop::sample::select(targets),
        prop::collection::vec(prop::sample::select(values), 0..3),
        prop::collection::vec(prop::sample::select(cookies), 0..3),
    )
        .prop_map(|(target, languages, cookies)| {
            let request = languages
                .into_iter()
                .fold(get(target), |request, value| request.with("Accept-Language", value));
            cookies.into_iter().fold(request, |request, value| request.with("Cookie", value))
        })
}

/// The same key if, and only if, the same bytes at the origin.
#[tokio::test]
async fn whatever_is_keyed_is_what_the_origin_sees() {
    let (origin, proxy) = keyed(SHOP).await;
    let mut runner = TestRunner::default();
    let mut answers: HashMap<String, usize> = HashMap::new();
    for _ in 0..300 {
        let request = any_request().new_tree(&mut runner).unwrap().current();
        let through = proxy.send(&request).await;
        // Past the cache the same request shows the origin the same.
        let past = proxy.send(&request.clone().with("Cache-Control", "no-store")).await;
        assert_eq!(through.text(), past.text(), "{request:?}");
        *answers.entry(through.text().to_owned()).or_default() += 1;
    }
    let requests = origin.requests();
    let asked = requests.iter().filter(|seen| seen.field("cache-control").is_none());
    let mut known = HashSet::new();
    for seen in asked {
        assert!(known.insert(seen_by(seen)), "two keys for {}", seen_by(seen));
    }
    assert!(answers.len() > 10 && answers.values().any(|count| *count > 1));
}
