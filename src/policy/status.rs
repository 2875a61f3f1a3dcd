//! What is known of status codes (RFC 9110 §15, RFC 9111 §3).

use http::StatusCode;

/// Heuristically cacheable (RFC 9110 §15.1).
pub(super) const fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Errors that a request can be made to provoke by what is not in the key: oversized or odd
/// fields. A stored one would shut everybody else out.
pub(super) const fn is_provoked(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 414 | 431 | 501)
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
