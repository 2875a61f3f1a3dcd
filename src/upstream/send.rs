//! A request's way to an origin: a connection, an attempt, and what follows a failure.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use super::body::OriginBody;
use super::config::Version;
use super::connect::{self, Metered};
use super::exchange::{self, Connection, Job, Message};
use super::http1::{Breadth, Http1, Wide};
use super::pool::{Http2, StreamGuard, Streams, Upstream};
use super::request::{Content, Plan};
use super::retry::{self, Failed, Next};
use super::upload::UploadBody;
use super::{OriginRequest, tls};
use crate::error::{ErrorKind, ProxyError};

/// Read buffer of an HTTP/1 connection, and the bound on what of a request body waits in it.
const MIN_BUFFER: usize = 128 * 1024;
/// Fields of a response's head that a [`Breadth::Wide`] connection takes: more than any sound origin
/// sends, and a bound on what parsing costs besides the bound on bytes.
const MAX_FIELDS: usize = 256;
/// Flow-control windows of HTTP/2: what an origin may send ahead of a slow reader.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How often an HTTP/2 connection in use is asked whether it lives (RFC 9113 §6.7).
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Sends the `message` of `job`, which it takes, again where that is safe. It is `now`: clocks are read
/// seldom, for on virtual machines that is not cheap.
pub(super) async fn send(
    job: &Job,
    message: &mut Option<Message>,
    mut now: Instant,
) -> Result<Response<Box<OriginBody>>, ProxyError> {
    let counters = &job.upstream.counters;
    let repeatable = message.as_ref().is_some_and(|message| {
        let policy = job.upstream.config.retry_reused;
        retry::repeatable(policy, &message.head.method, job.plan.has_content())
    });
    // What must not be sent twice needs room for every answer at once.
    let mut breadth = if repeatable { job.upstream.breadth() } else { Breadth::Wide };
    let mut fresh = false;
    for attempts in 1.. {
        let connection;
        (connection, now) = acquire(job, Wanted { fresh, breadth }, now).await?;
        let (reused, is_usual) = (connection.is_reused(), connection.is_usual());
        if reused {
            counters.reused.fetch_add(1, Ordering::Relaxed);
        }
        let is_copied = may_be_repeated(job, &connection, repeatable);
        let copy = message.as_ref().filter(|_| is_copied).map(Copied::of);
        let outcome = match connection {
            Connection::Http1(connection) => {
                exchange::over_http1(job, connection, message, now).await
            }
            // Boxed: it is the larger one by far, and the rarer.
            Connection::Http2(connection, guard) => {
                Box::pin(exchange::over_http2(job, connection, guard, message, now)).await
            }
        };
        let failure = match outcome {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let again = failure.unsent.map(|unsent| *unsent).or(copy.map(Message::from));
        let facts =
            Failed { unsent: failure.handed_back, reused, answered: failure.answered, attempts };
        let next = if is_usual && failure.error.kind == ErrorKind::ResponseHeadTooLarge {
            // By its fields or by its bytes: asked once more, it is seen which, and not again.
            job.upstream.expect_many_fields();
            breadth = Breadth::Wide;
            retry::wider(repeatable)
        } else if failure.is_connections {
            retry::next(facts, repeatable)
        } else {
            Next::GiveUp
        };
        if next == Next::GiveUp || again.is_none() {
            return Err(failure.error);
        }
        *message = again;
        fresh = next == Next::Fresh;
        counters.retried.fetch_add(1, Ordering::Relaxed);
        now = Instant::now();
    }
    // Invariant: `retry::next` gives up after MAX_ATTEMPTS, so the loop above returns.
    Err(ErrorKind::Internal.into())
}

/// Whether a copy of the request is kept: on a connection that is reused, or may be too narrow, if it
/// is repeatable; on HTTP/2, where a refused request may be repeated whatever its method
/// (RFC 9113 §8.7), always.
fn may_be_repeated(job: &Job, connection: &Connection, repeatable: bool) -> bool {
    let is_http2 = matches!(connection, Connection::Http2(..));
    let may_fail = connection.is_reused() || connection.is_usual();
    !job.plan.has_content() && may_fail && (repeatable || is_http2)
}

/// A request that may have to be sent once more: what it takes to make it again, for mostly it is not
/// needed. Only kept where there is no content.
struct Copied {
    method: Method,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Copied {
    fn of(Message { head, .. }: &Message) -> Self {
        let mut fields = Vec::with_capacity(head.headers.len());
        fields.extend(head.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        Self { method: head.method.clone(), fields }
    }
}

impl From<Copied> for Message {
    fn from(Copied { method, fields }: Copied) -> Self {
        let (mut head, body) = Request::new(UploadBody::default()).into_parts();
        head.method = method;
        for (name, value) in fields {
            head.headers.append(name, value);
        }
        Self { head, body }
    }
}

/// What is sent for `request`, and how.
///
/// # Errors
/// `BadHost` where there is no host that it could be sent to.
pub(super) fn plan(
    upstream: Arc<Upstream>,
    request: OriginRequest,
) -> Result<(Job, Message), ProxyError> {
    let OriginRequest { mut head, body, interim, upgrade, te_trailers, .. } = request;
    let expects_continue = head
        .headers
        .get(EXPECT)
        .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let body = UploadBody::new(body, expects_continue);
    let content = match (body.upload(), body.size_hint().exact()) {
        (None, _) => Content::None,
        (Some(_), Some(length)) => Content::Length(length),
        (Some(_), None) => Content::Streamed,
    };
    // A fixed version of HTTP/2 has no upgrades: the request goes as a plain one.
    let upgrade = upgrade.filter(|_| upstream.config.version != Version::Http2);
    let to = (upstream.target.authority.as_ref(), upstream.target.tls.is_some());
    let plan = Plan::new(&mut head, to, content, upgrade, te_trailers)?;
    let job = Job { upstream, plan, interim, deadline: None };
    Ok((job, Message { head, body }))
}

/// What a connection has to be for an exchange.
#[derive(Clone, Copy)]
struct Wanted {
    /// Not one that has served before.
    fresh: bool,
    /// At least; on HTTP/2 there is but one.
    breadth: Breadth,
}

/// A connection for `job`: one that is open, unless it has to be fresh, or a new one; and what time
/// it is by then.
async fn acquire(
    job: &Job,
    wanted: Wanted,
    now: Instant,
) -> Result<(Connection, Instant), ProxyError> {
    let config = &job.upstream.config;
    let name = config.tls.then(|| tls::server_name(config, job.plan.authority.host()));
    if !wanted.fresh
        && let Some(connection) = open(job, name, wanted.breadth, now)
    {
        return Ok((connection, now));
    }
    let left = job.deadline.map(|deadline| deadline.saturating_duration_since(now));
    let limit = left.map_or(config.connect_timeout, |left| left.min(config.connect_timeout));
    // Boxed: connecting is rare, and its large future would be moved with every request's.
    let connected = connect::within(limit, Box::pin(connect_in_turn(job, name, wanted))).await;
    let now = Instant::now();
    connected.map(|connection| (connection, now)).map_err(|error| match job.deadline {
        Some(deadline) if deadline <= now => ErrorKind::TotalTimeout.into(),
        _ => error,
    })
}

/// A connection that is open and fit for `job`.
fn open(job: &Job, name: Option<&str>, breadth: Breadth, now: Instant) -> Option<Connection> {
    let upstream = &job.upstream;
    let version = upstream.config.version;
    let shared = if version == Version::Http1 || job.plan.upgrade().is_some() {
        None
    } else {
        upstream.share(name).map(|(connection, guard)| Connection::Http2(connection, guard))
    };
    shared.or_else(|| match version {
        Version::Http2 => None,
        _ => upstream.take_idle(name, breadth, now).map(Connection::Http1),
    })
}

/// A new connection. Where it is likely to be HTTP/2, one is made at a time, and who waited for
/// its turn shares what came of the one before.
async fn connect_in_turn(
    job: &Job,
    name: Option<&str>,
    wanted: Wanted,
) -> Result<Connection, ProxyError> {
    let Wanted { fresh, breadth } = wanted;
    let upstream = &job.upstream;
    let may_share = match upstream.config.version {
        Version::Http1 => false,
        Version::Http2 => true,
        Version::Auto => {
            upstream.config.tls && job.plan.upgrade().is_none() && !upstream.speaks_http1()
        }
    };
    if !may_share {
        return connect(job, name, breadth).await;
    }
    let _turn = upstream.turn.acquire().await;
    if !fresh && let Some(connection) = open(job, name, breadth, Instant::now()) {
        return Ok(connection);
    }
    connect(job, name, breadth).await
}

async fn connect(
    job: &Job,
    name: Option<&str>,
    breadth: Breadth,
) -> Result<Connection, ProxyError> {
    let upstream = &job.upstream;
    let http1_only = job.plan.upgrade().is_some();
    let dialled =
        connect::dial(&upstream.config, &upstream.target, name.unwrap_or_default(), http1_only)
            .await?;
    if !http1_only {
        upstream.learn_protocol(dialled.http2);
    }
    let name = name.map(Arc::from);
    let stream = Metered::new(dialled.stream, Arc::clone(&upstream.counters.open));
    if dialled.http2 {
        start_http2(upstream, stream, name).await
    } else {
        start_http1(upstream, stream, breadth, name).await
    }
}

async fn start_http1(
    upstream: &Arc<Upstream>,
    stream: Metered,
    breadth: Breadth,
    name: Option<Arc<str>>,
) -> Result<Connection, ProxyError> {
    let meter = Arc::clone(stream.meter());
    let limit = upstream.config.max_response_head;
    let breadth = upstream.breadth_of_new(breadth);
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(limit)
        .max_buf_size(limit.max(MIN_BUFFER))
        // RFC 9112 §5.1: a proxy removes them from a response, where a request is refused.
        .allow_spaces_after_header_name_in_responses(true);
    let wide = (breadth == Breadth::Wide).then(|| Wide::new(&upstream.wide));
    if wide.is_some() {
        builder.max_headers(MAX_FIELDS);
    }
    let started = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) =
        started.map_err(|error| ProxyError::with_source(ErrorKind::ConnectFailed, error))?;
    Ok(Connection::Http1(Http1::new((sender, connection), meter, wide, name)))
}

async fn start_http2(
    upstream: &Arc<Upstream>,
    stream: Metered,
    name: Option<Arc<str>>,
) -> Result<Connection, ProxyError> {
    let limit = u32::try_from(upstream.config.max_response_head).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(limit)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL);
    let started = builder.handshake(TokioIo::new(stream)).await;
    let (sender, mut connection) =
        started.map_err(|error| ProxyError::with_source(ErrorKind::ConnectFailed, error))?;
    let streams = Arc::new(Streams::new(connection.current_max_send_streams()));
    let told = Arc::clone(&streams);
    tokio::spawn(poll_fn(move |cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        told.limit.store(connection.current_max_send_streams(), Ordering::Release);
        polled.map(drop)
    }));
    let guard = StreamGuard::new(&streams);
    let connection = Http2 { sender, streams };
    upstream.offer(connection.clone(), name);
    Ok(Connection::Http2(connection, guard))
}
