//! This node's own purges on their way into the stream. They are done here already; they wait to be
//! written, and then to be read back, which is when the fleet's order has a place for them.

use std::collections::VecDeque;

use super::notice::{self, Notice, What};
use super::position::{Position, StreamId};
use crate::store::{Mode, Scope};

/// Purges that wait, and bytes of them. Beyond that all of them together become one doubt of
/// everything.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Purges whose place is remembered for those who wait for it, and bytes of those that could be
/// written again.
const MOST_SETTLED: usize = 1024;
const MOST_SETTLED_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Outbox {
    waiting: VecDeque<Own>,
    bytes: usize,
    settled: VecDeque<(Position, Own)>,
    settled_bytes: usize,
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

impl Own {
    fn size(&self) -> usize {
        match &self.what {
            What::Purge(scopes, _) => scopes.iter().map(notice::size).sum(),
            What::Doubt | What::Beginning => 0,
        }
    }
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self::with_capacity(MOST)
    }

    fn with_capacity(most: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            settled: VecDeque::new(),
            settled_bytes: 0,
            most,
        }
    }

    /// Adds a purge that has been done here as `low` to `high`; whether others had to go for it.
    pub(super) fn add(&mut self, scopes: Vec<Scope>, mode: Mode, (low, high): (u64, u64)) -> bool {
        let own = Own { what: What::Purge(scopes, mode), low, high, is_sent: false };
        self.bytes += own.size();
        self.waiting.push_back(own);
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
        let own = self.waiting.remove(place)?;
        let purges = (own.low, own.high);
        self.bytes -= own.size();
        self.settled_bytes += own.size();
        self.settled.push_back((position, own));
        let too_much = |this: &Self| {
            this.settled.len() > MOST_SETTLED || this.settled_bytes > MOST_SETTLED_BYTES
        };
        while too_much(self)
            && let Some((_, oldest)) = self.settled.pop_front()
        {
            self.settled_bytes -= oldest.size();
        }
        Some(purges)
    }

    /// The end of the stream was lost: own purges from `first` on wait to be read back once more, or
    /// to be written again.
    pub(super) fn set_back(&mut self, first: Option<StreamId>) {
        let is_trimmed = |at: &Position| first.is_some_and(|first| at.id < first);
        let (stay, lost): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.settled).into_iter().partition(|(at, _)| is_trimmed(at));
        self.settled = stay;
        self.settled_bytes = self.settled.iter().map(|(_, own)| own.size()).sum();
        for (_, own) in lost.into_iter().rev() {
            self.bytes += own.size();
            self.waiting.push_front(Own { is_sent: true, ..own });
        }
    }

    /// Where the own purge `number` stands, or the one that it became a part of.
    pub(super) fn position_of(&self, number: u64) -> Option<Position> {
        if self.waiting.iter().any(|own| own.low <= number && number <= own.high) {
            return None;
        }
        let find = |fits: &dyn Fn(u64) -> bool| {
            let found = self.settled.iter().find(|(_, own)| fits(own.high));
            found.map(|(position, _)| *position)
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
    use crate::store::remote::fleet::position::Epoch;

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
    fn what_a_failover_has_lost_is_written_again() {
        let mut outbox = Outbox::new();
        for number in 1..=4 {
            outbox.add(scope(number), Mode::Hard, (number, number));
        }
        for number in 1..=3 {
            outbox.settle(number, position(number));
        }
        assert_eq!(outbox.unsent(9, 7).len(), 1);
        outbox.set_back(Some(StreamId { millis: 2, number: 0 }));
        assert_eq!((outbox.len(), outbox.lowest()), (3, Some(2)));
        assert!(outbox.unsent(9, 7).is_empty(), "it may be there");
        assert!(outbox.position_of(1).is_some() && outbox.position_of(2).is_none());
        // The second one is read back; at the end the others have not been.
        outbox.settle(2, position(8));
        outbox.send_again();
        let sent = outbox.unsent(9, 7);
        let urls: Vec<_> = sent.iter().map(|fields| fields[1].as_slice()).collect();
        assert_eq!(urls, [b"http://a.test/3", b"http://a.test/4"]);
        outbox.set_back(None);
        assert_eq!(outbox.len(), 4, "nothing is left of the stream");
    }

    #[test]
    fn what_could_be_written_again_is_bounded() {
        let mut outbox = Outbox::new();
        for number in 1..=40 {
            let long = Scope::url(&format!("http://a.test/{}", "x".repeat(60_000)));
            outbox.add(vec![long.expect("a URL")], Mode::Hard, (number, number));
            outbox.settle(number, position(number));
        }
        assert!(outbox.settled_bytes <= MOST_SETTLED_BYTES && outbox.settled.len() < 20);
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
