//! One reading of a target: what is keyed is what the origin gets, byte by byte, or the request is
//! refused and its connection ended (RFC 3986 §6.2, RFC 9110 §4.2, RFC 9112 §3).

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::*;

/// An origin that says what target it saw.
async fn echo() -> (Origin, Proxy) {
    let origin = Origin::start(|seen| ok(bytes_of(seen)).fresh(600)).await;
    let proxy = Proxy::start(&origin).await;
    (origin, proxy)
}

fn bytes_of(seen: &Seen) -> String {
    format!("{} {}", seen.field("host").unwrap_or_default(), seen.target)
}

/// What the origin sees of a request with this start line and these field lines; `None` if it is
/// refused, which ends the connection.
async fn seen_for(proxy: &Proxy, line: &[u8], fields: &[u8]) -> Option<String> {
    let mut client = proxy.client().await;
    client.send([line, b"\r\n", fields, b"\r\n\r\n"].concat()).await;
    let response = client.exchange_rest().await;
    if response.status == 200 {
        return Some(response.text().to_owned());
    }
    assert_eq!(response.status, 400, "{line:?} {fields:?}");
    // Without freshness a 400 is stored by nobody; hyper's own says no more.
    let control = response.field("cache-control");
    assert!(control.is_none_or(|control| control == "no-store"), "{line:?} {fields:?}");
    assert!(client.ended().await.is_empty(), "{line:?} {fields:?}");
    None
}

#[tokio::test]
async fn each_spelling_of_a_path_is_refused_or_is_what_it_was_keyed_by() {
    let (origin, proxy) = echo().await;
    let mut known = HashSet::new();
    for (sent, expected) in [
        (&b"/"[..], Some("/")),
        (b"/a", Some("/a")),
        (b"/A", Some("/A")),
        (b"/%41", Some("/A")),
        (b"/%7Euser", Some("/~user")),
        (b"/%7euser", Some("/~user")),
        (b"/a/", Some("/a/")),
        (b"/a//", Some("/a//")),
        (b"//a", Some("//a")),
        (b"/./a", Some("/a")),
        (b"/x/../a", Some("/a")),
        (b"/x/%2e%2e/a", Some("/a")),
        (b"/x/%2E%2e/a", Some("/a")),
        (b"/x/.%2E/a", Some("/a")),
        (b"/../../a", Some("/a")),
        (b"/a/.", Some("/a/")),
        (b"/a/b/..", Some("/a/")),
        (b"/a%2fb", Some("/a%2Fb")),
        (b"/a%2Fb", Some("/a%2Fb")),
        (b"/a/b", Some("/a/b")),
        (b"/x/..%2fa", Some("/x/..%2Fa")),
        (b"/x/%2e%2e%2fa", Some("/x/..%2Fa")),
        (b"/x/%252e%252e/a", Some("/x/%252e%252e/a")),
        (b"/x%5c..%5ca", Some("/x%5C..%5Ca")),
        (b"/x\\..\\a", None),
        (b"/a;b", Some("/a;b")),
        (b"/a%3bb", Some("/a%3Bb")),
        (b"/x/..;/a", Some("/x/..;/a")),
        (b"/a%3f", Some("/a%3F")),
        (b"/a?", Some("/a?")),
        (b"/a%23", Some("/a%23")),
        (b"/a%0a", Some("/a%0A")),
        (b"/a%0d%0aHost:%20evil", Some("/a%0D%0AHost:%20evil")),
        (b"/a%20", Some("/a%20")),
        (b"/a%00", None),
        (b"/a%00.png", None),
        (b"/a%", None),
        (b"/a%4", None),
        (b"/a%zz", None),
        (b"/a%u0041", None),
        (b"/a\0", None),
        (b"/a\x01", None),
        (b"/a\x7f", None),
        (b"/a\tb", None),
        ("/é".as_bytes(), Some("/%C3%A9")),
        (b"/%c3%a9", Some("/%C3%A9")),
        (b"/\xe9", None),
        (b"/a?q", Some("/a?q")),
        (b"/a?Q", Some("/a?Q")),
        (b"/a?q=1&r=2", Some("/a?q=1&r=2")),
        (b"/a?r=2&q=1", Some("/a?r=2&q=1")),
        (b"/a?q=1&q=1", Some("/a?q=1&q=1")),
        (b"/a?q=1&&r=2", Some("/a?q=1&&r=2")),
        (b"/a?q=1;r=2", Some("/a?q=1;r=2")),
        (b"/a?q=%41", Some("/a?q=%41")),
        (b"/a?q=%2f..%2f", Some("/a?q=%2f..%2f")),
        (b"/a?q=/../b", Some("/a?q=/../b")),
        (b"/a?q=%zz", Some("/a?q=%zz")),
        (b"/a??", Some("/a??")),
        (b"/a?http://x/", Some("/a?http://x/")),
        ("/a?é".as_bytes(), Some("/a?%C3%A9")),
        (b"/a?\\", None),
        (b"*", None),
        (b"a", None),
        (b"?a", None),
        (b"example.test", None),
        (b"example.test:80", None),
        (b"ftp://example.test/", None),
        (b"javascript:alert(1)", None),
        (b"//", Some("//")),
        (b"/http://evil.test/", Some("/http://evil.test/")),
        (b"/:80", Some("/:80")),
    ] {
        let line = [b"GET ", sent, b" HTTP/1.1"].concat();
        let found = seen_for(&proxy, &line, b"Host: example.test").await;
        let text = String::from_utf8_lossy(sent);
        let expected = expected.map(|target| format!("example.test {target}"));
        assert_eq!(found, expected, "{text:?}");
        known.extend(expected);
        assert_eq!(origin.count(), known.len(), "{text:?} is keyed by what the origin got");
    }
}

#[tokio::test]
async fn each_spelling_of_a_host_is_refused_or_is_what_it_was_keyed_by() {
    let (origin, proxy) = echo().await;
    let mut known = HashSet::new();
    let long = format!("{}.test", "x".repeat(200));
    for (sent, expected) in [
        (&b"example.test"[..], Some("example.test")),
        (b"EXAMPLE.Test", Some("example.test")),
        (b"example.test.", Some("example.test")),
        (b"example.test:80", Some("example.test")),
        (b"example.test:080", Some("example.test")),
        (b"example.test:", Some("example.test")),
        (b"example.test.:80", Some("example.test")),
        (b"example.test:81", Some("example.test:81")),
        (b"example.test:443", Some("example.test:443")),
        (b"example.test:65535", Some("example.test:65535")),
        (b"example.test:65536", None),
        (b"example.test:0", None),
        (b"example.test:-1", None),
        (b"example.test:+80", None),
        (b"example.test:8 0", None),
        (b"example.test:80:80", None),
        (b"example.test:http", None),
        (b"example.test:80.evil.test", None),
        (b"example..test", None),
        (b"example.test..", None),
        (b".example.test", None),
        (b".", None),
        (b"", None),
        (b":80", None),
        (b"a_b.test", Some("a_b.test")),
        (b"xn--bcher-kva.test", Some("xn--bcher-kva.test")),
        ("bücher.test".as_bytes(), None),
        (b"b\xfccher.test", None),
        (b"ex%61mple.test", None),
        (b"example.test%00", None),
        (b"example.test%2fx", None),
        (b"user@example.test", None),
        (b"user:pass@example.test", None),
        (b"example.test/", None),
        (b"example.test/x", None),
        (b"example.test?x", None),
        (b"example.test#x", None),
        (b"example.test\\x", None),
        (b"example.test,evil.test", None),
        (b"example.test, evil.test", None),
        (b"example.test evil.test", None),
        (b"example.test\tevil.test", None),
        (b"example.test;x", None),
        (b"\"example.test\"", None),
        (b"http://example.test", None),
        (b"*", None),
        (b"127.0.0.1", Some("127.0.0.1")),
        (b"127.1", Some("127.1")),
        (b"[::1]", Some("[::1]")),
        (b"[0:0::1]:80", Some("[::1]")),
        (b"[::1]:81", Some("[::1]:81")),
        (b"[::1", None),
        (b"::1", None),
        (b"[::1]x", None),
        (b"[::1]:x", None),
        (b"[fe80::1%25eth0]", None),
        (b"[v1.a]", None),
        (b"[]", None),
        (long.as_bytes(), Some(&*long)),
    ] {
        let fields = [b"Host: ", sent].concat();
        let found = seen_for(&proxy, b"GET /x HTTP/1.1", &fields).await;
        let text = String::from_utf8_lossy(sent);
        let expected = expected.map(|host| format!("{host} /x"));
        assert_eq!(found, expected, "{text:?}");
        known.extend(expected);
        assert_eq!(origin.count(), known.len(), "{text:?} is keyed by what the origin got");
    }
    for control in [b"\0", b"\x01", b"\x7f", b"\x0b"] {
        let fields = [b"Host: example", &control[..], b".test"].concat();
        assert_eq!(seen_for_raw(&proxy, &fields).await, 400, "{control:?}");
    }
    assert_eq!(origin.count(), known.len());
}

/// The status of a request that hyper itself may refuse.
async fn seen_for_raw(proxy: &Proxy, fields: &[u8]) -> u16 {
    let mut client = proxy.client().await;
    client.send([b"GET /x HTTP/1.1\r\n", fields, b"\r\n\r\n"].concat()).await;
    let status = client.exchange_rest().await.status;
    assert!(client.ended().await.is_empty(), "{fields:?}");
    status
}

// RFC 9112 §3.2, §3.2.2: the target's authority counts, and `Host` has to be sound all the same.
#[tokio::test]
async fn of_two_hosts_one_counts_for_all_or_the_request_is_refused() {
    let (_origin, proxy) = echo().await;
    for (line, fields, expected) in [
        ("GET http://a.test/ HTTP/1.1", "Host: a.test", Some("a.test /")),
        ("GET http://a.test/ HTTP/1.1", "Host: b.test", Some("a.test /")),
        ("GET HTTP://A.TEST:80 HTTP/1.1", "Host: b.test", Some("a.test /")),
        ("GET http://a.test?q HTTP/1.1", "Host: b.test", Some("a.test /?q")),
        ("GET http://a.test/../x HTTP/1.1", "Host: b.test", Some("a.test /x")),
        ("GET https://a.test/ HTTP/1.1", "Host: b.test", Some("a.test /")),
        ("GET http://a.test/ HTTP/1.1", "X-A: 1", None),
        ("GET http://a.test/ HTTP/1.1", "Host: ", None),
        ("GET http://a.test/ HTTP/1.1", "Host: b c", None),
        ("GET http://a.test/ HTTP/1.1", "Host: b.test\r\nHost: a.test", None),
        ("GET http://user@a.test/ HTTP/1.1", "Host: a.test", None),
        ("GET http://a.test:x/ HTTP/1.1", "Host: a.test", None),
        ("GET http:///x HTTP/1.1", "Host: a.test", None),
        ("GET ftp://a.test/ HTTP/1.1", "Host: a.test", None),
        ("GET /y HTTP/1.1", "Host: a.test\r\nHost: b.test", None),
        ("GET /y HTTP/1.1", "Host: a.test\r\nhost: a.test", None),
        ("GET /y HTTP/1.1", "Host: a.test\r\nX-A: 1\r\nHOST: b.test", None),
        ("GET /y HTTP/1.1", "X-A: 1", None),
        ("GET /y HTTP/1.1", "Host : a.test", None),
        ("OPTIONS a.test HTTP/1.1", "Host: a.test", None),
    ] {
        let mut client = proxy.client().await;
        client.send(format!("{line}\r\n{fields}\r\n\r\n")).await;
        let response = client.exchange_rest().await;
        if let Some(seen) = expected {
            assert_eq!(response.text(), seen, "{line} {fields}");
        } else {
            assert_eq!(response.status, 400, "{line} {fields}");
            assert!(client.ended().await.is_empty(), "{line} {fields}");
        }
    }
    let mut client = proxy.client().await;
    client.send("GET /y HTTP/1.0\r\nHost: a.test\r\nHost: b.test\r\n\r\n").await;
    assert!(client.ended().await.starts_with(b"HTTP/1.0 400 "));
}

// RFC 9113 §8.3.1.
#[tokio::test]
async fn an_authority_counts_for_an_h2_client_and_its_host_has_to_be_sound() {
    let (origin, proxy) = echo().await;
    let mut client = H2Client::connect(proxy.address).await;
    let attack = client.exchange(&get("/").with("Host", "evil.test")).await;
    assert!(attack.status == 400 || attack.text() == "example.test /", "{attack:?}");
    assert_eq!(client.exchange(&get("/").with("Host", "a b")).await.status, 400);
    assert_eq!(client.exchange(&get("/a\\b")).await.status, 400);
    assert_eq!(proxy.send(&get("/").with("Host", "evil.test")).await.text(), "evil.test /");
    assert_eq!(client.exchange(&get("/")).await.text(), "example.test /");
    assert!(origin.requests().iter().all(|seen| seen.field("host") != Some("a b")));
}

fn any_target() -> impl Strategy<Value = Vec<u8>> {
    let parts = vec![
        "/", "/", "/", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", ";", "?", "&", "=", "#",
        "%00", "%", "%4", "%41", "A", "a", "~", "%7e", "%7E", "é", "%c3", "%C3", "+", "%20", ":",
        "@", "*", "//", "/./", "/../", "%0d%0a", "!", "'", "(", ",", "|", "\"", "<", "{", "^", "`",
    ];
    let bytes = prop::collection::vec(prop::sample::select(parts), 0..8);
    (bytes, prop::option::of(any::<u8>())).prop_map(|(parts, odd)| {
        let mut target = b"/".to_vec();
        target.extend(parts.concat().into_bytes());
        target.extend(odd.filter(|&byte| !matches!(byte, b'\r' | b'\n' | b' ')));
        target
    })
}

fn any_host() -> impl Strategy<Value = Vec<u8>> {
    let parts = vec!["a", "A", "b", ".", "", ":80", ":81", ":", "_", "@", "[::1]", "%61", "/", ","];
    prop::collection::vec(prop::sample::select(parts), 1..4).prop_map(|it| it.concat().into_bytes())
}

/// The same key if, and only if, the same bytes at the origin: whatever is accepted is answered, from
/// the cache too, with what this very request shows the origin when the cache is not asked.
#[tokio::test]
async fn whatever_is_sent_is_keyed_by_what_the_origin_sees() {
    let (origin, proxy) = echo().await;
    let mut runner = TestRunner::default();
    let strategy = (any_target(), prop_oneof![Just(b"a".to_vec()), any_host()]);
    let mut accepted = 0;
    for _ in 0..600 {
        let (target, host) = strategy.new_tree(&mut runner).unwrap().current();
        let head = [b"GET ", &*target, b" HTTP/1.1\r\nHost: ", &*host, b"\r\n"].concat();
        let past_the_cache = b"Connection: close\r\nCache-Control: no-store\r\n\r\n";
        let [through, past] = [&b"Connection: close\r\n\r\n"[..], past_the_cache].map(|rest| {
            let bytes = [&*head, rest].concat();
            let connecting = proxy.client();
            async move {
                let mut client = connecting.await;
                client.send(bytes).await;
                client.exchange_rest().await
            }
        });
        let (through, past) = (through.await, past.await);
        let text = String::from_utf8_lossy(&head);
        assert_eq!(through.status, past.status, "{text:?}");
        if through.status == 200 {
            assert_eq!(through.text(), past.text(), "{text:?}");
            accepted += 1;
        } else {
            assert_eq!(through.status, 400, "{text:?}");
        }
    }
    let requests = origin.requests();
    let asked = requests.iter().filter(|seen| seen.field("cache-control").is_none());
    let mut known = HashSet::new();
    for seen in asked {
        assert!(known.insert(bytes_of(seen)), "two keys for {}", bytes_of(seen));
    }
    assert!(accepted > 50, "{accepted} requests say little");
}
