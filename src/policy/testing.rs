//! What the tests of this room share.

use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{
    Overrides, RequestDirectives, RequestFacts, ResponseTimes, Reuse, StoredHead, Validity, reuse,
};
use crate::clock::Timestamp;

/// Sun, 06 Nov 1994 08:49:37 GMT.
pub(super) const NOW: Timestamp = Timestamp::from_secs(784_111_777);
/// [`NOW`] as a field value.
pub(super) const NOW_DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

pub(crate) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

pub(super) const fn get(headers: &HeaderMap) -> RequestFacts<'_> {
    RequestFacts::new(&Method::GET, headers, false)
}

pub(super) const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1000)
}

pub(super) const AT_ONCE: ResponseTimes = ResponseTimes { request_at: NOW, response_at: NOW };

/// Stored at [`NOW`] from a plain GET, with that `Date` unless the fields have one.
pub(super) fn stored(status: u16, fields: &[(&str, &str)], overrides: &Overrides) -> StoredHead {
    stored_for(&[], status, fields, overrides)
}

/// The same from a GET with these fields.
pub(super) fn stored_for(
    request: &[(&str, &str)],
    status: u16,
    fields: &[(&str, &str)],
    overrides: &Overrides,
) -> StoredHead {
    let request = headers(request);
    let status = StatusCode::from_u16(status).unwrap();
    StoredHead::new(&get(&request), status, &headers(fields), AT_ONCE, overrides)
}

/// What a plain GET gets `seconds` after [`NOW`].
pub(super) fn reuse_at(stored: &StoredHead, overrides: &Overrides, seconds: i64) -> Reuse {
    reuse_for(stored, &[], overrides, seconds)
}

/// What a GET with these fields gets `seconds` after [`NOW`].
pub(super) fn reuse_for(
    stored: &StoredHead,
    request: &[(&str, &str)],
    overrides: &Overrides,
    seconds: i64,
) -> Reuse {
    let request = headers(request);
    let directives = RequestDirectives::parse(&request);
    reuse(stored, &get(&request), &directives, overrides, Validity::Valid, at(seconds))
}

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
