//! `[cache]` and `[route.cache]`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::compression;
use crate::cache::{Config, Protect, Ranges};
use crate::config::fault::{Checked, Fault};
use crate::config::raw::Value;
use crate::config::schema::{Key, keys, settings};
use crate::config::units::LONGEST;
use crate::policy::{self, Compression, Encodings, Heuristic, RequestDirectivesPolicy};
use crate::store;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const TIB: u64 = 1024 * 1024 * MIB;

/// What `[cache]` says; routes start from a copy of it.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Draft {
    pub(in crate::config) memory: store::Config,
    pub(in crate::config) rules: Config,
    /// Bodies above this are not stored; unset until somebody says so.
    pub(in crate::config) max_object_size: Option<u64>,
    /// Used while `heuristic` is on, and remembered while it is off.
    heuristic: Heuristic,
    heuristic_on: bool,
    compression: Compression,
}

impl Draft {
    /// The cache settings of one route.
    pub(in crate::config) fn finish(&self) -> Config {
        let mut config = self.rules.clone();
        config.policy.heuristic = self.heuristic_on.then_some(self.heuristic);
        config.compress = !self.compression.codings.is_empty();
        config.compression = Arc::new(self.compression.clone());
        let quarter = self.quarter_of_memory();
        config.max_object_size =
            self.max_object_size.unwrap_or(config.max_object_size.min(quarter));
        config
    }

    /// The same node's settings, over those of a route.
    pub(in crate::config) fn over(&self, base: &Config) -> Self {
        Self {
            memory: self.memory.clone(),
            rules: base.clone(),
            max_object_size: Some(base.max_object_size),
            heuristic: base.policy.heuristic.unwrap_or(self.heuristic),
            heuristic_on: base.policy.heuristic.is_some(),
            compression: (*base.compression).clone(),
        }
    }

    fn quarter_of_memory(&self) -> u64 {
        self.memory.memory as u64 / 4
    }
}

/// The memory tier: one for the whole node.
pub(in crate::config) const MEMORY: &[Key<Draft>] = keys! {
    "memory" = Default("\"256MiB\""), "Everything that holds responses: stored, being filled, held until it is handed to the client's connection. When it is full, responses stream through unstored." => |draft, value| {
        draft.memory.memory = value.memory(MIB..=64 * TIB)?;
        Ok(())
    };
    "preallocate" = Default("false"), "Whether all of `memory` is taken from the system before the first request, and kept: what is stored in a surge then waits for no memory, and memory that isn't there shows at the start. If not, a cache takes memory as it fills, and gives back what is freed." => |draft, value| {
        draft.memory.preallocate = value.boolean()?;
        Ok(())
    };
    "optimise" = Default("\"both\""), "What is kept when not everything can be: `\"requests\"` serves most requests from memory, `\"bytes\"` most bytes, `\"both\"` nearly as many requests and more bytes." => |draft, value| {
        draft.memory.optimise = value.one_of(&[
            ("requests", store::Optimise::Requests),
            ("bytes", store::Optimise::Bytes),
            ("both", store::Optimise::Both),
        ])?;
        Ok(())
    };
    "max_variants" = Default("64"), "Stored variants (`Vary`) of one URL; the oldest goes when there are more." => |draft, value| {
        draft.memory.max_variants = value.count(1..=4096)?;
        Ok(())
    };
};

/// What a route may override.
pub(in crate::config) const RULES: &[Key<Draft>] = settings! {
    "enabled" = Default("true"), "Whether responses are cached at all." => |draft, value| draft.rules.enabled = value.boolean()?;
    "lookup" = Default("true"), "Whether what is stored is used. If not, every request fetches, and what may be stored takes the place of what is: a refresh." => |draft, value| draft.rules.lookup = value.boolean()?;
    "store" = Default("true"), "Whether responses are stored. If not, what is stored already is still used." => |draft, value| draft.rules.store = value.boolean()?;
    "max_object_size" = Default("\"16MiB\""), "Larger bodies stream through unstored. At most a quarter of `memory`, and where nothing is set no more than that." => |draft, value| draft.max_object_size = Some(value.size(0..=64 * TIB)?);
    "default_lifetime" = Default("\"0s\""), "How long a response is fresh where the origin says nothing. Never for errors that a client can provoke, responses with `Set-Cookie`, or requests with `Cookie` or `Authorization`." => |draft, value| draft.rules.policy.default_lifetime = value.duration(Duration::ZERO..=LONGEST)?;
    "lifetime" = Default("\"off\""), "How long a response is fresh whatever the origin says of freshness, in place of all that. For 2xx and 3xx only; `no-store`, `private`, `no-cache`, `Set-Cookie` and requests with `Authorization` mean what they always mean, and where a request carries `Cookie` the origin has to give a lifetime of its own or say `public`." => |draft, value| draft.rules.policy.lifetime = overriding(value)?;
    "lifetimes" = Default("{}"), "The same by status, before `lifetime`, and for errors too: `{ \"200\" = \"1h\", \"404\" = \"10s\" }`. Never for statuses that a client can provoke." => |draft, value| draft.rules.policy.lifetimes = by_status(value, 200)?;
    "min_lifetime" = Default("\"0s\""), "A shorter lifetime is raised to this; `no-cache` and `no-store` still hold." => |draft, value| draft.rules.policy.min_lifetime = value.duration(Duration::ZERO..=LONGEST)?;
    "max_lifetime" = Default("\"365d\""), "A longer lifetime is cut to this, whoever gave it." => |draft, value| draft.rules.policy.max_lifetime = value.duration(Duration::ZERO..=LONGEST)?;
    "browser_ttl" = Default("\"off\""), "What clients are told: `max-age` is rewritten so that they may use a response for this long from when they get it, and `Expires` goes. Never longer than the origin says for what is `private`, `no-store` or `no-cache`, sets a cookie, is an error, or is not shared." => |draft, value| draft.rules.browser_ttl = overriding(value)?;
    "jitter" = Default("0.0"), "The share of its lifetime by which a response may end early, up to 1: each URL by its own, so that not all that was stored at once ends at once." => |draft, value| draft.rules.policy.jitter = value.number(0.0..=1.0)?;
    "early_refresh" = Default("0.0"), "How eagerly what is asked for is refreshed in the background before it ends: 1 is about as early as its fetch takes, 2 twice that; 0 is not at all. One request does it, whoever draws it." => |draft, value| draft.rules.policy.early_refresh = value.number(0.0..=100.0)?;
    "heuristic" = Default("false"), "Whether a response with `Last-Modified` and no lifetime is given one (RFC 9111 §4.2.2)." => |draft, value| draft.heuristic_on = value.boolean()?;
    "heuristic_fraction" = Default("0.1"), "That lifetime's share of the time since `Last-Modified`." => |draft, value| draft.heuristic.fraction = value.fraction()?;
    "heuristic_max" = Default("\"1d\""), "That lifetime's upper bound." => |draft, value| draft.heuristic.max = value.duration(SECOND..=LONGEST)?;
    "heuristic_error_statuses" = Default("false"), "Whether that lifetime is also given to 405, 414 and 501, which a client can provoke." => |draft, value| draft.heuristic.error_statuses = value.boolean()?;
    "negative" = Default("{}"), "Lifetimes of errors by status where the origin says nothing, but for statuses that a client can provoke (400, 414, 431, 501 and their kin): `{ \"404\" = \"10s\" }`." => |draft, value| draft.rules.policy.negative = by_status(value, 400)?;
    "stale_while_revalidate" = Default("\"0s\""), "How long a stale response is still served while one refresh runs, where the origin grants no window of its own (RFC 5861)." => |draft, value| draft.rules.policy.stale_while_revalidate = value.duration(Duration::ZERO..=LONGEST)?;
    "stale_if_error" = Default("\"0s\""), "How long a stale response is served instead of an error, where the origin grants no window of its own (RFC 5861)." => |draft, value| draft.rules.policy.stale_if_error = value.duration(Duration::ZERO..=LONGEST)?;
    "stale_when_disconnected" = Default("\"60s\""), "How long a stale response is served while the origin gives no response at all (RFC 9111 §4.2.4)." => |draft, value| draft.rules.policy.stale_when_disconnected = value.duration(Duration::ZERO..=LONGEST)?;
    "keep" = Default("\"1h\""), "How long past all that a response with a validator is kept, to be revalidated instead of fetched." => |draft, value| draft.rules.policy.keep = value.duration(Duration::ZERO..=LONGEST)?;
    "hit_for_miss" = Default("\"10s\""), "How long a URL whose answer could not be shared is fetched by everybody at once, without waiting." => |draft, value| draft.rules.hit_for_miss = value.duration(Duration::ZERO..=HOUR)?;
    "collapse" = Default("true"), "Whether concurrent requests for one object share a fetch." => |draft, value| draft.rules.collapse = value.boolean()?;
    "wait" = Default("\"30s\""), "How long a request waits for another's response header section before it fetches by itself." => |draft, value| draft.rules.wait = value.duration(Duration::ZERO..=HOUR)?;
    "ranges" = Default("\"pass\""), "What a request for a part asks of the origin where nothing stored has it: the part (`\"pass\"`), or the whole (`\"fill\"`), once for all who wait, from which parts are cut as it comes. Only what is to be stored is fetched for a part; and nobody waits for one that begins more than `window` behind what is there, or of a body that does not say its length: these are asked for beside it." => |draft, value| draft.rules.ranges = value.one_of(&[("pass", Ranges::Pass), ("fill", Ranges::Fill)])?;
    "protect" = Default("\"client\""), "Who comes first while the origin is in trouble: the `\"client\"`, for whom it is asked all the same; or the `\"origin\"`, which is left alone for a while after it could not be reached, had no place free in time, or failed for the same URL. Clients then get what is stored, as far as a failure allows it, or a 503 with `Retry-After`." => |draft, value| draft.rules.protect = value.one_of(&[("client", Protect::Client), ("origin", Protect::Origin)])?;
    "fill_grace" = Default("\"30s\""), "How long a body that is to be stored is still fetched when all its readers have left." => |draft, value| draft.rules.fill_grace = value.duration(Duration::ZERO..=HOUR)?;
    "stall_timeout" = Default("\"30s\""), "How long the slowest reader of a shared body that is too large to store may stall before it is cut." => |draft, value| draft.rules.stall_timeout = value.duration(SECOND..=HOUR)?;
    "window" = Default("\"1MiB\""), "What such a body may buffer for its readers." => |draft, value| draft.rules.window = value.memory(64 * KIB..=1024 * MIB)?;
    "request_directives" = Default("\"ignore\""), "Whether clients' `no-cache`, `max-age`, `min-fresh` and `max-stale` count: `\"ignore\"`, `\"honour\"`, or `\"trusted\"` (peers in `[trust]` only). `no-store` and `only-if-cached` always do." => |draft, value| draft.rules.policy.request_directives = value.one_of(&[
            ("ignore", RequestDirectivesPolicy::Ignore),
            ("honour", RequestDirectivesPolicy::Honour),
            ("trusted", RequestDirectivesPolicy::Trusted),
        ])?;
    "targeted" = Default("true"), "Whether `Seawall-Cache-Control` and `CDN-Cache-Control` come before `Cache-Control` (RFC 9213)." => |draft, value| draft.rules.policy.targeted = value.boolean()?;
    "surrogate_control" = Default("false"), "Whether `Surrogate-Control` comes before `Cache-Control`." => |draft, value| draft.rules.policy.surrogate_control = value.boolean()?;
    "x_accel_expires" = Default("false"), "Whether nginx's `X-Accel-Expires` replaces the lifetime (and nothing else)." => |draft, value| draft.rules.policy.x_accel_expires = value.boolean()?;
    "store_set_cookie" = Default("false"), "Contested: whether a response with `Set-Cookie` may be shared. If one carries a session, everybody gets it." => |draft, value| draft.rules.policy.store_set_cookie = value.boolean()?;
    "share_authorized" = Default("false"), "Danger: whether answers to requests with `Authorization` are shared with everybody, also with those who have none, without `public` from the origin. Only for an origin that answers all alike." => |draft, value| draft.rules.policy.share_authorized = value.boolean()?;
    "serve_forbidden_stale" = Default("false"), "Danger: whether the stale windows above hold although the origin's `must-revalidate`, `proxy-revalidate` or `s-maxage` forbids to serve stale (RFC 9111 §4.2.4). What it calls too old for anybody to use is then used. `no-cache` still forbids it, and so do all of them for requests with `Cookie` or `Authorization`, unless the origin says `public`." => |draft, value| draft.rules.policy.serve_forbidden_stale = value.boolean()?;
    "no_vary_search" = Default("false"), "Whether a response answers every URL that differs from its own only in what its `No-Vary-Search` calls immaterial. The origin's word then counts for all visitors and for URLs that it was not asked for, as in a browser's cache it does for one." => |draft, value| draft.rules.policy.no_vary_search = value.boolean()?;
    "accept_short_partial" = Default("false"), "Contested: whether a 206 is stored although its body is shorter than its `Content-Range`." => |draft, value| draft.rules.policy.accept_short_partial = value.boolean()?;
    "not_modified_without_last_modified" = Default("false"), "Contested: whether `If-Modified-Since` older than the stored `Date` is answered 304 where there is no `Last-Modified`." => |draft, value| draft.rules.policy.not_modified_without_last_modified = value.boolean()?;
    "complete_partial_without_validator" = Default("false"), "Contested: whether the rest of a stored 206 without a validator is asked for by `Range`." => |draft, value| draft.rules.policy.complete_partial_without_validator = value.boolean()?;
    "accept_encoding" = Default("\"classes\""), "How encodings split the cache: by what clients accept in a few `\"classes\"` (brotli or else zstd, with gzip; gzip; none), of which the origin is told in their place; not at all, as the origin is told `\"identity\"`, whatever they accept: what it then sends plain, `compress` compresses once for all; or `\"as-is\"`, by what each browser says." => |draft, value| draft.rules.policy.encodings = value.one_of(&[
            ("classes", Encodings::Classes),
            ("identity", Encodings::Identity),
            ("as-is", Encodings::AsIs),
        ])?;
    "compress" = Default("\"off\""), "Codings in which stored text is kept beside, or in place of, what the origin sent plain, the best first: `[\"br\", \"gzip\"]`, of `\"br\"`, `\"zstd\"` and `\"gzip\"`. Each copy is made once, in the background, when a client first asks for it. What the origin has compressed itself, says `no-transform` of, or sets a cookie with is left alone, and so are answers to `Authorization`." => |draft, value| draft.compression.codings = compression::codings(value)?;
    "compress_levels" = Default("{ zstd = 9, br = 5, gzip = 6 }"), "How hard to try, by coding: zstd from 1 to 19, br from 0 to 11, gzip from 1 to 9. Above 6, br takes 32 MiB of `memory` or more while it works, and so may zstd above 9." => |draft, value| draft.compression.levels = compression::levels(value)?;
    "compress_min_size" = Default("\"1KiB\""), "Smaller bodies are left alone." => |draft, value| draft.compression.min_size = value.size(0..=64 * TIB)?;
    "compress_types" = Default("[\"usual\"]"), "Media types that are compressed: `\"text/html\"`, `\"text/*\"`, `\"*+json\"`; `\"usual\"` stands for text in all its forms. Never `text/event-stream`." => |draft, value| draft.compression.types = compression::types(value)?;
    "normalize_accept_language" = Default("false"), "Contested: whether `Accept-Language` is compared without its order, case and spacing, and a variant chosen by its weights." => |draft, value| draft.rules.policy.normalize_accept_language = value.boolean()?;
};

/// A duration, or `"off"` where the origin decides.
fn overriding(value: &Value<'_>) -> Checked<Option<Duration>> {
    if value.is_off() {
        return Ok(None);
    }
    value.duration(Duration::ZERO..=LONGEST).map(Some)
}

/// `{ "404" = "10s", "503" = "1s" }`, for statuses from `first` on.
fn by_status(value: &Value<'_>, first: u16) -> Checked<Vec<(u16, Duration)>> {
    let statuses = if first == 400 { "^[45][0-9]{2}$" } else { "^[2-5][0-9]{2}$" };
    value.entries("write { \"404\" = \"10s\" }", statuses, |status, lifetime| {
        let lifetime = lifetime.duration(Duration::ZERO..=LONGEST);
        let code: Option<u16> = status.text.parse().ok();
        match code.filter(|code| (first..=599).contains(code)) {
            Some(code) if StatusCode::from_u16(code).is_ok_and(policy::is_provoked) => Err(status
                .fault(format!("{code} is never stored by configuration"))
                .help("a client can provoke it for everybody; the origin may say max-age")
                .into()),
            Some(code @ (304 | 407 | 412)) => Err(status
                .fault(format!("{code} is never stored"))
                .help("it answers one client's conditions")
                .into()),
            Some(code) => lifetime.map(|lifetime| (code, lifetime)),
            None => {
                let what = if first == 400 { "the status of an error" } else { "a status" };
                Err(status
                    .fault(format!("this is not {what}"))
                    .help(format!("write one from {first} to 599 in quotes: \"404\" = \"10s\""))
                    .into())
            }
        }
    })
}

/// What only all keys of a cache section together show; `written` is the section in the file.
///
/// Faults have no place where the section holds none of their keys: something above it is wrong.
pub(in crate::config) fn contradictions(
    written: Option<&Value<'_>>,
    draft: &Draft,
    any_trusted: bool,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let policy = &draft.rules.policy;
    let show = humantime::format_duration;
    let mut fault = |keys: &[&str], title: String, help: String| {
        let place = written.and_then(|table| {
            keys.iter().find(|key| table.has_key(key)).map(|key| table.key_span(key))
        });
        faults.push(Fault::anywhere(place, title).help(help));
    };
    if draft.rules.enabled && !draft.rules.lookup && !draft.rules.store {
        fault(
            &["lookup", "store"],
            "nothing is looked up and nothing is stored".to_owned(),
            "write enabled = false if caching is to be off".to_owned(),
        );
    }
    let quarter = draft.quarter_of_memory();
    if let Some(size) = draft.max_object_size.filter(|size| *size > quarter) {
        let size = bytesize::ByteSize(size);
        fault(
            &["max_object_size", "memory"],
            format!(
                "an object of {size} would push too much else out: max_object_size is more than a quarter of memory"
            ),
            format!(
                "write {} or less, or give memory {} or more",
                bytesize::ByteSize(quarter),
                bytesize::ByteSize(size.as_u64().saturating_mul(4))
            ),
        );
    }
    if draft.rules.window as u64 > quarter {
        fault(
            &["window", "memory"],
            "window is more than a quarter of memory".to_owned(),
            format!("write {} or less", bytesize::ByteSize(quarter)),
        );
    }
    if policy.min_lifetime > policy.max_lifetime {
        fault(
            &["min_lifetime", "max_lifetime"],
            format!(
                "min_lifetime ({}) is longer than max_lifetime ({})",
                show(policy.min_lifetime),
                show(policy.max_lifetime)
            ),
            "lower min_lifetime or raise max_lifetime".to_owned(),
        );
    }
    if policy.default_lifetime > policy.max_lifetime {
        fault(
            &["default_lifetime", "max_lifetime"],
            format!(
                "default_lifetime ({}) is longer than max_lifetime ({})",
                show(policy.default_lifetime),
                show(policy.max_lifetime)
            ),
            "lower default_lifetime or raise max_lifetime".to_owned(),
        );
    }
    let imposed = policy.lifetime.into_iter().chain(policy.lifetimes.iter().map(|(_, it)| *it));
    if let Some(longest) = imposed.max().filter(|longest| *longest > policy.max_lifetime) {
        fault(
            &["lifetime", "lifetimes", "max_lifetime"],
            format!(
                "a lifetime of {} is longer than max_lifetime ({})",
                show(longest),
                show(policy.max_lifetime)
            ),
            "shorten it or raise max_lifetime".to_owned(),
        );
    }
    if policy.request_directives == RequestDirectivesPolicy::Trusted && !any_trusted {
        fault(
            &["request_directives"],
            "only trusted peers' directives would count, but nobody is trusted".to_owned(),
            "list peers in [trust] proxies, or write \"ignore\" or \"honour\"".to_owned(),
        );
    }
    faults
}
