//! Whether Redis is asked at all: a circuit breaker, pure. `now` and chance are arguments.
//!
//! Closed, everybody asks. When half of the latest answers were failures, or one failure says that
//! nothing can come, it opens: nobody asks, nobody waits. After a pause one probe is let through,
//! and its answer decides. Pauses double while failures follow each other, up to a bound.

use std::time::{Duration, Instant};

/// Answers that are remembered.
const WINDOW: u32 = 16;

/// Failures among them that open it.
const MOST_FAILURES: u32 = 8;

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, and for how long it must have been closed to begin with the first one again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The state of one circuit.
#[derive(Clone, Debug)]
pub struct Breaker {
    /// The latest answers, one bit each; 1 is a failure.
    recent: u16,
    state: State,
    /// The pause that the next opening begins with.
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        since: Instant,
    },
    Open {
        until: Instant,
    },
    /// A probe is under way; one that is not heard of again by then has failed.
    Probing {
        until: Instant,
    },
}

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It may be different next time.
    Soft,
    /// The next one would fail as well.
    Hard,
}

impl Breaker {
    /// Closed.
    #[must_use]
    pub const fn closed(now: Instant) -> Self {
        Self { recent: 0, state: State::Closed { since: now }, pause: FIRST_PAUSE }
    }

    /// Open, with a probe allowed at once.
    #[must_use]
    pub const fn open(now: Instant) -> Self {
        Self { recent: 0, state: State::Open { until: now }, pause: FIRST_PAUSE }
    }

    /// Whether somebody may ask now. An open circuit whose pause is over lets one probe through.
    pub fn allows(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } | State::Probing { until } if now >= until => {
                self.state = State::Probing { until: now + LONGEST_PAUSE };
                true
            }
            State::Open { .. } | State::Probing { .. } => false,
        }
    }

    /// How long nobody may ask, at most.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Duration {
        match self.state {
            State::Closed { .. } => Duration::ZERO,
            State::Open { until } | State::Probing { until } => {
                until.saturating_duration_since(now)
            }
        }
    }

    /// There is news: an open circuit lets a probe through at once.
    pub const fn hasten(&mut self, now: Instant) {
        if let State::Open { until } = &mut self.state {
            *until = now;
        }
    }

    /// Whether everybody may ask.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// An answer came in time.
    pub fn succeeded(&mut self, now: Instant) {
        self.recent <<= 1;
        if !self.is_closed() {
            self.recent = 0;
            self.state = State::Closed { since: now };
        }
    }

    /// None came, or a refusal. Returns whether this opened the circuit. `chance`, from 0 to 1,
    /// spreads the pauses, so that the nodes of a fleet do not come back at the same moment.
    pub fn failed(&mut self, severity: Severity, now: Instant, chance: f64) -> bool {
        self.recent = self.recent << 1 | 1;
        match self.state {
            State::Closed { since } => {
                if severity == Severity::Soft && self.recent.count_ones() < MOST_FAILURES {
                    return false;
                }
                if now.saturating_duration_since(since) >= LONGEST_PAUSE {
                    self.pause = FIRST_PAUSE;
                }
                self.pause_from(now, chance);
                true
            }
            State::Probing { .. } => {
                self.pause_from(now, chance);
                false
            }
            // A straggler of before.
            State::Open { .. } => false,
        }
    }

    fn pause_from(&mut self, now: Instant, chance: f64) {
        let spread = self.pause.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        self.state = State::Open { until: now + spread };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.recent = 0;
    }
}

const _: () = assert!(WINDOW == u16::BITS, "the window is as wide as its bits");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn half_of_the_latest_answers_open_it_and_one_that_is_hard() {
        let now = Instant::now();
        let mut breaker = Breaker::closed(now);
        for _ in 0..7 {
            assert!(!breaker.failed(Severity::Soft, now, 1.0));
            breaker.succeeded(now);
        }
        assert!(breaker.allows(now));
        assert!(breaker.failed(Severity::Soft, now, 1.0), "8 of 15");
        assert!(!breaker.allows(now));
        let mut breaker = Breaker::closed(now);
        assert!(breaker.failed(Severity::Hard, now, 1.0));
        assert!(!breaker.failed(Severity::Hard, now, 1.0), "once");
    }

    #[test]
    fn one_probe_goes_through_when_the_pause_is_over_and_its_answer_decides() {
        let start = Instant::now();
        let mut breaker = Breaker::closed(start);
        breaker.failed(Severity::Hard, start, 1.0);
        assert!(!breaker.allows(start + 99 * MS));
        let later = start + 100 * MS;
        assert!(breaker.allows(later) && !breaker.allows(later), "one");
        breaker.failed(Severity::Soft, later, 1.0);
        assert!(!breaker.allows(later + 199 * MS), "the pause doubles");
        assert!(breaker.allows(later + 200 * MS));
        breaker.succeeded(later + 200 * MS);
        assert!(breaker.is_closed() && breaker.allows(later + 200 * MS));
    }

    #[test]
    fn a_probe_that_is_not_heard_of_again_makes_room_for_another() {
        let start = Instant::now();
        let mut breaker = Breaker::open(start);
        assert!(breaker.allows(start) && !breaker.allows(start + LONGEST_PAUSE / 2));
        assert!(breaker.allows(start + LONGEST_PAUSE));
    }

    #[test]
    fn news_end_a_pause_and_bring_one_probe_forward() {
        let now = Instant::now();
        let mut breaker = Breaker::closed(now);
        breaker.hasten(now);
        assert!(breaker.is_closed());
        breaker.failed(Severity::Hard, now, 1.0);
        assert!(!breaker.allows(now));
        breaker.hasten(now);
        assert!(breaker.allows(now) && !breaker.allows(now), "one");
        breaker.hasten(now);
        assert!(!breaker.allows(now), "it is under way");
    }

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew_after_quiet() {
        let mut now = Instant::now();
        let mut breaker = Breaker::open(now);
        for _ in 0..20 {
            now += breaker.pause(now);
            assert!(breaker.allows(now));
            breaker.failed(Severity::Soft, now, 1.0);
        }
        assert_eq!(breaker.pause(now), LONGEST_PAUSE);
        now += LONGEST_PAUSE;
        assert!(breaker.allows(now));
        breaker.succeeded(now);
        breaker.failed(Severity::Hard, now + MS, 1.0);
        assert_eq!(breaker.pause(now + MS), LONGEST_PAUSE, "it was closed for a moment only");
        now += LONGEST_PAUSE + MS;
        assert!(breaker.allows(now));
        breaker.succeeded(now);
        now += LONGEST_PAUSE;
        breaker.failed(Severity::Hard, now, 1.0);
        assert_eq!(breaker.pause(now), FIRST_PAUSE);
    }

    proptest! {
        #[test]
        fn it_never_stays_open_for_longer_than_its_bound(
            steps in prop::collection::vec((0..4_u8, 0..3000_u64, 0.0..1.0), 0..60),
        ) {
            let mut now = Instant::now();
            let mut breaker = Breaker::closed(now);
            for (step, millis, chance) in steps {
                now += Duration::from_millis(millis);
                match step {
                    0 => breaker.succeeded(now),
                    1 => { breaker.failed(Severity::Soft, now, chance); }
                    2 => { breaker.failed(Severity::Hard, now, chance); }
                    _ => { breaker.allows(now); }
                }
                prop_assert!(breaker.pause(now) <= LONGEST_PAUSE);
                prop_assert!(breaker.clone().allows(now + LONGEST_PAUSE));
            }
        }
    }
}
