//! `[rule.request]`, `[rule.response]`, `[rule.redirect]` and `[rule.respond]`: what rules change on
//! the way, and what they answer by themselves.

use crate::support::*;

#[tokio::test]
async fn the_origin_gets_what_the_rules_say_and_the_last_rule_for_a_field_wins() {
    let origin = Origin::answering(ok("a")).await;
    let rules = r#"
        [[rule]]
        request.set = { x-shop = "{host}", x-section = "{path.1}", x-two = ["1", "2"], x-none = "{query.no}" }
        request.add = { accept = "text/plain" }
        request.remove = ["x-debug"]
        [[rule]]
        match = { path = "/b/**" }
        request.set = { x-section = "b of {method} {scheme} {query.q}" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let asked = |path: &str| {
        let fields = [("X-Debug", "1"), ("X-Shop", "evil"), ("X-None", "evil"), ("Accept", "a/b")];
        fields.iter().fold(get(path), |request, (name, value)| request.with(name, *value))
    };
    proxy.send(&asked("/a/x")).await;
    let seen = origin.last();
    assert_eq!((seen.field("x-shop"), seen.field("x-section")), (Some("example.test"), Some("a")));
    assert_eq!((seen.field("x-debug"), seen.field("x-none")), (None, None));
    assert_eq!(seen.all("x-two"), ["1", "2"]);
    assert_eq!(seen.all("accept"), ["a/b", "text/plain"]);
    proxy.send(&asked("/b/x?q=7%0d")).await;
    assert_eq!(origin.last().field("x-section"), Some("b of GET http 7%0d"));
    assert_eq!(origin.last().field("x-shop"), Some("example.test"));
}

// RFC 9111 §3.5: what is decided is decided by what the client sent.
#[tokio::test]
async fn an_edit_neither_hides_credentials_from_policy_nor_makes_some() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let rules = r#"
        [[rule]]
        request.remove = ["authorization", "cookie"]
        [[rule]]
        match = { path = "/with/**" }
        request.set = { authorization = "Basic b3JpZ2luOnB3" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let signed_in = get("/a").with("Authorization", "Basic eDp5").with("Cookie", "a=b");
    let response = proxy.send(&signed_in).await;
    assert!(response.says("detail=authorization"), "{}", response.cache_status());
    assert_eq!((origin.last().field("authorization"), origin.last().field("cookie")), (None, None));
    assert!(!proxy.get("/a").await.is_hit());
    proxy.get("/with/a").await;
    assert_eq!(origin.last().field("authorization"), Some("Basic b3JpZ2luOnB3"));
    assert!(proxy.get("/with/a").await.is_hit());
}

// What the origin is told beside the key could be one client's alone.
#[tokio::test]
async fn what_was_told_something_unkeyed_is_shared_only_where_a_rule_says_so() {
    let told = |request: &Seen| ok(request.field("x-who").unwrap_or("-")).fresh(600);
    let origin = Origin::start(told).await;
    let rules = r#"
        [[rule]]
        match = { path = "/header" }
        request.set = { x-who = "{header.x-name}" }
        [[rule]]
        match = { path = "/cookie" }
        request.add = { x-who = "{cookie.name}" }
        [[rule]]
        match = { path = ["/client", "/shared"] }
        request.set = { x-who = "{client}" }
        [[rule]]
        match = { path = "/shared" }
        request.share_unkeyed = true
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let by = |path: &str, name: &str| {
        get(path).with("X-Name", name).with("Cookie", format!("name={name}"))
    };
    for (path, ann, bob) in [
        ("/header", "ann", "bob"),
        ("/cookie", "ann", "bob"),
        ("/client", "127.0.0.1", "127.0.0.1"),
    ] {
        assert_eq!(proxy.send(&by(path, "ann")).await.text(), ann);
        let response = proxy.send(&by(path, "bob")).await;
        assert_eq!(response.text(), bob);
        assert!(response.says("detail=unkeyed-edit") && response.says("fwd=bypass"));
    }
    proxy.get("/shared").await;
    assert!(proxy.get("/shared").await.is_hit());
}

// A rule for some of the requests with one key tells the origin who they are, however constant the
// text: what it answers them must not be given to the others, nor the other way round.
#[tokio::test]
async fn what_only_some_requests_with_one_key_are_told_is_given_to_no_other() {
    let told = |request: &Seen| {
        ok(format!("{} {}", request.target, request.field("x-who").unwrap_or("-"))).fresh(600)
    };
    let origin = Origin::start(told).await;
    let rules = r#"
        [[rule]]
        match = { path = "/path/**" }
        request.path = { prefix = "/path", with = "/plain" }
        request.set = { x-who = "all" }
        [[rule]]
        match = { cookie = { beta = true }, path = "/set" }
        request.set = { x-who = "beta" }
        [[rule]]
        match = { client = "127.0.0.0/8", path = "/client" }
        request.add = { x-who = "staff" }
        [[rule]]
        match = { not = { header = { x-a = false } }, path = "/not" }
        request.path = { prefix = "/not", with = "/inside" }
        [[rule]]
        match = { header = { x-a = true }, path = "/path/off" }
        request.path = "off"
        request.remove = ["x-who"]
        [[rule]]
        match = { query = { utm_source = true }, path = "/query" }
        key.drop_tracking = true
        request.set = { x-who = "campaign" }
        [[rule]]
        match = { any = [{ method = "GET" }, { scheme = "https" }, { query = { page = true } }], path = "/keyed" }
        request.set = { x-who = "keyed" }
        [[rule]]
        match = { cookie = { theme = "dark" }, path = "/cookie" }
        key.cookies = ["theme"]
        request.set = { x-who = "dark" }
        [[rule]]
        match = { header = { x-a = true }, path = "/removed" }
        request.remove = ["x-b"]
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let known = |path: &str| get(path).with("Cookie", "beta=1; theme=dark").with("X-A", "1");
    for (path, bypasses) in [
        ("/set", true),
        ("/client", true),
        ("/not", true),
        ("/path/off", true),
        ("/path/on", false),
        ("/query?utm_source=1", true),
        ("/keyed", false),
        ("/cookie", false),
        ("/removed", false),
    ] {
        let first = proxy.send(&known(path)).await;
        assert_eq!(first.says("detail=unkeyed-edit"), bypasses, "{path} {}", first.cache_status());
        let second = proxy.send(&known(path)).await;
        assert_eq!((second.is_hit(), second.text()), (!bypasses, first.text()), "{path}");
    }
    assert_eq!(proxy.get("/set").await.text(), "/set -");
    assert_eq!(proxy.send(&known("/set")).await.text(), "/set beta");
    assert_eq!(proxy.get("/cookie").await.text(), "/cookie -");
    assert_eq!(proxy.get("/path/off").await.text(), "/plain/off all");
    assert_eq!(proxy.send(&known("/path/off")).await.text(), "/path/off -");
}

// A class is in the key, so that whoever shares an answer was told the same.
#[tokio::test]
async fn a_class_of_its_own_lets_those_who_are_told_something_share() {
    let told = |request: &Seen| ok(request.field("x-who").unwrap_or("-")).fresh(600);
    let origin = Origin::start(told).await;
    let rules = r#"
        [[rule]]
        match = { cookie = { session = true }, path = "/own" }
        class = { login = "yes" }
        request.set = { x-who = "member" }
        [[rule]]
        match = { cookie = { session = true }, path = "/common" }
        class = { kind = "a" }
        request.set = { x-who = "member" }
        [[rule]]
        match = { header = { x-a = true }, path = "/common" }
        class = { kind = "a" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let member = |path: &str, session: u8| get(path).with("Cookie", format!("session={session}"));
    assert_eq!(proxy.send(&member("/own", 1)).await.text(), "member");
    let second = proxy.send(&member("/own", 2)).await;
    assert!(second.is_hit() && second.text() == "member");
    assert_eq!(proxy.get("/own").await.text(), "-");
    // Another rule has the same class, and tells nothing.
    assert!(proxy.send(&member("/common", 1)).await.says("detail=unkeyed-edit"));
    assert_eq!(proxy.send(&get("/common").with("X-A", "1")).await.text(), "-");
    assert_eq!(proxy.send(&member("/common", 1)).await.text(), "member");
}

// It is what `X-Forwarded-For` tells the origin, and no more.
#[tokio::test]
async fn the_clients_address_can_be_told_and_answers_shared() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let rules = "[[rule]]\nrequest.client_address = [\"X-Real-IP\", \"True-Client-IP\"]";
    let trust = format!("[trust]\nproxies = [\"127.0.0.0/8\"]\n{rules}");
    let proxy = Proxy::ruled(&origin, &trust).await;
    let from = |address: &str, path: &str| get(path).with("X-Forwarded-For", address);
    proxy.send(&from("10.0.0.1, 192.0.2.7", "/").with("X-Real-IP", "6.6.6.6")).await;
    let seen = origin.last();
    assert_eq!(
        (seen.all("x-real-ip"), seen.all("true-client-ip")),
        (vec!["192.0.2.7"], vec!["192.0.2.7"])
    );
    assert_eq!(seen.field("x-forwarded-for"), Some("10.0.0.1, 192.0.2.7, 127.0.0.1"));
    assert!(proxy.send(&from("192.0.2.8", "/")).await.is_hit());
    let varying = Origin::answering(ok("a").fresh(600).with("Vary", "accept, x-real-ip")).await;
    let proxy = Proxy::ruled(&varying, &trust).await;
    for _ in 0..2 {
        let response = proxy.send(&from("192.0.2.7", "/")).await;
        assert!(response.says("detail=vary-client"), "{}", response.cache_status());
    }
    let proxy = Proxy::ruled(&origin, &trust).await;
    proxy.send(&from("unknown", "/b").with("X-Real-IP", "6.6.6.6")).await;
    assert_eq!(origin.last().field("x-real-ip"), None, "who can't be told is not made up");
}

// RFC 9110 §9.3.3: what a POST brings may be the answer to later GETs, but not what was made for
// one client, nor what the origin has elsewhere.
#[tokio::test]
async fn a_post_that_the_origin_gets_otherwise_makes_no_get() {
    let answer = ok("made").fresh(600).with("Content-Location", "/a");
    let origin = Origin::answering(answer).await;
    for (edit, stored) in [
        ("set = { x-host = \"{host}\" }", true),
        ("set = { x-who = \"{client}\" }", false),
        ("path = { prefix = \"/a\", with = \"/b\" }", false),
    ] {
        let rules = format!("[[rule]]\nmatch.method = \"POST\"\n[rule.request]\n{edit}\n");
        let proxy = Proxy::ruled(&origin, &rules).await;
        proxy.send(&post("/a", "body")).await;
        assert_eq!(proxy.get("/a").await.is_hit(), stored, "{edit}");
    }
}

// RFC 9112 §5: a line that ends in a value would begin another field.
#[tokio::test]
async fn nothing_that_a_client_sends_ends_a_line() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let rules = r#"
        [[rule]]
        request.set = { x-path = "{path}|{query}|{header.x-a}" }
        response.set = { x-echo = "{header.x-a}|{query.q}" }
        [[rule]]
        match = { path = "/go/**" }
        redirect = { to = "{path}?from={header.x-a}" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for target in ["/%0d%0aX-Evil:%201?q=%0d%0aX-Evil:1", "/go/%0D%0A/x?q=%0a"] {
        let response = proxy.send(&get(target).with("X-A", "a\tb \u{e9}")).await;
        assert_eq!(response.field("x-evil"), None);
        assert!(response.status == 302 || response.field("x-echo").is_some());
    }
    assert_eq!(origin.last().field("x-evil"), None);
    assert!(origin.last().field("x-path").unwrap().contains("%0D%0A"));
}

#[tokio::test]
async fn responses_are_edited_on_hits_as_on_misses_and_304s_and_what_is_stored_is_not() {
    let answer = ok("0123456789").fresh(600).with("ETag", "\"1\"").with("Server", "secret/1.0");
    let origin = Origin::answering(answer.with("X-A", "origin")).await;
    let rules = r#"
        [[rule]]
        response.set = { x-a = "edge", x-who = "{header.x-name}" }
        response.add = { x-a2 = "1" }
        response.remove = "server"
        [[rule]]
        match_response = { status = 200 }
        response.set = { cache-control = "no-cache" }
        [[rule]]
        match_response = { status = 404 }
        response.set = { x-a = "never" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let asked = |name: &str| get("/").with("X-Name", name);
    let requests = [
        asked("ann"),
        asked("bob"),
        head("/").with("X-Name", "cid"),
        asked("dan").with("If-None-Match", "\"1\""),
        asked("eve").with("Range", "bytes=0-1"),
        asked("fay").with("If-Match", "\"2\""),
    ];
    let names = ["ann", "bob", "cid", "dan", "eve", "fay"];
    for ((request, name), status) in requests.iter().zip(names).zip([200, 200, 200, 304, 206, 412])
    {
        let response = proxy.send(request).await;
        assert_eq!(response.status, status);
        assert_eq!(response.is_hit(), name != "ann");
        assert_eq!(response.all("x-a"), ["edge"]);
        assert_eq!(response.all("x-a2"), ["1"]);
        assert_eq!(response.field("x-who"), Some(name));
        assert_eq!(response.field("server"), None);
        assert_eq!(response.field("cache-control"), Some("no-cache"), "{status}");
    }
    assert_eq!(origin.count(), 1);
    let mut http2 = H2Client::connect(proxy.address).await;
    let response = http2.exchange(&asked("gus")).await;
    assert_eq!((response.field("x-a"), response.field("x-who")), (Some("edge"), Some("gus")));
}

#[tokio::test]
async fn stale_and_collapsed_responses_are_edited_once_by_the_response_they_are() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => ok("a").fresh(10).gate(&held),
        _ => status(503),
    })
    .await;
    let rules = r#"
        [[rule]]
        cache.stale_if_error = "1h"
        [[rule]]
        match_response = { status = 200 }
        response.add = { x-edited = "200" }
        [[rule]]
        match_response = { status = "500-599" }
        response.add = { x-edited = "503" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let tasks = proxy.start_all(4, &get("/")).await;
    origin.arrived(1).await;
    gate.open();
    for response in all(tasks).await {
        assert_eq!(response.all("x-edited"), ["200"]);
    }
    proxy.advance(secs(60));
    let stale = proxy.get("/").await;
    assert_eq!((stale.status, stale.all("x-edited")), (200, vec!["200"]));
    let failed = proxy.get("/other").await;
    assert_eq!((failed.status, failed.all("x-edited")), (503, vec!["503"]));
}

#[tokio::test]
async fn the_origins_path_is_rewritten_and_the_clients_is_keyed_and_purged() {
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let rules = r#"
        [[rule]]
        match = { path = "/app/**" }
        request.path = { strip = "/app" }
        [[rule]]
        match = { path = "/old/**" }
        request.path = { prefix = "/old", with = "/new" }
        [[rule]]
        match = { path_regex = "^/p/" }
        request.path = { regex = "^/p/([0-9]+)$", with = "/product/$1" }
        [[rule]]
        match = { path = "/app/off" }
        request.path = "off"
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (asked, seen) in [
        ("/app/a?x=1", "/a?x=1"),
        ("/app", "/"),
        ("/app/off", "/app/off"),
        ("/app/../app/b", "/b"),
        ("/apple", "/apple"),
        ("/old/x/", "/new/x/"),
        ("/p/7?y", "/product/7?y"),
        ("/p/x", "/p/x"),
    ] {
        assert_eq!(proxy.get(asked).await.text(), seen, "{asked}");
    }
    assert!(proxy.get("/app/a?x=1").await.is_hit());
    assert!(!proxy.get("/a?x=1").await.is_hit());
    proxy.purge("url", "http://example.test/app/a?x=1", "hard").await;
    assert!(!proxy.get("/app/a?x=1").await.is_hit());
    assert!(proxy.get("/a?x=1").await.is_hit());
}

#[tokio::test]
async fn a_path_that_would_lead_elsewhere_is_refused_and_never_sent() {
    let origin = Origin::answering(ok("a")).await;
    let rules = r#"
        [[rule]]
        request.path = { regex = "^/files/(.)x(.*)$", with = "/public/$1.$2" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let response = proxy.get("/files/.x/secret").await;
    assert_eq!((response.status, origin.count()), (400, 0));
    assert!(response.says("detail=bad-request"));
}

#[tokio::test]
async fn a_redirection_needs_no_origin_and_stays_on_the_host_that_is_written() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let rules = r#"
        [[rule]]
        match = { path = "/go/**" }
        redirect = { to = "https://{host}{path}", status = 308 }
        response.set = { strict-transport-security = "max-age=60" }
        [[rule]]
        match = { path = "/go/bare" }
        redirect = { to = "/to/{path.1}#top", status = 301, keep_query = false }
        [[rule]]
        match = { path = "//**" }
        redirect = { to = "{path}" }
        [[rule]]
        match = { path = "/go/off" }
        redirect = "off"
        [[rule]]
        match = { query = { utm_source = true } }
        key = { drop_tracking = true }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (target, status, location) in [
        ("/go/x?a=1&utm_source=b", 308, "https://example.test/go/x?a=1&utm_source=b"),
        ("/go/bare?a=1", 301, "/to/go#top"),
        ("//evil.example/x", 302, "/evil.example/x"),
    ] {
        for request in [get(target), head(target)] {
            let mut client = proxy.client().await;
            for _ in 0..2 {
                let response = client.exchange(&request).await;
                assert_eq!(response.status, status, "{target}");
                assert_eq!(response.field("location"), Some(location));
                assert_eq!(response.field("content-length"), Some("0"));
                assert_eq!(response.cache_status(), "seawall; detail=redirect");
            }
        }
    }
    assert_eq!(origin.count(), 0);
    let response = proxy.get("/go/x").await;
    assert_eq!(response.field("strict-transport-security"), Some("max-age=60"));
    assert_eq!(proxy.get("/go/off").await.text(), "a");
}

#[tokio::test]
async fn a_fixed_response_is_right_for_head_for_bodies_and_on_http2() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let rules = r#"
        [[rule]]
        match = { path = "/closed/**" }
        respond = { status = 503, body = "<p>closed", content_type = "text/html" }
        response.set = { retry-after = "60" }
        [[rule]]
        match = { path = "/empty" }
        respond = { status = 204 }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    proxy.get("/open").await;
    let mut client = proxy.client().await;
    for request in [get("/closed"), head("/closed/x"), post("/closed", "small")] {
        let response = client.exchange(&request).await;
        assert_eq!(response.status, 503);
        assert_eq!(response.field("content-length"), Some("9"));
        assert_eq!(response.field("content-type"), Some("text/html"));
        assert_eq!(response.field("retry-after"), Some("60"));
        assert_eq!(response.cache_status(), "seawall; detail=fixed-answer");
        assert_eq!(response.text(), if request.method == "HEAD" { "" } else { "<p>closed" });
    }
    let empty = proxy.get("/empty").await;
    assert_eq!((empty.status, empty.field("content-length")), (204, None));
    let mut http2 = H2Client::connect(proxy.address).await;
    for request in [get("/closed"), post("/closed", "a".repeat(100_000))] {
        let response = http2.exchange(&request).await;
        assert_eq!((response.status, response.text()), (503, "<p>closed"));
    }
    assert_eq!(origin.count(), 1);
}

// RFC 9110 §14.6: the type of several ranges has the boundary between them.
#[tokio::test]
async fn an_edited_type_leaves_several_ranges_readable() {
    let origin = Origin::answering(ok("0123456789").fresh(600)).await;
    let rules = "[[rule]]\nresponse.set = { content-type = \"text/x-edited\" }";
    let proxy = Proxy::ruled(&origin, rules).await;
    assert_eq!(proxy.get("/").await.field("content-type"), Some("text/x-edited"));
    let ranges = proxy.send(&get("/").with("Range", "bytes=0-1,5-6")).await;
    assert!(ranges.field("content-type").expect("a type").starts_with("multipart/byteranges"));
}

// Whoever is answered before a long body has come must not have its rest read as a request.
#[tokio::test]
async fn an_unread_body_is_never_taken_for_the_next_request() {
    let origin = Origin::answering(ok("a")).await;
    let proxy = Proxy::ruled(&origin, "[[rule]]\nrespond = { status = 403, body = \"no\" }").await;
    let mut client = proxy.client().await;
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n").await;
    let response = client.exchange_rest().await;
    assert_eq!((response.status, response.text()), (403, "no"));
    client.try_send("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&client.ended().await).contains("HTTP/1.1"));
    assert_eq!(origin.count(), 0);
}
