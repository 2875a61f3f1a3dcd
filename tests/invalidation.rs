//! Unsafe methods end what is stored (RFC 9111 §4.4).

use crate::support::*;

/// Stores `/` and `/other`, sends `unsafe_request`, whose answer is `answer`; whether each of the
/// two is still reused.
async fn survivors(unsafe_request: Request, answer: Answer) -> [bool; 2] {
    let origin = Origin::start(move |request| match &*request.method {
        "GET" => ok("body").fresh(600),
        _ => answer.clone(),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    for target in ["/", "/other"] {
        proxy.get(target).await;
    }
    proxy.send(&unsafe_request).await;
    [proxy.get("/").await.is_hit(), proxy.get("/other").await.is_hit()]
}

#[tokio::test]
async fn a_successful_unsafe_request_ends_what_is_stored_for_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "UNHEARD-OF"] {
        for code in [200, 204, 201, 303] {
            let kept = survivors(request(method, "/").body(""), status(code)).await;
            assert_eq!(kept, [false, true], "{method} {code}");
        }
    }
}

#[tokio::test]
async fn a_failed_unsafe_request_ends_nothing() {
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        for code in [400, 404, 500, 503] {
            let kept = survivors(request(method, "/").body(""), status(code)).await;
            assert_eq!(kept, [true, true], "{method} {code}");
        }
    }
}

// RFC 9110 §9.2.1.
#[tokio::test]
async fn safe_methods_end_nothing() {
    for method in ["HEAD", "OPTIONS", "GET"] {
        let kept = survivors(request(method, "/"), ok("").fresh(600)).await;
        assert_eq!(kept, [true, true], "{method}");
    }
}

#[tokio::test]
async fn location_and_content_location_of_the_same_origin_end_too() {
    for name in ["Location", "Content-Location"] {
        for target in ["/other", "http://example.test/other", "other", "//example.test/other"] {
            let kept = survivors(post("/", ""), status(201).with(name, target)).await;
            assert_eq!(kept, [false, false], "{name}: {target}");
        }
    }
}

// RFC 9111 §4.4: only the same origin, or one site could empty the cache of another.
#[tokio::test]
async fn a_location_of_another_origin_ends_nothing_there() {
    for target in [
        "http://elsewhere.test/other",
        "https://example.test/other",
        "http://example.test:81/other",
    ] {
        let kept = survivors(post("/", ""), status(201).with("Location", target)).await;
        assert_eq!(kept, [false, true], "{target}");
    }
}

#[tokio::test]
async fn every_variant_ends() {
    let origin = Origin::start(|request| match &*request.method {
        "GET" => ok("body").fresh(600).with("Vary", "X-A"),
        _ => status(204),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    for value in ["1", "2"] {
        proxy.send(&get("/").with("X-A", value)).await;
    }
    proxy.send(&delete("/")).await;
    for value in ["1", "2"] {
        assert!(!proxy.send(&get("/").with("X-A", value)).await.is_hit());
    }
}

// A fetch under way while the unsafe request succeeds may hold what was there before it.
#[tokio::test]
async fn a_fetch_begun_before_an_unsafe_request_is_not_fresh_after_it() {
    let gate = Gate::new();
    let held = ok("before").fresh(600).gate(&gate);
    let origin = Origin::start(move |request| match (&*request.method, request.number) {
        ("GET", 0) => held.clone(),
        ("GET", _) => ok("after").fresh(600),
        _ => status(204),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let first = proxy.start_all(1, &get("/")).await;
    origin.arrived(1).await;
    proxy.send(&put("/", "new")).await;
    gate.open();
    assert_eq!(all(first).await[0].text(), "before");
    assert_eq!(proxy.get("/").await.text(), "after");
}

// RFC 9110 §9.3.3.
#[tokio::test]
async fn a_post_whose_content_location_is_its_own_target_serves_later_gets() {
    for location in ["/", "http://example.test/", "./"] {
        let (origin, proxy) =
            stage(ok("posted").fresh(600).with("Content-Location", location)).await;
        proxy.send(&post("/", "form")).await;
        let response = proxy.get("/").await;
        assert!(response.is_hit(), "{location}: {}", response.cache_status());
        assert_eq!(response.text(), "posted");
        assert_eq!(origin.count(), 1);
        proxy.send(&post("/", "again")).await;
        assert_eq!(origin.count(), 2, "a POST itself always goes to the origin");
    }
}

// What else was invalidated meanwhile concerns it only where it is the same.
#[tokio::test]
async fn a_post_answer_serves_later_gets_whatever_else_was_changed_meanwhile() {
    for (changed, is_hit) in [("/other", true), ("/posted", false)] {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |request| match request.method.as_str() {
            "POST" => ok("posted").fresh(600).with("Content-Location", "/posted").gate(&held),
            _ => ok("else"),
        })
        .await;
        let proxy = Proxy::start(&origin).await;
        let waiting = proxy.start_all(1, &post("/posted", "form")).await;
        origin.arrived(1).await;
        proxy.send(&request("PUT", changed)).await;
        gate.open();
        all(waiting).await;
        assert_eq!(proxy.get("/posted").await.is_hit(), is_hit, "{changed}");
    }
}

#[tokio::test]
async fn any_other_post_answer_serves_no_get() {
    let cases = [
        ok("posted").fresh(600),
        ok("posted").fresh(600).with("Content-Location", "/elsewhere"),
        ok("posted").with("Content-Location", "/"),
        ok("posted").fresh(600).with("Content-Location", "/").with("Set-Cookie", "a=1"),
    ];
    for answer in cases {
        let (origin, proxy) = stage(answer).await;
        proxy.send(&post("/", "form")).await;
        proxy.get("/").await;
        assert_eq!(origin.count(), 2);
    }
}

// Its own invalidation is of two URLs then: its own, and the one that stands for it.
#[tokio::test]
async fn a_post_answer_serves_later_gets_where_urls_share_responses() {
    let origin = Origin::start(|request| match request.method.as_str() {
        "POST" => ok("posted").fresh(600).with("Content-Location", &request.target),
        _ => ok("got").fresh(600).with("No-Vary-Search", "params=(\"u\")"),
    })
    .await;
    let proxy = Proxy::with(&origin, |settings| settings.cache().policy.no_vary_search = true);
    let proxy = proxy.await;
    assert_eq!(proxy.get("/x?u=1&a=1").await.text(), "got");
    proxy.send(&post("/x?u=1&a=1", "form")).await;
    let response = proxy.get("/x?u=1&a=1").await;
    assert_eq!((response.text(), response.is_hit()), ("posted", true));
    assert_eq!(proxy.get("/x?u=2&a=1").await.text(), "got", "what was shared is gone");
    assert_eq!(origin.count(), 3);
}

// The origin speaks of the URL that it gets.
#[tokio::test]
async fn a_post_answer_serves_later_gets_whatever_of_its_url_is_keyed() {
    let origin = Origin::start(|request| match request.method.as_str() {
        "POST" => ok("posted").fresh(600).with("Content-Location", &request.target),
        _ => ok("got").fresh(600),
    })
    .await;
    for sees in [false, true] {
        let rules =
            format!("[[rule]]\nkey = {{ drop_query = [\"u\"], origin_sees_dropped = {sees} }}\n");
        let proxy = Proxy::ruled(&origin, &rules).await;
        proxy.send(&post("/x?u=1&a=1", "form")).await;
        let response = proxy.get("/x?u=2&a=1").await;
        assert_eq!((response.text(), response.is_hit()), ("posted", true), "{sees}");
    }
}
