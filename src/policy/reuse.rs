//! Whether a stored response may answer a request as it stands (RFC 9111 §4).

use std::time::Duration;

use http::StatusCode;
use http::header::RANGE;

use super::overrides::{Overrides, RequestDirectivesPolicy};
use super::reason::Reason;
use super::request::{MaxStale, RequestDirectives, RequestFacts};
use super::stored_head::StoredHead;
use crate::clock::Timestamp;

/// What purges say of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// No purge covers it.
    Valid,
    /// A soft purge covers it: stale, whatever its lifetime. While its lifetime would still run it
    /// counts as having just become stale, so the stale windows end when they would have anyway.
    SoftPurged,
    /// It may have been purged, nobody knows how: validated, and never served stale instead, but
    /// where the origin fails.
    Doubtful,
}

/// Whether a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// As it is.
    Fresh,
    /// Stale, but it may be served now.
    Stale(StaleGrant),
    /// Only after a successful validation; without a validator it is fetched again.
    Validate(Reason),
    /// Not for this request.
    Unusable(Reason),
}

/// What allows a stale response to be served (RFC 9111 §4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StaleGrant {
    /// Within `stale-while-revalidate` (RFC 5861 §3); one request validates in the background.
    WhileRevalidate,
    /// Within `stale-if-error` (RFC 5861 §4).
    IfError,
    /// No response came at all, and the bound is not reached.
    Disconnected,
    /// The request's `max-stale` (RFC 9111 §5.2.1.2).
    RequestMaxStale,
}

impl StaleGrant {
    /// The reason with the stable word.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::WhileRevalidate => Reason::StaleWhileRevalidate,
            Self::IfError => Reason::StaleIfError,
            Self::Disconnected => Reason::Disconnected,
            Self::RequestMaxStale => Reason::RequestMaxStale,
        }
    }
}

/// Decides on a stored response that the caller has already chosen by [`super::select`].
///
/// `directives` are the request's, as parsed; which of them count is decided here. A partial
/// response without a `Range` in the request is unusable; whether it covers the range is
/// [`super::range::evaluate_partial`]'s.
#[must_use]
pub fn reuse(
    stored: &StoredHead,
    request: &RequestFacts<'_>,
    directives: &RequestDirectives,
    overrides: &Overrides,
    validity: Validity,
    now: Timestamp,
) -> Reuse {
    if !stored.reads_alike(overrides) {
        return Reuse::Unusable(Reason::SettingsChanged);
    }
    if stored.is_partial() && !request.headers.contains_key(RANGE) {
        return Reuse::Unusable(Reason::PartialMiss);
    }
    if stored.facts.directives.no_cache() {
        return Reuse::Validate(Reason::NoCache);
    }
    let directives = directives.effective(overrides.request_directives, request.trusted);
    let age = stored.current_age(now);
    let lifetime = stored.freshness(overrides).duration;
    if validity == Validity::Valid && age < lifetime {
        return match refused_fresh(stored, &directives, age, lifetime) {
            Some(reason) => Reuse::Validate(reason),
            None => Reuse::Fresh,
        };
    }
    stale(stored, &directives, overrides, validity, age, lifetime)
}

/// Why the request does not take what is fresh (RFC 9111 §5.2.1). A reload of what is
/// `immutable` is answered from the cache: it can't have changed (RFC 8246 §2).
fn refused_fresh(
    stored: &StoredHead,
    directives: &RequestDirectives,
    age: Duration,
    lifetime: Duration,
) -> Option<Reason> {
    let reload = directives.asks_to_validate() && stored.facts.directives.immutable();
    if let Some(reason) = refused_age(directives, age).filter(|_| !reload) {
        return Some(reason);
    }
    let wanted = Duration::from_secs(directives.min_fresh?);
    (lifetime.saturating_sub(age) < wanted).then_some(Reason::RequestMinFresh)
}

fn refused_age(directives: &RequestDirectives, age: Duration) -> Option<Reason> {
    if directives.no_cache {
        return Some(Reason::RequestNoCache);
    }
    let limit = directives.max_age?;
    (limit == 0 || age > Duration::from_secs(limit)).then_some(Reason::RequestMaxAge)
}

fn stale(
    stored: &StoredHead,
    directives: &RequestDirectives,
    overrides: &Overrides,
    validity: Validity,
    age: Duration,
    lifetime: Duration,
) -> Reuse {
    if validity == Validity::Doubtful {
        return Reuse::Validate(Reason::PurgesMissed);
    }
    let soft_purged = validity == Validity::SoftPurged;
    if stored.bars_stale(overrides) {
        let reason = if soft_purged { Reason::SoftPurged } else { Reason::MustRevalidate };
        return Reuse::Validate(reason);
    }
    if let Some(reason) = refused_age(directives, age) {
        return Reuse::Validate(reason);
    }
    if directives.min_fresh.is_some() {
        return Reuse::Validate(Reason::RequestMinFresh);
    }
    let staleness = age.saturating_sub(lifetime);
    if staleness < stored.facts.revalidate_window(overrides) {
        return Reuse::Stale(StaleGrant::WhileRevalidate);
    }
    if soft_purged {
        return Reuse::Validate(Reason::SoftPurged);
    }
    let enough = match directives.max_stale {
        // No client excuses from what the origin forbids.
        _ if stored.must_revalidate() => false,
        None => false,
        Some(MaxStale::Any) => true,
        Some(MaxStale::Seconds(seconds)) => staleness <= Duration::from_secs(seconds),
    };
    if enough {
        return Reuse::Stale(StaleGrant::RequestMaxStale);
    }
    Reuse::Validate(Reason::Stale)
}

/// How a fetch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The origin answered with this status; 500, 502, 503 and 504 count (RFC 5861 §4).
    Status(StatusCode),
    /// No whole response: refused, reset, timed out, cut.
    NoResponse,
}

/// What a failed fetch allows for the stored response that was to be replaced: `stale-if-error`,
/// or the bound on disconnection if no response came at all (RFC 9111 §4.2.4).
///
/// `directives` are the request's. Where only trusted peers' count, pass
/// [`RequestDirectives::effective`]: a `no-cache` that counts wants the error.
#[must_use]
pub fn on_failure(
    stored: &StoredHead,
    directives: &RequestDirectives,
    overrides: &Overrides,
    failure: Failure,
    now: Timestamp,
) -> Option<StaleGrant> {
    let honoured = overrides.request_directives != RequestDirectivesPolicy::Ignore;
    if stored.bars_stale(overrides) || (honoured && directives.asks_to_validate()) {
        return None;
    }
    let lifetime = stored.freshness(overrides).duration;
    let staleness = stored.current_age(now).saturating_sub(lifetime);
    let counts = match failure {
        Failure::Status(status) => matches!(status.as_u16(), 500 | 502 | 503 | 504),
        Failure::NoResponse => true,
    };
    if counts && staleness < stored.facts.error_window(overrides) {
        return Some(StaleGrant::IfError);
    }
    let disconnected =
        failure == Failure::NoResponse && staleness < stored.facts.disconnected_window(overrides);
    disconnected.then_some(StaleGrant::Disconnected)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::{
        NOW_DATE, at, get, headers, reuse_at, reuse_for, secs, stored, stored_for,
    };

    fn head(control: &str) -> StoredHead {
        stored(200, &[("date", NOW_DATE), ("cache-control", control)], &Overrides::default())
    }

    fn honour() -> Overrides {
        Overrides { request_directives: RequestDirectivesPolicy::Honour, ..Overrides::default() }
    }

    /// RFC 9111 §4.2: fresh while the age is less than the lifetime.
    #[test]
    fn fresh_until_the_lifetime_is_over() {
        let (plain, head) = (Overrides::default(), head("max-age=10"));
        assert_eq!(reuse_at(&head, &plain, 9), Reuse::Fresh);
        assert_eq!(reuse_at(&head, &plain, 10), Reuse::Validate(Reason::Stale));
        assert_eq!(
            reuse_at(&self::head("max-age=10, no-cache"), &plain, 0),
            Reuse::Validate(Reason::NoCache)
        );
    }

    #[test]
    fn what_is_doubted_is_validated_whatever_is_granted() {
        let generous = Overrides { stale_while_revalidate: secs(60), ..honour() };
        let head = head("max-age=10, stale-while-revalidate=60, stale-if-error=60");
        let max_stale = headers(&[("cache-control", "max-stale")]);
        let directives = RequestDirectives::parse(&max_stale);
        let verdict =
            reuse(&head, &get(&max_stale), &directives, &generous, Validity::Doubtful, at(1));
        assert_eq!(verdict, Reuse::Validate(Reason::PurgesMissed));
        let none = RequestDirectives::default();
        let granted = on_failure(&head, &none, &generous, Failure::NoResponse, at(1));
        assert!(granted.is_some(), "but it is better than an error");
    }

    /// RFC 5861 §3.
    #[test]
    fn stale_while_revalidate_ends() {
        let window = Overrides { stale_while_revalidate: secs(5), ..Overrides::default() };
        let granted = head("max-age=10, stale-while-revalidate=4");
        for (seconds, expected) in
            [(13, Reuse::Stale(StaleGrant::WhileRevalidate)), (14, Reuse::Validate(Reason::Stale))]
        {
            assert_eq!(reuse_at(&granted, &window, seconds), expected);
            assert_eq!(reuse_at(&head("max-age=10"), &window, seconds + 1), expected);
        }
    }

    /// RFC 9111 §4.2.4.
    #[test]
    fn some_directives_bar_every_stale_answer() {
        let generous =
            Overrides { stale_while_revalidate: secs(60), stale_if_error: secs(60), ..honour() };
        let max_stale = [("cache-control", "max-stale")];
        for bar in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
            let head = head(&format!("max-age=1, {bar}"));
            let found = reuse_for(&head, &max_stale, &generous, 2);
            assert!(matches!(found, Reuse::Validate(_)), "{bar}");
            for failure in [Failure::NoResponse, Failure::Status(StatusCode::BAD_GATEWAY)] {
                let directives = RequestDirectives::default();
                assert_eq!(
                    on_failure(&head, &directives, &generous, failure, at(2)),
                    None,
                    "{bar}"
                );
            }
        }
    }

    /// RFC 9111 §4.2.4, against which configuration has the last word.
    #[test]
    fn forbidden_stale_is_served_where_configured_and_made_for_nobody_in_particular() {
        let windows =
            Overrides { stale_while_revalidate: secs(5), stale_if_error: secs(5), ..honour() };
        let lax = Overrides { serve_forbidden_stale: true, ..windows.clone() };
        let stale = Reuse::Stale(StaleGrant::WhileRevalidate);
        let barred = Reuse::Validate(Reason::MustRevalidate);
        let cookie = [("cookie", "a=b")];
        for (control, request, expected) in [
            ("max-age=1, must-revalidate", &[][..], stale),
            ("max-age=1, proxy-revalidate", &[], stale),
            ("s-maxage=1", &[], stale),
            ("max-age=1, must-revalidate", &cookie, barred),
            ("public, s-maxage=1", &cookie, stale),
            ("max-age=1, s-maxage=1, no-cache", &[], Reuse::Validate(Reason::NoCache)),
        ] {
            let fields = [("date", NOW_DATE), ("cache-control", control)];
            let head = stored_for(request, 200, &fields, &lax);
            let max_stale = [("cache-control", "max-stale")];
            assert_eq!(reuse_for(&head, &max_stale, &lax, 5), expected, "{control}");
            assert!(!matches!(reuse_for(&head, &max_stale, &windows, 5), Reuse::Stale(_)));
            let past = reuse_for(&head, &max_stale, &lax, 6);
            assert!(matches!(past, Reuse::Validate(_)), "{control}");
            let failed = |overrides| {
                let directives = RequestDirectives::default();
                on_failure(&head, &directives, overrides, Failure::NoResponse, at(5))
            };
            let granted = (expected == stale).then_some(StaleGrant::IfError);
            assert_eq!((failed(&lax), failed(&windows)), (granted, None), "{control}");
        }
    }

    /// RFC 9111 §5.2.1.
    #[test]
    fn request_directives_where_they_count() {
        for (value, seconds, expected) in [
            ("no-cache", 0, Reuse::Validate(Reason::RequestNoCache)),
            ("max-age=0", 0, Reuse::Validate(Reason::RequestMaxAge)),
            ("max-age=3", 3, Reuse::Fresh),
            ("max-age=3", 4, Reuse::Validate(Reason::RequestMaxAge)),
            ("min-fresh=5", 5, Reuse::Fresh),
            ("min-fresh=5", 6, Reuse::Validate(Reason::RequestMinFresh)),
            ("max-stale=2", 12, Reuse::Stale(StaleGrant::RequestMaxStale)),
            ("max-stale=2", 13, Reuse::Validate(Reason::Stale)),
            ("max-stale", 99, Reuse::Stale(StaleGrant::RequestMaxStale)),
        ] {
            let request = [("cache-control", value)];
            let head = head("max-age=10");
            assert_eq!(
                reuse_for(&head, &request, &honour(), seconds),
                expected,
                "{value} {seconds}"
            );
            let ignored = reuse_for(&head, &request, &Overrides::default(), seconds);
            assert_eq!(ignored, reuse_at(&head, &Overrides::default(), seconds), "{value}");
        }
    }

    /// RFC 8246 §2.
    #[test]
    fn immutable_ignores_reloads_while_fresh() {
        let head = head("max-age=10, immutable");
        for value in ["no-cache", "max-age=0"] {
            let request = [("cache-control", value)];
            assert_eq!(reuse_for(&head, &request, &honour(), 5), Reuse::Fresh);
            assert!(matches!(reuse_for(&head, &request, &honour(), 11), Reuse::Validate(_)));
        }
    }

    #[test]
    fn soft_purged_is_stale_at_once() {
        let request = headers(&[("cache-control", "max-stale")]);
        let directives = RequestDirectives::parse(&request);
        let purged = |control: &str| {
            let validity = Validity::SoftPurged;
            reuse(&head(control), &get(&request), &directives, &honour(), validity, at(1))
        };
        assert_eq!(purged("max-age=10"), Reuse::Validate(Reason::SoftPurged));
        assert_eq!(purged("max-age=10, must-revalidate"), Reuse::Validate(Reason::SoftPurged));
        let granted = purged("max-age=10, stale-while-revalidate=5");
        assert_eq!(granted, Reuse::Stale(StaleGrant::WhileRevalidate));
    }

    #[test]
    fn a_partial_response_answers_only_ranges() {
        let plain = Overrides::default();
        let fields = [("cache-control", "max-age=9"), ("content-range", "bytes 0-4/10")];
        let head = stored(206, &fields, &plain);
        assert_eq!(reuse_at(&head, &plain, 0), Reuse::Unusable(Reason::PartialMiss));
        assert_eq!(reuse_for(&head, &[("range", "bytes=0-1")], &plain, 0), Reuse::Fresh);
    }

    /// RFC 5861 §4, RFC 9111 §4.2.4.
    #[test]
    fn failures_and_what_they_allow() {
        let plain = Overrides::default();
        let directives = RequestDirectives::default();
        let status = |status| Failure::Status(StatusCode::from_u16(status).unwrap());
        let granted = head("max-age=10, stale-if-error=20");
        for code in [500, 502, 503, 504] {
            let found =
                |seconds| on_failure(&granted, &directives, &plain, status(code), at(seconds));
            assert_eq!((found(29), found(30)), (Some(StaleGrant::IfError), None));
        }
        for code in [501, 505, 404] {
            assert_eq!(on_failure(&granted, &directives, &plain, status(code), at(11)), None);
        }
        let silent = |seconds| {
            on_failure(&head("max-age=10"), &directives, &plain, Failure::NoResponse, at(seconds))
        };
        assert_eq!((silent(69), silent(70)), (Some(StaleGrant::Disconnected), None));
        let reload = RequestDirectives { no_cache: true, ..directives };
        assert_eq!(on_failure(&granted, &reload, &honour(), Failure::NoResponse, at(11)), None);
    }

    proptest! {
        /// Invariant 10 of the design: restriction is monotonic.
        #[test]
        fn a_restrictive_directive_never_allows_more(
            directives in prop::collection::vec(prop::sample::select(vec![
                "max-age=9", "max-age=0", "stale-while-revalidate=5", "immutable", "s-maxage=4",
                "must-revalidate", "no-cache=\"x\"", "public",
            ]), 0..4),
            added in prop::sample::select(vec!["no-cache", "must-revalidate", "proxy-revalidate"]),
            request in prop::sample::select(vec!["", "no-cache", "max-stale", "max-age=3", "min-fresh=2"]),
            seconds in 0_i64..20,
        ) {
            let text = directives.join(", ");
            let allowed = |control: &str| match reuse_for(&head(control), &[("cache-control", request)], &honour(), seconds) {
                Reuse::Fresh => 2,
                Reuse::Stale(_) => 1,
                Reuse::Validate(_) | Reuse::Unusable(_) => 0,
            };
            let restricted = format!("{text}, {added}");
            prop_assert!(allowed(&restricted) <= allowed(&text));
        }
    }
}
