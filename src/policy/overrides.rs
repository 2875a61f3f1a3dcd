//! What configuration may change of the RFC's answers.

use std::time::Duration;

use super::encoding::Encodings;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// All that a rule may change of what RFC 9111 answers. The default is safe: nothing is reused
/// that the origin did not allow.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
#[derive(Clone, Debug, PartialEq)]
pub struct Overrides {
    /// Lifetime where the origin says nothing, for heuristically cacheable statuses
    /// (RFC 9110 §15.1) but the error statuses that a request can provoke; never for a response
    /// with `Set-Cookie` or to a request with `Cookie` or `Authorization`. Zero: none.
    pub default_lifetime: Duration,
    /// Lifetime whatever the origin says of freshness, of what it answers well or redirects: what
    /// forbids sharing forbids it still. For what may be one visitor's page (a cookie was sent or
    /// set), only if the origin gives it a lifetime or calls it public. `None`: the origin decides.
    pub lifetime: Option<Duration>,
    /// The same by status, also for errors but those that a request can provoke, and for what is
    /// not heuristically cacheable.
    pub lifetimes: Vec<(u16, Duration)>,
    /// A shorter lifetime given by the origin is raised to this (`no-cache` still validates), but
    /// for the error statuses that a request can provoke; these have no windows either but those
    /// that the origin grants.
    pub min_lifetime: Duration,
    /// A longer lifetime is cut to this, whoever gave it.
    pub max_lifetime: Duration,
    /// The share of its lifetime by which a response may end early, each by its own; so that not
    /// all that was stored at once ends at once. Nothing is ever prolonged. Zero: none.
    pub jitter: f64,
    /// How eagerly what is fresh is refreshed before it ends ([`super::is_due_early`]). Zero: not.
    pub early_refresh: f64,
    /// Heuristic freshness (RFC 9111 §4.2.2), by `Last-Modified`. `None`: off.
    pub heuristic: Option<Heuristic>,
    /// Window of RFC 5861 §3 where the origin grants none.
    pub stale_while_revalidate: Duration,
    /// Window of RFC 5861 §4 where the origin grants none.
    pub stale_if_error: Duration,
    /// How long past its lifetime a response is served while the origin gives no response at all
    /// (RFC 9111 §4.2.4).
    pub stale_when_disconnected: Duration,
    /// How long past its lifetime and stale windows a response with a validator is kept.
    pub keep: Duration,
    /// Lifetimes by status where the origin says nothing ("negative caching"). A status named
    /// here is the operator's own word: it also covers statuses that are not heuristically
    /// cacheable, but not those that a request can provoke.
    pub negative: Vec<(u16, Duration)>,
    /// What clients' `Cache-Control` and `Pragma` may ask (RFC 9111 §5.2.1). `no-store` and
    /// `only-if-cached` are honoured always.
    pub request_directives: RequestDirectivesPolicy,
    /// Read `Seawall-Cache-Control`, then `CDN-Cache-Control`, before `Cache-Control`
    /// (RFC 9213 §2.2).
    pub targeted: bool,
    /// Read `Surrogate-Control` before `Cache-Control` (after the targeted fields).
    pub surrogate_control: bool,
    /// Let `X-Accel-Expires` replace the lifetime (and nothing else).
    pub x_accel_expires: bool,
    /// Store responses that set a cookie, if their freshness is explicit. Everybody who is
    /// answered from the cache then gets the same cookie.
    pub store_set_cookie: bool,
    /// Share answers to requests with `Authorization` as if they had none (RFC 9111 §3.5).
    pub share_authorized: bool,
    /// Share answers although the origin was told something that is not in the key.
    pub share_unkeyed: bool,
    /// Let the stale windows hold although `must-revalidate`, `proxy-revalidate` or `s-maxage`
    /// forbids to serve stale (RFC 9111 §4.2.4); `no-cache` forbids it still. Not for what may be
    /// one visitor's page (a cookie or `Authorization` was sent), unless the origin calls it
    /// public.
    pub serve_forbidden_stale: bool,
    /// Let a response answer every URL that differs from its own only in what its
    /// `No-Vary-Search` calls immaterial ([`super::SearchVariation`]). Its word then counts for
    /// URLs that it was never asked for, and for all visitors.
    pub no_vary_search: bool,
    /// Store a 206 whose body is shorter than its `Content-Range` says.
    pub accept_short_partial: bool,
    /// Without a stored `Last-Modified`, answer 304 to any valid `If-Modified-Since`, where
    /// RFC 9111 §4.3.2 compares with `Date`.
    pub not_modified_without_last_modified: bool,
    /// Ask for the missing end of a stored 206 even if it has no strong validator, though the
    /// answer can't be combined with it (RFC 9111 §3.4).
    pub complete_partial_without_validator: bool,
    /// What stands for a request's `Accept-Encoding`, towards the origin and for `Vary`.
    pub encodings: Encodings,
    /// Compare `Accept-Language` without regard to order and case, and take a stored response
    /// whose `Content-Language` is what the request likes best (RFC 9111 §4.1 allows the first;
    /// the second guesses what the origin would choose).
    pub normalize_accept_language: bool,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            default_lifetime: Duration::ZERO,
            lifetime: None,
            lifetimes: Vec::new(),
            min_lifetime: Duration::ZERO,
            max_lifetime: 365 * DAY,
            jitter: 0.0,
            early_refresh: 0.0,
            heuristic: None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_when_disconnected: Duration::from_secs(60),
            keep: Duration::from_secs(60 * 60),
            negative: Vec::new(),
            request_directives: RequestDirectivesPolicy::Ignore,
            targeted: true,
            surrogate_control: false,
            x_accel_expires: false,
            store_set_cookie: false,
            share_authorized: false,
            share_unkeyed: false,
            serve_forbidden_stale: false,
            no_vary_search: false,
            accept_short_partial: false,
            not_modified_without_last_modified: false,
            complete_partial_without_validator: false,
            encodings: Encodings::Classes,
            normalize_accept_language: false,
        }
    }
}

/// Heuristic freshness: a share of the time since `Last-Modified` (RFC 9111 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heuristic {
    /// The share; what is not within 0 and 1 counts as the nearer of the two.
    pub fraction: f64,
    /// The longest lifetime that the heuristic gives.
    pub max: Duration,
    /// Also for 405, 414 and 501, as RFC 9110 §15.1 allows. A request can be made so that the origin
    /// answers with these, and a stored error would shut others out: off by default.
    pub error_statuses: bool,
}

impl Default for Heuristic {
    fn default() -> Self {
        Self { fraction: 0.1, max: DAY, error_statuses: false }
    }
}

/// Whose request directives count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestDirectivesPolicy {
    /// Nobody's: clients must not drive the origin's load.
    #[default]
    Ignore,
    /// Everybody's.
    Honour,
    /// Those of trusted peers.
    Trusted,
}
