//! Whether a failed exchange is tried again: pure.
//!
//! Only what may be repeated is: what was handed back unsent, and an idempotent request without a
//! body that got no byte of an answer on a reused connection (RFC 9110 §9.2.2, RFC 9112 §9.3.1).

use http::Method;

use super::config::RetryReused;

/// Exchanges tried for one request, at most.
pub(super) const MAX_ATTEMPTS: u8 = 3;

/// What is known of an exchange that failed because its connection did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// The request was handed back: not a byte of it was written, or the origin said that it
    /// was not processed (HTTP/2 `REFUSED_STREAM`, RFC 9113 §8.7).
    pub(super) unsent: bool,
    /// The connection had served a request before.
    pub(super) reused: bool,
    /// A byte of an answer came.
    pub(super) answered: bool,
    /// How many exchanges were tried, this one included.
    pub(super) attempts: u8,
}

/// What follows a failed exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send it again, on any connection.
    Resend,
    /// Send it again, on a fresh connection.
    Fresh,
    /// The failure is the outcome.
    GiveUp,
}

/// What follows `failed`; `repeatable` is the answer of [`repeatable`] for the request.
pub(super) fn next(failed: Failed, repeatable: bool) -> Next {
    // An origin that drops fresh connections is not better served by more of them.
    if !failed.reused || failed.attempts >= MAX_ATTEMPTS {
        Next::GiveUp
    } else if failed.unsent {
        // One dead connection may be chance; after two, the pool is likely all dead.
        if failed.attempts == 1 { Next::Resend } else { Next::Fresh }
    } else if repeatable && !failed.answered {
        Next::Fresh
    } else {
        Next::GiveUp
    }
}

/// What follows an answer that may have had too many fields for its connection, though not too many
/// for a wider one: the same on such a one, where the request may be repeated.
pub(super) fn wider(repeatable: bool) -> Next {
    if repeatable { Next::Fresh } else { Next::GiveUp }
}

/// Whether a request may be sent twice under `policy`.
pub(super) fn repeatable(policy: RetryReused, method: &Method, has_body: bool) -> bool {
    policy == RetryReused::Idempotent && method.is_idempotent() && !has_body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idempotent_requests_without_a_body_are_repeatable() {
        for (method, has_body, expected) in [
            (Method::GET, false, true),
            (Method::HEAD, false, true),
            (Method::OPTIONS, false, true),
            (Method::DELETE, false, true),
            (Method::PUT, true, false),
            (Method::GET, true, false),
            (Method::POST, false, false),
            (Method::PATCH, false, false),
        ] {
            assert_eq!(repeatable(RetryReused::Idempotent, &method, has_body), expected);
            assert!(!repeatable(RetryReused::Unsent, &method, has_body));
        }
    }

    #[test]
    fn the_table_of_failures() {
        use Next::{Fresh, GiveUp, Resend};
        let cases = [
            // unsent, reused, answered, attempts, repeatable
            (true, true, false, 1, false, Resend),
            (true, true, false, 2, false, Fresh),
            (true, true, false, 3, false, GiveUp),
            (true, false, false, 1, true, GiveUp),
            (false, true, false, 1, true, Fresh),
            (false, true, false, 2, true, Fresh),
            (false, true, false, 1, false, GiveUp),
            (false, true, true, 1, true, GiveUp),
            (false, false, false, 1, true, GiveUp),
            (false, false, false, 2, true, GiveUp),
        ];
        for (unsent, reused, answered, attempts, repeatable, expected) in cases {
            let failed = Failed { unsent, reused, answered, attempts };
            assert_eq!(next(failed, repeatable), expected, "{failed:?} {repeatable}");
        }
    }
}
