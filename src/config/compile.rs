//! From the file as written to [`Settings`]: the one step that can fail, and it reports all faults.

mod entrances;
mod origins;
mod rules;
mod telling;
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::DeTable;

use super::fault::{Checked, Fault, Faulty};
use super::overrides::CliOverrides;
use super::raw::{Surroundings, Value};
use super::schema::{Key, did_you_mean, fill};
use super::sections::{admin, cache, home_of, logs, redis, server};
use super::{Settings, Written};
use crate::{proxy, telemetry};

pub(super) const SECTIONS: [&str; 16] = [
    "server",
    "listener",
    "limits",
    "trust",
    "upstream_defaults",
    "upstream",
    "route",
    "rule",
    "test",
    "cache",
    "redis",
    "purge",
    "admin",
    "debug",
    "access_log",
    "log",
];
pub(super) const ERROR_PAGES: &str = "error_pages";

/// Reads `text`, lets `overrides` win, and checks the whole.
pub(super) fn compile(
    text: &str,
    around: Surroundings<'_>,
    overrides: &CliOverrides,
) -> Result<Settings, Vec<Fault>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What a broken file means is a guess: nothing else is reported about it.
        return Err(errors.iter().map(|error| syntax(error, text.len())).collect());
    }
    let mut compiler =
        Compiler { text, root: root.get_ref(), around, overrides, faults: Vec::new() };
    let settings = compiler.settings();
    if compiler.faults.is_empty() { Ok(settings) } else { Err(compiler.faults) }
}

fn syntax(error: &toml::de::Error, end: usize) -> Fault {
    Fault::at(error.span().unwrap_or(end..end), format!("this is not TOML: {}", error.message()))
}

struct Compiler<'a> {
    text: &'a str,
    root: &'a DeTable<'a>,
    around: Surroundings<'a>,
    overrides: &'a CliOverrides,
    faults: Vec<Fault>,
}

impl<'a> Compiler<'a> {
    /// Everything, in an order in which each section finds what it builds on. Faulty parts stay at
    /// their defaults, so that the rest can still be checked.
    fn settings(&mut self) -> Settings {
        self.unknown_sections();
        let limits = self.section("limits", &[server::LIMITS], server::Limits::default());
        let trust = self.trust();
        let mut server = self.server(limits.server);
        server.config.limits.many_clients.clone_from(&trust.proxies);
        let cache = self.cache(!trust.proxies.is_empty());
        let (upstreams, routes) = self.upstreams_and_routes(&cache, !trust.proxies.is_empty());
        let rules = Arc::new(self.rules(&cache));
        let tests = self.tests(&rules, &upstreams);
        let admin = self.admin(&server.config.listeners);
        let purge = self.section("purge", &[admin::PURGE], proxy::Purge::default());
        self.one_token("purge");
        let proxy = proxy::Config {
            trusted_proxies: trust.proxies,
            limits: limits.proxy,
            routes: routes.into_iter().map(Arc::new).collect(),
            rules,
            purge,
            debug: self.section("debug", &[admin::DEBUG], Vec::new()),
            error_pages: self.error_pages(),
            name: server.name,
        };
        let telemetry = self.telemetry();
        let written = Written::new(self.text);
        let redis::Draft { named, redis, mut tier } = self.redis();
        let redis = named.then_some(redis);
        tier.max_variants = cache.memory.max_variants;
        let (server, watch, store) = (server.config, server.watch, cache.memory);
        Settings {
            server,
            upstreams,
            proxy,
            store,
            redis,
            tier,
            admin,
            telemetry,
            watch,
            tests,
            written,
        }
    }

    fn value(&self, name: &str) -> Option<Value<'a>> {
        self.root.get(name).map(|node| Value::new(node, self.around))
    }

    /// Keeps the value, or notes what is wrong with it.
    fn note<T>(&mut self, checked: Checked<T>) -> Option<T> {
        checked.map_err(|Faulty(faults)| self.faults.extend(faults)).ok()
    }

    fn section<T>(&mut self, name: &str, keys: &[&'static [Key<T>]], mut draft: T) -> T {
        if let Some(value) = self.value(name) {
            self.fill(name, keys, &value, &mut draft);
        }
        draft
    }

    fn fill<T>(
        &mut self,
        name: &str,
        keys: &[&'static [Key<T>]],
        value: &Value<'a>,
        draft: &mut T,
    ) {
        let table = value.table(&format!("write [{name}] and below it its keys"));
        let filled = table.and_then(|table| fill(name, keys, table, self.around, draft));
        self.note(filled);
    }

    fn unknown_sections(&mut self) {
        let known: Vec<_> = SECTIONS.into_iter().chain([ERROR_PAGES]).collect();
        for (name, _) in self.root {
            let text = name.get_ref();
            if known.contains(&text.as_ref()) {
                continue;
            }
            let fault = Fault::at(name.span(), format!("there is no section [{text}]"))
                .label("unknown section");
            let help = did_you_mean(text, &known)
                .or_else(|| home_of(text).map(|home| format!("`{text}` belongs in [{home}]")))
                .unwrap_or_else(|| format!("the sections are: {}", known.join(", ")));
            self.faults.push(fault.help(help));
        }
    }

    /// The members of `[[name]]`.
    fn array_of_tables(&mut self, name: &str) -> Vec<Value<'a>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let members =
            value.list(&format!("write [[{name}]] with two brackets: there may be several"), Ok);
        self.note(members).unwrap_or_default()
    }

    fn trust(&mut self) -> server::Trust {
        let mut trust = self.section("trust", &[server::TRUST], server::Trust::default());
        if !self.overrides.trusted_proxy.is_empty() {
            trust.proxies.clone_from(&self.overrides.trusted_proxy);
        }
        trust
    }

    fn cache(&mut self, any_trusted: bool) -> cache::Draft {
        let keys = [cache::MEMORY, cache::RULES];
        let mut draft = self.section("cache", &keys, cache::Draft::default());
        let flags = self.overrides;
        draft.memory.memory = flags.memory.unwrap_or(draft.memory.memory);
        draft.max_object_size = flags.max_object_size.or(draft.max_object_size);
        let policy = &mut draft.rules.policy;
        policy.default_lifetime = flags.default_lifetime.unwrap_or(policy.default_lifetime);
        policy.stale_while_revalidate =
            flags.stale_while_revalidate.unwrap_or(policy.stale_while_revalidate);
        policy.stale_if_error = flags.stale_if_error.unwrap_or(policy.stale_if_error);
        let written = self.value("cache");
        self.faults.extend(cache::contradictions(written.as_ref(), &draft, any_trusted));
        draft
    }

    fn redis(&mut self) -> redis::Draft {
        if let Some(value) = self.value("redis") {
            self.note(redis::agreed(&value));
        }
        self.section("redis", &[redis::REDIS], redis::Draft::default())
    }

    fn one_token(&mut self, section: &str) {
        if let Some(value) = self.value(section) {
            self.note(admin::one_token(&value));
        }
    }

    fn error_pages(&mut self) -> BTreeMap<u16, PathBuf> {
        let Some(value) = self.value(ERROR_PAGES) else { return BTreeMap::new() };
        self.note(logs::error_pages(&value)).unwrap_or_default()
    }

    fn telemetry(&mut self) -> telemetry::Config {
        let mut telemetry =
            self.section("access_log", &[logs::ACCESS_LOG], telemetry::Config::default());
        telemetry = self.section("log", &[logs::LOG], telemetry);
        let flags = self.overrides;
        if let Some(toggled) = flags.access_log {
            telemetry.access.format = toggled.on();
        }
        if let Some(level) = &flags.log_level {
            telemetry.level.clone_from(level);
        }
        telemetry.format = flags.log_format.unwrap_or(telemetry.format);
        telemetry
    }
}
