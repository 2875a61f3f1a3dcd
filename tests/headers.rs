//! Fields on their way through and into the store (RFC 9110 §7.6, RFC 9111 §3.1, RFC 9211).

use crate::support::*;

const HOP_BY_HOP: [&str; 7] = [
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "Proxy-Authorization",
    "TE",
    "Upgrade",
];

// RFC 9110 §7.6.1; RFC 9111 §3.1. Looked for on the first answer and on the stored one.
#[tokio::test]
async fn hop_by_hop_fields_of_a_response_are_neither_passed_nor_stored() {
    let answer =
        HOP_BY_HOP.iter().fold(ok("body").fresh(600), |answer, name| answer.with(name, "x"));
    let (origin, proxy) = stage(answer).await;
    for _ in 0..2 {
        let response = proxy.get("/").await;
        for name in HOP_BY_HOP {
            assert_eq!(response.field(name), None, "{name}");
        }
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_are_not_passed() {
    let (origin, proxy) = stage(ok("body")).await;
    let names = ["Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE"];
    let request = names.iter().fold(get("/"), |request, name| request.with(name, "x"));
    proxy.send(&request).await;
    for name in names {
        assert_eq!(origin.last().field(name), None, "{name}");
    }
}

#[tokio::test]
async fn fields_nominated_by_connection_go_no_further_in_either_direction() {
    let answer =
        ok("body").fresh(600).with("Connection", "X-Hop, x-other").with("Connection", "x-third");
    let answer =
        answer.with("X-Hop", "1").with("X-Other", "2").with("X-Third", "3").with("X-End", "4");
    let (origin, proxy) = stage(answer).await;
    for _ in 0..2 {
        let response = proxy.get("/").await;
        for name in ["x-hop", "x-other", "x-third"] {
            assert_eq!(response.field(name), None, "{name}");
        }
        assert_eq!(response.field("x-end"), Some("4"));
        assert!(!response.all("connection").iter().any(|value| value.contains("x-")));
    }
    let nominating =
        get("/other").with("Connection", "x-hop").with("X-Hop", "1").with("X-End", "2");
    proxy.send(&nominating).await;
    assert_eq!(origin.last().field("x-hop"), None);
    assert_eq!(origin.last().field("x-end"), Some("2"));
}

// A client may not strip what decides about privacy, nor what frames the message.
#[tokio::test]
async fn connection_cannot_nominate_away_what_decides_about_sharing_or_framing() {
    let (origin, proxy) = stage(ok("private").fresh(600)).await;
    let request = get("/").with("Connection", "authorization").with("Authorization", "Basic eA==");
    proxy.send(&request).await;
    proxy.send(&request).await;
    assert_eq!(origin.count(), 2, "an answer to a request with credentials is not shared");

    let (origin, proxy) = stage(ok("ok")).await;
    for name in ["content-length", "transfer-encoding", "host"] {
        let mut client = proxy.client().await;
        client.send(post("/", "12345").with("Connection", name).bytes()).await;
        let response = client.begin("POST").await;
        if response.status == 200 {
            assert_eq!(origin.last().body, b"12345", "{name}");
        }
    }
}

#[tokio::test]
async fn connection_cannot_nominate_away_a_responses_cache_control() {
    let answer = ok("body")
        .with("Connection", "cache-control")
        .with("Cache-Control", "no-store, max-age=60");
    expect_reuse(0, false, [answer]).await;
}

#[tokio::test]
async fn every_end_to_end_field_is_stored_as_it_came() {
    let fields = [
        ("X-Test", "a, b;q=\"1\""),
        ("Content-Foo", "1"),
        ("Content-Type", "text/plain;charset=utf-8"),
        ("Content-Encoding", "unheard-of"),
        ("Content-Language", "de"),
        ("Content-Location", "/foo"),
        ("Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A=="),
        ("Content-Range", "bytes 0-3/4"),
        ("Content-Security-Policy", "default-src 'self'"),
        ("Clear-Site-Data", "\"cache\""),
        ("ETag", "\"abc\""),
        ("Expires", "Tue, 01 Jan 2030 01:00:00 GMT"),
        ("Public-Key-Pins", "x"),
        ("X-Frame-Options", "deny"),
        ("X-XSS-Protection", "1; mode=block"),
    ];
    let (origin, proxy) =
        stage(given(&fields).fresh(600).with("X-Twice", "1").with("X-Twice", "2")).await;
    for _ in 0..2 {
        let response = proxy.get("/").await;
        assert_eq!((response.status, response.text()), (200, "body"));
        for (name, value) in fields {
            assert_eq!(response.all(name), [value], "{name}");
        }
        assert_eq!(response.all("x-twice"), ["1", "2"]);
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn unknown_request_fields_reach_the_origin_as_they_came() {
    let (origin, proxy) = stage(ok("body")).await;
    proxy.send(&get("/").with("X-Strange", "a  b").with("X-Twice", "1").with("X-Twice", "2")).await;
    let seen = origin.last();
    assert_eq!(seen.field("x-strange"), Some("a  b"));
    let twice: Vec<_> =
        seen.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-twice")).collect();
    assert_eq!(twice.len(), 2);
    assert_eq!(seen.field("host"), Some("example.test"));
}

// RFC 9110 §7.6.3.
#[tokio::test]
async fn via_tells_of_us_in_both_directions_and_keeps_what_was_there() {
    let (origin, proxy) = stage(ok("body").fresh(600).with("Via", "1.1 inner")).await;
    for _ in 0..2 {
        let response = proxy.send(&get("/").with("Via", "1.0 outer")).await;
        assert_eq!(response.all("via").join(", "), "1.1 inner, 1.1 seawall");
    }
    let seen = origin.last();
    let via: Vec<_> =
        seen.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("via")).collect();
    let via: Vec<_> = via.iter().map(|(_, value)| &**value).collect();
    assert_eq!(via.join(", "), "1.0 outer, 1.1 seawall");
}

// RFC 9211 §2: appended to what caches nearer to the origin said.
#[tokio::test]
async fn cache_status_is_on_every_response_and_keeps_what_inner_caches_said() {
    let (_origin, proxy) = stage(ok("body").fresh(60).with("Cache-Status", "Inner; hit")).await;
    let miss = proxy.get("/").await;
    assert!(miss.says("fwd=uri-miss") && miss.says("stored"), "{}", miss.cache_status());
    assert!(miss.all("cache-status").join(", ").starts_with("Inner; hit, seawall"));
    let hit = proxy.get("/").await;
    assert!(hit.is_hit() && hit.says("ttl=60"));
    assert_eq!(hit.all("cache-status").join(", ").matches("seawall").count(), 1);
    let posted = proxy.send(&post("/", "x")).await;
    assert!(posted.says("fwd=method"), "{}", posted.cache_status());
}

#[tokio::test]
async fn query_strings_are_part_of_the_key() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    for target in ["/", "/?a=1", "/?a=2", "/?a=1&b=1", "/?b=1&a=1", "/?A=1"] {
        assert!(!proxy.get(target).await.is_hit(), "{target}");
        assert!(proxy.get(target).await.is_hit(), "{target}");
    }
    assert_eq!(origin.count(), 6);
}

#[tokio::test]
async fn hosts_do_not_share_and_spellings_of_one_host_do() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    proxy.send(&get("/").with("Host", "a.test")).await;
    for same in ["A.TEST", "a.test:80", "a.test."] {
        assert!(proxy.send(&get("/").with("Host", same)).await.is_hit(), "{same}");
    }
    for other in ["b.test", "a.test:81", "xa.test"] {
        assert!(!proxy.send(&get("/").with("Host", other)).await.is_hit(), "{other}");
    }
    assert_eq!(origin.count(), 4);
}

// What is keyed and what the origin sees are the same bytes.
#[tokio::test]
async fn one_normal_form_of_the_path_is_keyed_and_sent() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    for (sent, seen) in
        [("/a/%7Eb", "/a/~b"), ("/a/./c", "/a/c"), ("/a/x/../d", "/a/d"), ("/a%2fe", "/a%2Fe")]
    {
        proxy.get(sent).await;
        assert_eq!(origin.last().target, seen);
        assert!(proxy.get(seen).await.is_hit(), "{seen}");
    }
    proxy.get("/a/e").await;
    assert_eq!(origin.last().target, "/a/e", "an encoded slash is no slash");
}
