//! How fast what purges have made stale is refreshed: so many times a second for each upstream, so
//! that a purge of much is no stampede.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// As long as nobody came, so much is saved up for those who do.
const BURST: Duration = Duration::from_secs(1);

/// One count for each upstream.
#[derive(Debug)]
pub(super) struct Pace {
    /// Times a second; zero for no bound.
    rate: AtomicU32,
    /// From when on the next one may begin.
    next: Mutex<HashMap<usize, Instant>>,
    /// How often somebody was told no.
    put_off: AtomicU64,
}

impl Pace {
    /// Without a bound.
    pub(super) fn new() -> Self {
        Self { rate: AtomicU32::new(0), next: Mutex::default(), put_off: AtomicU64::new(0) }
    }

    /// So many times a second from now on; zero for no bound.
    pub(super) fn set(&self, rate: u32) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Whether another may begin now. Nobody waits for it.
    pub(super) fn takes(&self, upstream: usize, now: Instant) -> bool {
        let Some(step) = self.step() else { return true };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = now.checked_sub(BURST).unwrap_or(now);
        let at = next.get(&upstream).map_or(saved, |at| saved.max(*at));
        if at > now {
            self.put_off.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        next.insert(upstream, at + step);
        true
    }

    /// How long another has to wait, whose turn this is then.
    pub(super) fn turn(&self, upstream: usize, now: Instant) -> Duration {
        let Some(step) = self.step() else { return Duration::ZERO };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.get(&upstream).map_or(now, |at| now.max(*at));
        next.insert(upstream, at + step);
        at.saturating_duration_since(now)
    }

    /// How often there was no turn.
    pub(super) fn put_off(&self) -> u64 {
        self.put_off.load(Ordering::Relaxed)
    }

    fn step(&self) -> Option<Duration> {
        let rate = self.rate.load(Ordering::Relaxed);
        Duration::from_secs(1).checked_div(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_may_begin_at_once_and_then_one_after_the_other() {
        let (pace, start) = (Pace::new(), Instant::now());
        assert!((0..1000).all(|_| pace.takes(0, start)), "no bound");
        pace.set(10);
        let taken = |at| (0..100).filter(|_| pace.takes(0, at)).count();
        assert_eq!(taken(start), 11, "those of the last second, and the one that is due");
        assert_eq!(taken(start + Duration::from_millis(99)), 0);
        assert_eq!(taken(start + Duration::from_millis(350)), 3);
        assert_eq!(taken(start + Duration::from_secs(60)), 11);
        assert!(pace.takes(1, start), "another upstream");
    }

    #[test]
    fn whoever_waits_has_a_turn_of_his_own() {
        let (pace, start) = (Pace::new(), Instant::now());
        assert_eq!(pace.turn(0, start), Duration::ZERO);
        pace.set(10);
        let waits: Vec<_> = (0..3).map(|_| pace.turn(0, start).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200]);
        assert!(!pace.takes(0, start + Duration::from_millis(250)));
        assert!(pace.takes(0, start + Duration::from_millis(300)));
    }
}
