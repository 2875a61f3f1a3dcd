//! What is said of a request alike, whether it was tried or looked at.

use std::time::Duration;

use http::HeaderMap;
use http::header::COOKIE;

use super::ask::Ask;
use super::explanation::{Effective, Explanation, Freshness, Keyed, MatchedRule, Varying};
use crate::clock::Timestamp;
use crate::policy::{self, Overrides, StoredHead, VaryKey, VaryOutcome};
use crate::proxy::{Routed, Ruling};
use crate::rules::{KeyRules, Labels, QueryRules};

/// Tags and groups of a response that are shown, of each.
const MOST_LABELS: usize = 100;

/// What to change for what is stored and used.
pub(super) const NOT_TO_STORE: &str =
    "`no-store` or `private` from the origin, or `cache = { enabled = false }` in a rule";

/// What is known of a request before anything has come of it.
pub(super) fn beginning(ask: &Ask) -> Explanation {
    let scheme = if ask.secure { "https" } else { "http" };
    let host = String::from_utf8_lossy(ask.host.as_bytes());
    Explanation {
        method: ask.method.to_string(),
        url: format!("{scheme}://{host}{}", ask.path),
        client: ask.client.to_string(),
        ..Explanation::default()
    }
}

/// Where it was routed, and what `ruling`, which is over that, says of it.
pub(super) fn routed(
    all: &mut Explanation,
    routed: &Routed,
    ruling: &Ruling,
    ask: &Ask,
    upstreams: &[String],
) {
    all.route = Some(ruling.route().name.clone());
    all.upstream = upstreams.get(ruling.route().upstream).cloned();
    all.rules = rules(&routed.ruling, ruling);
    all.settings = settings(ruling);
    all.key = Some(keyed(routed, &ask.headers));
}

/// What a response can be purged by beside its URL.
pub(super) fn labels(all: &mut Explanation, labels: &Labels) {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    all.tags = labels.tags().take(MOST_LABELS).map(text).collect();
    all.groups = labels.groups().take(MOST_LABELS).map(text).collect();
    all.more_tags = labels.len() - all.tags.len() - all.groups.len();
}

fn rules(asked: &Ruling, ruling: &Ruling) -> Vec<MatchedRule> {
    let mut numbers: Vec<_> = asked.rules().iter().chain(asked.pending()).copied().collect();
    numbers.sort_unstable();
    let matched = |number: u16| {
        let rule = ruling.rule(number)?;
        let sets = rule.settings.iter();
        Some(MatchedRule {
            name: rule.known_as(),
            line: rule.line,
            counts: ruling.rules().contains(&number),
            sets: sets.map(|set| (set.key.clone(), set.value.clone())).collect(),
        })
    };
    numbers.into_iter().filter_map(matched).collect()
}

fn settings(ruling: &Ruling) -> Vec<Effective> {
    let effective = |by: crate::proxy::SetBy| {
        let rule = ruling.rule(by.rule)?;
        Some(Effective {
            key: by.setting.key,
            value: by.setting.value,
            by: format!("rule {}", rule.known_as()),
            line: rule.line,
        })
    };
    ruling.set_by().into_iter().filter_map(effective).collect()
}

/// What is keyed of a request whose fields were `asked`.
fn keyed(routed: &Routed, asked: &HeaderMap) -> Keyed {
    let key = routed.keyed.key();
    let mut lines = key.as_str().split('\n');
    let url = lines.next().unwrap_or_default().to_owned();
    let part = |line: &str| match line.split_once('=') {
        Some((name, value)) => Varying { field: name.to_owned(), value: Some(value.to_owned()) },
        None => Varying { field: line.to_owned(), value: None },
    };
    let parts = lines.map(part).collect();
    Keyed {
        asked: routed.asked.key().to_string(),
        key: key.to_string(),
        url,
        parts,
        shared: None,
        dropped: dropped(routed, asked),
    }
}

fn dropped(routed: &Routed, asked: &HeaderMap) -> Vec<(String, String)> {
    let rules = &routed.ruling.terms().key;
    let mut all = Vec::new();
    if routed.asked.authority != routed.keyed.authority {
        all.push((format!("host {}", routed.asked.authority), "key.host".to_owned()));
    }
    let query = routed.asked.path_and_query.query().unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some(mut by) = dropped_by(&rules.query, pair) else { continue };
        if rules.origin_sees_dropped {
            by.push_str(", and the origin sees it: key.origin_sees_dropped");
        }
        all.push((pair.to_owned(), by));
    }
    if routed.keyed.keys_cookies() {
        let left_out = dropped_cookies(rules, asked).into_iter();
        all.extend(left_out.map(|name| {
            (format!("cookie {name}"), "key.cookies, and the origin does not get it".to_owned())
        }));
    }
    all
}

/// The names of the cookies that are not keyed; the origin does not get them either.
fn dropped_cookies(rules: &KeyRules, asked: &HeaderMap) -> Vec<String> {
    let keyed = rules.cookies.as_deref().unwrap_or_default();
    let lines = asked.get_all(COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let names = pairs.filter_map(|pair| pair.split(|byte| *byte == b'=').next());
    let names = names.map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned());
    names.filter(|name| !name.is_empty() && !keyed.contains(name)).collect()
}

/// Which of the settings it is that drops a parameter: each is asked alone.
fn dropped_by(rules: &QueryRules, pair: &str) -> Option<String> {
    let none = QueryRules::default;
    let alone = [
        ("key.ignore_query", QueryRules { ignore: rules.ignore, ..none() }),
        ("key.keep_query", QueryRules { keep: rules.keep.clone(), ..none() }),
        ("key.drop_query", QueryRules { drop: rules.drop.clone(), ..none() }),
        ("key.drop_tracking", QueryRules { drop_tracking: rules.drop_tracking, ..none() }),
    ];
    let dropping = alone.into_iter().find(|(_, rules)| rules.apply(pair).is_none());
    dropping.map(|(key, _)| key.to_owned())
}

pub(super) fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// What `Vary` makes of a request's fields; `None` where it names none.
pub(super) fn variant(
    response: &HeaderMap,
    asked: &HeaderMap,
    policy: &Overrides,
) -> Option<Vec<Varying>> {
    match VaryKey::parse(response, asked, policy) {
        VaryOutcome::None => None,
        VaryOutcome::Star => Some(vec![Varying { field: "*".to_owned(), value: None }]),
        VaryOutcome::Key(key) => Some(varying(&key)),
    }
}

/// The fields that `Vary` names, with the values that were stored for.
pub(super) fn varying(key: &VaryKey) -> Vec<Varying> {
    let varying = key.nominated().map(|(name, value)| Varying {
        field: name.to_string(),
        value: value.map(|value| String::from_utf8_lossy(value).into_owned()),
    });
    varying.collect()
}

pub(super) fn freshness(head: &StoredHead, policy: &Overrides, now: Timestamp) -> Freshness {
    let lifetime = head.freshness(policy);
    let unbounded =
        Overrides { min_lifetime: Duration::ZERO, max_lifetime: Duration::MAX, ..policy.clone() };
    let (age, windows) = (head.current_age(now), head.stale_windows(policy));
    let until = now.plus(lifetime.duration).minus(age);
    Freshness {
        source: lifetime.source.word().into(),
        given: head.freshness(&unbounded).duration.as_secs(),
        lifetime: lifetime.duration.as_secs(),
        age: age.as_secs(),
        lifetime_ms: millis(lifetime.duration),
        age_ms: millis(age),
        initial_age_ms: millis(head.initial_age().min(age)),
        ttl: head.ttl(policy, now),
        until: policy::format_date(until),
        stale_while_revalidate: windows.while_revalidate.as_secs(),
        stale_if_error: windows.if_error.as_secs(),
        stale_when_disconnected: windows.when_disconnected.as_secs(),
        stale_forbidden: head.bars_stale(policy),
        validator: !head.validators().is_empty(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
