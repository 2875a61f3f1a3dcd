//! What one client sends must not decide what another is given: two clients each time, and an
//! origin that gives back what it saw.

use crate::support::*;

/// An origin whose page is made of all that it saw of the request.
async fn echo(control: &'static str) -> (Origin, Proxy) {
    let origin = Origin::start(move |seen| {
        let fields = seen.fields.iter();
        let fields = fields.map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()));
        let page = [format!("{} {}", seen.method, seen.target)].into_iter().chain(fields);
        ok(page.collect::<Vec<_>>().join("\n")).with("Cache-Control", control)
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    (origin, proxy)
}

/// All that raw bytes are answered with until Seawall ends the connection, which it must.
async fn spoken(proxy: &Proxy, bytes: impl AsRef<[u8]>) -> String {
    let mut client = proxy.client().await;
    client.send(bytes).await;
    String::from_utf8_lossy(&client.ended().await).into_owned()
}

const REFLECTED: [&str; 60] = [
    "Base-Url",
    "CF-Connecting-IP",
    "CF-Visitor",
    "Client-IP",
    "Fastly-Client-IP",
    "Forwarded",
    "Front-End-Https",
    "Http-Host",
    "Proxy",
    "Proxy-Host",
    "Remote-User",
    "Request-Uri",
    "Surrogate-Capability",
    "True-Client-IP",
    "WL-Proxy-Client-IP",
    "X-Accel-Mapping",
    "X-Arr-SSL",
    "X-Astro-Path",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Custom-IP-Authorization",
    "X-Envoy-Original-Path",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-SSL",
    "X-Forwarded-User",
    "X-Host",
    "X-HTTP-DestinationURL",
    "X-HTTP-Host-Override",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Invoke-Path",
    "X-Invoke-Status",
    "X-Matched-Path",
    "X-Method-Override",
    "X-Middleware-Prefetch",
    "X-Middleware-Subrequest",
    "X-NextJS-Data",
    "X-Now-Route-Matches",
    "X-Nuxt-No-SSR",
    "X-Original-Host",
    "X-Original-Method",
    "X-Original-URL",
    "X-ProxyUser-Ip",
    "X-React-Router-SPA-Mode",
    "X-Real-IP",
    "X-Remote-IP",
    "X-Rewrite-URL",
    "X-Scheme",
    "X-Script-Name",
    "X-Sendfile-Type",
    "X-Url-Scheme",
    "X-Wap-Profile",
];

#[tokio::test]
async fn no_field_that_origins_reflect_reaches_one_from_a_stranger() {
    let (_origin, proxy) = echo("max-age=600").await;
    let clean = proxy.get("/clean").await.text().replace("/clean", "/");
    let attack = REFLECTED.iter().fold(get("/"), |it, name| it.with(name, "evil.test"));
    let poisoned = proxy.send(&attack).await;
    assert_eq!(poisoned.text(), clean, "the origin saw what it would have seen of anybody");
    assert_eq!(proxy.get("/").await.text(), clean);
    // Each by itself too: one field must not be let through for want of another.
    for name in REFLECTED {
        let seen = proxy.send(&get(&format!("/?{name}")).with(name, "evil.test")).await;
        assert!(!seen.text().contains("evil.test"), "{name}: {}", seen.text());
    }
}

// CGI, WSGI and Rack read `_` for `-`.
#[tokio::test]
async fn no_name_that_an_origin_may_take_for_another_passes() {
    let origin = Origin::answering(ok("body")).await;
    for trusted in [vec![], vec!["127.0.0.1/32".parse().unwrap()]] {
        let proxy = Proxy::with(&origin, |s| s.proxy.trusted_proxies = trusted).await;
        let names = [
            "X_Forwarded_Host",
            "X-Forwarded_Host",
            "x_original_url",
            // Those that frame a request are refused altogether (`framing`).
            "X.Forwarded.For",
            "Cache_Control",
        ];
        let attack = names.iter().fold(get("/"), |it, name| it.with(name, "evil.test"));
        proxy.send(&attack.with("An_Honest_Name", "x")).await;
        let seen = origin.last();
        assert!(names.iter().all(|name| seen.field(name).is_none()), "{seen:?}");
        assert_eq!(seen.field("an_honest_name"), Some("x"));
    }
}

#[tokio::test]
async fn connection_strips_nothing_that_seawall_adds_nor_what_decides_privacy() {
    let origin = Origin::start(|seen| {
        let told = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via"];
        let missing: Vec<_> = told.into_iter().filter(|it| seen.field(it).is_none()).collect();
        let who = seen.field("cookie").or(seen.field("authorization")).unwrap_or("nobody");
        let answer = ok(format!("{who}, missing {missing:?}"));
        // An origin that knows whom it speaks to.
        if who == "nobody" { answer.fresh(600) } else { answer.with("Cache-Control", "private") }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let nominations = "close, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded, Via, \
                       Cookie, Authorization, Host, Cache-Control, Vary, Range, If-None-Match";
    let victim = |field: &str| get("/").with("Connection", nominations).with(field, "secret");
    assert_eq!(proxy.send(&victim("Cookie")).await.text(), "secret, missing []");
    assert_eq!(proxy.send(&victim("Authorization")).await.text(), "secret, missing []");
    assert_eq!(proxy.get("/").await.text(), "nobody, missing []");
    assert_eq!(origin.count(), 3);
}

// The origin chooses by the client's address, which it is told by a field that is not the client's.
#[tokio::test]
async fn an_answer_that_varies_by_the_clients_address_is_not_shared() {
    for name in ["X-Forwarded-For", "Forwarded", "x-a, FORWARDED"] {
        let (_origin, proxy) = stage(ok("body").fresh(600).with("Vary", name)).await;
        assert!(proxy.get("/").await.says("detail=vary-client"), "{name}");
        assert!(!proxy.get("/").await.is_hit(), "{name}");
    }
}

/// Statuses of errors that a client can provoke.
const PROVOKED: [u16; 8] = [400, 405, 413, 414, 417, 421, 431, 501];

// CPDoS: HHO, HMC and HMO make an origin answer with these what others ask for as well.
#[tokio::test]
async fn an_error_that_a_client_provoked_is_given_to_nobody_else() {
    let eager = |s: &mut seawall::config::Settings| {
        let policy = &mut s.cache().policy;
        policy.default_lifetime = secs(600);
        policy.min_lifetime = secs(600);
        policy.heuristic = Some(seawall::policy::Heuristic::default());
        policy.negative = PROVOKED.map(|code| (code, secs(600))).to_vec();
    };
    for code in PROVOKED {
        for extra in [
            ("X-Nothing", ""),
            ("Cache-Control", "public"),
            ("Last-Modified", "Mon, 01 Jan 2029 00:00:00 GMT"),
            ("ETag", "\"1\""),
            ("Cache-Control", "max-age=0"),
            ("Cache-Control", "no-cache"),
        ] {
            let origin = Origin::start(move |seen| match seen.field("x-odd") {
                Some(_) => status(code).body("error").with(extra.0, extra.1),
                None => ok("page"),
            })
            .await;
            let proxy = Proxy::with(&origin, eager).await;
            assert_eq!(proxy.send(&get("/").with("X-Odd", "x")).await.status, code);
            let victim = proxy.get("/").await;
            assert_eq!((victim.status, victim.text()), (200, "page"), "{code} {extra:?}");
        }
    }
}

// RFC 9111 §3, §4.2.1: that is the origin's right.
#[tokio::test]
async fn an_origins_own_explicit_freshness_makes_any_error_storable() {
    for code in PROVOKED {
        for (name, value) in [
            ("Cache-Control", "max-age=60"),
            ("Cache-Control", "s-maxage=60"),
            ("CDN-Cache-Control", "max-age=60"),
            ("Expires", "Tue, 01 Jan 2030 00:01:00 GMT"),
        ] {
            let (_origin, proxy) = stage(status(code).body("error").with(name, value)).await;
            assert_eq!(proxy.get("/").await.status, code);
            assert!(proxy.get("/").await.is_hit(), "{code} {name}");
        }
    }
}

#[tokio::test]
async fn seawalls_own_refusals_are_stored_by_nobody() {
    let (origin, proxy) = stage(ok("page").fresh(600)).await;
    let long = "x".repeat(20_000);
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400),
        ("GET /%00 HTTP/1.1\r\nHost: example.test\r\n\r\n".to_owned(), 400),
        ("GET /a\\b HTTP/1.1\r\nHost: example.test\r\n\r\n".to_owned(), 400),
        ("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n".to_owned(), 405),
        (format!("GET /{long} HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n"), 414),
        ("POST / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\nExpect: magic\r\nContent-Length: 1\r\n\r\nx".to_owned(), 417),
        ("GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\nCache-Control: only-if-cached\r\n\r\n".to_owned(), 504),
        ("PURGE / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n".to_owned(), 403),
    ] {
        let said = spoken(&proxy, &head).await.to_ascii_lowercase();
        assert!(said.starts_with(&format!("http/1.1 {status} ")), "{head:?}: {said:?}");
        assert!(said.contains("\r\ncache-control: no-store\r\n"), "{head:?}: {said:?}");
        assert_eq!(said.matches("http/1.1 ").count(), 1, "{said:?}");
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(proxy.get("/").await.text(), "page");
}

#[tokio::test]
async fn what_cannot_be_answered_for_one_can_be_for_the_next() {
    let (_origin, proxy) = stages([Answer::hang_up(), raw("nonsense"), ok("page").fresh(60)]).await;
    for _ in 0..2 {
        let failed = proxy.get("/").await;
        assert_eq!((failed.status, failed.field("cache-control")), (502, Some("no-store")));
    }
    assert_eq!(proxy.get("/").await.text(), "page");
}

#[tokio::test]
async fn a_method_cannot_be_smuggled_in_a_field() {
    let (origin, proxy) = echo("max-age=600").await;
    proxy.get("/").await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        for method in ["PURGE", "POST", "DELETE", "HEAD"] {
            assert!(proxy.send(&get("/").with(name, method)).await.is_hit(), "{name}: {method}");
        }
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_body_on_a_get_is_in_nobody_elses_answer() {
    let origin = Origin::start(|seen| ok(&seen.body).fresh(600)).await;
    let proxy = Proxy::start(&origin).await;
    assert_eq!(proxy.send(&get("/").body("evil")).await.text(), "evil");
    assert_eq!(proxy.get("/").await.text(), "");
    assert_eq!(proxy.send(&get("/").body("evil")).await.text(), "evil", "and gets its own");
    assert_eq!(proxy.get("/").await.text(), "");
}

#[tokio::test]
async fn no_client_chooses_where_requests_go() {
    let elsewhere = Origin::answering(ok("secret")).await;
    let (origin, proxy) = echo("no-store").await;
    let port = elsewhere.address.port();
    for head in [
        format!("GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: example.test\r\n"),
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: example.test\r\nX-Forwarded-Host: 127.0.0.1:{port}\r\n"),
        format!("GET /@127.0.0.1:{port}/ HTTP/1.1\r\nHost: example.test\r\n"),
        format!("GET //127.0.0.1:{port}/ HTTP/1.1\r\nHost: example.test\r\n"),
    ] {
        let said = spoken(&proxy, format!("{head}Connection: close\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{head:?}: {said}");
    }
    assert_eq!((elsewhere.count(), origin.count()), (0, 5));
}

// A stranger can't say that it is somebody who may.
#[tokio::test]
async fn no_field_makes_a_stranger_one_who_may_purge() {
    let (origin, proxy) = {
        let origin = Origin::answering(ok("page").fresh(600)).await;
        let near = vec!["203.0.113.0/24".parse().unwrap()];
        let proxy = Proxy::with(&origin, |s| s.proxy.purge.allow = near).await;
        (origin, proxy)
    };
    proxy.get("/").await;
    for name in ["X-Forwarded-For", "X-Real-IP", "Client-IP", "True-Client-IP", "X_Forwarded_For"] {
        let purge = request("PURGE", "/").with(name, "203.0.113.9");
        assert_eq!(proxy.send(&purge).await.status, 403, "{name}");
    }
    let forwarded = request("PURGE", "/").with("Forwarded", "for=203.0.113.9");
    assert_eq!(proxy.send(&forwarded).await.status, 403);
    for method in ["purge", "Purge", "PURGEX"] {
        proxy.send(&request(method, "/")).await;
    }
    assert!(proxy.get("/").await.is_hit() || origin.last().method == "GET");
    assert!(origin.requests().iter().all(|seen| seen.method != "PURGE"));
}

#[tokio::test]
async fn an_h2_client_poisons_no_more_than_another() {
    let (_origin, proxy) = echo("max-age=600").await;
    let mut client = H2Client::connect(proxy.address).await;
    let attack = REFLECTED.iter().fold(get("/"), |it, name| it.with(name, "evil.test"));
    let attack = attack.with("X_Forwarded_Host", "evil.test");
    assert!(!client.exchange(&attack).await.text().contains("evil.test"));
    assert!(!proxy.get("/").await.text().contains("evil.test"));
}
