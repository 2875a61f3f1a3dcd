//! The requests that an origin has at once, and those that wait for their turn.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::error::{ErrorKind, ProxyError};

/// Places at one origin, over all cores; who finds none free waits for one, in order.
#[derive(Debug)]
pub(super) struct Queue {
    places: Arc<Semaphore>,
    most: usize,
    patience: Duration,
    /// When somebody last waited in vain.
    overrun: Mutex<Option<Instant>>,
}

/// How long after somebody has waited in vain nobody waits who is to spare the origin, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A place at an origin, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Queue {
    /// `most` at once; who waits does so for `patience` at most.
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most, patience, overrun: Mutex::new(None) }
    }

    /// Waits for a place; who `spares` the origin does not where another has just waited in vain.
    ///
    /// # Errors
    /// `OriginBusy` if none became free in time.
    pub(super) async fn enter(&self, spares: bool) -> Result<Place, ProxyError> {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Ok(Place(place));
        }
        if spares && self.is_overrun() {
            return Err(ErrorKind::OriginBusy.into());
        }
        // Boxed: waiting is rare, and its future would be moved with every request's.
        let turn = Box::pin(timeout(self.patience, places.acquire_owned())).await;
        // The inner error would be that of a semaphore which was closed; nobody closes this one.
        turn.ok().and_then(Result::ok).map(Place).ok_or_else(|| {
            *self.overrun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            ErrorKind::OriginBusy.into()
        })
    }

    fn is_overrun(&self) -> bool {
        let overrun = *self.overrun.lock().unwrap_or_else(PoisonError::into_inner);
        overrun.is_some_and(|last| last.elapsed() < self.patience.min(LONGEST_PAUSE))
    }

    /// Places taken at this moment.
    pub(super) fn taken(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_one_and_not_for_ever() {
        let queue = Queue::new(1, PATIENCE);
        let first = queue.enter(false).await.expect("it is free");
        let before = Instant::now();
        let refused = queue.enter(false).await.expect_err("it is taken");
        assert_eq!((refused.kind, before.elapsed()), (ErrorKind::OriginBusy, PATIENCE));
        let (second, ()) = tokio::join!(queue.enter(false), async { drop(first) });
        assert_eq!(queue.taken(), 1);
        drop(second);
        assert_eq!(queue.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_queue_takes_no_place_with_it() {
        let queue = Queue::new(1, PATIENCE);
        let first = queue.enter(false).await;
        assert!(timeout(PATIENCE / 2, queue.enter(false)).await.is_err(), "it left early");
        drop(first);
        assert_eq!(queue.taken(), 0);
        assert!(queue.enter(false).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_spares_the_origin_does_not_wait_where_another_has_in_vain() {
        let queue = Queue::new(1, PATIENCE);
        let first = queue.enter(true).await.expect("it is free");
        assert!(queue.enter(true).await.is_err());
        let before = Instant::now();
        assert!(queue.enter(true).await.is_err());
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert!(timeout(PATIENCE / 2, queue.enter(false)).await.is_err(), "it waits");
        drop(first);
        assert!(queue.enter(true).await.is_ok(), "it is free");
    }
}
