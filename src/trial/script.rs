//! An origin that answers what it is told, in the place of connections.

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::ask::Reply;
use crate::body::Body;
use crate::clock::{Clock, Timestamp};
use crate::error::ProxyError;
use crate::policy;
use crate::proxy::{Carried, Wire};
use crate::upstream::{self, OriginRequest, head_as_sent};

/// A request, as the origin gets it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The upstream's index.
    pub upstream: usize,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The fields.
    pub headers: HeaderMap,
}

/// The origin.
#[derive(Clone, Debug)]
pub(super) struct Script {
    clock: Clock,
    upstreams: Arc<[upstream::Config]>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    reply: Reply,
    sent: Vec<Sent>,
}

impl Script {
    pub(super) fn new(clock: Clock, upstreams: Arc<[upstream::Config]>) -> Self {
        Self { clock, upstreams, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers `reply` from now on.
    pub(super) fn answer(&self, reply: &Reply) {
        self.state().reply.clone_from(reply);
    }

    /// What it has been asked since this was called before.
    pub(super) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.state().sent)
    }

    fn exchange(
        &self,
        upstream: usize,
        request: OriginRequest,
    ) -> Result<http::Response<Body>, ProxyError> {
        let head = match self.upstreams.get(upstream) {
            Some(config) => head_as_sent(config, request)?,
            None => request.head,
        };
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let (method, headers) = (head.method, head.headers);
        let mut state = self.state();
        let answer = respond(&state.reply, &method, self.clock.now());
        state.sent.push(Sent { upstream, method, target, headers });
        answer
    }
}

impl Wire for Script {
    fn carry(&self, upstream: usize, request: OriginRequest) -> Carried {
        Box::pin(ready(self.exchange(upstream, request)))
    }
}

/// The answer with the fields that every server adds.
fn respond(
    reply: &Reply,
    method: &Method,
    now: Timestamp,
) -> Result<http::Response<Body>, ProxyError> {
    let (status, headers, content) = match reply {
        Reply::Response { status, headers, content } => (*status, headers, content),
        Reply::Failure(kind) => return Err((*kind).into()),
    };
    // RFC 9110 §6.4.1, §8.6.
    let no_content = status.is_informational() || status == StatusCode::NO_CONTENT;
    let bodiless = *method == Method::HEAD || no_content || status == StatusCode::NOT_MODIFIED;
    let sent = if bodiless { Body::Empty } else { Body::from(content.bytes()) };
    let mut response = http::Response::new(sent);
    *response.status_mut() = status;
    response.headers_mut().clone_from(headers);
    let fields = response.headers_mut();
    if !no_content && status != StatusCode::NOT_MODIFIED {
        fields.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(content.len()));
    }
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(policy::format_date(now))
    {
        fields.insert(DATE, date);
    }
    Ok(response)
}
