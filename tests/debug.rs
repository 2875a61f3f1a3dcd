//! `Seawall-Debug: 1`: what was done with a request, shown to those who may know.

use crate::support::*;

const HERE: &str = "[debug]\nallow = [\"127.0.0.0/8\"]\n";

fn debugged(target: &str) -> Request {
    get(target).with("Seawall-Debug", "1")
}

fn shown(response: &Response) -> Vec<String> {
    let names = ["route", "rules", "key", "variant", "reason", "ttl"];
    let field = |name: &str| response.field(&format!("seawall-debug-{name}")).map(str::to_owned);
    names.into_iter().filter_map(field).collect()
}

#[tokio::test]
async fn who_may_know_is_shown_what_was_done() {
    let answer =
        ok("a").fresh(60).with("Vary", "Accept-Language").with("Content-Type", "text/html");
    let origin = Origin::answering(answer).await;
    let rules = r#"
        [[rule]]
        name = "all"
        key = { drop_tracking = true, headers = ["x-plan"] }
        [[rule]]
        match_response = { content_type = "text/html" }
        cache = { max_lifetime = "30s" }
    "#;
    let proxy = Proxy::ruled(&origin, &format!("{rules}{HERE}")).await;
    let request = debugged("/a?utm_source=x&b=1").with("Accept-Language", "de");
    let first = proxy.send(&request).await;
    let fields = [
        "\"test\"",
        "\"all\", \"line 6\"",
        "\"http://example.test/a?b=1\", \"x-plan\"",
        "\"accept-language=de\"",
        "miss",
        "30",
    ];
    let mut lines = shown(&first);
    // The rule's line depends on where the file puts it.
    assert!(lines[1].starts_with("\"all\", \"line "), "{lines:?}");
    lines[1] = fields[1].to_owned();
    assert_eq!(lines, fields);
    let second = proxy.send(&request).await;
    assert!(second.is_hit());
    assert_eq!(second.field("seawall-debug-key"), first.field("seawall-debug-key"));
    assert_eq!(second.field("seawall-debug-rules"), first.field("seawall-debug-rules"));
    assert_eq!(second.field("seawall-debug-variant"), Some("\"accept-language=de\""));
    assert_eq!(
        (second.field("seawall-debug-reason"), second.field("seawall-debug-ttl")),
        (None, Some("30"))
    );
}

#[tokio::test]
async fn nobody_else_is_shown_anything_and_no_origin_is_told() {
    let origin = Origin::answering(ok("a").fresh(60)).await;
    for rules in ["", "[debug]\nallow = [\"192.0.2.0/24\"]\n", HERE] {
        let proxy = Proxy::ruled(&origin, rules).await;
        let request = debugged("/a").with("X-Forwarded-For", "192.0.2.1");
        assert_eq!(shown(&proxy.send(&request).await).is_empty(), rules != HERE, "{rules}");
        assert_eq!(origin.last().field("seawall-debug"), None);
        for value in ["0", "true", "1, 1", ""] {
            let response = proxy.send(&get("/a").with("Seawall-Debug", value)).await;
            assert_eq!(shown(&response), [""; 0], "{value}");
        }
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_its_client_has_to_be_allowed() {
    let origin = Origin::answering(ok("a").fresh(60)).await;
    let proxy = Proxy::with(&origin, |settings| {
        settings.proxy.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        settings.proxy.debug =
            vec!["127.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()];
    })
    .await;
    for (client, expected) in [("192.0.2.7", true), ("192.0.2.8", false), ("bogus", false)] {
        let response = proxy.send(&debugged("/a").with("X-Forwarded-For", client)).await;
        assert_eq!(!shown(&response).is_empty(), expected, "{client}");
    }
}

#[tokio::test]
async fn what_is_stored_is_the_same_whoever_asked_first() {
    // An origin that would tell them apart, and one that says our fields itself.
    let answer = ok("a").fresh(60).with("Vary", "Seawall-Debug").with("Seawall-Debug-Key", "\"x\"");
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::ruled(&origin, HERE).await;
    let first = proxy.send(&debugged("/a")).await;
    assert_eq!(first.all("seawall-debug-key"), ["\"http://example.test/a\""]);
    let plain = proxy.get("/a").await;
    assert!(plain.is_hit());
    assert_eq!(plain.all("seawall-debug-key"), ["\"x\""], "the origin's, as it was stored");
    for name in ["route", "rules", "variant", "reason", "ttl"] {
        assert_eq!(plain.field(&format!("seawall-debug-{name}")), None);
    }
    assert!(proxy.send(&debugged("/a")).await.is_hit());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn secrets_are_not_shown_and_nothing_can_be_written_into_the_fields() {
    let origin = Origin::answering(ok("a").fresh(60).with("Vary", "Cookie, X-A")).await;
    let rules = "[[rule]]\nkey = { cookies = [\"session\"], headers = [\"x-plan\"] }\n";
    let proxy = Proxy::ruled(&origin, &format!("{rules}{HERE}")).await;
    let request = debugged("/a?b")
        .with("Cookie", "session=s3cret")
        .with("X-Plan", "go\"ld\\, x=1")
        .with("X-A", "\u{e9}");
    let response = proxy.send(&request).await;
    assert_eq!(
        response.field("seawall-debug-key"),
        Some(r#""http://example.test/a?b", "x-plan=go\"ld\\, x=1", "cookie=session=...""#)
    );
    let variant = response.field("seawall-debug-variant").unwrap();
    assert!(variant.starts_with("\"cookie=session=...\", \"x-a=%"), "{variant}");
    let long = proxy.send(&debugged(&format!("/{}", "x".repeat(8000)))).await;
    assert!(long.field("seawall-debug-key").unwrap().len() < 2100);
}

#[tokio::test]
async fn errors_are_explained_too() {
    let origin = Origin::answering(Answer::hang_up()).await;
    let rules = "[[rule]]\nname = \"closed\"\nmatch = { path = \"/closed\" }\naccess = { deny = [\"127.0.0.1\"] }\n";
    let proxy = Proxy::ruled(&origin, &format!("{rules}{HERE}")).await;
    let closed = proxy.send(&debugged("/closed")).await;
    assert_eq!(closed.status, 403);
    assert_eq!(closed.field("seawall-debug-rules"), Some("\"closed\""));
    assert_eq!(closed.field("seawall-debug-reason"), Some("access-denied"));
    let failed = proxy.send(&debugged("/")).await;
    assert_eq!(failed.status, 502);
    assert!(failed.field("seawall-debug-reason").is_some());
    let lost =
        proxy.send(&debugged("/").with("Content-Length", "0").with("Expect", "miracles")).await;
    assert_eq!((lost.status, shown(&lost).len()), (417, 1));
}
