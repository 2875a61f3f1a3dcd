//! Hit-for-miss: keys whose last answer could not be shared, so that nobody waits for the next.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use foldhash::quality::RandomState;

use crate::clock::Timestamp;
use crate::policy::Reason;

/// Places for marks: one MiB, whatever is asked for.
const PLACES: usize = 128 * 1024;

/// A mark has eight bits for its reason.
const _: () = assert!(Reason::ALL.len() <= 256);

/// A table of fixed size, with one place for each key. A key that takes another's place costs that
/// one a wait for a leader; a collision of all 41 bits costs a shared fetch. Neither is a wrong
/// answer.
#[derive(Debug)]
pub(super) struct Marks {
    /// A part of the key's hash, the reason, and the second in which the mark ends; 0 for none.
    places: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Marks {
    pub(super) fn new() -> Self {
        let places = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Self { places, hasher: RandomState::default() }
    }

    /// Whether `key`'s answers are known not to be shared.
    pub(super) fn holds(&self, key: &str, now: Timestamp) -> bool {
        let (place, tag) = self.place(key);
        let mark = place.load(Relaxed);
        mark >> 40 == tag && seconds(now) < mark & u64::from(u32::MAX)
    }

    /// Why the last answer that is known of was not shared, and for how long nobody waits for the
    /// next one. It stays known after that, until another answer is shared or another key takes
    /// the place.
    pub(super) fn told(&self, key: &str, now: Timestamp) -> Option<(Reason, Duration)> {
        let (place, tag) = self.place(key);
        let mark = place.load(Relaxed);
        if mark == 0 || mark >> 40 != tag {
            return None;
        }
        let left = (mark & u64::from(u32::MAX)).saturating_sub(seconds(now));
        let reason = Reason::ALL.get((mark >> 32) as usize & 0xff)?;
        Some((*reason, Duration::from_secs(left)))
    }

    pub(super) fn set(&self, key: &str, reason: Reason, now: Timestamp, lifetime: Duration) {
        if !lifetime.is_zero() {
            // A part of a second counts as one.
            let whole = Duration::from_secs(lifetime.as_secs());
            let rounded = if whole < lifetime { whole + Duration::from_secs(1) } else { whole };
            let (place, tag) = self.place(key);
            let reason = u64::from(reason as u8) << 32;
            place.store(tag << 40 | reason | seconds(now.plus(rounded)), Relaxed);
        }
    }

    pub(super) fn clear(&self, key: &str) {
        let (place, tag) = self.place(key);
        let mark = place.load(Relaxed);
        if mark >> 40 == tag {
            // Lost to another mark in between, it is that one that counts.
            let _ = place.compare_exchange(mark, 0, Relaxed, Relaxed);
        }
    }

    fn place(&self, key: &str) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(key);
        (&self.places[hash as usize % PLACES], hash >> 40)
    }
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_secs()).unwrap_or(0).min(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> String {
        format!("http://a.test/{number}")
    }

    #[test]
    fn a_mark_holds_for_its_lifetime_and_takes_no_more_memory() {
        let (marks, now) = (Marks::new(), Timestamp::from_secs(1_893_456_000));
        let ten = Duration::from_secs(10);
        marks.set(&key(0), Reason::Private, now, ten);
        assert_eq!(marks.told(&key(0), now), Some((Reason::Private, ten)));
        assert!(marks.holds(&key(0), now.plus(Duration::from_secs(9))));
        let after = marks.told(&key(0), now.plus(ten));
        assert_eq!(after, Some((Reason::Private, Duration::ZERO)), "known a while longer");
        assert_eq!(marks.told(&key(1), now), None);
        assert!(!marks.holds(&key(0), now.plus(ten)) && !marks.holds(&key(1), now));
        marks.clear(&key(1));
        assert!(marks.holds(&key(0), now));
        marks.clear(&key(0));
        assert!(!marks.holds(&key(0), now));
        marks.set(&key(2), Reason::NoStore, now, Duration::from_millis(1));
        assert!(marks.holds(&key(2), now));
        for number in 0..10_000 {
            marks.set(&key(number), Reason::NoStore, now, ten);
        }
        let held = (0..10_000).filter(|&number| marks.holds(&key(number), now)).count();
        assert!(held > 9_000, "{held}");
        assert_eq!(marks.places.len() * size_of::<AtomicU64>(), 1024 * 1024);
    }
}
