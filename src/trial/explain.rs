//! Why a request is handled as it is: one request, looked at from all sides.

use std::time::Duration;

use serde::Serialize;

use super::ask::{Ask, Reply};
use super::script::Sent;
use super::seen::Seen;
use super::stage::Set;
use crate::clock::{Clock, Timestamp};
use crate::context::{Detail, Outcome};
use crate::policy::{
    self, Overrides, Reason, RequestFacts, ResponseTimes, StoredHead, VaryKey, VaryOutcome,
};
use crate::proxy::{Routed, Ruling};
use crate::rules::QueryRules;

/// What can be said of a request; its JSON form is stable, and fields are only added.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// The method.
    pub method: String,
    /// The URL, as it was asked for.
    pub url: String,
    /// The client's address.
    pub client: String,
    /// The route's name; absent where the request got none.
    pub route: Option<String>,
    /// The upstream's name.
    pub upstream: Option<String>,
    /// The rules that match, in the order of the file.
    pub rules: Vec<MatchedRule>,
    /// The settings that are written somewhere, and who wrote what counts.
    pub settings: Vec<Effective>,
    /// What it is stored under.
    pub key: Option<Keyed>,
    /// What the origin is asked, if it is.
    pub origin: Option<Message>,
    /// What the client gets; absent where the origin's answer is not known.
    pub response: Option<Message>,
    /// What is decided; without the origin's answer only what needs none.
    pub decision: Option<Decision>,
    /// What `Vary` makes of the request; absent where there is none.
    pub variant: Option<Vec<Varying>>,
    /// How long the answer is fresh; absent where it is not known, or where that is no question.
    pub freshness: Option<Freshness>,
    /// What the same request gets right after.
    pub next: Option<Decision>,
    /// What to change for the opposite.
    pub otherwise: String,
}

/// A rule that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchedRule {
    /// Its name, or else `line 7`.
    pub name: String,
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// Whether it counts: one with `match_response` waits for the response.
    pub counts: bool,
    /// What it sets: key and value, as written.
    pub sets: Vec<(String, String)>,
}

/// A setting as it counts, and who set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// The key: `cache.keep`.
    pub key: String,
    /// The value, as written.
    pub value: String,
    /// The section or rule: `[cache]`, `rule api`.
    pub by: String,
    /// Where that stands in the file, from 1.
    pub line: usize,
}

/// The key, and what of the URL is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Keyed {
    /// The URL in its normal form.
    pub asked: String,
    /// What of it counts.
    pub key: String,
    /// Parameters that do not count, and which setting says so.
    pub dropped: Vec<(String, String)>,
}

/// A message's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Method and target, or the status.
    pub start: String,
    /// The fields.
    pub headers: Vec<(String, String)>,
}

/// What is decided about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whether it is answered from memory.
    pub hit: bool,
    /// Whether an answer is stored then; `None` where that is not known.
    pub stored: Option<bool>,
    /// Seconds of freshness left.
    pub ttl: Option<i64>,
    /// Why it goes to the origin, in the words of RFC 9211.
    pub forwarded: Option<&'static str>,
    /// The reason word.
    pub reason: Option<&'static str>,
    /// What that means.
    pub meaning: Option<&'static str>,
}

/// One field that `Vary` names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Varying {
    /// The field.
    pub field: String,
    /// Its value in the request, as it is compared; `None` where it is absent.
    pub value: Option<String>,
}

/// Freshness, step by step; all times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// What the lifetime comes from: `s-maxage`, `default`.
    pub source: &'static str,
    /// The lifetime that this gives.
    pub given: u64,
    /// The lifetime within `min_lifetime` and `max_lifetime`.
    pub lifetime: u64,
    /// The age already when it came.
    pub age: u64,
    /// How long it is fresh from now on; negative where it is stale already.
    pub ttl: i64,
    /// When it is no longer fresh, as an HTTP date.
    pub until: String,
    /// How long it may then be served while one request refreshes it.
    pub stale_while_revalidate: u64,
    /// How long it may be served in place of an error.
    pub stale_if_error: u64,
    /// How long it may be served while no response comes at all.
    pub stale_when_disconnected: u64,
    /// Whether the origin forbids all of these.
    pub stale_forbidden: bool,
    /// Whether it can be validated: it has an entity tag or a date of change.
    pub validator: bool,
}

/// Explains a request, and if the origin's answer is given, what becomes of that.
///
/// Blocks; to be called from anywhere, runtimes included.
#[must_use]
pub fn explain(set: &Set, ask: &Ask, reply: Option<&Reply>, upstreams: &[String]) -> Explanation {
    let seen = std::thread::scope(|scope| scope.spawn(|| watch(set, ask, reply)).join());
    let Ok(Some((first, second))) = seen else { return Explanation::default() };
    describe(set, ask, reply, upstreams, &first, &second)
}

/// The request, and the same again.
fn watch(set: &Set, ask: &Ask, reply: Option<&Reply>) -> Option<(Seen, Seen)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    // Whole seconds are easier to follow.
    let stage = set.stage(Timestamp::from_secs(Clock::System.now().as_secs()));
    let reply = reply.cloned().unwrap_or_default();
    Some(runtime.block_on(async {
        let first = stage.ask(ask, &reply).await;
        (first, stage.ask(ask, &reply).await)
    }))
}

fn describe(
    set: &Set,
    ask: &Ask,
    reply: Option<&Reply>,
    upstreams: &[String],
    first: &Seen,
    second: &Seen,
) -> Explanation {
    let scheme = if ask.secure { "https" } else { "http" };
    let host = String::from_utf8_lossy(ask.host.as_bytes());
    let mut all = Explanation {
        method: ask.method.to_string(),
        url: format!("{scheme}://{host}{}", ask.path),
        client: ask.client.to_string(),
        ..Explanation::default()
    };
    if let (Some(routed), Some(ruling)) = (&first.routed, &first.ruling) {
        // Without a response, the rules on responses wait.
        let ruling = if reply.is_some() { ruling } else { &routed.ruling };
        all.route = Some(ruling.route().name.clone());
        all.upstream = upstreams.get(ruling.route().upstream).cloned();
        all.rules = rules(&routed.ruling, ruling);
        all.settings = settings(set, ruling);
        all.key = Some(keyed(routed));
    }
    all.origin = first.sent.first().map(asked);
    let known = reply.is_some() || first.sent.is_empty();
    let decided = decision(first, known);
    if known {
        all.response = Some(answered(first));
        all.next = Some(decision(second, true));
        if let (Some(Reply::Response { status, headers, .. }), Some(policy)) =
            (reply, first.policy())
        {
            all.variant = variant(headers, ask, policy);
            if first.stored.is_some() || lacks_freshness(first) {
                let facts = RequestFacts::new(&ask.method, &ask.headers, false);
                let times = ResponseTimes { request_at: first.now, response_at: first.now };
                let came = StoredHead::new(&facts, *status, headers, times, policy);
                let head = first.stored.as_ref().map_or(&came, |stored| &stored.head);
                all.freshness = Some(freshness(head, policy, first.now));
            }
        }
    }
    // What is not stored whatever the answer is, is known without one.
    if known || is_bypassed(first) {
        all.otherwise = otherwise(first, second);
    }
    all.decision = Some(decided);
    all
}

/// Whether it is for want of a lifetime that it is not stored.
fn lacks_freshness(seen: &Seen) -> bool {
    let reasons = [Reason::NoFreshness, Reason::Status];
    reasons.iter().any(|reason| seen.reason() == Some(Detail::Reason(*reason)))
}

fn is_bypassed(seen: &Seen) -> bool {
    use crate::context::Forwarded::{Bypass, Method, Request};
    let forwarded = seen.outcome.and_then(|outcome| outcome.forwarded);
    matches!(forwarded, Some(Bypass | Method | Request))
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

fn settings(set: &Set, ruling: &Ruling) -> Vec<Effective> {
    let rules = set.rules().list();
    let effective = |by: crate::proxy::SetBy| {
        let rule = rules.get(usize::from(by.rule))?;
        Some(Effective {
            key: by.setting.key,
            value: by.setting.value,
            by: format!("rule {}", rule.known_as()),
            line: rule.line,
        })
    };
    ruling.set_by().into_iter().filter_map(effective).collect()
}

fn keyed(routed: &Routed) -> Keyed {
    let query = routed.asked.path_and_query.query().unwrap_or_default();
    let rules = &routed.ruling.terms().key.query;
    let dropped = query.split('&').filter(|pair| !pair.is_empty());
    let dropped = dropped.filter_map(|pair| Some((pair.to_owned(), dropped_by(rules, pair)?)));
    Keyed {
        asked: routed.asked.key().to_string(),
        key: routed.keyed.key().to_string(),
        dropped: dropped.collect(),
    }
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

fn asked(sent: &Sent) -> Message {
    Message { start: format!("{} {}", sent.method, sent.target), headers: fields(&sent.headers) }
}

fn answered(seen: &Seen) -> Message {
    Message { start: seen.status.as_str().to_owned(), headers: fields(&seen.headers) }
}

fn fields(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn decision(seen: &Seen, known: bool) -> Decision {
    let Outcome { hit, forwarded, ttl, .. } = seen.outcome.unwrap_or_default();
    let reason = seen.reason().filter(|_| known || is_bypassed(seen));
    Decision {
        hit,
        stored: (known || is_bypassed(seen)).then_some(seen.stored.is_some()),
        ttl: ttl.filter(|_| known),
        forwarded: forwarded.map(crate::context::Forwarded::token),
        reason: reason.map(Detail::word),
        meaning: reason.map(Detail::meaning),
    }
}

fn variant(headers: &http::HeaderMap, ask: &Ask, policy: &Overrides) -> Option<Vec<Varying>> {
    match VaryKey::parse(headers, &ask.headers, policy) {
        VaryOutcome::None => None,
        VaryOutcome::Star => Some(vec![Varying { field: "*".to_owned(), value: None }]),
        VaryOutcome::Key(key) => {
            let varying = key.nominated().map(|(name, value)| Varying {
                field: name.to_string(),
                value: value.map(|value| String::from_utf8_lossy(value).into_owned()),
            });
            Some(varying.collect())
        }
    }
}

fn freshness(head: &StoredHead, policy: &Overrides, now: Timestamp) -> Freshness {
    let lifetime = head.freshness(policy);
    let unbounded =
        Overrides { min_lifetime: Duration::ZERO, max_lifetime: Duration::MAX, ..policy.clone() };
    let (age, windows) = (head.current_age(now), head.stale_windows(policy));
    let until = now.plus(lifetime.duration).minus(age);
    Freshness {
        source: lifetime.source.word(),
        given: head.freshness(&unbounded).duration.as_secs(),
        lifetime: lifetime.duration.as_secs(),
        age: age.as_secs(),
        ttl: head.ttl(policy, now),
        until: policy::format_date(until),
        stale_while_revalidate: windows.while_revalidate.as_secs(),
        stale_if_error: windows.if_error.as_secs(),
        stale_when_disconnected: windows.when_disconnected.as_secs(),
        stale_forbidden: head.must_revalidate(),
        validator: !head.validators().is_empty(),
    }
}

/// What to change: for what is not stored, that it is; for what is stored and not used, that it
/// is; for the rest, that it is not.
fn otherwise(first: &Seen, second: &Seen) -> String {
    let advice = |seen: &Seen| seen.reason().map(Detail::advice).unwrap_or_default().to_owned();
    match (first.stored.is_some(), second.is_hit()) {
        (false, _) => advice(first),
        (true, false) => advice(second),
        (true, true) => {
            "`no-store` or `private` from the origin, or `cache = { enabled = false }` in a rule"
                .to_owned()
        }
    }
}
