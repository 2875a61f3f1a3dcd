//! Every metric of the program, in one table: counters per core, summed when scraped.
//!
//! A core writes to its own cache lines only, so counting costs no traffic between cores. Names
//! follow the Prometheus naming guide: base units, `_total` for counters.

mod collect;
mod details;
mod histogram;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::registry::Registry;

use super::CacheWord;
use crate::context::Outcome;
use details::Details;
use histogram::Histogram;

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident => $name:literal, $help:literal;)*) => {
        /// One core's counters. Methods may be called from any thread; only the core that owns
        /// them should do so often.
        // Two cache lines: adjacent ones are fetched in pairs.
        #[repr(align(128))]
        #[derive(Debug, Default)]
        pub struct CoreMetrics {
            $($(#[$doc])* $field: AtomicU64,)*
            /// Connections that have ended.
            connections_closed: AtomicU64,
            /// Requests that reached the stack, and those of them that are over.
            requests_started: AtomicU64,
            requests_finished: AtomicU64,
            requests: [[[AtomicU64; CacheWord::ALL.len()]; STATUS_CLASSES.len()]; MethodClass::ALL.len()],
            hit_duration: Histogram,
            miss_duration: Histogram,
            miss_first_byte: Histogram,
            details: Details,
            offences: Details,
        }

        impl CoreMetrics {
            /// Name, help text and reader of each plain counter.
            const COUNTERS: &'static [(&'static str, &'static str, fn(&Self) -> u64)] =
                &[$(($name, $help, |core| core.$field.load(Ordering::Relaxed)),)*];
        }
    };
}

counters! {
    response_bytes => "seawall_response_body_bytes", "Bytes of response bodies sent to clients";
    connections_accepted => "seawall_connections_accepted", "Client connections accepted";
    connections_rejected => "seawall_connections_rejected", "Client connections closed at once because there were too many";
    client_connections_rejected => "seawall_client_connections_rejected", "Client connections closed at once because their client had too many";
    connections_dismissed => "seawall_connections_dismissed", "Idle client connections closed to make room for others";
    connection_timeouts => "seawall_connection_timeouts", "Client connections cut because a handshake, a request head or a write took too long";
    stream_timeouts => "seawall_stream_timeouts", "HTTP/2 streams cut because the client made no room for more of the response";
    accept_errors => "seawall_accept_errors", "Failures to accept a client connection";
    tls_failures => "seawall_tls_handshake_failures", "TLS handshakes with clients that failed";
    bad_requests => "seawall_bad_requests", "Requests refused before they reached the stack because they were not valid HTTP";
}

/// The classes by which requests are counted: the status's first digit.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The classes of methods by which requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodClass {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// Every other method: few clients choose their own, and labels must be bounded.
    Other,
}

impl MethodClass {
    const ALL: [Self; 3] = [Self::Get, Self::Head, Self::Other];

    const fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Other => "other",
        }
    }
}

impl From<&Method> for MethodClass {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            _ => Self::Other,
        }
    }
}

/// What is counted of a finished request.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The status that the client got.
    pub status: StatusCode,
    /// How the cache handled it.
    pub outcome: &'a Outcome,
    /// The request's method.
    pub method: MethodClass,
    /// Bytes of the body that was sent.
    pub bytes: u64,
    /// From the request's head to the response's last byte handed to the connection.
    pub duration: Duration,
    /// From the request's head to the response's head.
    pub first_byte: Duration,
}

impl CoreMetrics {
    /// Counts a finished request.
    pub fn record(&self, recorded: &Recorded<'_>) {
        let word = CacheWord::of(recorded.outcome);
        let class = usize::from(recorded.status.as_u16() / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        add(&self.requests[recorded.method as usize][class][word as usize], 1);
        add(&self.response_bytes, recorded.bytes);
        if let Some(detail) = recorded.outcome.detail {
            self.details.count(detail.word());
        }
        match word {
            CacheWord::Hit | CacheWord::Stale => self.hit_duration.record(recorded.duration),
            CacheWord::Miss | CacheWord::Revalidated | CacheWord::Collapsed => {
                self.miss_duration.record(recorded.duration);
                self.miss_first_byte.record(recorded.first_byte);
            }
            // The time of a lookup is told by the tier.
            CacheWord::Tier | CacheWord::Bypass | CacheWord::Error | CacheWord::Local => {}
        }
    }

    /// A client connection was accepted.
    pub fn connection_accepted(&self) {
        add(&self.connections_accepted, 1);
    }

    /// An accepted connection has ended.
    pub fn connection_closed(&self) {
        add(&self.connections_closed, 1);
    }

    /// A connection was closed at once because there were too many.
    pub fn connection_rejected(&self) {
        add(&self.connections_rejected, 1);
    }

    /// A connection was closed at once because its client had too many.
    pub fn client_connection_rejected(&self) {
        add(&self.client_connections_rejected, 1);
    }

    /// An idle connection was closed to make room for another.
    pub fn connection_dismissed(&self) {
        add(&self.connections_dismissed, 1);
    }

    /// A connection was cut because a handshake, a request head or a write took too long.
    pub fn connection_timed_out(&self) {
        add(&self.connection_timeouts, 1);
    }

    /// An HTTP/2 stream was cut because its client made no room.
    pub fn stream_timed_out(&self) {
        add(&self.stream_timeouts, 1);
    }

    /// An HTTP/2 connection was ended because of `what` its client did, which is one of few words.
    pub fn connection_offended(&self, what: &'static str) {
        self.offences.count(what);
    }

    /// A connection could not be accepted.
    pub fn accept_failed(&self) {
        add(&self.accept_errors, 1);
    }

    /// A TLS handshake failed.
    pub fn tls_failed(&self) {
        add(&self.tls_failures, 1);
    }

    /// What a client sent is not HTTP; it never reached the stack.
    pub fn bad_request(&self) {
        add(&self.bad_requests, 1);
    }

    /// A request reached the stack.
    pub fn request_started(&self) {
        add(&self.requests_started, 1);
    }

    /// A request that reached the stack is over.
    pub fn request_finished(&self) {
        add(&self.requests_finished, 1);
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

/// All metrics of the process.
pub struct Metrics {
    cores: Box<[Arc<CoreMetrics>]>,
    /// Values that are asked for when scraped; a lock that only scrapes and start-up take.
    asked: Mutex<Vec<Asked>>,
}

/// A value that is asked for when scraped.
struct Asked {
    name: &'static str,
    help: &'static str,
    labels: Vec<(&'static str, String)>,
    read: Read,
}

/// How a value is read, and what kind it is.
enum Read {
    Gauge(Box<dyn Fn() -> f64 + Send + Sync>),
    Gauges(&'static str, Box<dyn Fn() -> Vec<(String, f64)> + Send + Sync>),
    Counter(Box<dyn Fn() -> u64 + Send + Sync>),
}

impl Metrics {
    /// Metrics of a process with so many workers (at least one).
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        let cores = (0..workers.max(1)).map(|_| Arc::default()).collect();
        Arc::new(Self { cores, asked: Mutex::default() })
    }

    /// The counters of one worker; indexes wrap around.
    #[must_use]
    pub fn core(&self, index: usize) -> Arc<CoreMetrics> {
        Arc::clone(&self.cores[index % self.cores.len()])
    }

    /// Registers a gauge (`seawall_memory_used_bytes`) that is read at every scrape.
    pub fn gauge<F>(&self, name: &'static str, help: &'static str, read: F)
    where
        F: Fn() -> f64 + Send + Sync + 'static,
    {
        let read = Read::Gauge(Box::new(read));
        self.ask(Asked { name, help, labels: Vec::new(), read });
    }

    /// Registers gauges for the values of a label, which may be others at every scrape.
    pub fn gauges<F>(&self, name: &'static str, help: &'static str, label: &'static str, read: F)
    where
        F: Fn() -> Vec<(String, f64)> + Send + Sync + 'static,
    {
        let read = Read::Gauges(label, Box::new(read));
        self.ask(Asked { name, help, labels: Vec::new(), read });
    }

    /// Registers a counter that is kept elsewhere and read at every scrape. The name has no
    /// `_total`: the exposition adds it.
    pub fn counter<F>(&self, name: &'static str, help: &'static str, read: F)
    where
        F: Fn() -> u64 + Send + Sync + 'static,
    {
        self.counter_with(name, help, Vec::new(), read);
    }

    /// Registers a counter with labels; counters of one name form one family.
    pub fn counter_with<F>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Vec<(&'static str, String)>,
        read: F,
    ) where
        F: Fn() -> u64 + Send + Sync + 'static,
    {
        self.ask(Asked { name, help, labels, read: Read::Counter(Box::new(read)) });
    }

    fn ask(&self, asked: Asked) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }

    /// Everything in the `OpenMetrics` text format
    /// (`application/openmetrics-text; version=1.0.0; charset=utf-8`).
    #[must_use]
    pub fn encode(self: &Arc<Self>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(collect::Scrape(Arc::clone(self))));
        let mut text = String::with_capacity(16 * 1024);
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        text
    }

    /// Requests answered from memory so far, fresh or stale.
    #[must_use]
    pub fn answered_from_memory(&self) -> u64 {
        let of = |word: CacheWord| {
            self.sum(|core| {
                let all = core.requests.iter().flatten();
                all.map(|words| words[word as usize].load(Ordering::Relaxed)).sum()
            })
        };
        of(CacheWord::Hit) + of(CacheWord::Stale)
    }

    fn sum(&self, read: impl Fn(&CoreMetrics) -> u64) -> u64 {
        self.cores.iter().map(|core| read(core)).sum()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("cores", &self.cores.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Detail, Forwarded};
    use crate::error::ErrorKind;

    fn recorded(outcome: &Outcome) -> Recorded<'_> {
        Recorded {
            status: StatusCode::OK,
            outcome,
            method: MethodClass::Get,
            bytes: 10,
            duration: Duration::from_micros(70),
            first_byte: Duration::from_micros(60),
        }
    }

    #[test]
    fn cores_are_summed() {
        let metrics = Metrics::new(2);
        let hit = Outcome { hit: true, ..Outcome::default() };
        let miss = Outcome { forwarded: Some(Forwarded::UriMiss), ..Outcome::default() };
        metrics.core(0).record(&recorded(&hit));
        metrics.core(1).record(&recorded(&hit));
        metrics.core(1).record(&recorded(&miss));
        let text = metrics.encode();
        for line in [
            "seawall_requests_total{method=\"GET\",status=\"2xx\",cache=\"hit\"} 2",
            "seawall_requests_total{method=\"GET\",status=\"2xx\",cache=\"miss\"} 1",
            "seawall_response_body_bytes_total 30",
            "seawall_request_duration_seconds_bucket{le=\"0.0001\",cache=\"hit\"} 2",
            "seawall_request_duration_seconds_count{cache=\"hit\"} 2",
            "seawall_request_duration_seconds_count{cache=\"miss\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn details_and_asked_values_are_shown() {
        let metrics = Metrics::new(1);
        let detail = Some(Detail::Error(ErrorKind::DnsFailed));
        metrics.core(0).record(&recorded(&Outcome { detail, ..Outcome::default() }));
        metrics.gauge("seawall_memory_used_bytes", "Bytes used", || 42.0);
        metrics.gauges("seawall_upstream_idle", "Idle connections", "upstream", || {
            ["one", "two"].map(|name| (name.to_owned(), 1.0)).into()
        });
        metrics.gauges("seawall_none", "Nothing yet", "upstream", Vec::new);
        metrics.counter("seawall_dropped", "Dropped", || 7);
        let text = metrics.encode();
        for line in [
            "seawall_request_details_total{detail=\"dns-failed\"} 1",
            "seawall_memory_used_bytes 42.0",
            "seawall_upstream_idle{upstream=\"one\"} 1.0",
            "seawall_upstream_idle{upstream=\"two\"} 1.0",
            "seawall_dropped_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert_eq!(text.matches("# TYPE seawall_upstream_idle ").count(), 1);
    }
}
