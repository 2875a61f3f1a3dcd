//! What can go wrong with a request, whose fault it is, and what to answer.
//!
//! Errors travel up as values; only `proxy::rescue` turns one into a response.

use http::{HeaderValue, StatusCode};

/// A boxed cause.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The client sent something wrong.
    Client,
    /// The origin failed.
    Origin,
    /// Seawall itself, or its configuration or load.
    Proxy,
}

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $kind:ident => $word:literal, $fault:ident, $status:literal, $proxy_error:expr
        $(, $meaning:literal, $advice:literal)?;)*) => {
        /// Every way in which a request can fail. The word is stable: it stands in
        /// `Cache-Status; detail=`, the access log, metrics and error pages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$doc])* $kind,)* }

        impl ErrorKind {
            /// All kinds, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The stable word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// What happened, in a sentence for operators.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$kind => concat!($($meaning)?),)* }
            }

            /// What to do about it, or where to look.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$kind => concat!($($advice)?),)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$kind => Fault::$fault,)* }
            }

            /// The status that the client is told.
            #[must_use]
            pub fn status(self) -> StatusCode {
                // Invariant: every literal of the table is a valid status (tested).
                StatusCode::from_u16(match self { $(Self::$kind => $status,)* })
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// Whether the connection ends with the answer: where a request could not be read, it
            /// is in doubt where the next one begins (RFC 9112 §9.3).
            #[must_use]
            pub const fn closes(self) -> bool {
                matches!(
                    self,
                    Self::BadRequest
                        | Self::BadHost
                        | Self::MethodRefused
                        | Self::UriTooLong
                        | Self::BodyTooLarge
                        | Self::ClientTimeout
                        | Self::ClientAborted
                        | Self::ExpectationFailed
                )
            }

            /// The `error` parameter of `Proxy-Status` (RFC 9209 §2.3), where one fits.
            #[must_use]
            pub const fn proxy_error(self) -> Option<&'static str> {
                match self { $(Self::$kind => $proxy_error,)* }
            }
        }
    };
}

impl ErrorKind {
    /// Whether the request was refused to keep within a limit: nothing was tried, and later it may
    /// go well.
    #[must_use]
    pub const fn is_shed(self) -> bool {
        matches!(
            self,
            Self::ClientLimit
                | Self::Overloaded
                | Self::TooManyWaiting
                | Self::NoDescriptors
                | Self::OriginBusy
                | Self::TooManyLogins
                | Self::TierUnavailable
        )
    }
}

impl ErrorKind {
    /// Whether the origin could not be reached, as no other request could reach it.
    #[must_use]
    pub const fn is_unreachable(self) -> bool {
        matches!(
            self,
            Self::DnsFailed
                | Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::Unroutable
                | Self::TlsFailed
        )
    }
}

error_kinds! {
    /// The request is malformed beyond what hyper already refuses.
    BadRequest => "bad-request", Client, 400, Some("http_request_error"),
        "malformed target or path",
        "send a valid target";
    /// `Host` is missing, repeated or not an authority (RFC 9112 §3.2).
    BadHost => "bad-host", Client, 400, Some("http_request_error"),
        "`Host` is missing, repeated or not an authority",
        "send one `Host`";
    /// `CONNECT` and other methods that a reverse proxy does not serve.
    MethodRefused => "method-refused", Client, 405, Some("http_request_denied"),
        "`CONNECT` or `TRACE`",
        "nothing to do: a reverse proxy has no use for these";
    /// No route matches the request's host and path.
    NoRoute => "no-route", Client, 421, Some("destination_not_found"),
        "no route for the host and path",
        "a `[[route]]` for this host and path, or one without `host`";
    /// The client may not do this (PURGE from elsewhere).
    Forbidden => "forbidden", Client, 403, Some("http_request_denied"),
        "`PURGE` from an address that may not, without the token",
        "`[purge]`: `allow` or `token`";
    /// A rule lets in other addresses than the client's.
    AccessDenied => "access-denied", Client, 403, Some("http_request_denied"),
        "a rule's `access` lets in other addresses, or the client's can't be told",
        "`allow` in the rule's `access`";
    /// A rule asks for a user and password, and these are none of them (RFC 9110 §15.5.2).
    Unauthorized => "unauthorized", Client, 401, Some("http_request_denied"),
        "a rule's `access` asks for a user and password, and the request has none that are right",
        "`users` in the rule's `access`";
    /// The request's target is too long.
    UriTooLong => "uri-too-long", Client, 414, Some("http_request_denied"),
        "above `max_uri_bytes`",
        "raise `max_uri_bytes`";
    /// More fields than `max_headers`.
    TooManyFields => "too-many-fields", Client, 431, Some("http_request_denied"),
        "more than `max_headers`; on HTTP/1 refused before it has a name",
        "raise `max_headers`";
    /// The request's body is too large.
    BodyTooLarge => "body-too-large", Client, 413, Some("http_request_denied"),
        "above `max_body_bytes`",
        "raise `max_body_bytes`";
    /// The client took too long to send its body.
    ClientTimeout => "client-timeout", Client, 408, Some("http_request_error"),
        "the request's body paused for longer than `body_timeout`",
        "raise `body_timeout`";
    /// The client's request body ended before its length, or could not be read.
    ClientAborted => "client-aborted", Client, 400, Some("http_request_error"),
        "the request's body ended early; in the log also, as 499, that the client left before there was an answer",
        "nothing to do: the client left";
    /// `Expect` holds something other than `100-continue`.
    ExpectationFailed => "expectation-failed", Client, 417, Some("http_request_denied"),
        "`Expect` is not `100-continue`",
        "send no other `Expect`";
    /// `only-if-cached`, and nothing suitable is stored (RFC 9111 §5.2.1.7).
    OnlyIfCached => "only-if-cached", Client, 504, None,
        "the request says `only-if-cached`, and nothing stored can answer it",
        "nothing to do: the client asked for this";
    /// The client has too many requests under way (RFC 6585 §4).
    ClientLimit => "client-limit", Client, 429, Some("http_request_denied"),
        "above `max_in_flight_per_client`",
        "raise `max_in_flight_per_client`";
    /// Too many requests are under way.
    Overloaded => "overloaded", Proxy, 503, Some("connection_limit_reached"),
        "above `max_in_flight` requests",
        "raise `max_in_flight`, or add a node";
    /// Too many requests wait for an origin's answer already.
    TooManyWaiting => "too-many-waiting", Proxy, 503, Some("connection_limit_reached"),
        "memory could not answer, and `max_waiting` requests wait already",
        "raise `max_waiting`, or have more answered from memory";
    /// Too many requests wait for their passwords to be verified.
    TooManyLogins => "too-many-logins", Proxy, 503, Some("connection_limit_reached"),
        "1024 requests wait for their passwords to be verified already",
        "look who tries passwords, and `deny` them";
    /// The process is out of file descriptors for a connection to the origin.
    NoDescriptors => "no-descriptors", Proxy, 503, Some("connection_limit_reached"),
        "out of file descriptors for a connection to the origin",
        "raise `ulimit -n` or lower `max_connections`";
    /// As many requests are with the origin as may be at once.
    OriginBusy => "origin-busy", Origin, 503, Some("connection_limit_reached"),
        "no place among `max_requests` within `queue_timeout`",
        "make the origin faster, or raise `max_requests` or `queue_timeout`";
    /// A defect in Seawall.
    Internal => "internal", Proxy, 500, Some("proxy_internal_error"),
        "a defect",
        "report it with the request id";
    /// The origin's name did not resolve.
    DnsFailed => "dns-failed", Origin, 502, Some("dns_error"),
        "the origin's name did not resolve",
        "look at the upstream's `url` and the resolver";
    /// No address of the origin accepted a connection.
    ConnectFailed => "connect-failed", Origin, 502, Some("connection_refused"),
        "no address accepted a connection",
        "is the origin up, is the port right?";
    /// There is no way to any address of the origin: a network or host is unreachable.
    Unroutable => "unroutable", Origin, 502, Some("destination_ip_unroutable"),
        "no network leads to an address of the origin",
        "look at routes, a firewall, the upstream's address";
    /// Connecting took longer than the connect timeout.
    ConnectTimeout => "connect-timeout", Origin, 504, Some("connection_timeout"),
        "connecting took longer than `connect_timeout`",
        "look at the network, a firewall, the origin's load";
    /// The TLS handshake with the origin failed, or its certificate was refused.
    TlsFailed => "tls-failed", Origin, 502, Some("tls_protocol_error"),
        "handshake or certificate",
        "look at `sni`, `ca` and `verify`";
    /// The origin closed or reset the connection before a complete response head.
    ConnectionLost => "connection-lost", Origin, 502, Some("connection_terminated"),
        "closed or reset before a complete head",
        "look at the origin's log";
    /// No response head within the first-byte timeout.
    FirstByteTimeout => "first-byte-timeout", Origin, 504, Some("http_response_timeout"),
        "no head within `first_byte_timeout`",
        "make the page faster, or raise `first_byte_timeout`";
    /// The body stalled for longer than the between-bytes timeout.
    BetweenBytesTimeout => "between-bytes-timeout", Origin, 504, Some("connection_read_timeout"),
        "the body stalled for `between_bytes_timeout`",
        "look for what the page waits for, or raise `between_bytes_timeout`";
    /// The exchange took longer than its total timeout.
    TotalTimeout => "total-timeout", Origin, 504, Some("http_response_timeout"),
        "longer than `total_timeout`",
        "make the page faster, or raise `total_timeout`";
    /// The body ended before its announced length or without its last chunk.
    BodyTruncated => "body-truncated", Origin, 502, Some("http_response_incomplete"),
        "the body ended before its length",
        "look whether the origin crashed or was restarted";
    /// The response is not valid HTTP.
    BadResponse => "bad-response", Origin, 502, Some("http_protocol_error"),
        "not valid HTTP, or framed in two ways",
        "look at the origin's server";
    /// The origin leaves HTTP without being asked to, or for a protocol that was not asked for.
    UpgradeFailed => "upgrade-failed", Origin, 502, Some("http_upgrade_failed"),
        "a 101 that nobody asked for, or to another protocol than was asked for",
        "look at the origin's server";
    /// The origin answers with server errors, twice in a row for those who waited together.
    OriginFailing => "origin-failing", Origin, 503, Some("destination_unavailable"),
        "it answered two shared fetches in a row with server errors; who waited for both gets this instead of asking a third time",
        "look at the origin's log";
    /// The origin is known to be in trouble, and is left alone.
    OriginSpared => "origin-spared", Origin, 503, Some("destination_unavailable"),
        "`protect = \"origin\"`: it can't be reached, or has just failed for this URL, and is left alone for as long as that took (10 s at most)",
        "look at the origin's log; `protect = \"client\"` asks it all the same";
    /// The response uses a transfer coding that Seawall does not know.
    UnknownTransferCoding => "unknown-transfer-coding", Origin, 502, Some("http_response_transfer_coding"),
        "a transfer coding that Seawall does not know",
        "`unknown_transfer_coding`";
    /// The response's head is larger than allowed.
    ResponseHeadTooLarge => "response-head-too-large", Origin, 502, Some("http_response_header_section_size"),
        "above `max_response_head`",
        "look for a cookie or field that grows, or raise `max_response_head`";
    /// The reader of a shared body stalled and was cut.
    ReaderStalled => "reader-stalled", Client, 408, None,
        "the client read too slowly what was too large to store; it was cut",
        "raise `stall_timeout`";
    /// Redis, which all nodes look into before they ask the origin, is out of reach, and the origin is
    /// not to be asked in its place.
    TierUnavailable => "tier-unavailable", Proxy, 503, Some("destination_unavailable"),
        "`protect = \"origin\"`: memory has no answer, and Redis gave none within `lookup_budget` or is left alone",
        "look at Redis and `seawall_redis_faults_total`; `protect = \"client\"` asks the origin instead";
    /// A body that came from Redis lost a part of itself on the way.
    TierCut => "tier-cut", Proxy, 502, Some("http_response_incomplete"),
        "a part of a body in Redis was evicted, expired, flushed or out of reach after the first bytes had been sent",
        "look at Redis' `maxmemory` and its log; the next request fetches it anew";
    /// The fetch that this request waited for ended without an answer.
    FetchAbandoned => "fetch-abandoned", Proxy, 502, Some("proxy_internal_error"),
        "the fetch that this request waited for ended without an answer",
        "ask again";
}

/// What a 401 asks for: the value of `WWW-Authenticate` (RFC 9110 §11.6.1).
#[derive(Debug, thiserror::Error)]
#[error("credentials are asked for")]
pub struct Challenge(pub HeaderValue);

/// A failed request: what happened, and the cause below it.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.kind.word())]
pub struct ProxyError {
    /// What happened.
    pub kind: ErrorKind,
    /// The cause, for the log; clients never see it.
    #[source]
    pub source: Option<Source>,
}

impl ProxyError {
    /// An error without a cause below it.
    #[must_use]
    pub const fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error and its cause.
    pub fn with_source(kind: ErrorKind, source: impl Into<Source>) -> Self {
        Self { kind, source: Some(source.into()) }
    }
}

impl ProxyError {
    /// What a 401 asks for.
    #[must_use]
    pub fn challenge(&self) -> Option<&Challenge> {
        self.source.as_ref()?.downcast_ref()
    }
}

impl From<ErrorKind> for ProxyError {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_are_unique_and_statuses_are_errors() {
        let words: HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.word()).collect();
        assert_eq!(words.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            assert!(kind.status().is_client_error() || kind.status().is_server_error());
        }
    }
}
