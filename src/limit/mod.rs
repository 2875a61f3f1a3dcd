//! Bounds on how many of something there are at once.
//!
//! What is over a bound is refused at once and cheaply, so that what is within it can be finished.

mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use client::{ClientLimit, ClientPlace};

/// A bound on how many there are at once. Clones share it.
#[derive(Clone, Debug)]
pub struct Limit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: AtomicUsize,
    taken: AtomicUsize,
}

/// One of those that are within a [`Limit`]; dropping it makes room for another.
#[derive(Debug)]
pub struct Place(Limit);

impl Limit {
    /// A bound of `most` at once, none of them there yet.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most: AtomicUsize::new(most), taken: AtomicUsize::new(0) }))
    }

    /// Bounds what is to come by `most`. Places beyond it that are taken stay so.
    pub fn resize(&self, most: usize) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    /// A place, or `None` if all are taken.
    #[must_use]
    pub fn enter(&self) -> Option<Place> {
        self.take().then(|| Place(self.clone()))
    }

    /// Takes a place that [`Limit::give_back`] has to return; `false` if all are taken. For an
    /// owner that has the limit at hand already, and is spared the reference count of a
    /// [`Place`].
    #[must_use]
    pub fn take(&self) -> bool {
        // Never more than `most`; one that is being refused may count for a moment.
        let most = self.0.most.load(Ordering::Relaxed);
        let admitted = self.0.taken.fetch_add(1, Ordering::Relaxed) < most;
        if !admitted {
            self.give_back();
        }
        admitted
    }

    /// Returns what [`Limit::take`] took.
    pub fn give_back(&self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether all are taken at this moment.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.taken() >= self.0.most.load(Ordering::Relaxed)
    }

    /// How many there are at this moment.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_place_is_given_back_once_however_its_owner_ends() {
        let limit = Limit::new(1);
        let place = limit.enter().expect("the first");
        assert!(limit.enter().is_none());
        drop(place);
        let panicking = limit.clone();
        let ended = thread::spawn(move || {
            let _place = panicking.enter().expect("it was given back");
            panic!("with a place in hand");
        });
        assert!(ended.join().is_err());
        assert_eq!(limit.taken(), 0);
        assert!(limit.enter().is_some());
    }

    #[test]
    fn a_bound_that_shrinks_is_met_as_places_are_given_back() {
        let limit = Limit::new(2);
        let held = [limit.enter(), limit.enter()];
        limit.resize(1);
        assert!(limit.enter().is_none());
        let [first, _second] = held;
        drop(first);
        assert!(limit.enter().is_none(), "one is taken, and one is all there is");
        limit.resize(2);
        assert!(limit.enter().is_some());
    }

    #[test]
    fn threads_together_never_have_more_places_than_there_are() {
        const MOST: usize = 3;
        let limit = Limit::new(MOST);
        let barrier = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (limit, barrier) = (limit.clone(), Arc::clone(&barrier));
                thread::spawn(move || {
                    barrier.wait();
                    let place = limit.enter();
                    barrier.wait();
                    place.is_some()
                })
            })
            .collect();
        let admitted = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        let admitted = admitted.filter(|&admitted| admitted).count();
        // Those being refused count for a moment, so that another may be refused with them.
        assert!((1..=MOST).contains(&admitted), "{admitted}");
        assert_eq!(limit.taken(), 0);
    }
}
