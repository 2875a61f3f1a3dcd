//! The memory budget: one number of bytes for everything that holds response bodies.
//!
//! Stored + being filled + held for readers after eviction, until it is handed to their connection,
//! ≤ the limit. A [`Charge`] travels with the bytes it accounts for and is released when the last
//! owner drops it, so the sum is right whoever holds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared limit on bytes.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes, all of it free.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicUsize::new(0) }))
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes charged at this moment.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Charges `bytes`, or `None` if they do not fit.
    #[must_use]
    pub fn try_charge(&self, bytes: usize) -> Option<Charge> {
        let mut charge = Charge { budget: self.clone(), bytes: 0 };
        charge.try_grow(bytes).then_some(charge)
    }
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Charge {
    /// How many bytes this charge holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `more` bytes; `false`, and nothing taken, if they do not fit.
    #[must_use]
    pub fn try_grow(&mut self, more: usize) -> bool {
        let inner = &self.budget.0;
        let grown = inner.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|&sum| sum <= inner.limit)
        });
        if grown.is_ok() {
            self.bytes += more;
        }
        grown.is_ok()
    }

    /// Gives back all but `bytes`. Does nothing if the charge is smaller than that.
    pub fn shrink_to(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        self.budget.0.used.fetch_sub(excess, Ordering::AcqRel);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_that_does_not_fit_takes_nothing() {
        let budget = Budget::new(100);
        let mut first = budget.try_charge(60).expect("60 of 100 fit");
        assert!(budget.try_charge(41).is_none());
        assert!(!first.try_grow(41));
        assert_eq!(budget.used(), 60);
        assert!(first.try_grow(40));
        first.shrink_to(10);
        assert_eq!((budget.used(), first.bytes()), (10, 10));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn overflowing_charges_are_refused() {
        let budget = Budget::new(usize::MAX);
        let _one = budget.try_charge(usize::MAX).expect("the whole budget");
        assert!(budget.try_charge(1).is_none());
    }
}
