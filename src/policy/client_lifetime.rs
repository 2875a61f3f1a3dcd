//! What the client is told of how long it may use a response by itself.

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::age::{age_value, delta_seconds};
use super::facts::date_of;
use crate::clock::Timestamp;
use crate::headers::{is_unclosed, list_members};

/// Makes a response say that the client may use it for `lifetime` from now: `max-age` counts from
/// its generation (RFC 9111 §4.2), so its `Age` is added. `Expires` goes, and the rest of
/// `Cache-Control` stays; fields for other caches are not touched.
///
/// A lifetime is only shortened, or left as it is, where the client's cache was told not to use the
/// response unasked, and where it is not `shared`: what is not good for everybody may be one
/// visitor's page. Nor is that of errors, and of what sets a cookie, ever lengthened.
pub fn tell_client(
    headers: &mut HeaderMap,
    status: StatusCode,
    shared: bool,
    lifetime: Duration,
    now: Timestamp,
) {
    let told = told(headers, now);
    let age = if headers.contains_key(AGE) { age_value(headers) } else { 0 };
    let wanted = lifetime.as_secs().saturating_add(u64::from(age));
    let good = status.is_success() || status.is_redirection();
    let may_lengthen = shared && good && !forbids_use(headers) && !headers.contains_key(SET_COOKIE);
    let change = match told {
        Some(told) => wanted < told || (may_lengthen && wanted > told),
        None => may_lengthen,
    };
    // In one line, an open quote would swallow what stands in the next.
    let unclosed = headers.get_all(CACHE_CONTROL).iter().any(|line| is_unclosed(line.as_bytes()));
    if !change || unclosed {
        return;
    }
    let mut control = Vec::with_capacity(64);
    for member in list_members(headers, &CACHE_CONTROL) {
        if !is_named(member, b"max-age") {
            control.extend_from_slice(member);
            control.extend_from_slice(b", ");
        }
    }
    control.extend_from_slice(format!("max-age={wanted}").as_bytes());
    if let Ok(control) = HeaderValue::from_bytes(&control) {
        headers.insert(CACHE_CONTROL, control);
        headers.remove(EXPIRES);
    }
}

/// The lifetime that a client's own cache reads, in seconds.
fn told(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let max_age = list_members(headers, &CACHE_CONTROL).find(|it| is_named(it, b"max-age"));
    if let Some(max_age) = max_age {
        let value = max_age.split(|byte| *byte == b'=').nth(1).unwrap_or_default();
        let value = value.trim_ascii();
        let value =
            value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value);
        return Some(delta_seconds(value).map_or(0, u64::from));
    }
    let date = date_of(headers, &DATE, now).unwrap_or(now);
    headers
        .contains_key(EXPIRES)
        .then(|| date_of(headers, &EXPIRES, now).map_or(0, |expires| expires.since(date).as_secs()))
}

fn forbids_use(headers: &HeaderMap) -> bool {
    let names: [&[u8]; 3] = [b"no-store", b"no-cache", b"private"];
    list_members(headers, &CACHE_CONTROL).any(|it| names.iter().any(|name| is_named(it, name)))
}

/// Whether a directive has this name, with or without an argument.
fn is_named(directive: &[u8], name: &[u8]) -> bool {
    let end = directive.iter().position(|byte| *byte == b'=').unwrap_or(directive.len());
    directive[..end].trim_ascii().eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::{NOW, NOW_DATE, headers, secs};

    /// `Cache-Control`, and whether `Expires` is still there.
    fn heard(status: u16, shared: bool, fields: &[(&str, &str)]) -> (String, bool) {
        let mut headers = headers(fields);
        let status = StatusCode::from_u16(status).unwrap();
        tell_client(&mut headers, status, shared, secs(60), NOW);
        let lines: Vec<_> =
            headers.get_all(CACHE_CONTROL).iter().map(|it| it.to_str().unwrap()).collect();
        (lines.join(" | "), headers.contains_key(EXPIRES))
    }

    #[test]
    fn a_shared_response_is_kept_for_as_long_as_configured() {
        let later = ("expires", "Sun, 06 Nov 1994 09:49:37 GMT");
        for (fields, expected) in [
            (&[][..], "max-age=60"),
            (&[("cache-control", "max-age=600, public")], "public, max-age=60"),
            (
                &[("cache-control", "MAX-AGE=0"), ("cache-control", "x=\"a, b\"")],
                "x=\"a, b\", max-age=60",
            ),
            (&[("cache-control", "s-maxage=9"), ("age", "7")], "s-maxage=9, max-age=67"),
            (&[("date", NOW_DATE), later], "max-age=60"),
            (&[("cache-control", "max-age=\"9\"")], "max-age=60"),
        ] {
            assert_eq!(heard(200, true, fields), (expected.to_owned(), false), "{fields:?}");
        }
        assert_eq!(heard(304, true, &[]).0, "max-age=60");
    }

    #[test]
    fn elsewhere_a_lifetime_is_only_shortened() {
        let control = |value| ("cache-control", value);
        for (status, shared, fields, expected) in [
            (200, false, &[][..], ""),
            (200, false, &[control("max-age=7")], "max-age=7"),
            (200, false, &[control("max-age=600")], "max-age=60"),
            (200, true, &[control("private, max-age=7")], "private, max-age=7"),
            (200, true, &[control("private, max-age=600")], "private, max-age=60"),
            (200, true, &[control("no-cache")], "no-cache"),
            (200, true, &[control("no-store")], "no-store"),
            (200, true, &[("set-cookie", "a=b")], ""),
            (404, true, &[], ""),
            (404, true, &[control("max-age=600")], "max-age=60"),
        ] {
            assert_eq!(heard(status, shared, fields).0, expected, "{status} {fields:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_lifetime_changes(
            shared: bool,
            lines in prop::collection::vec("[a-z=,\" -]{0,12}|max-age=[0-9]{1,4}|private|no-store", 0..4),
        ) {
            let fields: Vec<_> = lines.iter().map(|line| ("cache-control", &**line)).collect();
            let before = headers(&fields);
            let mut after = before.clone();
            tell_client(&mut after, StatusCode::OK, shared, secs(60), NOW);
            let rest = |headers: &HeaderMap| -> Vec<Vec<u8>> {
                let all = list_members(headers, &CACHE_CONTROL);
                all.filter(|it| !is_named(it, b"max-age")).map(<[u8]>::to_vec).collect()
            };
            prop_assert_eq!(rest(&before), rest(&after));
            if forbids_use(&before) || !shared {
                prop_assert!(told(&after, NOW).is_none_or(|after| told(&before, NOW).is_some_and(|it| after <= it)));
            }
        }
    }
}
