//! Refreshing what is asked for before it ends, so that nobody has to wait when it does.

use std::time::Duration;

use super::overrides::Overrides;
use super::stored_head::StoredHead;
use crate::clock::Timestamp;

/// Whether a fresh response is refreshed already: surely at its end, and before that the more
/// likely the nearer it is and the longer its fetch took (Vattani et al., "Optimal Probabilistic
/// Cache Stampede Prevention", VLDB 2015). What is asked for often is so refreshed by one request
/// shortly before its end, and what is not costs the origin nothing.
///
/// `random` is even over all numbers.
#[must_use]
pub fn is_due_early(
    stored: &StoredHead,
    overrides: &Overrides,
    now: Timestamp,
    random: impl FnOnce() -> u32,
) -> bool {
    // Most settings, and most hits elsewhere: without a look at the dice.
    let Some((eagerness, left)) = near_its_end(stored, overrides, now) else { return false };
    // Above 0, up to 1: its logarithm is from 0 to 22.2.
    let even = (f64::from(random()) + 1.0) / (f64::from(u32::MAX) + 1.0);
    eagerness.mul_f64(-even.ln()) >= left
}

/// How likely a fresh response is refreshed when it is asked for at `now`, from 0 to 1: the share of
/// draws for which [`is_due_early`].
#[must_use]
pub fn early_chance(stored: &StoredHead, overrides: &Overrides, now: Timestamp) -> f64 {
    match near_its_end(stored, overrides, now) {
        None => 0.0,
        Some((_, left)) if left.is_zero() => 1.0,
        Some((eagerness, left)) => (-left.as_secs_f64() / eagerness.as_secs_f64()).exp(),
    }
}

/// How far before its end a response is refreshed by an average draw, and how far that is away;
/// `None` where no draw reaches there.
fn near_its_end(
    stored: &StoredHead,
    overrides: &Overrides,
    now: Timestamp,
) -> Option<(Duration, Duration)> {
    if overrides.early_refresh <= 0.0 {
        return None;
    }
    let eagerness = stored.facts.took().mul_f64(overrides.early_refresh.min(MOST_EAGER));
    let left = stored.freshness(overrides).duration.saturating_sub(stored.current_age(now));
    (left <= eagerness.saturating_mul(FARTHEST)).then_some((eagerness, left))
}

/// The largest setting that counts.
const MOST_EAGER: f64 = 1000.0;

/// No number that is drawn reaches farther: ln 2^32, rounded up.
const FARTHEST: u32 = 23;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::policy::ResponseTimes;
    use crate::policy::testing::{NOW, at, get, headers};

    /// Fresh for 100 s, fetched within one second.
    fn head() -> StoredHead {
        let times = ResponseTimes { request_at: at(-1), response_at: NOW };
        let fields = headers(&[("cache-control", "max-age=101")]);
        let request = HeaderMap::new();
        let plain = Overrides::default();
        StoredHead::new(&get(&request), StatusCode::OK, &fields, times, &plain)
    }

    fn eager(early_refresh: f64) -> Overrides {
        Overrides { early_refresh, ..Overrides::default() }
    }

    /// How often of 1000 evenly spread draws.
    fn share(early_refresh: f64, seconds: i64) -> usize {
        let draws = (0..1000_u32).map(|draw| draw * (u32::MAX / 1000));
        draws
            .filter(|draw| is_due_early(&head(), &eager(early_refresh), at(seconds), || *draw))
            .count()
    }

    #[test]
    fn the_nearer_the_end_the_likelier() {
        assert_eq!(share(0.0, 99), 0);
        assert_eq!(share(1.0, 10), 0);
        // A second before the end, and the fetch takes a second: e^-1.
        assert!((360..=375).contains(&share(1.0, 99)));
        assert!((130..=140).contains(&share(1.0, 98)));
        assert!((360..=375).contains(&share(2.0, 98)));
        assert_eq!(share(1.0, 100), 1000);
        for (early_refresh, seconds) in [(0.0, 99), (1.0, 10), (1.0, 98), (2.0, 98), (1.0, 100)] {
            let chance = early_chance(&head(), &eager(early_refresh), at(seconds));
            let seen = share(early_refresh, seconds) as f64 / 1000.0;
            assert!((chance - seen).abs() < 0.01, "{early_refresh} {seconds}: {chance} {seen}");
        }
    }

    proptest! {
        #[test]
        fn once_due_it_stays_due(draw: u32, seconds in 0_i64..100, later in 0_i64..100, eagerness in 0.0_f64..50.0) {
            let due = |seconds| is_due_early(&head(), &eager(eagerness), at(seconds), || draw);
            prop_assert!(!due(seconds) || due(seconds.max(later)));
        }
    }
}
