//! Where requests go: upstreams, and the routes to them.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::Compiler;
use crate::config::fault::Fault;
use crate::config::raw::Value;
use crate::config::sections::{cache, route, upstream};
use crate::proxy::Route;
use crate::upstream::Config;

impl<'a> Compiler<'a> {
    pub(super) fn upstreams_and_routes(
        &mut self,
        cache: &cache::Draft,
        any_trusted: bool,
    ) -> (Vec<Config>, Vec<Route>) {
        let blank = Config::new("origin", false, "", 80);
        let defaults = self.section("upstream_defaults", &[upstream::MANNERS], blank);
        let upstreams = self.upstreams(&defaults);
        let routes = self.routes(&upstreams, cache, any_trusted);
        if let Some(origin) = &self.overrides.origin {
            let mut upstream = defaults;
            (upstream.tls, upstream.host, upstream.port) =
                (origin.tls, origin.host.clone(), origin.port);
            return (vec![upstream], vec![route::everything(cache)]);
        }
        let written = self.root.get("upstream").map(|node| node.get_ref().as_table());
        if written.is_none_or(|table| table.is_some_and(DeTable::is_empty)) {
            self.faults.push(
                Fault::anywhere(None, "there is nothing to protect: no upstream is given")
                    .help("start with --origin http://127.0.0.1:9000, or add [upstream.origin] with its url to the file")
                    .missing(),
            );
        }
        (upstreams, routes)
    }

    fn upstreams(&mut self, defaults: &Config) -> Vec<Config> {
        let Some(value) = self.value("upstream") else { return Vec::new() };
        let table = value.table("write [upstream.NAME] and below it its url");
        let mut upstreams = Vec::new();
        for (name, node) in self.note(table).into_iter().flatten() {
            let value = Value::new(node, self.around);
            let mut config = defaults.clone();
            config.name = name.get_ref().to_string();
            self.upstream(name, &value, &mut config);
            // Kept even if faulty, so that routes still find its name.
            upstreams.push(config);
        }
        upstreams
    }

    fn upstream(&mut self, name: &Spanned<Cow<'_, str>>, value: &Value<'a>, config: &mut Config) {
        let well_named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if config.name.is_empty() || config.name.len() > 64 || !config.name.bytes().all(well_named)
        {
            self.faults.push(
                Fault::at(name.span(), "this is not a name for an upstream")
                    .help("write letters, digits, `-`, `_` and `.`; 64 at most"),
            );
        }
        let section = format!("upstream.{}", config.name);
        if value.table("").is_err() {
            self.faults.push(
                Fault::at(
                    name.span(),
                    format!("[upstream] holds upstreams by name, and `{}` is none", config.name),
                )
                .help("write [upstream.origin] and below it its keys"),
            );
            return;
        }
        self.fill(&section, &[upstream::PLACE, upstream::MANNERS], value, config);
        self.note(upstream::require_url(value, &config.name));
        self.faults.extend(upstream::contradictions(value, config));
    }

    fn routes(
        &mut self,
        upstreams: &[Config],
        cache: &cache::Draft,
        any_trusted: bool,
    ) -> Vec<Route> {
        let names: Vec<_> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let mut routes = Vec::new();
        for value in self.array_of_tables("route") {
            let mut draft = route::Draft::new(value.span(), cache.clone(), any_trusted);
            self.fill("route", &[route::ROUTE], &value, &mut draft);
            let place = draft.span.clone();
            let finished = draft.finish(&names);
            if let Some(route) = self.note(finished) {
                self.never_reached(&routes, &route, place);
                routes.push(route);
            }
        }
        if routes.is_empty() && !self.root.contains_key("route") {
            match names.as_slice() {
                [] => {}
                [_] => routes.push(route::everything(cache)),
                _ => self.faults.push(
                    Fault::anywhere(
                        None,
                        "there are several upstreams, but no route says what goes where",
                    )
                    .help(format!(
                        "add [[route]] with path = \"/\" and upstream = \"{}\"",
                        names[0]
                    ))
                    .missing(),
                ),
            }
        }
        routes
    }

    fn never_reached(&mut self, earlier: &[Route], route: &Route, place: Range<usize>) {
        if let Some(first) = earlier.iter().find(|earlier| route::covers(earlier, route)) {
            let title = format!(
                "this route is never reached: `{}` above takes all of `{}`",
                first.name, route.name
            );
            self.faults.push(Fault::at(place, title).help("put the more specific route first"));
        }
    }
}
