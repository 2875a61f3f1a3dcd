//! What is known of status codes (RFC 9110 §15, RFC 9111 §3).

use http::StatusCode;

/// Heuristically cacheable (RFC 9110 §15.1).
pub(super) const fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Errors that answer how a request was made, or by whom, and not what it was for: odd or
/// oversized fields, an overridden method, missing credentials, a rate. None of that is in the key,
/// so that one client could have such an error stored for everybody. Only the origin's own explicit
/// freshness makes one storable; configuration never does.
#[must_use]
pub const fn is_provoked(status: StatusCode) -> bool {
    let by_the_request = matches!(
        status.as_u16(),
        400 | 401 | 405 | 406 | 408 | 411 | 413..=417 | 421 | 422 | 425 | 426 | 428 | 429 | 431
    );
    by_the_request || matches!(status.as_u16(), 501 | 505)
}

/// A final status that answers the target alone. 304, 412 and 416 answer the request's
/// preconditions and range, which are not in the key, and 407 is between a client and its proxy.
pub(super) const fn is_storable(status: StatusCode) -> bool {
    status.as_u16() >= 200 && !matches!(status.as_u16(), 304 | 407 | 412 | 416)
}

/// Statuses of which the cache knows all that bears on caching (RFC 9111 §5.2.2.3).
pub(super) const fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 305 | 307 | 308 | 400..=415 | 417 | 421 | 422 | 426 | 500..=505
    )
}
