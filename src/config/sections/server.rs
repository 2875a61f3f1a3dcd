//! `[server]`, `[limits]` and `[trust]`.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::raw::Value;
use crate::config::schema::{Key, keys};
use crate::config::{sketch, units};
use crate::server::Runtime;
use crate::{proxy, server};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What `[server]` says.
#[derive(Clone, Debug)]
pub(in crate::config) struct Server {
    pub(in crate::config) config: server::Config,
    pub(in crate::config) name: String,
    pub(in crate::config) watch: Option<Duration>,
}

impl Default for Server {
    fn default() -> Self {
        Self { config: server::Config::default(), name: "seawall".to_owned(), watch: None }
    }
}

/// What `[limits]` says.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Limits {
    pub(in crate::config) server: server::Limits,
    pub(in crate::config) proxy: proxy::Limits,
}

/// What `[trust]` says.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Trust {
    pub(in crate::config) proxies: Vec<IpNet>,
}

pub(in crate::config) const SERVER: &[Key<Server>] = keys! {
    "threads" = Default("\"auto\""), "Worker threads; `\"auto\"` is one for each core." => |draft, value| {
        if !value.is_word("auto") {
            draft.config.threads = value.count(1..=1024)?;
        }
        Ok(())
    };
    "runtime" = Default("\"per-core\""), "`\"per-core\"`: each thread accepts and serves its own connections. `\"multi-thread\"`: threads steal work from each other." => |draft, value| {
        draft.config.runtime = value.one_of(&[
            ("per-core", Runtime::PerCore),
            ("multi-thread", Runtime::MultiThread),
        ])?;
        Ok(())
    };
    "grace" = Default("\"30s\""), "How long requests under way may take to finish after SIGTERM." => |draft, value| {
        draft.config.grace = value.duration(Duration::ZERO..=HOUR)?;
        Ok(())
    };
    "name" = Default("\"seawall\""), "This node's name in `Via` and `Cache-Status`." => |draft, value| {
        draft.name = token(value)?;
        Ok(())
    };
    "watch" = Default("\"off\""), "How often to look whether this file has changed, and reload it then; `\"off\"`: only on SIGHUP or by the admin API." => |draft, value| {
        draft.watch = value.optional_duration()?;
        Ok(())
    };
};

pub(in crate::config) const LIMITS: &[Key<Limits>] = keys! {
    "max_connections" = Default("50000"), "Open client connections. Beyond, those without a request give way, the longest idle first; where there are none, the new one is closed at once." => |draft, value| {
        draft.server.max_connections = value.count(1..=10_000_000)?;
        Ok(())
    };
    "max_connections_per_client" = Default("\"off\""), "Open connections of one client address (IPv6: one /64 network); more are closed at once. Peers in `trust.proxies` and `proxy_protocol_from` are many clients and have no bound; the clients that a PROXY header tells of do." => |draft, value| {
        draft.server.max_connections_per_client = bound(value)?;
        Ok(())
    };
    "max_in_flight" = Default("100000"), "Requests under way at once, hits included; more are answered 503." => |draft, value| {
        draft.proxy.max_in_flight = value.count(1..=10_000_000)?;
        Ok(())
    };
    "max_waiting" = Default("20000"), "Of these, requests that wait for an origin's answer, their own or another's; more are answered 503, or stale where that is allowed, while hits are still served." => |draft, value| {
        draft.proxy.max_waiting = value.count(1..=10_000_000)?;
        Ok(())
    };
    "max_in_flight_per_client" = Default("\"off\""), "Requests of one client address (IPv6: one /64 network) under way at once, as `trust.proxies` tell it; more are answered 429. Trusted peers themselves have no bound." => |draft, value| {
        draft.proxy.max_in_flight_per_client = bound(value)?;
        Ok(())
    };
    "max_streams" = Default("128"), "Concurrent HTTP/2 streams on a connection." => |draft, value| {
        draft.server.max_streams = value.count(1..=10_000)? as u32;
        Ok(())
    };
    "max_header_bytes" = Default("\"64KiB\""), "A request's header section; larger ones are answered 431." => |draft, value| {
        draft.server.max_header_bytes = value.memory(8 * KIB..=MIB)?;
        Ok(())
    };
    "max_headers" = Default("100"), "Fields of a request's header section; more are answered 431. A `Cookie` in pieces (HTTP/2) is one." => |draft, value| {
        draft.server.max_headers = value.count(16..=1024)?;
        draft.proxy.max_headers = draft.server.max_headers;
        Ok(())
    };
    "max_uri_bytes" = Default("\"16KiB\""), "A request's target; longer ones are answered 414." => |draft, value| {
        draft.proxy.max_uri_bytes = value.memory(256..=64 * KIB)?;
        Ok(())
    };
    "max_body_bytes" = Default("\"off\""), "A request's body; larger ones are answered 413. `\"off\"` for no bound: bodies are streamed, never gathered." => |draft, value| {
        let bound = || value.size(0..=i64::MAX.cast_unsigned());
        draft.proxy.max_body_bytes = if value.is_off() { None } else { Some(bound()?) };
        Ok(())
    };
    "body_timeout" = Default("\"60s\""), "How long a client may pause while it sends a body." => |draft, value| {
        draft.proxy.body_timeout = value.duration(SECOND..=HOUR)?;
        Ok(())
    };
    "min_rate" = Default("100"), "Bytes a second that a client sends of a body, and takes of a response, at least while it lets Seawall wait; it has `body_timeout` or `write_timeout` to catch up. `\"off\"` for no bound." => |draft, value| {
        let rate = bound(value)?.and_then(|rate| NonZeroU32::new(rate as u32));
        (draft.server.min_rate, draft.proxy.min_rate) = (rate, rate);
        Ok(())
    };
    "handshake_timeout" = Default("\"10s\""), "The TLS handshake and a PROXY header." => |draft, value| {
        draft.server.handshake_timeout = value.duration(SECOND..=HOUR)?;
        Ok(())
    };
    "header_timeout" = Default("\"30s\""), "Reading a request's header section, from its first byte (of a new connection: from its start)." => |draft, value| {
        draft.server.header_timeout = value.duration(SECOND..=HOUR)?;
        Ok(())
    };
    "idle_timeout" = Default("\"75s\""), "How long a client connection may idle between requests." => |draft, value| {
        draft.server.idle_timeout = value.duration(SECOND..=DAY)?;
        Ok(())
    };
    "write_timeout" = Default("\"60s\""), "How long a write to a client may make no progress." => |draft, value| {
        draft.server.write_timeout = value.duration(SECOND..=HOUR)?;
        Ok(())
    };
};

pub(in crate::config) const TRUST: &[Key<Trust>] = keys! {
    "proxies" = Default("[]"), "Peers (networks or addresses) whose `X-Forwarded-*` and `Forwarded` fields are believed and appended to. From everybody else they are replaced, and other fields that origins believe or reflect are dropped." => |draft, value| {
        draft.proxies = networks(value)?;
        Ok(())
    };
};

/// A count, or `"off"` for no bound.
fn bound(value: &Value<'_>) -> crate::config::fault::Checked<Option<usize>> {
    if value.is_word("off") {
        return Ok(None);
    }
    value.count(1..=10_000_000).map(Some)
}

/// A network or a single address.
pub(super) fn network(value: &Value<'_>) -> crate::config::fault::Checked<IpNet> {
    value.formed(|| sketch::text(units::NETWORK), units::network)
}

/// A list of networks or single addresses.
pub(super) fn networks(value: &Value<'_>) -> crate::config::fault::Checked<Vec<IpNet>> {
    value.list("write [\"10.0.0.0/8\", \"192.0.2.1\"]", |member| network(&member))
}

/// A `token` of RFC 9110 §5.6.2: what `Via` and `Cache-Status` allow as a name.
fn token(value: &Value<'_>) -> crate::config::fault::Checked<String> {
    let text = value.string()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(allowed)
    {
        return Ok(text.to_owned());
    }
    Err(value
        .fault("this cannot be a name in a header field")
        .help("write a letter, then letters, digits, `-`, `.` or `_`; 64 at most")
        .into())
}
