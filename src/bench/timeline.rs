//! The course of a run, in a bounded number of slots that widen as it goes on.

use std::time::Duration;

/// Slots at most; when there are more, two become one.
const MOST: usize = 512;

/// What a slot is wide at first.
const FIRST_WIDTH: Duration = Duration::from_millis(100);

/// What happened in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// Answers.
    pub(super) answered: u64,
    /// Of them, those from the store.
    pub(super) hits: u64,
    /// Requests without an answer.
    pub(super) failed: u64,
    /// Bytes of bodies.
    pub(super) bytes: u64,
    /// The sum of the answers' latencies, in microseconds.
    pub(super) micros: u64,
}

impl Slot {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.hits += other.hits;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.micros = self.micros.saturating_add(other.micros);
    }
}

/// Slots of one width from the start on.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    width: Duration,
    slots: Vec<Slot>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width: FIRST_WIDTH, slots: Vec::new() }
    }
}

impl Timeline {
    /// Counts an answer.
    pub(super) fn answered(&mut self, at: Duration, is_hit: bool, bytes: u64, took: Duration) {
        let micros = took.as_micros().try_into().unwrap_or(u64::MAX);
        self.count(at, Slot { answered: 1, hits: is_hit.into(), failed: 0, bytes, micros });
    }

    /// Counts a request that came to nothing.
    pub(super) fn failed(&mut self, at: Duration) {
        self.count(at, Slot { failed: 1, ..Slot::default() });
    }

    /// Adds another of the same start.
    pub(super) fn add(&mut self, other: &Self) {
        while self.width < other.width {
            self.widen();
        }
        for (number, slot) in other.slots.iter().enumerate() {
            let at = other.width.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            self.count(at, *slot);
        }
    }

    /// What each slot is wide.
    pub(super) fn width(&self) -> Duration {
        self.width
    }

    /// The slots.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Halves the slots until no more than `most` are left, for a plot.
    pub(super) fn coarser(&self, most: usize) -> Self {
        let mut coarser = self.clone();
        while coarser.slots.len() > most.max(1) {
            coarser.widen();
        }
        coarser
    }

    fn count(&mut self, at: Duration, counted: Slot) {
        let mut number = self.number(at);
        while number >= MOST {
            self.widen();
            number = self.number(at);
        }
        if number >= self.slots.len() {
            self.slots.resize(number + 1, Slot::default());
        }
        if let Some(slot) = self.slots.get_mut(number) {
            slot.add(counted);
        }
    }

    fn number(&self, at: Duration) -> usize {
        usize::try_from(at.as_nanos() / self.width.as_nanos()).unwrap_or(usize::MAX)
    }

    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        let halves = self.slots.chunks(2).map(|pair| {
            let mut sum = Slot::default();
            for slot in pair {
                sum.add(*slot);
            }
            sum
        });
        self.slots = halves.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(timeline: &mut Timeline, seconds: u64) {
        timeline.answered(Duration::from_secs(seconds), true, 10, Duration::from_millis(1));
    }

    #[test]
    fn it_widens_instead_of_growing() {
        let mut timeline = Timeline::default();
        for second in 0..3_600 {
            answered(&mut timeline, second);
        }
        assert!(timeline.slots().len() <= MOST);
        assert_eq!(timeline.slots().iter().map(|slot| slot.answered).sum::<u64>(), 3_600);
        let covered = timeline.slots().len() as f64 * timeline.width().as_secs_f64();
        assert!((3_599.0..3_640.0).contains(&covered), "{covered}");
        assert!(timeline.coarser(10).slots().len() <= 10);
    }

    #[test]
    fn the_course_of_two_threads_adds_up_whichever_ran_longer() {
        let (mut short, mut long) = (Timeline::default(), Timeline::default());
        answered(&mut short, 1);
        short.failed(Duration::from_secs(1));
        answered(&mut long, 1);
        answered(&mut long, 10_000);
        for (mut sum, other) in [(short.clone(), &long), (long.clone(), &short)] {
            sum.add(other);
            let total = |of: fn(&Slot) -> u64| sum.slots().iter().map(of).sum::<u64>();
            assert_eq!((total(|slot| slot.answered), total(|slot| slot.failed)), (3, 1));
            assert_eq!((total(|slot| slot.hits), total(|slot| slot.bytes)), (3, 30));
            assert_eq!(sum.slots()[0].answered, 2);
        }
    }

    #[test]
    fn an_absurd_time_is_the_last() {
        let mut timeline = Timeline::default();
        answered(&mut timeline, u64::MAX);
        assert_eq!(timeline.slots().iter().map(|slot| slot.answered).sum::<u64>(), 1);
    }
}
