//! What travels with a request: where it came from, and what was found out on its way.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::body::Body;
use crate::error::ErrorKind;
use crate::headers::Present;
use crate::policy::Reason;

/// The HTTP version spoken on a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Facts about a client connection; one per connection, shared by its requests.
#[derive(Debug)]
pub struct Connection {
    /// The client's address: the socket's peer, or what the PROXY protocol says.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// Whether the client speaks TLS to us (or a trusted PROXY header says so).
    pub secure: bool,
    /// HTTP version of the connection.
    pub protocol: Protocol,
    /// Where interim responses (1xx) can be written, if this connection can carry them.
    pub interim: Option<Arc<dyn InterimSink>>,
    /// What origins are told of the client, since the first request that was sent to one.
    pub introduction: OnceLock<Introduction>,
}

/// What an origin is told of whom a request is forwarded for. All requests of a connection have it
/// alike but those for another authority, of which there are few.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The authority that was asked for.
    pub authority: Authority,
    /// The scheme that was asked with.
    pub scheme: &'static str,
    /// An element of `Forwarded` (RFC 7239 §4).
    pub element: HeaderValue,
    /// The peer's address.
    pub peer: HeaderValue,
    /// `authority` again.
    pub host: HeaderValue,
}

/// Takes interim responses (RFC 9110 §15.2) for the requests of one connection.
///
/// An exchange with an origin may outlive its client's request, so each call names its request:
/// what belongs to another than the one being answered is dropped.
pub trait InterimSink: Send + Sync + std::fmt::Debug {
    /// Opens the sink for a request, unless its final response has begun.
    fn open(&self, request: RequestId);
    /// Queues an interim response before the final one, or drops it where it can't be written.
    fn send(&self, request: RequestId, status: StatusCode, headers: &HeaderMap);
    /// The final response is about to be sent: nothing more is accepted for this request.
    fn close(&self, request: RequestId);
}

/// Where the interim responses of one request go.
#[derive(Clone, Debug)]
pub struct Interims {
    sink: Arc<dyn InterimSink>,
    request: RequestId,
}

impl Interims {
    /// Those of `request`, by way of its connection.
    #[must_use]
    pub fn new(sink: Arc<dyn InterimSink>, request: RequestId) -> Self {
        Self { sink, request }
    }

    /// See [`InterimSink::open`].
    pub fn open(&self) {
        self.sink.open(self.request);
    }

    /// See [`InterimSink::send`].
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) {
        self.sink.send(self.request, status, headers);
    }

    /// See [`InterimSink::close`].
    pub fn close(&self) {
        self.sink.close(self.request);
    }
}

/// A request on its way through the stack. Each layer hands it on, so it is one pointer.
pub type Request = Box<RequestParts>;

/// What a request is and was found to be.
#[derive(Debug)]
pub struct RequestParts {
    /// Method, URI, version, fields. After `proxy::normalize` the URI is absolute and normal, and
    /// hop-by-hop fields are gone.
    pub head: http::request::Parts,
    /// The body, streamed.
    pub body: RequestBody,
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// The client's address as trusted proxies tell it; else the connection's peer.
    pub client: IpAddr,
    /// When the head was complete.
    pub received: Instant,
    /// Why it has to be refused, where its number alone says so.
    pub refused: Option<ErrorKind>,
    /// A short id for logs and error pages.
    pub id: RequestId,
    /// What its hop-by-hop fields said before they were removed.
    pub hop: Hop,
    /// Which fields it came with, of those that decide something. One that is taken away on the way
    /// may still be said to be there; none comes to it.
    pub present: Present,
}

/// What a request's hop-by-hop fields ask of the next hop (RFC 9110 §7.6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// The protocols to leave HTTP for (RFC 9110 §7.8).
    pub upgrade: Option<HeaderValue>,
    /// Whether trailer fields are accepted (`TE: trailers`, RFC 9110 §10.1.4).
    pub trailers: bool,
}

impl RequestParts {
    /// A request as it came on a connection, of which nothing is known yet but what it says.
    #[must_use]
    pub fn boxed(
        head: http::request::Parts,
        body: RequestBody,
        connection: &Arc<Connection>,
        received: Instant,
        id: RequestId,
    ) -> Request {
        Box::new(Self {
            present: Present::of(&head.headers),
            head,
            body,
            client: connection.peer.ip(),
            connection: Arc::clone(connection),
            received,
            refused: None,
            id,
            hop: Hop::default(),
        })
    }

    /// Where its interim responses go, if its connection can carry them.
    #[must_use]
    pub fn interims(&self) -> Option<Interims> {
        self.connection.interim.clone().map(|sink| Interims::new(sink, self.id))
    }

    /// Opens the connection for this request's interim responses.
    #[must_use]
    pub fn open_interims(&self) -> Option<Interims> {
        let interims = self.interims();
        if let Some(interims) = &interims {
            interims.open();
        }
        interims
    }

    /// The same request without its body, and what hyper attached to it.
    #[must_use]
    pub fn without_body(&self) -> Request {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = self.head.method.clone();
        head.uri = self.head.uri.clone();
        head.version = self.head.version;
        head.headers = self.head.headers.clone();
        Box::new(Self {
            head,
            body: RequestBody::Empty,
            connection: Arc::clone(&self.connection),
            hop: self.hop.clone(),
            ..*self
        })
    }

    /// Another request in the same circumstances: with this `head`, and no body.
    #[must_use]
    pub fn with_head(&self, head: http::request::Parts) -> Request {
        Box::new(Self {
            present: Present::of(&head.headers),
            head,
            body: RequestBody::Empty,
            connection: Arc::clone(&self.connection),
            hop: self.hop.clone(),
            ..*self
        })
    }
}

/// A request's body, as hyper hands it over; its limits and deadlines are the wrapper's.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// No body.
    #[default]
    Empty,
    /// Streamed from the client.
    Stream(hyper::body::Incoming),
}

/// An identifier of one request, unique within a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A response on its way back through the stack: one pointer, like [`Request`].
pub type Response = Box<ResponseParts>;

/// A response with what the cache has to say of it.
#[derive(Debug)]
pub struct ResponseParts {
    /// Status, fields and body for the client.
    pub http: http::Response<Body>,
    /// How the request was handled.
    pub outcome: Outcome,
}

impl ResponseParts {
    /// `http`, which came about as `outcome` says.
    #[must_use]
    pub fn boxed(http: http::Response<Body>, outcome: Outcome) -> Response {
        Box::new(Self { http, outcome })
    }
}

/// How the cache handled a request: the content of `Cache-Status` (RFC 9211), the access log and
/// the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Answered from a stored response without contacting the origin.
    pub hit: bool,
    /// Why the request went forward, if it did.
    pub forwarded: Option<Forwarded>,
    /// The status that the origin gave to the forwarded request.
    pub forward_status: Option<StatusCode>,
    /// Remaining freshness in seconds; negative when stale.
    pub ttl: Option<i64>,
    /// The response was or is being stored.
    pub stored: bool,
    /// The request shared another request's fetch.
    pub collapsed: bool,
    /// The stable word that explains the rest.
    pub detail: Option<Detail>,
    /// Index of the upstream that the request's route leads to, for the log.
    pub upstream: Option<usize>,
}

/// Why a request went forward (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The cache was configured, or the request asked, not to handle it.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing stored for the URI.
    UriMiss,
    /// Stored responses exist, none of them matches by `Vary`.
    VaryMiss,
    /// Nothing suitable, unclear why.
    Miss,
    /// The request's own directives ask for it.
    Request,
    /// A stored response was stale.
    Stale,
    /// A stored partial response does not hold what was asked.
    Partial,
}

impl Forwarded {
    /// The token of RFC 9211 §2.2.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// The stable reason word of an outcome: a policy's reason or an error's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// A cache decision.
    Reason(Reason),
    /// A failure.
    Error(ErrorKind),
}

impl Detail {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reason(reason) => reason.word(),
            Self::Error(kind) => kind.word(),
        }
    }

    /// What happened, in a sentence for operators.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Reason(reason) => reason.meaning(),
            Self::Error(kind) => kind.meaning(),
        }
    }

    /// What to change for the opposite, or to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Reason(reason) => reason.advice(),
            Self::Error(kind) => kind.advice(),
        }
    }

    /// All words, and what they stand for.
    pub fn all() -> impl Iterator<Item = Self> {
        let reasons = Reason::ALL.iter().copied().map(Self::Reason);
        reasons.chain(ErrorKind::ALL.iter().copied().map(Self::Error))
    }
}
