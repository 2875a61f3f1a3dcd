//! The stack in process: everything but sockets.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::HOST;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::ask::{Ask, Reply};
use super::script::Script;
use super::seen::Seen;
use crate::cache;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::context::{Connection, Protocol, Request, RequestBody, RequestId, RequestParts};
use crate::error::ProxyError;
use crate::limit::Limit;
use crate::proxy::{self, ErrorPages, Observed, Observer, OriginService, Parts, Proxy, Trace};
use crate::shutdown::Shutdown;
use crate::store::{self, Memory};
use crate::telemetry::Metrics;
use crate::telemetry::access_log::CoreLog;
use crate::upstream;

/// What the stages of one configuration have in common.
#[derive(Debug)]
pub struct Set {
    config: Arc<proxy::Config>,
    upstreams: Arc<[upstream::Config]>,
    store: store::Config,
    pages: Arc<ErrorPages>,
    metrics: Arc<Metrics>,
}

impl Set {
    /// For the settings of a node. Error pages that can't be read are the built-in ones.
    #[must_use]
    pub fn new(
        config: &proxy::Config,
        upstreams: &[upstream::Config],
        store: &store::Config,
    ) -> Self {
        let pages = ErrorPages::read(&config.error_pages, &config.name);
        Self {
            config: Arc::new(config.clone()),
            upstreams: upstreams.into(),
            store: store.clone(),
            pages: Arc::new(pages.unwrap_or_default()),
            metrics: Metrics::new(1),
        }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &proxy::Rules {
        &self.config.rules
    }

    /// An empty cache before an origin, at `start`.
    #[must_use]
    pub fn stage(&self, start: Timestamp) -> Stage {
        let manual = ManualClock::new(start);
        let clock = Clock::Manual(manual.clone());
        let shutdown = Shutdown::new();
        let waiting = Limit::new(self.config.limits.waiting());
        let background = shutdown.background().clone();
        let memory = Memory::new(&self.store);
        let cache = Arc::new(cache::Shared::new(memory, clock.clone(), background, waiting));
        let script = Script::new(clock.clone(), Arc::clone(&self.upstreams));
        let observer = Observer {
            metrics: self.metrics.core(0),
            log: CoreLog::default(),
            clock,
            name: self.config.name.clone(),
            upstreams: Arc::new([]),
            trusted: self.config.trusted_proxies.as_slice().into(),
            in_flight: Limit::new(self.config.limits.max_in_flight),
            per_client: None,
        };
        let proxy = proxy::stack(&Parts {
            config: Arc::clone(&self.config),
            observer: Arc::new(observer),
            pages: Arc::clone(&self.pages),
            cache: Arc::clone(&cache),
            origin: OriginService::new(script.clone(), Arc::clone(&self.config)),
            shutdown: shutdown.clone(),
        });
        Stage { proxy, cache, clock: manual, script, shutdown }
    }
}

/// The stack over an origin that answers what it is told.
#[derive(Debug)]
pub struct Stage {
    proxy: Proxy<Script>,
    cache: Arc<cache::Shared>,
    clock: ManualClock,
    script: Script,
    shutdown: Shutdown,
}

impl Stage {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// What comes of a request that the origin, should it be asked, answers with `reply`; also of
    /// what it sets off in the background.
    pub async fn ask(&self, ask: &Ask, reply: &Reply) -> Seen {
        self.script.answer(reply);
        let trace = Trace::default();
        let mut request = request(ask);
        request.head.extensions.insert(trace.clone());
        let answered = self.proxy.clone().oneshot(request).await;
        let mut seen = match answered {
            Ok(response) => read(response).await,
            Err(error) => Seen::failed(&error),
        };
        self.settle().await;
        seen.sent = self.script.take();
        seen.look(reply, &trace, self.cache.as_ref());
        seen
    }

    /// Waits until fills and refreshes are done.
    async fn settle(&self) {
        let background = self.shutdown.background();
        background.close();
        background.wait().await;
        background.reopen();
    }
}

/// The request as the server hands it to the stack.
pub(super) fn request(ask: &Ask) -> Request {
    let mut head = http::Request::new(()).into_parts().0;
    head.method = ask.method.clone();
    head.uri = ask.path.clone().into();
    head.headers.insert(HOST, ask.host.clone());
    head.headers.extend(ask.headers.clone());
    let peer = SocketAddr::new(ask.client, 0);
    let connection = Connection {
        peer,
        local: peer,
        secure: ask.secure,
        protocol: Protocol::Http1,
        interim: None,
        introduction: OnceLock::new(),
    };
    let (connection, now) = (Arc::new(connection), Instant::now());
    let mut request = RequestParts::boxed(head, RequestBody::Empty, &connection, now, RequestId(0));
    request.client = ask.client;
    request
}

/// Reads a response as far as it goes.
async fn read(response: http::Response<Observed>) -> Seen {
    let (head, mut body) = response.into_parts();
    let outcome = body.outcome().copied();
    let (bytes, whole) = collect(&mut body).await;
    Seen { body: bytes, whole, outcome, ..Seen::new(head.status, head.headers) }
}

async fn collect<B>(body: &mut B) -> (Bytes, bool)
where
    B: HttpBody<Error = ProxyError> + Unpin,
{
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (bytes.freeze(), false) };
        if let Ok(data) = frame.into_data() {
            bytes.put(data);
        }
    }
    (bytes.freeze(), true)
}
