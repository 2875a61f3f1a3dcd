//! When this node's purges were: a response that another node fetched has its place among them by
//! the clock.
//!
//! What this process has fetched carries the sequence number of its fetch, and is compared exactly.
//! Others tell which of the fleet's purges they knew. Where they did not know, or this node does not,
//! there is only the time at which the fetch began. It is held against the times of the purges here, and whatever may have begun before a
//! purge counts as if it had.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// How far the clocks of two nodes may be apart. Within it the order of a fetch and a purge is not
/// known, and the purge is taken for the later one.
pub const SKEW: Duration = Duration::from_secs(5);

/// Purges that are remembered one by one; of older ones every second is forgotten, which makes
/// responses look older than they are, and never younger.
const MOST: usize = 4096;

/// Times of purges, in order.
#[derive(Debug, Default)]
pub struct Timeline(Mutex<VecDeque<(Timestamp, u64)>>);

impl Timeline {
    /// A purge has just been recorded as `sequence`; `now` was read after that.
    pub fn note(&self, sequence: u64, now: Timestamp) {
        let mut purges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, latest)) = purges.back_mut()
            && *at >= now
        {
            // In the same moment, or the clock was set back: the later time is the safe one.
            *latest = (*latest).max(sequence);
            return;
        }
        purges.push_back((now, sequence));
        if purges.len() > MOST {
            let mut index = 0;
            let half = purges.len() / 2;
            purges.retain(|_| {
                index += 1;
                index > half || index % 2 == 0
            });
        }
    }

    /// The latest purge that had certainly been when a fetch began at `began`, by whosever clock.
    #[must_use]
    pub fn sequence_at(&self, began: Timestamp) -> u64 {
        let purges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = purges.partition_point(|(at, _)| at.plus(SKEW) < began);
        let latest = before.checked_sub(1).and_then(|index| purges.get(index));
        latest.map_or(0, |(_, sequence)| *sequence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn what_may_have_begun_before_a_purge_counts_as_if_it_had() {
        let timeline = Timeline::default();
        assert_eq!(timeline.sequence_at(at(100)), 0);
        timeline.note(1, at(100));
        timeline.note(2, at(200));
        for (began, sequence) in
            [(99, 0), (100, 0), (105, 0), (106, 1), (200, 1), (205, 1), (206, 2)]
        {
            assert_eq!(timeline.sequence_at(at(began)), sequence, "{began}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_younger() {
        let timeline = Timeline::default();
        timeline.note(1, at(1000));
        timeline.note(2, at(10));
        assert_eq!(timeline.sequence_at(at(900)), 0);
        assert_eq!(timeline.sequence_at(at(1006)), 2);
    }

    proptest! {
        #[test]
        fn no_response_is_placed_after_a_purge_that_came_later(
            gaps in prop::collection::vec(0..20_i64, 1..200),
            began in 0..3000_i64,
            repeat in 1..40_usize,
        ) {
            let timeline = Timeline::default();
            let (mut now, mut purges) = (0, Vec::new());
            for gap in gaps.iter().cycle().take(gaps.len() * repeat) {
                now += gap;
                purges.push(now);
                timeline.note(purges.len() as u64, at(now));
            }
            let sequence = timeline.sequence_at(at(began)) as usize;
            prop_assert!(purges[..sequence].iter().all(|purge| purge + 5 < began));
        }
    }
}
