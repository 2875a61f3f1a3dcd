//! The words that explain a cache decision.

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident => $word:literal
        $(, $meaning:literal, $advice:literal)?;)*) => {
        /// Why the cache did what it did. The word is stable: it stands in
        /// `Cache-Status; detail=` (RFC 9211 §2.8), the access log, metrics and `explain`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $reason,)* }

        impl Reason {
            /// All reasons, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)*];

            /// The stable word, in kebab-case.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$reason => $word,)* }
            }

            /// What happened, in a sentence for operators.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$reason => concat!($($meaning)?),)* }
            }

            /// What to change for the opposite.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$reason => concat!($($advice)?),)* }
            }
        }
    };
}

reasons! {
    // Why a request bypassed the cache.
    /// The method is neither GET nor HEAD.
    Method => "method",
        "the method is neither GET nor HEAD",
        "nothing to do: only those two are answered from a cache";
    /// The request says `no-store` (RFC 9111 §5.2.1.5).
    RequestNoStore => "request-no-store",
        "the request says `no-store` (RFC 9111 §5.2.1.5)",
        "nothing to do: the client decides this";
    /// A GET or HEAD with a body: its meaning is not in the key.
    RequestBody => "request-body",
        "a GET or HEAD came with a body, whose meaning is not in the key",
        "send the parameters in the query";
    /// The request asks to leave HTTP.
    Upgrade => "upgrade",
        "the request leaves HTTP (WebSocket)",
        "nothing to do: what is said then is not HTTP";
    /// Caching is off for the route.
    CacheOff => "cache-off",
        "`[cache]`, the route or a rule says `enabled = false`",
        "`enabled = true` in a rule or in `[route.cache]`";
    /// Looking up is off: the answer is fetched, and stored.
    LookupOff => "lookup-off",
        "`[cache]`, the route or a rule says `lookup = false`: what is stored is not looked at, and what comes takes its place",
        "`lookup = true` in a rule or in `[route.cache]`";
    /// A rule tells the origin something of the request that is not in the key.
    UnkeyedEdit => "unkeyed-edit",
        "a rule's `request` edit tells the origin something that is not in the key: a field, a cookie, the client's address, or that the request has what the rule matches by",
        "key it, or give such requests a `class` of their own; `share_unkeyed = true` shares answers all the same";

    // Why no origin was asked.
    /// A rule sends the client elsewhere.
    Redirect => "redirect",
        "a rule's `redirect` sent the client elsewhere",
        "`redirect = \"off\"` in a later rule";
    /// A rule gives a fixed response.
    FixedAnswer => "fixed-answer",
        "a rule's `respond` gave a fixed response",
        "`respond = \"off\"` in a later rule";

    // Why a response was not stored.
    /// Storing is off.
    StoreOff => "store-off",
        "`[cache]`, the route or a rule says `store = false`",
        "`store = true` in a rule or in `[route.cache]`";
    /// `no-store` (RFC 9111 §5.2.2.5).
    NoStore => "no-store",
        "the origin says `no-store`",
        "change the origin's `Cache-Control`";
    /// `private` (RFC 9111 §5.2.2.7).
    Private => "private",
        "the origin says `private`",
        "change the origin's `Cache-Control`";
    /// The request carried `Authorization` and nothing allows sharing (RFC 9111 §3.5).
    Authorization => "authorization",
        "the request carried `Authorization` (RFC 9111 §3.5)",
        "the origin says `public`, `s-maxage` or `must-revalidate`; `share_authorized = true` shares it with everybody";
    /// The response sets a cookie (RFC 9111 §7.3).
    SetCookie => "set-cookie",
        "the response sets a cookie",
        "let the origin set it elsewhere; `store_set_cookie = true` shares the cookie with everybody";
    /// `Vary: *` (RFC 9111 §4.1).
    VaryStar => "vary-star",
        "`Vary: *`",
        "name the fields that matter";
    /// `Vary: Cookie`: every visitor would have a variant.
    VaryCookie => "vary-cookie",
        "`Vary: Cookie`: every visitor would have a variant",
        "name the cookies that matter in `[rule.key]` `cookies`";
    /// `Vary` names a field that tells the origin the client's address: every client would have a
    /// variant.
    VaryClient => "vary-client",
        "`Vary` names `X-Forwarded-For`, `Forwarded` or a field of `client_address`: every client would have a variant",
        "vary on something with few values";
    /// Neither freshness nor a validator, or none that may be used for this request.
    NoFreshness => "no-freshness",
        "no lifetime from the origin and no validator, or none that may be used for a request with a cookie",
        "the origin says `max-age`, or `default_lifetime`; for cookies that do not matter, `[rule.key]` `cookies`";
    /// `must-understand` with a status that the cache does not know (RFC 9111 §5.2.2.3).
    MustUnderstand => "must-understand",
        "`must-understand` with a status that Seawall does not know",
        "the origin leaves `must-understand` out";
    /// The status is not one to store without explicit freshness, or at all.
    Status => "status",
        "the status is not stored without explicit freshness, or never (304, 412, 416)",
        "the origin says `max-age`, or `negative` for error statuses";
    /// A partial response that can't be placed: no usable `Content-Range`, or no range was asked.
    PartialUnusable => "partial-unusable",
        "a 206 that says not, or not truly, which part it is",
        "correct the origin's `Content-Range`";
    /// The body is above `max_object_size`.
    TooLarge => "too-large",
        "above `max_object_size`",
        "raise `max_object_size`";
    /// More tags than are kept of one response: it would outlive the purge of any that is dropped.
    TooManyTags => "too-many-tags",
        "more than 4,096 tags and groups, or one longer than 1,024 bytes",
        "send fewer or shorter tags";
    /// The memory budget is full.
    OverBudget => "over-budget",
        "`memory` is full of what is being filled and sent",
        "raise `memory`";
    /// An earlier answer could not be shared, so this one was not waited for.
    HitForMiss => "hit-for-miss",
        "an earlier answer could not be shared, so this request did not wait for others; ends after `hit_for_miss`",
        "make the answer cacheable";

    // Why what is stored was not used as it is.
    /// Nothing stored.
    Miss => "miss",
        "nothing is stored for the URL",
        "nothing to do the first time; where it comes back, look at the key and the lifetime";
    /// Stale, and no grant to serve it.
    Stale => "stale",
        "the stored response is stale",
        "a longer `max-age`, or a stale window";
    /// The stored response says `no-cache` (RFC 9111 §5.2.2.4).
    NoCache => "no-cache",
        "the origin says `no-cache`: each use is validated",
        "drop `no-cache`";
    /// Stale, and `must-revalidate`, `proxy-revalidate` or `s-maxage` bars it.
    MustRevalidate => "must-revalidate",
        "stale, and `must-revalidate`, `proxy-revalidate` or `s-maxage` bars serving it",
        "drop that directive; `serve_forbidden_stale = true` serves it within the stale windows all the same";
    /// The request says `no-cache` (RFC 9111 §5.2.1.4).
    RequestNoCache => "request-no-cache",
        "the client asks for validation and `request_directives` honours it",
        "`request_directives = \"ignore\"`";
    /// Older than the request's `max-age` (RFC 9111 §5.2.1.1).
    RequestMaxAge => "request-max-age",
        "older than the client's `max-age`",
        "`request_directives = \"ignore\"`";
    /// Not fresh for as long as the request's `min-fresh` (RFC 9111 §5.2.1.3).
    RequestMinFresh => "request-min-fresh",
        "not fresh for as long as the client's `min-fresh`",
        "`request_directives = \"ignore\"`";
    /// Stored variants exist, none matches (RFC 9111 §4.1).
    VaryMismatch => "vary-mismatch",
        "variants are stored, none for this request",
        "vary on fewer fields";
    /// It was stored under other settings, by which its fields mean something else.
    SettingsChanged => "settings-changed",
        "stored under settings by which its fields meant something else (`targeted`, `surrogate_control`, `x_accel_expires`, `store_set_cookie`, `share_authorized`, `share_unkeyed`, `no_vary_search`)",
        "nothing to do: the next answer is stored under the new ones";
    /// A soft purge made it stale.
    SoftPurged => "soft-purged",
        "a soft purge made it stale",
        "nothing to do: the next answer is fresh";
    /// A purge of it may have been missed.
    PurgesMissed => "purges-missed",
        "this node may have missed a purge of it: the fleet's stream of purges was out of reach, trimmed or lost",
        "nothing to do: what the origin confirms is fresh again; `seawall_fleet_doubts_total` tells why";
    /// A stored partial response does not hold what was asked (RFC 9111 §3.3).
    PartialMiss => "partial-miss",
        "a part is stored, not the one that was asked for",
        "ask for the whole once";

    // Whether the whole was fetched for a part.
    /// The client asked for a part, and the whole was fetched.
    RangeFill => "range-fill",
        "the client asked for a part, and the whole was fetched to be stored",
        "`ranges = \"pass\"`";
    /// The client's part was asked for by itself.
    RangePass => "range-pass",
        "`ranges = \"fill\"`, but the whole is not to be stored, is above `max_object_size`, does not say its length, or is more than `window` short of the part: that was asked for by itself, and is not stored",
        "let the origin say its length, raise `max_object_size` or `window`";

    // Why another URL's response was used.
    /// The response says by `No-Vary-Search` that it answers this URL too.
    NoVarySearch => "no-vary-search",
        "the stored response says by `No-Vary-Search` which parts of the query do not matter, and answers this URL too",
        "`no_vary_search = false`, or no such field from the origin";

    // Why a stale response was served.
    /// `stale-while-revalidate` (RFC 5861 §3).
    StaleWhileRevalidate => "stale-while-revalidate",
        "served stale while one refresh runs in the background (RFC 5861 §3)",
        "`stale_while_revalidate = \"0s\"`, or `must-revalidate` from the origin";
    /// `stale-if-error` (RFC 5861 §4).
    StaleIfError => "stale-if-error",
        "the origin failed, or has just failed after a long wait, and the origin or the configuration allows stale (RFC 5861 §4)",
        "`stale_if_error = \"0s\"`, or `must-revalidate` from the origin";
    /// No response came at all (RFC 9111 §4.2.4).
    Disconnected => "disconnected",
        "no response came at all, within `stale_when_disconnected` (RFC 9111 §4.2.4)",
        "`stale_when_disconnected = \"0s\"`, or `must-revalidate` from the origin";
    /// The request's `max-stale` (RFC 9111 §5.2.1.2).
    RequestMaxStale => "request-max-stale",
        "the client accepts stale, and `request_directives` honours it",
        "`request_directives = \"ignore\"`";

    // In which form a response was served.
    /// Served by a copy that Seawall has compressed.
    Compressed => "compressed",
        "answered from memory with a copy that Seawall has compressed",
        "`compress = \"off\"` in a rule or in `[route.cache]`";

    // Sharing a fetch.
    /// Answered by another request's fetch.
    Collapsed => "collapsed",
        "answered by a fetch that another request had begun",
        "`collapse = false`";
    /// Answered from the tier behind memory.
    TierHit => "tier-hit",
        "answered from Redis, where an earlier fetch or another node had put it",
        "nothing to do: from now on memory has it, where it is worth its room";
    /// Answered from the tier behind memory, after waiting for another node's fetch.
    FleetHit => "fleet-hit",
        "answered from Redis, after waiting for another node that was fetching it",
        "`[redis]`: `lease_wait = \"0s\"`";
    /// The wait for another node's fetch reached its bound.
    LeaseBound => "lease-bound",
        "the wait for another node's fetch reached `lease_wait`; this node fetched, too",
        "`[redis]`: a longer `lease_wait`";
    /// The wait for another request's fetch reached its bound.
    WaitBound => "wait-bound",
        "the wait for another request's fetch reached `wait`; this one went alone",
        "a longer `wait`";
    /// The 304 does not speak of the stored response (RFC 9111 §4.3.4): fetched again.
    ValidatorMismatch => "validator-mismatch",
        "the origin's 304 spoke of another version, so everything was fetched again",
        "the origin answers with one version at a time";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_are_unique_kebab_case() {
        let words: HashSet<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }
}
