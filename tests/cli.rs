//! The program as operators run it: exit codes, start and end.

use std::path::PathBuf;
use std::process::Output;

use crate::support::*;

pub fn ended(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = seawall(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code(), said)
}

/// Where the admin listener is, by the line that tells of the start.
fn admin_of(log: &PathBuf) -> String {
    let said = std::fs::read_to_string(log).unwrap();
    let rest = said.split("admin on ").nth(1).unwrap();
    let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
    format!("http://{}", &rest[..end.unwrap_or(rest.len())])
}

#[test]
fn help_and_version_are_good_and_an_unknown_flag_is_a_usage_error() {
    assert_eq!(ended(&["--help"]).0, Some(0));
    assert_eq!(ended(&["--version"]).0, Some(0));
    assert_eq!(ended(&["serve", "--no-such-flag"]).0, Some(64));
    assert_eq!(ended(&["serve"]).0, Some(64), "there is no origin to serve");
}

#[test]
fn check_passes_the_shipped_files_and_names_every_fault_of_a_bad_one() {
    for file in ["config/seawall.toml", "config/examples/cache-tests.toml"] {
        let (code, said) = ended(&["check", "--config", file]);
        assert_eq!(code, Some(0), "{file}: {said}");
    }
    let file = temporary("bad.toml");
    std::fs::write(&file, "unheard_of = 1\n\n[server]\nthreads = \"many\"\n").unwrap();
    let name = file.to_str().unwrap();
    let (code, said) = ended(&["check", "--config", name]);
    assert_eq!(code, Some(1), "{said}");
    for place in [format!("{name}:1"), format!("{name}:4")] {
        assert!(said.contains(&place), "{place} in {said}");
    }
    assert_eq!(ended(&["serve", "--config", name]).0, Some(64));
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn check_runs_the_tests_beside_the_rules_and_shows_what_differs() {
    let file = temporary("tests.toml");
    let name = file.to_str().unwrap();
    let text = |lifetime: &str| {
        format!(
            "[upstream.shop]\nurl = \"http://127.0.0.1:9\"\n\
             [[rule]]\nname = \"api\"\nmatch = {{ path = \"/api/**\" }}\n\
             cache = {{ default_lifetime = \"60s\" }}\nkey = {{ drop_tracking = true }}\n\
             [[test]]\nname = \"the API lives for a minute\"\n\
             request = \"GET https://shop.example/api/x?utm_source=a&b=1\"\n\
             expect = {{ lifetime = \"{lifetime}\", rules = [\"api\"] }}\n\
             [[test]]\nrequest = \"https://shop.example/\"\n\
             response = {{ headers = {{ cache-control = \"private\" }} }}\n\
             expect = {{ stored = false, reason = \"private\" }}\n"
        )
    };
    std::fs::write(&file, text("60s")).unwrap();
    let (code, said) = ended(&["check", "--config", name]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 tests passed"), "{said}");
    std::fs::write(&file, text("2h")).unwrap();
    let (code, said) = ended(&["check", "--config", name]);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        &format!("{name}:8: the API lives for a minute"),
        "lifetime  expected \"2h\"  (line 11)",
        "got      \"1m\"",
        "miss: nothing is stored for the URL; to have it otherwise: ",
        "1 of 2 tests failed",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn explain_says_why_and_what_to_change() {
    let shop = |more: &[&str]| {
        let first = ["explain", "--config", "config/examples/shop.toml"];
        ended(&[&first[..], more].concat())
    };
    let url = "https://shop.example/products/x?utm_source=a&b=1";
    let (code, said) = shop(&["GET", url, "--response", "200", "--response", "etag: \"1\""]);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "rule           catalogue  config/examples/shop.toml:17",
        "setting        cache.default_lifetime = \"5m\"  by rule catalogue  ",
        "setting        cache.stale_if_error = \"1h\"  by [cache]  config/examples/shop.toml:15",
        "rule           missing  config/examples/shop.toml:25 does not count: match_response",
        "key            https://shop.example/products/x?b=1",
        "utm_source=a does not count: key.drop_tracking",
        "to the origin  GET /products/x?b=1",
        "stored         yes",
        "lifetime       300 s from `default`",
        "fresh          for 300 - 0 = 300 s, until ",
        "then stale     60 s more while it is refreshed",
        "then stale     3600 s more in place of an error",
        "next time      a hit, ttl=300",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let (code, said) = shop(&[url, "-H", "cookie: session=1"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("cache-off") && said.contains("otherwise      `enabled = true`"),
        "{said}"
    );
    let (code, said) = shop(&[url]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("stored         that depends on the origin's answer"), "{said}");
}

#[test]
fn explain_writes_json_and_reads_an_answer_from_a_file() {
    let file = temporary("answer");
    std::fs::write(&file, "HTTP/1.1 200 OK\r\nCache-Control: private\r\n\r\nbody").unwrap();
    let (name, url) = (file.to_str().unwrap(), "https://shop.example/");
    let shop = "config/examples/shop.toml";
    let (code, said) = ended(&["explain", "-c", shop, url, "--json", "--response-file", name]);
    assert_eq!(code, Some(0), "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["decision"]["stored"], false);
    assert_eq!(json["decision"]["reason"], "private");
    assert_eq!(json["rules"][0]["name"], "catalogue");
    assert_eq!(json["otherwise"], "change the origin's `Cache-Control`");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn explain_says_what_is_wrong_with_the_question() {
    let url = "https://shop.example/";
    for (arguments, why) in [
        (&["/a"][..], "GET https://shop.example/a?b=1"),
        (&["G,T", url], "`G,T` is not a method"),
        (&[url, "-H", "no colon"], "`no colon` is not a field"),
        (&[url, "-H", "host: a"], "the URL says the host"),
        (&[url, "--response", "status: 99"], "`99` is not a status"),
        (&[url, "--response", "what"], "`what` is neither a status nor a field"),
        (&[url, "--response-file", "/nowhere/at-all"], "cannot read /nowhere/at-all"),
        (&[url, "--client", "me"], "--client"),
        (&[url, "--no-such-flag"], "--no-such-flag"),
        (&[][..], "URL"),
    ] {
        let first = ["explain", "--config", "config/examples/shop.toml"];
        let (code, said) = ended(&[&first[..], arguments].concat());
        assert_eq!(code, Some(64), "{arguments:?}: {said}");
        assert!(said.contains(why), "{why} in {said}");
    }
    assert_eq!(ended(&["explain", "--config", "/nowhere/a.toml", url]).0, Some(64));
}

#[test]
fn what_the_settings_name_and_cannot_be_used_is_a_usage_error() {
    let file = temporary("pages.toml");
    let missing = temporary("no-such-page.html");
    let certificate = temporary("not-a-certificate.pem");
    std::fs::write(&certificate, "nothing").unwrap();
    let (missing_name, certificate_name) = (missing.display(), certificate.display());
    for text in [
        format!("[error_pages]\n502 = \"{missing_name}\"\n"),
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[listener.tls]\n\
             certificate = \"{certificate_name}\"\nkey = \"{certificate_name}\"\n"
        ),
        format!("[upstream_defaults]\nca = \"{certificate_name}\"\n"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let origin = ["--origin", "https://origin.example", "--admin-listen", "off"];
        let (code, said) =
            ended(&[&["serve", "--config", file.to_str().unwrap()], &origin[..]].concat());
        assert_eq!(code, Some(64), "{text}: {said}");
        assert!(said.contains("no-such-page") || said.contains("not-a-certificate"), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(&certificate).unwrap();
}

#[test]
fn an_address_that_is_taken_is_a_run_time_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = ended(&["serve", "--origin", "http://127.0.0.1:9", "--listen", &address]);
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[tokio::test]
async fn it_serves_with_nothing_but_an_origin_and_ends_well_on_sigterm() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match &*request.target {
        "/held" => ok("held").gate(&held),
        // The origin's clock is the tests'; the program's is the real one.
        _ => ok("body").fresh(3600).undated(),
    })
    .await;
    let url = format!("http://{}", origin.address);
    let mut served = Served::start("sigterm", &["--origin", &url]).await;
    for hit in [false, true] {
        let response = Client::connect(served.address).await.exchange(&get("/")).await;
        assert_eq!((response.text(), response.is_hit()), ("body", hit));
    }
    let mut client = Client::connect(served.address).await;
    client.send(get("/held").bytes()).await;
    origin.arrived(2).await;
    served.signal("TERM");
    gate.open();
    assert_eq!(client.exchange_rest().await.text(), "held", "what was accepted is finished");
    assert_eq!(served.code().await, Some(0));
}

#[tokio::test]
async fn preallocated_memory_is_there_before_the_first_request_and_is_what_fills_take() {
    const MEMORY: usize = 256 * 1024 * 1024;
    const OBJECT: usize = 64 * 1024;
    let origin = Origin::start(|_| ok("x".repeat(OBJECT)).fresh(3600).undated()).await;
    let file = temporary("preallocate.toml");
    let text = |preallocate: bool| {
        let text = format!(
            "[server]\nthreads = 1\n[upstream.origin]\nurl = \"http://{}\"\n\
             [cache]\nmemory = \"{MEMORY}B\"\npreallocate = {preallocate}\n",
            origin.address
        );
        std::fs::write(&file, text).unwrap();
    };
    let flags = ["--config", file.to_str().unwrap()];
    text(false);
    let without = Served::start("as-it-goes", &flags).await;
    assert!(without.resident() < MEMORY / 2, "{}", without.resident());

    text(true);
    let mut served = Served::start("preallocate", &flags).await;
    assert!(served.resident() >= MEMORY, "{}: {}", served.resident(), served.said());
    let name = std::fs::read_to_string(format!("/proc/{}/comm", served.child.id())).unwrap();
    assert_eq!(name, "seawall\n", "it is still found by its name");
    let mut client = Client::connect(served.address).await;
    client.exchange(&get("/first")).await;
    let before = served.faults();
    for n in 0..500 {
        assert!(!client.exchange(&get(&format!("/{n}"))).await.is_hit());
    }
    // Fresh memory would come by the page.
    let faults = served.faults() - before;
    assert!(faults < 500 * OBJECT / 4096 / 20, "{faults}");
    assert!(client.exchange(&get("/0")).await.is_hit());
    served.signal("TERM");
    assert_eq!(served.code().await, Some(0));

    // Who has said something else of the allocator is told what comes of it.
    let other = [("MIMALLOC_PURGE_DELAY", "10")];
    let served = Served::start_with("purged", &flags, &other).await;
    assert!(served.said().contains("no memory is preallocated"), "{}", served.said());
    assert!(served.said().contains("MIMALLOC_PURGE_DELAY"), "{}", served.said());
    assert!(served.resident() < MEMORY / 2, "{}", served.resident());
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let gate = Gate::new();
    let origin = Origin::answering(ok("never").gate(&gate)).await;
    let url = format!("http://{}", origin.address);
    let mut served = Served::start("twice", &["--origin", &url]).await;
    let mut client = Client::connect(served.address).await;
    client.send(get("/").bytes()).await;
    origin.arrived(1).await;
    served.signal("INT");
    // Draining has begun when nothing new is accepted.
    within("the end of accepting", async {
        while tokio::net::TcpStream::connect(served.address).await.is_ok() {}
    })
    .await;
    served.signal("INT");
    served.code().await;
}

#[tokio::test]
async fn the_access_log_is_reopened_on_sigusr1() {
    let origin = Origin::answering(ok("body")).await;
    let url = format!("http://{}", origin.address);
    let (log, moved) = (temporary("access.log"), temporary("access.log.1"));
    let file = temporary("access.toml");
    let text = format!("[access_log]\nformat = \"json\"\npath = \"{}\"\n", log.display());
    std::fs::write(&file, text).unwrap();
    let served =
        Served::start("usr1", &["--config", file.to_str().unwrap(), "--origin", &url]).await;
    let lines = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let mut client = Client::connect(served.address).await;
    client.exchange(&get("/before")).await;
    eventually("the first line", || lines(&log) == 1).await;
    std::fs::rename(&log, &moved).unwrap();
    served.signal("USR1");
    eventually("the new file", || log.exists()).await;
    client.exchange(&get("/after")).await;
    eventually("the line in the new file", || lines(&log) == 1).await;
    assert_eq!(lines(&moved), 1);
    let line: serde_json::Value =
        serde_json::from_str(std::fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert!(line.to_string().contains("/after"), "{line}");
    for path in [log, moved, file] {
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn sighup_and_the_command_reload_and_flags_stay_in_force() {
    let origin = Origin::answering(ok("body").fresh(3600).undated()).await;
    let file = temporary("reload.toml");
    let text = |lifetime: &str, more: &str| {
        let text = format!(
            "[upstream.origin]\nurl = \"http://{}\"\n[cache]\nmax_lifetime = \"{lifetime}\"\n{more}",
            origin.address
        );
        std::fs::write(&file, text).unwrap();
    };
    text("30s", "");
    let flags = ["--config", file.to_str().unwrap(), "--memory", "64MiB"];
    let served = Served::start("reload", &flags).await;
    let mut client = Client::connect(served.address).await;
    client.exchange(&get("/")).await;
    text("20s", "memory = \"32MiB\"\n");
    served.signal("HUP");
    within("the new lifetime", async {
        loop {
            let hit = client.exchange(&get("/")).await;
            assert!(hit.is_hit(), "it stays stored: {}", hit.cache_status());
            let (_, ttl) = hit.cache_status().split_once("ttl=").unwrap();
            let ttl: String = ttl.chars().take_while(char::is_ascii_digit).collect();
            if ttl.parse::<u32>().unwrap() <= 20 {
                break;
            }
        }
    })
    .await;

    let admin = admin_of(&served.log);
    let command = ["reload", "--admin", admin.as_str()];
    let (code, said) = ended(&command);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("configuration 3") && said.contains("nothing has changed"), "{said}");
    text("10s", "no_such_key = 1\n");
    let (code, said) = ended(&command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("reload.toml:5") && said.contains("in force"), "{said}");
    eventually("the lines in the log", || {
        let log = std::fs::read_to_string(&served.log).unwrap();
        log.contains("configuration reloaded")
            && log.contains("configuration not reloaded")
            && log.contains("no_such_key")
    })
    .await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_closed_terminal_ends_what_has_no_file() {
    let origin = Origin::answering(ok("body")).await;
    let url = format!("http://{}", origin.address);
    let mut served = Served::start("hangup", &["--origin", &url]).await;
    Client::connect(served.address).await.exchange(&get("/")).await;
    served.signal("HUP");
    assert_eq!(served.code().await, Some(0));
}

#[tokio::test]
async fn a_reload_moves_the_access_log_and_loses_no_line() {
    let origin = Origin::answering(ok("body")).await;
    let (first, second) = (temporary("first.log"), temporary("second.log"));
    let file = temporary("moved-log.toml");
    let write = |log: &PathBuf| {
        let (origin, log) = (origin.address, log.display());
        let text = format!(
            "[upstream.origin]\nurl = \"http://{origin}\"\n[access_log]\npath = \"{log}\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let lines = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    write(&first);
    let served = Served::start("moved-log", &["--config", file.to_str().unwrap()]).await;
    let mut client = Client::connect(served.address).await;
    client.exchange(&get("/before")).await;
    write(&second);
    served.signal("HUP");
    eventually("the new file", || second.exists()).await;
    eventually("the first line", || lines(&first) == 1).await;
    let mut sent = 0;
    while lines(&second) == 0 {
        client.exchange(&get("/after")).await;
        sent += 1;
    }
    eventually("all lines", || lines(&first) + lines(&second) == 1 + sent).await;
    for path in [first, second, file] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn config_prints_the_schema_and_the_default_file() {
    for (what, file) in [("schema", "config/schema.json"), ("default", "config/seawall.toml")] {
        let (code, said) = ended(&["config", what]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said, std::fs::read_to_string(file).unwrap(), "{what}");
    }
    assert_eq!(ended(&["check", "--defaults"]), ended(&["config", "default"]));
}

#[test]
fn config_show_says_who_said_so_and_can_be_read_again() {
    let file = temporary("show.toml");
    let name = file.to_str().unwrap();
    let text = "[upstream.a]\nurl = \"http://127.0.0.1:9\"\n[cache]\nkeep = \"2h\"\nwait = \"7s\"\n\
                [purge]\ntoken = \"0123456789abcdef\"\n";
    std::fs::write(&file, text).unwrap();
    let shown = |more: &[&str]| {
        let mut command = seawall(&[&["config", "show", "--config", name], more].concat());
        command.env("SEAWALL_MEMORY", "64MiB").env("SEAWALL_GRACE", "3s");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = shown(&["--grace", "9s"]);
    let by = |key: &str| {
        let line = said.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        let (value, by) = line.split_once('#').unwrap_or_default();
        format!("{} {}", value.trim(), by.trim())
    };
    assert_eq!(by("keep"), format!("keep = \"2h\" {name}:4"));
    assert_eq!(by("memory"), "memory = \"64MiB\" SEAWALL_MEMORY");
    assert_eq!(by("grace"), "grace = \"9s\" --grace", "a flag wins over its variable");
    assert_eq!(by("collapse"), "collapse = true default");
    assert!(!said.contains("0123456789abcdef"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&shown(&["--json"])).unwrap();
    let cache = json["tables"].as_array().unwrap().iter().find(|it| it["name"] == "cache");
    let settings = cache.unwrap()["settings"].as_array().unwrap();
    let wait = settings.iter().find(|it| it["key"] == "wait").unwrap();
    assert_eq!((&wait["value"], &wait["from"]), (&"7s".into(), &"file".into()));
    assert_eq!(wait["line"], 5);
    std::fs::write(&file, &said).unwrap();
    let (code, said) = ended(&["check", "--config", name]);
    assert_eq!(code, Some(0), "{said}");
    std::fs::write(&file, "[cache]\nkeeep = \"2h\"\n").unwrap();
    let (code, said) = ended(&["config", "show", "--config", name]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("did you mean `keep`?"), "{said}");
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn a_running_node_is_asked_what_it_would_do() {
    let origin = Origin::answering(ok("a").fresh(60).with("X-Odd", "a\u{9b}31m")).await;
    let url = format!("http://{}", origin.address);
    let served = Served::start("explained", &["--origin", &url]).await;
    let admin = admin_of(&served.log);
    let page = format!("http://{}/a?b=1", served.address);
    Client::connect(served.address)
        .await
        .exchange(&get("/a?b=1").with("Host", served.address.to_string()))
        .await;
    let ask = |more: &[&str]| {
        let arguments: Vec<String> = ["explain", "--admin", &admin, &page]
            .iter()
            .chain(more)
            .map(ToString::to_string)
            .collect();
        async move {
            tokio::task::spawn_blocking(move || {
                ended(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .await
            .unwrap()
        }
    };
    let (code, said) = ask(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "now            hit: answered from memory; configuration 1",
        "in memory      200, 1 bytes",
        "lifetime       60 s from `max-age`",
        "otherwise",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains('\u{9b}'), "nothing steers the terminal");
    let (code, said) =
        ask(&["--json", "-H", "cache-control: only-if-cached", "--client", "192.0.2.9"]).await;
    assert_eq!(code, Some(0), "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&json["live"]["would"], &json["client"]), (&"hit".into(), &"192.0.2.9".into()));
    assert_eq!(origin.count(), 1);
    for (wrong, why) in [
        (&["--origin", "http://a.test"][..], "settings of its own: leave --origin out"),
        (&["--config", "config/seawall.toml"], "settings of its own: leave --config out"),
        (&["--response", "200"], "cannot be used with"),
    ] {
        let (code, said) = ask(wrong).await;
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(why), "{why} in {said}");
    }
    assert_eq!(ended(&["explain", "http://a.test/"]).0, Some(64), "neither a file nor a node");
}
