//! Web cache deception: a visitor who is known to the origin is lured to a URL that looks like a
//! file, and whoever asks for it next must not get the visitor's page.

use seawall::config::Settings;
use seawall::policy::Heuristic;
use seawall::proxy::Route;

use crate::support::*;

/// Spellings of `/account` that end like a file, or that one reader resolves and another does not.
const LURES: [&str; 30] = [
    "/account/x.css",
    "/account/x.js?v=1",
    "/account.css",
    "/account;x.css",
    "/account;.css",
    "/account%3bx.css",
    "/account%3b.css",
    "/account%00.png",
    "/account%00x.css",
    "/account%0a.css",
    "/account%0ax.css",
    "/account%0d%0ax.css",
    "/account%09.css",
    "/account%20.css",
    "/account%23x.css",
    "/account%3fx.css",
    "/account%2fx.css",
    "/account%2f..%2fx.css",
    "/account/..%2fstatic/x.css",
    "/account%5cx.css",
    "/account!x.css",
    "/account$x.css",
    "/account,x.css",
    "/account~x.css",
    "/static/../account",
    "/static/..%2faccount",
    "/static/%2e%2e/account",
    "/static/%2e%2e%2faccount",
    "/static/..;/account",
    "/static/..%5caccount",
];

/// As much caching as rules can give, everywhere and below `/static` twice.
fn eager(s: &mut Settings) {
    let policy = &mut s.cache().policy;
    policy.default_lifetime = secs(600);
    policy.heuristic = Some(Heuristic { fraction: 1.0, ..Heuristic::default() });
    policy.stale_while_revalidate = secs(600);
    policy.stale_if_error = secs(600);
    let everywhere = s.proxy.routes[0].clone();
    let below = Route { path: "/static".to_owned(), ..(*everywhere).clone() };
    s.proxy.routes.insert(0, below.into());
}

/// An origin that gives anybody it knows a page of their own, whatever the rest of the path says.
fn account(seen: &Seen) -> Answer {
    match seen.field("cookie").or(seen.field("authorization")) {
        Some(who) => ok(format!("account of {who}")),
        None => ok("please log in"),
    }
}

#[tokio::test]
async fn a_page_for_a_known_visitor_is_given_to_nobody_else_by_any_lure() {
    for credential in ["Cookie", "Authorization"] {
        for (name, value) in [
            ("X-Nothing", "x"),
            ("Cache-Control", "private"),
            ("Cache-Control", "public"),
            ("Cache-Control", "no-cache"),
            ("Last-Modified", "Sun, 01 Jan 2017 00:00:00 GMT"),
            ("Content-Type", "text/css"),
            ("Set-Cookie", "session=secret"),
        ] {
            let origin = Origin::start(move |seen| account(seen).with(name, value)).await;
            let proxy = Proxy::with(&origin, eager).await;
            for lure in LURES {
                let victim = proxy.send(&get(lure).with(credential, "victim")).await;
                let refused = victim.status == 400;
                assert!(refused || victim.text() == "account of victim", "{lure}: {victim:?}");
                for attack in [get(lure), get(lure).with("Cookie", "attacker")] {
                    let stolen = proxy.send(&attack).await;
                    assert!(!stolen.text().contains("victim"), "{lure} {name}: {value}");
                }
                // Some lures are spellings of one page.
                proxy.purge("all", "", "hard").await;
            }
        }
    }
}

// The file that the lure imitates: nothing by its name, all by what the origin says.
#[tokio::test]
async fn no_file_name_makes_anything_cacheable() {
    let (origin, proxy) = stage(ok("body")).await;
    for name in ["/a.css", "/a.js", "/a.png", "/favicon.ico", "/robots.txt", "/static/a.woff2"] {
        proxy.get(name).await;
        assert!(!proxy.get(name).await.is_hit(), "{name}");
    }
    assert_eq!(origin.count(), 12);
}

// While the victim's request is on its way the attacker asks for the same.
#[tokio::test]
async fn waiting_for_a_known_visitors_page_does_not_give_it() {
    for (name, value) in [("X-Nothing", "x"), ("Cache-Control", "private, max-age=600")] {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = account(seen).with(name, value);
            if seen.number == 0 { answer.gate(&held) } else { answer }
        })
        .await;
        let proxy = Proxy::with(&origin, eager).await;
        let victim = get("/account/x.css").with("Cookie", "victim");
        let victim = proxy.start_all(1, &victim).await;
        origin.arrived(1).await;
        let mut thieves = proxy.start_all(5, &get("/account/x.css")).await;
        let other = get("/account/x.css").with("Cookie", "attacker");
        thieves.extend(proxy.start_all(5, &other).await);
        gate.open();
        assert_eq!(all(victim).await[0].text(), "account of victim");
        for stolen in all(thieves).await {
            assert!(!stolen.text().contains("victim"), "{stolen:?}");
        }
    }
}

// What the origin checks for each visitor is checked, or not given, when it can't be.
#[tokio::test]
async fn a_page_to_be_checked_for_each_visitor_is_not_given_while_the_origin_is_away() {
    let mut origin = Origin::start(|seen| account(seen).fresh(0).with("ETag", "\"1\"")).await;
    let proxy = Proxy::with(&origin, eager).await;
    proxy.send(&get("/account/x.css").with("Cookie", "victim")).await;
    assert_eq!(proxy.get("/account/x.css").await.text(), "please log in");
    proxy.send(&get("/account").with("Cookie", "victim")).await;
    origin.refuse().await;
    let stolen = proxy.get("/account").await;
    assert_eq!(stolen.status, 502, "{}", stolen.text());
}

// A page of somebody without a cookie is everybody's, and a cookie does not spoil it.
#[tokio::test]
async fn what_was_made_for_nobody_may_be_given_to_known_visitors() {
    let origin = Origin::start(account).await;
    let proxy = Proxy::with(&origin, eager).await;
    proxy.get("/page").await;
    let known = proxy.send(&get("/page").with("Cookie", "a=1")).await;
    assert!(known.is_hit());
    assert_eq!(origin.count(), 1);
}
