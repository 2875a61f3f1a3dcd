//! What the stack is told: whom to trust, what to admit, where to send.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::rules::Rules;
use crate::cache;
use crate::key::HostPattern;

/// Settings of the proxy stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Peers whose forwarding fields are believed and appended to.
    pub trusted_proxies: Vec<IpNet>,
    /// Bounds on requests.
    pub limits: Limits,
    /// Where requests go, first match wins.
    pub routes: Vec<Arc<Route>>,
    /// What is set for some requests only.
    pub rules: Arc<Rules>,
    /// Who may purge by the `PURGE` method.
    pub purge: Purge,
    /// Clients that are shown what was done with their requests, where they ask by `Seawall-Debug`.
    pub debug: Vec<IpNet>,
    /// Files that replace the built-in error pages, by status.
    pub error_pages: BTreeMap<u16, PathBuf>,
    /// The name in `Via` and `Cache-Status`.
    pub name: String,
}

/// Bounds on requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once; more are answered 503.
    pub max_in_flight: usize,
    /// Of these, requests that wait for an origin's answer, their own or another's; more are
    /// answered 503, or stale where that is allowed.
    pub max_waiting: usize,
    /// Requests of one client under way at once; more are answered 429. `None` for no bound.
    pub max_in_flight_per_client: Option<usize>,
    /// Fields of a request's header section; the pieces of a `Cookie` count as one.
    pub max_headers: usize,
    /// Bytes of a request's target.
    pub max_uri_bytes: usize,
    /// Bytes of a request's body; `None` for no bound.
    pub max_body_bytes: Option<u64>,
    /// How long a client may pause while it sends a body.
    pub body_timeout: Duration,
    /// Bytes a second that a client who lets us wait sends at least, after `body_timeout`.
    pub min_rate: Option<NonZeroU32>,
}

/// A route: which requests, and what is done with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// A name for logs: the host and path as configured.
    pub name: String,
    /// Hosts that match; `None` for every host.
    pub host: Option<HostPattern>,
    /// The path prefix that matches, on a segment boundary; `/` for every path.
    pub path: String,
    /// Index of the upstream.
    pub upstream: usize,
    /// How its responses are cached.
    pub cache: cache::Config,
}

/// Who may purge by method, and what follows purges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Addresses that may.
    pub allow: Vec<IpNet>,
    /// A secret that may, from anywhere, as `Authorization: Bearer`.
    pub token: Option<String>,
    /// How many responses that purges have made stale are refreshed a second, for each upstream,
    /// beyond what clients wait for; zero for no bound.
    pub refresh_rate: u32,
    /// How many are refreshed at once by purges that ask for it.
    pub refresh_concurrency: usize,
}

impl Default for Purge {
    fn default() -> Self {
        Self { allow: Vec::new(), token: None, refresh_rate: 100, refresh_concurrency: 8 }
    }
}

impl Limits {
    /// The bound on those that wait: however it is set, a quarter of all is left to hits.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.max_waiting.min(self.max_in_flight - self.max_in_flight / 4)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: 100_000,
            max_waiting: 20_000,
            max_in_flight_per_client: None,
            max_headers: 100,
            max_uri_bytes: 16 * 1024,
            max_body_bytes: None,
            body_timeout: Duration::from_secs(60),
            min_rate: NonZeroU32::new(100),
        }
    }
}
