//! The words that explain a cache decision.

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident => $word:literal;)*) => {
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
        }
    };
}

reasons! {
    // Why a request bypassed the cache.
    /// The method is neither GET nor HEAD.
    Method => "method";
    /// The request says `no-store` (RFC 9111 §5.2.1.5).
    RequestNoStore => "request-no-store";
    /// A GET or HEAD with a body: its meaning is not in the key.
    RequestBody => "request-body";
    /// The request asks to leave HTTP.
    Upgrade => "upgrade";
    /// Caching is off for the route.
    CacheOff => "cache-off";
    /// Looking up is off: the answer is fetched, and stored.
    LookupOff => "lookup-off";

    // Why a response was not stored.
    /// Storing is off.
    StoreOff => "store-off";
    /// `no-store` (RFC 9111 §5.2.2.5).
    NoStore => "no-store";
    /// `private` (RFC 9111 §5.2.2.7).
    Private => "private";
    /// The request carried `Authorization` and nothing allows sharing (RFC 9111 §3.5).
    Authorization => "authorization";
    /// The response sets a cookie (RFC 9111 §7.3).
    SetCookie => "set-cookie";
    /// `Vary: *` (RFC 9111 §4.1).
    VaryStar => "vary-star";
    /// `Vary: Cookie`: every visitor would have a variant.
    VaryCookie => "vary-cookie";
    /// `Vary` names a field that tells the origin the client's address: every client would have a
    /// variant.
    VaryClient => "vary-client";
    /// Neither freshness nor a validator, or none that may be used for this request.
    NoFreshness => "no-freshness";
    /// `must-understand` with a status that the cache does not know (RFC 9111 §5.2.2.3).
    MustUnderstand => "must-understand";
    /// The status is not one to store without explicit freshness, or at all.
    Status => "status";
    /// A partial response that can't be placed: no usable `Content-Range`, or no range was asked.
    PartialUnusable => "partial-unusable";
    /// The body is above `max_object_size`.
    TooLarge => "too-large";
    /// The memory budget is full.
    OverBudget => "over-budget";
    /// An earlier answer could not be shared, so this one was not waited for.
    HitForMiss => "hit-for-miss";

    // Why what is stored was not used as it is.
    /// Nothing stored.
    Miss => "miss";
    /// Stale, and no grant to serve it.
    Stale => "stale";
    /// The stored response says `no-cache` (RFC 9111 §5.2.2.4).
    NoCache => "no-cache";
    /// Stale, and `must-revalidate`, `proxy-revalidate` or `s-maxage` bars it.
    MustRevalidate => "must-revalidate";
    /// The request says `no-cache` (RFC 9111 §5.2.1.4).
    RequestNoCache => "request-no-cache";
    /// Older than the request's `max-age` (RFC 9111 §5.2.1.1).
    RequestMaxAge => "request-max-age";
    /// Not fresh for as long as the request's `min-fresh` (RFC 9111 §5.2.1.3).
    RequestMinFresh => "request-min-fresh";
    /// Stored variants exist, none matches (RFC 9111 §4.1).
    VaryMismatch => "vary-mismatch";
    /// A soft purge made it stale.
    SoftPurged => "soft-purged";
    /// A stored partial response does not hold what was asked (RFC 9111 §3.3).
    PartialMiss => "partial-miss";

    // Why a stale response was served.
    /// `stale-while-revalidate` (RFC 5861 §3).
    StaleWhileRevalidate => "stale-while-revalidate";
    /// `stale-if-error` (RFC 5861 §4).
    StaleIfError => "stale-if-error";
    /// No response came at all (RFC 9111 §4.2.4).
    Disconnected => "disconnected";
    /// The request's `max-stale` (RFC 9111 §5.2.1.2).
    RequestMaxStale => "request-max-stale";

    // Sharing a fetch.
    /// Answered by another request's fetch.
    Collapsed => "collapsed";
    /// The wait for another request's fetch reached its bound.
    WaitBound => "wait-bound";
    /// The 304 does not speak of the stored response (RFC 9111 §4.3.4): fetched again.
    ValidatorMismatch => "validator-mismatch";
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
