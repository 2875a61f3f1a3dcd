//! When requests begin. Pure.

use std::time::Duration;

use super::workload::{Ask, Asks};

/// How far the runtime's alarms may ring late: its clock ticks in milliseconds.
pub(super) const TICK: Duration = Duration::from_micros(1_500);

/// When the next request begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// When a connection has its answer: a closed loop.
    Closed,
    /// So many a second, whatever the answers do: an open loop.
    Rate(f64),
    /// At the workload's own times, faster by this factor: an open loop too.
    Recorded(f64),
}

/// The requests of a workload, each with the time when it is to begin.
pub(super) struct Feed {
    asks: Asks,
    pace: Pace,
    /// Requests of this phase so far.
    taken: u64,
    /// How many there may be.
    most: u64,
    /// The workload's time when the phase began.
    first: Option<Duration>,
    /// When the last one was due: time does not go back.
    due: Duration,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Feed {
    /// All requests of `asks`, at this pace.
    pub(super) fn new(asks: Asks, pace: Pace) -> Self {
        Self { asks, pace, taken: 0, most: u64::MAX, first: None, due: Duration::ZERO }
    }

    /// Goes on with the workload, as if it began here, for `most` requests.
    pub(super) fn begin(&mut self, most: Option<u64>) {
        (self.taken, self.most) = (0, most.unwrap_or(u64::MAX));
        (self.first, self.due) = (None, Duration::ZERO);
    }

    /// The next request, and when it is due since the start; `None` for at once.
    pub(super) fn next(&mut self) -> Option<(Ask, Option<Duration>)> {
        if self.taken >= self.most {
            return None;
        }
        let ask = self.asks.next()?;
        let due = match self.pace {
            Pace::Closed => None,
            Pace::Rate(rate) => Some(seconds(self.taken as f64 / rate)),
            Pace::Recorded(speed) => {
                let at = ask.at.unwrap_or_default();
                let since = at.saturating_sub(*self.first.get_or_insert(at));
                Some(seconds(since.as_secs_f64() / speed))
            }
        };
        self.taken += 1;
        let due = due.map(|due| {
            self.due = self.due.max(due);
            self.due
        });
        Some((ask, due))
    }
}

/// What no clock reaches is never.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// From when a request's latency counts, as durations since the start: from when it was due, however
/// late it could be sent, because that is when its user began to wait. Only where the generator
/// itself slept until then and its alarm rang a tick late, from when it rang: no server made it wait.
pub(super) fn counted_from(due: Duration, slept: bool, sent: Duration) -> Duration {
    let late = sent.saturating_sub(due);
    if slept && late <= TICK { sent.max(due) } else { due }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(times: &[Option<u64>]) -> Asks {
        let path: http::uri::PathAndQuery = "/a".parse().unwrap();
        let ask = |at: &Option<u64>| Ask {
            at: at.map(Duration::from_millis),
            method: http::Method::GET,
            host: None,
            path: path.clone(),
            fields: http::HeaderMap::new(),
            wish: None,
        };
        Box::new(times.iter().map(ask).collect::<Vec<_>>().into_iter())
    }

    fn due(feed: &mut Feed) -> Vec<Option<u128>> {
        let rest = std::iter::from_fn(|| feed.next());
        rest.map(|(_, due)| due.map(|due| due.as_millis())).collect()
    }

    #[test]
    fn a_rate_is_kept_without_drift() {
        let mut feed = Feed::new(asks(&[None; 5]), Pace::Rate(4.0));
        assert_eq!(due(&mut feed), [0, 250, 500, 750, 1_000].map(Some));
        let mut feed = Feed::new(Box::new(asks(&[None]).cycle_forever()), Pace::Rate(3.0));
        let last = std::iter::from_fn(|| feed.next()).nth(3_000_000).unwrap().1;
        assert_eq!(last, Some(Duration::from_secs(1_000_000)));
    }

    /// An iterator that begins again, for a box that can't be cloned.
    trait CycleForever {
        fn cycle_forever(self) -> impl Iterator<Item = Ask> + Send + 'static;
    }

    impl CycleForever for Asks {
        fn cycle_forever(mut self) -> impl Iterator<Item = Ask> + Send + 'static {
            let first = self.next().unwrap();
            std::iter::repeat(first)
        }
    }

    #[test]
    fn recorded_times_count_from_the_first_and_never_go_back() {
        let times = [7_000, 7_500, 7_200, 9_000].map(Some);
        let mut feed = Feed::new(asks(&times), Pace::Recorded(1.0));
        assert_eq!(due(&mut feed), [0, 500, 500, 2_000].map(Some));
        let mut feed = Feed::new(asks(&times), Pace::Recorded(10.0));
        assert_eq!(due(&mut feed), [0, 50, 50, 200].map(Some));
    }

    #[test]
    fn a_phase_goes_on_where_the_last_ended_and_counts_anew() {
        let times = [0, 10, 1_000, 1_020].map(Some);
        let mut feed = Feed::new(asks(&times), Pace::Recorded(1.0));
        feed.begin(Some(2));
        assert_eq!(due(&mut feed), [0, 10].map(Some));
        feed.begin(None);
        assert_eq!(due(&mut feed), [0, 20].map(Some));
    }

    #[test]
    fn a_closed_loop_has_no_times_and_a_hopeless_one_is_never() {
        assert_eq!(due(&mut Feed::new(asks(&[Some(5)]), Pace::Closed)), [None]);
        let mut feed = Feed::new(asks(&[None; 2]), Pace::Rate(f64::MIN_POSITIVE));
        assert_eq!(feed.next().unwrap().1, Some(Duration::ZERO));
        assert_eq!(feed.next().unwrap().1, Some(Duration::MAX));
    }

    #[test]
    fn waiting_for_a_connection_counts_and_a_late_alarm_does_not() {
        let ms = Duration::from_millis;
        for (due, slept, sent, expected) in [
            (10, true, 10, 10),
            (10, true, 11, 11),
            (10, true, 12, 10),
            (10, false, 11, 10),
            (10, false, 900, 10),
            (10, true, 9, 10),
        ] {
            let from = counted_from(ms(due), slept, ms(sent));
            assert_eq!(from, ms(expected), "due {due}, slept: {slept}, sent {sent}");
        }
    }
}
