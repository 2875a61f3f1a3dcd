//! The parts of a report.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::forecast::Counts;

/// What a log is like.
#[derive(Clone, Debug, Serialize)]
pub struct Log {
    /// Lines.
    pub lines: u64,
    /// Requests in them.
    pub requests: u64,
    /// Different URLs or keys.
    pub urls: u64,
    /// Different cache keys.
    pub keys: u64,
    /// Bytes of all bodies, each once.
    pub footprint: u64,
    /// From the first to the last request, in seconds.
    pub seconds: f64,
    /// URLs whose size had to be guessed.
    pub sizes_unknown: u64,
    /// Whether there was more than was read.
    pub is_cut: bool,
    /// Lines that could not be read, by kind.
    pub broken: BTreeMap<&'static str, BrokenRow>,
    /// Why reading ended early.
    pub failed: Vec<String>,
}

/// Lines that could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct BrokenRow {
    /// How many.
    pub lines: u64,
    /// What is wrong with them.
    pub meaning: &'static str,
    /// The number of the first, from 1.
    pub first: u64,
    /// Its beginning, escaped.
    pub text: String,
}

/// What origins had to do.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Origin {
    /// Requests.
    pub requests: u64,
    /// Of all requests, a share; above 1 where there are more in the background than hits.
    pub ratio: f64,
    /// Bytes of body.
    pub bytes: u64,
    /// Requests a second, on average.
    pub rps_mean: f64,
    /// The most in one second.
    pub rps_peak: u64,
}

/// A reason.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonRow {
    /// The word.
    pub reason: &'static str,
    /// Requests.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What happened.
    pub meaning: &'static str,
    /// What to change for the opposite.
    pub advice: &'static str,
}

/// A URL that lost requests.
#[derive(Clone, Debug, Serialize)]
pub struct LostRow {
    /// The URL.
    pub url: String,
    /// Requests that were no hits, the first aside.
    pub requests: u64,
    /// Of how many.
    pub of: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why.
    pub reason: &'static str,
    /// What would win them.
    pub advice: &'static str,
}

/// By time.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// Seconds since the epoch of the first stretch.
    pub start: f64,
    /// Seconds of each.
    pub seconds: f64,
    /// Each.
    pub buckets: Vec<BucketRow>,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BucketRow {
    /// Requests.
    pub requests: u64,
    /// Those answered from memory.
    pub hits: u64,
    /// Bytes.
    pub bytes: u64,
    /// Those from memory.
    pub hit_bytes: u64,
    /// Requests to origins.
    pub origin: u64,
}

/// Requests that have something in common.
#[derive(Clone, Debug, Serialize)]
pub struct GroupRow {
    /// What.
    pub name: String,
    /// Requests.
    pub requests: u64,
    /// The share answered from memory.
    pub hit_ratio: f64,
    /// Bytes.
    pub bytes: u64,
    /// The share of them.
    pub byte_hit_ratio: f64,
    /// Requests to origins.
    pub origin: u64,
}

/// Another policy.
#[derive(Clone, Debug, Serialize)]
pub struct PeerRow {
    /// Its name.
    pub policy: &'static str,
    /// Whether it is no policy but there to be measured against.
    pub is_bound: bool,
    /// As above.
    pub hit_ratio: f64,
    /// As above.
    pub byte_hit_ratio: f64,
}

/// Other settings.
#[derive(Clone, Debug, Serialize)]
pub struct Variant {
    /// What is changed.
    pub change: String,
    /// As above.
    pub hit_ratio: f64,
    /// As above.
    pub byte_hit_ratio: f64,
    /// Requests to origins.
    pub origin_requests: u64,
    /// The most in one second.
    pub origin_rps_peak: u64,
    /// Requests and bytes by outcome.
    pub outcomes: BTreeMap<&'static str, Counts>,
}

/// How fast it was played.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Speed {
    /// Seconds for reading.
    pub reading_seconds: f64,
    /// Seconds for asking rules and policy, and for the one replay that all is told of.
    pub replay_seconds: f64,
    /// Requests a second, both taken together, on one core.
    pub requests_per_second: f64,
    /// Bytes that the log takes in memory.
    pub trace_bytes: u64,
}
