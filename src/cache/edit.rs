//! What rules change of responses to clients, whether they come from memory or from the origin.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Config, Job};
use crate::clock::Timestamp;
use crate::context::Response;
use crate::headers::list_members;
use crate::policy;
use crate::rules::{self, RequestEdits};

impl Job {
    /// A response for the client, changed as the rules say for the response that the job was
    /// settled for: a 304 and a part are changed as the whole would be.
    pub(super) fn edited(&self, response: Response, now: Timestamp) -> Response {
        self.edited_by(&self.config, response, now)
    }

    /// The same by the settings for another response.
    pub(super) fn edited_by(
        &self,
        config: &Config,
        mut response: Response,
        now: Timestamp,
    ) -> Response {
        if let Some(lifetime) = config.browser_ttl
            && self.method().is_safe()
        {
            let outcome = &response.outcome;
            let shared = outcome.hit || outcome.stored || outcome.collapsed;
            let status = response.http.status();
            policy::tell_client(response.http.headers_mut(), status, shared, lifetime, now);
        }
        if config.edits.is_some() {
            let ranges = ranges_type(&response.http);
            self.edit(config, response.http.headers_mut());
            if let Some(ranges) = ranges {
                response.http.headers_mut().insert(CONTENT_TYPE, ranges);
            }
        }
        response
    }

    fn edit(&self, config: &Config, headers: &mut HeaderMap) {
        if let Some(edits) = &config.edits {
            edits.evaluate(&self.seen()).apply(headers);
        }
    }

    /// Changes a response that does not come through the cache.
    pub fn edit_own(&self, status: StatusCode, headers: &mut HeaderMap) {
        match &self.by_response {
            None => self.edit(&self.config, headers),
            Some(rules) => self.edit(&rules.settings(status, headers), headers),
        }
    }

    /// Whether the origin is told something beside the key, or knows the target by another path.
    pub(super) fn differs_at_origin(&self) -> bool {
        let differs = |edits: &Arc<RequestEdits>| edits.tells_unkeyed() || edits.path.is_some();
        self.edits.as_ref().is_some_and(differs)
    }

    /// Whether a response varies by a field in which rules tell the origin the client's address.
    pub(super) fn varies_by_client(&self, fields: &HeaderMap) -> bool {
        let vary = list_members(fields, &VARY);
        self.edits.as_ref().is_some_and(|edits| edits.fields.tell_client_in(vary))
    }

    /// The request as rules see it.
    #[must_use]
    pub fn seen(&self) -> rules::Request<'_> {
        rules::Request {
            method: self.method(),
            target: self.own(),
            headers: self.headers(),
            client: self.request.client,
        }
    }

    /// Its head alone, for what is to be changed when the request is gone; `None` where nothing
    /// is.
    #[must_use]
    pub fn for_edits(&self) -> Option<Self> {
        if self.config.edits.is_none() && self.by_response.is_none() {
            return None;
        }
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = self.method().clone();
        head.headers = self.headers().clone();
        Some(Self {
            request: self.request.with_head(head),
            target: self.target.clone(),
            shares: self.shares.clone(),
            config: Arc::clone(&self.config),
            by_response: self.by_response.clone(),
            edits: None,
            upstream: self.upstream,
            trusted: self.trusted,
        })
    }
}

/// The type of several ranges in one response, which has their boundary (RFC 9110 §14.6): it is of
/// this message, and no edit's to change.
fn ranges_type<B>(response: &http::Response<B>) -> Option<HeaderValue> {
    let value = response.headers().get(CONTENT_TYPE)?;
    let is_ranges = response.status() == StatusCode::PARTIAL_CONTENT
        && value.as_bytes().starts_with(b"multipart/byteranges");
    is_ranges.then(|| value.clone())
}
