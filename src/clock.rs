//! Wall-clock time for RFC arithmetic, and where it comes from.
//!
//! [`Timestamp`] is never mixed with [`std::time::Instant`], which is for waits and latencies.

use std::fmt;
use std::num::NonZeroI64;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point of wall-clock time, in milliseconds since the Unix epoch.
///
/// No number stands for "none", so that an optional one takes no more room: every stored response
/// has several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(
    /// The milliseconds, and from the epoch on one more, so that it is never zero.
    NonZeroI64,
);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self::from_millis(0);

    /// From milliseconds since the Unix epoch; the last of the 2^64 counts as the one before.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        match NonZeroI64::new(if millis < 0 { millis } else { millis.saturating_add(1) }) {
            Some(shifted) => Self(shifted),
            None => Self(NonZeroI64::MAX),
        }
    }

    /// From whole seconds since the Unix epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        let shifted = self.0.get();
        if shifted < 0 { shifted } else { shifted - 1 }
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.as_millis().div_euclid(1000)
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.as_millis().saturating_sub(earlier.as_millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// This time plus `duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_add(millis))
    }

    /// This time less `duration`, saturating.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_sub(millis))
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::EPOCH
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_millis()).finish()
    }
}

/// Where `now` comes from: the system, or a test's hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's wall clock (a vDSO read, no system call).
    #[default]
    System,
    /// A clock that moves only when told to.
    Manual(ManualClock),
}

impl Clock {
    /// The current wall-clock time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Manual(manual) => Timestamp::from_millis(manual.0.load(Ordering::Acquire)),
        }
    }
}

/// A clock for tests: shared, and moved by [`ManualClock::advance`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.as_millis())))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(millis, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_kept_in_order_but_the_last_which_stands_for_none() {
        let numbers = [i64::MIN, i64::MIN + 1, -1001, -1, 0, 1, 1001, i64::MAX - 1];
        let times = numbers.map(Timestamp::from_millis);
        assert_eq!(times.map(Timestamp::as_millis), numbers);
        assert!(times.is_sorted());
        assert_eq!(Timestamp::from_millis(i64::MAX).as_millis(), i64::MAX - 1);
        assert_eq!(
            (Timestamp::from_millis(-1).as_secs(), Timestamp::default().as_millis()),
            (-1, 0)
        );
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<i64>());
    }

    #[test]
    fn sums_and_differences_end_where_numbers_do() {
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        assert_eq!(last.plus(Duration::MAX), last);
        assert_eq!(first.minus(Duration::MAX), first);
        assert_eq!(last.since(first), Duration::from_millis(i64::MAX as u64));
        assert_eq!(first.since(last), Duration::ZERO);
    }
}
