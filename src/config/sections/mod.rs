//! The sections of the file, one table of keys each.

pub(super) mod admin;
pub(super) mod cache;
mod compression;
pub(super) mod listener;
pub(super) mod logs;
pub(super) mod redis;
pub(super) mod route;
pub(super) mod rule;
pub(super) mod server;
pub(super) mod test;
pub(super) mod upstream;

use super::schema::{Described, describe};

/// A section as the documentation shows it.
pub(super) struct Section {
    /// Its path in the file, as in a hint: `[listener.tls]`.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
    pub(super) keys: Vec<Described>,
}

/// What `[error_pages]` is for: its keys are statuses.
pub(super) const ERROR_PAGES: &str = "Files that replace the built-in error pages, by status.";

/// Every section with a fixed set of keys, in the order of `config/seawall.toml`.
pub(super) fn all() -> Vec<Section> {
    let mut sections = vec![
        section("server", "The process.", describe(server::SERVER).collect()),
        section(
            "listener",
            "Where clients connect; repeat it for more addresses.",
            describe(listener::LISTENER).collect(),
        ),
        section("listener.tls", "HTTPS on the listener above.", describe(listener::TLS).collect()),
        section("limits", "Bounds on clients.", describe(server::LIMITS).collect()),
        section("trust", "Whose word is taken.", describe(server::TRUST).collect()),
        section(
            "upstream_defaults",
            "How to talk to origins. Each of these keys may also stand in an [upstream.NAME], and wins there.",
            describe(upstream::MANNERS).collect(),
        ),
        section(
            "upstream.NAME",
            "An origin; the name is yours, and routes refer to it.",
            describe(upstream::PLACE).collect(),
        ),
        section(
            "route",
            "What goes where: repeat it, the first that matches wins. With one upstream and no route, everything goes there.",
            describe(route::ROUTE).collect(),
        ),
        section(
            "cache",
            "What is stored and for how long. Routes may override all but the first two keys.",
            describe(cache::MEMORY).chain(describe(cache::RULES)).collect(),
        ),
    ];
    sections.push(section(
        "redis",
        "A tier behind memory that all nodes share. What it guarantees is in docs/fleet.md.",
        describe(redis::REDIS).collect(),
    ));
    sections.push(section(
        "redis.sentinel",
        "Sentinels that know where the primary is.",
        describe(redis::sentinel::SENTINEL).collect(),
    ));
    sections.extend(about_rules());
    sections.extend(about_tests());
    sections.extend([
        section("purge", "Who may use the PURGE method.", describe(admin::PURGE).collect()),
        section("admin", "Health, metrics and purge.", describe(admin::ADMIN).collect()),
        section(
            "debug",
            "Who is shown why a response is as it is.",
            describe(admin::DEBUG).collect(),
        ),
        section("access_log", "A line for each request.", describe(logs::ACCESS_LOG).collect()),
        section("log", "What the program says about itself.", describe(logs::LOG).collect()),
    ]);
    sections
}

fn section(name: &'static str, about: &'static str, keys: Vec<Described>) -> Section {
    Section { name, about, keys }
}

fn about_rules() -> Vec<Section> {
    vec![
        section(
            "rule",
            "What is set for some requests only. Repeat it: every setting is decided separately, and the last rule that matches and sets it wins over `[route.cache]` and `[cache]`.",
            describe(rule::RULE).collect(),
        ),
        section(
            "rule.match",
            "Which requests the rule above is for.",
            describe(rule::MATCH).collect(),
        ),
        section(
            "rule.match_response",
            "Which responses the rule above is for.",
            describe(rule::RESPONSE).collect(),
        ),
        section(
            "rule.key",
            "What makes two requests ask for the same thing. Each key is decided separately, like those of `cache`.",
            describe(rule::KEY).collect(),
        ),
        section(
            "rule.tags",
            "What responses can be purged by beside their URLs. Each key is decided separately, like those of `cache`.",
            describe(rule::TAGS).collect(),
        ),
        section(
            "rule.access",
            "Who is let in. Decided before anything is looked up; each key separately.",
            describe(rule::ACCESS).collect(),
        ),
        section(
            "rule.redirect",
            "Where clients are sent instead of to the origin. Decided as a whole.",
            describe(rule::REDIRECT).collect(),
        ),
        section(
            "rule.respond",
            "What clients get instead of the origin's answer. Decided as a whole.",
            describe(rule::RESPOND).collect(),
        ),
        section(
            "rule.request",
            "What is changed of requests on their way to the origin. Each field is decided separately.",
            describe(rule::REQUEST).collect(),
        ),
        section(
            "rule.response",
            "What is changed of responses on their way to the client. Each field is decided separately.",
            describe(rule::RESPONSE_EDITS).collect(),
        ),
    ]
}

fn about_tests() -> Vec<Section> {
    vec![
        section(
            "test",
            "What the rules should do: `seawall check` tries it, without a network, and a configuration whose tests fail is not taken over while Seawall runs. Repeat it; each test begins with an empty cache, at Thu, 01 Jan 2026 00:00:00 GMT.",
            describe(test::TEST).chain(describe(test::STEP)).collect(),
        ),
        section(
            "test.request",
            "The request of the test above, where one line does not say it all.",
            describe(test::REQUEST).collect(),
        ),
        section(
            "test.response",
            "What the origin answers in the test above, if it is asked.",
            describe(test::RESPONSE).collect(),
        ),
        section(
            "test.expect",
            "What should come of the request. Only what is written is looked at.",
            describe(test::EXPECT).collect(),
        ),
        section(
            "test.expect.origin",
            "What the origin should be asked; where it is asked twice, the last time counts.",
            describe(test::ORIGIN).collect(),
        ),
    ]
}

/// What a section is for; empty for parts of one.
pub(super) fn about(section: &str) -> &'static str {
    all().into_iter().find(|known| known.name == section).map_or("", |known| known.about)
}

/// The section that a misplaced key belongs in, if there is just one.
pub(super) fn home_of(key: &str) -> Option<&'static str> {
    let holds = |section: &Section| section.keys.iter().any(|known| known.name == key);
    let mut homes = all().into_iter().filter(holds).map(|section| section.name);
    let home = homes.next()?;
    homes.next().is_none().then_some(home)
}
