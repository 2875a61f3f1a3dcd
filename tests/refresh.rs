//! Refreshing after purges: what is in use is fetched anew without being asked for, and however much
//! a purge covers, the origin is asked at a bounded pace.

use seawall::config::Settings;
use seawall::store::Standing;

use crate::support::*;

/// A proxy in front of pages that may be served stale while they are refreshed.
async fn stale_pages(tune: impl FnOnce(&mut Settings)) -> (Origin, Proxy) {
    let page = |request: &Seen| ok(format!("{}", request.number));
    let origin = Origin::start(move |request| {
        page(request).with("Cache-Control", "max-age=600, stale-while-revalidate=600")
    })
    .await;
    let proxy = Proxy::with(&origin, tune).await;
    (origin, proxy)
}

impl Proxy {
    /// Whether what is stored of a path stands with regard to purges.
    pub fn stands(&self, path: &str) -> bool {
        let (memory, key) = (self.cache().memory(), format!("http://example.test{path}"));
        let stored = memory.peek(&key);
        stored.is_some_and(|stored| {
            let mut all = stored.as_slice().iter();
            all.all(|response| memory.standing(&key, &response.stamp) == Standing::Valid)
        })
    }
}

async fn ask(proxy: &Proxy, path: &str, times: usize) {
    for _ in 0..times {
        proxy.get(path).await;
    }
}

/// What the origin has been asked for, from the request with this number on.
fn asked(origin: &Origin, from: usize) -> Vec<String> {
    origin.requests().into_iter().skip(from).map(|request| request.target).collect()
}

/// Waits until any of these is how many refreshes that purges ask for have come to a result.
async fn ended(proxy: &Proxy, any: &[(&str, usize)]) {
    let metric = |(result, count): &(&str, usize)| {
        format!("seawall_purge_refreshes_total{{result=\"{result}\"}} {count}")
    };
    let any: Vec<_> = any.iter().map(metric).collect();
    within(&any.join(" or "), async {
        let told = |text: &str| text.lines().any(|line| any.iter().any(|metric| metric == line));
        while !told(proxy.ask_admin(&get("/metrics")).await.text()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_in_use_is_refreshed_the_most_asked_for_first_and_nothing_else_is() {
    let (origin, proxy) = stale_pages(|settings| {
        settings.proxy.purge.refresh_concurrency = 1;
    })
    .await;
    for (path, times) in [("/some", 4), ("/once", 1), ("/most", 9), ("/other/most", 20)] {
        ask(&proxy, path, times).await;
    }
    let before = origin.count();
    proxy.purge("prefix", "http://example.test/other/", "soft").await;
    assert!(!proxy.stands("/other/most"));
    proxy.purge("all", "", "refresh").await;
    eventually("all that is in use to be refreshed", || {
        ["/some", "/most", "/other/most"].iter().all(|path| proxy.stands(path))
    })
    .await;
    assert_eq!(asked(&origin, before), ["/other/most", "/most", "/some"]);
    assert!(!proxy.stands("/once"));
    let response = proxy.get("/most").await;
    assert!(response.is_hit() && response.text() != "1", "{response:?}");
}

#[tokio::test]
async fn a_url_that_is_named_is_refreshed_in_all_variants_whoever_asks_for_it() {
    let origin = Origin::start(|request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        ok(format!("{language} {}", request.number)).fresh(600).with("Vary", "Accept-Language")
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    for language in ["de", "fr"] {
        proxy.send(&get("/page").with("Accept-Language", language)).await;
    }
    proxy.purge("url", "http://example.test/page", "refresh").await;
    eventually("both to be refreshed", || proxy.stands("/page")).await;
    assert_eq!(origin.count(), 4);
    for language in ["de", "fr"] {
        let response = proxy.send(&get("/page").with("Accept-Language", language)).await;
        assert!(response.is_hit() && response.text().starts_with(language), "{response:?}");
    }
}

#[tokio::test]
async fn what_is_refreshed_is_validated_where_it_can_be_and_keyed_as_a_request_would_be() {
    let origin = Origin::start(|request| match request.field("if-none-match") {
        Some("\"v1\"") => status(304).fresh(600).with("ETag", "\"v1\""),
        _ => ok("page").fresh(600).with("ETag", "\"v1\""),
    })
    .await;
    let text = "[[rule]]\n[rule.key]\nkeep_query = [\"a\"]\n";
    let proxy = Proxy::ruled(&origin, text).await;
    ask(&proxy, "/page?b=1&a=1", 2).await;
    proxy.purge("all", "", "refresh").await;
    eventually("it to be refreshed", || proxy.stands("/page?a=1")).await;
    assert_eq!(origin.count(), 2);
    assert_eq!(origin.last().field("if-none-match"), Some("\"v1\""));
}

#[tokio::test]
async fn a_failing_origin_is_asked_once_for_each() {
    let origin = Origin::start(|request| match request.number {
        0 => ok("page").with("Cache-Control", "max-age=600, stale-if-error=600"),
        _ => status(503),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    ask(&proxy, "/page", 2).await;
    proxy.purge("all", "", "refresh").await;
    origin.arrived(2).await;
    ended(&proxy, &[("failed", 1)]).await;
    assert_eq!(origin.count(), 2);
    assert_eq!(proxy.get("/page").await.text(), "page");
}

#[tokio::test]
async fn a_large_purge_is_refreshed_at_a_bounded_pace() {
    let (origin, proxy) = stale_pages(|settings| settings.proxy.purge.refresh_rate = 50).await;
    for page in 0..20 {
        ask(&proxy, &format!("/{page}"), 2).await;
    }
    let begun = std::time::Instant::now();
    proxy.purge("all", "", "refresh").await;
    eventually("all to be refreshed", || (0..20).all(|page| proxy.stands(&format!("/{page}"))))
        .await;
    assert!(begun.elapsed() >= millis(19 * 20), "{:?}", begun.elapsed());
    assert_eq!(origin.count(), 40);
}

/// Who waits for its turn has found what is stored long before.
#[tokio::test]
async fn what_somebody_has_fetched_before_its_turn_has_come_is_not_fetched_again() {
    let origin = Origin::start(|request| ok(format!("{}", request.number)).fresh(600)).await;
    let proxy = Proxy::with(&origin, |settings| settings.proxy.purge.refresh_rate = 2).await;
    ask(&proxy, "/first", 9).await;
    ask(&proxy, "/second", 4).await;
    proxy.purge("all", "", "refresh").await;
    origin.arrived(3).await;
    // Nothing allows to serve it stale; it is a hit only if this took more than half a second.
    proxy.get("/second").await;
    ended(&proxy, &[("fresh", 1), ("done", 2)]).await;
    assert_eq!(asked(&origin, 2), ["/first", "/second"]);
}

/// Nobody waits for it: what may be served stale is, until its turn has come.
#[tokio::test]
async fn requests_for_what_a_soft_purge_made_stale_refresh_no_faster_than_that() {
    let (origin, proxy) = stale_pages(|settings| settings.proxy.purge.refresh_rate = 1).await;
    for page in 0..30 {
        ask(&proxy, &format!("/{page}"), 1).await;
    }
    proxy.purge("all", "", "soft").await;
    let begun = std::time::Instant::now();
    for page in 0..30 {
        let response = proxy.get(&format!("/{page}")).await;
        assert!(response.is_hit() && response.text() == page.to_string(), "{response:?}");
    }
    // What is saved of the second before, and what has come due since.
    let most = 30 + 2 + begun.elapsed().as_secs() as usize;
    assert!(origin.count() <= most, "{} of {most}", origin.count());
    assert!(proxy.cache().refreshes_put_off() > 20);
    // What a client has to wait for is asked for at once, whatever the pace.
    proxy.advance(secs(1300));
    for page in 0..30 {
        assert!(!proxy.get(&format!("/{page}")).await.is_hit());
    }
}

#[tokio::test]
async fn without_a_bound_all_are_refreshed_when_they_are_asked_for() {
    let (_origin, proxy) = stale_pages(|settings| settings.proxy.purge.refresh_rate = 0).await;
    for page in 0..30 {
        ask(&proxy, &format!("/{page}"), 1).await;
    }
    proxy.purge("all", "", "soft").await;
    for page in 0..30 {
        ask(&proxy, &format!("/{page}"), 1).await;
    }
    eventually("all to be refreshed", || (0..30).all(|page| proxy.stands(&format!("/{page}"))))
        .await;
}

/// A refresh is the fleet's and the clients' as any fetch is: it is finished before the end.
#[tokio::test]
async fn what_a_client_reads_of_a_refresh_is_finished_when_the_node_drains() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => ok("old").fresh(600),
        _ => ok("ne").fresh(600).claiming(3).then(&held).body("w"),
    })
    .await;
    let mut proxy = Proxy::start(&origin).await;
    ask(&proxy, "/page", 2).await;
    proxy.purge("all", "", "refresh").await;
    origin.arrived(2).await;
    let reading = proxy.start_all(1, &get("/page")).await;
    gate.reached(1).await;
    let ending = proxy.shutdown();
    gate.open();
    let response = all(reading).await.pop().expect("one");
    assert_eq!(response.text(), "new");
    assert_eq!(origin.count(), 2);
    within("the end", ending).await.expect("no panic");
}
