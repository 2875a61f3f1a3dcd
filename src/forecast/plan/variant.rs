//! `Vary`: which requests for a URL are answered by the same response (RFC 9111 §4.1). In a replay
//! each variant is a key of its own.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use http::header::VARY;
use http::{HeaderMap, HeaderValue, Method};

use super::place::{Placed, Places};
use super::{Ruled, Site};
use crate::cache::ByResponse;
use crate::forecast::intern::Interner;
use crate::forecast::trace::{Asked, Request, Trace};
use crate::policy::{VaryKey, VaryOutcome};

/// The variants of keys.
#[derive(Debug)]
pub(super) struct Variants {
    /// By the number of a response, whether it has a `Vary`.
    varies: Vec<bool>,
    any: bool,
    /// What requests have in the fields that are named.
    values: Interner,
    /// Which of them a request has, by asker, response, ruling and assumption.
    known: HashMap<(u32, u32, u32, Option<usize>), u32, FixedState>,
    /// By key and value, the key of the variant.
    keys: HashMap<(u32, u32), u32, FixedState>,
}

/// The number of nothing, which all requests have that no `Vary` is about.
const ALIKE: u32 = u32::MAX;

impl Variants {
    pub(super) fn new(site: &Site, trace: &Trace) -> Self {
        let varies = trace.responses.iter().map(|response| response.headers.contains_key(VARY));
        let varies: Vec<_> = varies.collect();
        let any = varies.contains(&true) || site.assumptions.iter().any(|it| it.vary().is_some());
        Self {
            varies,
            any,
            values: Interner::default(),
            known: HashMap::default(),
            keys: HashMap::default(),
        }
    }

    /// The key of what answers `request`, whose key without `Vary` is that of `placed`. Where the
    /// log tells no `Vary` at all, the assumption with number `assumed` counts.
    pub(super) fn key(
        &mut self,
        site: &Site,
        trace: &Trace,
        request: &Request,
        placed: Placed,
        all: &mut Places,
        assumed: Option<usize>,
    ) -> u32 {
        if !self.any {
            return placed.key;
        }
        let has = |response: &u32| self.varies.get(*response as usize) == Some(&true);
        let whole = trace.asked.get(request.asked as usize).and_then(|asked: &Asked| asked.whole);
        let told = Some(request.response).filter(has).or(whole.filter(has));
        let assumed = assumed.filter(|_| told.is_none());
        let response = match (told, assumed) {
            (None, None) => return placed.key,
            (told, _) => told.unwrap_or(request.response),
        };
        let known_by = (request.asker, response, placed.ruling, assumed);
        let value = self.known.get(&known_by).copied();
        let value = value.unwrap_or_else(|| {
            let value = self.value(site, trace, known_by, all);
            self.known.insert(known_by, value);
            value
        });
        if value == ALIKE {
            return placed.key;
        }
        *self
            .keys
            .entry((placed.key, value))
            .or_insert_with(|| all.variant(placed.key, self.values.get(value)))
    }

    /// What the request has in the fields that count.
    fn value(
        &mut self,
        site: &Site,
        trace: &Trace,
        (asker, response, ruling, assumed): (u32, u32, u32, Option<usize>),
        all: &Places,
    ) -> u32 {
        let asker = trace.askers.get(asker as usize);
        let response = trace.responses.get(response as usize);
        let Some((asker, response)) = asker.zip(response) else { return ALIKE };
        if !matches!(asker.method, Method::GET | Method::HEAD) {
            return ALIKE;
        }
        let config = match all.ruled.get(ruling as usize) {
            Some(Ruled::By(ruling)) => ruling.settings(response.status, &response.headers),
            Some(Ruled::Key) => std::sync::Arc::clone(&site.keyed),
            Some(Ruled::Refused(_)) | None => return ALIKE,
        };
        let assumed = assumed.and_then(|number| site.assumptions.get(number)?.vary());
        let made_up = assumed.map(with_vary);
        let fields = made_up.as_ref().unwrap_or(&response.headers);
        let VaryOutcome::Key(key) = VaryKey::parse(fields, &asker.headers, &config.policy) else {
            // What is not stored has no variants.
            return ALIKE;
        };
        let mut text = Vec::new();
        for (name, value) in key.nominated() {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(if value.is_some() { b"=" } else { b"\n" });
            text.extend_from_slice(value.unwrap_or_default());
            text.push(b'\n');
        }
        self.values.intern(&text).0
    }

    /// The keys of all variants, by the key that they are variants of.
    pub(super) fn by_key(&self) -> HashMap<u32, Vec<u32>, FixedState> {
        let mut by_key: HashMap<u32, Vec<u32>, FixedState> = HashMap::default();
        for ((key, _), variant) in &self.keys {
            by_key.entry(*key).or_default().push(*variant);
        }
        by_key
    }
}

fn with_vary(value: &HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(VARY, value.clone())])
}
