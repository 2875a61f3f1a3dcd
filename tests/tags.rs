//! Tags and cache groups: what responses can be purged by beside their URLs.

use std::process::Command;

use crate::support::*;

/// A proxy whose origin tags each response with its target, beside `more`.
async fn tagging(more: &'static [(&'static str, &'static str)]) -> (Origin, Proxy) {
    let origin = Origin::start(move |request| {
        let answer = ok("body").fresh(600).with("Surrogate-Key", request.target.clone());
        more.iter().fold(answer, |answer, (name, value)| answer.with(name, *value))
    })
    .await;
    let allowed = vec!["127.0.0.0/8".parse().unwrap()];
    let proxy = Proxy::with(&origin, |s| s.proxy.purge.allow = allowed).await;
    (origin, proxy)
}

async fn order(proxy: &Proxy, body: &str) -> Response {
    let purge = post("/purge", body).with("Content-Type", "application/json");
    let response = proxy.ask_admin(&purge).await;
    assert_eq!(response.status, 200, "{body}: {}", response.text());
    response
}

async fn purge_tag(proxy: &Proxy, tag: &str, mode: &str) {
    order(proxy, &format!(r#"{{"tags":["{tag}"],"mode":"{mode}"}}"#)).await;
}

/// Which of `targets` are answered from memory.
async fn kept(proxy: &Proxy, targets: &[&str]) -> Vec<bool> {
    let mut kept = Vec::new();
    for target in targets {
        kept.push(proxy.get(target).await.is_hit());
    }
    kept
}

#[tokio::test]
async fn a_tag_is_purged_by_its_exact_name() {
    let (_origin, proxy) = tagging(&[]).await;
    let targets = ["/items", "/items/1", "/items/10", "/ITEMS"];
    kept(&proxy, &targets).await;
    assert_eq!(kept(&proxy, &targets).await, [true; 4]);
    purge_tag(&proxy, "/items", "hard").await;
    assert_eq!(kept(&proxy, &targets).await, [false, true, true, true]);
    assert_eq!(kept(&proxy, &targets).await, [true; 4], "what comes later is stored again");
    order(&proxy, r#"{"tags":["/items/1","/ITEMS","/other"]}"#).await;
    assert_eq!(kept(&proxy, &targets).await, [true, false, true, false]);
}

#[tokio::test]
async fn tags_count_from_every_line_of_every_field() {
    let fields = [
        ("Surrogate-Key", "b c"),
        ("Surrogate-Key", "d"),
        ("xkey", "e"),
        ("Cache-Tag", "f,g h"),
        ("Cache-Tag", "i"),
    ];
    let origin = Origin::answering(
        fields.iter().fold(ok("").fresh(600), |answer, (name, tags)| answer.with(name, *tags)),
    )
    .await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/").await;
    for (tag, purged) in [
        ("b", true),
        ("c", true),
        ("d", true),
        ("e", true),
        ("f", true),
        ("g h", true),
        ("i", true),
        ("g", false),
        ("h", false),
        ("b c", false),
    ] {
        assert!(proxy.get("/").await.is_hit());
        purge_tag(&proxy, tag, "hard").await;
        assert_eq!(!proxy.get("/").await.is_hit(), purged, "{tag}");
    }
}

#[tokio::test]
async fn tags_of_64_kib_count_and_too_many_are_not_stored() {
    let many: Vec<String> = (0..4000).map(|number| format!("a-longer-tag:{number}")).collect();
    let line = many.join(" ");
    assert!(line.len() > 64 * 1024);
    let origin = Origin::start(move |request| match &*request.target {
        "/many" => ok("").fresh(600).with("Surrogate-Key", line.clone()),
        "/long" => ok("").fresh(600).with("Surrogate-Key", "a".repeat(1025)),
        _ => ok("").fresh(600).with("Surrogate-Key", "a ".repeat(5000)),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    assert_eq!(kept(&proxy, &["/many", "/many"]).await, [false, true]);
    purge_tag(&proxy, "a-longer-tag:3999x", "hard").await;
    assert_eq!(kept(&proxy, &["/many"]).await, [true]);
    purge_tag(&proxy, "a-longer-tag:3999", "hard").await;
    assert_eq!(kept(&proxy, &["/many"]).await, [false]);
    for target in ["/long", "/repeated"] {
        let response = proxy.get(target).await;
        assert_eq!(response.status, 200);
        assert!(response.says("detail=too-many-tags"), "{target}: {}", response.cache_status());
        assert!(!proxy.get(target).await.is_hit());
    }
}

#[tokio::test]
async fn clients_get_no_tags_unless_a_rule_exposes_them() {
    let tagged = |answer: Answer| {
        let answer = answer.with("ETag", "\"1\"").with("Cache-Groups", "\"g\"");
        answer.with("Surrogate-Key", "a").with("xkey", "b").with("Cache-Tag", "c")
    };
    let origin = Origin::start(move |request| match request.field("if-none-match") {
        Some(_) => tagged(status(304).fresh(600)),
        None if request.target == "/not-stored" => tagged(ok("body")),
        None => tagged(ok("body").fresh(600)),
    })
    .await;
    let rules = "[[rule]]\nmatch = { path = \"/shown\" }\ntags.expose = true";
    let proxy = Proxy::ruled(&origin, rules).await;
    let conditional = get("/").with("If-None-Match", "\"1\"");
    let range = get("/").with("Range", "bytes=0-1");
    for request in [&get("/"), &get("/"), &conditional, &range, &get("/not-stored"), &head("/")] {
        let response = proxy.send(request).await;
        for name in ["surrogate-key", "xkey", "cache-tag"] {
            assert_eq!(response.field(name), None, "{response:?}");
        }
        assert_eq!(response.field("cache-groups"), Some("\"g\""), "it is for all caches");
    }
    let upgrade = get("/x").with("Connection", "upgrade").with("Upgrade", "websocket");
    assert_eq!(proxy.send(&upgrade).await.field("surrogate-key"), None, "nor past the cache");
    proxy.purge("url", "http://example.test/", "soft").await;
    assert_eq!(proxy.get("/").await.field("surrogate-key"), None, "nor after a validation");
    for _ in 0..2 {
        assert_eq!(proxy.get("/shown").await.field("surrogate-key"), Some("a"));
    }
}

#[tokio::test]
async fn followers_of_a_fill_get_no_tags() {
    let gate = Gate::new();
    let answer = ok("a").then(&gate).body("b").fresh(600).with("Surrogate-Key", "a");
    let (origin, proxy) = stage(answer).await;
    let filling = proxy.start_all(3, &get("/")).await;
    origin.arrived(1).await;
    gate.open();
    for response in all(filling).await {
        assert_eq!((response.text(), response.field("surrogate-key")), ("ab", None));
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn rules_name_the_fields_and_add_tags_of_their_own() {
    let origin = Origin::start(|request| {
        let answer = ok("").fresh(600).with("X-Tags", "own").with("Surrogate-Key", "other");
        if request.target.contains("none") { answer.with("X-Kind", "bare") } else { answer }
    })
    .await;
    let rules = r#"
        [[rule]]
        tags = { spaced = ["X-Tags"], groups = false }
        [[rule]]
        match = { path = "/items/**" }
        tags.add = ["item:{path.2}", "{host}/{query.v}"]
        [[rule]]
        match_response = { header = { x-kind = "bare" } }
        tags = { spaced = [], add = [] }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (target, tag, purged) in [
        ("/items/7?v=2", "own", true),
        ("/items/7?v=2", "item:7", true),
        ("/items/7?v=2", "example.test/2", true),
        ("/items/7?v=2", "other", false),
        ("/items/7", "example.test/", false),
        ("/items/none", "item:none", false),
        ("/items/none", "own", false),
    ] {
        proxy.get(target).await;
        let stored = proxy.get(target).await;
        assert!(stored.is_hit());
        purge_tag(&proxy, tag, "hard").await;
        assert_eq!(!proxy.get(target).await.is_hit(), purged, "{target} {tag}");
    }
    let shown = proxy.get("/").await;
    assert_eq!((shown.field("x-tags"), shown.field("surrogate-key")), (None, Some("other")));
}

#[tokio::test]
async fn a_soft_purge_leaves_something_to_validate_and_a_hard_one_does_not() {
    for (mode, validator) in [("soft", Some("\"1\"")), ("hard", None)] {
        let answer = ok("body").fresh(600).with("ETag", "\"1\"").with("xkey", "a");
        let (origin, proxy) = stage(answer).await;
        proxy.get("/").await;
        purge_tag(&proxy, "a", mode).await;
        assert!(!proxy.get("/").await.is_hit());
        assert_eq!(origin.last().field("if-none-match"), validator, "{mode}");
        assert!(proxy.get("/").await.is_hit());
    }
}

#[tokio::test]
async fn each_variant_has_its_own_tags() {
    let origin = Origin::start(|request| {
        let variant = request.field("x-a").unwrap_or("none").to_owned();
        ok("").fresh(600).with("Vary", "X-A").with("xkey", variant)
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let variants = ["1", "2"].map(|variant| get("/").with("X-A", variant));
    for variant in &variants {
        proxy.send(variant).await;
    }
    purge_tag(&proxy, "1", "hard").await;
    assert!(!proxy.send(&variants[0]).await.is_hit());
    assert!(proxy.send(&variants[1]).await.is_hit());
}

#[tokio::test]
async fn a_304_changes_the_tags_that_it_carries_and_keeps_the_others() {
    let stored = ok("").with("Cache-Control", "max-age=1").with("ETag", "\"1\"");
    let stored = stored.with("xkey", "old").with("Cache-Tag", "kept");
    let not_modified = status(304).fresh(600).with("ETag", "\"1\"").with("xkey", "new");
    let (_origin, proxy) = stages([stored, not_modified, ok("").fresh(600)]).await;
    proxy.get("/").await;
    proxy.advance(secs(2));
    assert!(!proxy.get("/").await.is_hit());
    for (tag, hit) in [("old", true), ("kept", false)] {
        purge_tag(&proxy, tag, "hard").await;
        assert_eq!(proxy.get("/").await.is_hit(), hit, "{tag}");
    }
}

#[tokio::test]
async fn a_head_freshens_tags_too() {
    let stored =
        ok("").with("Cache-Control", "max-age=1").with("ETag", "\"1\"").with("xkey", "old");
    let fresh = ok("").fresh(600).with("ETag", "\"1\"").with("xkey", "new");
    let (_origin, proxy) = stages([stored, fresh]).await;
    proxy.get("/").await;
    proxy.advance(secs(2));
    proxy.send(&head("/")).await;
    assert!(proxy.get("/").await.is_hit());
    purge_tag(&proxy, "new", "hard").await;
    assert!(!proxy.get("/").await.is_hit());
}

#[tokio::test]
async fn parts_of_a_response_have_its_tags() {
    let part = status(206).fresh(600).with("Content-Range", "bytes 0-1/4").body("ab");
    let part = part.with("ETag", "\"1\"").with("xkey", "a");
    let (_origin, proxy) = stage(part).await;
    let request = get("/").with("Range", "bytes=0-1");
    proxy.send(&request).await;
    let second = proxy.send(&request).await;
    assert!(second.is_hit() && second.field("xkey").is_none(), "{second:?}");
    purge_tag(&proxy, "a", "hard").await;
    assert!(!proxy.send(&request).await.is_hit());
}

/// Tags are known only when the head comes; a purge may be older than that.
#[tokio::test]
async fn a_fill_begun_before_a_purge_of_its_tag_is_not_fresh_after_it() {
    for mode in ["soft", "hard"] {
        for headless in [false, true] {
            let gate = Gate::new();
            let before = if headless {
                ok("before!").gate(&gate)
            } else {
                ok("before").then(&gate).body("!")
            };
            let before = before.fresh(600).with("xkey", "a");
            let after = ok("after").fresh(600).with("xkey", "a");
            let (origin, proxy) = stages([before, after]).await;
            let filling = proxy.start_all(1, &get("/")).await;
            origin.arrived(1).await;
            purge_tag(&proxy, "a", mode).await;
            let meanwhile = proxy.start_all(1, &get("/")).await;
            if !headless {
                origin.arrived(2).await;
            }
            gate.open();
            assert_eq!(all(filling).await[0].text(), "before!", "its own client still gets it");
            assert_eq!(all(meanwhile).await[0].text(), "after", "{mode} {headless}");
            assert_eq!(proxy.get("/").await.text(), "after", "{mode} {headless}");
        }
    }
}

/// What the validation would take away was purged while it was under way.
#[tokio::test]
async fn a_304_does_not_save_from_a_purge_of_a_tag_that_it_takes_away() {
    let gate = Gate::new();
    let stored = ok("old").with("Cache-Control", "max-age=1").with("ETag", "\"1\"");
    let not_modified = status(304).gate(&gate).fresh(600).with("ETag", "\"1\"").with("xkey", "b");
    let answers = [stored.with("xkey", "a"), not_modified, ok("new").fresh(600)];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(2));
    let validating = proxy.start_all(1, &get("/")).await;
    origin.arrived(2).await;
    purge_tag(&proxy, "a", "hard").await;
    gate.open();
    all(validating).await;
    assert_eq!(proxy.get("/").await.text(), "new");
}

// RFC 9875 §3.
#[tokio::test]
async fn an_unsafe_request_invalidates_groups_of_its_origin_and_of_no_other() {
    let origin = Origin::start(|request| match &*request.method {
        "GET" | "HEAD" => {
            let group = if request.target == "/b" { "\"b\"" } else { "\"a\", \"x\";y" };
            let answer = ok("").fresh(600).with("Cache-Groups", group);
            answer.with("Cache-Group-Invalidation", "\"b\"")
        }
        _ if request.target == "/token" => status(200).with("Cache-Group-Invalidation", "a"),
        _ => status(200).with("Cache-Group-Invalidation", "\"x\", \"none\""),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let elsewhere = get("/a").with("Host", "other.test");
    proxy.send(&elsewhere).await;
    kept(&proxy, &["/a", "/b"]).await;
    assert_eq!(kept(&proxy, &["/a", "/b"]).await, [true, true], "a GET invalidates nothing");
    proxy.send(&post("/token", "")).await;
    assert_eq!(kept(&proxy, &["/a", "/b"]).await, [true, true], "a token is no string");
    proxy.send(&post("/form", "")).await;
    assert_eq!(kept(&proxy, &["/a", "/b"]).await, [false, true]);
    assert!(proxy.send(&elsewhere).await.is_hit());
    order(&proxy, r#"{"groups":["a"],"origin":"http://other.test","mode":"hard"}"#).await;
    assert!(!proxy.send(&elsewhere).await.is_hit());
    assert_eq!(kept(&proxy, &["/a", "/b"]).await, [true, true]);
    purge_tag(&proxy, "a", "hard").await;
    assert_eq!(kept(&proxy, &["/a", "/b"]).await, [true, true], "a group is no tag");
}

#[tokio::test]
async fn the_purge_method_takes_tags_in_place_of_its_url() {
    let (_origin, proxy) = tagging(&[]).await;
    let targets = ["/", "/a", "/b", "/c"];
    kept(&proxy, &targets).await;
    let purge =
        |name: &str, tags: &str| request("PURGE", "/").with(name, tags).with("Purge-Mode", "hard");
    let done = proxy.send(&purge("Surrogate-Key", "/a /b")).await;
    assert!(done.status == 200 && done.text().contains("\"sequence\":2"), "{done:?}");
    assert_eq!(kept(&proxy, &targets).await, [true, false, false, true]);
    proxy.send(&purge("Cache-Tag", "/a, /c")).await;
    assert_eq!(kept(&proxy, &targets).await, [true, false, true, false]);
    assert_eq!(proxy.send(&purge("Surrogate-Key", " ")).await.status, 400);
    assert_eq!(kept(&proxy, &targets).await, [true; 4], "no tag is not the URL");
}

#[tokio::test]
async fn the_command_purges_tags_and_purges_are_counted_by_kind() {
    let (_origin, proxy) = tagging(&[]).await;
    let targets = ["/a", "/b", "/c"];
    kept(&proxy, &targets).await;
    let admin = format!("http://{}", proxy.admin);
    let run = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(["purge", "--tag", "/a", "--tag", "/b", "--hard", "--admin", &admin]).output()
    });
    let output = within("the command", run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("/a, /b: removed (purge 2)"), "{output:?}");
    assert_eq!(kept(&proxy, &targets).await, [false, false, true]);
    proxy.purge("all", "", "soft").await;
    let metrics = proxy.ask_admin(&get("/metrics")).await;
    for (kind, count) in [("tag", 2), ("all", 1), ("group", 0), ("url", 0)] {
        let line = format!("seawall_purges_total{{kind=\"{kind}\"}} {count}");
        assert!(metrics.text().lines().any(|it| it == line), "{line}");
    }
}

#[tokio::test]
async fn tags_are_charged_to_the_budget() {
    let tags: Vec<String> = (0..500).map(|number| format!("tag:{number}")).collect();
    let bytes: usize = tags.iter().map(String::len).sum();
    let line = tags.join(" ");
    let origin = Origin::start(move |request| match &*request.target {
        "/tagged" => ok("").fresh(600).with("xkey", line.clone()),
        _ => ok("").fresh(600),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut used = vec![proxy.budget().used()];
    for target in ["/plain!", "/tagged"] {
        kept(&proxy, &[target, target]).await;
        used.push(proxy.budget().used());
    }
    // In the head, and where purges look for them with their ends.
    let more = (used[2] - used[1]) - (used[1] - used[0]);
    assert!(more > 2 * bytes + 500 * 4 && more < 2 * bytes + 500 * 6, "{more}");
}
