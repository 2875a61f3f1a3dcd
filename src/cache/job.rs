//! What the cache is asked, and what it asks of an origin for it.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use http::{HeaderMap, Method, StatusCode};

use super::{ByResponse, Config, Protect};
use crate::context::{Interims, Request};
use crate::headers::Present;
use crate::key::Target;
use crate::policy::{RequestDirectives, RequestFacts, SearchVariation, StoredHead};
use crate::rules::RequestEdits;

/// A request for the cache, with what its route says.
#[derive(Debug)]
pub struct Job {
    /// The request.
    pub request: Request,
    /// Its effective URI, in normal form.
    pub target: Target,
    /// What it asks for by itself, where `target` is what it shares with others.
    pub shares: Option<Box<Shares>>,
    /// How its route and the rules cache, as far as that is known.
    pub config: Arc<Config>,
    /// Rules that wait for a response, if there are any.
    pub by_response: Option<Arc<dyn ByResponse>>,
    /// What the origin is told otherwise than the client says; nothing here is decided by it.
    pub edits: Option<Arc<RequestEdits>>,
    /// Index of the upstream.
    pub upstream: usize,
    /// Whether the peer is trusted to drive the cache by request directives.
    pub trusted: bool,
}

/// Why a request is answered by what other URLs are answered by, too.
#[derive(Clone, Debug)]
pub struct Shares {
    /// Its own target.
    own: Target,
    /// What the responses say of the queries that they share.
    pub(super) variation: Arc<SearchVariation>,
}

/// A request for an origin.
#[derive(Debug)]
pub struct Fetch {
    /// Index of the upstream.
    pub upstream: usize,
    /// The effective URI.
    pub target: Target,
    /// What to send; its URI is the effective one.
    pub request: Request,
    /// What is changed of it on its way.
    pub edits: Option<Arc<RequestEdits>>,
    /// Whether it is sent to an origin in trouble.
    pub protect: Protect,
    /// Where interim responses go.
    pub interims: Option<Interims>,
    /// Whether the peer's forwarding fields are believed.
    pub trusted: bool,
}

impl From<Job> for Fetch {
    /// The request as it is, past the cache.
    fn from(job: Job) -> Self {
        let Job { mut request, target, config, edits, upstream, trusted, .. } = job;
        let protect = config.protect;
        request.head.uri = target.uri();
        let interims = request.open_interims();
        Self { upstream, target, request, edits, protect, interims, trusted }
    }
}

impl Job {
    /// The settings for a stored response.
    pub(super) fn config_for(&self, head: &StoredHead) -> Cow<'_, Arc<Config>> {
        match &self.by_response {
            None => Cow::Borrowed(&self.config),
            Some(rules) => Cow::Owned(rules.settings(head.status(), &head.header_map())),
        }
    }

    /// Keeps to the settings for a stored response.
    pub(super) fn settle(&mut self, head: &StoredHead) {
        if let Cow::Owned(config) = self.config_for(head) {
            self.config = config;
        }
    }

    /// Keeps to the settings for a response that came.
    pub(super) fn settle_for(&mut self, status: StatusCode, headers: &HeaderMap) {
        if let Some(rules) = &self.by_response {
            self.config = rules.settings(status, headers);
        }
    }

    /// The target of the request itself, whatever it shares with others.
    pub(super) fn own(&self) -> &Target {
        self.shares.as_ref().map_or(&self.target, |shares| &shares.own)
    }

    /// The same request for what its URL shares with others.
    pub(super) fn share(&mut self, target: Target, variation: Arc<SearchVariation>) {
        let own = std::mem::replace(&mut self.target, target);
        self.shares = Some(Box::new(Shares { own, variation }));
    }

    /// Back to its own URL; whether it was for another.
    pub(super) fn keep_to_itself(&mut self) -> bool {
        let shares = self.shares.take();
        shares.map(|shares| self.target = shares.own).is_some()
    }

    pub(super) fn method(&self) -> &Method {
        &self.request.head.method
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.request.head.headers
    }

    pub(super) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            keyed_cookies: self.target.keys_cookies(),
            told_unkeyed: self.tells_unkeyed(),
            seed: self.seed(),
            ..RequestFacts::new(self.method(), self.headers(), self.trusted)
        }
    }

    /// Whether the origin is told something that is not in the key, and its answer shared.
    fn tells_unkeyed(&self) -> bool {
        let told = || self.edits.as_ref().is_some_and(|edits| edits.shares_unkeyed());
        self.own().sends_unkeyed() || told()
    }

    /// A number of the key, the same on every node; zero where nobody asks for it.
    fn seed(&self) -> u64 {
        if self.config.policy.jitter > 0.0 {
            self.target.with_key_str(|key| FixedState::default().hash_one(key))
        } else {
            0
        }
    }

    pub(super) fn directives(&self) -> RequestDirectives {
        if !self.request.present.any(Present::DIRECTIVES) {
            return RequestDirectives::default();
        }
        RequestDirectives::parse(self.headers())
    }
}
