//! Queries that make no difference, as `No-Vary-Search` says it
//! (draft-ietf-httpbis-no-vary-search).

use seawall::config::Settings;

use crate::support::*;

const FIELD: &str = "No-Vary-Search";

fn honoured(settings: &mut Settings) {
    settings.cache().policy.no_vary_search = true;
}

/// An origin whose answers tell their URL, with what it says of the query by `said`.
async fn saying(said: impl Fn(&Seen) -> Option<&'static str> + Send + Sync + 'static) -> Origin {
    Origin::start(move |request| {
        let answer = ok(&request.target).fresh(60);
        match said(request) {
            Some(field) => answer.with(FIELD, field),
            None => answer,
        }
    })
    .await
}

/// The bodies of the answers to these, one after the other: the URLs that they were fetched for.
async fn fetched_for(proxy: &Proxy, targets: &[&str]) -> Vec<String> {
    let mut bodies = Vec::new();
    for target in targets {
        bodies.push(proxy.get(target).await.text().to_owned());
    }
    bodies
}

#[tokio::test]
async fn urls_that_differ_in_what_does_not_matter_are_answered_alike() {
    for (said, stored, shared, other) in [
        ("params=(\"u\" \"v\")", "/x?a=1&u=1", &["/x?a=1", "/x?u=2&a=1&v"][..], "/x?a=2&u=1"),
        ("except=(\"a\")", "/x?a=1&u=1", &["/x?a=1", "/x?b=9&%61=1"], "/x?a=2"),
        ("key-order", "/x?a=1&b=2", &["/x?b=2&a=1", "/x?&b=2&a=%31"], "/x?a=1"),
        ("key-order, params=(\"u\")", "/x", &["/x?u", "/x?", "/x?u=1&u=2"], "/x?v"),
    ] {
        let origin = saying(move |_| Some(said)).await;
        let proxy = Proxy::with(&origin, honoured).await;
        assert!(!proxy.get(stored).await.is_hit());
        for target in shared {
            let response = proxy.get(target).await;
            assert_eq!((response.text(), response.is_hit()), (stored, true), "{said}: {target}");
            assert!(response.cache_status().ends_with("detail=no-vary-search"));
            assert_eq!(response.field(FIELD), Some(said));
        }
        assert_eq!(proxy.get(other).await.text(), other, "{said}");
        assert_eq!(proxy.get("/y?u=7").await.text(), "/y?u=7", "another path");
        assert_eq!(origin.count(), 3, "{said}");
    }
}

#[tokio::test]
async fn nothing_is_shared_unless_a_setting_says_so() {
    let origin = saying(|_| Some("except=()")).await;
    let proxy = Proxy::start(&origin).await;
    let targets = ["/x", "/x?a", "/x?b"];
    assert_eq!(fetched_for(&proxy, &targets).await, targets);
}

#[tokio::test]
async fn a_rule_on_the_response_may_say_so() {
    let origin = saying(|request| request.target.starts_with("/x").then_some("except=()")).await;
    for (status, expected) in [(200, ["/x?a", "/x?a"]), (201, ["/x?a", "/x?b"])] {
        let rules = format!(
            "[[rule]]\nmatch_response = {{ status = {status} }}\ncache.no_vary_search = true"
        );
        let proxy = Proxy::ruled(&origin, &rules).await;
        assert_eq!(fetched_for(&proxy, &["/x?a", "/x?b"]).await, expected);
    }
}

#[tokio::test]
async fn what_is_not_valid_counts_for_nothing() {
    for said in ["params", "params=(a)", "params=(\"u\"), except=(\"a\")", "params=(\"u\"", "u"] {
        let origin = saying(move |_| Some(said)).await;
        let proxy = Proxy::with(&origin, honoured).await;
        let targets = ["/x?u=1", "/x?u=2", "/x"];
        assert_eq!(fetched_for(&proxy, &targets).await, targets, "{said}");
    }
}

/// One URL's answer says nothing, or is an error: it neither answers for others, nor do others
/// lose what they share.
#[tokio::test]
async fn an_answer_that_does_not_say_so_is_for_its_own_url() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/x?id=1&plain" => ok(&request.target).fresh(60),
        "/x?id=1&lost" => status(404).fresh(60).with(FIELD, "except=()").body("lost"),
        "/x?id=1&own" => ok(&request.target).fresh(0).with("Cache-Control", "no-store"),
        _ => ok(&request.target).fresh(6).with(FIELD, "except=(\"id\")"),
    })
    .await;
    let proxy = Proxy::with(&origin, honoured).await;
    // Before anything is known of the path, and after.
    for _ in 0..2 {
        assert_eq!(proxy.get("/x?id=1&lost").await.status, 404);
        proxy.get("/x?id=1&u=1").await;
        assert_eq!(proxy.get("/x?id=1&u=2").await.text(), "/x?id=1&u=1");
        proxy.advance(secs(10));
        let own = ["/x?id=1&plain", "/x?id=1&own"];
        assert_eq!(fetched_for(&proxy, &own).await, own);
        proxy.get("/x?id=1&u=1").await;
        let targets = ["/x?id=1&u=3", "/x?id=1", "/x?id=1&plain", "/x?id=2"];
        let shared = ["/x?id=1&u=1", "/x?id=1&u=1", "/x?id=1&plain", "/x?id=2"];
        assert_eq!(fetched_for(&proxy, &targets).await, shared);
        proxy.advance(secs(100));
    }
}

#[tokio::test]
async fn the_last_word_of_a_path_counts() {
    let said = |request: &Seen| match request.number {
        0 => Some("params=(\"u\")"),
        1 => Some("params=(\"v\")"),
        _ => None,
    };
    let origin = saying(said).await;
    let proxy = Proxy::with(&origin, honoured).await;
    let targets = ["/x?u=1", "/x?v=1", "/x?v=2", "/x?u=2", "/x?u=2", "/x?v=3"];
    let expected = ["/x?u=1", "/x?v=1", "/x?v=1", "/x?u=2", "/x?u=2", "/x?v=1"];
    assert_eq!(fetched_for(&proxy, &targets).await, expected);
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_validation_that_takes_the_word_back_ends_the_sharing() {
    let origin = Origin::start(|request| match request.field("if-none-match") {
        None => ok(&request.target).fresh(6).with("ETag", "\"1\"").with(FIELD, "except=()"),
        Some(_) if request.target == "/x?c" => {
            status(304).fresh(60).with("ETag", "\"1\"").with(FIELD, "params=()")
        }
        Some(_) => status(304).fresh(6).with("ETag", "\"1\""),
    })
    .await;
    let proxy = Proxy::with(&origin, honoured).await;
    assert_eq!(fetched_for(&proxy, &["/x?a", "/x?b"]).await, ["/x?a", "/x?a"]);
    proxy.advance(secs(10));
    // Validated for one URL, it is fresh for all.
    assert_eq!(fetched_for(&proxy, &["/x?b", "/x?a"]).await, ["/x?a", "/x?a"]);
    assert_eq!(origin.count(), 2);
    proxy.advance(secs(10));
    assert_eq!(fetched_for(&proxy, &["/x?c", "/x?c", "/x?d"]).await, ["/x?a", "/x?a", "/x?d"]);
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn a_purge_of_any_url_takes_what_answers_it() {
    let origin = saying(|_| Some("params=(\"u\")")).await;
    let proxy = Proxy::with(&origin, honoured).await;
    let base = "http://example.test";
    for (number, (kind, value)) in [
        ("url", "/x?u=9&a=1"),
        ("url", "/x?a=1"),
        ("prefix", "/x"),
        ("prefix", "/x?u="),
        ("prefix", "/x?zz"),
    ]
    .into_iter()
    .enumerate()
    {
        for mode in ["hard", "soft"] {
            proxy.get("/x?a=1&u=0").await;
            assert!(proxy.get("/x?u=1&a=1").await.is_hit(), "{kind} {value}");
            let asked = origin.count();
            proxy.purge(kind, &format!("{base}{value}"), mode).await;
            assert!(!proxy.get("/x?a=1&u=2").await.is_hit(), "{number}: {kind} {value} {mode}");
            assert_eq!(origin.count(), asked + 1);
        }
    }
    let asked = origin.count();
    proxy.get("/x?a=1&u=0").await;
    proxy.purge("url", &format!("{base}/x?a=2&u=1"), "hard").await;
    assert!(proxy.get("/x?a=1&u=1").await.is_hit());
    assert_eq!(origin.count(), asked);
}

/// Guarantee 4, where the purge speaks of a URL that only the answer will tell to be the same.
#[tokio::test]
async fn a_fill_begun_before_a_purge_of_a_url_that_it_answers_is_not_fresh_after_it() {
    for learnt in [false, true] {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |request| {
            let answer = ok(&request.target).fresh(60).with(FIELD, "params=(\"u\")");
            if request.target == "/x?u=1" { answer.gate(&held) } else { answer }
        })
        .await;
        let proxy = Proxy::with(&origin, honoured).await;
        if learnt {
            proxy.get("/x?a").await;
        }
        let first = proxy.start_all(1, &get("/x?u=1")).await;
        gate.reached(1).await;
        proxy.purge("url", "http://example.test/x?u=2", "hard").await;
        gate.open();
        all(first).await;
        assert_eq!(proxy.get("/x?u=2").await.text(), "/x?u=2", "{learnt}");
    }
}

#[tokio::test]
async fn requests_for_what_is_known_to_be_the_same_share_a_fetch() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        let answer = ok(&request.target).fresh(60).with(FIELD, "params=(\"u\")");
        if request.target == "/x" { answer } else { answer.gate(&held) }
    })
    .await;
    let proxy = Proxy::with(&origin, honoured).await;
    proxy.get("/x").await;
    let mut waiting = proxy.start_all(1, &get("/x?a&u=1")).await;
    gate.reached(1).await;
    for number in 2..6 {
        waiting.extend(proxy.start_all(1, &get(&format!("/x?a&u={number}"))).await);
    }
    eventually("all to wait", || proxy.cache().waiting() == 5).await;
    gate.open();
    for response in all(waiting).await {
        assert_eq!(response.text(), "/x?a&u=1");
    }
    assert_eq!(origin.count(), 2);
}

/// Those who waited together share again with those of their own URL, not with nobody.
#[tokio::test]
async fn those_who_waited_for_an_answer_that_is_not_theirs_wait_for_their_own() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/x" => ok("known").fresh(60).with(FIELD, "params=(\"u\")"),
        "/x?a&u=1" => ok(&request.target).fresh(60).gate(&held),
        _ => ok(&request.target).fresh(60),
    })
    .await;
    let proxy = Proxy::with(&origin, honoured).await;
    proxy.get("/x").await;
    let mut waiting = proxy.start_all(1, &get("/x?a&u=1")).await;
    gate.reached(1).await;
    waiting.extend(proxy.start_all(8, &get("/x?a&u=2")).await);
    eventually("all to wait", || proxy.cache().waiting() == 9).await;
    gate.open();
    let bodies: Vec<_> = all(waiting).await.iter().map(|it| it.text().to_owned()).collect();
    assert_eq!(bodies[0], "/x?a&u=1");
    assert!(bodies[1..].iter().all(|body| body == "/x?a&u=2"), "{bodies:?}");
    assert_eq!(origin.count(), 3);
}

/// Guarantee 5: those who waited for what nobody can share are all let go at once.
#[tokio::test]
async fn waiters_for_an_answer_that_nobody_shares_do_not_wait_again() {
    let (first, others) = (Gate::new(), Gate::new());
    let (held, all_others) = (first.clone(), others.clone());
    let origin = Origin::start(move |request| {
        let answer = ok(&request.target).with(FIELD, "params=(\"u\")");
        let private = answer.clone().with("Cache-Control", "no-store");
        match request.target.as_str() {
            "/x" => answer.fresh(60),
            "/x?a&u=1" => private.gate(&held),
            _ => private.gate(&all_others),
        }
    })
    .await;
    let proxy = Proxy::with(&origin, honoured).await;
    proxy.get("/x").await;
    let mut waiting = proxy.start_all(1, &get("/x?a&u=1")).await;
    first.reached(1).await;
    waiting.extend(proxy.start_all(8, &get("/x?a&u=2")).await);
    eventually("all to wait", || proxy.cache().waiting() == 9).await;
    first.open();
    others.reached(8).await;
    others.open();
    all(waiting).await;
    assert_eq!(origin.count(), 10);
}

#[tokio::test]
async fn what_is_keyed_beside_the_url_still_is() {
    let origin = Origin::start(|request| {
        let visitor = request.field("cookie").unwrap_or("nobody").to_owned();
        ok(visitor).fresh(60).with(FIELD, "except=()")
    })
    .await;
    let rules = "[[rule]]\ncache = { no_vary_search = true }\nkey = { cookies = [\"who\"] }";
    let proxy = Proxy::ruled(&origin, rules).await;
    for (target, who) in [("/?a", "who=1"), ("/?b", "who=2"), ("/?c", "who=1"), ("/?d", "who=2")] {
        assert_eq!(proxy.send(&get(target).with("Cookie", who)).await.text(), who);
    }
    assert_eq!(origin.count(), 2);
}
