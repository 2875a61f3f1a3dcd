//! All rules, compiled so that a thousand of them cost a request little: every path pattern is
//! matched in one pass, and only rules whose host or path can match are looked at.

use std::cell::RefCell;
use std::collections::HashMap;

use foldhash::fast::FixedState;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};
use smallvec::SmallVec;

use super::Request;
use super::condition::Condition;
use super::pattern::PathPattern;
use crate::key::HostPattern;

/// Bound on the compiled path patterns of all rules, and on the scratch memory of matching them,
/// in bytes.
const MAX_COMPILED: usize = 32 * 1024 * 1024;
const MAX_SCRATCH: usize = 4 * 1024 * 1024;

/// Numbers of the rules that match, in the order of the file.
pub type Matched = SmallVec<[u16; 16]>;

/// The rules' path patterns are too large when taken together.
#[derive(Debug, thiserror::Error)]
#[error("the path patterns of all rules are too large together")]
pub struct RuleSetError(#[from] Box<BuildError>);

/// The rules of a configuration.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Condition<usize>>,
    paths: Option<Regex>,
    /// Rules that name hosts, by each of them.
    by_host: HashMap<Box<str>, Vec<u16>, FixedState>,
    /// Rules that name paths, by the pattern's number.
    by_path: Vec<Vec<u16>>,
    /// Rules that may match whatever host and path are.
    always: Vec<u16>,
}

thread_local! {
    /// Which path patterns match: kept, so that a request allocates nothing for it.
    static SCRATCH: RefCell<PatternSet> = RefCell::new(PatternSet::new(0));
}

impl RuleSet {
    /// Compiles conditions; a rule's number is its place. Rules beyond 65535 are never matched:
    /// the configuration is bounded to far fewer.
    ///
    /// # Errors
    /// When the path patterns are too large together.
    pub fn new(conditions: impl IntoIterator<Item = Condition>) -> Result<Self, RuleSetError> {
        let mut numbers: HashMap<PathPattern, usize> = HashMap::new();
        let mut number = |pattern| {
            let next = numbers.len();
            *numbers.entry(pattern).or_insert(next)
        };
        let rules: Vec<_> =
            conditions.into_iter().map(|condition| condition.map_paths(&mut number)).collect();
        let mut patterns: Vec<_> = numbers.into_iter().collect();
        patterns.sort_unstable_by_key(|(_, number)| *number);
        let sources: Vec<_> = patterns.iter().map(|(PathPattern(source), _)| source).collect();
        let mut set = Self {
            paths: compile(&sources)?,
            by_path: vec![Vec::new(); sources.len()],
            ..Self::default()
        };
        set.index(&rules);
        set.rules = rules;
        Ok(set)
    }

    /// Files every rule where the fewest others are.
    fn index(&mut self, rules: &[Condition<usize>]) {
        let mut crowd = Crowd::default();
        for rule in rules {
            crowd.count(rule);
        }
        for (rule, condition) in (0..=u16::MAX).zip(rules) {
            match crowd.best(condition) {
                Some(Place::Hosts(hosts)) => {
                    for host in hosts {
                        self.by_host.entry(host.into()).or_default().push(rule);
                    }
                }
                Some(Place::Paths(paths)) => {
                    for path in paths {
                        self.by_path[*path].push(rule);
                    }
                }
                None => self.always.push(rule),
            }
        }
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules that `request` satisfies. Allocates only for more than 16 candidates.
    #[must_use]
    pub fn matching(&self, request: &Request<'_>) -> Matched {
        SCRATCH.with_borrow_mut(|paths| {
            // `OPTIONS *` is of the host as a whole (RFC 9110 §9.3.7): what is said of everything
            // is said of it too.
            let path = if request.target.path() == "*" { "/" } else { request.target.path() };
            self.match_paths(path, paths);
            let mut found: Matched = self.always.iter().copied().collect();
            let named = self.by_host.get(request.target.host());
            found.extend(named.into_iter().flatten().copied());
            for path in paths.iter() {
                found.extend(self.by_path[path.as_usize()].iter().copied());
            }
            found.sort_unstable();
            found.dedup();
            let matches = |pattern: &usize| {
                regex_automata::PatternID::new(*pattern).is_ok_and(|id| paths.contains(id))
            };
            found.retain(|rule| self.rules[usize::from(*rule)].holds(request, &matches));
            found
        })
    }

    fn match_paths(&self, path: &str, found: &mut PatternSet) {
        found.clear();
        let Some(paths) = &self.paths else { return };
        if found.capacity() != paths.pattern_len() {
            *found = PatternSet::new(paths.pattern_len());
        }
        paths.which_overlapping_matches(&Input::new(path), found);
    }
}

fn compile(sources: &[&String]) -> Result<Option<Regex>, RuleSetError> {
    if sources.is_empty() {
        return Ok(None);
    }
    let config = Config::new()
        .match_kind(MatchKind::All)
        .utf8_empty(false)
        .nfa_size_limit(Some(MAX_COMPILED))
        .onepass_size_limit(Some(MAX_COMPILED))
        .hybrid_cache_capacity(MAX_SCRATCH);
    let regex = Regex::builder()
        .configure(config)
        // Globs are compiled over bytes.
        .syntax(syntax::Config::new().utf8(false))
        .build_many(sources)
        .map_err(Box::new)?;
    Ok(Some(regex))
}

/// Where a rule can be filed.
enum Place<'a> {
    Hosts(Vec<&'a str>),
    Paths(&'a [usize]),
}

/// How many rules share a host or a path pattern.
#[derive(Default)]
struct Crowd<'a> {
    hosts: HashMap<&'a str, usize>,
    paths: HashMap<usize, usize>,
}

impl<'a> Crowd<'a> {
    fn count(&mut self, condition: &'a Condition<usize>) {
        for host in exact_hosts(condition).into_iter().flatten() {
            *self.hosts.entry(host).or_default() += 1;
        }
        for path in paths(condition).unwrap_or_default() {
            *self.paths.entry(*path).or_default() += 1;
        }
    }

    fn best(&self, condition: &'a Condition<usize>) -> Option<Place<'a>> {
        let hosts = exact_hosts(condition);
        let paths = paths(condition);
        let most = |counts: &mut dyn Iterator<Item = usize>| counts.max().unwrap_or(0);
        match (hosts, paths) {
            (Some(hosts), Some(paths)) => {
                let at_hosts = most(&mut hosts.iter().map(|host| self.hosts[host]));
                let at_paths = most(&mut paths.iter().map(|path| self.paths[path]));
                Some(if at_hosts < at_paths { Place::Hosts(hosts) } else { Place::Paths(paths) })
            }
            (Some(hosts), None) => Some(Place::Hosts(hosts)),
            (None, Some(paths)) => Some(Place::Paths(paths)),
            (None, None) => None,
        }
    }
}

/// The hosts that a rule is bound to, if it names them one by one.
fn exact_hosts(condition: &Condition<usize>) -> Option<Vec<&str>> {
    required(condition).find_map(|condition| match condition {
        Condition::Host(patterns) => patterns.iter().map(exact).collect(),
        _ => None,
    })
}

fn exact(pattern: &HostPattern) -> Option<&str> {
    match pattern {
        HostPattern::Exact(name) => Some(name),
        HostPattern::Below(_) => None,
    }
}

/// The path patterns of which one has to match.
fn paths(condition: &Condition<usize>) -> Option<&[usize]> {
    required(condition).find_map(|condition| match condition {
        Condition::Path(patterns) => Some(&**patterns),
        _ => None,
    })
}

/// What certainly has to hold: the condition, or each part of a conjunction.
fn required(condition: &Condition<usize>) -> impl Iterator<Item = &Condition<usize>> {
    let (one, all) = match condition {
        Condition::All(all) => (None, &**all),
        one => (Some(one), &[][..]),
    };
    one.into_iter().chain(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Target;
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    fn path(glob: &str) -> Condition {
        Condition::Path([PathPattern::glob(glob).unwrap()].into())
    }

    fn host(name: &str) -> Condition {
        Condition::Host([HostPattern::Exact(name.to_owned())].into())
    }

    fn ask<R>(url: &str, answer: impl FnOnce(&Request<'_>) -> R) -> R {
        let target = Target::parse(url).unwrap();
        let client = "192.0.2.7".parse().unwrap();
        let (method, headers) = (&Method::GET, &HeaderMap::new());
        answer(&Request { method, target: &target, headers, client })
    }

    fn matching(set: &RuleSet, url: &str) -> Vec<u16> {
        ask(url, |request| set.matching(request).to_vec())
    }

    #[test]
    fn rules_are_found_by_host_by_path_and_otherwise() {
        let set = RuleSet::new([
            Condition::All([].into()),
            path("/api/**"),
            host("a.test"),
            Condition::All([host("a.test"), path("/api/**")].into()),
            Condition::Any([host("b.test"), path("/x")].into()),
            Condition::Not(Box::new(path("/api/*"))),
            Condition::Path(["/x", "/api/1"].map(|glob| PathPattern::glob(glob).unwrap()).into()),
        ])
        .unwrap();
        assert_eq!(matching(&set, "http://a.test/api/1"), [0, 1, 2, 3, 6]);
        assert_eq!(matching(&set, "http://b.test/api"), [0, 1, 4, 5]);
        assert_eq!(matching(&set, "http://c.test/x"), [0, 4, 5, 6]);
        assert!(RuleSet::default().is_empty());
        assert!(matching(&RuleSet::default(), "http://c.test/").is_empty());
    }

    fn condition() -> impl Strategy<Value = Condition> {
        let leaf = prop_oneof![
            prop::sample::select(vec!["/a", "/a/**", "/*/b", "/**/*.css", "/{a,b}/c"])
                .prop_map(path),
            prop::sample::select(vec!["a.test", "b.test"]).prop_map(host),
            Just(Condition::Host([HostPattern::Below("test".to_owned())].into())),
            any::<bool>().prop_map(Condition::Secure),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let several = prop::collection::vec(inner.clone(), 0..3);
            prop_oneof![
                several.clone().prop_map(|all| Condition::All(all.into())),
                several.prop_map(|any| Condition::Any(any.into())),
                inner.prop_map(|not| Condition::Not(Box::new(not))),
            ]
        })
    }

    proptest! {
        /// The index is a shortcut, never another answer.
        #[test]
        fn as_if_each_rule_were_asked(
            rules in prop::collection::vec(condition(), 0..20),
            host in prop::sample::select(vec!["a.test", "b.test", "c.test", "test"]),
            path in prop::sample::select(vec!["/", "/a", "/a/b", "/b/c", "/x/y/z.css"]),
        ) {
            let url = format!("http://{host}{path}");
            let each: Vec<u16> = (0..).zip(&rules).filter(|(_, rule)| {
                let slow = |pattern: &PathPattern| {
                    regex::bytes::Regex::new(&pattern.0).unwrap().is_match(path.as_bytes())
                };
                ask(&url, |request| rule.holds(request, &slow))
            }).map(|(number, _)| number).collect();
            let set = RuleSet::new(rules.clone()).unwrap();
            prop_assert_eq!(matching(&set, &url), each);
        }
    }
}
