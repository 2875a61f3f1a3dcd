//! The figures of a run, as reports and budgets want them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::origin::Through;
use super::record::{Latencies, Record};
use super::timeline::Timeline;
use super::verdict::Verdict;
use super::workload::Noted;

/// Shares of answers whose latencies are told.
pub(super) const PERCENTILES: [(&str, f64); 7] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// What was run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    /// Where requests went.
    pub(super) url: String,
    /// What was asked for.
    pub(super) workload: String,
    /// When.
    pub(super) pace: String,
    /// Over what.
    pub(super) transport: String,
}

/// All figures. Ratios are from 0 to 1, and `None` where there is nothing to relate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) run: Run,
    /// From the first request to the last answer.
    pub(super) seconds: f64,
    /// Whether a signal ended it.
    pub(super) interrupted: bool,
    /// Requests that were sent, or tried.
    pub(super) requests: u64,
    /// Those with a whole answer.
    pub(super) answered: u64,
    /// Those without.
    pub(super) failed: u64,
    /// Answers a second.
    pub(super) requests_per_second: f64,
    /// Bytes of bodies.
    pub(super) bytes: u64,
    /// A second.
    pub(super) bytes_per_second: f64,
    /// Of answers, those from the store, fresh or stale, as the cache says.
    pub(super) hit_ratio: Option<f64>,
    /// Of their bytes.
    pub(super) byte_hit_ratio: Option<f64>,
    /// Of answers, those from the store or with another request's fetch.
    pub(super) saved_ratio: Option<f64>,
    /// Of requests, those without a whole answer or with a 5xx.
    pub(super) error_ratio: Option<f64>,
    /// As the origin counted, where the bench has one.
    pub(super) origin: Option<AtOrigin>,
    /// Answers by what the cache says.
    pub(super) answers: Vec<Kind>,
    /// Latencies of all answers, in milliseconds.
    pub(super) latency_ms: BTreeMap<&'static str, f64>,
    /// How much later than due requests were sent, in milliseconds; only of an open loop.
    pub(super) lag_ms: BTreeMap<&'static str, f64>,
    /// Answers by the field that told what the cache did.
    pub(super) told_by: BTreeMap<&'static str, u64>,
    /// Answers by status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Requests without a whole answer, by kind.
    pub(super) failures: BTreeMap<&'static str, u64>,
    /// Lines of the workload that say nothing of a request.
    pub(super) broken_lines: u64,
    /// Requests of a log that were not sent.
    pub(super) left_out: u64,
    #[serde(skip)]
    pub(super) noted: Noted,
    #[serde(skip)]
    pub(super) record: Record,
}

/// What came through.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct AtOrigin {
    /// Requests.
    pub(super) requests: u64,
    /// Of them, those that a 304 answered.
    pub(super) not_modified: u64,
    /// Bytes of bodies.
    pub(super) bytes: u64,
    /// Of the clients' requests, those that did not come through. Below zero, where a cache asks
    /// more often than it is asked.
    pub(super) hit_ratio: Option<f64>,
    /// Of the clients' bytes.
    pub(super) byte_hit_ratio: Option<f64>,
}

/// Answers of one kind.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kind {
    /// Which.
    pub(super) verdict: Verdict,
    /// How many.
    pub(super) requests: u64,
    /// Of all.
    pub(super) share: f64,
    /// Bytes of bodies.
    pub(super) bytes: u64,
    /// How long they took, in milliseconds.
    pub(super) latency_ms: BTreeMap<&'static str, f64>,
}

/// With the microseconds behind the point.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Summary {
    /// What `record` says of a run that took this long.
    pub(super) fn new(
        run: Run,
        record: Record,
        took: Duration,
        through: Option<Through>,
        noted: Noted,
        interrupted: bool,
    ) -> Self {
        let (answered, failed) = (record.answered_count(), record.failed_count());
        let (requests, bytes) = (answered + failed, record.bytes());
        let seconds = took.as_secs_f64();
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let sum = |wanted: fn(Verdict) -> bool| {
            let some = record.answers.iter().filter(|(verdict, _)| wanted(**verdict));
            some.fold((0, 0), |(count, bytes), (_, tally)| {
                (count + tally.latencies.count(), bytes + tally.bytes)
            })
        };
        // A cache that says nothing has no ratio of its own, rather than one of zero.
        let (silent, _) = sum(|verdict| verdict == Verdict::Silent);
        let speaks = silent < answered;
        let (hits, hit_bytes) = sum(Verdict::is_hit);
        let (saved, _) = sum(Verdict::is_saved);
        let server_errors: u64 = record.statuses.range(500..).map(|(_, count)| count).sum();
        let origin = through.map(|through| AtOrigin {
            requests: through.requests,
            not_modified: through.not_modified,
            bytes: through.bytes,
            hit_ratio: share(through.requests, requests).map(|through| 1.0 - through),
            byte_hit_ratio: share(through.bytes, bytes).map(|through| 1.0 - through),
        });
        let answers = record.answers.iter().map(|(verdict, tally)| Kind {
            verdict: *verdict,
            requests: tally.latencies.count(),
            share: share(tally.latencies.count(), answered).unwrap_or_default(),
            bytes: tally.bytes,
            latency_ms: figures(&tally.latencies),
        });
        Self {
            run,
            seconds,
            interrupted,
            requests,
            answered,
            failed,
            requests_per_second: per_second(answered),
            bytes,
            bytes_per_second: per_second(bytes),
            hit_ratio: share(hits, answered).filter(|_| speaks),
            byte_hit_ratio: share(hit_bytes, bytes).filter(|_| speaks),
            saved_ratio: share(saved, answered).filter(|_| speaks),
            error_ratio: share(failed + server_errors, requests),
            origin,
            answers: answers.collect(),
            latency_ms: figures(&record.latencies()),
            lag_ms: figures(&record.lag),
            told_by: record.told.iter().map(|(told, count)| (told.word(), *count)).collect(),
            statuses: record.statuses.clone(),
            failures: record.failures.iter().map(|(it, count)| (it.word(), *count)).collect(),
            broken_lines: noted.broken,
            left_out: noted.left_out,
            noted,
            record,
        }
    }

    /// Latencies of one kind, or of all; `None` where there are none.
    pub(super) fn latencies(&self, verdict: Option<Verdict>) -> Option<Latencies> {
        match verdict {
            None => Some(self.record.latencies()).filter(|latencies| latencies.count() > 0),
            Some(verdict) => self.record.answers.get(&verdict).map(|it| it.latencies.clone()),
        }
    }

    /// The run's course.
    pub(super) fn timeline(&self) -> &Timeline {
        &self.record.timeline
    }
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

fn figures(latencies: &Latencies) -> BTreeMap<&'static str, f64> {
    let quantiles = PERCENTILES.iter().map(|(name, share)| (*name, latencies.quantile(*share)));
    let ends = [("mean", latencies.mean()), ("max", latencies.most())];
    let known = quantiles.chain(ends).filter_map(|(name, it)| Some((name, milliseconds(it?))));
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::{run, summary};

    #[test]
    fn ratios_are_those_of_what_happened() {
        let summary = summary();
        assert_eq!((summary.requests, summary.answered, summary.failed), (100, 100, 0));
        assert_eq!((summary.hit_ratio, summary.saved_ratio), (Some(0.8), Some(0.9)));
        assert_eq!(summary.byte_hit_ratio, Some(0.8));
        let origin = summary.origin.unwrap();
        assert_eq!((origin.hit_ratio, origin.byte_hit_ratio), (Some(0.9), Some(0.9)));
        assert!((summary.requests_per_second - 50.0).abs() < 1e-9);
        assert_eq!(summary.answers.len(), 3);
        assert_eq!(summary.error_ratio, Some(0.0));
    }

    #[test]
    fn nothing_has_no_ratios() {
        let nothing = Record::default();
        let noted = Noted::default();
        let empty = Summary::new(run(), nothing, Duration::ZERO, None, noted, true);
        assert_eq!((empty.hit_ratio, empty.byte_hit_ratio, empty.error_ratio), (None, None, None));
        assert!(empty.latency_ms.is_empty() && empty.origin.is_none());
        assert!(empty.requests_per_second.abs() < 1e-9);
    }

    #[test]
    fn a_silent_cache_has_no_ratio_of_its_own() {
        let mut record = Record::default();
        let answer = crate::bench::record::Answer {
            status: http::StatusCode::BAD_GATEWAY,
            verdict: Verdict::Silent,
            told: None,
            bytes: 5,
        };
        record.answered(answer, Duration::from_millis(1), Duration::from_millis(1));
        let through = Some(Through { requests: 1, not_modified: 0, bytes: 5 });
        let second = Duration::from_secs(1);
        let silent = Summary::new(run(), record, second, through, Noted::default(), false);
        assert_eq!((silent.hit_ratio, silent.saved_ratio), (None, None));
        assert_eq!(silent.origin.unwrap().hit_ratio, Some(0.0));
        assert_eq!(silent.error_ratio, Some(1.0), "a 5xx is an error");
    }
}
