//! Answers of Seawall's own (RFC 9110 §15.5, §15.6; RFC 9209).

use crate::support::*;

async fn failing(accept: Option<&str>) -> Response {
    let (_origin, proxy) = stage(Answer::hang_up()).await;
    let request = accept.map_or(get("/"), |accept| get("/").with("Accept", accept));
    proxy.send(&request).await
}

#[tokio::test]
async fn an_error_comes_in_the_form_that_the_client_accepts() {
    for (accept, media_type, begins) in [
        (Some("text/html,application/xhtml+xml,*/*;q=0.8"), "text/html", "<!"),
        (Some("application/json"), "application/json", "{"),
        (Some("text/plain"), "text/plain", ""),
        (Some("application/json;q=0.1, text/html"), "text/html", "<!"),
        (Some("text/html;q=0, application/json"), "application/json", "{"),
    ] {
        let response = failing(accept).await;
        assert_eq!(response.status, 502);
        let content_type = response.field("content-type").unwrap_or_default();
        assert!(content_type.starts_with(media_type), "{accept:?}: {content_type}");
        assert!(
            response.text().trim_start().to_lowercase().starts_with(begins),
            "{}",
            response.text()
        );
    }
}

#[tokio::test]
async fn an_error_is_not_stored_and_says_what_happened_and_to_which_request() {
    let (_origin, proxy) = stage(Answer::hang_up()).await;
    let request = get("/").with("Accept", "application/json");
    let response = proxy.send(&request).await;
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert!(response.says("detail=connection-lost"), "{}", response.cache_status());
    let page: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert!(page.to_string().contains("connection-lost"), "{page}");
    let other = proxy.send(&request).await;
    assert_ne!(response.body, other.body, "each has an id of its own");
}

#[tokio::test]
async fn an_error_tells_nothing_about_the_inside() {
    let (mut origin, proxy) = stage(ok("body")).await;
    origin.refuse().await;
    for accept in ["text/html", "application/json", "text/plain"] {
        let response = proxy.send(&get("/").with("Accept", accept)).await;
        let port = origin.address.port().to_string();
        assert!(
            !response.text().contains(&port) && !response.text().contains("127.0.0.1"),
            "{}",
            response.text()
        );
    }
}

#[tokio::test]
async fn an_error_on_head_has_no_body() {
    let (_origin, proxy) = stage(Answer::hang_up()).await;
    let mut client = proxy.client().await;
    assert_eq!(client.exchange(&head("/")).await.status, 502);
    assert_eq!(client.exchange(&head("/")).await.status, 502, "the connection is still in step");
}

#[tokio::test]
async fn an_error_page_can_be_replaced() {
    let page = std::env::temp_dir().join(format!("seawall-page-{}.html", std::process::id()));
    std::fs::write(&page, "<p>Back soon").unwrap();
    let origin = Origin::answering(Answer::hang_up()).await;
    let proxy = Proxy::with(&origin, |s| {
        s.proxy.error_pages.insert(502, page.clone());
    })
    .await;
    let response = proxy.send(&get("/").with("Accept", "text/html")).await;
    assert_eq!((response.status, response.text()), (502, "<p>Back soon"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    std::fs::remove_file(&page).unwrap();
}

#[tokio::test]
async fn the_origins_own_errors_pass_untouched() {
    let (_origin, proxy) = stage(status(503).body("mine").with("Retry-After", "7")).await;
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text()), (503, "mine"));
    assert_eq!(response.field("retry-after"), Some("7"));
}

#[tokio::test]
async fn more_requests_than_allowed_at_once_are_told_to_come_back() {
    let gate = Gate::new();
    let origin = Origin::answering(ok("body").gate(&gate)).await;
    let proxy = Proxy::with(&origin, |s| s.proxy.limits.max_in_flight = 1).await;
    let first = proxy.start_all(1, &get("/1")).await;
    origin.arrived(1).await;
    let second = proxy.get("/2").await;
    assert_eq!(second.status, 503);
    assert!(second.says("detail=overloaded"), "{}", second.cache_status());
    gate.open();
    assert_eq!(all(first).await[0].status, 200);
    assert_eq!(proxy.get("/2").await.status, 200);
}
