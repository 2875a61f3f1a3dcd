//! Why a request is handled as it is: one request, tried and looked at from all sides.

use super::ask::{Ask, Reply};
use super::describe::{self, fields, freshness, variant};
use super::explanation::{Decision, Explanation, Message};
use super::script::Sent;
use super::seen::Seen;
use super::stage::Set;
use http::{HeaderMap, StatusCode};

use crate::clock::{Clock, Timestamp};
use crate::context::{Detail, Outcome};
use crate::policy::{Reason, RequestFacts, ResponseTimes, StoredHead};

/// Explains a request, and if the origin's answer is given, what becomes of that.
///
/// Blocks; to be called from anywhere, runtimes included.
#[must_use]
pub fn explain(set: &Set, ask: &Ask, reply: Option<&Reply>, upstreams: &[String]) -> Explanation {
    let seen = std::thread::scope(|scope| scope.spawn(|| watch(set, ask, reply)).join());
    let Ok(Some((first, second))) = seen else { return Explanation::default() };
    described(ask, reply, upstreams, &first, &second)
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

fn described(
    ask: &Ask,
    reply: Option<&Reply>,
    upstreams: &[String],
    first: &Seen,
    second: &Seen,
) -> Explanation {
    let mut all = describe::beginning(ask);
    if let (Some(routed), Some(ruling)) = (&first.routed, &first.ruling) {
        // Without a response, the rules on responses wait.
        let ruling = if reply.is_some() { ruling } else { &routed.ruling };
        describe::routed(&mut all, routed, ruling, ask, upstreams);
    }
    if let Some(key) = &mut all.key {
        key.shared = first.shared.as_ref().map(ToString::to_string);
    }
    all.origin = first.sent.first().map(asked);
    let known = reply.is_some() || first.sent.is_empty();
    let decided = decision(first, known);
    if known {
        all.response = Some(answered(first));
        all.next = Some(decision(second, true));
        if let Some(Reply::Response { status, headers, .. }) = reply {
            came(&mut all, ask, first, *status, headers);
        }
    }
    // What is not stored whatever the answer is, is known without one.
    if known || is_bypassed(first) {
        all.otherwise = otherwise(first, second);
    }
    all.decision = Some(decided);
    all
}

/// What there is to say of a response that came.
fn came(all: &mut Explanation, ask: &Ask, seen: &Seen, status: StatusCode, headers: &HeaderMap) {
    let (Some(routed), Some(policy)) = (&seen.routed, seen.policy()) else { return };
    all.variant = variant(headers, &routed.headers, policy);
    if let Some(stored) = &seen.stored {
        all.freshness = Some(freshness(&stored.head, policy, seen.now));
        if let Some(labels) = stored.stamp.labels() {
            describe::labels(all, labels);
        }
    } else if lacks_freshness(seen) {
        let facts = RequestFacts {
            keyed_cookies: routed.keyed.keys_cookies(),
            ..RequestFacts::new(&ask.method, &routed.headers, false)
        };
        let times = ResponseTimes { request_at: seen.now, response_at: seen.now };
        let head = StoredHead::new(&facts, status, headers, times, policy);
        all.freshness = Some(freshness(&head, policy, seen.now));
    }
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

fn asked(sent: &Sent) -> Message {
    Message { start: format!("{} {}", sent.method, sent.target), headers: fields(&sent.headers) }
}

fn answered(seen: &Seen) -> Message {
    Message { start: seen.status.as_str().to_owned(), headers: fields(&seen.headers) }
}

fn decision(seen: &Seen, known: bool) -> Decision {
    let Outcome { hit, forwarded, ttl, .. } = seen.outcome.unwrap_or_default();
    let reason = seen.reason().filter(|_| known || is_bypassed(seen));
    Decision {
        hit,
        stored: (known || is_bypassed(seen)).then_some(seen.stored.is_some()),
        ttl: ttl.filter(|_| known),
        forwarded: forwarded.map(|forwarded| forwarded.token().into()),
        reason: reason.map(|reason| reason.word().into()),
        meaning: reason.map(|reason| reason.meaning().into()),
    }
}

/// What to change: for what is not stored, that it is; for what is stored and not used, that it
/// is; for the rest, that it is not.
fn otherwise(first: &Seen, second: &Seen) -> String {
    let advice = |seen: &Seen| seen.reason().map(Detail::advice).unwrap_or_default().to_owned();
    match (first.stored.is_some(), second.is_hit()) {
        (false, _) => advice(first),
        (true, false) => advice(second),
        (true, true) => describe::NOT_TO_STORE.to_owned(),
    }
}
