//! `[[route]]`: which requests go to which upstream, and how they are cached.

use std::ops::Range;

use super::cache;
use super::upstream::host_name;
use crate::config::fault::{Checked, Fault};
use crate::config::schema::{Key, did_you_mean, fill, keys};
use crate::config::sketch;
use crate::config::units::Refused;
use crate::key::HostPattern;
use crate::proxy::Route;

/// What one `[[route]]` says, before upstreams have numbers.
#[derive(Clone, Debug)]
pub(in crate::config) struct Draft {
    host: Option<HostPattern>,
    path: String,
    upstream: Option<(String, Range<usize>)>,
    cache: cache::Draft,
    any_trusted: bool,
    /// Where the route begins.
    pub(in crate::config) span: Range<usize>,
}

impl Draft {
    /// A route for everything; its cache settings start as those of `[cache]`.
    pub(in crate::config) fn new(
        span: Range<usize>,
        cache: cache::Draft,
        any_trusted: bool,
    ) -> Self {
        Self { host: None, path: "/".to_owned(), upstream: None, cache, any_trusted, span }
    }

    /// Resolves the upstream's name; a lone upstream needs no naming.
    pub(in crate::config) fn finish(self, upstreams: &[&str]) -> Checked<Route> {
        let upstream = match (&self.upstream, upstreams) {
            // Where there is none, that is told, or a flag gives one.
            (None, [] | [_]) => 0,
            (None, _) => {
                let help = format!("add upstream = with one of: {}", upstreams.join(", "));
                return Err(Fault::at(self.span, "this route names no upstream").help(help).into());
            }
            (Some((name, span)), _) => upstreams
                .iter()
                .position(|known| known == name)
                .ok_or_else(|| unknown_upstream(name, span.clone(), upstreams))?,
        };
        Ok(route(self.host, self.path, upstream, &self.cache))
    }
}

/// The route that sends everything to the only upstream.
pub(in crate::config) fn everything(cache: &cache::Draft) -> Route {
    route(None, "/".to_owned(), 0, cache)
}

fn route(host: Option<HostPattern>, path: String, upstream: usize, cache: &cache::Draft) -> Route {
    let name = match &host {
        None => path.clone(),
        Some(HostPattern::Exact(host)) => format!("{host}{path}"),
        Some(HostPattern::Below(host)) => format!("*.{host}{path}"),
    };
    Route { name, host, path, upstream, cache: cache.finish() }
}

fn unknown_upstream(name: &str, span: Range<usize>, upstreams: &[&str]) -> Fault {
    let fault =
        Fault::at(span, format!("there is no upstream named \"{name}\"")).label("unknown upstream");
    match did_you_mean(name, upstreams) {
        Some(help) => fault.help(help),
        None if upstreams.is_empty() => fault.help(format!("add [upstream.{name}] with its url")),
        None => fault.help(format!("the upstreams are: {}", upstreams.join(", "))),
    }
}

/// Whether every request of `later` is already taken by `earlier`.
pub(in crate::config) fn covers(earlier: &Route, later: &Route) -> bool {
    let host = match (&earlier.host, &later.host) {
        (None, _) => true,
        (Some(earlier), Some(later)) if earlier == later => true,
        (
            Some(HostPattern::Below(above)),
            Some(HostPattern::Exact(name) | HostPattern::Below(name)),
        ) => name.strip_suffix(above.as_str()).is_some_and(|rest| rest.ends_with('.')),
        _ => false,
    };
    let rest = later.path.strip_prefix(earlier.path.as_str());
    host && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || earlier.path == "/")
}

pub(in crate::config) const ROUTE: &[Key<Draft>] = keys! {
    "host" = Example("\"www.example.com\""), "Requests for this host, on any port; `\"*.example.com\"` for every name below. Left out: every host." => |draft, value| {
        draft.host = Some(value.parsed(host_pattern)?);
        Ok(())
    };
    "path" = Default("\"/\""), "Requests for this path and everything below it. Routes are tried in the file's order." => |draft, value| {
        draft.path = value.formed(|| sketch::text(r"^/[^*?#\\]*$"), path_prefix)?;
        Ok(())
    };
    "upstream" = Example("\"origin\""), "The name of the upstream; may be left out where there is just one." => |draft, value| {
        draft.upstream = Some((value.string()?.to_owned(), value.span()));
        Ok(())
    };
    "cache" = Example("{ default_lifetime = \"10s\" }"), "Overrides keys of `[cache]` for this route (but not `memory`, `preallocate`, `optimise` and `max_variants`: these are the node's)." => |draft, value| {
        let table = value.table("write [route.cache] below the route")?;
        fill("route.cache", &[cache::RULES], table, value.around(), &mut draft.cache)?;
        let mut contradictions = cache::contradictions(Some(value), &draft.cache, draft.any_trusted);
        // What [cache] itself got wrong is reported there, once.
        contradictions.retain(Fault::has_place);
        if contradictions.is_empty() { Ok(()) } else { Err(crate::config::fault::Faulty(contradictions)) }
    };
};

pub(super) fn host_pattern(text: &str) -> Result<HostPattern, Refused> {
    if text == "*" {
        return Err(Refused::new("every host is what is meant without host", "leave host out"));
    }
    if text.contains("://") || text.contains('/') {
        return Err(Refused::new(
            "a host is not a URL",
            "write the name alone and the path in path",
        ));
    }
    if text.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']')) {
        return Err(Refused::new(
            "a host is matched on any port",
            "write the name without its port",
        ));
    }
    if let Some(parent) = text.strip_prefix("*.") {
        return host_name(parent).map(HostPattern::Below);
    }
    if text.contains('*') {
        return Err(Refused::new(
            "a star stands only in front of a name",
            "write \"*.example.com\"",
        ));
    }
    let name = host_name(text.trim_start_matches('[').trim_end_matches(']'))?;
    Ok(HostPattern::Exact(if name.contains(':') { format!("[{name}]") } else { name }))
}

fn path_prefix(text: &str) -> Result<String, Refused> {
    if !text.starts_with('/') {
        return Err(Refused::new("a path begins with a slash", format!("write \"/{text}\"")));
    }
    if text.contains('*') {
        let prefix = text.split('*').next().unwrap_or("/");
        return Err(Refused::new(
            "a path is a prefix already, without stars",
            format!("write \"{prefix}\""),
        ));
    }
    if text.contains(['?', '#', '\\']) || text.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
        return Err(Refused::new(
            "a path is matched without its query and in its encoded form",
            "leave ? and # out, and percent-encode other characters",
        ));
    }
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(Refused::new(
            "requests are matched without dot segments",
            "leave . and .. out",
        ));
    }
    let trimmed = text.trim_end_matches('/');
    Ok(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(host: Option<&str>, path: &str) -> Route {
        let host = host.map(|host| host_pattern(host).unwrap());
        route(host, path.to_owned(), 0, &cache::Draft::default())
    }

    #[test]
    fn earlier_routes_cover_later_ones() {
        let covered = |a: (Option<&str>, &str), b: (Option<&str>, &str)| {
            covers(&pattern(a.0, a.1), &pattern(b.0, b.1))
        };
        assert!(covered((None, "/"), (Some("a.test"), "/api")));
        assert!(covered((None, "/api"), (None, "/api/v1")));
        assert!(!covered((None, "/api"), (None, "/apiary")));
        assert!(!covered((Some("a.test"), "/"), (None, "/")));
        assert!(covered((Some("*.test"), "/"), (Some("a.test"), "/")));
        assert!(!covered((Some("*.test"), "/"), (Some("atest"), "/")));
        assert!(!covered((Some("*.a.test"), "/"), (Some("*.test"), "/")));
        assert!(covered((Some("*.test"), "/"), (Some("*.a.test"), "/")));
    }

    #[test]
    fn hosts_and_paths_are_normal() {
        assert_eq!(
            host_pattern("WWW.Example.com."),
            Ok(HostPattern::Exact("www.example.com".to_owned()))
        );
        assert_eq!(host_pattern("::1"), Ok(HostPattern::Exact("[::1]".to_owned())));
        for text in ["*", "a:80", "http://a", "a.*.b", "a b", "ä.test"] {
            assert!(host_pattern(text).is_err(), "{text}");
        }
        assert_eq!(path_prefix("/api/"), Ok("/api".to_owned()));
        for text in ["api", "/api/*", "/a?b", "/a/../b", "/ä"] {
            assert!(path_prefix(text).is_err(), "{text}");
        }
    }
}
