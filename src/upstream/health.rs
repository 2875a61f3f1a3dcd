//! Whether an origin can be reached, as far as requests have found out: so that those who are to
//! spare it need not try.
//!
//! Only what concerns all requests alike counts. One slow page must not make an origin look dead.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorKind;

/// Bounds of the time for which an origin is left alone that could not be reached.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is known of one origin, over all cores.
#[derive(Debug)]
pub(super) struct Health {
    /// What the times below are counted from.
    start: Instant,
    /// Milliseconds until which it is left alone; 0 while it is well.
    until: AtomicU64,
    /// Milliseconds that the last pause took.
    pause: AtomicU64,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), until: AtomicU64::new(0), pause: AtomicU64::new(0) }
    }

    /// Whether a request that is to spare the origin may be sent. After a pause one may, and the
    /// next ones only when that has gone well, or has been without an answer for as long.
    pub(super) fn admits(&self) -> bool {
        let until = self.until.load(Relaxed);
        if until == 0 {
            return true;
        }
        let now = self.now();
        let next = now + self.pause.load(Relaxed);
        now >= until && self.until.compare_exchange(until, next, Relaxed, Relaxed).is_ok()
    }

    /// A response's head came, from wherever it was asked for.
    pub(super) fn answered(&self) {
        if self.until.load(Relaxed) != 0 {
            self.until.store(0, Relaxed);
        }
    }

    /// A request failed after it had taken that long.
    pub(super) fn failed(&self, kind: ErrorKind, took: Duration) {
        if kind.is_unreachable() {
            let pause = took.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            self.pause.store(pause, Relaxed);
            self.until.store(self.now() + pause, Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_request_tries() {
        let health = Health::new();
        assert!(health.admits());
        health.failed(ErrorKind::FirstByteTimeout, LONGEST_PAUSE);
        assert!(health.admits(), "a slow page is no dead origin");
        health.failed(ErrorKind::ConnectTimeout, Duration::from_secs(3));
        assert!(!health.admits());
        advance(Duration::from_secs(3)).await;
        assert!(health.admits() && !health.admits(), "one");
        advance(Duration::from_secs(3)).await;
        assert!(health.admits() && !health.admits(), "nothing was heard of the first");
        health.answered();
        assert!(health.admits() && health.admits());
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_is_bounded() {
        for (took, pause) in [(0, 1000), (3600, 10_000)] {
            let health = Health::new();
            health.failed(ErrorKind::ConnectFailed, Duration::from_secs(took));
            advance(Duration::from_millis(pause - 1)).await;
            assert!(!health.admits());
            advance(Duration::from_millis(1)).await;
            assert!(health.admits());
        }
    }
}
