//! Which entries of the stream are which purges here: the two sequences beside each other.
//!
//! This process counts its purges in the order in which it does them, the fleet in the order of the
//! stream. The two differ where a purge of this node's own is done at once and stands in the stream
//! behind one of another node. Where they do, both questions are answered on the safe side: what was
//! fetched looks older than it is, and never younger.

use std::collections::VecDeque;

use super::position::{Epoch, Position, StreamId};

/// Entries that are remembered; what was fetched before older ones is placed by the clock.
const MOST: usize = 32 * 1024;

/// Who published an entry: a process, and the latest purge of its own sequence that it tells.
pub(super) type Publisher = (u128, u64);

#[derive(Debug)]
pub(super) struct Log {
    epoch: Option<Epoch>,
    /// Up to here it is not known which entries there were.
    base: StreamId,
    /// The latest purge here when `base` was taken over.
    base_sequence: u64,
    entries: VecDeque<Entry>,
    /// All entries up to here have been applied.
    tip: StreamId,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    id: StreamId,
    by: Option<Publisher>,
    /// The first purge here that this entry or a later one is.
    low: u64,
    /// The last purge here that this entry or an earlier one is.
    high: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self::with_capacity(MOST)
    }

    fn with_capacity(most: usize) -> Self {
        let (base, tip) = (StreamId::default(), StreamId::default());
        Self { epoch: None, base, base_sequence: 0, entries: VecDeque::new(), tip, most }
    }

    /// Up to where the stream has been applied; `None` before any of it was read.
    pub(super) fn tip(&self) -> Option<Position> {
        Some(Position { epoch: self.epoch?, id: self.tip })
    }

    /// From where on every entry is known.
    pub(super) fn base(&self) -> Option<Position> {
        Some(Position { epoch: self.epoch?, id: self.base })
    }

    /// Begins anew behind `base`: the purge `sequence` here covers whatever was before.
    pub(super) fn restart(&mut self, base: Position, sequence: u64) {
        self.epoch = Some(base.epoch);
        (self.base, self.tip, self.base_sequence) = (base.id, base.id, sequence);
        self.entries.clear();
    }

    /// The next entry is the purges from `low` to `high` here; none at all without them.
    pub(super) fn push(&mut self, id: StreamId, by: Option<Publisher>, purges: Option<(u64, u64)>) {
        let (low, high) = purges.unwrap_or((u64::MAX, 0));
        for earlier in self.entries.iter_mut().rev() {
            if earlier.low <= low {
                break;
            }
            earlier.low = low;
        }
        let before = self.entries.back().map_or(self.base_sequence, |entry| entry.high);
        self.entries.push_back(Entry { id, by, low, high: high.max(before) });
        self.tip = self.tip.max(id);
        if self.entries.len() > self.most
            && let Some(oldest) = self.entries.pop_front()
        {
            (self.base, self.base_sequence) = (oldest.id, oldest.high);
        }
    }

    /// There is nothing more up to `id`.
    pub(super) fn reach(&mut self, id: StreamId) {
        self.tip = self.tip.max(id);
    }

    /// The latest purge here that a fetch is certainly younger than, if it began when its process
    /// had applied all up to `position`, and its own purges up to the one of `by`: `u64::MAX` for
    /// all that the stream told. `None` where the log does not go back so far.
    pub(super) fn sequence_of(&self, position: Position, by: Publisher) -> Option<u64> {
        if self.epoch != Some(position.epoch) || position.id < self.base {
            return None;
        }
        let next = self.entries.partition_point(|entry| entry.id <= position.id);
        // A process knows its own purges before the stream does.
        let own = |entry: &&Entry| {
            entry.by.is_some_and(|(process, number)| process == by.0 && number <= by.1)
        };
        let unknown = self.entries.range(next..).find(|entry| !own(entry));
        Some(unknown.map_or(u64::MAX, |entry| entry.low.saturating_sub(1)))
    }

    /// Up to where the stream had been applied when the latest purge here was `sequence`.
    pub(super) fn position_at(&self, sequence: u64) -> Option<Position> {
        let epoch = self.epoch.filter(|_| sequence >= self.base_sequence)?;
        let known = self.entries.partition_point(|entry| entry.high <= sequence);
        let id = match known.checked_sub(1).and_then(|last| self.entries.get(last)) {
            _ if known == self.entries.len() => self.tip,
            Some(entry) => entry.id,
            None => self.base,
        };
        Some(Position { epoch, id })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(millis: u64) -> StreamId {
        StreamId { millis, number: 0 }
    }

    fn log(base: u64) -> (Log, impl Fn(u64) -> Position) {
        let epoch = Epoch::random();
        let mut log = Log::new();
        log.restart(Position { epoch, id: id(0) }, base);
        (log, move |millis| Position { epoch, id: id(millis) })
    }

    #[test]
    fn a_fetch_is_younger_than_what_its_process_had_applied() {
        let (mut log, at) = log(1);
        assert_eq!(log.sequence_of(at(0), (0, 0)), Some(u64::MAX));
        log.push(id(10), None, Some((2, 2)));
        log.push(id(20), None, None);
        log.push(id(30), None, Some((3, 4)));
        for (position, sequence) in [(0, 1), (9, 1), (10, 2), (20, 2), (29, 2), (30, u64::MAX)] {
            assert_eq!(log.sequence_of(at(position), (0, 0)), Some(sequence), "{position}");
        }
        for (sequence, position) in [(1, Some(0)), (2, Some(20)), (3, Some(20)), (4, Some(30))] {
            assert_eq!(log.position_at(sequence), position.map(&at), "{sequence}");
        }
        assert_eq!(log.position_at(0), None, "before it was taken over");
        log.reach(id(40));
        assert_eq!(log.position_at(9), Some(at(40)));
        let other = Position { epoch: Epoch::random(), id: id(30) };
        assert_eq!(log.sequence_of(other, (0, 0)), None);
    }

    /// It was done at once, as 2, and stands in the stream behind another's, which is 3.
    #[test]
    fn where_the_orders_differ_what_was_fetched_looks_older() {
        let (mut log, at) = log(1);
        log.push(id(10), Some((7, 1)), Some((3, 3)));
        log.push(id(20), Some((8, 2)), Some((2, 2)));
        assert_eq!(log.sequence_of(at(10), (0, 0)), Some(1));
        assert_eq!(log.sequence_of(at(0), (0, 0)), Some(1));
        assert_eq!(log.position_at(2), Some(at(0)));
        assert_eq!(log.position_at(3), Some(at(20)));
    }

    #[test]
    fn a_process_knows_its_own_purges_before_the_stream_does() {
        let (mut log, at) = log(1);
        log.push(id(10), Some((7, 5)), Some((2, 2)));
        log.push(id(20), Some((8, 5)), Some((3, 3)));
        assert_eq!(log.sequence_of(at(0), (7, 4)), Some(1));
        assert_eq!(log.sequence_of(at(0), (7, 5)), Some(2));
        assert_eq!(log.sequence_of(at(0), (8, 5)), Some(1));
    }

    #[test]
    fn what_is_older_than_the_log_is_not_known() {
        let epoch = Epoch::random();
        let at = |millis| Position { epoch, id: id(millis) };
        let mut log = Log::with_capacity(2);
        log.restart(at(5), 1);
        assert_eq!(log.sequence_of(at(4), (0, 0)), None);
        (1..=5).for_each(|number| log.push(id(10 * number), None, Some((number + 1, number + 1))));
        assert_eq!(log.sequence_of(at(29), (0, 0)), None);
        assert_eq!(log.sequence_of(at(30), (0, 0)), Some(4));
        assert_eq!(log.position_at(3), None);
        assert_eq!(log.position_at(4), Some(at(30)));
    }

    proptest! {
        /// Two processes read one stream; the first does its own purges at once. What it fetched is
        /// placed by the second after no purge that the fetch may have missed.
        #[test]
        fn no_fetch_is_placed_after_a_purge_that_its_process_did_not_know(
            // Own purges that are read back so many entries later; none for another's.
            steps in prop::collection::vec(prop::option::of(0..4_usize), 1..30),
        ) {
            let epoch = Epoch::random();
            let (mut one, mut other) = (Log::new(), Log::new());
            one.restart(Position { epoch, id: id(0) }, 1);
            other.restart(Position { epoch, id: id(0) }, 1);
            // The stream's order: (entry, its sequence at the first process).
            let mut done_at = vec![0; steps.len()];
            let mut order: Vec<usize> = (0..steps.len()).collect();
            order.sort_by_key(|&index| index + steps[index].unwrap_or(0));
            let mut sequence = 1;
            let mut known_when = Vec::new();
            let mut read = 0;
            for index in 0..steps.len() {
                if steps[index].is_some() {
                    sequence += 1;
                    done_at[index] = sequence;
                }
                while read < order.len() && order[read] <= index {
                    let entry = order[read];
                    if done_at[entry] == 0 {
                        sequence += 1;
                        done_at[entry] = sequence;
                    }
                    let by = steps[entry].map(|_| (1, done_at[entry]));
                    let own = Some((done_at[entry], done_at[entry]));
                    one.push(id(read as u64 + 1), by, own);
                    read += 1;
                }
                known_when.push((sequence, done_at.clone(), one.position_at(sequence)));
            }
            for (place, &entry) in order.iter().enumerate() {
                let by = steps[entry].map(|_| (1, done_at[entry]));
                let sequence = place as u64 + 2;
                other.push(id(place as u64 + 1), by, Some((sequence, sequence)));
            }
            for (sequence, known, position) in known_when {
                let Some(position) = position else { continue };
                let placed = other.sequence_of(position, (1, sequence)).expect("it goes back");
                for (place, &entry) in order.iter().enumerate() {
                    let missed = known[entry] == 0;
                    prop_assert!(!missed || placed < place as u64 + 2, "{placed} {place}");
                }
            }
        }
    }
}
