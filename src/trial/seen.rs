//! What came of one request.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::ask::Reply;
use super::script::Sent;
use crate::cache;
use crate::clock::Timestamp;
use crate::context::{Detail, Outcome};
use crate::error::ProxyError;
use crate::key::Target;
use crate::policy::{self, FreshnessLifetime, Overrides, StaleGrant};
use crate::proxy::{Routed, Ruling, Trace};
use crate::store::StoredResponse;

/// What came of one request, on all sides.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The status that the client got.
    pub status: StatusCode,
    /// The fields that the client got.
    pub headers: HeaderMap,
    /// The body that the client got.
    pub body: Bytes,
    /// Whether it came to its end.
    pub whole: bool,
    /// How the request was handled; `None` where it was cut.
    pub outcome: Option<Outcome>,
    /// Where it was routed; `None` where it got no route.
    pub routed: Option<Routed>,
    /// What all rules say, those on responses too.
    pub ruling: Option<Arc<Ruling>>,
    /// What it shares with other URLs (`No-Vary-Search`), where that is what is stored for it.
    pub shared: Option<Target>,
    /// What is stored for the request now.
    pub stored: Option<Arc<StoredResponse>>,
    /// The variants that are stored for its key now.
    pub variants: usize,
    /// What the origin was asked, in order.
    pub sent: Vec<Sent>,
    /// When it was answered.
    pub now: Timestamp,
}

impl Seen {
    pub(super) fn new(status: StatusCode, headers: HeaderMap) -> Self {
        Self {
            status,
            headers,
            body: Bytes::new(),
            whole: true,
            outcome: None,
            routed: None,
            ruling: None,
            shared: None,
            stored: None,
            variants: 0,
            sent: Vec::new(),
            now: Timestamp::EPOCH,
        }
    }

    pub(super) fn failed(error: &ProxyError) -> Self {
        Self { whole: false, ..Self::new(error.kind.status(), HeaderMap::new()) }
    }

    /// Looks at what is stored, and asks the rules what they say of it.
    pub(super) fn look(&mut self, reply: &Reply, trace: &Trace, cache: &cache::Shared) {
        self.now = cache.clock().now();
        self.routed = trace.routed().cloned();
        let Some(routed) = &self.routed else { return };
        let policy = &routed.ruling.terms().cache.policy;
        let memory = cache.memory();
        let under = |target: &Target| target.with_key_str(|key| memory.peek(key));
        let mut variants = under(&routed.keyed);
        if variants.is_none() {
            let shared = memory.search(&routed.keyed).and_then(|it| it.shared(&routed.keyed));
            variants = shared.as_ref().and_then(under);
            self.shared = shared.filter(|_| variants.is_some());
        }
        if let Some(variants) = variants {
            let all = variants.as_slice();
            let heads = all.iter().map(|stored| &stored.head);
            // As they were looked up by: what is not keyed of cookies is gone.
            let chosen = policy::select(heads, &routed.headers, policy);
            self.variants = all.len();
            self.stored = chosen.and_then(|place| all.get(place)).cloned();
        }
        let ruling = Arc::clone(&routed.ruling);
        let refined = match (&self.stored, reply) {
            (Some(stored), _) => ruling.refine(stored.head.status(), &stored.head.header_map()),
            (None, Reply::Response { status, headers, .. }) => ruling.refine(*status, headers),
            (None, Reply::Failure(_)) => None,
        };
        self.ruling = Some(refined.unwrap_or(ruling));
    }

    /// The word that explains it; a fresh hit needs none.
    #[must_use]
    pub fn reason(&self) -> Option<Detail> {
        self.outcome?.detail
    }

    /// Whether it was answered by a stored response without waiting for the origin.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        self.outcome.is_some_and(|outcome| outcome.hit)
    }

    /// Whether what is stored was served past its lifetime.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let grants = [
            StaleGrant::WhileRevalidate,
            StaleGrant::IfError,
            StaleGrant::Disconnected,
            StaleGrant::RequestMaxStale,
        ];
        let reason = self.reason();
        grants.iter().any(|grant| reason == Some(Detail::Reason(grant.reason())))
    }

    /// What the cache's settings are for what came.
    #[must_use]
    pub fn policy(&self) -> Option<&Overrides> {
        self.ruling.as_ref().map(|ruling| &ruling.terms().cache.policy)
    }

    /// The lifetime of what is stored.
    #[must_use]
    pub fn lifetime(&self) -> Option<FreshnessLifetime> {
        Some(self.stored.as_ref()?.head.freshness(self.policy()?))
    }

    /// The names of the rules that count, in the order of the file; unnamed ones by their lines.
    #[must_use]
    pub fn rules(&self) -> Vec<String> {
        self.ruling.as_deref().map(Ruling::names).unwrap_or_default()
    }

    /// Our own member of `Cache-Status`, which is the last.
    #[must_use]
    pub fn cache_status(&self) -> Option<&str> {
        self.headers.get_all("cache-status").iter().next_back()?.to_str().ok()
    }
}
