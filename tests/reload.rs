//! Reloading: what a changed file changes, and that nobody notices but by the new rules.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::*;

/// A proxy with a file.
struct Configured {
    proxy: Proxy,
    file: PathBuf,
}

impl Configured {
    /// In front of `origin`, with `text` beside the upstream.
    async fn start(origin: &Origin, text: &str) -> Self {
        Self::whole(origin, &(upstream(origin) + text)).await
    }

    /// With `text` as the whole file.
    async fn whole(origin: &Origin, text: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("seawall-reload-{}-{number}.toml", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, text).unwrap();
        Self { proxy: Proxy::from_file(origin, &file).await, file }
    }

    /// Writes another file in its place, as editors do.
    fn write(&self, text: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    async fn reload(&self) -> (u16, Value) {
        self.reload_with(|request| request).await
    }

    async fn reload_with(&self, change: impl FnOnce(Request) -> Request) -> (u16, Value) {
        let asked = change(request("POST", "/reload").with("Content-Type", "application/json"));
        let response = self.proxy.ask_admin(&asked).await;
        (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
    }

    /// Writes and reloads what has to be good.
    async fn becomes(&self, text: &str) -> Value {
        self.write(text);
        let (status, answer) = self.reload().await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn state(&self) -> Value {
        let stats = self.proxy.ask_admin(&get("/stats")).await;
        serde_json::from_str::<Value>(stats.text()).unwrap()["config"].take()
    }

    async fn has_metric(&self, line: &str) -> bool {
        let metrics = self.proxy.ask_admin(&get("/metrics")).await;
        metrics.text().lines().any(|found| found == line)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn upstream(origin: &Origin) -> String {
    format!("[upstream.origin]\nurl = \"http://{}\"\n", origin.address)
}

#[tokio::test]
async fn the_next_request_on_the_same_connection_meets_the_new_rules() {
    let origin = Origin::answering(ok("a")).await;
    let configured = Configured::start(&origin, "").await;
    let mut client = configured.proxy.client().await;
    for _ in 0..2 {
        assert!(!client.exchange(&get("/")).await.is_hit());
    }
    let rule = "[[rule]]\nmatch = { path = \"/\" }\ncache = { default_lifetime = \"1m\" }\n";
    let answer = configured.becomes(&(upstream(&origin) + rule)).await;
    assert_eq!(answer, json!({ "generation": 2, "changed": ["[[rule]]"], "needs_restart": [] }));
    client.exchange(&get("/")).await;
    assert!(client.exchange(&get("/")).await.is_hit());
}

#[tokio::test]
async fn what_is_stored_stays_and_lives_as_long_as_the_new_rule_says() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let configured = Configured::start(&origin, "").await;
    configured.proxy.get("/").await;
    configured.becomes(&upstream(&origin)).await;
    let hit = configured.proxy.get("/").await;
    assert!(hit.is_hit() && hit.cache_status().contains("ttl=600"), "{}", hit.cache_status());
    assert_eq!(origin.count(), 1);

    let rule = "[cache]\nmax_lifetime = \"30s\"\n";
    let answer = configured.becomes(&(upstream(&origin) + rule)).await;
    assert_eq!(answer["changed"], json!(["[[route]] /"]));
    let hit = configured.proxy.get("/").await;
    assert!(hit.is_hit() && hit.cache_status().contains("ttl=30"), "{}", hit.cache_status());
    configured.proxy.advance(secs(31));
    assert!(!configured.proxy.get("/").await.is_hit());
}

#[tokio::test]
async fn a_faulty_file_changes_nothing_and_everybody_is_told() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let configured = Configured::start(&origin, "").await;
    configured.proxy.get("/").await;
    let state = configured.state().await;
    assert_eq!((&state["generation"], &state["last_reload_successful"]), (&json!(1), &json!(true)));

    let wrong = "[limits]\nmax_in_flight = 0\n[[rule]]\nmatch = { path = \"/(\", no = 1 }\n";
    configured.write(&(upstream(&origin) + wrong));
    let (status, answer) = configured.reload().await;
    assert_eq!(status, 422, "{answer}");
    let faults = answer["faults"].as_array().unwrap();
    assert!(faults.len() >= 2, "all of them: {answer}");
    assert_eq!((&faults[0]["line"], &faults[0]["column"]), (&json!(4), &json!(17)), "{answer}");
    assert!(answer["report"].as_str().unwrap().contains(".toml:4:17"), "{answer}");
    let state = configured.state().await;
    assert_eq!(
        (&state["generation"], &state["last_reload_successful"]),
        (&json!(1), &json!(false))
    );
    assert!(configured.has_metric("seawall_config_reloads_total{result=\"failure\"} 1").await);
    assert!(configured.has_metric("seawall_config_last_reload_successful 0.0").await);
    assert!(configured.proxy.get("/").await.is_hit());

    // What only using it finds out is as good a reason.
    configured
        .write(&(upstream(&origin) + "[access_log]\nformat = \"text\"\npath = \"/no/such/log\"\n"));
    assert_eq!(configured.reload().await.0, 200, "the flag says that there is no access log");
    configured.write(&(upstream(&origin) + "ca = \"Cargo.toml\"\n"));
    assert_eq!(configured.reload().await.0, 422);

    configured.becomes(&upstream(&origin)).await;
    assert!(configured.has_metric("seawall_config_last_reload_successful 1.0").await);
    assert!(configured.has_metric("seawall_config_reloads_total{result=\"success\"} 2").await);
}

#[tokio::test]
async fn a_configuration_whose_tests_fail_is_not_taken() {
    let origin = Origin::answering(ok("a")).await;
    let configured = Configured::start(&origin, "").await;
    let wrong = "[[test]]\nname = \"a page is kept\"\nrequest = \"http://a.test/\"\n\
                 response = 200\nexpect = { stored = true }\n";
    configured.write(&(upstream(&origin) + wrong));
    let (status, answer) = configured.reload().await;
    let report = answer["report"].as_str().unwrap();
    assert!(status == 422 && report.contains("a page is kept"), "{answer}");
    let right = "[[rule]]\ncache = { default_lifetime = \"1m\" }\n";
    configured.becomes(&(upstream(&origin) + right + wrong)).await;
    configured.proxy.get("/").await;
    assert!(configured.proxy.get("/").await.is_hit());
}

#[tokio::test]
async fn a_new_upstream_is_used_and_the_old_one_ends_what_it_has() {
    let gate = Gate::new();
    let first = Origin::answering(ok("old").gate(&gate)).await;
    let second = Origin::answering(ok("new")).await;
    let configured = Configured::start(&first, "").await;
    let mut client = configured.proxy.client().await;
    client.send(get("/").bytes()).await;
    first.arrived(1).await;
    let answer = configured.becomes(&upstream(&second)).await;
    assert_eq!(answer["changed"], json!(["[upstream.origin]"]));
    assert_eq!(configured.proxy.send(&post("/", "x")).await.text(), "new");
    gate.open();
    assert_eq!(client.exchange_rest().await.text(), "old");
    assert_eq!(client.exchange(&get("/")).await.text(), "new", "on the same connection");
    assert_eq!(first.count(), 1);
}

#[tokio::test]
async fn an_upstream_that_stays_keeps_its_connections() {
    let origin = Origin::answering(ok("a")).await;
    let configured = Configured::start(&origin, "").await;
    let mut client = configured.proxy.client().await;
    client.exchange(&get("/")).await;
    let more = "[upstream.other]\nurl = \"http://127.0.0.1:9\"\n[[route]]\npath = \"/other\"\n\
                upstream = \"other\"\n[[route]]\nupstream = \"origin\"\n";
    let answer = configured.becomes(&(upstream(&origin) + more)).await;
    assert_eq!(answer["changed"], json!(["[upstream.other] added", "[[route]] /other added"]));
    client.exchange(&get("/")).await;
    assert_eq!((origin.count(), origin.connections()), (2, 1));
    let metric = "seawall_upstream_connections_open{upstream=\"other\"} 0.0";
    assert!(configured.has_metric(metric).await);
}

#[tokio::test]
async fn a_route_that_is_gone_leads_nowhere() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let routes = |hosts: &[&str]| {
        let route = |host: &&str| format!("[[route]]\nhost = \"{host}\"\n");
        upstream(&origin) + &hosts.iter().map(route).collect::<String>()
    };
    let configured = Configured::whole(&origin, &routes(&["a.test", "b.test"])).await;
    let ask = |host: &str| get("/").with("Host", host);
    assert_eq!(configured.proxy.send(&ask("b.test")).await.status, 200);
    configured.becomes(&routes(&["a.test"])).await;
    // RFC 9110 §15.5.20, and stored or not makes no difference.
    assert_eq!(configured.proxy.send(&ask("b.test")).await.status, 421);
    assert_eq!(configured.proxy.send(&ask("a.test")).await.status, 200);
}

#[tokio::test]
async fn limits_access_and_tokens_are_those_of_the_new_file() {
    let gate = Gate::new();
    let origin = Origin::answering(ok("a").gate(&gate)).await;
    let secret = "[admin]\ntoken = \"the-first-of-two-tokens\"\n";
    let configured = Configured::start(&origin, secret).await;
    let bearer = |token: &'static str| {
        move |request: Request| request.with("Authorization", format!("Bearer {token}"))
    };
    let purge = request("PURGE", "/");
    assert_eq!(configured.reload().await.0, 401);
    assert_eq!(configured.proxy.send(&purge).await.status, 403);
    let mut held = configured.proxy.client().await;
    held.send(get("/held").bytes()).await;
    origin.arrived(1).await;

    let next = "[admin]\ntoken = \"the-second-of-two-tokens\"\n[purge]\nallow = [\"127.0.0.1\"]\n\
                [limits]\nmax_waiting = 1\nmax_uri_bytes = \"300B\"\n";
    configured.write(&(upstream(&origin) + next));
    let (status, answer) = configured.reload_with(bearer("the-first-of-two-tokens")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["changed"], json!(["[limits]", "[purge]", "[admin]"]));
    assert_eq!(configured.reload_with(bearer("the-first-of-two-tokens")).await.0, 401);
    assert_eq!(configured.proxy.send(&purge).await.status, 200);
    assert_eq!(configured.proxy.get(&format!("/{}", "x".repeat(400))).await.status, 414);
    assert_eq!(configured.proxy.get("/second").await.status, 503, "one waits, and no more may");
    gate.open();
    assert_eq!(held.exchange_rest().await.text(), "a");
    assert_eq!(configured.reload_with(bearer("the-second-of-two-tokens")).await.0, 200);
}

#[tokio::test]
async fn connections_that_come_are_within_the_new_limits() {
    let origin = Origin::answering(ok("a")).await;
    let configured = Configured::start(&origin, "").await;
    let mut old = configured.proxy.client().await;
    old.exchange(&get("/")).await;
    let next = "[limits]\nmax_header_bytes = \"8KiB\"\nmax_connections_per_client = 1\n";
    let answer = configured.becomes(&(upstream(&origin) + next)).await;
    assert_eq!(answer["changed"], json!(["[limits]"]));
    assert_eq!(answer["needs_restart"], json!([]));
    let large = get("/").with("X-Large", "x".repeat(10_000));
    let mut new = configured.proxy.client().await;
    assert_eq!(new.exchange(&large).await.status, 431);
    assert_eq!(old.exchange(&large).await.status, 200, "it began when that was allowed");
    let mut second = configured.proxy.client().await;
    let refused = second.try_exchange(&get("/")).await;
    assert!(refused.is_err() || new.try_exchange(&get("/")).await.is_err(), "one for each client");
}

// Which field speaks is decided when a response is stored, so it may have to be asked for again.
#[tokio::test]
async fn what_was_stored_by_a_dangerous_setting_goes_with_it() {
    let origin = Origin::answering(ok("a").fresh(600).with("Set-Cookie", "a=b")).await;
    let dangerous = "[[rule]]\ncache.store_set_cookie = true\n";
    let configured = Configured::start(&origin, dangerous).await;
    configured.proxy.get("/").await;
    assert!(configured.proxy.get("/").await.is_hit());
    configured.becomes(&upstream(&origin)).await;
    let response = configured.proxy.get("/").await;
    assert!(!response.is_hit(), "{}", response.cache_status());
    assert_eq!(origin.count(), 2);
}

// What was made for one, and given to all by leave of a rule, is nobody's without it.
#[tokio::test]
async fn what_was_shared_although_it_was_told_something_unkeyed_goes_with_the_leave() {
    let told = |seen: &Seen| ok(format!("{} {:?}", seen.target, seen.field("x-who"))).fresh(600);
    let origin = Origin::start(told).await;
    let rules = r#"
        [[rule]]
        match.path = "/edit"
        request = { set = { x-who = "{header.x-name}" }, share_unkeyed = true }
        [[rule]]
        match.path = "/query"
        key = { ignore_query = true, origin_sees_dropped = true }
        [[rule]]
        match.path = "/plain"
        request.share_unkeyed = true
    "#;
    let configured = Configured::start(&origin, rules).await;
    let proxy = &configured.proxy;
    for (target, again) in [("/edit", "/edit"), ("/query?for=me", "/query"), ("/plain", "/plain")] {
        proxy.send(&get(target).with("X-Name", "me")).await;
        assert!(proxy.get(again).await.is_hit(), "{again}");
    }
    configured.becomes(&upstream(&origin)).await;
    for (target, hit) in [("/edit", false), ("/query", false), ("/plain", true)] {
        let response = proxy.get(target).await;
        assert_eq!(response.is_hit(), hit, "{target} {}", response.cache_status());
        assert_eq!(response.text(), format!("{target} None"));
    }
}

#[tokio::test]
async fn what_is_stored_shows_its_tags_as_the_new_rules_say() {
    let origin = Origin::answering(ok("a").fresh(600).with("Surrogate-Key", "a")).await;
    let exposed = format!("{}[[rule]]\ntags.expose = true\n", upstream(&origin));
    let configured = Configured::start(&origin, "").await;
    let proxy = &configured.proxy;
    assert_eq!(proxy.get("/").await.field("surrogate-key"), None);
    for (file, tags) in [(&exposed, Some("a")), (&upstream(&origin), None)] {
        configured.becomes(file).await;
        for request in [get("/"), get("/").with("Range", "bytes=0-0"), head("/")] {
            let response = proxy.send(&request).await;
            assert!(response.is_hit());
            assert_eq!(response.field("surrogate-key"), tags);
        }
    }
}

#[tokio::test]
async fn what_needs_a_restart_is_told_and_the_rest_is_taken() {
    let origin = Origin::answering(ok("a")).await;
    let configured = Configured::start(&origin, "").await;
    let next =
        "[server]\nruntime = \"multi-thread\"\nname = \"new\"\n[cache]\nmemory = \"77MiB\"\n";
    let answer = configured.becomes(&(upstream(&origin) + next)).await;
    let held = json!(["[server] runtime", "[cache] memory"]);
    assert_eq!((&answer["changed"], &answer["needs_restart"]), (&json!(["[server]"]), &held));
    assert!(configured.proxy.get("/").await.cache_status().starts_with("new;"));
    assert_eq!(configured.state().await["needs_restart"], held);
    assert!(configured.has_metric("seawall_config_restart_needed 2.0").await);
    // Until it is taken back, or restarted.
    configured.becomes(&upstream(&origin)).await;
    assert_eq!(configured.state().await["needs_restart"], json!([]));
}

#[tokio::test]
async fn reloads_under_load_lose_no_request() {
    const RELOADS: u64 = 20;
    let origin = Origin::start(|request| match request.target.as_str() {
        "/hit" => ok("hit").fresh(600),
        _ => ok("miss"),
    })
    .await;
    let configured = Configured::start(&origin, "").await;
    configured.proxy.get("/hit").await;
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..4 {
        let (mut client, done) = (configured.proxy.client().await, Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            let (target, expected) =
                if number % 2 == 0 { ("/hit", "hit") } else { ("/miss", "miss") };
            let mut count = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let response = client.try_exchange(&get(target)).await.expect("kept alive");
                assert_eq!((response.status, response.text()), (200, expected));
                count += 1;
            }
            count
        }));
    }
    for number in 0..RELOADS {
        let rule = format!(
            "idle_timeout = \"{}s\"\n[cache]\nmax_lifetime = \"{}s\"\n",
            1 + number,
            60 + number
        );
        let answer = configured.becomes(&(upstream(&origin) + &rule)).await;
        assert_eq!(answer["generation"], json!(number + 2));
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.expect("no request was lost") > 0);
    }
}

#[tokio::test]
async fn a_watched_file_is_reloaded_when_it_changes() {
    let origin = Origin::answering(ok("a").fresh(600)).await;
    let text =
        |name: &str| format!("[server]\nwatch = \"5ms\"\nname = \"{name}\"\n") + &upstream(&origin);
    let configured = Configured::whole(&origin, &text("one")).await;
    for name in ["two", "three"] {
        configured.write(&text(name));
        within("the new name", async {
            while !configured.proxy.get("/").await.cache_status().starts_with(name) {}
        })
        .await;
    }
    // A fault is told once, not at each look.
    configured.write("nonsense");
    within("the fault", async {
        while !configured.has_metric("seawall_config_reloads_total{result=\"failure\"} 1").await {}
    })
    .await;
    configured.write(&text("four"));
    within("the new name", async {
        while !configured.proxy.get("/").await.cache_status().starts_with("four") {}
    })
    .await;
    assert!(configured.has_metric("seawall_config_reloads_total{result=\"failure\"} 1").await);
    assert!(configured.has_metric("seawall_config_reloads_total{result=\"success\"} 3").await);
}
