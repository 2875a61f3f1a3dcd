//! Counting: what comes of all requests together, and by time, host, type, rule and URL.

mod detail;

pub use detail::{Bucket, Detail, Group, Lost};
use serde::Serialize;

use super::outcome::{Loss, Outcome};
use super::trace::Request;

/// What came of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) outcome: Outcome,
    pub(super) loss: Option<Loss>,
    /// Bytes of body that the origin sent for it; `None` where it was not asked.
    pub(super) origin: Option<u64>,
}

impl Event {
    /// With the origin asked where such an outcome asks it, for so many bytes.
    pub(super) fn of(outcome: Outcome, loss: Option<Loss>, bytes: u64) -> Self {
        let asked = matches!(outcome, Outcome::Missed | Outcome::Uncacheable);
        Self { outcome, loss, origin: asked.then_some(bytes) }
    }
}

/// Requests and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Bytes of body that their clients got.
    pub bytes: u64,
}

impl Counts {
    fn add(&mut self, bytes: u64) {
        self.requests += 1;
        self.bytes += bytes;
    }
}

/// What came of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    by_outcome: [Counts; Outcome::ALL.len()],
    /// Requests to origins, those in the background too.
    pub origin_requests: u64,
    /// Bytes of body that origins sent.
    pub origin_bytes: u64,
    /// The most requests to origins in one second.
    pub origin_peak: u64,
    /// Milliseconds that hits did not wait; `None` where it is not known how long fetches take.
    pub saved_millis: Option<u64>,
    /// Requests whose outcome rests on an assumption.
    pub assumed: u64,
    /// The most that residents weighed together, in bytes.
    pub resident_max: u64,
    /// Objects that had to go for others.
    pub evicted: u64,
    second: i64,
    in_second: u64,
}

impl Totals {
    pub(super) fn note(
        &mut self,
        request: &Request,
        event: &Event,
        took: Option<u32>,
        is_assumed: bool,
    ) {
        self.by_outcome[event.outcome as usize].add(request.bytes);
        self.assumed += u64::from(is_assumed);
        if let Some(bytes) = event.origin {
            self.origin_requests += 1;
            self.origin_bytes += bytes;
            let second = request.at.div_euclid(1000);
            if second != self.second {
                self.finish();
                self.second = second;
            }
            self.in_second += 1;
        }
        if let Some(took) = took {
            let saved = if event.outcome.is_hit() { u64::from(took) } else { 0 };
            self.saved_millis = Some(self.saved_millis.unwrap_or(0) + saved);
        }
    }

    pub(super) fn finish(&mut self) {
        self.origin_peak = self.origin_peak.max(self.in_second);
        self.in_second = 0;
    }

    /// What had this outcome.
    #[must_use]
    pub const fn of(&self, outcome: Outcome) -> Counts {
        self.by_outcome[outcome as usize]
    }

    /// All.
    #[must_use]
    pub fn all(&self) -> Counts {
        let sum = |of: fn(&Counts) -> u64| self.by_outcome.iter().map(of).sum();
        Counts { requests: sum(|it| it.requests), bytes: sum(|it| it.bytes) }
    }

    /// Answered from memory.
    #[must_use]
    pub fn hits(&self) -> Counts {
        let (fresh, stale) = (self.of(Outcome::Fresh), self.of(Outcome::Stale));
        Counts { requests: fresh.requests + stale.requests, bytes: fresh.bytes + stale.bytes }
    }

    /// The share of requests that were, from 0 to 1.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.hits().requests, self.all().requests)
    }

    /// The share of the bytes to clients that were, from 0 to 1.
    #[must_use]
    pub fn byte_hit_ratio(&self) -> f64 {
        ratio(self.hits().bytes, self.all().bytes)
    }
}

/// A share of a whole, which may be nothing.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
