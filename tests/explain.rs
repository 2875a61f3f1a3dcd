//! What the admin API says of a request that it looks at, without doing anything.

use std::time::Duration;

use seawall::config::{self, CliOverrides};
use seawall::trial::{Ask, Content, Reply};
use serde_json::{Value, json};

use crate::support::*;

/// A URL of the proxy under test.
fn url(path: &str) -> String {
    format!("http://example.test{path}")
}

async fn asked(proxy: &Proxy, question: &Value) -> Response {
    let request = request("POST", "/explain")
        .with("Content-Type", "application/json")
        .body(question.to_string());
    proxy.ask_admin(&request).await
}

async fn explained(proxy: &Proxy, question: Value) -> Value {
    let response = asked(proxy, &question).await;
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_str(response.text()).unwrap()
}

async fn look(proxy: &Proxy, path: &str) -> Value {
    explained(proxy, json!({ "url": url(path) })).await
}

/// What would be done, and the reason word.
fn would(explained: &Value) -> (&str, Option<&str>) {
    (explained["live"]["would"].as_str().unwrap(), explained["decision"]["reason"].as_str())
}

fn fields(message: &Value) -> Vec<(&str, &str)> {
    let text = |value: &'_ Value| -> &'static str { Box::leak(value.as_str().unwrap().into()) };
    let fields = message["headers"].as_array().unwrap();
    fields.iter().map(|field| (text(&field[0]), text(&field[1]))).collect()
}

#[tokio::test]
async fn a_look_tells_what_a_request_would_get_and_changes_nothing() {
    let answer = ok("hello").fresh(60).with("Age", "3").with("ETag", "\"1\"");
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::start(&origin).await;
    let before = look(&proxy, "/a").await;
    assert_eq!(would(&before), ("miss", Some("miss")));
    assert_eq!(before["origin"]["start"], "GET /a");
    assert_eq!((origin.count(), proxy.flights()), (0, 0));

    proxy.get("/a").await;
    proxy.advance(Duration::from_secs(7));
    let counted = || async { proxy.ask_admin(&get("/metrics")).await.text().to_owned() };
    let requests = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("seawall_requests_total"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let metrics = requests(&counted().await);
    let hit = look(&proxy, "/a").await;
    assert_eq!(would(&hit), ("hit", None));
    assert_eq!(hit["live"]["found"], "memory");
    assert_eq!((&hit["live"]["bytes"], &hit["live"]["whole"]), (&json!(5), &json!(true)));
    let freshness = &hit["freshness"];
    assert_eq!(freshness["source"], "max-age");
    assert_eq!(
        (&freshness["lifetime_ms"], &freshness["initial_age_ms"], &freshness["age_ms"]),
        (&json!(60_000), &json!(3000), &json!(10_000))
    );
    assert_eq!(freshness["ttl"], 50);
    assert!(fields(&hit["response"]).contains(&("age", "10")));
    assert_eq!(origin.count(), 1);
    assert_eq!(requests(&counted().await), metrics, "nobody asked");

    proxy.advance(Duration::from_secs(60));
    let stale = look(&proxy, "/a").await;
    assert_eq!(would(&stale), ("revalidate", Some("stale")));
    assert!(fields(&stale["origin"]).contains(&("if-none-match", "\"1\"")));
    assert_eq!(stale["freshness"]["ttl"], -10);
    assert_eq!((origin.count(), proxy.flights()), (1, 0));
}

#[tokio::test]
async fn what_would_be_refreshed_is_not_by_a_look() {
    let gate = Gate::new();
    let fresh = || ok("a").with("Cache-Control", "max-age=1, stale-while-revalidate=60");
    let origin = Origin::sequence([fresh(), fresh().gate(&gate)]).await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/a").await;
    proxy.advance(Duration::from_secs(2));
    let stale = look(&proxy, "/a").await;
    assert_eq!(would(&stale), ("stale", Some("stale-while-revalidate")));
    assert_eq!(stale["live"]["refresh"], "begins");
    assert_eq!((origin.count(), proxy.flights()), (1, 0));
    proxy.get("/a").await;
    eventually("the refresh", || origin.count() == 2).await;
    let refreshed = look(&proxy, "/a").await;
    assert_eq!(refreshed["live"]["refresh"], "under-way");
    assert_eq!(refreshed["live"]["flight"], json!({ "answered": false, "followers": 0 }));
    gate.open();
}

#[tokio::test]
async fn a_fetch_under_way_is_told_and_not_joined() {
    let gate = Gate::new();
    let origin = Origin::answering(ok("a").fresh(60).gate(&gate)).await;
    let proxy = Proxy::start(&origin).await;
    let waiting = proxy.start_all(2, &get("/a")).await;
    let looking = async {
        loop {
            let seen = look(&proxy, "/a").await;
            if seen["live"]["flight"]["followers"] == 1 {
                break seen;
            }
        }
    };
    let seen = within("one who follows", looking).await;
    assert_eq!(would(&seen), ("miss", Some("miss")));
    assert_eq!(seen["live"]["flight"], json!({ "answered": false, "followers": 1 }));
    assert_eq!(seen["origin"], Value::Null, "somebody asks already");
    gate.open();
    all(waiting).await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn why_something_is_not_shared_is_known_after_the_request() {
    let origin = Origin::answering(ok("a").with("Cache-Control", "private, max-age=60")).await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/a").await;
    let marked = look(&proxy, "/a").await;
    assert_eq!(would(&marked), ("pass", Some("hit-for-miss")));
    assert_eq!(marked["live"]["hit_for_miss"]["reason"], "private");
    assert!(marked["live"]["hit_for_miss"]["seconds"].as_u64().unwrap() > 0);
    assert_eq!(marked["otherwise"], "change the origin's `Cache-Control`");
    proxy.advance(Duration::from_secs(3600));
    let later = look(&proxy, "/a").await;
    assert_eq!(would(&later), ("miss", Some("miss")));
    assert_eq!(later["live"]["hit_for_miss"]["reason"], "private");
    assert_eq!(later["live"]["hit_for_miss"]["seconds"], 0);
    assert_eq!(later["otherwise"], "change the origin's `Cache-Control`");
}

#[tokio::test]
async fn rules_key_tags_variants_and_purges_are_told() {
    let answer = ok("a").fresh(60).with("Vary", "Accept-Language").with("Surrogate-Key", "p:1 p:2");
    let origin = Origin::answering(answer.with("Cache-Groups", "\"shop\"")).await;
    let rules = r#"
        [[rule]]
        name = "all"
        key = { drop_tracking = true, cookies = ["currency"] }
        tags = { add = ["site"] }
        [[rule]]
        match_response = { status = 404 }
        cache = { max_lifetime = "1s" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let asks = |language: &str| {
        get("/a?utm_source=x")
            .with("Cookie", "theme=dark; currency=EUR")
            .with("Accept-Language", language)
    };
    proxy.send(&asks("de")).await;
    proxy.send(&asks("fr")).await;
    let question = |language: &str| {
        let cookie = "theme=dark; currency=EUR";
        json!({ "url": url("/a?utm_source=x"), "headers": [["cookie", cookie], ["accept-language", language]] })
    };
    let german = explained(&proxy, question("de")).await;
    assert_eq!(would(&german), ("hit", None));
    assert_eq!(german["route"], "test");
    assert_eq!(german["rules"][0]["name"], "all");
    assert_eq!(
        (&german["rules"][0]["counts"], &german["rules"][1]["counts"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(german["key"]["url"], "http://example.test/a");
    assert_eq!(german["key"]["parts"], json!([{ "field": "cookie", "value": "currency=EUR" }]));
    let dropped = german["key"]["dropped"].to_string();
    assert!(dropped.contains("utm_source=x") && dropped.contains("cookie theme"), "{dropped}");
    assert_eq!(german["variant"], json!([{ "field": "accept-language", "value": "de" }]));
    assert_eq!(german["live"]["variants"], 2);
    assert_eq!(german["live"]["others"], json!([[{ "field": "accept-language", "value": "fr" }]]));
    assert_eq!(german["tags"], json!(["p:1", "p:2", "site"]));
    assert_eq!(german["groups"], json!(["shop"]));
    assert_eq!(german["live"]["purged"], "none");
    let italian = explained(&proxy, question("it")).await;
    assert_eq!(would(&italian), ("miss", Some("vary-mismatch")));
    assert_eq!(italian["live"]["others"].as_array().unwrap().len(), 2);

    proxy.purge("tag", "p:2", "soft").await;
    let purged = explained(&proxy, question("de")).await;
    assert_eq!(would(&purged), ("miss", Some("soft-purged")));
    assert_eq!(
        (&purged["live"]["purged"], &purged["live"]["purge_sequence"]),
        (&json!("soft"), &json!(1))
    );
    proxy.purge("tag", "p:2", "hard").await;
    let gone = explained(&proxy, question("de")).await;
    assert_eq!(would(&gone), ("miss", Some("miss")));
    assert_eq!(gone["live"]["purged"], "hard");
    assert_eq!(gone["decision"]["stored"], false);
}

#[tokio::test]
async fn secrets_of_others_are_hidden() {
    let answer =
        ok("a").fresh(60).with("Set-Cookie", "session=s3cret; Path=/").with("Vary", "X-Auth-User");
    let origin = Origin::answering(answer.with("X-Auth-Token", "s3cret")).await;
    let rules = r#"
        [[rule]]
        cache = { store_set_cookie = true }
        request = { set = { x-api-key = "s3cret" } }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    proxy.send(&get("/a").with("X-Auth-User", "s3cret")).await;
    let response = asked(&proxy, &json!({ "url": url("/a") })).await;
    assert_eq!(response.status, 200);
    assert!(!response.text().contains("s3cret"), "{}", response.text());
    let other: Value = serde_json::from_str(response.text()).unwrap();
    assert_eq!(other["live"]["others"][0][0]["value"], "(hidden)");
    let response =
        asked(&proxy, &json!({ "url": url("/a"), "headers": [["x-auth-user", "s3cret"]] })).await;
    let own: Value = serde_json::from_str(response.text()).unwrap();
    assert_eq!(would(&own), ("hit", None));
    assert!(fields(&own["live"]["stored"]).contains(&("set-cookie", "session=(hidden)")));
    assert!(fields(&own["live"]["stored"]).contains(&("x-auth-token", "(hidden)")));
    assert!(fields(&own["response"]).contains(&("set-cookie", "session=(hidden)")));
    let told =
        explained(&proxy, json!({ "url": url("/b"), "headers": [["cookie", "a=mine"]] })).await;
    assert!(fields(&told["origin"]).contains(&("cookie", "a=mine")), "one's own are no secret");
}

#[tokio::test]
async fn what_never_comes_to_the_cache_is_explained_too() {
    let origin = Origin::answering(ok("a").fresh(60)).await;
    let rules = r#"
        [[rule]]
        name = "moved"
        match = { path = "/old" }
        redirect = { to = "/new" }
        [[rule]]
        name = "closed"
        match = { path = "/closed" }
        access = { allow = ["10.0.0.0/8"] }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let moved = look(&proxy, "/old").await;
    assert_eq!(would(&moved), ("answer", Some("redirect")));
    assert!(fields(&moved["response"]).iter().any(|(name, _)| *name == "location"));
    let closed = look(&proxy, "/closed").await;
    assert_eq!(would(&closed), ("refuse", Some("access-denied")));
    assert_eq!(closed["rules"][0]["name"], "closed");
    let open = explained(&proxy, json!({ "url": url("/closed"), "client": "10.1.2.3" })).await;
    assert_eq!(would(&open), ("miss", Some("miss")));
    let method = explained(&proxy, json!({ "url": url("/a"), "method": "POST" })).await;
    assert_eq!(would(&method), ("pass", Some("method")));
    let only = json!({ "url": url("/a"), "headers": [["cache-control", "only-if-cached"]] });
    assert_eq!(would(&explained(&proxy, only).await), ("refuse", Some("only-if-cached")));
    let upgrade = [["connection", "upgrade"], ["upgrade", "websocket"]];
    let tunnel = explained(&proxy, json!({ "url": url("/a"), "headers": upgrade })).await;
    assert_eq!(would(&tunnel), ("pass", Some("upgrade")));
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_failure_that_was_just_seen_is_told() {
    let answers = [ok("a").fresh(1).with("ETag", "\"1\""), Answer::hang_up()];
    let origin = Origin::sequence(answers).await;
    let proxy = Proxy::with(&origin, |settings| {
        settings.cache().policy.stale_if_error = Duration::from_secs(600);
    })
    .await;
    proxy.get("/a").await;
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.get("/a").await.status, 200);
    let seen = look(&proxy, "/a").await;
    assert!(seen["live"]["setback"]["reason"].is_string(), "{seen}");
    assert!(matches!(would(&seen).0, "stale" | "revalidate"));
}

#[tokio::test]
async fn the_rules_in_force_explain_it() {
    let origin = Origin::answering(ok("a").fresh(60)).await;
    let file = std::env::temp_dir().join(format!("seawall-explain-{}.toml", std::process::id()));
    let text = |rule: &str| {
        format!(
            "[upstream.shop]\nurl = \"http://{}\"\n[cache]\nstale_if_error = \"7s\"\n{rule}",
            origin.address
        )
    };
    std::fs::write(&file, text("")).unwrap();
    let proxy = Proxy::from_file(&origin, &file).await;
    let before = look(&proxy, "/a").await;
    assert_eq!((&before["live"]["generation"], &before["upstream"]), (&json!(1), &json!("shop")));
    assert_eq!(before["rules"], json!([]));
    // What stands in the file counts when it is taken over.
    std::fs::write(&file, text("[[rule]]\nname = \"off\"\ncache.enabled = false\n")).unwrap();
    assert_eq!(look(&proxy, "/a").await["rules"], json!([]));
    let reload = request("POST", "/reload").with("Content-Type", "application/json");
    assert_eq!(proxy.ask_admin(&reload).await.status, 200);
    let after = look(&proxy, "/a").await;
    assert_eq!(after["live"]["generation"], 2);
    assert_eq!(would(&after), ("pass", Some("cache-off")));
    assert_eq!(
        (&after["rules"][0]["name"], &after["rules"][0]["line"]),
        (&json!("off"), &json!(5))
    );
    assert_eq!(after["settings"][0]["key"], "cache.stale_if_error");
    assert_eq!(after["settings"][1]["by"], "rule off");
    assert_eq!(after["file"], json!(file));
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn who_may_not_administer_may_not_look_and_bad_questions_are_told() {
    let origin = Origin::answering(ok("a").fresh(60)).await;
    let proxy =
        Proxy::with(&origin, |settings| settings.admin.token = Some("t0ken".to_owned())).await;
    let question = json!({ "url": url("/a") }).to_string();
    let plain = || request("POST", "/explain").body(&question);
    let ours = || plain().with("Authorization", "Bearer t0ken");
    assert_eq!(
        proxy.ask_admin(&plain().with("Content-Type", "application/json")).await.status,
        401
    );
    assert_eq!(proxy.ask_admin(&ours()).await.status, 415);
    assert_eq!(
        proxy.ask_admin(&get("/explain").with("Authorization", "Bearer t0ken")).await.status,
        405
    );
    assert_eq!(proxy.ask_admin(&ours().with("Content-Type", "application/json")).await.status, 200);

    let open = Proxy::start(&origin).await;
    open.get("/a").await;
    let crowd: Vec<_> = (0..20_000).map(|number| json!([format!("x{number}"), ""])).collect();
    for (question, status) in [
        (json!({}), 400),
        (json!({ "url": "/a" }), 400),
        (json!({ "url": url("/a"), "method": "G T" }), 400),
        (json!({ "url": url("/a"), "method": "PURGE" }), 400),
        (json!({ "url": url("/a"), "headers": [["host", "b.test"]] }), 400),
        (json!({ "url": url("/a"), "headers": [["x", "a\r\nb"]] }), 400),
        (json!({ "url": url(&format!("/{}", "x".repeat(300_000))) }), 400),
        (json!({ "url": url("/a"), "more": 1 }), 400),
        (json!({ "url": url("/a"), "headers": crowd }), 400),
    ] {
        let response = asked(&open, &question).await;
        let shown: String = question.to_string().chars().take(80).collect();
        assert_eq!(response.status, status, "{shown}: {}", response.text());
    }
    let crowd: Vec<_> = (0..2000).map(|number| json!([format!("x{number}"), ""])).collect();
    let refused = explained(&open, json!({ "url": url("/a"), "headers": crowd })).await;
    assert_eq!(would(&refused), ("refuse", Some("too-many-fields")));
    assert!(open.get("/a").await.is_hit(), "nothing was purged");
}

const KEYED: &str = r#"
    [upstream.shop]
    url = "http://127.0.0.1:9"
    [[rule]]
    key = { cookies = ["currency"], headers = ["x-plan"] }
    tags = { add = ["product:{path.2}"] }
"#;

#[test]
fn tests_beside_the_rules_expect_keyed_parts_and_tags() {
    let test = |key: &str, tags: &str| {
        format!(
            "{KEYED}\n[[test]]\n\
             request = {{ url = \"http://a.test/p/7\", headers = {{ cookie = \"a=1; currency=EUR\" }} }}\n\
             response = {{ headers = {{ cache-control = \"max-age=9\", vary = \"cookie\", surrogate-key = \"z a\" }} }}\n\
             expect = {{ key = {key}, tags = {tags} }}\n"
        )
    };
    let run = |text: &str| {
        let settings = config::parse(text, &CliOverrides::default());
        settings.unwrap_or_else(|faults| panic!("{faults}")).run_tests()
    };
    let key = r#"["http://a.test/p/7", "x-plan", "cookie=currency=EUR"]"#;
    let good = run(&test(key, r#"["z", "a", "product:7"]"#));
    assert!(good.is_good(), "{}", good.render("a.toml"));
    let bad = run(&test("\"http://a.test/p/7\"", "[\"a\"]"));
    let report = bad.render("a.toml");
    for got in [key, r#"["a", "product:7", "z"]"#] {
        assert!(report.contains(&format!("got      {got}")), "{report}");
    }
}

#[test]
fn what_a_rule_keys_is_explained_without_a_node() {
    let settings = config::parse(KEYED, &CliOverrides::default()).unwrap();
    let mut ask = Ask::parse("http://a.test/p/7").unwrap();
    ask.add_field("cookie", "theme=x; currency=EUR").unwrap();
    let mut reply = http::HeaderMap::new();
    reply.insert("cache-control", "max-age=9".parse().unwrap());
    let status = http::StatusCode::OK;
    let reply = Reply::Response { status, headers: reply, content: Content::default() };
    let explained = settings.explain(&ask, Some(&reply));
    let key = explained.key.unwrap();
    assert_eq!(key.url, "http://a.test/p/7");
    let parts: Vec<_> =
        key.parts.iter().map(|part| (&*part.field, part.value.as_deref())).collect();
    assert_eq!(parts, [("x-plan", None), ("cookie", Some("currency=EUR"))]);
    assert_eq!(key.dropped.len(), 1);
    assert_eq!(key.dropped[0].0, "cookie theme");
    assert_eq!(explained.tags, ["product:7"]);
    assert_eq!(explained.live, None);
}

/// Text that gets smaller.
fn page() -> Answer {
    ok("a line of text that comes again\n".repeat(200))
        .fresh(60)
        .with("Content-Type", "text/plain")
        .with("ETag", "\"a\"")
}

fn from_browser(path: &str) -> Value {
    json!({ "url": url(path), "headers": [["accept-encoding", "br"]] })
}

#[tokio::test]
async fn copies_are_listed_and_a_look_changes_nothing_of_them() {
    let origin = Origin::answering(page()).await;
    let rules = "[[rule]]\ncache = { compress = [\"br\", \"gzip\"] }\n";
    let proxy = Proxy::ruled(&origin, rules).await;
    proxy.send(&get("/a").with("Accept-Encoding", "br")).await;
    let key = seawall::key::Target::parse(&url("/a")).unwrap().key();
    let stored = || {
        let variants = proxy.cache().memory().peek(key.as_str())?;
        variants.as_slice().first().cloned()
    };
    let copies = || stored().map_or(0, |stored| stored.copies.made().len());
    eventually("the copy", || copies() == 1 && proxy.cache().compressing() == 0).await;
    let ready = proxy.send(&get("/a").with("Accept-Encoding", "br")).await;
    assert_eq!(ready.field("content-encoding"), Some("br"));
    let seen = explained(&proxy, from_browser("/a")).await;
    let bytes = ready.body.len();
    let made = json!({ "coding": "br", "level": 5, "bytes": bytes, "etag": "\"a-sw-br5\"" });
    assert_eq!(seen["live"]["copies"], json!([made]));
    assert_eq!(
        (&seen["live"]["as_it_came"], &seen["live"]["whole"]),
        (&json!(false), &json!(true))
    );
    assert!(fields(&seen["response"]).contains(&("content-encoding", "br")));
    // Who only looks wants nothing, so that nothing is kept or made for it.
    let stored = || stored().unwrap();
    assert_eq!(would(&look(&proxy, "/a").await).0, "decode");
    assert!(!stored().copies.is_identity_wanted());
    let gzip = json!({ "url": url("/a"), "headers": [["accept-encoding", "gzip"]] });
    assert_eq!(would(&explained(&proxy, gzip).await).0, "decode");
    assert!(!stored().copies.is_begun(seawall::policy::Coding::Gzip));
    assert!(!proxy.get("/a").await.body.is_empty());
    assert!(stored().copies.is_identity_wanted());
    assert_eq!(look(&proxy, "/a").await["live"]["as_it_came"], true);
}

#[tokio::test]
async fn what_urls_share_is_found_and_shown_where_it_is_stored() {
    let origin = Origin::start(|seen| {
        let own = seen.target.contains("own");
        let answer = ok(&seen.target).fresh(60);
        if own { answer } else { answer.with("No-Vary-Search", "params=(\"u\")") }
    })
    .await;
    let proxy = Proxy::with(&origin, |settings| {
        settings.cache().policy.no_vary_search = true;
    })
    .await;
    let before = look(&proxy, "/x?u=1&a=1").await;
    assert_eq!(before["key"].get("shared"), None);
    proxy.get("/x?u=1&a=1").await;
    let seen = look(&proxy, "/x?u=2&a=1").await;
    assert_eq!(would(&seen), ("hit", Some("no-vary-search")));
    assert_eq!(seen["key"]["url"], url("/x?u=2&a=1"));
    assert_eq!(seen["key"]["shared"], url("/x?a=1"));
    assert_eq!(seen["live"]["variants"], 1);
    let miss = look(&proxy, "/x?u=2&a=2").await;
    assert_eq!(
        (would(&miss), &miss["key"]["shared"]),
        (("miss", Some("miss")), &json!(url("/x?a=2")))
    );
    assert_eq!(miss["origin"]["start"], "GET /x?u=2&a=2");
    proxy.get("/y?own").await;
    assert_eq!(look(&proxy, "/y?own").await["key"].get("shared"), None);
    assert_eq!(origin.count(), 2);
}

// What would be done is what is done, for an origin that is left alone too.
#[tokio::test]
async fn an_origin_that_is_spared_is_known_to_be() {
    let origin = Origin::sequence([ok("a").fresh(1).with("ETag", "\"a\""), status(503)]).await;
    let proxy = Proxy::with(&origin, |settings| {
        settings.cache().protect = seawall::cache::Protect::Origin;
        settings.cache().policy.stale_if_error = Duration::from_secs(0);
    })
    .await;
    proxy.get("/a").await;
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.get("/a").await.status, 503);
    assert_eq!(would(&look(&proxy, "/a").await), ("refuse", Some("origin-spared")));
    let spared = proxy.get("/a").await;
    assert!(spared.says("detail=origin-spared"), "{}", spared.cache_status());
    assert_eq!(origin.count(), 2);
}

/// RFC 9110 §7.2.
#[tokio::test]
async fn the_origin_is_shown_the_host_that_it_would_get() {
    let origin = Origin::answering(ok("a").fresh(60)).await;
    let proxy = Proxy::with(&origin, |settings| {
        settings.upstream().identity = seawall::upstream::Identity::Name("inner.test".to_owned());
    })
    .await;
    let seen = look(&proxy, "/a").await;
    let hosts = fields(&seen["origin"]).into_iter().filter(|(name, _)| *name == "host");
    assert_eq!(hosts.collect::<Vec<_>>(), [("host", "inner.test")]);
    proxy.get("/a").await;
    assert_eq!(origin.last().field("host"), Some("inner.test"));
}

#[test]
fn tests_beside_the_rules_expect_the_host_that_the_origin_gets() {
    let run = |identity: &str, host: &str| {
        let text = format!(
            "[upstream.shop]\nurl = \"http://10.0.0.5:9000\"\nhost = \"{identity}\"\n\
             [[test]]\nrequest = \"https://shop.test/a\"\n\
             expect = {{ origin = {{ headers = {{ host = \"{host}\" }} }} }}\n"
        );
        let settings = config::parse(&text, &CliOverrides::default());
        let settings = settings.unwrap_or_else(|faults| panic!("{faults}"));
        let ask = Ask::parse("https://shop.test/a").unwrap();
        let told = settings.explain(&ask, None).origin.unwrap();
        assert!(told.headers.contains(&("host".to_owned(), host.to_owned())), "{told:?}");
        let report = settings.run_tests();
        assert!(report.is_good(), "{}", report.render("a.toml"));
    };
    run("preserve", "shop.test");
    run("upstream", "10.0.0.5:9000");
    run("inner.test", "inner.test");
}
