//! Connections of one core to one upstream: which are open, which may be used again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

use super::UpstreamStats;
use super::config::Config;
use super::failure;
use super::http1::{Breadth, Http1};
use super::shared::Target;
use super::upload::UploadBody;
use crate::error::ProxyError;

/// How long a connection gets to become ready after its exchange; it takes no more than a turn of
/// whoever drives it.
const SETTLE: Duration = Duration::from_secs(1);

/// Shortest pause between two looks at the HTTP/2 connections.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two looks at HTTP/1 connections at rest, which nobody drives: what the origin
/// has closed holds a descriptor no longer.
const MOST_PAUSE: Duration = Duration::from_secs(5);

/// One upstream as one core sees it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) config: Config,
    pub(super) target: Arc<Target>,
    pub(super) counters: Counters,
    /// One connect at a time where HTTP/2 is likely, so that a burst shares one connection.
    pub(super) turn: Semaphore,
    /// It has sent more fields than a [`Breadth::Usual`] connection takes.
    sends_many_fields: AtomicBool,
    /// Open [`Breadth::Wide`] connections.
    pub(super) wide: Arc<AtomicUsize>,
    pool: Mutex<Pool>,
}

/// Counts for [`UpstreamStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) open: Arc<AtomicU64>,
    pub(super) reused: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Pool {
    /// Oldest first; the newest is used first, so that those not needed age and go.
    idle: VecDeque<Idle>,
    shared: Vec<Shared>,
    /// Whether a task is there to drop what has idled too long.
    is_reaped: bool,
    /// What ALPN chose last.
    speaks_http1: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    expires: Instant,
}

/// An HTTP/2 connection that is shared by many exchanges.
#[derive(Debug)]
struct Shared {
    connection: Http2,
    name: Option<Arc<str>>,
    /// [`Streams::begun`] at the reaper's last visit.
    seen: u64,
}

/// A handle to an HTTP/2 connection.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<UploadBody>,
    pub(super) streams: Arc<Streams>,
}

/// The streams of an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Streams {
    active: AtomicUsize,
    begun: AtomicU64,
    /// What the origin allows at once (RFC 9113 §5.1.2).
    pub(super) limit: AtomicUsize,
}

impl Streams {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            active: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            limit: AtomicUsize::new(limit),
        }
    }
}

/// One exchange on an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct StreamGuard {
    streams: Arc<Streams>,
    /// Whether the connection had served a request before this one.
    pub(super) reused: bool,
}

impl StreamGuard {
    pub(super) fn new(streams: &Arc<Streams>) -> Self {
        streams.active.fetch_add(1, Ordering::AcqRel);
        let reused = streams.begun.fetch_add(1, Ordering::AcqRel) > 0;
        Self { streams: Arc::clone(streams), reused }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.streams.active.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Upstream {
    pub(super) fn new(config: Config, target: Arc<Target>) -> Self {
        Self {
            config,
            target,
            counters: Counters::default(),
            turn: Semaphore::new(1),
            sends_many_fields: AtomicBool::new(false),
            wide: Arc::default(),
            pool: Mutex::default(),
        }
    }

    /// Counts a request that ended without a response, and names what it ended in.
    pub(super) fn failed(&self, error: ProxyError) -> ProxyError {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        failure::name(error, &self.config)
    }

    /// The newest idle HTTP/1 connection that is fit for use `now`, of that `breadth` at least and no
    /// wider than it must be.
    pub(super) fn take_idle(
        &self,
        name: Option<&str>,
        breadth: Breadth,
        now: Instant,
    ) -> Option<Http1> {
        let mut pool = self.pool();
        loop {
            let of = |breadth: Breadth| {
                pool.idle.iter().rposition(|Idle { connection, .. }| {
                    connection.name() == name && connection.breadth() == breadth
                })
            };
            let usual = if breadth == Breadth::Usual { of(Breadth::Usual) } else { None };
            let index = usual.or_else(|| of(Breadth::Wide))?;
            let idle = pool.idle.remove(index)?;
            if idle.expires > now && idle.connection.is_ready() {
                return Some(idle.connection);
            }
        }
    }

    /// An HTTP/2 connection with room for one more stream.
    pub(super) fn share(&self, name: Option<&str>) -> Option<(Http2, StreamGuard)> {
        let mut pool = self.pool();
        pool.shared.retain(|shared| !shared.connection.sender.is_closed());
        let fit = pool.shared.iter().find(|shared| {
            let streams = &shared.connection.streams;
            let has_room =
                streams.active.load(Ordering::Acquire) < streams.limit.load(Ordering::Acquire);
            shared.name.as_deref() == name && has_room
        })?;
        // Counted under the lock, so that the limit holds.
        let guard = StreamGuard::new(&fit.connection.streams);
        Some((fit.connection.clone(), guard))
    }

    /// Makes a new HTTP/2 connection available to all.
    pub(super) fn offer(self: &Arc<Self>, connection: Http2, name: Option<Arc<str>>) {
        let mut pool = self.pool();
        pool.shared.push(Shared { connection, name, seen: 0 });
        self.ensure_reaped(&mut pool);
    }

    /// Takes an HTTP/1 connection back whose exchange is over, if it can serve another.
    pub(super) fn give_back(self: &Arc<Self>, mut connection: Http1, keep: Duration) {
        if connection.is_closed() {
            return;
        }
        if connection.is_ready() {
            self.put(connection, keep);
            return;
        }
        // It may not have come to rest yet: where it has a task, that may run on another thread. If
        // its request is still being sent, it never will, and is closed.
        let upstream = Arc::downgrade(self);
        tokio::spawn(async move {
            let settled = timeout(SETTLE, connection.settled()).await;
            if let (Ok(true), Some(upstream)) = (settled, upstream.upgrade()) {
                upstream.put(connection, keep);
            }
        });
    }

    fn put(self: &Arc<Self>, mut connection: Http1, keep: Duration) {
        connection.reused = true;
        if keep.is_zero() || self.config.max_idle == 0 {
            connection.let_go();
            return;
        }
        let mut pool = self.pool();
        if pool.idle.len() >= self.config.max_idle
            && let Some(oldest) = pool.idle.pop_front()
        {
            oldest.connection.let_go();
        }
        pool.idle.push_back(Idle { connection, expires: Instant::now() + keep });
        self.ensure_reaped(&mut pool);
    }

    /// The breadth that connections need by now, for what may be sent twice if that is too little.
    pub(super) fn breadth(&self) -> Breadth {
        if self.sends_many_fields.load(Ordering::Relaxed) { Breadth::Wide } else { Breadth::Usual }
    }

    /// The breadth of a new connection that is wanted to have `least`: where there is no wide one yet,
    /// it becomes that, so that what must not be sent twice finds one to use again.
    pub(super) fn breadth_of_new(&self, least: Breadth) -> Breadth {
        if self.wide.load(Ordering::Relaxed) == 0 { Breadth::Wide } else { least }
    }

    /// Remembers that a response may have had too many fields for its connection.
    pub(super) fn expect_many_fields(&self) {
        self.sends_many_fields.store(true, Ordering::Relaxed);
    }

    /// Whether the last TLS handshake chose HTTP/1.
    pub(super) fn speaks_http1(&self) -> bool {
        self.pool().speaks_http1
    }

    /// Remembers what ALPN chose.
    pub(super) fn learn_protocol(&self, http2: bool) {
        self.pool().speaks_http1 = !http2;
    }

    pub(super) fn stats(&self) -> UpstreamStats {
        let mut pool = self.pool();
        let idle: usize =
            pool.idle.iter_mut().map(|idle| usize::from(idle.connection.look())).sum();
        let resting = pool.shared.iter().filter(|shared| {
            let streams = &shared.connection.streams;
            !shared.connection.sender.is_closed() && streams.active.load(Ordering::Relaxed) == 0
        });
        UpstreamStats {
            open: self.counters.open.load(Ordering::Relaxed),
            idle: (idle + resting.count()) as u64,
            reused: self.counters.reused.load(Ordering::Relaxed),
            retried: self.counters.retried.load(Ordering::Relaxed),
            failures: self.counters.failures.load(Ordering::Relaxed),
        }
    }

    fn ensure_reaped(self: &Arc<Self>, pool: &mut Pool) {
        if !std::mem::replace(&mut pool.is_reaped, true) {
            tokio::spawn(reap(Arc::downgrade(self)));
        }
    }

    /// Drops what has idled too long, or is closed; when to look again, or `None` if nothing is left.
    fn drop_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut pool = self.pool();
        let idle = std::mem::take(&mut pool.idle);
        for mut idle in idle {
            if idle.expires > now && idle.connection.look() {
                pool.idle.push_back(idle);
            } else {
                idle.connection.let_go();
            }
        }
        pool.shared.retain_mut(|shared| {
            let streams = &shared.connection.streams;
            let begun = streams.begun.load(Ordering::Acquire);
            let rested = streams.active.load(Ordering::Acquire) == 0 && begun == shared.seen;
            shared.seen = begun;
            !rested && !shared.connection.sender.is_closed()
        });
        let pause = self.config.idle_timeout.max(MIN_PAUSE);
        let shared = (!pool.shared.is_empty()).then(|| now + pause);
        let idle = pool.idle.iter().map(|idle| idle.expires.min(now + MOST_PAUSE));
        let next = idle.chain(shared).min();
        pool.is_reaped = next.is_some();
        next
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops idle connections when their time is up, or their origin has closed them; ends when none is
/// left.
async fn reap(upstream: Weak<Upstream>) {
    while let Some(next) = upstream.upgrade().and_then(|upstream| upstream.drop_expired()) {
        sleep_until(next).await;
    }
}
