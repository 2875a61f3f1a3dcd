//! Why a running node would handle a request as it would: its rules, and what it has in store.

use http::header::{COOKIE, ETAG, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::ask::Ask;
use super::describe::{self, fields, freshness, varying};
use super::explanation::{
    Copy, Decision, Explanation, Flight, Known, Live, Message, Setback, Varying, Word,
};
use super::stage::request;
use crate::cache::{Examined, Refresh, Would};
use crate::context::{Detail, Forwarded, Outcome};
use crate::headers::names_secret;
use crate::proxy::{InCache, Look, Looked};
use crate::store::{CodedCopy, Content, Standing, StoredResponse};
use crate::upstream::{self, head_as_sent};

/// Variants for other requests that are shown.
const MOST_OTHERS: usize = 8;

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// Looks at what a node would do with a request, and at what it has for it. Nothing is done: no
/// origin is asked, nothing is stored, purged or refreshed, and nothing counts as used.
pub async fn explain_live(look: &Look, ask: &Ask, upstreams: &[upstream::Config]) -> Explanation {
    let Looked { trace, client, answer, mut cache } = look.at(request(ask)).await;
    let names: Vec<_> = upstreams.iter().map(|upstream| upstream.name.clone()).collect();
    let mut all = Explanation { client: client.to_string(), ..describe::beginning(ask) };
    if let (Some(routed), Some(ruling)) = (trace.routed(), trace.ruling()) {
        describe::routed(&mut all, routed, &ruling, ask, &names);
        hide_settings(&mut all);
    }
    let mut live = Live::default();
    let outcome = match &answer {
        Ok(response) => response.outcome,
        Err(error) => Outcome { detail: Some(Detail::Error(error.kind)), ..Outcome::default() },
    };
    let tunnels = matches!(outcome.forwarded, Some(Forwarded::Bypass));
    live.would = match (&cache, &answer) {
        (Some(InCache { examined, .. }), _) => word(examined.would),
        (None, Err(_)) => "refuse".into(),
        (None, Ok(_)) if tunnels => "pass".into(),
        (None, Ok(_)) => "answer".into(),
    };
    if let (Ok(response), true) = (&answer, outcome.hit || live.would == "answer") {
        let shown = shown(response.http.headers(), &HeaderMap::new());
        let start = response.http.status().as_str().to_owned();
        all.response = Some(Message { start, headers: shown });
    }
    let mut meets_a_mark = false;
    all.origin =
        cache.as_mut().and_then(|cache| cache.origin.take()).and_then(|(index, request)| {
            let head = head_as_sent(upstreams.get(index)?, request).ok()?;
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            let start = format!("{} {target}", head.method);
            Some(Message { start, headers: shown(&head.headers, &ask.headers) })
        });
    if let Some(InCache { examined, .. }) = &cache {
        meets_a_mark = examined.mark.is_some() && examined.stored().is_none();
        in_cache(&mut all, &mut live, examined);
    }
    all.decision = Some(decision(&outcome, cache.as_ref().map(|cache| &cache.examined)));
    all.otherwise = match (&live.hit_for_miss, outcome.detail) {
        (Some(known), _) if meets_a_mark => known.advice.clone().into_owned(),
        (_, Some(detail)) => detail.advice().to_owned(),
        (_, None) => format!("{}; `seawall purge` has it fetched again", describe::NOT_TO_STORE),
    };
    all.live = Some(live);
    all
}

fn word(would: Would) -> Word {
    Word::Borrowed(match would {
        Would::Hit => "hit",
        Would::Stale(_) => "stale",
        Would::Decode => "decode",
        Would::Revalidate => "revalidate",
        Would::Complete => "complete",
        Would::Miss => "miss",
        Would::Pass => "pass",
        Would::Refuse(_) => "refuse",
    })
}

fn decision(outcome: &Outcome, examined: Option<&Examined>) -> Decision {
    let Outcome { hit, forwarded, ttl, detail, .. } = *outcome;
    Decision {
        hit,
        stored: examined.map(|examined| is_usable(examined).is_some()),
        ttl,
        forwarded: forwarded.map(|forwarded| forwarded.token().into()),
        reason: detail.map(|detail| detail.word().into()),
        meaning: detail.map(|detail| detail.meaning().into()),
    }
}

/// What is stored for the request, unless a purge has taken it away.
fn is_usable(examined: &Examined) -> Option<&StoredResponse> {
    let stored = examined.stored()?;
    (examined.standing != Some(Standing::Hard)).then_some(stored)
}

fn in_cache(all: &mut Explanation, live: &mut Live, examined: &Examined) {
    live.variants = examined.variants.len();
    if let Some(key) = &mut all.key {
        key.shared = examined.shared.as_ref().map(ToString::to_string);
    }
    live.purge_sequence = examined.purges;
    let others = examined.variants.iter().enumerate();
    let others = others.filter(|(place, _)| Some(*place) != examined.chosen);
    let vary = |stored: &StoredResponse| stored.head.vary().map(varying).unwrap_or_default();
    live.others = others.map(|(_, stored)| vary(stored)).take(MOST_OTHERS).collect();
    live.others.iter_mut().flatten().for_each(hide_varying);
    live.hit_for_miss = examined.mark.map(|(reason, left)| Known {
        reason: reason.word().into(),
        meaning: reason.meaning().into(),
        advice: reason.advice().into(),
        seconds: left.as_secs(),
    });
    live.setback = examined.trouble.map(|trouble| Setback {
        reason: trouble.kind.word().into(),
        meaning: trouble.kind.meaning().into(),
        patient: trouble.patient.as_secs(),
        quiet: trouble.quiet.as_secs(),
    });
    live.flight = examined
        .flight
        .map(|flight| Flight { answered: flight.answered, followers: flight.followers });
    live.refresh = is_served(examined.would).then(|| refresh(examined.refresh));
    if let Refresh::ByChance(chance) = examined.refresh {
        live.chance = chance;
    }
    if let Some(stored) = examined.stored() {
        live.found = Some("memory".into());
        live.purged = examined.standing.map(|standing| match standing {
            Standing::Valid => "none".into(),
            Standing::Soft => "soft".into(),
            Standing::Doubtful => "doubtful".into(),
            Standing::Hard => "hard".into(),
        });
        let start = stored.head.status().as_str().to_owned();
        let headers = shown(&stored.head.header_map(), &HeaderMap::new());
        live.stored = Some(Message { start, headers });
        live.as_it_came = !matches!(stored.content, Content::Coded);
        live.copies = stored.copies.made().iter().map(|made| copy(made)).collect();
        (live.bytes, live.whole) = match &stored.content {
            Content::Whole(blocks) => (blocks.len(), true),
            Content::Coded => {
                (stored.copies.made().iter().map(|copy| copy.blocks.len()).sum(), true)
            }
            Content::Parts(parts) => {
                (parts.parts.iter().map(|part| part.blocks.len()).sum(), false)
            }
        };
        all.variant = stored.head.vary().map(varying);
        all.variant.iter_mut().flatten().for_each(hide_varying);
        all.freshness = Some(freshness(&stored.head, &examined.config.policy, examined.now));
        if let Some(labels) = stored.stamp.labels() {
            describe::labels(all, labels);
        }
    }
}

fn copy(made: &CodedCopy) -> Copy {
    let etag = made.head.get(&ETAG);
    Copy {
        coding: made.coding.token().into(),
        level: made.level,
        bytes: made.blocks.len(),
        etag: etag.map(|etag| String::from_utf8_lossy(etag.as_bytes()).into_owned()),
    }
}

const fn is_served(would: Would) -> bool {
    matches!(would, Would::Hit | Would::Stale(_))
}

fn refresh(refresh: Refresh) -> Word {
    Word::Borrowed(match refresh {
        Refresh::None => "none",
        Refresh::Begins => "begins",
        Refresh::UnderWay => "under-way",
        Refresh::LeftAlone(_) => "left-alone",
        Refresh::NoRoom => "no-room",
        Refresh::ByChance(_) => "by-chance",
    })
}

/// Fields without secrets; what the one who asks has `told` is none to them.
fn shown(headers: &HeaderMap, told: &HeaderMap) -> Vec<(String, String)> {
    let mut hidden = headers.clone();
    for (name, value) in &mut hidden {
        if names_secret(name.as_str()) && !is_told(name, value, told) {
            *value = without_secret(name, value);
        }
    }
    fields(&hidden)
}

fn is_told(name: &HeaderName, value: &HeaderValue, told: &HeaderMap) -> bool {
    let pairs = |value: &HeaderValue| {
        let pairs = value.as_bytes().split(|byte| *byte == b';');
        pairs.map(|pair| pair.trim_ascii().to_vec()).collect::<Vec<_>>()
    };
    let mut known = told.get_all(name).iter();
    if *name == COOKIE {
        // Rules leave some of them out, and change their order.
        let known: Vec<_> = known.flat_map(pairs).collect();
        pairs(value).iter().all(|pair| known.contains(pair))
    } else {
        known.any(|known| known == value)
    }
}

/// Of a cookie its name stays, of anything else nothing.
fn without_secret(name: &HeaderName, value: &HeaderValue) -> HeaderValue {
    let hidden = HeaderValue::from_static(HIDDEN);
    if *name != SET_COOKIE {
        return hidden;
    }
    let Some(end) = value.as_bytes().iter().position(|byte| *byte == b'=') else { return hidden };
    let cookie = &value.as_bytes()[..end];
    HeaderValue::from_bytes(&[cookie, b"=", HIDDEN.as_bytes()].concat()).unwrap_or(hidden)
}

/// What was stored for another request may hold that one's secrets.
fn hide_varying(varying: &mut Varying) {
    if names_secret(&varying.field)
        && let Some(value) = &mut varying.value
    {
        HIDDEN.clone_into(value);
    }
}

/// What rules tell an origin may be a secret between the two.
fn hide_settings(all: &mut Explanation) {
    let sets = all.rules.iter_mut().flat_map(|rule| &mut rule.sets);
    let sets = sets.map(|(key, value)| (&*key, value));
    let effective = all.settings.iter_mut().map(|setting| (&setting.key, &mut setting.value));
    for (key, value) in sets.chain(effective) {
        let field = key.strip_prefix("request.").or_else(|| key.strip_prefix("response."));
        if field.is_some_and(names_secret) {
            HIDDEN.clone_into(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::headers;

    #[test]
    fn secrets_are_hidden_by_their_names() {
        let stored = headers(&[
            ("set-cookie", "session=s3cret; Path=/"),
            ("set-cookie", "s3cret"),
            ("x-api-key", "s3cret"),
            ("x-author", "somebody"),
            ("authorization", "Bearer mine"),
            ("cookie", "b=2; a=1"),
        ]);
        let told = headers(&[("authorization", "Bearer mine"), ("cookie", "a=1; b=2; c=3")]);
        let shown: Vec<_> = shown(&stored, &told).into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            shown,
            ["session=(hidden)", "(hidden)", "(hidden)", "somebody", "Bearer mine", "b=2; a=1"]
        );
    }
}
