//! What came of it, as it is told: the JSON form is stable, and fields are only added.

mod rows;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub use rows::{
    BrokenRow, BucketRow, GroupRow, Log, LostRow, Origin, PeerRow, ReasonRow, Speed, Timeline,
    Variant,
};
use serde::Serialize;

use super::engine::{Bound, Clockwork, Sample, Setup, run};
use super::keeper::Policy;
use super::loader::Reading;
use super::outcome::Outcome;
use super::plan::{Plan, Weigh};
use super::tally::{Counts, Detail, Group, Totals, ratio};
use super::trace::Trace;
use super::{Point, knee};

/// Requests that comparisons and curves are made of, about: of more only a sample of keys is
/// played.
const MOST_COMPARED: usize = 2_000_000;

/// Less memory than this the policy itself would need.
const LEAST_MEMORY: u64 = 128 * 1024;

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Sizes of memory, in bytes; the first is the one that all is told of.
    pub memory: Vec<u64>,
    /// Time.
    pub clockwork: Clockwork,
    /// Whether the curve by memory is drawn.
    pub curve: bool,
    /// Whether other policies are compared.
    pub peers: bool,
    /// How many URLs are named.
    pub top: usize,
}

/// All that is told.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requests that count.
    pub requests: u64,
    /// The share answered from memory without waiting for an origin, from 0 to 1.
    pub hit_ratio: f64,
    /// The share of bytes to clients that came from there, from 0 to 1.
    pub byte_hit_ratio: f64,
    /// The most that was resident, in bytes, as it is weighed.
    pub resident_bytes_max: u64,
    /// What Seawall might use, in bytes.
    pub memory: u64,
    /// What residents may weigh together, in bytes.
    pub capacity: u64,
    /// `full` or `body`.
    pub weigh: &'static str,
    /// What the log is like.
    pub log: Log,
    /// Requests and bytes by outcome.
    pub outcomes: BTreeMap<&'static str, Counts>,
    /// What origins had to do.
    pub origin: Origin,
    /// Seconds that clients waited less; absent where the log does not say how long things take.
    pub seconds_saved: Option<f64>,
    /// The share of requests that rests on assumptions, from 0 to 1.
    pub assumed_ratio: f64,
    /// Why requests were no hits.
    pub reasons: Vec<ReasonRow>,
    /// URLs that lost most.
    pub lost: Vec<LostRow>,
    /// By time.
    pub timeline: Timeline,
    /// By host.
    pub hosts: Vec<GroupRow>,
    /// By media type.
    pub types: Vec<GroupRow>,
    /// By the first segment of the path.
    pub paths: Vec<GroupRow>,
    /// By the rules that matched.
    pub rules: Vec<GroupRow>,
    /// By memory, growing.
    pub curve: Vec<Point>,
    /// Where more memory stops bringing much, in bytes.
    pub knee: Option<u64>,
    /// What other policies reach with as much.
    pub peers: Vec<PeerRow>,
    /// One of how many keys the curve and the other policies were played with; 1 for all.
    pub sampled: u32,
    /// What would be otherwise under other settings.
    pub what_if: Vec<Variant>,
    /// How fast it was played.
    pub speed: Speed,
}

impl Report {
    /// Plays what is wanted. `reading_seconds` is how long reading took, `since` when planning
    /// began.
    #[must_use]
    pub fn new(
        trace: &Trace,
        reading: &Reading,
        plan: &Plan,
        wanted: &Wanted,
        reading_seconds: f64,
        since: Instant,
    ) -> Self {
        let memory = wanted.memory.first().copied().unwrap_or(0);
        let setup = Setup {
            memory,
            policy: Policy::Seawall,
            sample: Sample::ALL,
            clockwork: wanted.clockwork,
        };
        let mut detail = Detail::new(trace, plan);
        let totals = run(trace, plan, &setup, Some(&mut detail));
        let replay_seconds = since.elapsed().as_secs_f64();
        let played = trace.requests.len() as f64;
        let speed = Speed {
            reading_seconds,
            replay_seconds,
            requests_per_second: played / (reading_seconds + replay_seconds).max(1e-9),
            trace_bytes: trace.heap_bytes() as u64,
        };
        let mut report = Self::of(trace, reading, plan, &totals, &detail, wanted, speed);
        report.compare(trace, plan, &setup, wanted);
        report
    }

    fn of(
        trace: &Trace,
        reading: &Reading,
        plan: &Plan,
        totals: &Totals,
        detail: &Detail,
        wanted: &Wanted,
        speed: Speed,
    ) -> Self {
        let memory = wanted.memory.first().copied().unwrap_or(0);
        let all = totals.all();
        let seconds = (trace.span() - wanted.clockwork.warm_up).max(0) as f64 / 1000.0;
        let (start, width, buckets) = detail.timeline();
        Self {
            requests: all.requests,
            hit_ratio: totals.hit_ratio(),
            byte_hit_ratio: totals.byte_hit_ratio(),
            resident_bytes_max: totals.resident_max,
            memory,
            capacity: plan.weigh.capacity(memory),
            weigh: match plan.weigh {
                Weigh::Full => "full",
                Weigh::Body => "body",
            },
            log: Log::of(trace, reading, plan),
            outcomes: outcomes(totals),
            origin: Origin {
                requests: totals.origin_requests,
                ratio: ratio(totals.origin_requests, all.requests),
                bytes: totals.origin_bytes,
                rps_mean: totals.origin_requests as f64 / seconds.max(1.0),
                rps_peak: totals.origin_peak,
            },
            seconds_saved: totals.saved_millis.map(|millis| millis as f64 / 1000.0),
            assumed_ratio: ratio(totals.assumed, all.requests),
            reasons: reasons(detail),
            lost: lost(detail, trace, wanted.top),
            timeline: Timeline {
                start: start as f64 / 1000.0,
                seconds: width as f64 / 1000.0,
                buckets: buckets.iter().map(BucketRow::of).collect(),
            },
            hosts: rows(detail.hosts(), wanted.top),
            types: rows(detail.types(), wanted.top),
            paths: rows(detail.paths(), wanted.top),
            rules: rows(detail.rules(plan), usize::MAX),
            curve: Vec::new(),
            knee: None,
            peers: Vec::new(),
            sampled: 1,
            what_if: Vec::new(),
            speed,
        }
    }

    /// Plays it against other sizes of memory, and with other policies, on all cores.
    fn compare(&mut self, trace: &Trace, plan: &Plan, setup: &Setup, wanted: &Wanted) {
        let sample = Sample::of(trace.requests.len(), MOST_COMPARED);
        let sizes = if wanted.curve { self.sizes(trace, plan) } else { Vec::new() };
        let sizes: Vec<_> =
            sizes.into_iter().chain(wanted.memory.iter().skip(1).copied()).collect();
        let peers = if wanted.peers { &Policy::OTHERS[..] } else { &[] };
        let curve = sizes.iter().map(|memory| Setup { memory: *memory, sample, ..setup.clone() });
        let others = peers.iter().map(|policy| Setup { policy: *policy, sample, ..setup.clone() });
        let setups: Vec<_> = curve.chain(others).collect();
        let totals = run_all(trace, plan, &setups);
        for (setup, totals) in setups.iter().zip(totals) {
            let (hit_ratio, byte_hit_ratio) = (totals.hit_ratio(), totals.byte_hit_ratio());
            if setup.policy == Policy::Seawall {
                self.curve.push(Point { memory: setup.memory, hit_ratio, byte_hit_ratio });
            } else {
                let policy = setup.policy.name();
                let is_bound = setup.policy.is_bound();
                self.peers.push(PeerRow { policy, is_bound, hit_ratio, byte_hit_ratio });
            }
        }
        if wanted.peers {
            let Bound { hit_ratio, byte_hit_ratio } =
                Bound::new(trace, plan, &Setup { sample, ..setup.clone() });
            let policy = "upper bound";
            self.peers.push(PeerRow { policy, is_bound: true, hit_ratio, byte_hit_ratio });
        }
        if !self.curve.is_empty() {
            let (hit_ratio, byte_hit_ratio) = (self.hit_ratio, self.byte_hit_ratio);
            self.curve.push(Point { memory: self.memory, hit_ratio, byte_hit_ratio });
            self.curve.sort_by_key(|point| point.memory);
            self.curve.dedup_by_key(|point| point.memory);
        }
        if !setups.is_empty() {
            self.sampled = sample.every;
        }
        let knee = knee(&self.curve).and_then(|index| self.curve.get(index));
        self.knee = knee.map(|point| point.memory);
    }

    /// Sizes of memory for the curve: from a thousandth of what all of it takes up to a little
    /// more than that, in steps of two.
    fn sizes(&self, trace: &Trace, plan: &Plan) -> Vec<u64> {
        let all = run(
            trace,
            plan,
            &Setup {
                memory: self.memory,
                policy: Policy::Unbounded,
                sample: Sample::of(trace.requests.len(), MOST_COMPARED / 4),
                clockwork: Clockwork::default(),
            },
            None,
        );
        let every = u64::from(Sample::of(trace.requests.len(), MOST_COMPARED / 4).every);
        let most = all.resident_max.saturating_mul(every);
        // What residents may not use counts too.
        let most = match plan.weigh {
            Weigh::Full => most.saturating_add(most / 6).saturating_add(64 * 1024),
            Weigh::Body => most,
        };
        let least = match plan.weigh {
            Weigh::Full => LEAST_MEMORY.min(most),
            Weigh::Body => 1,
        };
        (0..12).rev().map(|halvings| most >> halvings).filter(|size| *size >= least).collect()
    }

    /// The figure that a budget names.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        let share = |outcome: Outcome| {
            let counts = self.outcomes.get(outcome.word()).copied().unwrap_or_default();
            ratio(counts.requests, self.requests)
        };
        Some(match name {
            "hit" => self.hit_ratio,
            "byte_hit" => self.byte_hit_ratio,
            "fresh" => share(Outcome::Fresh),
            "stale" => share(Outcome::Stale),
            "uncacheable" => share(Outcome::Uncacheable),
            "origin" => self.origin.ratio,
            "origin_rps_mean" => self.origin.rps_mean,
            "origin_rps_peak" => self.origin.rps_peak as f64,
            "resident_bytes_max" => self.resident_bytes_max as f64,
            _ => return None,
        })
    }
}

impl Variant {
    /// Plays a changed configuration.
    #[must_use]
    pub fn new(
        change: String,
        trace: &Trace,
        plan: &Plan,
        memory: u64,
        clockwork: Clockwork,
    ) -> Self {
        let setup = Setup { memory, policy: Policy::Seawall, sample: Sample::ALL, clockwork };
        let totals = run(trace, plan, &setup, None);
        Self {
            change,
            hit_ratio: totals.hit_ratio(),
            byte_hit_ratio: totals.byte_hit_ratio(),
            origin_requests: totals.origin_requests,
            origin_rps_peak: totals.origin_peak,
            outcomes: outcomes(&totals),
        }
    }
}

/// On all cores; in the order of `setups`.
fn run_all(trace: &Trace, plan: &Plan, setups: &[Setup]) -> Vec<Totals> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![Totals::default(); setups.len()]);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(setups.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(setup) = setups.get(index) else { return };
                    let totals = run(trace, plan, setup, None);
                    let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if let Some(place) = done.get_mut(index) {
                        *place = totals;
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Log {
    fn of(trace: &Trace, reading: &Reading, plan: &Plan) -> Self {
        let broken = reading.broken.iter().map(|(kind, lines)| {
            let row = BrokenRow {
                lines: lines.count,
                meaning: kind.meaning(),
                first: lines.line,
                text: lines.text.clone(),
            };
            (kind.word(), row)
        });
        Self {
            lines: reading.lines,
            requests: trace.requests.len() as u64,
            urls: trace.urls() as u64,
            keys: plan.keys() as u64,
            footprint: trace.footprint(),
            seconds: trace.span() as f64 / 1000.0,
            sizes_unknown: trace.sizes_unknown() as u64,
            is_cut: reading.is_cut,
            broken: broken.collect(),
            failed: reading.failed.clone(),
        }
    }
}

impl BucketRow {
    fn of(bucket: &super::tally::Bucket) -> Self {
        Self {
            requests: bucket.all.requests,
            hits: bucket.hits.requests,
            bytes: bucket.all.bytes,
            hit_bytes: bucket.hits.bytes,
            origin: bucket.origin,
        }
    }
}

fn outcomes(totals: &Totals) -> BTreeMap<&'static str, Counts> {
    Outcome::ALL.iter().map(|outcome| (outcome.word(), totals.of(*outcome))).collect()
}

fn reasons(detail: &Detail) -> Vec<ReasonRow> {
    let row = |(loss, counts): (super::Loss, Counts)| ReasonRow {
        reason: loss.word(),
        requests: counts.requests,
        bytes: counts.bytes,
        meaning: loss.meaning(),
        advice: loss.advice(),
    };
    detail.reasons().into_iter().map(row).collect()
}

fn lost(detail: &Detail, trace: &Trace, top: usize) -> Vec<LostRow> {
    let row = |lost: super::tally::Lost| LostRow {
        url: lost.url,
        requests: lost.requests,
        of: lost.of,
        bytes: lost.bytes,
        reason: lost.loss.word(),
        advice: lost.loss.advice(),
    };
    detail.lost(trace, top).into_iter().map(row).collect()
}

fn rows(groups: Vec<Group>, most: usize) -> Vec<GroupRow> {
    let row = |Group { name, bucket }: Group| GroupRow {
        name,
        requests: bucket.all.requests,
        hit_ratio: ratio(bucket.hits.requests, bucket.all.requests),
        bytes: bucket.all.bytes,
        byte_hit_ratio: ratio(bucket.hits.bytes, bucket.all.bytes),
        origin: bucket.origin,
    };
    groups.into_iter().take(most).map(row).collect()
}
