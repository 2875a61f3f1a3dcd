//! From text to settings, and from mistakes to reports.

mod edits;
mod effective;
mod every_key;
mod schema;
mod telling;

use std::path::Path;
use std::time::Duration;

use super::compile::compile;
use super::*;
use crate::key::HostPattern;

const ORIGIN: &str = "[upstream.origin]\nurl = \"http://127.0.0.1:9000\"\n";

fn variable(name: &str) -> Option<String> {
    (name == "GOOD_TOKEN").then(|| "0123456789abcdef0123".to_owned())
}

fn read_with(text: &str, overrides: &CliOverrides) -> Result<Settings, Faults> {
    let around = Surroundings { directory: Path::new("config"), variable, sketch: None };
    compile(text, around, overrides)
        .map_err(|faults| Faults::new(Some(Path::new("test.toml")), text.to_owned(), faults))
}

fn good(text: &str) -> Settings {
    read_with(&format!("{ORIGIN}{text}"), &CliOverrides::default())
        .unwrap_or_else(|faults| panic!("{faults}"))
}

/// Line, title and advice of every fault.
fn faults(text: &str) -> Vec<(usize, String, String)> {
    let faults = read_with(text, &CliOverrides::default()).expect_err("there are faults");
    let describe = |fault: &Fault| {
        let line = faults.position(fault).map_or(0, |(line, _)| line);
        (line, fault.title().to_owned(), fault.advice().unwrap_or_default().to_owned())
    };
    faults.list().iter().map(describe).collect()
}

#[track_caller]
fn only_fault(text: &str, line: usize, title: &str, advice: &str) {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].0, line, "{faults:?}");
    assert!(faults[0].1.contains(title), "{faults:?}");
    assert!(faults[0].2.contains(advice), "{faults:?}");
}

fn with_origin() -> CliOverrides {
    CliOverrides { origin: origin("http://127.0.0.1:9000").ok(), ..CliOverrides::default() }
}

#[test]
fn faults_of_tests_are_placed_and_say_what_to_write() {
    let test = |lines: &str| {
        format!(
            "{ORIGIN}[[rule]]\nname = \"api\"\ncache = {{ keep = \"7s\" }}\n[[test]]\n{lines}\n"
        )
    };
    let asks = "request = \"http://a.test/\"\n";
    for (lines, line, title, advice) in [
        (asks, 6, "expects nothing", "expect = { stored = true }"),
        ("expect = { hit = true }", 6, "asks for nothing", "request = "),
        ("request = \"/a\"\nexpect = { hit = true }", 7, "not an absolute URL", "GET https://"),
        (
            &format!("{asks}expect = {{ stoerd = true }}"),
            8,
            "has no key `stoerd`",
            "did you mean `stored`?",
        ),
        (
            &format!("{asks}expect = {{ reason = \"privat\" }}"),
            8,
            "is not a reason word",
            "did you mean `private`?",
        ),
        (
            &format!("{asks}expect = {{ rules = [\"apis\"] }}"),
            8,
            "there is no rule `apis`",
            "did you mean `api`?",
        ),
        (
            &format!("{asks}expect = {{ origin = {{ upstream = \"orgin\" }} }}"),
            8,
            "there is no upstream `orgin`",
            "did you mean `origin`?",
        ),
        (
            &format!("{asks}response = \"conect-failed\"\nexpect = {{ hit = true }}"),
            8,
            "no failure of an origin",
            "did you mean `connect-failed`?",
        ),
        (
            &format!("{asks}response = 99\nexpect = {{ hit = true }}"),
            8,
            "99 is out of range",
            "200 to 599",
        ),
        (
            &format!("{asks}then = [{{ aftr = \"1s\" }}]\nexpect = {{ hit = true }}"),
            8,
            "has no key `aftr`",
            "did you mean `after`?",
        ),
        (
            &format!(
                "{asks}response = {{ headers = {{ \"a b\" = \"c\" }} }}\nexpect = {{ hit = true }}"
            ),
            8,
            "is not a field name",
            "write its name",
        ),
        (
            &format!(
                "{asks}response = {{ body = \"a\", size = \"7B\" }}\nexpect = {{ hit = true }}"
            ),
            8,
            "say two things",
            "keep one",
        ),
        (
            "request = { url = \"http://a.test/\", headers = { host = \"b\" } }\nexpect = { hit = true }",
            7,
            "the URL says the host",
            "leave `host` out",
        ),
    ] {
        only_fault(&test(lines), line, title, advice);
    }
}

#[test]
fn tests_see_what_the_stack_does() {
    let settings = good(
        "[[rule]]\nname = \"a\"\nmatch = { path = \"/a\" }\ncache = { default_lifetime = \"60s\" }\n\
         [[test]]\nname = \"good\"\nrequest = \"http://a.test/a\"\nafter = \"59s\"\nexpect = { hit = true, rules = [\"a\"] }\n\
         [[test]]\nname = \"bad\"\nrequest = \"http://a.test/b\"\nexpect = { stored = true, hit = false }\n",
    );
    let report = settings.run_tests();
    assert_eq!((report.run, report.failures.len()), (2, 1), "{report:?}");
    let failure = &report.failures[0];
    assert_eq!((failure.name.as_deref(), failure.step), (Some("bad"), (1, 1)));
    let different: Vec<_> =
        failure.differences.iter().map(|it| (&*it.key, &*it.expected, &*it.got)).collect();
    assert_eq!(different, [("stored", "true", "false")]);
    assert_eq!(failure.reason.map(crate::context::Detail::word), Some("no-freshness"));
}

#[test]
fn the_default_file_means_the_defaults() {
    let none = read_with("", &with_origin()).unwrap();
    let mut file = read_with(&default_file(), &CliOverrides::default())
        .unwrap_or_else(|faults| panic!("{faults}"));
    assert!(file.admin.explicit, "a written address counts as asked for");
    file.admin.explicit = false;
    assert_eq!(file, none);
}

#[test]
fn the_shipped_file_is_the_default_file() {
    let shipped = include_str!("../../config/seawall.toml");
    let current = default_file();
    let differs =
        shipped.lines().zip(current.lines()).find(|(shipped, current)| shipped != current);
    let remedy = "run: seawall config default > config/seawall.toml";
    assert_eq!(differs, None, "{remedy}");
    assert_eq!(shipped.len(), current.len(), "{remedy}");
}

#[test]
fn the_documentation_has_every_key() {
    let document = include_str!("../../docs/configuration.md");
    for (section, table) in key_tables() {
        assert!(document.contains(&table), "docs/configuration.md needs for [{section}]:\n{table}");
    }
}

#[test]
fn the_conformance_profile_is_good() {
    let profile = include_str!("../../config/examples/cache-tests.toml");
    let settings = read_with(profile, &with_origin()).unwrap_or_else(|faults| panic!("{faults}"));
    let policy = &settings.proxy.routes[0].cache.policy;
    assert!(
        policy.store_set_cookie && policy.heuristic.is_some() && policy.normalize_accept_language
    );
    assert_eq!(
        settings.upstreams[0].unknown_transfer_coding,
        upstream::UnknownTransferCoding::ReadToClose
    );
}

#[test]
fn every_fault_is_reported_at_once_and_in_order() {
    let text = "\
[server]
grace = 30
threds = 2
[[listener]]
address = \"localhost:80\"
[upstream.origin]
url = \"127.0.0.1:9000\"
[[route]]
upstream = \"orgin\"
[cache]
memory = \"512M\"
max_lifetime = \"1h\"
min_lifetime = \"2h\"
[trust]
proxies = [\"10.0.0.1/8\", \"all\"]
[cahce]
";
    let lines: Vec<_> = faults(text).into_iter().map(|(line, ..)| line).collect();
    assert_eq!(lines, [2, 3, 5, 7, 9, 11, 13, 15, 15, 16]);
}

#[test]
fn a_report_shows_the_place_and_the_remedy() {
    let report =
        read_with(&format!("{ORIGIN}[cache]\nmemroy = \"1GiB\"\n"), &CliOverrides::default());
    let report = report.expect_err("a fault").to_string();
    assert!(report.contains("test.toml:4:1"), "{report}");
    assert!(report.contains("memroy = \"1GiB\""), "{report}");
    assert!(report.contains("^^^^^^ unknown key"), "{report}");
    assert!(report.contains("help: did you mean `memory`?"), "{report}");
    assert!(report.ends_with("1 fault in the configuration"), "{report}");
    assert!(!report.contains('\u{1b}'), "plain text has no escapes");
}

#[test]
fn broken_toml_is_reported_in_the_same_form() {
    let faults = faults("[server]\ngrace = \n[log\nlevel = \"info\"\n");
    assert_eq!(faults.iter().map(|fault| fault.0).collect::<Vec<_>>(), [2, 3], "{faults:?}");
    assert!(faults[0].1.starts_with("this is not TOML"), "{faults:?}");
    only_fault("a = 1\na = 2\n", 2, "duplicate key", "");
}

#[test]
fn misplaced_keys_are_sent_home() {
    only_fault(
        &format!("memory = \"1GiB\"\n{ORIGIN}"),
        1,
        "no section [memory]",
        "belongs in [cache]",
    );
    only_fault(
        &format!("{ORIGIN}[server]\nmax_connections = 5\n"),
        4,
        "no key",
        "belongs in [limits]",
    );
    only_fault(
        &format!("{ORIGIN}[[route]]\n[route.cache]\nmemory = \"1GiB\"\n"),
        5,
        "no key",
        "belongs in [cache]",
    );
    only_fault(&format!("{ORIGIN}[log]\nzzz = 1\n"), 4, "no key", "its keys are: level, format");
}

#[test]
fn values_say_what_they_should_be() {
    for (section, line, title, advice) in [
        ("cache", "enabled = \"yes\"", "expected a boolean, found a string", "true or false"),
        ("cache", "memory = 512", "needs a unit", "\"512B\""),
        ("cache", "max_object_size = -1", "cannot be negative", ""),
        ("cache", "memory = \"1KiB\"", "out of range", "1.0 MiB"),
        ("cache", "wait = \"2h\"", "out of range", "1h"),
        ("cache", "negative = { 200 = \"1s\" }", "not the status of an error", "\"404\""),
        ("cache", "negative = { 400 = \"1s\" }", "never stored by configuration", "max-age"),
        ("cache", "heuristic_fraction = 2.0", "out of range", "0.1"),
        ("cache", "request_directives = \"yes\"", "not one of the choices", "\"honour\""),
        ("cache", "request_directives = \"trusted\"", "nobody is trusted", "[trust]"),
        ("cache", "max_object_size = \"128MiB\"", "a quarter of memory", "64.0 MiB"),
        ("limits", "max_streams = -1", "out of range", "from 1 to"),
        (
            "limits",
            "max_streams = 99999999999999999999999999999999999999999",
            "out of range",
            "from 1 to",
        ),
        ("limits", "max_body_bytes = \"many\"", "not a size", "MiB"),
        ("admin", "address = \"0.0.0.0:9180\"", "other machines", "token_file"),
        ("admin", "address = \"127.0.0.1:8080\"", "share", "another port"),
        ("admin", "token = \"short\"", "16 visible", "openssl"),
        ("admin", "token_env = \"MISSING\"", "not set", "token_file"),
        ("purge", "token_file = \"missing\"", "cannot read", "relative paths"),
        ("log", "level = \"verbose\"", "not a log level", "debug"),
        ("error_pages", "502 = \"missing.html\"", "cannot read", "relative paths"),
        ("error_pages", "200 = \"x\"", "not the status of an error", "400 to 599"),
        ("route", "path = \"/\"", "found a table", "[[route]]"),
    ] {
        let at = if section == "route" { 3 } else { 4 };
        only_fault(&format!("{ORIGIN}[{section}]\n{line}\n"), at, title, advice);
    }
}

#[test]
fn upstreams_are_checked_as_a_whole() {
    let upstream =
        |lines: &str| format!("[upstream.origin]\nurl = \"http://127.0.0.1:9000\"\n{lines}\n");
    only_fault(&upstream("sni = \"a.test\""), 3, "plain http", "https://");
    only_fault(&upstream("total_timeout = \"1s\""), 3, "less time than connecting", "longer");
    only_fault("[upstream.origin]\nverify = false\n", 1, "has no url", "add url");
    only_fault("[upstream]\nurl = \"http://a.test\"\n", 2, "`url` is none", "[upstream.origin]");
    only_fault("", 0, "nothing to protect", "--origin");
}

#[test]
fn routes_name_upstreams_and_can_be_reached() {
    let text = format!("{ORIGIN}[upstream.other]\nurl = \"https://a.test\"\nhost = \"upstream\"\n");
    only_fault(&text, 0, "no route says", "[[route]]");
    only_fault(&format!("{text}[[route]]\n"), 6, "names no upstream", "origin, other");
    only_fault(
        &format!("{text}[[route]]\nupstream = \"othr\"\n"),
        7,
        "no upstream named",
        "did you mean `other`?",
    );
    let shadowed =
        "[[route]]\nupstream = \"other\"\n[[route]]\nupstream = \"origin\"\npath = \"/api\"\n";
    only_fault(&format!("{text}{shadowed}"), 8, "never reached", "more specific route first");
    let routes = "[[route]]\nhost = \"*.A.test\"\npath = \"/api/\"\nupstream = \"other\"\n[route.cache]\nwait = \"5s\"\n[[route]]\nupstream = \"origin\"\n[cache]\nwait = \"9s\"\nkeep = \"2h\"\n";
    let settings = read_with(&format!("{text}{routes}"), &CliOverrides::default()).unwrap();
    let [first, second] = settings.proxy.routes.as_slice() else { panic!("two routes") };
    assert_eq!(first.host, Some(HostPattern::Below("a.test".to_owned())));
    assert_eq!(
        (first.path.as_str(), first.name.as_str(), first.upstream),
        ("/api", "*.a.test/api", 1)
    );
    assert_eq!(
        (first.cache.wait, second.cache.wait),
        (Duration::from_secs(5), Duration::from_secs(9))
    );
    assert_eq!(first.cache.policy.keep, Duration::from_secs(7200), "inherited from [cache]");
}

#[test]
fn upstream_defaults_hold_for_every_upstream_and_for_the_flag() {
    let text = format!(
        "[upstream_defaults]\nmax_idle = 7\nconnect_timeout = \"2s\"\n{ORIGIN}max_idle = 9\n"
    );
    let settings = read_with(&text, &CliOverrides::default()).unwrap();
    assert_eq!(
        (settings.upstreams[0].max_idle, settings.upstreams[0].connect_timeout),
        (9, Duration::from_secs(2))
    );
    let flags = CliOverrides { origin: origin("https://b.test").ok(), ..CliOverrides::default() };
    let settings = read_with(&text, &flags).unwrap();
    assert_eq!((settings.upstreams[0].max_idle, settings.upstreams[0].port), (7, 443));
}

#[test]
fn flags_win_over_the_file() {
    let text = format!(
        "{ORIGIN}[[listener]]\naddress = \"127.0.0.1:1\"\n[cache]\nmemory = \"512MiB\"\n[admin]\naddress = \"127.0.0.1:2\"\n"
    );
    let flags = CliOverrides {
        listen: vec![([127, 0, 0, 1], 0).into()],
        admin_listen: Some(Toggled::Off),
        memory: Some(1 << 25),
        default_lifetime: Some(Duration::from_secs(30)),
        ..with_origin()
    };
    let settings = read_with(&text, &flags).unwrap();
    assert_eq!(settings.server.listeners[0].address.port(), 0);
    assert_eq!(settings.admin.address, None);
    assert_eq!(settings.store.memory, 1 << 25);
    let cache = &settings.proxy.routes[0].cache;
    assert_eq!(cache.policy.default_lifetime, Duration::from_secs(30));
    assert_eq!(cache.max_object_size, 1 << 23, "the default follows a small memory");
}

#[test]
fn flags_can_contradict_each_other() {
    let flags =
        CliOverrides { memory: Some(1 << 24), max_object_size: Some(1 << 30), ..with_origin() };
    let report = read_with("", &flags).expect_err("a fault").to_string();
    assert!(report.contains("a quarter of memory"), "{report}");
    let open =
        CliOverrides { admin_listen: Some(Toggled::On(([0, 0, 0, 0], 1).into())), ..with_origin() };
    assert!(read_with("", &open).is_err());
    let empty = CliOverrides { admin_token: Some(String::new()), ..open.clone() };
    assert!(read_with("", &empty).is_err(), "an empty token is none");
    let locked = CliOverrides { admin_token: Some("0123456789abcdef".to_owned()), ..open };
    assert!(read_with("", &locked).is_ok());
}

#[test]
fn tokens_come_from_one_place() {
    let settings = good("[admin]\ntoken_env = \"GOOD_TOKEN\"\naddress = \"0.0.0.0:1\"\n");
    assert_eq!(settings.admin.token.as_deref(), Some("0123456789abcdef0123"));
    let both =
        format!("{ORIGIN}[purge]\ntoken_env = \"GOOD_TOKEN\"\ntoken = \"0123456789abcdef\"\n");
    only_fault(&both, 4, "both give a token", "leave one");
}

#[test]
fn listeners_are_distinct_and_https_has_certificates() {
    let twice =
        "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n";
    only_fault(&format!("{ORIGIN}{twice}"), 6, "already", "leave one");
    only_fault(&format!("{ORIGIN}[[listener]]\nhttp2 = false\n"), 3, "no address", "add address");
    let tls = "[[listener]]\naddress = \"127.0.0.1:1\"\n[listener.tls]\nmin_version = \"1.3\"\n";
    only_fault(&format!("{ORIGIN}{tls}"), 5, "no certificates", "add certificates");
    let missing = "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = { certificates = [{ certificate = \"no.pem\" }] }\n";
    only_fault(&format!("{ORIGIN}{missing}"), 5, "cannot read config/no.pem", "relative paths");
}

#[test]
fn a_file_of_faults_does_not_fill_the_screen() {
    let text = format!("{ORIGIN}{}", "[[route]]\npath = 1\n".repeat(60));
    let faults = read_with(&text, &CliOverrides::default()).expect_err("faults");
    let report = faults.to_string();
    assert_eq!(report.matches("error: ").count(), 50);
    assert!(report.ends_with(&format!("{} faults in the configuration", faults.list().len())));
}

#[test]
fn a_missing_file_is_a_fault() {
    let sources =
        Sources { file: Some("does/not/exist.toml".into()), overrides: CliOverrides::default() };
    let report = load(&sources).expect_err("a fault").to_string();
    assert!(report.contains("cannot read the configuration file does/not/exist.toml"), "{report}");
}

proptest::proptest! {
    #[test]
    fn no_file_panics(text in "(\\[{1,2}(cache|route|listener|upstream|upstream.a|admin)\\]{1,2}\n|[a-z_]{1,8} = (1|\"1s\"|\\[\\]|\\{\\}|true|1e9)\n|\\PC){0,12}") {
        if let Err(faults) = read_with(&text, &CliOverrides::default()) {
            proptest::prop_assert!(!faults.list().is_empty());
            let _ = faults.render(true);
        }
    }
}

#[test]
fn faulty_rules_are_placed_and_explained() {
    let cases = [
        ("[[rule]]\nmatch = { path = \"/a\" }", 1, "sets nothing", "default_lifetime"),
        ("[[rule]]\ncache = { kep = \"1h\" }", 2, "no key `kep`", "did you mean `keep`?"),
        ("[[rule]]\ncache = { memory = \"1GiB\" }", 2, "no key `memory`", "keys are"),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch.pth = \"/\"", 3, "no key `pth`", "`path`"),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch.path = \"/a{\"", 3, "not a pattern", "\\"),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch.path = \"a/*\"", 3, "slash", "\"/a/*\""),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch.path = \"/a?b\"", 3, "query", "query"),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch.path_regex = \"(\"", 3, "unclosed group", ""),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch.method = \"get\"", 3, "not a method", "GET"),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch.header = { \"a b\" = true }", 3, "field name", ""),
        ("[[rule]]\ntags.spaced = [\"Content-Type\"]", 2, "another meaning", "of its own"),
        ("[[rule]]\ntags.listed = [\"a b\"]", 2, "not a field name", ""),
        ("[[rule]]\ntags.add = [\"a:{path.0}\"]", 2, "`{path.0}` stands for nothing", "names"),
        ("[[rule]]\ntags.add = [\"a:{path\"]", 2, "brace", "close it"),
        ("[[rule]]\ntags.add = [\"a:{client}\"]", 2, "can't have `{client}`", "{path.2}"),
        ("[[rule]]\ntags.adds = [\"a\"]", 2, "no key `adds`", "did you mean `add`?"),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch.any = []", 3, "matches nothing", ""),
        (
            "[[rule]]\ncache.keep = \"1h\"\nmatch_response.status = 700",
            3,
            "700 is out of range",
            "100 to 599",
        ),
        ("[[rule]]\ncache.keep = \"1h\"\nmatch_response.not = {}", 3, "nothing is asked", "leave"),
        (
            "[[rule]]\nmatch_response.status = 404\ncache.enabled = false",
            3,
            "before there is a response",
            "without match_response",
        ),
    ];
    for (text, line, title, advice) in cases {
        let below = ORIGIN.lines().count();
        only_fault(&format!("{ORIGIN}{text}\n"), below + line, title, advice);
    }
    for (key, inner) in [("match", "{ method = \"GET\" }"), ("match_response", "{ status = 200 }")]
    {
        let deep = format!("{}{inner}{}", "{ not = ".repeat(9), " }".repeat(9));
        let text = format!("{ORIGIN}[[rule]]\ncache.keep = \"1h\"\n{key} = {deep}");
        only_fault(&text, 5, "too deep", "");
    }
}
