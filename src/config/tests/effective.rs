//! What is in force: all of it, by whom, and readable again.

use super::every_key::{CHANGES, Files};
use super::*;
use crate::config::effective::effective;
use crate::config::sections;
use crate::redis::Place;

fn shown(text: &str, overrides: &CliOverrides, environment: &[&str]) -> Effective {
    let environment: Vec<_> = environment.iter().map(|&id| id.to_owned()).collect();
    effective(Some(Path::new("a.toml")), text, overrides, &environment)
}

/// Value (in TOML) and source of a key; of the first table of this name.
fn of(shown: &Effective, table: &str, key: &str) -> (Option<String>, By) {
    let table = shown.tables.iter().find(|known| known.name == table).expect("the table");
    let setting = table.settings.iter().find(|known| known.key == key).expect("the key");
    (setting.value.as_ref().map(ToString::to_string), setting.by.clone())
}

fn values(shown: &Effective) -> Vec<(String, String, Option<String>)> {
    let table = |table: &Table| {
        let setting = |it: &Setting| {
            let value = it.value.as_ref().map(ToString::to_string);
            (table.name.clone(), it.key.clone(), value)
        };
        table.settings.iter().map(setting).collect::<Vec<_>>()
    };
    shown.tables.iter().flat_map(table).collect()
}

/// Has what is shown of `text` read again: it means the same.
#[track_caller]
fn assert_same_again(text: &str, overrides: &CliOverrides) {
    let comparable = |text: &str, overrides: &CliOverrides| {
        let mut settings =
            read_with(text, overrides).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        // Lines and spelling of rules; tests; secrets; and an address that is written is meant.
        settings.proxy.rules = std::sync::Arc::default();
        settings.tests.clear();
        (settings.admin.token, settings.proxy.purge.token) = (None, None);
        if let Some(redis) = &mut settings.redis {
            redis.login.password = None;
            if let Place::Sentinel(sentinel) = &mut redis.place {
                sentinel.login.password = None;
            }
        }
        settings.admin.explicit = true;
        settings
    };
    let first = shown(text, overrides, &[]);
    let again = first.to_string();
    assert_eq!(
        comparable(&again, &CliOverrides::default()),
        comparable(text, overrides),
        "{text}\n{again}"
    );
    assert_eq!(values(&shown(&again, &CliOverrides::default(), &[])), values(&first), "{again}");
}

#[test]
fn every_key_is_told() {
    let shown = shown(ORIGIN, &CliOverrides::default(), &[]);
    for section in sections::all() {
        let name = if section.name == "upstream.NAME" { "upstream.origin" } else { section.name };
        if ["rule", "test"].contains(&name.split('.').next().unwrap())
            || ["listener.tls", "redis.sentinel"].contains(&name)
        {
            continue;
        }
        for key in section.keys {
            of(&shown, name, key.name);
        }
    }
}

#[test]
fn it_says_who_said_so() {
    let text =
        format!("{ORIGIN}[cache]\nkeep = \"2h\"\nmemory = \"1GiB\"\nstale_if_error = \"5m\"\n");
    let overrides = CliOverrides {
        memory: Some(3 << 29),
        stale_if_error: Some(Duration::from_secs(5400)),
        ..CliOverrides::default()
    };
    let shown = shown(&text, &overrides, &["memory"]);
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(of(&shown, "cache", "keep"), (value("\"2h\""), By::File { line: 4 }));
    let variable = "SEAWALL_MEMORY".to_owned();
    assert_eq!(of(&shown, "cache", "memory"), (value("\"1536MiB\""), By::Environment { variable }));
    let flag = "--stale-if-error".to_owned();
    assert_eq!(of(&shown, "cache", "stale_if_error"), (value("\"1h 30m\""), By::Flag { flag }));
    assert_eq!(of(&shown, "cache", "wait"), (value("\"30s\""), By::Default));
    assert_eq!(of(&shown, "purge", "token"), (None, By::Default));
    let text = shown.to_string();
    for line in ["# a.toml:4", "# SEAWALL_MEMORY", "# --stale-if-error", "# token is unset"] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn flags_replace_what_they_replace() {
    let text = "[upstream.a]\nurl = \"http://a.test\"\n[upstream.b]\nurl = \"http://b.test\"\n\
                [[route]]\npath = \"/a\"\nupstream = \"a\"\n[[route]]\nupstream = \"b\"\n\
                [[listener]]\naddress = \"127.0.0.1:1\"\n";
    let overrides = CliOverrides {
        origin: origin("https://[::1]:444").ok(),
        listen: vec![([127, 0, 0, 1], 7).into(), ([127, 0, 0, 1], 8).into()],
        admin_listen: Some(Toggled::Off),
        access_log: Some(Toggled::On(telemetry::Format::Json)),
        log_format: Some(telemetry::Format::Json),
        log_level: Some("debug".to_owned()),
        trusted_proxy: vec!["10.0.0.0/8".parse().unwrap()],
        threads: Some(3),
        grace: Some(Duration::from_millis(1500)),
        max_object_size: Some(12345),
        default_lifetime: Some(Duration::from_secs(86_400 * 40)),
        stale_while_revalidate: Some(Duration::from_secs(1)),
        ..CliOverrides::default()
    };
    assert_same_again(text, &overrides);
    let shown = shown(text, &overrides, &[]);
    let names: Vec<_> = shown.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "listener").count(), 2);
    assert_eq!(names.iter().filter(|name| **name == "route").count(), 1);
    assert!(!names.contains(&"upstream.a"), "{names:?}");
    let url = Some("\"https://[::1]:444\"".to_owned());
    let flag = "--origin".to_owned();
    assert_eq!(of(&shown, "upstream.origin", "url"), (url, By::Flag { flag }));
}

#[test]
fn what_is_shown_means_the_same_when_it_is_read_again() {
    let files = Files::new("shown");
    let none = CliOverrides::default();
    for (header, lines) in CHANGES {
        for line in *lines {
            let text = format!("{ORIGIN}{header}\n{line}\n");
            assert_same_again(&files.named(&text), &none);
        }
    }
    let tls = "[[listener]]\naddress = \"127.0.0.1:1\"\n[listener.tls]\nmin_version = \"1.3\"\n\
               certificates = [{ certificate = \"CERTIFICATE\", key = \"KEY\" }]\n";
    assert_same_again(&files.named(&format!("{ORIGIN}{tls}")), &none);
    for file in std::fs::read_dir("config/examples").unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert_same_again(&text, &none);
    }
    let more = "[upstream.\"a.b\"]\nurl = \"http://a.test\"\nmax_idle = 7\n\
                [upstream_defaults]\nca = \"CERTIFICATE\"\nhost = \"upstream\"\n\
                [[route]]\nupstream = \"a.b\"\ncache.negative = { 404 = \"5s\" }\n\
                [[rule]]\nmatch = {}\nresponse.set = { x-a = \"it's \\\"quoted\\\"\\\\\" }\n";
    assert_same_again(&files.named(more), &none);
    assert_same_again(
        "[cache]\nmemory = \"20MiB\"\n[upstream.a]\nurl = \"http://a.test\"\n",
        &none,
    );
}

// A key that takes a secret is named as one, and hidden; where a secret is kept is none.
#[test]
fn every_key_that_holds_a_secret_is_known_as_one() {
    use crate::config::effective::SECRETS;
    use crate::headers::names_secret;
    let none = ["token_file", "token_env", "password_file", "password_env", "store_set_cookie"];
    // Of rules and tests it is looked into every value.
    let looked_into = |name: &str| ["rule", "test"].contains(&name.split('.').next().unwrap());
    for section in sections::all().iter().filter(|section| !looked_into(section.name)) {
        for key in section.keys.iter().filter(|key| names_secret(key.name)) {
            let known = SECRETS.contains(&key.name) || none.contains(&key.name);
            assert!(known, "[{}] {}", section.name, key.name);
        }
    }
}

#[test]
fn secrets_are_left_out() {
    let secret = "0123456789abcdef0123";
    let text = format!(
        "{ORIGIN}[admin]\naddress = \"127.0.0.1:1\"\ntoken = \"{secret}\"\n[purge]\ntoken = \"{secret}\"\n\
         [redis]\npassword = \"{secret}\"\n\
         [redis.sentinel]\nprimary = \"shop\"\nurls = [\"redis://a.test\"]\npassword = \"{secret}\"\n\
         [[rule]]\nrequest.set = {{ authorization = \"Bearer {secret}\", x-origin-token = \"{secret}\", x-a = \"b\" }}\n\
         match.header = {{ x-secret = \"{secret}\" }}\nredirect = {{ to = \"https://a:{secret}@a.test/\" }}\n\
         [[test]]\nrequest = {{ url = \"https://a.test/\", headers = {{ x-secret = \"{secret}\" }} }}\nexpect = {{ hit = false }}\n"
    );
    let overrides =
        CliOverrides { admin_token: Some(format!("{secret}x")), ..CliOverrides::default() };
    read_with(&text, &overrides).unwrap_or_else(|faults| panic!("{faults}"));
    let shown = shown(&text, &overrides, &["admin_token"]);
    let (told, json) = (shown.to_string(), serde_json::to_string(&shown).unwrap());
    assert!(!told.contains(secret) && !json.contains(secret), "{told}");
    assert!(
        told.contains("# SEAWALL_ADMIN_TOKEN, hidden") && told.contains("x-a = \"b\""),
        "{told}"
    );
    assert!(told.contains("# 7 hidden"), "{told}");
    // A token that everybody knows would be worse than none.
    let again = read_with(&told, &CliOverrides::default()).unwrap();
    assert_eq!((again.admin.token, again.proxy.purge.token), (None, None));
}

// Each flag, by its own name or its variable's, for clap knows all of them.
#[test]
fn every_flag_is_told() {
    use clap::{Args, Command, FromArgMatches};
    const SAMPLES: [(&str, &str); 15] = [
        ("origin", "http://a.test:7"),
        ("listen", "127.0.0.1:7"),
        ("admin_listen", "127.0.0.1:8"),
        ("admin_token", "0123456789abcdef"),
        ("memory", "7MiB"),
        ("max_object_size", "7KiB"),
        ("threads", "7"),
        ("default_lifetime", "7s"),
        ("stale_while_revalidate", "7s"),
        ("stale_if_error", "7s"),
        ("trusted_proxy", "10.7.0.0/16"),
        ("grace", "7s"),
        ("access_log", "json"),
        ("log_level", "debug"),
        ("log_format", "json"),
    ];
    let command = CliOverrides::augment_args(Command::new("seawall"));
    // Whatever this process was started with.
    let parser = command.clone().mut_args(|flag| flag.env(clap::builder::Resettable::Reset));
    for flag in command.get_arguments() {
        let id = flag.get_id().as_str();
        let long = format!("--{}", flag.get_long().expect("a name"));
        let sample = SAMPLES.into_iter().find(|(known, _)| *known == id);
        let (_, value) = sample.unwrap_or_else(|| panic!("{long} has no sample"));
        let arguments = ["seawall", &long, value];
        let matches = parser.clone().try_get_matches_from(arguments).unwrap();
        let overrides = CliOverrides::from_arg_matches(&matches).unwrap();
        read_with(ORIGIN, &overrides).unwrap_or_else(|faults| panic!("{faults}"));
        let variable = flag.get_env().unwrap().to_str().unwrap().to_owned();
        for (from_variable, by) in
            [(false, By::Flag { flag: long.clone() }), (true, By::Environment { variable })]
        {
            let environment = if from_variable { &[id][..] } else { &[] };
            let shown = shown(ORIGIN, &overrides, environment);
            let told = shown.tables.iter().flat_map(|table| &table.settings);
            let told: Vec<_> = told.filter(|setting| setting.by == by).collect();
            let [told] = told.as_slice() else { panic!("{long}: {told:?}") };
            let plain = told.value.as_ref().map(|value| value.to_string().replace('"', ""));
            let plain = plain.map(|value| value.trim_matches(['[', ']', ' ']).to_owned());
            assert_eq!(plain.as_deref(), Some(value).filter(|_| !told.hidden), "{long}");
            assert_eq!(told.hidden, id == "admin_token", "{long}");
        }
    }
}

// What is good so far is shown, and what is missing is said; what is wrong is refused.
#[test]
fn what_is_missing_is_said_beside_what_is_in_force() {
    let read = |text: &str| {
        let name = format!("seawall-lacking-{}.toml", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, text).unwrap();
        let sources = Sources { file: Some(file.clone()), overrides: CliOverrides::default() };
        let shown = show(&sources, &[]);
        let loaded = load(&sources).map(|_| ());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(loaded.is_ok(), shown.as_ref().is_ok_and(|shown| shown.missing.is_empty()));
        shown
    };
    let two = "[upstream.a]\nurl = \"http://a.test\"\n[upstream.b]\nurl = \"http://b.test\"\n";
    for (text, missing, routes) in [
        ("[cache]\nmemory = \"9MiB\"\n", "--origin", 0),
        ("[cache]\nmemory = \"9MiB\"\n[upstream]\n", "--origin", 0),
        ("[cache]\nmemory = \"9MiB\"\n[[route]]\npath = \"/a\"\n", "--origin", 1),
        (&format!("[cache]\nmemory = \"9MiB\"\n{two}"), "[[route]]", 0),
    ] {
        let shown = read(text).unwrap_or_else(|faults| panic!("{faults}"));
        let [said] = shown.missing.as_slice() else { panic!("{text}: {:?}", shown.missing) };
        assert!(said.contains(missing), "{said}");
        assert!(shown.to_string().contains(&format!("# Missing: {said}.\n")), "{shown}");
        let memory = By::File { line: 2 };
        assert_eq!(of(&shown, "cache", "memory"), (Some("\"9MiB\"".to_owned()), memory));
        assert_eq!(shown.tables.iter().filter(|table| table.name == "route").count(), routes);
    }
    assert!(read(ORIGIN).unwrap().missing.is_empty());
    assert!(read("[cache]\nmemory = 9\n").is_err());
    assert!(read(&format!("{two}[[route]]\nupstream = \"c\"\n")).is_err());
}
