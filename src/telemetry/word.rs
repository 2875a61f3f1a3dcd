//! One word for what the cache did with a request.

use http::StatusCode;

use crate::context::{Detail, Forwarded, Outcome};
use crate::policy::Reason;

/// What the cache did with a request: the same word in metrics and in the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheWord {
    /// Answered from a fresh response in memory.
    Hit,
    /// Answered from the tier behind memory.
    Tier,
    /// Answered from a stale stored response.
    Stale,
    /// Answered by the origin.
    Miss,
    /// Answered from a stored response that the origin confirmed (304).
    Revalidated,
    /// The cache was not asked.
    Bypass,
    /// Answered by a fetch that another request had begun.
    Collapsed,
    /// The answer is an error of Seawall's own.
    Error,
    /// Seawall answered itself, and it is no error (a purge).
    Local,
}

/// Whether an answer is known to come from the tier behind memory.
const fn is_of_tier(detail: Option<Detail>) -> bool {
    matches!(detail, Some(Detail::Reason(Reason::TierHit | Reason::FleetHit)))
}

impl CacheWord {
    /// All words, for tables.
    pub const ALL: [Self; 9] = [
        Self::Hit,
        Self::Tier,
        Self::Stale,
        Self::Miss,
        Self::Revalidated,
        Self::Bypass,
        Self::Collapsed,
        Self::Error,
        Self::Local,
    ];

    /// The word for an outcome.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let stale = outcome.ttl.is_some_and(|ttl| ttl < 0);
        if matches!(outcome.detail, Some(Detail::Error(_))) {
            return Self::Error;
        }
        match (outcome.hit, outcome.forwarded) {
            (true, _) if stale => Self::Stale,
            (true, _) if is_of_tier(outcome.detail) => Self::Tier,
            (true, _) => Self::Hit,
            (false, None) => Self::Local,
            (false, Some(Forwarded::Bypass | Forwarded::Method)) => Self::Bypass,
            (false, Some(_)) if outcome.collapsed => Self::Collapsed,
            (false, Some(Forwarded::Stale)) => match outcome.forward_status {
                Some(StatusCode::NOT_MODIFIED) => Self::Revalidated,
                Some(status) if !status.is_server_error() => Self::Miss,
                // The origin failed, and the stored response was sent instead of its error.
                _ if stale => Self::Stale,
                _ => Self::Miss,
            },
            (false, Some(_)) => Self::Miss,
        }
    }

    /// The word's text.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Tier => "tier",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Revalidated => "revalidated",
            Self::Bypass => "bypass",
            Self::Collapsed => "collapsed",
            Self::Error => "error",
            Self::Local => "local",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn outcomes_have_their_words() {
        let base = Outcome::default();
        let stale = Outcome { forwarded: Some(Forwarded::Stale), ttl: Some(-3), ..base };
        let error = Some(Detail::Error(ErrorKind::ConnectFailed));
        for (outcome, word) in [
            (Outcome { hit: true, ttl: Some(5), ..base }, CacheWord::Hit),
            (Outcome { hit: true, ttl: Some(-5), ..base }, CacheWord::Stale),
            (
                Outcome { hit: true, detail: Some(Detail::Reason(Reason::TierHit)), ..base },
                CacheWord::Tier,
            ),
            (
                Outcome { hit: true, detail: Some(Detail::Reason(Reason::FleetHit)), ..base },
                CacheWord::Tier,
            ),
            (Outcome { forwarded: Some(Forwarded::UriMiss), ..base }, CacheWord::Miss),
            (Outcome { forwarded: Some(Forwarded::Method), ..base }, CacheWord::Bypass),
            (
                Outcome { forwarded: Some(Forwarded::Miss), collapsed: true, ..base },
                CacheWord::Collapsed,
            ),
            (
                Outcome { forward_status: Some(StatusCode::NOT_MODIFIED), ..stale },
                CacheWord::Revalidated,
            ),
            (Outcome { forward_status: Some(StatusCode::OK), ..stale }, CacheWord::Miss),
            (Outcome { forward_status: Some(StatusCode::BAD_GATEWAY), ..stale }, CacheWord::Stale),
            (stale, CacheWord::Stale),
            (Outcome { detail: error, ..stale }, CacheWord::Error),
            (base, CacheWord::Local),
        ] {
            assert_eq!(CacheWord::of(&outcome), word, "{outcome:?}");
        }
    }
}
