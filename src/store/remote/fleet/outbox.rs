//! This node's own purges on their way into the stream. They are done here already; they wait to be
//! written, and then to be read back, which is when the fleet's order has a place for them.

use std::collections::VecDeque;

use super::notice::{self, Notice, What};
use super::position::Position;
use crate::store::{Mode, Scope};

/// Purges that wait, and bytes of them. Beyond that all of them together become one doubt of
/// everything.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Purges whose place is remembered for those who wait for it.
const MOST_SETTLED: usize = 1024;

#[derive(Debug)]
pub(super) struct Outbox {
    waiting: VecDeque<Own>,
    bytes: usize,
    settled: VecDeque<(u64, Position)>,
    most: usize,
}

#[derive(Debug)]
struct Own {
    what: What,
    /// The first and the last purge here that it is. The last is its number in the stream.
    low: u64,
    high: u64,
    is_sent: bool,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self::with_capacity(MOST)
    }

    fn with_capacity(most: usize) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, settled: VecDeque::new(), most }
    }

    /// Adds a purge that has been done here as `low` to `high`; whether others had to go for it.
    pub(super) fn add(&mut self, scopes: Vec<Scope>, mode: Mode, (low, high): (u64, u64)) -> bool {
        self.bytes += scopes.iter().map(notice::size).sum::<usize>();
        let what = What::Purge(scopes, mode);
        self.waiting.push_back(Own { what, low, high, is_sent: false });
        if self.waiting.len() <= self.most && self.bytes <= MOST_BYTES {
            return false;
        }
        let low = self.lowest().unwrap_or(low);
        self.waiting.clear();
        self.bytes = 0;
        self.waiting.push_back(Own { what: What::Doubt, low, high, is_sent: false });
        true
    }

    /// The next ones to be written, as `process` writes them.
    pub(super) fn unsent(&mut self, most: usize, process: u128) -> Vec<Vec<Vec<u8>>> {
        let next = self.waiting.iter_mut().filter(|own| !own.is_sent).take(most);
        let written = next.map(|own| {
            own.is_sent = true;
            Notice { what: own.what.clone(), by: Some((process, own.high)) }.write()
        });
        written.collect()
    }

    /// Nothing is known of what has been sent: it is to be sent again. Twice is no harm.
    pub(super) fn send_again(&mut self) {
        self.waiting.iter_mut().for_each(|own| own.is_sent = false);
    }

    /// The own purge `number` stands in the stream: which purges it is here, if it waited.
    pub(super) fn settle(&mut self, number: u64, position: Position) -> Option<(u64, u64)> {
        let place = self.waiting.iter().position(|own| own.high == number)?;
        let Own { what, low, high, .. } = self.waiting.remove(place)?;
        if let What::Purge(scopes, _) = what {
            let size = scopes.iter().map(notice::size).sum();
            self.bytes = self.bytes.saturating_sub(size);
        }
        self.settled.push_back((number, position));
        if self.settled.len() > MOST_SETTLED {
            self.settled.pop_front();
        }
        Some((low, high))
    }

    /// Where the own purge `number` stands, or the one that it became a part of.
    pub(super) fn position_of(&self, number: u64) -> Option<Position> {
        if self.waiting.iter().any(|own| own.low <= number && number <= own.high) {
            return None;
        }
        let find = |fits: &dyn Fn(u64) -> bool| {
            self.settled.iter().find(|(settled, _)| fits(*settled)).map(|(_, position)| *position)
        };
        find(&|settled| settled == number).or_else(|| find(&|settled| settled > number))
    }

    /// The first purge here that the stream does not have yet.
    pub(super) fn lowest(&self) -> Option<u64> {
        self.waiting.front().map(|own| own.low)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::remote::fleet::position::{Epoch, StreamId};

    fn position(millis: u64) -> Position {
        Position { epoch: Epoch::random(), id: StreamId { millis, number: 0 } }
    }

    fn scope(number: u64) -> Vec<Scope> {
        vec![Scope::url(&format!("http://a.test/{number}")).expect("a URL")]
    }

    #[test]
    fn what_is_sent_stays_until_it_is_read_back() {
        let mut outbox = Outbox::new();
        (1..=3)
            .for_each(|number| assert!(!outbox.add(scope(number), Mode::Hard, (number, number))));
        assert_eq!((outbox.unsent(2, 7).len(), outbox.unsent(9, 7).len()), (2, 1));
        assert!(outbox.unsent(9, 7).is_empty());
        outbox.send_again();
        assert_eq!(outbox.unsent(9, 7).len(), 3);
        assert_eq!((outbox.lowest(), outbox.position_of(1)), (Some(1), None));
        let place = position(5);
        assert_eq!(outbox.settle(1, place), Some((1, 1)));
        assert_eq!(outbox.settle(1, place), None, "once");
        assert_eq!((outbox.lowest(), outbox.position_of(1)), (Some(2), Some(place)));
        outbox.settle(3, position(6));
        outbox.settle(2, position(7));
        assert_eq!((outbox.len(), outbox.bytes), (0, 0));
    }

    #[test]
    fn too_many_become_one_doubt() {
        let mut outbox = Outbox::with_capacity(3);
        (1..=3)
            .for_each(|number| assert!(!outbox.add(scope(number), Mode::Hard, (number, number))));
        assert!(outbox.add(scope(4), Mode::Soft, (4, 4)));
        assert_eq!((outbox.len(), outbox.lowest()), (1, Some(1)));
        let sent = outbox.unsent(9, 7);
        assert_eq!(Notice::read(&sent[0]).map(|it| it.what), Ok(What::Doubt));
        assert_eq!(outbox.position_of(2), None);
        let place = position(5);
        outbox.settle(4, place);
        assert_eq!(outbox.position_of(2), Some(place));
    }
}
