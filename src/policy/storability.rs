//! Whether a response may be stored (RFC 9111 §3).

use http::header::{
    AUTHORIZATION, CONTENT_LOCATION, CONTENT_RANGE, COOKIE, DATE, ETAG, EXPIRES, FORWARDED,
    LAST_MODIFIED, RANGE, SET_COOKIE,
};
use http::{HeaderMap, Method, StatusCode};

use super::directives::{CacheControl, ResponseDirectives};
use super::facts::{accel_of, allows_implicit_lifetime, date_of};
use super::imposed::{Imposable, Said};
use super::invalidation::resolve;
use super::overrides::Overrides;
use super::range::parse_content_range;
use super::reason::Reason;
use super::request::{RequestDirectives, RequestFacts};
use super::status::{is_heuristically_cacheable, is_provoked, is_storable, is_understood};
use super::vary::nominated;
use crate::clock::Timestamp;
use crate::headers::{X_FORWARDED_FOR, single};
use crate::key::Target;

/// The answer of [`storability()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storability {
    /// It may be stored.
    Store,
    /// It may not, or it could never be of use.
    DoNotStore(Reason),
}

/// Whether a request may be answered from the cache, or its response stored, at all: GET or HEAD
/// (RFC 9110 §9.2.3) without `no-store` (RFC 9111 §5.2.1.5).
///
/// # Errors
/// The reason why not.
pub fn eligibility(request: &RequestFacts<'_>) -> Result<(), Reason> {
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Reason::Method);
    }
    if RequestDirectives::forbid_storing(request.headers) {
        return Err(Reason::RequestNoStore);
    }
    Ok(())
}

/// Whether a response may be stored (RFC 9111 §3). `headers` are without hop-by-hop fields.
///
/// A response that is not fresh but has a validator is stored; one with neither is not, for it
/// could never be reused. A POST's response needs explicit freshness, and the caller checks
/// [`post_is_reusable`].
#[must_use]
pub fn storability(
    request: &RequestFacts<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    overrides: &Overrides,
) -> Storability {
    match permit(request, status, headers, overrides) {
        Ok(_) => Storability::Store,
        Err(reason) => Storability::DoNotStore(reason),
    }
}

/// The same, with what the response says to caches: what is stored need not read it again.
///
/// # Errors
/// Why it may not be stored.
pub fn permit(
    request: &RequestFacts<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    overrides: &Overrides,
) -> Result<CacheControl, Reason> {
    let control = CacheControl::parse(headers, overrides);
    check(&control, request, status, headers, overrides)?;
    Ok(control)
}

fn check(
    control: &CacheControl,
    request: &RequestFacts<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    overrides: &Overrides,
) -> Result<(), Reason> {
    let directives = &control.directives;
    check_request(request)?;
    if !is_storable(status) {
        return Err(Reason::Status);
    }
    check_directives(request, status, directives, overrides)?;
    check_vary(request, headers)?;
    let said = said(headers, directives, overrides);
    let sets_cookie = headers.contains_key(SET_COOKIE) && !control.withholds(&SET_COOKIE);
    if sets_cookie && !(overrides.store_set_cookie && said != Said::Nothing) {
        return Err(Reason::SetCookie);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        check_partial(request, headers)?;
    }
    check_use(request, status, headers, overrides, directives, said)
}

fn check_request(request: &RequestFacts<'_>) -> Result<(), Reason> {
    if ![Method::GET, Method::HEAD, Method::POST].contains(request.method) {
        return Err(Reason::Method);
    }
    if RequestDirectives::forbid_storing(request.headers) {
        return Err(Reason::RequestNoStore);
    }
    Ok(())
}

fn check_directives(
    request: &RequestFacts<'_>,
    status: StatusCode,
    directives: &ResponseDirectives,
    overrides: &Overrides,
) -> Result<(), Reason> {
    // §5.2.2.3: `must-understand` is there for caches that know the status, and then the
    // `no-store` beside it is for those that do not know the directive.
    if directives.must_understand() && !is_understood(status) {
        return Err(Reason::MustUnderstand);
    }
    if directives.no_store() && !directives.must_understand() {
        return Err(Reason::NoStore);
    }
    if directives.private() {
        return Err(Reason::Private);
    }
    let authorized = request.headers.contains_key(AUTHORIZATION) && !overrides.share_authorized;
    if authorized && !directives.allows_authorized() {
        return Err(Reason::Authorization);
    }
    Ok(())
}

fn check_vary(request: &RequestFacts<'_>, headers: &HeaderMap) -> Result<(), Reason> {
    let Some(names) = nominated(headers) else { return Err(Reason::VaryStar) };
    if names.contains(&COOKIE) && !request.keyed_cookies {
        return Err(Reason::VaryCookie);
    }
    // The origin sees in these the client's address, which the request as it came does not tell.
    let by_client = names.iter().any(|name| *name == FORWARDED || *name == X_FORWARDED_FOR);
    if by_client { Err(Reason::VaryClient) } else { Ok(()) }
}

/// A partial response is stored only as the single range of bytes that a request asked for.
fn check_partial(request: &RequestFacts<'_>, headers: &HeaderMap) -> Result<(), Reason> {
    let asked = request.headers.contains_key(RANGE) && request.method == Method::GET;
    let placed = single(headers, &CONTENT_RANGE).and_then(parse_content_range).is_some();
    if asked && placed { Ok(()) } else { Err(Reason::PartialUnusable) }
}

/// Whether it could ever answer anything.
fn check_use(
    request: &RequestFacts<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    overrides: &Overrides,
    directives: &ResponseDirectives,
    said: Said,
) -> Result<(), Reason> {
    let validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    let impersonal = allows_implicit_lifetime(request, headers);
    let imposable = Imposable { status, said, public: directives.public(), impersonal };
    // What answers a POST is fresh only by its own word.
    let imposed = imposable.lifetime(overrides).filter(|_| request.method != Method::POST);
    let said = match imposed {
        None => said,
        Some(lifetime) if lifetime.is_zero() => Said::Zero,
        Some(_) => Said::Lasting,
    };
    match said {
        Said::Lasting if directives.no_cache() && !validator => Err(Reason::NoCache),
        Said::Lasting => Ok(()),
        _ if request.method == Method::POST => Err(Reason::NoFreshness),
        Said::Zero => useful(validator || lives_on(status, directives, overrides)),
        Said::Nothing if !impersonal => Err(Reason::NoFreshness),
        Said::Nothing if is_listed(status, overrides) => Ok(()),
        Said::Nothing if !may_guess(status, directives, overrides) => Err(Reason::Status),
        Said::Nothing => useful(validator || !overrides.default_lifetime.is_zero()),
    }
}

fn useful(is_useful: bool) -> Result<(), Reason> {
    if is_useful { Ok(()) } else { Err(Reason::NoFreshness) }
}

/// Configuration gives the status a lifetime.
fn is_listed(status: StatusCode, overrides: &Overrides) -> bool {
    let listed = || overrides.negative.iter().any(|(listed, _)| *listed == status.as_u16());
    !is_provoked(status) && listed()
}

/// §3: without explicit freshness, only what is heuristically cacheable or public; and of the
/// errors that a request can provoke none, unless configured.
fn may_guess(status: StatusCode, directives: &ResponseDirectives, overrides: &Overrides) -> bool {
    if is_provoked(status) {
        let provoked_too = overrides.heuristic.is_some_and(|heuristic| heuristic.error_statuses);
        return provoked_too && is_heuristically_cacheable(status);
    }
    is_heuristically_cacheable(status) || directives.public()
}

/// A lifetime of zero is of use without a validator only if configuration or a window of the
/// origin's makes more of it.
fn lives_on(status: StatusCode, directives: &ResponseDirectives, overrides: &Overrides) -> bool {
    let granted = |seconds: Option<u32>| seconds.is_some_and(|seconds| seconds > 0);
    let windows =
        granted(directives.stale_while_revalidate()) || granted(directives.stale_if_error());
    let raised = !overrides.min_lifetime.is_zero() && !is_provoked(status);
    let barred = directives.bars_stale() && !overrides.serve_forbidden_stale;
    // What has to be validated at each use is of none without a validator, however long it lives.
    !directives.no_cache() && (raised || (windows && !barred))
}

/// What the origin says of freshness, before times are known.
fn said(headers: &HeaderMap, directives: &ResponseDirectives, overrides: &Overrides) -> Said {
    let accel = overrides.x_accel_expires.then(|| accel_of(headers, Timestamp::EPOCH));
    let lasting = |lasting: bool| if lasting { Said::Lasting } else { Said::Zero };
    if let Some(lifetime) = accel.flatten() {
        return lasting(!lifetime.is_zero());
    }
    if let Some(seconds) = directives.s_maxage().or(directives.max_age()) {
        return lasting(seconds > 0);
    }
    if directives.is_targeted() || !headers.contains_key(EXPIRES) {
        return Said::Nothing;
    }
    let epoch = Timestamp::EPOCH;
    let date = date_of(headers, &DATE, epoch);
    let expires = date_of(headers, &EXPIRES, date.unwrap_or(epoch));
    lasting(expires.is_some_and(|expires| date.is_none_or(|date| expires > date)))
}

/// Whether the response to a POST may answer later GETs (RFC 9110 §9.3.3): a 2xx with explicit
/// freshness whose `Content-Location` is the target itself. [`storability()`] applies as well.
#[must_use]
pub fn post_is_reusable(
    target: &Target,
    status: StatusCode,
    headers: &HeaderMap,
    overrides: &Overrides,
) -> bool {
    let directives = CacheControl::parse(headers, overrides).directives;
    let lasting = said(headers, &directives, overrides) == Said::Lasting;
    let location = single(headers, &CONTENT_LOCATION).and_then(|value| value.to_str().ok());
    let same = location.and_then(|it| resolve(target, it)).is_some_and(|it| target.is_at(&it));
    status.is_success() && status != StatusCode::PARTIAL_CONTENT && lasting && same
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::Heuristic;
    use crate::policy::testing::{NOW_DATE, get, headers};

    const MAX_AGE: (&str, &str) = ("cache-control", "max-age=9");
    const TAG: (&str, &str) = ("etag", "\"a\"");

    fn reason_with(
        request: &[(&str, &str)],
        status: u16,
        fields: &[(&str, &str)],
        overrides: &Overrides,
    ) -> Option<Reason> {
        let status = StatusCode::from_u16(status).unwrap();
        match storability(&get(&headers(request)), status, &headers(fields), overrides) {
            Storability::Store => None,
            Storability::DoNotStore(reason) => Some(reason),
        }
    }

    fn reason(status: u16, fields: &[(&str, &str)]) -> Option<Reason> {
        reason_with(&[], status, fields, &Overrides::default())
    }

    /// RFC 9111 §3.
    #[test]
    fn any_final_status_with_explicit_freshness() {
        for status in [200, 203, 204, 299, 301, 303, 400, 404, 414, 431, 499, 500, 501, 503, 599] {
            assert_eq!(reason(status, &[MAX_AGE]), None, "{status}");
            assert_eq!(reason(status, &[("expires", "0"), TAG]), None, "{status}");
        }
        for status in [100, 103, 304, 407, 412, 416] {
            assert_eq!(reason(status, &[MAX_AGE]), Some(Reason::Status), "{status}");
        }
    }

    #[test]
    fn without_freshness_a_validator_makes_it_useful() {
        for (status, fields, expected) in [
            (200, &[][..], Some(Reason::NoFreshness)),
            (200, &[TAG], None),
            (200, &[("last-modified", NOW_DATE)], None),
            (404, &[TAG], None),
            (500, &[TAG], Some(Reason::Status)),
            (414, &[TAG], Some(Reason::Status)),
            (501, &[TAG], Some(Reason::Status)),
            (599, &[TAG, ("cache-control", "public")], None),
            (200, &[("cache-control", "max-age=0")], Some(Reason::NoFreshness)),
            (200, &[("cache-control", "max-age=0, stale-while-revalidate=9")], None),
            (200, &[("cache-control", "no-cache, max-age=9")], Some(Reason::NoCache)),
            (200, &[("cache-control", "no-cache"), TAG], None),
        ] {
            assert_eq!(reason(status, fields), expected, "{status} {fields:?}");
        }
    }

    /// RFC 9111 §5.2.2.
    #[test]
    fn directives_that_forbid() {
        for (value, expected) in [
            ("no-store, max-age=9", Some(Reason::NoStore)),
            ("max-age=9, private", Some(Reason::Private)),
            ("max-age=9, private=\"x-a\"", None),
            ("max-age=9, no-store, must-understand", None),
            ("max-age=9, private, must-understand", Some(Reason::Private)),
        ] {
            assert_eq!(reason(200, &[("cache-control", value)]), expected, "{value}");
        }
        let understand = [("cache-control", "max-age=9, no-store, must-understand")];
        assert_eq!(reason(599, &understand), Some(Reason::MustUnderstand));
    }

    /// RFC 9111 §3.5.
    #[test]
    fn authorization_needs_leave_to_share() {
        let authorized = |value| {
            let fields = [("cache-control", value)];
            reason_with(&[("authorization", "Basic x")], 200, &fields, &Overrides::default())
        };
        assert_eq!(authorized("max-age=9"), Some(Reason::Authorization));
        assert_eq!(authorized("max-age=9, proxy-revalidate"), Some(Reason::Authorization));
        for value in ["max-age=9, public", "max-age=9, must-revalidate", "s-maxage=9"] {
            assert_eq!(authorized(value), None, "{value}");
        }
    }

    /// RFC 9111 §3.5.
    #[test]
    fn authorization_counts_for_nothing_where_that_is_configured() {
        let on = Overrides { share_authorized: true, ..Overrides::default() };
        let authorized = |value| {
            let fields = [("cache-control", value)];
            reason_with(&[("authorization", "Basic x")], 200, &fields, &on)
        };
        assert_eq!(authorized("max-age=9"), None);
        assert_eq!(authorized("max-age=9, private"), Some(Reason::Private));
        // Nothing is made up for it all the same.
        assert_eq!(authorized(""), Some(Reason::NoFreshness));
    }

    /// RFC 9111 §7.3.
    #[test]
    fn cookies_are_not_shared_unless_configured() {
        let cookie = ("set-cookie", "a=b");
        let on = Overrides { store_set_cookie: true, ..Overrides::default() };
        assert_eq!(reason(200, &[MAX_AGE, cookie]), Some(Reason::SetCookie));
        assert_eq!(reason_with(&[], 200, &[MAX_AGE, cookie], &on), None);
        assert_eq!(reason_with(&[], 200, &[TAG, cookie], &on), Some(Reason::SetCookie));
        let named = ("cache-control", "max-age=9, no-cache=\"Set-Cookie\"");
        assert_eq!(reason(200, &[named, cookie]), None);
        let visitor =
            |fields: &[_]| reason_with(&[("cookie", "a")], 200, fields, &Overrides::default());
        assert_eq!((visitor(&[MAX_AGE]), visitor(&[TAG])), (None, Some(Reason::NoFreshness)));
    }

    /// RFC 9111 §4.1.
    #[test]
    fn vary_that_can_not_be_stored() {
        for value in ["*", "*, *", ", *", "*, Foo", "Foo, *", "a b"] {
            assert_eq!(reason(200, &[MAX_AGE, ("vary", value)]), Some(Reason::VaryStar), "{value}");
        }
        let lines = [MAX_AGE, ("vary", ""), ("vary", "Foo"), ("vary", "*")];
        assert_eq!(reason(200, &lines), Some(Reason::VaryStar));
        assert_eq!(reason(200, &[MAX_AGE, ("vary", "x, COOKIE")]), Some(Reason::VaryCookie));
        assert_eq!(reason(200, &[MAX_AGE, ("vary", "Foo")]), None);
    }

    /// RFC 9111 §3.3.
    #[test]
    fn partial_responses_have_a_place_and_were_asked_for() {
        let range = ("content-range", "bytes 0-4/10");
        let plain = Overrides::default();
        let asked = |fields: &[_]| reason_with(&[("range", "bytes=0-4")], 206, fields, &plain);
        assert_eq!(asked(&[MAX_AGE, range]), None);
        for fields in [&[MAX_AGE][..], &[MAX_AGE, range, range], &[MAX_AGE, ("content-range", "x")]]
        {
            assert_eq!(asked(fields), Some(Reason::PartialUnusable), "{fields:?}");
        }
        assert_eq!(reason(206, &[MAX_AGE, range]), Some(Reason::PartialUnusable));
    }

    #[test]
    fn requests_that_bypass() {
        let plain = Overrides::default();
        let eligible = |method: &Method, fields: &[_]| {
            let headers = headers(fields);
            eligibility(&RequestFacts::new(method, &headers, false))
        };
        assert_eq!(eligible(&Method::GET, &[]), Ok(()));
        assert_eq!(eligible(&Method::HEAD, &[("cache-control", "no-cache")]), Ok(()));
        assert_eq!(eligible(&Method::POST, &[]), Err(Reason::Method));
        let no_store = [("cache-control", "No-Store")];
        assert_eq!(eligible(&Method::GET, &no_store), Err(Reason::RequestNoStore));
        assert_eq!(reason_with(&no_store, 200, &[MAX_AGE], &plain), Some(Reason::RequestNoStore));
    }

    #[test]
    fn configured_lifetimes_make_storable() {
        let default =
            Overrides { default_lifetime: Duration::from_secs(1), ..Overrides::default() };
        let negative =
            Overrides { negative: vec![(500, Duration::from_secs(1))], ..Overrides::default() };
        let errors = Heuristic { error_statuses: true, ..Heuristic::default() };
        let errors = Overrides { heuristic: Some(errors), ..Overrides::default() };
        assert_eq!(reason_with(&[], 200, &[], &default), None);
        assert_eq!(reason_with(&[], 414, &[], &default), Some(Reason::Status));
        assert_eq!(reason_with(&[], 500, &[], &negative), None);
        assert_eq!(reason_with(&[], 414, &[("last-modified", NOW_DATE)], &errors), None);
    }

    /// RFC 9110 §9.3.3.
    #[test]
    fn a_post_answers_later_gets_if_it_says_so() {
        let target = Target::parse("http://h/a/b?c").unwrap();
        let reusable = |status: u16, fields: &[_]| {
            let status = StatusCode::from_u16(status).unwrap();
            post_is_reusable(&target, status, &headers(fields), &Overrides::default())
        };
        for location in ["", "b?c", "?c", "/a/b?c", "//H/a/b?c", "http://h:80/a/./b?c"] {
            assert!(reusable(200, &[MAX_AGE, ("content-location", location)]), "{location}");
        }
        let here = ("content-location", "");
        assert!(!reusable(200, &[MAX_AGE]));
        assert!(!reusable(200, &[here, TAG]));
        assert!(!reusable(404, &[MAX_AGE, here]));
        assert!(!reusable(200, &[MAX_AGE, ("content-location", "/a/b")]));
    }

    proptest! {
        /// Invariant 10 of the design: restriction is monotonic.
        #[test]
        fn a_restrictive_directive_never_allows_more(
            directives in prop::collection::vec(prop::sample::select(vec![
                "max-age=9", "max-age=0", "public", "s-maxage=1", "must-understand", "no-store",
                "private=\"x\"", "no-cache=\"x\"", "stale-if-error=5", "immutable",
            ]), 0..4),
            added in prop::sample::select(vec!["no-store", "private", "private=\"x-a\"", "no-cache"]),
            status in prop::sample::select(vec![200_u16, 404, 500, 599]),
            tag in any::<bool>(),
        ) {
            let text = directives.join(", ");
            let extra = if tag { vec![TAG] } else { vec![] };
            let store = |control: &str| {
                let fields: Vec<_> = extra.iter().copied().chain([("cache-control", control)]).collect();
                reason(status, &fields).is_none()
            };
            for restricted in [format!("{text}, {added}"), format!("{added}, {text}")] {
                prop_assert!(store(&text) || !store(&restricted));
            }
        }
    }
}
