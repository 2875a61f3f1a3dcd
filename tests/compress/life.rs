//! A copy lives and dies with what it was made of.

use super::*;

#[tokio::test]
async fn a_purge_takes_the_copies_along() {
    for (kind, value) in [("url", "http://example.test/"), ("tag", "t"), ("all", "")] {
        let origin = Origin::start({
            let count = std::sync::atomic::AtomicUsize::new(1);
            move |_| {
                let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let answer = ok(text(number)).fresh(600).with("Content-Type", "text/html");
                answer.with("Surrogate-Key", "t")
            }
        })
        .await;
        let proxy = Proxy::ruled(&origin, RULE).await;
        proxy.send(&asking(BROWSER)).await;
        made(&proxy, 1).await;
        assert_hit(&proxy.send(&asking(BROWSER)).await, Some("br"));
        proxy.purge(kind, value, "hard").await;
        let response = proxy.send(&asking(BROWSER)).await;
        assert_eq!((plain(&response), response.is_hit()), (text(2), false), "{kind}");
        made(&proxy, 1).await;
        assert_eq!(plain(&proxy.send(&asking(BROWSER)).await), text(2), "{kind}");
        proxy.settled().await;
    }
}

// The copy of what is stale is stale, and that of what is new is new.
#[tokio::test]
async fn what_is_stale_is_served_from_its_copy_until_there_is_another() {
    let control = "max-age=60, stale-while-revalidate=600";
    let answer = |number| {
        let answer = ok(text(number)).with("Cache-Control", control);
        answer.with("Content-Type", "text/html").with("ETag", format!("\"{number}\""))
    };
    let origin = Origin::sequence([answer(1), answer(2)]).await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    proxy.advance(secs(61));
    let stale = proxy.send(&asking(BROWSER)).await;
    assert_eq!((plain(&stale), stale.field("content-encoding")), (text(1), Some("br")));
    assert!(stale.says("detail=stale-while-revalidate"), "why it is stale says more");
    eventually("the new one", || {
        let stored = stored(&proxy, BROWSER);
        stored.is_some_and(|stored| {
            stored.head.get(&http::header::ETAG).is_some_and(|tag| tag == "\"2\"")
                && stored.copies.made().len() == 1
        })
    })
    .await;
    let fresh = proxy.send(&asking(BROWSER)).await;
    assert_eq!((plain(&fresh), fresh.field("etag")), (text(2), Some("\"2-sw-br5\"")));
    assert_eq!(origin.count(), 2, "a refresh for one makes the copy as well");
}

#[tokio::test]
async fn a_failing_origin_leaves_every_form_to_be_served() {
    let good = page().with("Cache-Control", "stale-if-error=6000");
    let origin = Origin::sequence([good, status(500)]).await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    proxy.advance(secs(601));
    for (codings, coding) in [(BROWSER, Some("br")), ("identity", None), (OLD, None)] {
        let response = proxy.send(&asking(codings)).await;
        assert_eq!((response.status, plain(&response)), (200, text(1)), "{codings}");
        assert_eq!(response.field("content-encoding"), coding);
        assert!(response.says("detail=stale-if-error"), "{}", response.cache_status());
    }
}

// What clients are told and what rules change is the same for every form.
#[tokio::test]
async fn edits_and_what_browsers_are_told_hold_for_copies() {
    let rules = format!(
        "{RULE}[[rule]]\ncache = {{ browser_ttl = \"5s\" }}\nresponse = {{ set = {{ x-own = \"1\" }}, remove = [\"server\"] }}\n"
    );
    let answer = page().with("Server", "x").with("Surrogate-Key", "t");
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::ruled(&origin, &rules).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    proxy.advance(secs(60));
    for (codings, coding) in [(BROWSER, Some("br")), ("identity", None)] {
        let response = proxy.send(&asking(codings)).await;
        assert_hit(&response, coding);
        assert_eq!((response.field("x-own"), response.field("server")), (Some("1"), None));
        assert_eq!(response.field("cache-control"), Some("max-age=65"));
        assert_eq!((response.age(), response.field("surrogate-key")), (Some(60), None));
    }
}

// Nothing is stored for such a URL, so there is nothing to make copies of.
#[tokio::test]
async fn what_can_not_be_shared_passes_as_it_is() {
    let origin = Origin::answering(page().with("Cache-Control", "private")).await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    for _ in 0..3 {
        let response = proxy.send(&asking(BROWSER)).await;
        assert!(response.says("detail=private"), "{}", response.cache_status());
        assert_eq!((response.text(), response.field("content-encoding")), (&*text(1), None));
    }
}

#[tokio::test]
async fn a_reload_that_turns_it_off_gives_everybody_the_body_as_it_came() {
    let origin = Origin::answering(page()).await;
    let name = format!("seawall-compress-{}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    let upstream = format!("[upstream.origin]\nurl = \"http://{}\"\n", origin.address);
    std::fs::write(&file, upstream.clone() + RULE).unwrap();
    let proxy = Proxy::from_file(&origin, &file).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    assert_hit(&proxy.send(&asking(BROWSER)).await, Some("br"));
    for (text_of_file, coding) in [(upstream.clone(), None), (upstream + RULE, Some("br"))] {
        std::fs::write(&file, text_of_file).unwrap();
        let reload = request("POST", "/reload").with("Content-Type", "application/json");
        assert_eq!(proxy.ask_admin(&reload).await.status, 200);
        let response = proxy.send(&asking(BROWSER)).await;
        assert_eq!((plain(&response), response.is_hit()), (text(1), true));
        assert_eq!(response.field("content-encoding"), coding);
    }
    let _ = std::fs::remove_file(&file);
    assert_eq!(origin.count(), 1);
}

// Decoding is no reason to ask an origin that is to be left alone.
#[tokio::test]
async fn an_origin_that_is_spared_is_so_for_who_has_it_decoded() {
    let good = ok(text(1)).fresh(60).with("Content-Type", "text/html").with("ETag", "\"a\"");
    let origin = Origin::sequence([good, status(503)]).await;
    let rules = format!("{RULE}[[rule]]\ncache = {{ protect = \"origin\", keep = \"1h\" }}\n");
    let proxy = Proxy::ruled(&origin, &rules).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    proxy.advance(secs(61));
    assert_eq!(proxy.send(&asking(BROWSER)).await.status, 503);
    assert_eq!(origin.count(), 2);
    for codings in [BROWSER, "identity"] {
        let spared = proxy.send(&asking(codings)).await;
        assert!(spared.says("detail=origin-spared"), "{codings}: {}", spared.cache_status());
    }
    assert_eq!(origin.count(), 2);
}
