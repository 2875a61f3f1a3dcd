//! Single flight: of many requests that want the same thing, one leads and the others follow.
//!
//! Generic over the key, what is shared and how it can fail. A leader that is dropped without a word is a
//! defined outcome ([`FlightOutcome::Abandoned`]), so a follower never waits for nobody.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::watch;

/// What a flight came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlightOutcome<T, E> {
    /// Something that all may share, perhaps still growing.
    Shared(T),
    /// The answer changed what is stored: look again.
    Settled,
    /// The answer is the leader's alone; followers go their own ways, all at once.
    NotShareable,
    /// The leader got no answer.
    Failed(E),
    /// The leader went away without a word.
    Abandoned,
}

/// Flights under way, by key.
#[derive(Debug)]
pub struct Flights<K, T, E>(Arc<Table<K, T, E>>);

#[derive(Debug)]
struct Table<K, T, E> {
    shards: Box<[Mutex<Shard<K, T, E>>]>,
    hasher: RandomState,
}

type Sender<T, E> = watch::Sender<Option<FlightOutcome<T, E>>>;
type Shard<K, T, E> = HashMap<K, Flight<T, E>, RandomState>;

/// One under way.
#[derive(Debug)]
struct Flight<T, E> {
    /// What there is to share already.
    told: Option<FlightOutcome<T, E>>,
    /// Made for the first who joins: most flights are never followed.
    followers: Option<Sender<T, E>>,
}

/// What [`Flights::join`] makes of a request.
#[derive(Debug)]
pub enum Role<K: Eq + Hash, T, E> {
    /// The first: it fetches, and says what came of it.
    Leader(Leader<K, T, E>),
    /// One of the rest.
    Follower(Follower<T, E>),
}

/// How a flight stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Whether its leader has something to share already.
    pub answered: bool,
    /// How many wait for what comes of it.
    pub followers: usize,
}

/// The right and the duty to fetch. Dropping it ends the flight.
#[derive(Debug)]
pub struct Leader<K: Eq + Hash, T, E> {
    table: Arc<Table<K, T, E>>,
    /// Taken when nobody new may join.
    key: Option<K>,
    /// Who had joined by then.
    joined: Option<Sender<T, E>>,
}

/// A place among those who wait for a leader.
#[derive(Debug)]
pub struct Follower<T, E>(watch::Receiver<Option<FlightOutcome<T, E>>>);

const SHARDS: usize = 64;

impl<K: Eq + Hash + Clone, T: Clone, E: Clone> Flights<K, T, E> {
    /// No flights.
    #[must_use]
    pub fn new() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self(Arc::new(Table { shards, hasher: RandomState::default() }))
    }

    /// Joins the flight for `key`, or begins one.
    #[must_use]
    pub fn join(&self, key: &K) -> Role<K, T, E> {
        let mut shard = self.0.shard(key);
        if let Some(Flight { told, followers }) = shard.get_mut(key) {
            let sender = followers.get_or_insert_with(|| Sender::new(told.clone()));
            return Role::Follower(Follower(sender.subscribe()));
        }
        shard.insert(key.clone(), Flight { told: None, followers: None });
        drop(shard);
        Role::Leader(Leader { table: Arc::clone(&self.0), key: Some(key.clone()), joined: None })
    }

    /// Begins a flight for `key` unless one is under way.
    #[must_use]
    pub fn lead(&self, key: &K) -> Option<Leader<K, T, E>> {
        match self.join(key) {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) => None,
        }
    }

    /// How the flight for `key` stands, if one is under way; nobody joins it by that.
    #[must_use]
    pub fn under_way(&self, key: &K) -> Option<UnderWay> {
        let shard = self.0.shard(key);
        let Flight { told, followers } = shard.get(key)?;
        let followers = followers.as_ref().map_or(0, Sender::receiver_count);
        Some(UnderWay { answered: told.is_some(), followers })
    }

    /// Flights under way at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether no flight is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash + Clone, T: Clone, E: Clone> Default for Flights<K, T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, T, E> Clone for Flights<K, T, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash, T: Clone, E: Clone> Leader<K, T, E> {
    /// Tells the followers. What is [`FlightOutcome::Shared`] stays open for others to join until
    /// the leader is dropped or [`Leader::close`]d; any other outcome ends the flight, so that
    /// who comes next begins anew.
    pub fn announce(&mut self, outcome: FlightOutcome<T, E>) {
        if !matches!(outcome, FlightOutcome::Shared(_)) {
            self.close();
        }
        let Some(key) = &self.key else {
            if let Some(followers) = &self.joined {
                followers.send_replace(Some(outcome));
            }
            return;
        };
        if let Some(Flight { told, followers }) = self.table.shard(key).get_mut(key) {
            *told = Some(outcome);
            if let Some(followers) = followers {
                followers.send_replace(told.clone());
            }
        }
    }

    /// Whether anybody waits for this flight's outcome at this moment.
    #[must_use]
    pub fn has_followers(&self) -> bool {
        self.followers().is_some_and(|followers| followers.receiver_count() > 0)
    }

    /// Waits until nobody waits for this flight's outcome.
    pub async fn unfollowed(&self) {
        if let Some(followers) = self.followers() {
            followers.closed().await;
        }
    }

    fn followers(&self) -> Option<Sender<T, E>> {
        match &self.key {
            Some(key) => self.table.shard(key).get(key)?.followers.clone(),
            None => self.joined.clone(),
        }
    }
}

impl<K: Eq + Hash, T, E> Leader<K, T, E> {
    /// Nobody new joins from here on; who has joined is not affected.
    pub fn close(&mut self) {
        if let Some(key) = self.key.take() {
            let flight = self.table.shard(&key).remove(&key);
            self.joined = flight.and_then(|flight| flight.followers);
        }
    }
}

impl<K: Eq + Hash, T, E> Drop for Leader<K, T, E> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T: Clone, E: Clone> Follower<T, E> {
    /// Waits for what the leader has to say. Unbounded: the caller sets the bound.
    pub async fn outcome(mut self) -> FlightOutcome<T, E> {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(FlightOutcome::Abandoned),
            Err(_) => FlightOutcome::Abandoned,
        }
    }
}

impl<K: Eq + Hash, T, E> Table<K, T, E> {
    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K, T, E>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

/// A poisoned shard is still a map: no code that can panic runs while one is locked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestFlights = Flights<&'static str, u32, ()>;

    fn leader(flights: &TestFlights, key: &'static str) -> Leader<&'static str, u32, ()> {
        flights.lead(&key).expect("no flight is under way")
    }

    fn follower(flights: &TestFlights, key: &'static str) -> Follower<u32, ()> {
        match flights.join(&key) {
            Role::Follower(follower) => follower,
            Role::Leader(_) => panic!("a flight is under way"),
        }
    }

    #[tokio::test]
    async fn all_who_join_get_the_one_outcome() {
        let flights = TestFlights::new();
        let mut lead = leader(&flights, "a");
        let early = follower(&flights, "a");
        assert!(lead.has_followers());
        lead.announce(FlightOutcome::Shared(7));
        assert_eq!(flights.under_way(&"a"), Some(UnderWay { answered: true, followers: 1 }));
        let late = follower(&flights, "a");
        assert_eq!(early.outcome().await, FlightOutcome::Shared(7));
        assert_eq!(late.outcome().await, FlightOutcome::Shared(7));
        assert!(!lead.has_followers());
    }

    #[tokio::test]
    async fn who_joins_late_is_told_whether_others_were_there_before_or_not() {
        for earlier in [0, 1] {
            let flights = TestFlights::new();
            let mut lead = leader(&flights, "a");
            for _ in 0..earlier {
                drop(follower(&flights, "a"));
            }
            lead.unfollowed().await;
            lead.announce(FlightOutcome::Shared(7));
            let late = follower(&flights, "a");
            assert!(lead.has_followers());
            drop(lead);
            assert_eq!(late.outcome().await, FlightOutcome::Shared(7));
        }
    }

    #[tokio::test]
    async fn a_leader_dropped_without_a_word_is_an_outcome() {
        let flights = TestFlights::new();
        let lead = leader(&flights, "a");
        let waiting = follower(&flights, "a");
        drop(lead);
        assert_eq!(waiting.outcome().await, FlightOutcome::Abandoned);
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn an_outcome_that_is_not_shared_ends_the_flight_at_once() {
        let flights = TestFlights::new();
        let mut lead = leader(&flights, "a");
        let waiting = follower(&flights, "a");
        lead.announce(FlightOutcome::NotShareable);
        let _next = leader(&flights, "a");
        assert_eq!(waiting.outcome().await, FlightOutcome::NotShareable);
    }

    #[tokio::test]
    async fn a_closed_flight_keeps_who_has_joined_and_leaves_the_next_one_alone() {
        let flights = TestFlights::new();
        let mut first = leader(&flights, "a");
        first.announce(FlightOutcome::Shared(1));
        let joined = follower(&flights, "a");
        first.close();
        let _second = leader(&flights, "a");
        drop(first);
        assert_eq!(flights.len(), 1, "the first leader's end does not end the second's flight");
        assert_eq!(joined.outcome().await, FlightOutcome::Shared(1));
    }

    #[test]
    fn a_look_at_a_flight_joins_none_and_begins_none() {
        let flights = TestFlights::new();
        assert_eq!(flights.under_way(&"a"), None);
        let lead = leader(&flights, "a");
        assert_eq!(flights.under_way(&"a"), Some(UnderWay { answered: false, followers: 0 }));
        assert!(!lead.has_followers());
        drop(lead);
        assert_eq!(flights.under_way(&"a"), None);
    }

    #[test]
    fn other_keys_are_other_flights() {
        let flights = TestFlights::new();
        let _a = leader(&flights, "a");
        let _b = leader(&flights, "b");
        assert_eq!(flights.len(), 2);
    }

    #[test]
    fn of_many_threads_exactly_one_leads() {
        let flights = TestFlights::new();
        let barrier = Arc::new(std::sync::Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (flights, barrier) = (flights.clone(), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    barrier.wait();
                    let role = flights.join(&"a");
                    barrier.wait();
                    matches!(role, Role::Leader(_))
                })
            })
            .collect();
        let leaders = threads.into_iter().map(|t| t.join().expect("no panic"));
        assert_eq!(leaders.filter(|&leads| leads).count(), 1);
    }
}
