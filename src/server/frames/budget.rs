//! A budget that refills with time, and with the work that a connection does.

use std::time::Duration;

/// How much of something a client may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// At once.
    pub(super) burst: u32,
    /// And then every second.
    pub(super) per_second: u32,
}

/// How often the refill by time is counted in where nothing asks for it.
const REFILL_EVERY: Duration = Duration::from_secs(1);

/// What was spent of an [`Allowance`]. The refill by time is counted in once a second, and where
/// the burst is spent: otherwise spending is an addition.
#[derive(Debug, Default)]
pub(super) struct Budget {
    spent: u32,
    /// Until when the refill is counted in.
    refilled: Duration,
}

impl Budget {
    /// Spends `cost` of the allowance at `now`, which counts from any fixed time and never goes
    /// back; whether it was there.
    #[inline]
    pub(super) fn spend(&mut self, cost: u32, allowance: Allowance, now: Duration) -> bool {
        let spent = self.spent.saturating_add(cost);
        if spent > allowance.burst || now.saturating_sub(self.refilled) >= REFILL_EVERY {
            self.refill(allowance, now);
        }
        self.spent = self.spent.saturating_add(cost);
        self.spent <= allowance.burst
    }

    /// Gives back what work has earned. Nothing can be saved up beyond the burst.
    #[inline]
    pub(super) fn earn(&mut self, amount: u32) {
        self.spent = self.spent.saturating_sub(amount);
    }

    #[cold]
    fn refill(&mut self, allowance: Allowance, now: Duration) {
        let rate = u64::from(allowance.per_second.max(1));
        let elapsed = now.saturating_sub(self.refilled);
        let gained = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX / 1000) * rate / 1000;
        // What is less than one stays for the next time.
        self.refilled += Duration::from_millis(gained * 1000 / rate);
        self.earn(u32::try_from(gained).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALLOWANCE: Allowance = Allowance { burst: 10, per_second: 5 };

    #[test]
    fn a_burst_is_free_and_then_time_and_work_pay() {
        let mut budget = Budget::default();
        for _ in 0..10 {
            assert!(budget.spend(1, ALLOWANCE, Duration::ZERO));
        }
        assert!(!budget.spend(1, ALLOWANCE, Duration::ZERO));
        budget.earn(1);
        budget.earn(1);
        assert!(budget.spend(1, ALLOWANCE, Duration::ZERO));
        assert!(budget.spend(1, ALLOWANCE, Duration::from_millis(200)));
        assert!(!budget.spend(1, ALLOWANCE, Duration::from_millis(200)));
        let mut budget = Budget::default();
        budget.earn(1000);
        assert!(!budget.spend(11, ALLOWANCE, Duration::ZERO), "nothing is saved up");
    }

    proptest! {
        // What a client can do at all, whenever it does it.
        #[test]
        fn no_more_than_the_burst_and_the_rate_goes_through(
            pauses in proptest::collection::vec(0..400_u64, 1..300),
        ) {
            let (mut budget, mut now, mut passed) = (Budget::default(), 0, 0_u64);
            for pause in pauses {
                now += pause;
                if !budget.spend(1, ALLOWANCE, Duration::from_millis(now)) {
                    break;
                }
                passed += 1;
                prop_assert!(passed <= 10 + now * 5 / 1000);
            }
        }

        // A client that keeps to the rate is never refused.
        #[test]
        fn a_steady_client_goes_through(count in 1..2000_u64) {
            let mut budget = Budget::default();
            for number in 0..count {
                prop_assert!(budget.spend(1, ALLOWANCE, Duration::from_millis(number * 200)));
            }
        }
    }
}
