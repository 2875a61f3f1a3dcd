//! Restriction is monotonic: whatever a response says, one directive more that forbids never makes
//! more allowed, over storing and reusing together. And no bytes make a decision panic.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::testing::{AT_ONCE, NOW_DATE, at, get, headers, secs};
use super::{
    Failure, Heuristic, Overrides, RequestDirectives, RequestDirectivesPolicy, Reuse, StaleGrant,
    Storability, StoredHead, Validity, on_failure, reuse, storability,
};

type Lines = Vec<(String, String)>;

/// What a response with these fields would allow, point by point: stored, then for some times after
/// it was how free its use is, while the origin answers and while it fails.
fn allowed(request: &HeaderMap, status: u16, lines: &Lines, overrides: &Overrides) -> Vec<u8> {
    let fields: Vec<_> = lines.iter().map(|(name, value)| (&**name, &**value)).collect();
    let fields = headers(&fields);
    let facts = get(request);
    let status = StatusCode::from_u16(status).unwrap();
    let stored = storability(&facts, status, &fields, overrides) == Storability::Store;
    let head = StoredHead::new(&facts, status, &fields, AT_ONCE, overrides);
    let matches = head.vary().is_none_or(|vary| vary.matches(request));
    let mut points = vec![u8::from(stored)];
    for seconds in [0, 1, 4, 5, 9, 14, 30, 90, 4000] {
        let directives = RequestDirectives::parse(request);
        let used = match reuse(&head, &facts, &directives, overrides, Validity::Valid, at(seconds))
        {
            Reuse::Fresh => 3,
            Reuse::Stale(_) => 2,
            Reuse::Validate(_) | Reuse::Unusable(_) => 0,
        };
        let failed = [Failure::NoResponse, Failure::Status(StatusCode::BAD_GATEWAY)];
        let failed = failed.map(|failure| {
            match on_failure(&head, &directives, overrides, failure, at(seconds)) {
                Some(StaleGrant::Disconnected) => 1,
                Some(_) => 2,
                None => 0,
            }
        });
        let usable = stored && matches;
        points.extend([used, failed[0], failed[1]].map(|point| if usable { point } else { 0 }));
    }
    points
}

fn directive() -> impl Strategy<Value = String> {
    let known = select(vec![
        "max-age=9",
        "max-age=0",
        "max-age=5",
        "max-age=\"4\"",
        "max-age=x",
        "max-age=99999999999",
        "s-maxage=4",
        "public",
        "immutable",
        "must-understand",
        "must-revalidate",
        "no-cache",
        "no-store",
        "private",
        "private=\"x-a\"",
        "no-cache=\"x-a\"",
        "no-cache=\"set-cookie\"",
        "stale-while-revalidate=5",
        "stale-if-error=5",
        "proxy-revalidate",
        "",
    ]);
    let odd = select(vec!["ext", "ext=\"a, no-store\"", "x=\"", "\"", "=", "max-age", "\\", "a b"]);
    prop_oneof![4 => known, 1 => odd].prop_map(str::to_owned)
}

fn control() -> impl Strategy<Value = (String, String)> {
    let name = select(vec!["Cache-Control", "cache-control", "CDN-Cache-Control"]);
    let separator = select(vec![",", ", ", " , ", ",,", "\t,"]);
    (name, prop::collection::vec(directive(), 0..4), separator)
        .prop_map(|(name, directives, by)| (name.to_owned(), directives.join(by)))
}

fn line() -> impl Strategy<Value = (String, String)> {
    let other = select(vec![
        ("ETag", "\"a\""),
        ("Last-Modified", "Sat, 05 Nov 1994 08:49:37 GMT"),
        ("Expires", "Sun, 06 Nov 1994 08:49:47 GMT"),
        ("Expires", "0"),
        ("Age", "3"),
        ("Vary", "Accept"),
        ("Set-Cookie", "a=b"),
        ("X-Accel-Expires", "7"),
    ]);
    let other = other.prop_map(|(name, value)| (name.to_owned(), value.to_owned()));
    prop_oneof![control(), other]
}

/// What only forbids, in any case and blanks, as a line of its own.
fn restriction() -> impl Strategy<Value = (String, String)> {
    let restriction = select(vec![
        ("Cache-Control", "no-store"),
        ("Cache-Control", "no-cache"),
        ("Cache-Control", "private"),
        ("Cache-Control", "must-revalidate"),
        ("Cache-Control", "proxy-revalidate"),
        ("Cache-Control", "private=\"x-b\""),
        ("Vary", "*"),
        ("Vary", "Cookie"),
        ("Set-Cookie", "secret=1"),
    ]);
    let garb = select(vec![("", ""), (" ", "\t"), ("ext, ", ""), ("", ", ext=\"x\""), (",", ",,")]);
    (restriction, garb, any::<bool>()).prop_map(|((name, value), (before, after), upper)| {
        let value = if upper { value.to_ascii_uppercase() } else { value.to_owned() };
        match name {
            "Cache-Control" => (name.to_owned(), format!("{before}{value}{after}")),
            _ => (name.to_owned(), value),
        }
    })
}

fn overrides() -> impl Strategy<Value = Overrides> {
    let seconds = || select(vec![0_u64, 0, 6]).prop_map(secs);
    (seconds(), seconds(), seconds(), seconds(), any::<[bool; 6]>()).prop_map(
        |(default_lifetime, min_lifetime, stale_while_revalidate, stale_if_error, flags)| {
            let [heuristic, negative, targeted, x_accel_expires, store_set_cookie, imposed] = flags;
            Overrides {
                default_lifetime,
                lifetime: imposed.then(|| secs(7)),
                lifetimes: if imposed { vec![(500, secs(8))] } else { Vec::new() },
                min_lifetime,
                stale_while_revalidate,
                stale_if_error,
                heuristic: heuristic.then(Heuristic::default),
                negative: if negative { vec![(500, secs(3)), (400, secs(3))] } else { Vec::new() },
                targeted,
                x_accel_expires,
                store_set_cookie,
                request_directives: RequestDirectivesPolicy::Honour,
                ..Overrides::default()
            }
        },
    )
}

fn request() -> impl Strategy<Value = HeaderMap> {
    let field = select(vec![
        ("cookie", "a=1"),
        ("authorization", "Basic x"),
        ("cache-control", "max-stale"),
        ("cache-control", "max-age=3"),
        ("cache-control", "no-store"),
        ("accept", "a"),
    ]);
    prop::collection::vec(field, 0..3).prop_map(|fields| headers(&fields))
}

/// Any bytes that a field value may hold.
fn any_value() -> impl Strategy<Value = HeaderValue> {
    let odd = prop::collection::vec(any::<u8>(), 0..48);
    let near = "(max-age|s-maxage|no-cache|private|W/|bytes)?[ =\"*,;0-9:A-Za-z/-]{0,40}";
    let near = near.prop_map(String::into_bytes);
    prop_oneof![odd, near].prop_map(|mut bytes| {
        bytes.retain(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        HeaderValue::from_bytes(&bytes).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_forbids_never_makes_more_allowed(
        lines in prop::collection::vec(line(), 0..5),
        added in restriction(),
        place in any::<Index>(),
        status in select(vec![200_u16, 204, 301, 400, 404, 414, 500, 599]),
        request in request(),
        overrides in overrides(),
    ) {
        let mut lines = lines;
        lines.push(("Date".to_owned(), NOW_DATE.to_owned()));
        // RFC 9111 §3.5: of what forbids only this allows too, where credentials were sent.
        let gives = added.1.to_ascii_lowercase().contains("must-revalidate");
        prop_assume!(!(gives && request.contains_key("authorization")));
        let before = allowed(&request, status, &lines, &overrides);
        let mut more = lines.clone();
        more.insert(place.index(lines.len() + 1), added.clone());
        let after = allowed(&request, status, &more, &overrides);
        let narrower = before.iter().zip(&after).all(|(before, after)| after <= before);
        prop_assert!(narrower, "{lines:?} + {added:?}: {before:?} to {after:?}");
    }

    #[test]
    fn no_bytes_make_a_decision_panic(
        fields in prop::collection::vec((select(vec![
            "age", "cache-control", "cdn-cache-control", "content-range", "date", "etag", "expires",
            "last-modified", "surrogate-control", "vary", "x-accel-expires", "content-length",
        ]), any_value()), 0..6),
        asked in prop::collection::vec((select(vec![
            "cache-control", "if-modified-since", "if-none-match", "if-range", "pragma", "range",
            "accept-encoding", "accept-language",
        ]), any_value()), 0..4),
        status in 200_u16..600,
    ) {
        let map = |fields: Vec<(&'static str, HeaderValue)>| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(HeaderName::from_static(name), value);
            }
            map
        };
        let (fields, request) = (map(fields), map(asked));
        let overrides = Overrides {
            surrogate_control: true,
            x_accel_expires: true,
            heuristic: Some(Heuristic::default()),
            request_directives: RequestDirectivesPolicy::Honour,
            ..Overrides::default()
        };
        let facts = get(&request);
        let status = StatusCode::from_u16(status).unwrap();
        let _ = storability(&facts, status, &fields, &overrides);
        let head = StoredHead::new(&facts, status, &fields, AT_ONCE, &overrides);
        let directives = RequestDirectives::parse(&request);
        for seconds in [-1, 0, 1, i64::from(u32::MAX)] {
            let now = at(seconds);
            let _ = reuse(&head, &facts, &directives, &overrides, Validity::Valid, now);
            let _ = (head.age_seconds(now), head.ttl(&overrides, now));
            let _ = on_failure(&head, &directives, &overrides, Failure::NoResponse, now);
        }
        let _ = head.expires_from_store_at(&overrides);
        let _ = super::precondition::evaluate(facts.method, &request, &head, &overrides);
        let _ = super::range::evaluate(facts.method, &request, &head, 10);
        let _ = super::validated_by(&head, &fields);
        let _ = head.with_update(&fields, AT_ONCE, &overrides, &facts).header_map();
    }
}
