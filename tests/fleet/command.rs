//! `seawall purge` and the nodes that it speaks to.

use super::Site;
use crate::cli::ended;
use crate::support::*;
use crate::tier::stalls::{Between, Way};

async fn purge(node: &Proxy, arguments: &str) -> (Option<i32>, String) {
    let admin = format!("http://{}", node.admin);
    let line = format!("purge {arguments} --admin {admin}");
    let run = tokio::task::spawn_blocking(move || ended(&line.split(' ').collect::<Vec<_>>()));
    within("the command's end", run).await.expect("no panic")
}

#[tokio::test]
async fn the_command_returns_when_all_nodes_have_done_it_or_names_those_that_have_not() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let between = Between::to(&redis).await;
    let one = site.node(&redis).await;
    let place = between.place();
    let other = site
        .node_with(&redis, |settings| settings.redis.as_mut().expect("configured").place = place)
        .await;
    other.shows("/a").await;
    site.change();
    let (code, said) = purge(&one, "--host example.test --hard --wait all").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("acknowledged by 2 nodes"), "{said}");
    assert_eq!(other.shows("/a").await, "2");
    between.set(Way::Stalled);
    let (code, said) = purge(&one, "--tag page --wait all --timeout 1").await;
    assert_eq!(code, Some(75), "{said}");
    let named = format!("not acknowledged by {}", other.tier().fleet().name());
    assert!(said.contains(&named), "{said}");
}

#[tokio::test]
async fn a_dry_run_counts_and_what_takes_too_much_is_asked_for_twice() {
    let origin = Origin::answering(ok("x").fresh(600).with("Cache-Tag", "page")).await;
    let proxy = Proxy::with(&origin, super::tagged).await;
    let mut client = proxy.client().await;
    for number in 0..1001 {
        client.exchange(&get(&format!("/{}/{number}", number % 2))).await;
    }
    let (code, said) = purge(&proxy, "--prefix http://example.test/1/ --hard --dry-run").await;
    assert_eq!(code, Some(0));
    assert!(said.contains("would remove 500 of 1001 responses"), "{said}");
    client.exchange(&get("/1/1")).await;
    let (_, said) = purge(&proxy, "--prefix http://example.test/1/ --dry-run").await;
    assert!(said.contains("of them have been asked for lately. Of the"), "{said}");
    for (what, code) in [
        ("--tag page --hard", 1),
        ("--all --hard", 1),
        ("--prefix http://example.test/1/ --hard", 0),
        ("--tag page --hard", 0),
    ] {
        assert_eq!(purge(&proxy, what).await.0, Some(code), "{what}");
    }
    let (_, said) = purge(&proxy, "--all --dry-run").await;
    assert!(said.contains("would make stale 0 of 0 responses"), "{said}");
    let (code, said) = purge(&proxy, "--all --hard --yes").await;
    assert_eq!(code, Some(0), "{said}");
}
