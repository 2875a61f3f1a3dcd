//! What waits to be written: bounded in bytes and in number, and never waited for by a request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::codec::MOST_INLINE;
use super::counters::{Counters, Wrote};
use super::lease::Lease;
use crate::clock::Timestamp;
use crate::key::CacheKey;
use crate::store::StoredResponse;

/// A response to be written.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: CacheKey,
    pub(super) response: Arc<StoredResponse>,
    /// When its fetch began.
    pub(super) began: Timestamp,
    /// Under which it was fetched: others wait for it.
    pub(super) lease: Option<Lease>,
}

/// How soon a response is written: what others wait for first, and of that what is small.
const URGENCIES: usize = 3;

impl Write {
    fn urgency(&self) -> usize {
        match self.lease {
            Some(_) if self.response.weight() <= MOST_INLINE as u64 => 0,
            Some(_) => 1,
            None => 2,
        }
    }
}

/// What is done next.
#[derive(Debug)]
pub(super) enum Work {
    /// What is stored under these keys goes. First: a purge is more urgent than any response, and
    /// a response that the purge covers is not written after it.
    Delete(Vec<CacheKey>),
    /// These are written.
    Write(Vec<Write>),
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    counters: Arc<Counters>,
    most_bytes: u64,
    most_items: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    deletions: VecDeque<CacheKey>,
    /// By urgency.
    writes: [VecDeque<Write>; URGENCIES],
    bytes: u64,
    /// Something was taken and is not done yet.
    at_work: bool,
}

impl Queue {
    pub(super) fn new(most_bytes: u64, most_items: usize, counters: Arc<Counters>) -> Self {
        let (waiting, arrived) = (Mutex::default(), Notify::new());
        Self { waiting, arrived, counters, most_bytes, most_items }
    }

    /// Adds a response. Where there is no room the least urgent go, the oldest of them first, and
    /// are counted; one that is larger than the bound waits alone.
    pub(super) fn write(&self, write: Write) {
        let weight = write.response.weight();
        let mut waiting = self.lock();
        while waiting.items() >= self.most_items || waiting.bytes + weight > self.most_bytes {
            if waiting.drop_one().is_none() {
                break;
            }
            self.counters.wrote(Wrote::Dropped);
        }
        waiting.bytes += weight;
        waiting.writes[write.urgency()].push_back(write);
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Adds a deletion.
    pub(super) fn delete(&self, keys: impl IntoIterator<Item = CacheKey>) {
        let mut waiting = self.lock();
        for key in keys {
            if waiting.deletions.len() >= self.most_items {
                waiting.deletions.pop_front();
                self.counters.wrote(Wrote::DeletionLost);
            }
            waiting.deletions.push_back(key);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Waits until there is something to do.
    pub(super) async fn ready(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }

    /// What is to be done next: at most `most` of it, and of responses no more than `bytes`, but
    /// one.
    pub(super) fn take(&self, most: usize, bytes: u64) -> Option<Work> {
        let mut waiting = self.lock();
        waiting.at_work = true;
        if !waiting.deletions.is_empty() {
            let most = most.min(waiting.deletions.len());
            return Some(Work::Delete(waiting.deletions.drain(..most).collect()));
        }
        let mut taken = Vec::new();
        let mut sum = 0;
        while let Some(next) = waiting.next() {
            sum += next.response.weight();
            if !taken.is_empty() && (taken.len() >= most || sum > bytes) {
                break;
            }
            taken.extend(waiting.pop());
        }
        (!taken.is_empty()).then_some(Work::Write(taken))
    }

    /// What was taken last is done, in whatever way.
    pub(super) fn done(&self) {
        self.lock().at_work = false;
    }

    /// Whether there is nothing to do and nothing being done.
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.lock();
        waiting.items() == 0 && waiting.deletions.is_empty() && !waiting.at_work
    }

    /// Responses and bytes that wait, and deletions.
    pub(super) fn waiting(&self) -> (usize, u64, usize) {
        let waiting = self.lock();
        (waiting.items(), waiting.bytes, waiting.deletions.len())
    }

    fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.items() == 0 && waiting.deletions.is_empty()
    }

    /// A poisoned queue is still one: nothing that can panic runs while it is locked.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn items(&self) -> usize {
        self.writes.iter().map(VecDeque::len).sum()
    }

    fn next(&self) -> Option<&Write> {
        self.writes.iter().find_map(VecDeque::front)
    }

    fn pop(&mut self) -> Option<Write> {
        let write = self.writes.iter_mut().find_map(VecDeque::pop_front)?;
        self.bytes -= write.response.weight();
        Some(write)
    }

    fn drop_one(&mut self) -> Option<Write> {
        let write = self.writes.iter_mut().rev().find_map(VecDeque::pop_front)?;
        self.bytes -= write.response.weight();
        Some(write)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method, StatusCode};

    use super::*;
    use crate::body::Blocks;
    use crate::key::Target;
    use crate::policy::{Overrides, RequestFacts, ResponseTimes, StoredHead};
    use crate::store::{Config, Content, Memory, Stamp};

    fn key(number: usize) -> CacheKey {
        Target::parse(&format!("http://a.test/{number}")).expect("a URL").key()
    }

    fn write(number: usize, bytes: usize) -> Write {
        let memory = Memory::new(&Config::default());
        let (fields, now) = (HeaderMap::new(), Timestamp::EPOCH);
        let facts = RequestFacts::new(&Method::GET, &fields, false);
        let times = ResponseTimes { request_at: now, response_at: now };
        let head = StoredHead::new(&facts, StatusCode::OK, &fields, times, &Overrides::default());
        let blocks = Arc::new(Blocks::new([Bytes::from(vec![1; bytes])], None));
        let charge = memory.charge(0).expect("room for nothing");
        let content = Content::Whole(blocks);
        let (key, stamp) = (key(number), Stamp::new(0, None));
        let response = StoredResponse::new(&key, head, content, stamp, now, charge);
        Write { key, response: Arc::new(response), began: now, lease: None }
    }

    fn queue(bytes: u64, items: usize) -> Queue {
        Queue::new(bytes, items, Arc::default())
    }

    fn keys(work: Option<Work>) -> Vec<CacheKey> {
        match work {
            None => Vec::new(),
            Some(Work::Delete(keys)) => keys,
            Some(Work::Write(writes)) => writes.into_iter().map(|write| write.key).collect(),
        }
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room_and_are_counted() {
        let queue = queue(100, 3);
        (0..5).for_each(|number| queue.write(write(number, 10)));
        assert_eq!(queue.waiting(), (3, 30, 0));
        assert_eq!(queue.counters.writes(Wrote::Dropped), 2);
        queue.write(write(5, 90));
        assert_eq!(queue.waiting(), (2, 100, 0), "90 beside the youngest of the others");
        assert_eq!(keys(queue.take(9, 99)), [key(4)]);
        queue.write(write(6, 101));
        assert_eq!(queue.waiting(), (1, 101, 0), "alone, if larger than the bound");
        assert_eq!(keys(queue.take(9, 1)), [key(6)], "one, however large");
        assert!(!queue.is_idle(), "it is being written");
        queue.done();
        assert!(queue.is_idle());
    }

    #[test]
    fn what_others_wait_for_comes_first_and_what_is_small_of_that() {
        let queue = queue(10_000_000, 4);
        let awaited =
            |number, bytes| Write { lease: Some(Lease::unknown()), ..write(number, bytes) };
        queue.write(write(1, 10));
        queue.write(awaited(2, 100_000));
        queue.write(awaited(3, 10));
        queue.write(awaited(4, 10));
        queue.write(awaited(5, 100_000));
        assert_eq!(queue.counters.writes(Wrote::Dropped), 1, "the one that nobody waits for");
        assert_eq!(keys(queue.take(9, 1_000_000)), [key(3), key(4), key(2), key(5)]);
        assert_eq!(queue.waiting(), (0, 0, 0));
    }

    #[test]
    fn deletions_come_first_and_are_bounded() {
        let queue = queue(100, 2);
        queue.write(write(1, 10));
        queue.delete([key(2), key(3), key(4)]);
        assert_eq!(queue.counters.writes(Wrote::DeletionLost), 1);
        assert_eq!(keys(queue.take(9, 99)), [key(3), key(4)]);
        assert_eq!(keys(queue.take(9, 99)), [key(1)]);
        assert!(queue.take(9, 99).is_none());
    }

    #[tokio::test]
    async fn whoever_works_is_woken() {
        let queue = Arc::new(queue(100, 2));
        let waiting = Arc::clone(&queue);
        let ready = tokio::spawn(async move { waiting.ready().await });
        tokio::task::yield_now().await;
        queue.delete([key(1)]);
        ready.await.expect("no panic");
    }
}
