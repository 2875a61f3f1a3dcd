//! What comes of a request, and why it was no hit.

use crate::policy::Reason;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// From memory.
    Fresh,
    /// From memory past its lifetime, while it is refreshed or in place of an error.
    Stale,
    /// By another request's fetch that is under way.
    Collapsed,
    /// From memory, after the origin has said that it is still good.
    Revalidated,
    /// By the origin, with what may be stored.
    Missed,
    /// By the origin, with what may not.
    Uncacheable,
    /// By a rule, without an origin.
    Answered,
    /// With an error, without an origin.
    Refused,
}

impl Outcome {
    /// All, for tables.
    pub const ALL: [Self; 8] = [
        Self::Fresh,
        Self::Stale,
        Self::Collapsed,
        Self::Revalidated,
        Self::Missed,
        Self::Uncacheable,
        Self::Answered,
        Self::Refused,
    ];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Missed => "missed",
            Self::Uncacheable => "uncacheable",
            Self::Answered => "answered",
            Self::Refused => "refused",
        }
    }

    /// Whether it is answered from memory without waiting for an origin.
    #[must_use]
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Fresh | Self::Stale)
    }
}

/// Why a request was no hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Nobody had asked for it before.
    First,
    /// It was stored, and had to go for others.
    Evicted,
    /// What would have had to go for it was worth more.
    TurnedAway,
    /// An unsafe request made it invalid.
    Invalidated,
    /// The policy says so.
    Policy(Reason),
    /// Seawall refuses it: the word of its error.
    Refused(&'static str),
}

impl Loss {
    /// The stable word: the policy's reasons and the errors have the ones of `docs/reasons.md`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::First => "first-request",
            Self::Evicted => "evicted",
            Self::TurnedAway => "turned-away",
            Self::Invalidated => "invalidated",
            Self::Policy(reason) => reason.word(),
            Self::Refused(word) => word,
        }
    }

    /// What happened, in a sentence for operators.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::First => "nobody had asked for it before",
            Self::Evicted => "it was stored, and had to go for others",
            Self::TurnedAway => "what would have had to go for it was worth more",
            Self::Invalidated => "an unsafe request (POST, PUT, DELETE) made it invalid",
            Self::Policy(reason) => reason.meaning(),
            Self::Refused(_) => "Seawall refuses such a request",
        }
    }

    /// What would win it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::First => "nothing: somebody has to be the first",
            Self::Evicted | Self::TurnedAway => "more `memory`: see the curve",
            Self::Invalidated => "nothing to do: what is stored may have changed",
            Self::Policy(reason) => reason.advice(),
            Self::Refused(_) => "nothing to do: see docs/reasons.md",
        }
    }
}
