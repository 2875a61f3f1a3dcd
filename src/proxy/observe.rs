//! Counts and logs every request from its head to its response's last byte.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Uri, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use ipnet::IpNet;
use pin_project_lite::pin_project;
use tower::Service;

use super::{forwarding, status};
use crate::body::Body;
use crate::clock::{Clock, Timestamp};
use crate::context::{Detail, Interims, Outcome, Request, Response, ResponseParts};
use crate::error::{ErrorKind, ProxyError};
use crate::limit::{ClientLimit, ClientPlace, Limit};
use crate::telemetry::access_log::{CoreLog, Record};
use crate::telemetry::{CoreMetrics, MethodClass, Recorded};

/// Where one core's requests are counted and logged.
#[derive(Debug)]
pub struct Observer {
    /// The core's counters.
    pub metrics: Arc<CoreMetrics>,
    /// The access log.
    pub log: CoreLog,
    /// For the log's times.
    pub clock: Clock,
    /// The name in `Cache-Status`.
    pub name: String,
    /// The upstreams' names, for the log.
    pub upstreams: Arc<[Arc<str>]>,
    /// Peers that are believed when they say whom they speak for.
    pub trusted: Arc<[IpNet]>,
    /// Requests under way, over all cores.
    pub in_flight: Limit,
    /// The same for each client; `None` for no bound.
    pub per_client: Option<ClientLimit>,
}

/// A client has as many requests under way as it may.
struct OverClientLimit;

impl Observer {
    /// A place among a client's requests, where they are bounded. A trusted peer that speaks for
    /// itself is many clients.
    fn place(&self, client: IpAddr) -> Result<Option<ClientPlace>, OverClientLimit> {
        let Some(limit) = &self.per_client else { return Ok(None) };
        if self.trusted.iter().any(|network| network.contains(&client.to_canonical())) {
            return Ok(None);
        }
        limit.enter(client).map(Some).ok_or(OverClientLimit)
    }
}

/// The outermost layer.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    observer: Arc<Observer>,
    inner: S,
}

impl<S> Observe<S> {
    /// Observes with `observer`.
    pub(super) fn new(observer: Arc<Observer>, inner: S) -> Self {
        Self { observer, inner }
    }
}

impl<S> Service<Request> for Observe<S>
where
    S: Service<Request, Response = Response, Error = ProxyError>,
{
    type Response = http::Response<Observed>;
    type Error = ProxyError;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        forwarding::find_client(&mut request, &self.observer.trusted);
        let watch = Watch::begin(&self.observer, &mut request);
        let interim = request.interims();
        Observing { inner: self.inner.call(request), watch: Some(watch), interim }
    }
}

pin_project! {
    /// A request whose answer is awaited.
    pub struct Observing<F> {
        #[pin]
        inner: F,
        watch: Option<Box<Watch>>,
        interim: Option<Interims>,
    }
}

impl<F> Future for Observing<F>
where
    F: Future<Output = Result<Response, ProxyError>>,
{
    type Output = Result<http::Response<Observed>, ProxyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let ResponseParts { mut http, outcome } = *ready!(this.inner.poll(cx))?;
        if let Some(interim) = this.interim.take() {
            interim.close();
        }
        let mut watch = this.watch.take();
        if let Some(watch) = &mut watch {
            let name = &watch.observer.name;
            status::add(http.headers_mut(), name, &outcome);
            watch.answered(http.status(), outcome);
        }
        Poll::Ready(Ok(http.map(|body| Observed { body, watch })))
    }
}

/// A response's body, counted as it is sent; its end, whole or not, is the request's.
#[derive(Debug)]
pub struct Observed {
    body: Body,
    watch: Option<Box<Watch>>,
}

impl Observed {
    /// How its request was handled.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.watch.as_ref()?.answer.as_ref().map(|answer| &answer.outcome)
    }
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(Ok(frame)), Some(watch)) = (&frame, &mut self.watch)
            && let Some(data) = frame.data_ref()
        {
            watch.bytes += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One request under observation; recorded when it is dropped. Boxed, for it goes from future to
/// body, and each of them from hand to hand.
#[derive(Debug)]
struct Watch {
    observer: Arc<Observer>,
    received: Instant,
    method: MethodClass,
    bytes: u64,
    answer: Option<Answer>,
    /// Whether it counts among those under way: one that is refused for their number does not.
    counted: bool,
    _place: Option<ClientPlace>,
    /// What only the log needs; absent where it is off.
    logged: Option<Box<Logged>>,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    outcome: Outcome,
    first_byte: Duration,
}

#[derive(Debug)]
struct Logged {
    time: Timestamp,
    client: IpAddr,
    method: http::Method,
    uri: Uri,
    host: Option<HeaderValue>,
    secure: bool,
    version: Version,
    id: crate::context::RequestId,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

impl Watch {
    /// Counts the request where there is room for it, and tells it where there is none.
    fn begin(observer: &Arc<Observer>, request: &mut Request) -> Box<Self> {
        let counted = observer.in_flight.take();
        let place = observer.place(request.client);
        request.refused = match &place {
            _ if !counted => Some(ErrorKind::Overloaded),
            Err(OverClientLimit) => Some(ErrorKind::ClientLimit),
            Ok(_) => None,
        };
        let logged = observer.log.enabled().then(|| Box::new(Logged::of(observer, request)));
        Box::new(Self {
            observer: Arc::clone(observer),
            received: request.received,
            method: MethodClass::from(&request.head.method),
            bytes: 0,
            answer: None,
            counted,
            _place: place.unwrap_or_default(),
            logged,
        })
    }

    fn answered(&mut self, status: StatusCode, outcome: Outcome) {
        let first_byte = self.received.elapsed();
        self.answer = Some(Answer { status, outcome, first_byte });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.counted {
            self.observer.in_flight.give_back();
        }
        let Answer { status, outcome, first_byte } =
            self.answer.take().unwrap_or_else(|| Answer::of_the_departed(self.received));
        let (method, bytes) = (self.method, self.bytes);
        let duration = self.received.elapsed();
        let recorded = Recorded { status, outcome: &outcome, method, bytes, duration, first_byte };
        self.observer.metrics.record(&recorded);
        if let Some(logged) = &self.logged {
            let names = &self.observer.upstreams;
            self.observer.log.log(&Record {
                time: logged.time,
                client: logged.client,
                method: &logged.method,
                scheme: logged.scheme(),
                host: logged.host(),
                target: logged.uri.path_and_query().map(PathAndQuery::as_str),
                version: logged.version,
                status,
                bytes,
                duration,
                first_byte,
                outcome,
                id: logged.id,
                referer: logged.referer.as_ref(),
                user_agent: logged.user_agent.as_ref(),
                upstream: outcome.upstream.and_then(|index| names.get(index)).map(|name| &**name),
            });
        }
    }
}

impl Answer {
    /// The client left before there was an answer: 499, as nginx has it.
    fn of_the_departed(received: Instant) -> Self {
        let detail = Some(Detail::Error(ErrorKind::ClientAborted));
        Self {
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            outcome: Outcome { detail, ..Outcome::default() },
            first_byte: received.elapsed(),
        }
    }
}

impl Logged {
    fn of(observer: &Observer, request: &Request) -> Self {
        let headers = &request.head.headers;
        Self {
            time: observer.clock.now(),
            client: request.client,
            method: request.head.method.clone(),
            uri: request.head.uri.clone(),
            host: headers.get(HOST).cloned(),
            secure: request.connection.secure,
            version: request.head.version,
            id: request.id,
            referer: headers.get(REFERER).cloned(),
            user_agent: headers.get(USER_AGENT).cloned(),
        }
    }

    fn scheme(&self) -> &str {
        self.uri.scheme_str().unwrap_or(if self.secure { "https" } else { "http" })
    }

    fn host(&self) -> Option<&[u8]> {
        let authority = self.uri.authority().map(|host| host.as_str().as_bytes());
        authority.or_else(|| self.host.as_ref().map(HeaderValue::as_bytes))
    }
}
