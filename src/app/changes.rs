//! What a reload changes, and what it can't.

use std::sync::Arc;

use crate::config::Settings;
use crate::proxy::Route;
use crate::{server, upstream};

/// Takes back from `next` what only a restart can change, and tells it by its keys.
///
/// The rest is applied: a rule that is urgent must not wait for the right moment to restart.
pub(super) fn hold_back(next: &mut Settings, now: &Settings) -> Vec<String> {
    let mut held = Vec::new();
    let mut check = |key: &str, differs: bool| {
        if differs {
            held.push(key.to_owned());
        }
    };
    let (server, before) = (&next.server, &now.server);
    let moved = !server
        .listeners
        .iter()
        .map(|at| at.address)
        .eq(before.listeners.iter().map(|at| at.address));
    check("[server] threads", server.threads != before.threads);
    check("[server] runtime", server.runtime != before.runtime);
    check("[server] grace", server.grace != before.grace);
    check("[[listener]] address", moved);
    check("[cache] memory", next.store.memory != now.store.memory);
    check("[cache] preallocate", next.store.preallocate != now.store.preallocate);
    check("[cache] optimise", next.store.optimise != now.store.optimise);
    check("[cache] max_variants", next.store.max_variants != now.store.max_variants);
    // It has the variants' bound from `[cache]`, where it has just been told.
    next.tier.max_variants = now.tier.max_variants;
    check("[redis]", (&next.redis, &next.tier) != (&now.redis, &now.tier));
    check("[admin] address", next.admin.address != now.admin.address);
    check("[log] format", next.telemetry.format != now.telemetry.format);
    let listeners =
        if moved { now.server.listeners.clone() } else { next.server.listeners.clone() };
    let limits = next.server.limits.clone();
    next.server = server::Config { listeners, limits, ..now.server.clone() };
    next.store.clone_from(&now.store);
    (next.redis, next.tier) = (now.redis.clone(), now.tier.clone());
    next.telemetry.format = now.telemetry.format;
    if next.admin.address != now.admin.address {
        // The token is for the address: one that is no longer needed on another may be needed here.
        next.admin.clone_from(&now.admin);
    }
    held
}

/// What is not as it was, by the sections of the file.
pub(super) fn changed(before: &Settings, after: &Settings) -> Vec<String> {
    let mut changed = Vec::new();
    let mut note = |name: &str, differs: bool| {
        if differs {
            changed.push(name.to_owned());
        }
    };
    let (old, new) = (&before.proxy, &after.proxy);
    note("[server]", old.name != new.name);
    note("[[listener]]", before.server.listeners != after.server.listeners);
    note("[limits]", before.server.limits != after.server.limits || old.limits != new.limits);
    note("[trust]", old.trusted_proxies != new.trusted_proxies);
    note("[[rule]]", old.rules != new.rules);
    note("[purge]", old.purge != new.purge);
    note("[admin]", before.admin != after.admin);
    note("[debug]", old.debug != new.debug);
    note("[error_pages]", old.error_pages != new.error_pages);
    note("[access_log]", before.telemetry.access != after.telemetry.access);
    note("[log]", before.telemetry.level != after.telemetry.level);
    changed.extend(upstreams(&before.upstreams, &after.upstreams));
    changed.extend(routes(before, after));
    changed
}

fn upstreams(before: &[upstream::Config], after: &[upstream::Config]) -> Vec<String> {
    let named = |list: &[upstream::Config], name: &str| {
        list.iter().find(|upstream| upstream.name == name).cloned()
    };
    let told = |name: &str| match (named(before, name), named(after, name)) {
        (old, new) if old == new => None,
        (None, _) => Some(format!("[upstream.{name}] added")),
        (_, None) => Some(format!("[upstream.{name}] removed")),
        _ => Some(format!("[upstream.{name}]")),
    };
    let gone = before.iter().filter(|old| named(after, &old.name).is_none());
    after.iter().chain(gone).filter_map(|upstream| told(&upstream.name)).collect()
}

fn routes(before: &Settings, after: &Settings) -> Vec<String> {
    // Where an upstream stands among others is nobody's concern.
    let upstream = |settings: &Settings, route: &Route| {
        settings.upstreams.get(route.upstream).map(|upstream| upstream.name.clone())
    };
    let is_same = |old: &Route, new: &Route| {
        Route { upstream: new.upstream, ..old.clone() } == *new
            && upstream(before, old) == upstream(after, new)
    };
    let (earlier, later) = (&before.proxy.routes, &after.proxy.routes);
    let among = |route: &Route, others: &[Arc<Route>]| {
        others.iter().find(|other| other.name == route.name).cloned()
    };
    let mut changed = Vec::new();
    for new in later {
        match among(new, earlier) {
            None => changed.push(format!("[[route]] {} added", new.name)),
            Some(old) if !is_same(&old, new) => changed.push(format!("[[route]] {}", new.name)),
            Some(_) => {}
        }
    }
    let stayed = |routes: &[Arc<Route>], others: &[Arc<Route>]| -> Vec<String> {
        let stayed = routes.iter().filter(|route| among(route, others).is_some());
        stayed.map(|route| route.name.clone()).collect()
    };
    if stayed(earlier, later) != stayed(later, earlier) {
        changed.push("[[route]] in another order".to_owned());
    }
    let gone = earlier.iter().filter(|old| among(old, later).is_none());
    changed.extend(gone.map(|old| format!("[[route]] {} removed", old.name)));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CliOverrides, parse};

    fn settings(text: &str) -> Settings {
        parse(text, &CliOverrides::default()).expect("good settings")
    }

    const ONE: &str = "[upstream.one]\nurl = \"http://one.example\"\n";

    #[test]
    fn the_memory_tier_stays_what_it_was_and_each_key_of_it_is_told() {
        let now = settings(ONE);
        for key in
            ["memory = \"77MiB\"", "preallocate = true", "optimise = \"bytes\"", "max_variants = 7"]
        {
            let mut next = settings(&format!("[cache]\n{key}\n{ONE}"));
            let name = key.split_once(' ').unwrap().0;
            assert_eq!(hold_back(&mut next, &now), [format!("[cache] {name}")]);
            assert_eq!(next.store, now.store);
        }
    }

    #[test]
    fn what_needs_a_restart_is_told_and_left_as_it_is() {
        let now = settings(ONE);
        let mut next = settings(&format!(
            "[server]\nthreads = 77\nname = \"new\"\n[cache]\nmemory = \"77MiB\"\n[log]\nformat = \"json\"\n{ONE}"
        ));
        let held = hold_back(&mut next, &now);
        assert_eq!(held, ["[server] threads", "[cache] memory", "[log] format"]);
        assert_eq!(next.server, now.server);
        assert_eq!(next.store, now.store);
        assert_eq!(next.proxy.name, "new");
        assert_eq!(hold_back(&mut next, &now), Vec::<String>::new());
    }

    // Otherwise the old address, which others can reach, would be open to everybody.
    #[test]
    fn the_admin_token_stays_with_its_address() {
        let now = settings(&format!(
            "[admin]\naddress = \"0.0.0.0:77\"\ntoken = \"sixteen-characters\"\n{ONE}"
        ));
        let mut next = settings(&format!("[admin]\naddress = \"127.0.0.1:77\"\n{ONE}"));
        assert_eq!(hold_back(&mut next, &now), ["[admin] address"]);
        assert_eq!(next.admin, now.admin);
    }

    #[test]
    fn what_changes_is_told() {
        let before = settings(ONE);
        assert_eq!(changed(&before, &before), Vec::<String>::new());
        let after = settings(
            "[limits]\nmax_in_flight = 7\n[[rule]]\ncache.enabled = false\n\
             [upstream.two]\nurl = \"http://two.example\"\n",
        );
        assert_eq!(
            changed(&before, &after),
            [
                "[limits]",
                "[[rule]]",
                "[upstream.two] added",
                "[upstream.one] removed",
                "[[route]] /"
            ]
        );
    }
}
