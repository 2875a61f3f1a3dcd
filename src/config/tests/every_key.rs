//! Every key has an effect, and one of its own: a key that set a field of another key would go
//! unnoticed while both stand at their defaults.

use super::*;
use crate::config::sections;

/// For every key, a value other than its default.
pub(super) const CHANGES: &[(&str, &[&str])] = &[
    (
        "[server]",
        &[
            "threads = 77",
            "runtime = \"multi-thread\"",
            "grace = \"77s\"",
            "name = \"node-77\"",
            "watch = \"7s\"",
        ],
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:77\"",
        &["http2 = false", "proxy_protocol_from = [\"192.0.2.7\"]"],
    ),
    (
        "[limits]",
        &[
            "max_connections = 77",
            "max_connections_per_client = 77",
            "max_in_flight = 77",
            "max_waiting = 77",
            "max_in_flight_per_client = 77",
            "max_streams = 77",
            "max_header_bytes = \"77KiB\"",
            "max_headers = 77",
            "max_uri_bytes = \"7KiB\"",
            "max_body_bytes = \"77KiB\"",
            "body_timeout = \"77s\"",
            "min_rate = 77",
            "handshake_timeout = \"77s\"",
            "header_timeout = \"77s\"",
            "idle_timeout = \"77s\"",
            "write_timeout = \"77s\"",
        ],
    ),
    ("[trust]", &["proxies = [\"192.0.2.7\"]"]),
    (
        "[upstream_defaults]",
        &[
            "host = \"upstream\"",
            "host = \"a.test\"",
            "sni = \"a.test\"",
            "version = \"2\"",
            "version = \"auto\"",
            "verify = false",
            "ca = \"CERTIFICATE\"",
            "connect_timeout = \"7s\"",
            "first_byte_timeout = \"7s\"",
            "between_bytes_timeout = \"7s\"",
            "total_timeout = \"77s\"",
            "idle_timeout = \"7s\"",
            "max_idle = 7",
            "max_requests = 7",
            "queue_timeout = \"7s\"",
            "resolve_interval = \"7s\"",
            "retry_reused = \"unsent\"",
            "unknown_transfer_coding = \"read-to-close\"",
            "max_response_head = \"77KiB\"",
        ],
    ),
    (
        "[[route]]",
        &[
            "host = \"a.test\"",
            "host = \"*.a.test\"",
            "path = \"/a\"",
            "cache = { keep = \"77s\" }",
        ],
    ),
    (
        "[[rule]]\ncache = { keep = \"7s\" }",
        &[
            "name = \"a\"",
            "match = { path = \"/a\" }",
            "match_response = { status = 404 }",
            "class = { login = \"yes\" }",
        ],
    ),
    (
        "[[rule]]\ncache = { keep = \"7s\" }\n[rule.match]",
        &[
            "host = \"a.test\"",
            "path = \"/b\"",
            "path_regex = \"b\"",
            "method = \"PUT\"",
            "scheme = \"http\"",
            "header = { x-a = \"a*\" }",
            "cookie = { a = false }",
            "query = { a = [\"b\", \"c\"] }",
            "client = \"192.0.2.7\"",
            "all = [{ method = \"GET\" }]",
            "any = [{ method = \"GET\" }]",
            "not = { method = \"GET\" }",
        ],
    ),
    (
        "[[rule]]\ncache = { keep = \"7s\" }\n[rule.match_response]",
        &[
            "status = [201, \"300-399\"]",
            "content_type = \"image/*\"",
            "header = { x-a = { regex = \"a+\" } }",
            "min_size = \"7KiB\"",
            "max_size = \"7KiB\"",
            "not = { status = 200 }",
        ],
    ),
    (
        "[[rule]]\ncache = { keep = \"7s\" }\n[rule.key]",
        &[
            "ignore_query = true",
            "keep_query = [\"a\"]",
            "drop_query = [\"b\"]",
            "drop_tracking = true",
            "sort_query = true",
            "origin_sees_dropped = true",
            "headers = [\"accept-language\"]",
            "cookies = [\"currency\"]",
            "host = \"shop.test\"",
        ],
    ),
    (
        "[[rule]]\ncache = { keep = \"7s\" }\n[rule.tags]",
        &[
            "spaced = [\"x-tags\"]",
            "listed = [\"x-tags\"]",
            "groups = false",
            "add = [\"a:{path.1}\"]",
            "expose = true",
        ],
    ),
    (
        "[[rule]]\ncache = { keep = \"7s\" }\n[rule.access]",
        &[
            "allow = [\"192.0.2.7\"]",
            "deny = [\"192.0.2.7\"]",
            "users = \"USERS\"",
            "realm = \"a\"",
            "pass_authorization = true",
        ],
    ),
    ("[[rule]]\n[rule.redirect]\nto = \"/a\"", &["status = 301", "keep_query = false"]),
    (
        "[[rule]]\n[rule.respond]",
        &["status = 404", "body = \"a\"", "body_file = \"USERS\"", "content_type = \"a/b\""],
    ),
    (
        "[[rule]]\ncache = { keep = \"7s\" }\n[rule.request]",
        &[
            "set = { x-a = \"{host}\" }",
            "add = { x-b = [\"1\", \"2\"] }",
            "remove = [\"x-c\"]",
            "client_address = \"x-d\"",
            "path = { strip = \"/a\" }",
            "share_unkeyed = true",
        ],
    ),
    (
        "[[rule]]\ncache = { keep = \"7s\" }\n[rule.response]",
        &["set = { x-a = \"{client}\" }", "add = { x-b = \"1\" }", "remove = \"x-c\""],
    ),
    (
        "[[test]]\nrequest = \"GET http://a.test/\"\nexpect = { hit = false }",
        &[
            "name = \"a\"",
            "then = [{ expect = { hit = true } }]",
            "response = 404",
            "response = \"connect-failed\"",
            "response = { headers = { a = \"b\" } }",
            "after = \"7s\"",
        ],
    ),
    (
        "[[test]]\nexpect = { hit = false }\n[test.request]\nurl = \"http://b.test/\"",
        &["method = \"PUT\"", "headers = { a = [\"b\", \"c\"] }", "client = \"192.0.2.7\""],
    ),
    (
        "[[test]]\nrequest = \"http://c.test/\"\nexpect = { hit = false }\n[test.response]",
        &["status = 404", "headers = { a = \"b\" }", "body = \"a\"", "size = \"7B\""],
    ),
    (
        "[[test]]\nrequest = \"http://d.test/\"\n[test.expect]\nstored = true",
        &[
            "reason = \"private\"",
            "rules = []",
            "key = \"a\"",
            "tags = [\"a\"]",
            "lifetime = \"7s\"",
            "hit = true",
            "stale = true",
            "variants = 7",
            "status = 404",
            "cache_status = \"a*\"",
            "headers = { a = true }",
            "body = \"\"",
            "origin = { requests = 7 }",
        ],
    ),
    (
        "[[test]]\nrequest = \"http://e.test/\"\n[test.expect.origin]\nrequests = 7",
        &["upstream = \"origin\"", "method = \"GET\"", "target = \"/\"", "headers = { a = false }"],
    ),
    (
        "[cache]\nheuristic = true",
        &[
            "memory = \"77MiB\"",
            "preallocate = true",
            "optimise = \"bytes\"",
            "max_variants = 7",
            "enabled = false",
            "lookup = false",
            "store = false",
            "max_object_size = \"7MiB\"",
            "default_lifetime = \"7s\"",
            "lifetime = \"0s\"",
            "lifetimes = { 200 = \"7s\" }",
            "min_lifetime = \"7s\"",
            "max_lifetime = \"7s\"",
            "browser_ttl = \"0s\"",
            "jitter = 0.7",
            "early_refresh = 0.7",
            "heuristic_fraction = 0.7",
            "heuristic_max = \"7s\"",
            "heuristic_error_statuses = true",
            "negative = { 404 = \"7s\" }",
            "stale_while_revalidate = \"7s\"",
            "stale_if_error = \"7s\"",
            "stale_when_disconnected = \"7s\"",
            "keep = \"7s\"",
            "hit_for_miss = \"7s\"",
            "collapse = false",
            "wait = \"7s\"",
            "ranges = \"fill\"",
            "protect = \"origin\"",
            "fill_grace = \"7s\"",
            "stall_timeout = \"7s\"",
            "window = \"77KiB\"",
            "request_directives = \"honour\"",
            "targeted = false",
            "surrogate_control = true",
            "x_accel_expires = true",
            "store_set_cookie = true",
            "share_authorized = true",
            "serve_forbidden_stale = true",
            "no_vary_search = true",
            "accept_short_partial = true",
            "not_modified_without_last_modified = true",
            "complete_partial_without_validator = true",
            "accept_encoding = \"as-is\"",
            "accept_encoding = \"identity\"",
            "normalize_accept_language = true",
            "compress = [\"br\", \"gzip\"]",
            "compress_levels = { br = 7 }",
            "compress_min_size = \"7KiB\"",
            "compress_types = [\"text/*\"]",
        ],
    ),
    (
        "[redis]\nurl = \"redis://a.test\"",
        &[
            "username = \"ann\"",
            "password = \"0123456789abcdef\"",
            "password_env = \"GOOD_TOKEN\"",
            "password_file = \"TOKEN\"",
            "ca = \"CERTIFICATE\"",
            "namespace = \"shop\"",
            "lookup_budget = \"7ms\"",
            "lease_wait = \"7s\"",
            "max_object_size = \"7KiB\"",
            "write_at_once = \"7KiB\"",
            "queue = \"77KiB\"",
            "queue_items = 7",
            "max_unsynced = \"7s\"",
            "preload = 7",
        ],
    ),
    (
        "[redis]",
        &[
            "cluster = [\"redis://a.test\", \"redis://b.test:7\"]",
            "sentinel = { primary = \"shop\", urls = [\"redis://a.test\", \"redis://b.test:7\"] }",
        ],
    ),
    (
        "[redis.sentinel]\nprimary = \"shop\"\nurls = [\"redis://a.test\"]",
        &[
            "tls = true",
            "database = 7",
            "username = \"ann\"",
            "password = \"0123456789abcdef\"",
            "password_env = \"GOOD_TOKEN\"",
            "password_file = \"TOKEN\"",
        ],
    ),
    (
        "[purge]",
        &[
            "allow = [\"192.0.2.7\"]",
            "token = \"0123456789abcdef\"",
            "token_env = \"GOOD_TOKEN\"",
            "token_file = \"TOKEN\"",
            "refresh_rate = 7",
            "refresh_concurrency = 7",
        ],
    ),
    (
        "[admin]",
        &[
            "address = \"off\"",
            "token = \"0123456789abcdef\"",
            "token_env = \"GOOD_TOKEN\"",
            "token_file = \"TOKEN\"",
        ],
    ),
    ("[debug]", &["allow = [\"192.0.2.7\"]"]),
    ("[access_log]", &["format = \"json\"", "format = \"off\"", "path = \"a.log\""]),
    ("[log]", &["level = \"debug\"", "format = \"json\""]),
];

/// Keys whose only effect is on other keys, or that `CHANGES` holds in a header.
const ELSEWHERE: &[&str] = &[
    "tls", "sentinel", "cluster", "upstream", "key", "tags", "access", "redirect", "respond",
    "request", "response",
];

#[test]
fn every_key_changes_something_of_its_own() {
    let files = Files::new("keys");
    let mut seen: Vec<(String, Settings)> = Vec::new();
    for (header, lines) in CHANGES {
        let unchanged = good(header);
        for line in *lines {
            let text = format!("{header}\n{}\n", files.named(line));
            let settings = good(&text);
            assert_ne!(settings, unchanged, "no effect: {text}");
            if let Some((twin, _)) = seen.iter().find(|(_, other)| *other == settings) {
                // Where a token comes from makes no difference to what it is.
                let secret = ["token", "password"];
                let same = |word: &&str| text.contains(word) && twin.contains(word);
                assert!(secret.iter().any(same), "{text} means {twin}");
            }
            seen.push((text, settings));
        }
    }
}

#[test]
fn no_key_is_forgotten() {
    for section in sections::all() {
        if matches!(section.name, "listener.tls" | "upstream.NAME") {
            continue;
        }
        let table = |header: &str| {
            let last = header.lines().rfind(|line| line.starts_with('['));
            last.map(|line| line.trim_matches(['[', ']']).to_owned())
        };
        let (header, lines) = CHANGES
            .iter()
            .find(|(header, _)| table(header).as_deref() == Some(section.name))
            .unwrap_or_else(|| panic!("[{}]", section.name));
        for key in section.keys.iter().filter(|key| !ELSEWHERE.contains(&key.name)) {
            let mut lines = lines.iter().copied().chain(header.lines());
            let change = lines.find(|line| line.starts_with(&format!("{} =", key.name)));
            assert!(change.is_some(), "add a change of {} to [{}]", key.name, section.name);
        }
    }
}

#[test]
fn a_faulty_file_of_users_is_placed_and_explained() {
    let files = Files::new("users");
    let text = format!("{ORIGIN}[[rule]]\n{}\n", files.named("access.users = \"TOKEN\""));
    only_fault(&text, 4, "line 1 is not user:hash", "htpasswd -B");
}

#[test]
fn certificates_are_looked_into() {
    let files = Files::new("certificates");
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let tls =
        |pair: &str| format!("{listener}tls = {{ certificates = [{{ {} }}] }}", files.named(pair));
    let settings = good(&tls("certificate = \"CERTIFICATE\", key = \"KEY\""));
    assert!(settings.server.listeners[0].tls.as_ref().is_some_and(|tls| tls.allow_tls12));
    let swapped = tls("certificate = \"KEY\", key = \"CERTIFICATE\"");
    let faults = faults(&format!("{ORIGIN}{swapped}\n"));
    let titles: Vec<_> = faults.iter().map(|(_, title, _)| title.as_str()).collect();
    let [first, second] = titles.as_slice() else { panic!("{titles:?}") };
    assert!(first.contains("no certificate in PEM form"), "{first}");
    assert!(second.contains("no private key in PEM form"), "{second}");
    let more = "[listener.tls]\nmin_version = \"1.3\"\nreload_interval = \"7s\"\ncertificates = [{ certificate = \"CERTIFICATE\", key = \"KEY\" }]\n";
    let settings = good(&files.named(&format!("{listener}{more}")));
    let tls = settings.server.listeners[0].tls.as_ref().expect("TLS");
    assert_eq!((tls.allow_tls12, tls.reload_interval), (false, Duration::from_secs(7)));
}

/// Files that keys may name, in a directory that goes when this does.
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("seawall-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let pair = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
        write("CERTIFICATE", &pair.cert.pem());
        write("KEY", &pair.signing_key.serialize_pem());
        write("TOKEN", "fedcba9876543210\n");
        write("USERS", "ann:$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2");
        Self(directory)
    }

    /// The text with whole paths instead of the files' names.
    pub(super) fn named(&self, text: &str) -> String {
        ["CERTIFICATE", "KEY", "TOKEN", "USERS"].iter().fold(text.to_owned(), |text, name| {
            let quoted = format!("\"{name}\"");
            text.replace(&quoted, &format!("\"{}\"", self.0.join(name).display()))
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
